"""KL-16 and MaskGIT-VQGAN have the names and sizes of the published checkpoints."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from fixtures_at_hand import fixture_path
from networks import KL16, VAR, VQGAN
from nextbasis.tokenizers.kl16.model import KL16Autoencoder
from nextbasis.tokenizers.maskgit_vqgan.model import MaskGITVQGAN
from nextbasis.tokenizers.var_vqvae.model import VARVQVAE


def shapes(model: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_kl16_has_the_published_tensors():
    manifest = json.loads(fixture_path("manifests/KL-16.json").read_text())
    with torch.device("meta"):
        model = KL16Autoencoder(KL16.network)
    official = {key: shape for key, (shape, _) in manifest["state_dict"].items()}
    assert shapes(model) == official
    assert list(shapes(model)) == list(official)
    assert num_parameters(model) == manifest["n_params"]


def test_vqgan_has_the_published_tensors():
    manifest = json.loads(fixture_path("manifests/maskgit_vqgan.json").read_text())
    with torch.device("meta"):
        model = MaskGITVQGAN(VQGAN.network)
    official = {key: shape for key, (shape, _) in manifest.items()}
    assert shapes(model) == official
    assert list(shapes(model)) == list(official)


def test_published_sizes_have_the_published_numbers_of_parameters():
    with torch.device("meta"):
        kl, vq = KL16Autoencoder(KL16.network), MaskGITVQGAN(VQGAN.network)
    assert num_parameters(kl) == 66_456_019
    assert num_parameters(kl.encoder) == 28_265_760
    assert num_parameters(kl.decoder) == 38_188_931
    assert num_parameters(vq) == 54_515_587
    assert num_parameters(vq.encoder) == 23_775_104
    assert num_parameters(vq.decoder) == 30_478_339


def test_vars_vqvae_has_the_published_tensors():
    manifest = json.loads(fixture_path("manifests/var_vqvae_ch160v4096z32.json").read_text())
    with torch.device("meta"):
        model = VARVQVAE(VAR.network)
    official = {key: shape for key, (shape, _) in manifest.items()}
    assert shapes(model) == official
    assert num_parameters(model) == 108_948_355
    assert num_parameters(model.encoder) == 44_107_872
    assert num_parameters(model.decoder) == 64_653_923


def test_latent_diffusions_kl_f16_is_refused_by_the_names_of_its_decoder_attention():
    with torch.device("meta"):
        other = KL16Autoencoder(replace(KL16.network, decoder_attention=[4]))
        model = KL16Autoencoder(KL16.network)
        with pytest.raises(RuntimeError, match=r"Unexpected key.*decoder\.up\.4\.attn\.0"):
            model.load_state_dict(other.state_dict())
