"""VQ-16 and VQ-8 of LlamaGen: names and sizes of the released files, and their own rules."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from command import ROOT, assert_same, refused, run
from fixtures_at_hand import fixture_path
from networks import LLAMAGEN_VQ, SMALL_LLAMAGEN_VQ
from nextbasis.config import section
from nextbasis.official.autoencoders import load_tokenizer
from nextbasis.parity.fixture import open_fixture
from nextbasis.support.weights import read_checkpoint
from nextbasis.tokenizers.common.loading import build
from nextbasis.tokenizers.common.pretrained import read_weights
from nextbasis.tokenizers.llamagen_vq import parity
from nextbasis.tokenizers.llamagen_vq.model import LlamaGenVQ, LlamaGenVQTokenizer
from nextbasis.tokenizers.llamagen_vq.parity_training import entropy_loss, usage

# Of the two released kinds: config, list of tensors, parameters of all, the encoder, the decoder.
RELEASED = [
    ("llamagen_vq", "llamagen_vq_ds16", 71_883_403, 29_298_176, 42_449_795),
    ("llamagen_vq8", "llamagen_vq_ds8", 70_109_835, 28_559_232, 41_415_171),
]


def random_network() -> LlamaGenVQ:
    torch.manual_seed(0)
    return LlamaGenVQ(SMALL_LLAMAGEN_VQ).eval().requires_grad_(False)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("name", "title", "count", "encoder", "decoder"), RELEASED)
def test_released_sizes_have_the_released_tensors(
    name: str, title: str, count: int, encoder: int, decoder: int
) -> None:
    text = (ROOT / f"config/tokenizer/{name}.yaml").read_text(encoding="utf-8")
    with torch.device("meta"):
        model = LlamaGenVQ(section("tokenizer", yaml.safe_load(text)).network)
    manifest = json.loads(fixture_path(f"manifests/{title}.json").read_text(encoding="utf-8"))
    found = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
    assert {key: shape for key, (shape, _) in manifest.items()} == found
    parts = [model, model.encoder, model.decoder]
    counts = [sum(parameter.numel() for parameter in part.parameters()) for part in parts]
    assert counts == [count, encoder, decoder]


def test_the_official_file_gives_the_official_ids_and_images() -> None:
    fixture = open_fixture(fixture_path("llamagen_vq_open.safetensors"))
    network = parity.config_of(fixture.value("config"), 3)
    path = fixture_path("ckpt/llamagen_vq_open/vq_ds16_c2i.pt")
    config = replace(LLAMAGEN_VQ, network=network, weights=str(path))
    model = build(config, 16, 3)
    assert isinstance(model, LlamaGenVQTokenizer)
    model.network.load_state_dict(read_weights(config)[0])
    assert torch.equal(model.encode(fixture["in.images"]), fixture["out.indices"])
    again = model.decode(fixture["in.codes"])
    torch.testing.assert_close(again, fixture["out.decoded_from_codes"], rtol=0, atol=1e-4)


def test_a_training_s_file_may_be_read_by_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of averaged and trained weights the first are read, as the official reconstruction does."""
    monkeypatch.chdir(ROOT)
    path = fixture_path("ckpt/llamagen_vq_open/0005000.pt")
    run(capsys, "import", "llamagen_vq", path, tmp_path / "ema")
    run(capsys, "import", "llamagen_vq", path, tmp_path / "model", "--section", "model")
    averaged, trained = (load_tokenizer(tmp_path / which).state for which in ("ema", "model"))
    assert_same(averaged, read_checkpoint(path)[0])
    assert_same(trained, read_checkpoint(path, "model")[0])
    assert not all(torch.equal(averaged[name], trained[name]) for name in trained)
    said = refused(capsys, "import", "maskgit_vqgan", path, tmp_path / "out")
    assert "is of family llamagen_vq, not maskgit_vqgan" in said


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 40), (24, 8)])
def test_shapes_of_rectangular_images(height: int, width: int) -> None:
    images, model = torch.rand(2, 3, height, width, generator=seeded(0)), random_network()
    ids = model.encode(images)
    assert ids.shape == (2, height // 4, width // 4)
    assert model.decode(ids).shape == images.shape


def test_ids_are_the_codes_of_the_nearest_direction_by_brute_force() -> None:
    model = random_network()
    images = torch.rand(2, 3, 8, 12, generator=seeded(0))
    vectors, ids = model.quant_conv(model.encoder(images)).double(), model.encode(images)
    codebook = model.quantize.embedding.weight.double()
    for b, y, x in ((b, y, x) for b in range(2) for y in range(2) for x in range(3)):
        cosines = torch.cosine_similarity(vectors[b, :, y, x], codebook, dim=1).tolist()
        assert cosines.index(max(cosines)) == ids[b, y, x]


def test_lengths_of_codes_do_not_count() -> None:
    model = random_network()
    images, ids = torch.rand(2, 3, 8, 8, generator=seeded(0)), torch.arange(16).view(1, 4, 4)
    before, decoded = model.encode(images), model.decode(ids)
    model.quantize.embedding.weight.mul_(torch.rand(32, 1, generator=seeded(1)) + 0.5)
    assert torch.equal(model.encode(images), before)
    torch.testing.assert_close(model.decode(ids), decoded)
    codes = model.quantize.codes(ids)
    torch.testing.assert_close(codes.norm(dim=1), torch.ones(1, 4, 4))
    assert torch.equal(model.quantize.nearest(codes), ids)


def test_attention_is_at_the_lowest_resolution_only() -> None:
    model = random_network()
    for levels, where in (
        (model.encoder.conv_blocks, [False, False, True]),
        (model.decoder.conv_blocks, [True, False, False]),
    ):
        parts = [any(".q." in name for name in level.state_dict()) for level in levels]
        assert parts == where


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 48}, "tokenizer.network.width must be a positive multiple of 32, got 48"),
        ({"codebook_size": 0}, "tokenizer.network.codebook_size must be above 0, got 0"),
        ({"hidden_channels": 0}, "tokenizer.network.hidden_channels must be above 0, got 0"),
    ],
)
def test_impossible_sizes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL_LLAMAGEN_VQ, **changes)


# Its training, of which the open fixture has no entropy


@pytest.mark.parametrize(
    ("distances", "expected"),
    [
        (torch.zeros(6, 4), 0.0),  # all undecided: as much entropy apart as together
        (4 * (1 - torch.eye(4)), -math.log(4)),  # all sure of another code
        (4 * (1 - torch.eye(4)[:1]).expand(5, 4), 0.0),  # all sure of one
    ],
)
def test_entropy_is_low_apart_and_high_together(distances: Tensor, expected: float) -> None:
    assert float(entropy_loss(distances)) == pytest.approx(expected, abs=1e-4)


def test_usage_counts_the_latest_ids_and_code_0_for_places_never_written() -> None:
    latest = torch.zeros(8)
    latest[-3:] = torch.tensor([5.0, 6.0, 7.0])
    assert float(usage(latest, torch.tensor([[1, 2]]), 16)) == 6 / 16
    assert float(usage(latest, torch.full((8,), 3), 16)) == 1 / 16
