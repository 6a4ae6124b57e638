"""Stable Diffusion's autoencoder: every layout of its files, and its own rules."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from einops import rearrange
from safetensors.torch import save_file
from torch import Tensor

from command import ROOT, assert_same, refused, run
from fixtures_at_hand import fixture_path
from networks import SDVAE, SMALL_SDVAE
from nextbasis.config import section
from nextbasis.parity.fixture import open_fixture
from nextbasis.support.weights import read_checkpoint
from nextbasis.tokenizers.common.blocks import SpatialAttention
from nextbasis.tokenizers.common.loading import build
from nextbasis.tokenizers.common.pretrained import read_weights
from nextbasis.tokenizers.sdvae import model as sdvae
from nextbasis.tokenizers.sdvae import official, parity

FILES = ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"]
COMPVIS = "ckpt/sdvae_open/vae-ft-mse-840000-ema-pruned.ckpt"


def random_network() -> sdvae.SDVAE:
    torch.manual_seed(0)
    return sdvae.SDVAE(SMALL_SDVAE).eval().requires_grad_(False)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("layout", ["sdvae_compvis", "sdvae", "sdvae_hf_file"])
def test_every_layout_has_the_network_s_tensors(layout: str) -> None:
    manifest = json.loads(fixture_path(f"manifests/{layout}.json").read_text(encoding="utf-8"))
    there = {key: torch.empty(shape, device="meta") for key, (shape, _) in manifest.items()}
    with torch.device("meta"):
        model = sdvae.SDVAE(SDVAE.network)
    wanted = {key: tensor.shape for key, tensor in model.state_dict().items()}
    assert {key: tensor.shape for key, tensor in official.ours(there).items()} == wanted
    parts = [model, model.encoder, model.decoder]
    counts = [sum(parameter.numel() for parameter in part.parameters()) for part in parts]
    assert counts == [83_653_863, 34_163_592, 49_490_179]


def test_both_decoders_are_of_one_network() -> None:
    text = (ROOT / "config/tokenizer/sdvae_mse.yaml").read_text(encoding="utf-8")
    other = section("tokenizer", yaml.safe_load(text))
    assert other.network == SDVAE.network and other.weights != SDVAE.weights


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_diffusers_becomes_that_of_latent_diffusion(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fixture_path(f"ckpt/sdvae_open/{name}")
    run(capsys, "import", "sdvae", path, tmp_path / "in", "groups=8")
    run(capsys, "export", tmp_path / "in", tmp_path / "out.ckpt")
    state, origin = read_checkpoint(tmp_path / "out.ckpt")
    assert_same(state, read_checkpoint(fixture_path(COMPVIS))[0])
    assert origin.section == "state_dict"


def test_new_names_of_attention_give_the_official_moments_and_images(tmp_path: Path) -> None:
    fixture = open_fixture(fixture_path("sdvae_open.safetensors"))
    network = parity.config_of(fixture.value("config"), fixture.value("scaling_factor"))
    config = replace(SDVAE, network=network, weights=str(tmp_path / "imported.safetensors"))
    save_file(
        {
            name: tensor.contiguous()
            for name, tensor in official.ours(fixture.part("weights.")).items()
        },
        config.weights,
    )
    model = build(config, 32, 3)
    assert isinstance(model, sdvae.SDVAETokenizer)
    model.network.load_state_dict(read_weights(config)[0])

    def flat(name: str) -> Tensor:
        return rearrange(fixture[f"out.{name}"], "b d h w -> b (h w) d")

    def close(found: Tensor, wanted: Tensor) -> None:
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * wanted.abs().max().item())

    images = fixture["in.images"]
    close(model.moments(images), flat("moments"))
    close(model.encode(images), 0.18215 * flat("mean"))
    close(model.decode(flat("scaled_latents")), fixture["out.decoded"])


def test_groups_are_not_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("import", "sdvae", fixture_path(COMPVIS), tmp_path / "out")
    assert "its widths [8, 16, 32, 32] are no multiples of 32" in refused(capsys, *given)
    assert "groups must divide all widths" in refused(capsys, *given, "groups=3")
    assert "widths is given as [8] and" in refused(capsys, *given, "groups=8", "widths=[8]")
    report = run(capsys, *given, "groups=4")
    assert report["config"].endswith("groups=4 scale=0.18215")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("ckpt/vae_open/kl16.ckpt", "unexpected: encoder.down.2.attn.0.k.bias"),
        ("ckpt/llamagen_vq_open/vq_ds16_c2i.pt", "it has neither encoder.down, as latent"),
        ("ckpt/mar_open/checkpoint-last.pth", "is of family mar, not sdvae"),
    ],
)
def test_other_files_are_refused(
    path: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, "import", "sdvae", fixture_path(path), tmp_path / "out")


def test_it_is_not_taken_for_kl16(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = fixture_path(COMPVIS)
    for given in ((), ("scale=0.2325",)):
        said = refused(capsys, "import", "kl16", path, tmp_path / "out", *given)
        assert f"{path}: none of its 4 levels has attention" in said
        assert "latents have 4 channels" in said and said.rstrip().endswith("Import it as sdvae")


def test_scale_of_other_latents_is_not_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = sdvae.SDVAE(replace(SMALL_SDVAE, latent_channels=3)).state_dict()
    torch.save({"state_dict": state}, tmp_path / "f4.ckpt")
    given = ("import", "sdvae", tmp_path / "f4.ckpt", tmp_path / "out", "groups=8")
    said = refused(capsys, *given)
    assert "f4.ckpt: its latents have 3 channels" in said and "give scale=" in said
    assert run(capsys, *given, "scale=0.5")["config"].endswith("groups=8 scale=0.5")


@pytest.mark.parametrize("kind", ["kl16", "sdvae"])
def test_an_encoder_without_variances_is_refused(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = random_network().state_dict()
    for name in ("encoder.conv_out.weight", "encoder.conv_out.bias", "quant_conv.bias"):
        state[name] = state[name][:4].clone()
    state["quant_conv.weight"] = state["quant_conv.weight"][:4, :4].clone()
    torch.save(state, tmp_path / "vq.ckpt")
    groups = ["groups=8"] if kind == "sdvae" else []
    said = refused(
        capsys, "import", kind, tmp_path / "vq.ckpt", tmp_path / "out", "scale=1.0", *groups
    )
    assert f"{kind} needs 8, means and log-variances (double_z)" in said
    assert "vq.ckpt: its encoder tells 4 numbers per token" in said


def test_the_autoencoder_of_a_whole_model_is_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, _ = read_checkpoint(fixture_path(COMPVIS))
    whole = {f"first_stage_model.{name}": tensor for name, tensor in state.items()}
    torch.save({"state_dict": whole | {"model.x": torch.ones(1)}}, tmp_path / "sd.ckpt")
    said = refused(capsys, "import", "sdvae", tmp_path / "sd.ckpt", tmp_path / "out", "groups=8")
    assert "248 of 249 tensors have 'first_stage_model.' in front of their names" in said


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 40), (24, 8)])
def test_shapes_of_rectangular_images(height: int, width: int) -> None:
    images, model = torch.rand(2, 3, height, width, generator=seeded(0)), random_network()
    moments = model.encode(images)
    assert moments.shape == (2, 8, height // 4, width // 4)
    assert model.decode(moments[:, :4]).shape == images.shape


def test_only_the_middle_attends_and_as_one_head() -> None:
    model = random_network()
    names = {name.split(".q.")[0] for name in model.state_dict() if ".q." in name}
    assert names == {"encoder.mid.attn_1", "decoder.mid.attn_1"}
    part = model.encoder.mid.get_submodule("attn_1")
    assert isinstance(part, SpatialAttention)
    x = torch.randn(2, 16, 3, 5, generator=seeded(0))
    h = F.group_norm(x, 8, eps=1e-6)
    q, k, v = (layer(h).flatten(2) for layer in (part.q, part.k, part.v))
    weights = (torch.einsum("bdq,bdk->bqk", q, k) / 16**0.5).softmax(2)
    mixed = torch.einsum("bqk,bdk->bdq", weights, v).view_as(x)
    torch.testing.assert_close(part(x), x + part.proj_out(mixed))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": []}, r"tokenizer.network.widths must be positive integers, got \[\]"),
        ({"widths": [8, 12]}, r"groups must divide all widths \[8, 12\], got 8"),
        ({"groups": 0}, "tokenizer.network.groups must be above 0, got 0"),
        ({"scale": 0.0}, "tokenizer.network.scale must be above 0, got 0.0"),
    ],
)
def test_impossible_sizes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL_SDVAE, **changes)
