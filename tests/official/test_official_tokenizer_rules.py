"""KL-16 and MaskGIT-VQGAN by their own rules, whatever their weights are."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from networks import SMALL_KL, SMALL_VQ
from nextbasis.data.posterior import Posterior
from nextbasis.tokenizers.common import blocks
from nextbasis.tokenizers.kl16.config import KL16Config
from nextbasis.tokenizers.kl16.model import KL16Autoencoder
from nextbasis.tokenizers.maskgit_vqgan import model as maskgit_vqgan
from nextbasis.tokenizers.maskgit_vqgan.config import MaskGITVQGANConfig
from nextbasis.tokenizers.maskgit_vqgan.model import MaskGITVQGAN


def random_kl(config: KL16Config = SMALL_KL) -> KL16Autoencoder:
    torch.manual_seed(0)
    return KL16Autoencoder(config).eval().requires_grad_(False)


def random_vq(config: MaskGITVQGANConfig = SMALL_VQ) -> MaskGITVQGAN:
    torch.manual_seed(0)
    return MaskGITVQGAN(config).eval().requires_grad_(False)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 40), (24, 8)])
def test_shapes_of_rectangular_images(height: int, width: int):
    images = torch.rand(2, 3, height, width, generator=seeded(0))
    kl, vq = random_kl(), random_vq()
    moments = kl.encode(images)
    assert moments.shape == (2, 8, height // 4, width // 4)
    assert kl.decode(moments[:, :4]).shape == images.shape
    ids = vq.encode(images)
    assert ids.shape == (2, height // 4, width // 4)
    assert vq.decode(ids).shape == images.shape


def test_one_channel_and_attention_in_the_decoder_are_configuration():
    config = replace(SMALL_KL, image_channels=1, decoder_attention=[0, 2])
    model = random_kl(config)
    assert model.encode(torch.zeros(1, 1, 8, 8)).shape == (1, 8, 2, 2)
    assert model.decode(torch.zeros(1, 4, 2, 2)).shape == (1, 1, 8, 8)
    parts = [len(list(level.attn.parameters())) > 0 for level in model.decoder.up]
    assert parts == [True, False, True]


def test_vqgan_ids_are_the_nearest_codes_by_brute_force():
    model = random_vq()
    images = torch.rand(2, 3, 8, 12, generator=seeded(0))
    vectors, ids = model.encoder(images).double(), model.encode(images)
    codebook = model.quantize.embedding.weight.double()
    for b, y, x in ((b, y, x) for b in range(2) for y in range(2) for x in range(3)):
        distances = [float((vectors[b, :, y, x] - code).square().sum()) for code in codebook]
        assert distances.index(min(distances)) == ids[b, y, x]


def test_codes_are_their_own_nearest_codes():
    quantiser = random_vq().quantize
    ids = torch.randint(32, (3, 4, 5), generator=seeded(0))
    codes = quantiser.codes(ids)
    assert torch.equal(quantiser.nearest(codes), ids)
    assert float(quantiser.loss(codes, ids)) == 0


def test_quantisation_loss_weighs_the_encoders_part_alone_by_the_commitment():
    torch.manual_seed(0)
    quantiser = MaskGITVQGAN(replace(SMALL_VQ, commitment=0.5)).quantize
    vectors = torch.randn(1, 8, 2, 2, requires_grad=True)
    ids = quantiser.nearest(vectors)
    quantiser.loss(vectors, ids).backward()
    mean_gradient = 2 * (vectors - quantiser.codes(ids)).detach() / vectors.numel()
    torch.testing.assert_close(vectors.grad, 0.5 * mean_gradient)
    expected = torch.zeros_like(quantiser.embedding.weight)
    expected.index_add_(0, ids.flatten(), -mean_gradient.permute(0, 2, 3, 1).flatten(0, 2))
    torch.testing.assert_close(quantiser.embedding.weight.grad, expected)


def test_vqgan_images_stay_in_the_unit_interval():
    model = random_vq()
    with torch.no_grad():
        model.decoder.conv_out.weight.mul_(100)
    images = model.decode(torch.arange(16).view(1, 4, 4))
    assert images.min() == 0 and images.max() == 1


def test_posterior_samples_have_its_mean_and_deviation():
    count = 100_000
    mean, logvar = torch.tensor([-3.0, 0.5]), torch.tensor([-2.0, 1.0])
    moments = torch.cat((mean, logvar)).view(1, 4, 1, 1).expand(count, 4, 1, 1)
    draws = Posterior.of(moments).sample(seeded(0)).flatten(1)
    std = (0.5 * logvar).exp()
    standard_errors = (draws.mean(0) - mean) / std * count**0.5
    assert standard_errors.abs().max() < 5
    assert ((draws.std(0) / std - 1) * (2 * count) ** 0.5).abs().max() < 5


def test_kl_of_the_posterior_equals_torch_distributions():
    moments = torch.randn(3, 4, 2, 2, generator=seeded(0))
    posterior = Posterior.of(moments)
    normal = torch.distributions.Normal(posterior.mean, posterior.std)
    standard = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(normal, standard).sum((1, 2, 3))
    torch.testing.assert_close(posterior.kl(), expected)


def test_attention_equals_explicit_softmax_over_positions():
    torch.manual_seed(0)
    part = blocks.SpatialAttention(32).requires_grad_(False)
    x = torch.randn(2, 32, 3, 5, generator=seeded(0))
    h = F.group_norm(x, 32, eps=1e-6)
    q, k, v = (
        torch.einsum("ed,bdhw->behw", conv.weight[:, :, 0, 0], h).flatten(2)
        + conv.bias[:, None].expand(32, 15)
        for conv in (part.q, part.k, part.v)
    )
    weights = (torch.einsum("bdq,bdk->bqk", q, k) / 32**0.5).softmax(2)
    mixed = torch.einsum("bqk,bdk->bdq", weights, v).view_as(x)
    torch.testing.assert_close(part(x), x + part.proj_out(mixed))


def test_downsampling_pads_on_the_right_and_at_the_bottom_only():
    part = blocks.Downsample(1).requires_grad_(False)
    part.conv.weight.fill_(1)
    part.conv.bias.zero_()
    out = part(torch.ones(1, 1, 4, 4))
    assert out[0, 0].tolist() == [[9, 6], [6, 4]]


@pytest.mark.parametrize("after", [32, 64])
def test_kl16_residual_block_keeps_its_input(after: int):
    block = blocks.ResidualBlock(32, after).requires_grad_(False)
    block.conv2.weight.zero_()
    block.conv2.bias.zero_()
    x = torch.randn(1, 32, 3, 3, generator=seeded(0))
    torch.testing.assert_close(block(x), block.nin_shortcut(x))
    assert after != 32 or torch.equal(block(x), x)


def test_vqgan_residual_block_drops_its_input_where_the_width_changes():
    same = maskgit_vqgan.ResidualBlock(32, 32).requires_grad_(False)
    wider = maskgit_vqgan.ResidualBlock(32, 64).requires_grad_(False)
    x = torch.randn(1, 32, 3, 3, generator=seeded(0))
    for block in (same, wider):
        block.conv2.weight.zero_()
    assert torch.equal(same(x), x)
    assert torch.equal(wider(x), torch.zeros(1, 64, 3, 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 48}, "tokenizer.network.width must be a positive multiple of 32, got 48"),
        ({"multipliers": [1, 0]}, "tokenizer.network.multipliers must be positive integers"),
        ({"encoder_attention": [3]}, r"encoder_attention must name levels in \[0, 3\), got \[3\]"),
        ({"scale": 0.0}, "tokenizer.network.scale must be above 0, got 0.0"),
    ],
)
def test_impossible_kl16_sizes_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        replace(SMALL_KL, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "tokenizer.network.width must be a positive multiple of 32, got 0"),
        ({"codebook_size": 0}, "tokenizer.network.codebook_size must be above 0, got 0"),
        ({"commitment": -1.0}, "tokenizer.network.commitment must not be negative, got -1.0"),
    ],
)
def test_impossible_vqgan_sizes_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        replace(SMALL_VQ, **changes)
