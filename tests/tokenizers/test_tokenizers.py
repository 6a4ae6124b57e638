"""Tokenizers and the stages that make and use them, on images of a few pixels."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nextbasis.config import (
    RebaseStage,
)
from nextbasis.data.tokens import TokenCache
from nextbasis.stages import rebase, tokenizer, tokens
from nextbasis.support.files import sha256, write_json
from nextbasis.tokenizers.common.codes import nearest
from nextbasis.tokenizers.common.loading import build, load_tokenizer, save_tokenizer
from nextbasis.tokenizers.common.rebased import RebasedTokenizer
from nextbasis.tokenizers.common.standardise import Standardise
from nextbasis.tokenizers.vq.model import VQTokenizer
from toy_tokenizers import (
    COUNT,
    KL,
    PATCHES,
    SIZE,
    basis_config,
    pixels,
    run_tokenizer,
    token_config,
    tokens_stage,
    workspace,
)

__all__ = ["workspace"]  # a fixture


def test_patches_are_exactly_invertible_and_in_raster_order():
    patches = build(PATCHES, SIZE, 1)
    images = pixels()
    patches.fit([images])
    made = patches.encode(images)
    assert made.shape == (COUNT, 16, 4)
    torch.testing.assert_close(patches.decode(made), images)
    raw = images[0, 0, 2:4, 4:6].flatten()  # second row of patches, third of four columns
    expected = (raw - patches.standardise.mean) * patches.standardise.scale
    torch.testing.assert_close(made[0, 6], expected)


def test_patches_with_the_wrong_channels_are_refused():
    with pytest.raises(ValueError, match="tokenizer.latent_channels must be 12 .* got 4"):
        build(PATCHES, SIZE, 3)


@pytest.mark.parametrize("config", [PATCHES, KL])
def test_tokens_have_mean_zero_and_deviation_one_per_channel(config):
    torch.manual_seed(0)
    model = build(config, SIZE, 1)
    model.fit(pixels().split(10))
    rows = model.encode(pixels()).flatten(0, 1)
    torch.testing.assert_close(rows.mean(0), torch.zeros(rows.shape[1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        rows.std(0, correction=0), torch.ones(rows.shape[1]), atol=1e-4, rtol=0
    )


def test_constant_channel_keeps_scale_one():
    standardise = Standardise(2)
    rows = torch.stack([torch.full((50,), 3.0), torch.arange(50.0)], 1)
    standardise.fit([rows[:20], rows[20:]])
    assert standardise.scale[0] == 1
    torch.testing.assert_close(1 / standardise.scale[1], rows[:, 1].std(correction=0))
    torch.testing.assert_close(standardise.inverse(standardise(rows)), rows)


def test_latents_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        Standardise(1).fit([torch.tensor([[float("nan")]])])


def test_nearest_code_equals_brute_force():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(40, 5, generator=generator)
    codebook = torch.randn(9, 5, generator=generator)
    expected = [
        min(range(9), key=lambda k: float(((vector - codebook[k]) ** 2).sum()))
        for vector in vectors
    ]
    assert nearest(vectors, codebook).tolist() == expected


def test_vq_decodes_its_own_codes_to_themselves():
    torch.manual_seed(0)
    model = build(token_config(), SIZE, 1)
    model.codebook.normal_()
    ids = model.encode(pixels())
    assert ids.shape == (COUNT, 4) and ids.dtype == torch.int64
    torch.testing.assert_close(model.decode(ids), model.decode_latents(model.codebook[ids]))


def test_codebook_moves_to_the_mean_of_its_vectors():
    torch.manual_seed(0)
    model = build(token_config(codebook_size=2, latent_channels=1), SIZE, 1)
    vectors = torch.tensor([[0.0], [1.0], [10.0]])
    model.codebook.copy_(torch.tensor([[1.0], [9.0]]))
    model.share.fill_(0.5)
    model.total.copy_(model.codebook / 2)
    for _ in range(300):
        model._follow(vectors, nearest(vectors, model.codebook))
    torch.testing.assert_close(model.codebook, torch.tensor([[0.5], [10.0]]))
    torch.testing.assert_close(model.share, torch.tensor([2 / 3, 1 / 3]))


def test_dead_codes_restart_at_vectors_of_the_batch():
    model = build(token_config(latent_channels=1), SIZE, 1)
    model.share.fill_(1 / 7)
    model.share[3] = 0
    model._restart(torch.full((5, 1), 42.0), torch.Generator().manual_seed(0))
    assert model.codebook[:, 0].tolist() == [0, 0, 0, 42, 0, 0, 0]


def test_gradient_passes_the_quantiser_straight_through():
    torch.manual_seed(0)
    model = build(token_config(commitment=0.0), SIZE, 1)
    model.loss(pixels(8), torch.Generator().manual_seed(0)).backward()
    assert all(parameter.grad is not None for parameter in model.encoder.parameters())
    assert any(parameter.grad.abs().max() > 0 for parameter in model.encoder.parameters())


def test_flips_mirror_whole_images_half_of_the_time():
    images = torch.arange(8.0).expand(2000, 1, 1, 8)
    flipped = tokenizer.random_flip(images, torch.Generator().manual_seed(0))[:, 0, 0]
    mirrored = (flipped == torch.arange(7, -1, -1)).all(1)
    assert (mirrored | (flipped == torch.arange(8)).all(1)).all()
    assert 0.45 < mirrored.float().mean() < 0.55


@pytest.mark.parametrize("config", [PATCHES, KL, token_config()])
def test_stage_writes_what_load_reads_and_repeats_to_the_bit(workspace, config):
    folder = run_tokenizer("a", config)
    again = run_tokenizer("b", config)
    assert sha256(folder / "tokenizer.safetensors") == sha256(again / "tokenizer.safetensors")
    measured = [json.loads((path / "metrics.json").read_text()) for path in (folder, again)]
    assert measured[0].pop("config_sha256") != measured[1].pop("config_sha256")  # other keys
    assert measured[0] == measured[1]
    model = load_tokenizer(folder)
    made = model.encode(pixels())
    assert made.shape[:2] == (COUNT, model.layout.num_tokens)
    assert model.decode(made).shape == (COUNT, 1, SIZE, SIZE)
    assert (model.layout.kind == "ids") == (config.kind == "vq")
    assert not any(parameter.requires_grad for parameter in model.parameters())
    lines = (folder / "curve.csv").read_text().splitlines()
    assert lines[0] == "step,loss" and len(lines) == 1 + (0 if config.kind == "patches" else 6)


def test_measured_psnr_equals_the_error_of_the_reconstructions(workspace):
    folder = run_tokenizer("a", KL)
    model = load_tokenizer(folder)
    images = pixels(9)
    error = float((model.decode(model.encode(images)).clamp(-1, 1) - images).square().mean())
    measured = json.loads((folder / "metrics.json").read_text())
    assert measured["psnr"] == pytest.approx(-10 * np.log10(error / 4), rel=1e-6)


def test_loss_that_is_not_finite_names_step_and_leaves_nothing(workspace):
    with pytest.raises(ValueError, match=r"tokenizer bad: the loss is (nan|inf) at step \d"):
        run_tokenizer("bad", token_config("kl", lr=1e30))
    assert not Path("results/toy/tokenizer/bad").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"downsample": 3}, "tokenizer.downsample must divide dataset.image_size 8, got 3"),
        ({"downsample": 1}, "tokenizer.downsample must be a power of two, at least 2"),
        ({"batch_size": 49}, r"batch_size must lie in \[1, 48\]"),
    ],
)
def test_impossible_sizes_name_the_key(workspace, changes, message):
    with pytest.raises(ValueError, match=message):
        run_tokenizer("bad", token_config(**changes))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (
            "vae",
            {},
            "tokenizer.kind must be one of kl, kl16, .*patches, .*vq; got 'vae'",
        ),
        ("patches", {"lr": 0.1}, "tokenizer.lr.*the keys of tokenizer are kind, encode_batch_size"),
        ("vq", {"codebook_size": 1}, "tokenizer.codebook_size must be at least 2, got 1"),
        ("kl", {"encode_batch_size": 0}, "tokenizer.encode_batch_size must be above 0, got 0"),
    ],
)
def test_a_kind_takes_its_own_keys_only(kind, changes, message):
    with pytest.raises(ValueError, match=message):
        token_config(kind, **changes)


def test_paper_sizes_build_without_literals_for_the_image():
    config = token_config("kl", downsample=16, latent_channels=16, width=8)
    model = build(config, 256, 3)
    assert model.layout.grid == (16, 16) and model.layout.channels == 16
    with torch.no_grad():
        assert model.decode(model.encode(torch.zeros(1, 3, 256, 256))).shape == (1, 3, 256, 256)


def test_load_names_what_is_missing_damaged_or_foreign(workspace):
    with pytest.raises(FileNotFoundError, match="nowhere/index.json"):
        load_tokenizer(Path("nowhere"))
    folder = run_tokenizer("a", KL)
    weights = folder / "tokenizer.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(ValueError, match="tokenizer.safetensors has SHA-256 .* expected"):
        load_tokenizer(folder)
    save_file({"other": torch.zeros(1)}, weights)
    index = json.loads((folder / "index.json").read_text())
    write_json(folder / "index.json", index | {"sha256": sha256(weights)})
    with pytest.raises(ValueError, match="tokenizer.safetensors does not fit"):
        load_tokenizer(folder)


@pytest.mark.parametrize("config", [PATCHES, KL, token_config()])
def test_token_cache_holds_plain_and_mirrored_images(workspace, config):
    folder = run_tokenizer("a", config)
    tokens.main(tokens_stage())
    cache = TokenCache(Path("results/toy/tokens/a"))
    model = load_tokenizer(folder)
    for flip, view in enumerate((pixels(), pixels().flip(3))):
        expected = model.encode(view).numpy()
        found = cache.tokens.take(np.arange(COUNT), np.full(COUNT, flip))
        np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(cache.labels, np.arange(COUNT) % 3)
    assert cache.tokens.dtype == (np.int32 if config.kind == "vq" else np.float32)


@pytest.mark.parametrize("init", ["identity", "random", "klt", "file:turned.npy"])
def test_rebased_ids_are_the_nearest_codes_of_the_coefficients(workspace, init):
    run_tokenizer("vq", token_config())
    np.save("turned.npy", np.linalg.qr(np.arange(16.0).reshape(4, 4) ** 0.5).Q)
    rebase.main(
        RebaseStage(
            reproducible=True, scale="toy", key="b", seed=0, parent="vq", basis=basis_config(init)
        )
    )
    model = load_tokenizer(Path("results/toy/tokenizer/b"))
    assert isinstance(model, RebasedTokenizer) and isinstance(model.parent, VQTokenizer)
    weight = model.weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(4), atol=1e-5, rtol=0)
    z = model.parent.latents(pixels())
    y = torch.stack([sum(weight[k, n] * z[:, n] for n in range(4)) for k in range(4)], 1)
    ids = model.encode(pixels())
    for k in range(4):
        assert ids[:, k].tolist() == torch.cdist(y[:, k], model.codebooks[k]).argmin(1).tolist()
    y_again = torch.stack([model.codebooks[k][ids[:, k]] for k in range(4)], 1)
    z_again = torch.linalg.solve(weight, y_again)
    torch.testing.assert_close(model.decode(ids), model.parent.decode_latents(z_again))


def test_rebased_codes_decode_to_themselves():
    torch.manual_seed(0)
    model = RebasedTokenizer(build(token_config(), SIZE, 1))
    model.codebooks.normal_()
    model.weight.copy_(torch.linalg.qr(torch.randn(4, 4)).Q)
    ids = torch.randint(7, (5, 4))
    y = torch.stack([model.codebooks[k][ids[:, k]] for k in range(4)], 1)
    z = torch.einsum("kn,bkd->bnd", model.weight, y)
    torch.testing.assert_close(torch.einsum("kn,bnd->bkd", model.weight, z), y)
    assert torch.equal(
        torch.stack([nearest(y[:, k], model.codebooks[k]) for k in range(4)], 1), ids
    )


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        (basis_config("klt", learned=True), "basis.learned must be false"),
        (basis_config("scaled"), "basis.init must be one of identity, .*klt.* got 'scaled'"),
        (
            basis_config("file:scaled.npy"),
            "basis.init=file:scaled.npy must be orthogonal, it is near",
        ),
    ],
)
def test_rebase_refuses_a_basis_it_cannot_use(workspace, basis, message):
    run_tokenizer("vq", token_config())
    np.save("scaled.npy", 0.9 * np.eye(4))
    with pytest.raises(ValueError, match=message):
        rebase.main(
            RebaseStage(reproducible=True, scale="toy", key="b", seed=0, parent="vq", basis=basis)
        )


def test_rebase_refuses_a_continuous_parent(workspace):
    run_tokenizer("kl", KL)
    with pytest.raises(
        ValueError, match="parent must be a tokenizer of one codebook on one grid.* got 'kl'"
    ):
        rebase.main(
            RebaseStage(
                reproducible=True,
                scale="toy",
                key="b",
                seed=0,
                parent="kl",
                basis=basis_config("klt"),
            )
        )


def test_saved_index_records_mean_and_scale(tmp_path):
    torch.manual_seed(0)
    model = build(KL, SIZE, 1)
    model.fit([pixels()])
    index = save_tokenizer(model, KL, {"size": SIZE, "channels": 1}, tmp_path)
    latents = model.encoder(pixels()).detach().permute(0, 2, 3, 1).flatten(0, 2)
    np.testing.assert_allclose(index["mean"], latents.mean(0), atol=1e-6)
    np.testing.assert_allclose(
        1 / np.array(index["scale"]), latents.std(0, correction=0), rtol=1e-4
    )
