"""Tokens that are no grid of one number or id each, from their tokenizer to the model's spec."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from builders import basis_config, model_config, order_config, write_cache
from nextbasis.data.arrays import Dataset
from nextbasis.data.layout import TokenLayout
from nextbasis.data.tokens import CODES, TokenCache
from nextbasis.families.common.generator import build_backbone, start_of
from nextbasis.families.common.spec import TokenSpec
from nextbasis.stages import tokenizer as stage
from nextbasis.stages import tokens
from nextbasis.support.files import read_json, write_json
from nextbasis.tokenizers.common.loading import save_tokenizer
from nextbasis.tokenizers.common.tokenizer import Tokenizer
from toy_tokenizers import COUNT, PATCHES, SIZE, pixels, tokens_stage, workspace

__all__ = ["workspace"]  # a fixture
CACHE = Path("results/toy/tokens/a")


def pooled(images: Tensor, side: int) -> Tensor:
    """Mean pixels of a grid, in raster order."""
    return F.adaptive_avg_pool2d(images, side).flatten(1)


def ids(pixels: Tensor, size: int) -> Tensor:
    """The interval of [-1, 1] that each pixel is in, out of `size`."""
    return ((pixels + 1) / 2 * size).long().clamp(0, size - 1)


def levels(images: Tensor) -> Tensor:
    """Ids of three levels, coarse to fine."""
    return torch.cat([ids(pooled(images, side), 7) for side in (1, 2, 4)], 1)


def pairs(images: Tensor) -> Tensor:
    """Two ids a token, of codebooks that differ in size."""
    means = pooled(images, 2)
    return torch.stack([ids(means, 4), ids(means, 16) % 4], 2)


def bits(images: Tensor) -> Tensor:
    """Three bits a token."""
    return torch.stack([pooled(images, 2) > edge for edge in (-0.3, 0.0, 0.3)], 2)


def row(images: Tensor) -> Tensor:
    """Ids without a place in the image: of the eight columns."""
    return ids(images.mean((1, 2)), 9)


def latents(images: Tensor) -> Tensor:
    """Two numbers for each of four tokens without a place in the image."""
    return images.mean((1, 2)).view(-1, 4, 2)


Encode = Callable[[Tensor], Tensor]
TOYS: dict[str, tuple[TokenLayout, Encode]] = {
    "levels": (
        TokenLayout(kind="ids", levels=((1, 1), (2, 2), (4, 4)), sizes=(7,)),
        levels,
    ),
    "pairs": (TokenLayout(kind="ids", levels=((2, 2),), sizes=(4, 16)), pairs),
    "bits": (TokenLayout(kind="bits", levels=((2, 2),), sizes=(3,)), bits),
    "row": (TokenLayout(kind="ids", levels=(), length=8, sizes=(9,)), row),
    "latents": (TokenLayout(kind="numbers", levels=(), length=4, sizes=(2,)), latents),
}
STORED = {  # shape of an image's tokens, and their type on disk and in a batch
    "levels": ((21,), np.int32, torch.int64),
    "pairs": ((4, 2), np.int32, torch.int64),
    "bits": ((4, 3), np.bool_, torch.bool),
    "row": ((8,), np.int32, torch.int64),
    "latents": ((4, 2), np.float32, torch.float32),
}


CODES_OF_LEVELS = {"codebook": torch.arange(14.0).view(7, 2)}


class Toy(Tokenizer):
    """Encodes as it is told; decodes to grey images."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.layout, self._encode = TOYS[name]

    def encode(self, images: Tensor) -> Tensor:
        return self._encode(images)

    def decode(self, tokens: Tensor) -> Tensor:
        return torch.zeros(len(tokens), 1, SIZE, SIZE)

    def codes(self) -> dict[str, Tensor]:
        return CODES_OF_LEVELS if len(self.layout.levels) == 3 else {}


@pytest.fixture(params=TOYS)
def toy(request: pytest.FixtureRequest, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A toy whose tokens stage tokens has made."""
    made = Toy(request.param)
    folder = Path("results/toy/tokenizer/a")
    folder.mkdir(parents=True)
    save_tokenizer(made, PATCHES, {"size": SIZE, "channels": 1}, folder)
    monkeypatch.setattr(tokens, "load_tokenizer", lambda path: made)
    tokens.main(tokens_stage())
    return request.param


def test_tokens_of_every_kind_reach_the_cache(toy: str) -> None:
    layout, encode = TOYS[toy]
    shape, on_disk, in_batch = STORED[toy]
    cache = TokenCache(CACHE)
    assert cache.layout == layout and layout.shape == shape
    assert cache.tokens.shape == (COUNT, 2, *shape) and cache.tokens.dtype == on_disk
    rows = np.arange(COUNT)
    for view, images in enumerate((pixels(), pixels().flip(3))):
        found = cache.tokens.take(rows, np.full(COUNT, view))
        np.testing.assert_allclose(found, encode(images).numpy(), atol=1e-6)
    drawn = cache.draw(rows[:6], torch.Generator().manual_seed(0))
    assert drawn.shape == (6, *shape) and drawn.dtype == in_batch
    either = torch.stack([encode(pixels()[:6]), encode(pixels()[:6].flip(3))])
    assert (drawn == either).flatten(2).all(2).any(0).all()


def test_what_ids_stand_for_reaches_the_cache(toy: str) -> None:
    """Nothing, of tokenizers that do not tell it."""
    wanted, found = CODES_OF_LEVELS if toy == "levels" else {}, TokenCache(CACHE).codes()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    (CACHE / CODES).write_bytes(b"half a file")
    with pytest.raises(ValueError, match="a/codes.safetensors is corrupt .*; rerun stage tokens"):
        TokenCache(CACHE).codes()
    (CACHE / CODES).unlink()
    with pytest.raises(FileNotFoundError, match="no file .*a/codes.safetensors; rerun stage token"):
        TokenCache(CACHE).codes()


def test_layouts_survive_both_json_files(toy: str) -> None:
    layout, _ = TOYS[toy]
    assert TokenLayout.of(read_json(CACHE / "index.json")["layout"]) == layout
    index = read_json(Path("results/toy/tokenizer/a/index.json"))
    assert TokenLayout.of(index["layout"]) == layout
    spec = TokenSpec.of_layout(TokenCache(CACHE).layout, None, 3, None)
    assert TokenSpec.of(json.loads(json.dumps(spec.as_dict()))) == spec
    assert (spec.num_classes, spec.num_rows, spec.num_tokens) == (3, 0, layout.shape[0])


@pytest.mark.parametrize("name", TOYS)
def test_codes_are_counted_for_each_id_and_bit(name: str, workspace: Path) -> None:
    """Against Counter, place by place."""
    measured = stage.measure(Toy(name), Dataset(Path("results/toy/dataset")), 4)
    if name == "latents":
        assert measured.keys() == {"mse", "psnr"}
        return
    encoded = TOYS[name][1](pixels(9)).long().numpy()
    places = encoded.reshape(-1, encoded.shape[2] if encoded.ndim == 3 else 1).T.tolist()
    counts = [Counter(place) for place in places]
    shares = [np.array(list(count.values())) / count.total() for count in counts]
    entropy = np.mean([-np.sum(share * np.log(share)) for share in shares])
    assert measured["codes_used"] == sum(map(len, counts))
    assert measured["perplexity"] == pytest.approx(np.exp(entropy))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "words"}, "kind of tokens must be one of numbers, ids, bits; got 'words'"),
        ({"levels": []}, r"levels or a length, got \(\) and 0"),
        ({"length": 4}, r"levels or a length, got \(\(2, 2\),\) and 4"),
        ({"levels": [[2, 0]]}, r"must be above 0, got \(\(2, 0\),\)"),
        ({"sizes": []}, r"sizes of tokens must be above 0, got \(\)"),
        ({"sizes": [4, 0]}, r"sizes of tokens must be above 0, got \(4, 0\)"),
        ({"kind": "bits", "sizes": [4, 4]}, r"tokens that are bits have one size, got \(4, 4\)"),
        ({"grid": [2, 2]}, "told by kind, levels, sizes, length; got grid, kind"),
    ],
)
def test_a_wrong_index_names_the_file_and_the_value(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    layout = TokenLayout.of_grid((2, 2), codebook_size=4)
    write_cache(tmp_path, np.zeros((6, 2, 4), np.int32), np.zeros(6, np.int64), layout)
    index = read_json(tmp_path / "index.json")
    write_json(tmp_path / "index.json", index | {"layout": index["layout"] | changes})
    with pytest.raises(ValueError, match=rf"{tmp_path}/index.json: .*{message}.*; rerun stage tok"):
        TokenCache(tmp_path)


def test_shards_of_another_layout_are_named(tmp_path: Path) -> None:
    layout = TokenLayout(kind="ids", levels=((2, 2),), sizes=(4, 16))
    write_cache(tmp_path, np.zeros((6, 2, 4), np.int32), np.zeros(6, np.int64), layout)
    with pytest.raises(ValueError, match=r"00000.npy has shape \(6, 2, 4\), expected .* 4, 2\)"):
        TokenCache(tmp_path)


@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize("changes", [{"init": "dct"}, {"learned": True}])
def test_a_basis_needs_numbers_on_one_grid(name: str, changes: dict[str, Any]) -> None:
    layout = TOYS[name][0]
    assert start_of(basis_config(), layout, torch.empty, 0) is None
    config = basis_config(**changes)
    wanted = rf"basis.init={config.init} and .* need tokens .* {re.escape(str(layout))}"
    with pytest.raises(ValueError, match=wanted):
        start_of(config, layout, torch.empty, 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("levels", r"one grid of tokens is needed, these are 1 x 1 \+ 2 x 2 \+ 4 x 4 tokens of 7"),
        ("pairs", "tokens of one id are needed, these are 2 x 2 tokens of 4 x 16 ids"),
        ("bits", "model.family=rar needs tokens that are ids and these are bits"),
    ],
)
def test_a_model_of_one_id_on_one_grid_refuses_others(name: str, message: str) -> None:
    spec = TokenSpec.of_layout(TOYS[name][0], None, 3, None)
    with pytest.raises(ValueError, match=message):
        build_backbone(model_config("rar"), order_config(), spec)
