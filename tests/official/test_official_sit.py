"""Checkpoints of SiT and REPA: exact sizes, all layouts of their files, to the bit."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from yaml import safe_load

from builders import basis_config
from fixtures_at_hand import fixture_path
from nextbasis.config import as_dict, section
from nextbasis.families import find
from nextbasis.families.common.checkpoint import load_generator
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.sit.config import SiTConfig
from nextbasis.families.sit.official import current
from nextbasis.official import (
    export_state,
    import_checkpoint,
    import_state,
    load_imported,
    save_imported,
)
from nextbasis.official.names import RASTER, official_shapes
from nextbasis.official.sizes import complete, infer
from nextbasis.support.weights import read_checkpoint

SPEC = TokenSpec.of_grid((32, 32), channels=4, num_classes=1000)
# Parameters and constant positions, as the official codes count them, by patch.
SIZES = {
    "sit_s": {2: 32_963_360, 4: 32_945_024, 8: 33_148_160},
    "sit_b": {2: 130_512_416, 4: 130_475_648, 8: 130_881_536},
    "sit_l": {2: 458_102_816, 4: 458_053_760, 8: 458_594_816},
    "sit_xl": {2: 675_129_632, 4: 675_074_432, 8: 675_683_072},
    "repa_b": {2: 137_845_008},
    "repa_l": {2: 465_955_600},
    "repa_xl": {2: 683_242_512},
}
PROJECTORS = {"repa_b": 7_344_896, "repa_l": 7_869_184, "repa_xl": 8_131_328}
FIXTURES = {
    "sit": {"num_heads": 4, "dropout": 0.0, "label_drop": 0.1},
    "repa": {
        "num_heads": 4,
        "dropout": 0.0,
        "label_drop": 0.1,
        "align_depth": 2,
        "align_weight": 0.5,
        "time_one": "noise",
    },
}


def paper(name: str) -> SiTConfig:
    path = find("sit").recipes / f"model/paper/{name}.yaml"
    model = section("model", safe_load(path.read_text(encoding="utf-8")))
    assert isinstance(model, SiTConfig)
    return model


def parameters(model: SiTConfig, spec: TokenSpec = SPEC) -> int:
    return sum(math.prod(shape) for shape in official_shapes(model, spec).values())


@pytest.mark.parametrize(("name", "patch"), [(n, p) for n, sizes in SIZES.items() for p in sizes])
def test_models_have_exactly_the_official_sizes(name: str, patch: int) -> None:
    model = replace(paper(name), patch=patch)
    assert parameters(model) == SIZES[name][patch]
    if name in PROJECTORS:
        plain = {"align_weight": 0.0, "align_depth": 0, "align_hidden": 0, "teacher_widths": ""}
        without = replace(model, **plain)
        assert parameters(model) - parameters(without) == PROJECTORS[name]


def test_every_paper_config_is_compared() -> None:
    assert {path.stem for path in find("sit").recipes.glob("model/paper/*.yaml")} == set(SIZES)


@pytest.mark.parametrize(
    ("title", "name", "changes", "side"),
    [
        ("sit_xl2_256", "sit_xl", {}, 32),
        ("sit_xl2_256_nosigma", "sit_xl", {"learn_sigma": False}, 32),
        ("repa_sit_xl2_256", "repa_xl", {}, 32),
        ("repa_sit_xl2_512", "repa_xl", {}, 64),
    ],
)
def test_manifests_are_ours_and_tell_the_sizes(
    title: str, name: str, changes: dict[str, Any], side: int
) -> None:
    model, spec = replace(paper(name), **changes), replace(SPEC, levels=((side, side),))
    manifest = json.loads(fixture_path(f"manifests/{title}.json").read_text())
    shapes = {key: tuple(shape) for key, (shape, *_) in manifest.items()}
    assert official_shapes(model, spec) == shapes
    told, found = infer("sit", shapes, as_dict(model), None)
    assert told == model and found == spec
    if not changes:
        released = infer("sit", shapes, complete("sit", shapes, {}), None)[0]
        assert released == model


def weights(kind: str) -> dict[str, Tensor]:
    tensors = load_file(fixture_path(f"sit_repa_{kind}_open.safetensors"))
    prefix = "weights."
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def assert_same(ours: dict[str, Tensor], official: dict[str, Tensor]) -> None:
    assert set(ours) == set(official)
    for name, tensor in official.items():
        assert ours[name].dtype == tensor.dtype and torch.equal(ours[name], tensor), name


@pytest.mark.parametrize("kind", FIXTURES)
def test_a_file_goes_through_the_folder_and_back(kind: str, tmp_path: Path) -> None:
    official = weights(kind)
    imported = import_state("sit", official, FIXTURES[kind])
    assert imported.model.time_one == {"sit": "data", "repa": "noise"}[kind]
    save_imported(tmp_path / "out", imported, basis_config(), RASTER)
    loaded = load_imported(tmp_path / "out")
    assert (loaded.model, loaded.spec) == (imported.model, imported.spec)
    assert_same(export_state(loaded), official)
    generator, _ = load_generator(tmp_path / "out")
    assert_same(dict(generator.backbone.state_dict()), imported.state)


@pytest.mark.parametrize(
    ("kind", "file", "source"),
    [
        ("sit", "SiT-XL-2-64x64.pt", "flat"),
        ("sit", "0000004.pt", "ema"),
        ("repa", "last.pt", "flat"),
        ("repa", "0000004.pt", "ema"),
    ],
)
def test_official_files_are_read_and_written_back(kind: str, file: str, source: str) -> None:
    path = fixture_path(f"ckpt/sit_repa_{kind}_open/{file}")
    imported = import_checkpoint("sit", path, FIXTURES[kind])
    assert imported.source == source
    assert_same(export_state(imported), read_checkpoint(path)[0])
    if source == "flat":
        expected = {
            name: tensor if name == "pos_embed" else 0.5 * tensor
            for name, tensor in weights(kind).items()
        }
        assert_same(export_state(imported), expected)


def test_older_files_of_repa_get_the_names_of_today() -> None:
    """They name the blocks after the aligned one decoder_blocks.0 and so on."""
    older, _ = read_checkpoint(fixture_path("ckpt/sit_repa_repa_open/legacy.pt"))
    today, _ = read_checkpoint(fixture_path("ckpt/sit_repa_repa_open/last.pt"))
    assert "decoder_blocks.0.attn.qkv.weight" in older
    assert_same(current(older), today)
    assert_same(current(today), today)
    path = fixture_path("ckpt/sit_repa_repa_open/legacy.pt")
    assert_same(export_state(import_checkpoint("sit", path, FIXTURES["repa"])), today)


@pytest.mark.parametrize("kind", FIXTURES)
def test_any_one_tensor_missing_is_named(kind: str) -> None:
    official = weights(kind)
    for name in official:
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            import_state("sit", {k: t for k, t in official.items() if k != name}, FIXTURES[kind])


def test_what_shapes_do_not_tell_must_be_given() -> None:
    """Without a second half of outputs and without projectors a file may be of either clock."""
    official = weights("sit")
    for part in ("weight", "bias"):
        name = f"final_layer.linear.{part}"
        official[name] = official[name].unflatten(0, (4, 8))[:, :4].flatten(0, 1)
    with pytest.raises(ValueError, match="does not tell model.time_one"):
        import_state("sit", official, FIXTURES["sit"])
    imported = import_state("sit", official, FIXTURES["sit"] | {"time_one": "noise"})
    assert not imported.model.learn_sigma
    with pytest.raises(ValueError, match="model.align_depth must lie in"):
        given = {key: value for key, value in FIXTURES["repa"].items() if key != "align_depth"}
        import_state("sit", weights("repa"), given)
