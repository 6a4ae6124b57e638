"""Official checkpoints of LlamaGen and PAR: sizes, names, and the round trip to the bit."""

import json
from pathlib import Path

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
from nextbasis.official import (
    export_state,
    import_checkpoint,
    import_state,
    load_imported,
    official_name,
    our_name,
    save_imported,
)
from nextbasis.official.names import RASTER, official_shapes
from nextbasis.official.sizes import complete, infer
from nextbasis.support.weights import read_checkpoint

FAMILIES = ("llamagen", "par")
GIVEN = {"num_heads": 4, "dropout": 0.1, "label_drop": 0.1}
GRIDS = {"llamagen": (4, 4), "par": (6, 6)}
MANIFESTS = {
    "llamagen_b": "llamagen_B",
    "llamagen_l": "llamagen_L",
    "llamagen_xl": "llamagen_XL",
    "llamagen_xxl": "llamagen_XXL",
    "llamagen_3b": "llamagen_3B",
    "par_xl_4x": "par_XL_4x",
    "par_xxl_4x": "par_XXL_4x",
    "par_3b_4x": "par_3B_4x",
    "par_3b_16x": "par_3B_16x",
}


def weights(family: str) -> dict[str, Tensor]:
    tensors = load_file(fixture_path(f"{family}_open.safetensors"))
    prefix = "weights."
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def assert_same(ours: dict[str, Tensor], official: dict[str, Tensor]) -> None:
    assert set(ours) == set(official)
    for name, tensor in official.items():
        assert ours[name].dtype == tensor.dtype and torch.equal(ours[name], tensor), name


def manifest(name: str) -> dict[str, tuple[int, ...]]:
    content = json.loads(fixture_path(f"manifests/{MANIFESTS[name]}.json").read_text("utf-8"))
    return {key: tuple(shape) for key, (shape, _) in content.items()}


@pytest.mark.parametrize("name", MANIFESTS)
def test_sizes_of_the_papers_are_read_off_the_official_shapes(name: str) -> None:
    family, shapes = name.split("_")[0], manifest(name)
    path = find(family).recipes / f"model/paper/{name}.yaml"
    model = section("model", safe_load(path.read_text(encoding="utf-8")))
    told = {key: value for key, value in as_dict(model).items() if key not in ("width", "depth")}
    inferred, spec = infer(family, shapes, told, (24, 24))
    assert inferred == model and official_shapes(model, spec) == shapes
    assert (spec.grid, spec.codebook_size, spec.num_classes) == ((24, 24), 16_384, 1000)


@pytest.mark.parametrize("name", MANIFESTS)
def test_what_shapes_do_not_tell_is_taken_from_the_released_model_of_these_sizes(name: str) -> None:
    family, shapes = name.split("_")[0], manifest(name)
    path = find(family).recipes / f"model/paper/{name}.yaml"
    heads = safe_load(path.read_text(encoding="utf-8"))["num_heads"]
    assert complete(family, shapes, {})["num_heads"] == heads
    with pytest.raises(ValueError, match="does not tell how many tokens .* --grid"):
        infer(family, shapes, complete(family, shapes, {}), None)


@pytest.mark.parametrize(
    ("family", "file", "factor", "source"),
    [
        ("llamagen", "llamagen_open/c2i_B_256.pt", 1.0, "model"),
        ("llamagen", "llamagen_open/c2i_XXL_384.pt", 1.0, "flat"),
        ("llamagen", "llamagen_open/0005000.pt", 1.01, "ema"),
        ("par", "par_open/PAR-XL-4x.pt", 1.0, "model"),
        ("par", "par_open/0005000.pt", 1.01, "ema"),
    ],
)
def test_official_files_hold_the_fixtures_weights(
    family: str, file: str, factor: float, source: str
) -> None:
    path = fixture_path(f"ckpt/{file}")
    imported = import_checkpoint(family, path, GIVEN, GRIDS[family])
    expected = import_state(family, weights(family), GIVEN, GRIDS[family])
    assert imported.source == source
    assert imported.model == expected.model and imported.spec == expected.spec
    assert_same(imported.state, {name: factor * t for name, t in expected.state.items()})
    assert_same(export_state(imported), read_checkpoint(path)[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_export_is_exact_through_the_folder(family: str, tmp_path: Path) -> None:
    official = weights(family)
    imported = import_state(family, official, GIVEN, GRIDS[family])
    save_imported(tmp_path / "out", imported, basis_config(), RASTER)
    loaded = load_imported(tmp_path / "out")
    assert (loaded.model, loaded.spec) == (imported.model, imported.spec)
    assert_same(export_state(loaded), official)
    generator, _ = load_generator(tmp_path / "out")
    assert_same(dict(generator.backbone.state_dict()), imported.state)
    names = list(imported.state)
    assert [our_name(family, official_name(family, name)) for name in names] == names


@pytest.mark.parametrize("family", FAMILIES)
def test_any_one_tensor_missing_is_named(family: str) -> None:
    official = weights(family)
    for name in set(official) - {"spe_tok_embeddings.special_embeddings.weight"}:
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            rest = {key: tensor for key, tensor in official.items() if key != name}
            import_state(family, rest, GIVEN, GRIDS[family])


@pytest.mark.parametrize(("family", "other"), [FAMILIES, FAMILIES[::-1]])
def test_each_is_told_from_the_other(family: str, other: str) -> None:
    with pytest.raises(ValueError, match=f"of family {other}, not {family}"):
        import_state(family, weights(other), GIVEN, (4, 4))
