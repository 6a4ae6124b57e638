"""KL-16 and MaskGIT-VQGAN against the published names, sizes and checkpoint layout."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from nextbasis.parity.kl16 import config_of
from nextbasis.tokenizers.kl16 import KL16, KL16Autoencoder
from nextbasis.tokenizers.maskgit_vqgan import MASKGIT_VQGAN, MaskGITVQGAN
from nextbasis.tokenizers.posterior import Posterior

FIXTURES = Path(__file__).parents[2] / "shared" / "fixtures"


def fixture_file(name: str) -> Path:
    path = FIXTURES / name
    if not path.exists():
        pytest.skip(f"needs {name} of the official models' fixtures, not part of the product")
    return path


def load(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(fixture_file(name), "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    if "description" in metadata:
        return tensors, json.loads(metadata["description"])["config"]
    return tensors, json.loads(metadata["config"])


def assert_near(found: Tensor, expected: Tensor, relative: float = 1e-5) -> None:
    """Within `relative` of the largest expected value, the unit of KL-16's tolerance."""
    atol = relative * float(expected.abs().max())
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


# Names and sizes of the published checkpoints


def shapes(model: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_kl16_has_the_published_tensors():
    manifest = json.loads(fixture_file("manifests/KL-16.json").read_text())
    with torch.device("meta"):
        model = KL16Autoencoder(KL16)
    official = {key: shape for key, (shape, _) in manifest["state_dict"].items()}
    assert shapes(model) == official
    assert list(shapes(model)) == list(official)
    assert num_parameters(model) == manifest["n_params"]


def test_vqgan_has_the_published_tensors():
    manifest = json.loads(fixture_file("manifests/maskgit_vqgan.json").read_text())
    with torch.device("meta"):
        model = MaskGITVQGAN(MASKGIT_VQGAN)
    official = {key: shape for key, (shape, _) in manifest.items()}
    assert shapes(model) == official
    assert list(shapes(model)) == list(official)


def test_published_sizes_have_the_published_numbers_of_parameters():
    with torch.device("meta"):
        kl, vq = KL16Autoencoder(KL16), MaskGITVQGAN(MASKGIT_VQGAN)
    assert num_parameters(kl) == 66_456_019
    assert num_parameters(kl.encoder) == 28_265_760
    assert num_parameters(kl.decoder) == 38_188_931
    assert num_parameters(vq) == 54_515_587
    assert num_parameters(vq.encoder) == 23_775_104
    assert num_parameters(vq.decoder) == 30_478_339


def test_latent_diffusions_kl_f16_is_refused_by_the_names_of_its_decoder_attention():
    with torch.device("meta"):
        other = KL16Autoencoder(replace(KL16, decoder_attention=(4,)))
        model = KL16Autoencoder(KL16)
        with pytest.raises(RuntimeError, match=r"Unexpected key.*decoder\.up\.4\.attn\.0"):
            model.load_state_dict(other.state_dict())


# Numbers of the official networks


def check_kl_outputs(model: KL16Autoencoder, t: dict[str, Tensor]) -> None:
    assert_near(model.encoder(t["in.images"]), t["out.encoder_h"])
    moments = model.encode(t["in.images"])
    assert_near(moments, t["out.moments"])
    posterior = Posterior.of(moments)
    for name in ("mean", "logvar", "std"):
        assert_near(getattr(posterior, name), t[f"out.{name}"])
    assert_near(posterior.kl(), t["out.kl"])
    latents = (posterior.mean + posterior.std * t["in.sample_noise"]) * model.config.scale
    assert_near(latents, t["out.scaled_latents"])
    assert_near(model.decode(latents), t["out.decoded"])


def test_kl16_checkpoint_file_gives_the_official_outputs():
    path = fixture_file("ckpt/vae_open/kl16.ckpt")
    t, config = load("kl16_open.safetensors")
    model = KL16Autoencoder(config_of(config))
    model.load_state_dict(torch.load(path, weights_only=True)["model"], strict=True)
    check_kl_outputs(model.eval().requires_grad_(False), t)
