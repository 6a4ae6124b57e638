"""Our models against numbers that the official models produced (fixtures beside the project)."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from fixtures_at_hand import fixture_path
from nextbasis.parity import compare_fixture
from nextbasis.parity.__main__ import main
from nextbasis.parity.report import compare, table

FAMILIES = ("mar", "xar", "rar", "var", "var_saln", "dit", "mdtv2")
FAMILIES += ("sit_repa_sit", "sit_repa_repa")
TOKENIZERS = ("kl16", "vqgan", "llamagen_vq", "sdvae", "var_vqvae")
# All that is not compared: weights and inputs.
INPUTS = {
    "mar": r"weights.*|patchify.*\.in|temb\.t|loss\.(latents|labels|label_drop_u|mask_rate|orders|t"
    r"|noise)|lr\.epochs|dl\.(x|t|c|p\.index|p\.noise)|sample\.(labels|orders|\w+\.noise_\w+)",
    "mdtv2": r"weights.*|fwd\.(x|t|y|\w+_u)|cfg\.(x|y|curve_t)|eps_probe\.scale"
    r"|(loss|train)\.(latents|labels|t|(mask_)?noise|\w+_u)|sample\.\w+\.(labels|noise_\w+)",
    "xar": r"weights.*|\w+\.in|temb\.t|loss\.(latents|labels|label_drop_u|time|noise)|lr\.epochs"
    r"|sample\.(labels|\w+\.noise_\w+)",
    "rar": r"weights.*|in\.(tokens|class_ids|drop_mask|orders_perm|uniforms)",
    "var": r"weights.*|vae\..*|in\..*",
    "var_saln": r"weights.*|vae\..*|in\..*",
    "dit": r"weights.*|(fwd|cfg)\.[xty]|eps_probe\.scale|loss\.(latents|labels|label_u|t|noise)"
    r"|train\.(t|noise|label_u)|sample\.\w+\.(labels|noise_\w+)",
    "sit_repa_sit": r"weights.*|(fwd|cfg)\.[xty]|eps_probe\.scale"
    r"|(loss|train)\.(latents|labels|noise|\w+_u)|sample\.\w+\.(labels|noise_\w+)",
    "sit_repa_repa": r"weights.*|fwd\.[xty]|eps_probe\.scale|dino\.rule|posterior\.(moments|noise)"
    r"|(loss|train)\.(\w+\.)?(latents|labels|noise|proj_coeff|z_\d|\w+_u|time_normal)"
    r"|sample\.\w+\.(labels|noise_\w+)",
    "kl16": r"weights.*|in\.\w+",
    "vqgan": r"weights.*|in\.\w+",
    "llamagen_vq": r"weights.*|disc\..*|in\.\w+",
    "sdvae": r"weights.*|in\.\w+|attn\.x|dg\.moments",
    "var_vqvae": r"weights.*|in\.\w+",
}


def read(family: str, kept: str = ".*") -> tuple[dict[str, Tensor], dict[str, str]]:
    """A fixture's weights, the tensors whose names match `kept`, and the metadata."""
    with safe_open(fixture_path(f"{family}_open.safetensors"), "pt") as file:
        names = [name for name in file.keys() if re.fullmatch(rf"(weights|vae).*|{kept}", name)]  # noqa: SIM118
        return {name: file.get_tensor(name) for name in names}, file.metadata()


@pytest.mark.parametrize("family", FAMILIES + TOKENIZERS)
def test_every_output_equals_the_official_one(family: str) -> None:
    rows = compare_fixture(fixture_path(f"{family}_open.safetensors"))
    assert not [row for row in rows if not row.passed], table(rows)
    compared = {row.name.removesuffix(" (relative)") for row in rows}
    left = set(read(family)[0]) - compared
    assert not [name for name in left if not re.fullmatch(INPUTS[family], name)]


@pytest.mark.parametrize(
    ("family", "kept", "name", "change"),
    [
        ("mar", "sample", "sample.linear.out", 1e-3),
        ("mar", "grads|loss", "grads.encoder_norm.bias", 1e-3),
        ("xar", "loss", "weights.decoder_blocks.0.attn.qkv.weight", 1e-2),
        ("rar", "in|out", "out.gen0.icdf.probs", 1e-3),
        ("dit", "sample|runs", "sample.nocfg_12.x_half", 1e-3),
        ("sit_repa_sit", "sample", "sample.ode_euler_8.out", 1e-3),
        ("sit_repa_repa", "loss", "loss.linear.projection", 1e-3),
        ("kl16", "in|out", "out.dg_std", 1e-10),  # its last number is 3.6e-7
        ("kl16", "in|out", "out.dg_var", 1e-16),  # its last number is 1.3e-13
        ("llamagen_vq", "in|out|disc", "out.train.entropy_loss", 2e-4),
        ("llamagen_vq", "in|out|disc", "disc.main.8.bias", 1e-2),
        ("sdvae", "in|out", "out.decoded_mean", 1e-3),
    ],
)
def test_a_changed_number_fails(
    family: str,
    kept: str,
    name: str,
    change: float,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tensors, metadata = read(family, rf"({kept})\..*")
    tensors[name].view(-1)[-1] += change
    path = tmp_path / "changed.safetensors"
    save_file(tensors, path, metadata)
    assert main([str(path)]) == 1
    printed = capsys.readouterr().out
    assert "| NO" in printed and " 0 failed" not in printed


@pytest.mark.parametrize("family", FAMILIES)
def test_unknown_outputs_are_refused_before_anything_is_printed(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors, metadata = read(family, r"(temb|in)\..*|out\.logits.*")
    path = tmp_path / "unknown.safetensors"
    save_file(tensors | {"out.mystery": torch.ones(2)}, path, metadata)
    assert main([str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "out.mystery" in captured.err


def test_a_fixture_may_hold_fewer_outputs(tmp_path: Path) -> None:
    tensors, metadata = read("mar", r"temb\..*")
    path = tmp_path / "fewer.safetensors"
    save_file(tensors, path, metadata)
    assert [row.name for row in compare_fixture(path)] == ["temb.freq", "temb.out"]


def test_missing_inputs_are_named(tmp_path: Path) -> None:
    tensors, metadata = read("xar")
    del tensors["loss.noise"]
    path = tmp_path / "missing.safetensors"
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match="has no loss.noise"):
        compare_fixture(path)


def test_missing_metadata_are_named(tmp_path: Path) -> None:
    tensors, metadata = read("mar")
    description = json.loads(metadata["description"])
    del description["config"]["diffloss_w"]
    path = tmp_path / "metadata.safetensors"
    save_file(tensors, path, metadata | {"description": json.dumps(description)})
    with pytest.raises(ValueError, match="diffloss_w"):
        compare_fixture(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "has no metadata"),
        ({"description": '{"kind": "nosuch"}'}, "its kind is nosuch; known are"),
        ({"description": '{"kind": "nosuch"}'}, "its kind is nosuch; known are .*mar"),
        ({"description": "{"}, "not JSON"),
        ({"config": "{}"}, "its kind is unknown"),
        ({"other": "1"}, "metadata lack config"),
    ],
)
def test_strange_files_are_refused(
    metadata: dict[str, str] | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "strange.safetensors"
    save_file({"a": torch.ones(1)}, path, metadata)
    with pytest.raises(ValueError, match=message):
        compare_fixture(path)


def test_damaged_and_absent_files_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "damaged.safetensors"
    save_file({"a": torch.ones(100)}, path, {"config": "{}"})
    path.write_bytes(path.read_bytes()[:-7])
    assert main([str(path), str(tmp_path / "absent.safetensors")]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert "not a complete safetensors file" in errors[0]
    assert "no fixture" in errors[1]


def test_tolerances_scale_with_the_output_and_integers_are_exact() -> None:
    official = torch.tensor([100.0, 1.0])
    assert compare("x", official + 9e-3, official).passed
    assert not compare("x", official + 2e-2, official).passed
    assert not compare("x", official + torch.tensor([0, 9e-3]), official, relative=True).passed
    assert not compare("n", torch.tensor([1, 2]), torch.tensor([1, 3])).passed
    assert not compare("x", torch.tensor([float("nan")]), torch.ones(1)).passed
    assert not compare("x", torch.tensor([float("inf")]), torch.tensor([float("inf")])).passed
    assert not compare("x", torch.ones(2), torch.ones(1)).passed
