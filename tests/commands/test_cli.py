"""The command line: official files go in and come back as they were."""

import json
import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from command import FILES, ROOT, assert_same, official_file, refused, run
from fixtures_at_hand import fixture_path
from nextbasis.config import as_dict, section
from nextbasis.families import find
from nextbasis.families.common.checkpoint import load_generator
from nextbasis.official.autoencoders import load_tokenizer
from nextbasis.official.sizes import PAPER, complete, model_config
from nextbasis.support.weights import read_checkpoint
from nextbasis.tokenizers.common.pretrained import read_weights
from nextbasis.tokenizers.kl16.config import KL16TokenizerConfig
from nextbasis.tokenizers.kl16.model import KL16Autoencoder

NAMES = "import export sample share plan bases diff status doctor completion".split()
NAMES += "score reference export-samples compare try demo prompts geneval".split()


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(("family", "name", "values", "source"), FILES)
def test_round_trip_is_exact(
    family: str,
    name: str,
    values: list[str],
    source: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    official = official_file(name, tmp_path)
    report = run(capsys, "import", family, official, tmp_path / "in/folder", *values)
    assert report["read"] == f"{official} ({source})"
    run(capsys, "export", tmp_path / "in/folder", tmp_path / "out/again.pth")
    assert_same(read_checkpoint(tmp_path / "out/again.pth")[0], read_checkpoint(official)[0])
    run(capsys, "export", tmp_path / "in/folder", tmp_path / "out/twice.pth")
    again, twice = sorted((tmp_path / "out").iterdir())
    assert again.read_bytes() == twice.read_bytes()
    assert len(list((tmp_path / "in/folder").iterdir())) == 2


def test_report_tells_what_was_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    official = fixture_path("ckpt/xar_open/xAR-flat.pth")
    report = run(capsys, "import", "xar", official, tmp_path / "xar")
    digest = subprocess.run(["sha256sum", official], capture_output=True, text=True).stdout
    assert report["sha256"] == digest.split()[0]
    config = json.loads((tmp_path / "xar/config.json").read_text())
    assert set(report["config"].split()) == {f"{k}={v}" for k, v in config["model"].items()}
    generator, _ = load_generator(tmp_path / "xar")
    count = sum(parameter.numel() for parameter in generator.backbone.parameters())
    assert report["parameters"] == f"{count:,}"


@pytest.mark.parametrize("layout", ["mar", "kl16"])
def test_export_has_the_sections_that_the_official_code_reads(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family, name, values, _ = next(file for file in FILES if file[0] == layout)
    run(capsys, "import", family, fixture_path(name), tmp_path / "in", *values)
    run(capsys, "export", tmp_path / "in", tmp_path / "out.pth")
    content = torch.load(tmp_path / "out.pth", weights_only=True)
    assert list(content) == {"mar": ["model", "model_ema"], "kl16": ["model"]}[layout]


def test_an_imported_tokenizer_decodes_as_the_official_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    official = load_file(fixture_path("kl16_open.safetensors"))
    path = fixture_path("ckpt/vae_open/kl16.ckpt")
    run(capsys, "import", "kl16", path, tmp_path / "kl16")
    config = KL16TokenizerConfig(
        kind="kl16",
        encode_batch_size=1,
        weights=str(tmp_path / "kl16/tokenizer.safetensors"),
        weights_sha256="",
        network=load_tokenizer(tmp_path / "kl16").network,
    )
    model = KL16Autoencoder(config.network)
    model.load_state_dict(read_weights(config)[0])
    with torch.no_grad():
        decoded = model.eval().decode(official["out.scaled_latents"])
    expected = official["out.decoded"]
    torch.testing.assert_close(decoded, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def test_constants_that_blocks_share_survive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    official, _ = read_checkpoint(fixture_path(FILES[2][1]))
    for table in ("freqs_cos", "freqs_sin"):
        names = [name for name in official if name.endswith(table)]
        rounded = official[names[0]] + 1e-7
        official |= dict.fromkeys(names, rounded)
    torch.save(official, tmp_path / "shared.pth")
    run(capsys, "import", "xar", tmp_path / "shared.pth", tmp_path / "in")
    run(capsys, "export", tmp_path / "in", tmp_path / "out.pth")
    assert_same(read_checkpoint(tmp_path / "out.pth")[0], official)


def test_scale_of_another_autoencoder_is_not_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = load_tokenizer_config("kl16")
    sizes = published | {"width": 32, "multipliers": [1, 1], "decoder_attention": [1]}
    sizes["encoder_attention"] = [1]
    network = type(section("tokenizer", tokenizer_yaml("kl16")).network)(**sizes)
    state = KL16Autoencoder(network).state_dict() | {"loss.logvar": torch.zeros(())}
    torch.save({"model": state}, tmp_path / "ldm.ckpt")
    given = ("import", "kl16", tmp_path / "ldm.ckpt", tmp_path / "out")
    assert "give scale=" in refused(capsys, *given)
    report = run(capsys, *given, "scale=0.18215")
    assert report["left out"] == "loss.logvar"
    assert load_tokenizer(tmp_path / "out").network == network.__class__(
        **sizes | {"scale": 0.18215}
    )


def tokenizer_yaml(name: str) -> dict[str, Any]:
    from yaml import safe_load

    return dict(safe_load((ROOT / f"config/tokenizer/{name}.yaml").read_text()))


def load_tokenizer_config(name: str) -> dict[str, Any]:
    return as_dict(section("tokenizer", tokenizer_yaml(name)).network)


@pytest.mark.parametrize("name", ["mar_h", "xar_l", "rar_xxl"])
def test_released_sizes_need_no_values(name: str) -> None:
    family, size = name.split("_")
    title = {"mar": f"MAR-{size.upper()}", "xar": f"xAR-{size.upper()}", "rar": name}[family]
    manifest = json.loads(fixture_path(f"manifests/{title}.json").read_text())
    entries = manifest.get("tensors", manifest.get("state_dict", manifest))
    shapes = {key: tuple(value[0]) for key, value in entries.items()}
    found = complete(family, shapes, {})
    released = model_config(family, str(find(family).recipes / PAPER / f"{name}.yaml"))
    assert found.items() <= released.items()
    assert model_config(family, name) == model_config(family, f"paper/{name}") == released


HELP = """
import sys
from nextbasis.commands.cli import main
for command in ([], *([name] for name in sys.argv[1:])):
    try:
        main([*command, "--help"])
    except SystemExit as end:
        assert end.code == 0, command
print("imported:", *{"torch", "numpy", "pandas", "hydra", "omegaconf", "PIL"} & {*sys.modules})
"""


def test_help_is_there_and_imports_no_large_library() -> None:
    words = subprocess.run([sys.executable, "-c", HELP, *NAMES], capture_output=True, text=True)
    assert words.stderr == ""
    *lines, last = words.stdout.splitlines()
    usages = [line.split()[2] for line in lines if line.startswith("usage: nextbasis")]
    assert usages == ["[-h]", *NAMES]
    assert last == "imported:"


def test_a_reader_that_has_seen_enough_ends_a_command_quietly() -> None:
    command = [sys.executable, "-m", "nextbasis", "bases", "--grid", "4x4"]
    reader, writer = os.pipe()
    os.close(reader)  # as `head` does
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(command, cwd=ROOT, stdout=closed, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "nextbasis", "--help"], capture_output=True)
    assert done.returncode == 0 and b"import" in done.stdout


def test_a_module_of_the_working_directory_can_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A basis may be a function of one: the console script alone does not look there."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.chdir(tmp_path)
    Path("lying_here.py").write_text("", encoding="utf-8")
    run(capsys, "completion", "bash")
    assert import_module("lying_here").__file__ == str(tmp_path / "lying_here.py")
