"""Official checkpoints of MDTv2: every size, read, renamed and written back to the bit."""

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
from nextbasis.families.common.generator import build_backbone
from nextbasis.families.common.spec import TokenSpec
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

GIVEN = {"dropout": 0.0, "label_drop": 0.1, "mask_ratio": 0.3, "mask_spread": 0.2, "snr_bound": 5.0}
LATENTS = TokenSpec.of_grid((32, 32), channels=4, num_classes=1000)
PUBLISHED = {  # parameters, tensors, side block
    "mdtv2_s": (38_454_872, 188, 2_665_752),
    "mdtv2_b": (150_931_856, 186, 10_639_920),
    "mdtv2_xl": (742_263_904, 394, 23_920_576),
}


def weights() -> dict[str, Tensor]:
    tensors = load_file(fixture_path("mdtv2_open.safetensors"))
    return {n.removeprefix("weights."): t for n, t in tensors.items() if n.startswith("weights.")}


def assert_same(ours: dict[str, Tensor], official: dict[str, Tensor]) -> None:
    assert set(ours) == set(official)
    for name, tensor in official.items():
        assert ours[name].dtype == tensor.dtype and torch.equal(ours[name], tensor), name


def test_every_paper_config_is_compared() -> None:
    assert {path.stem for path in find("mdtv2").recipes.glob("model/paper/*")} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_the_published_ones(name: str) -> None:
    path = find("mdtv2").recipes / f"model/paper/{name}.yaml"
    model = section("model", safe_load(path.read_text(encoding="utf-8")))
    with torch.device("meta"):
        backbone = build_backbone(model, RASTER, LATENTS)
    side = backbone.get_submodule("side_blocks")
    shapes = official_shapes(model, LATENTS)
    counts = [sum(p.numel() for p in part.parameters()) for part in (backbone, side)]
    assert (counts[0], len(shapes), counts[1]) == PUBLISHED[name]
    assert infer("mdtv2", shapes, as_dict(model), None) == (model, LATENTS)


def test_the_largest_has_exactly_the_official_tensors() -> None:
    manifest = json.loads(fixture_path("manifests/mdtv2_xl2_256.json").read_text())
    entries = manifest.get("tensors", manifest.get("state_dict", manifest))
    shapes = {name: tuple(shape) for name, (shape, *_) in entries.items()}
    given = complete("mdtv2", shapes, {})
    model, spec = infer("mdtv2", shapes, given, None)
    assert spec == LATENTS and official_shapes(model, spec) == shapes


@pytest.mark.parametrize(
    ("file", "factor"),
    [("mdt_xl2_v2_ckpt.pt", 0.5), ("model000004.pt", 0), ("ema_0.9999_000004.pt", 0)],
)
def test_official_files_are_read_and_written_back(file: str, factor: float) -> None:
    path = fixture_path(f"ckpt/mdtv2_open/{file}")
    imported = import_checkpoint("mdtv2", path, GIVEN)
    assert imported.source == "flat" and not imported.extra
    assert_same(export_state(imported), read_checkpoint(path)[0])
    if factor:
        expected = import_state("mdtv2", weights(), GIVEN).state
        assert_same(imported.state, {name: factor * t for name, t in expected.items()})


def test_export_is_exact_through_the_folder(tmp_path: Path) -> None:
    official = weights()
    imported = import_state("mdtv2", official, GIVEN)
    save_imported(tmp_path / "out", imported, basis_config(), RASTER)
    assert_same(export_state(load_imported(tmp_path / "out")), official)
    made, _ = load_generator(tmp_path / "out")
    assert_same(dict(made.backbone.state_dict()), imported.state)


def test_wrong_tensors_are_named() -> None:
    official = weights()
    official.pop("mask_token")
    official["surprise.weight"] = torch.ones(3)
    with pytest.raises(ValueError, match="missing: mask_token") as error:
        import_state("mdtv2", official, GIVEN)
    assert "unexpected: surprise.weight" in str(error.value)
    for name in weights():
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            import_state("mdtv2", {k: t for k, t in weights().items() if k != name}, GIVEN)


def test_wrong_displacements_are_refused() -> None:
    name = "sideblocks.0.attn.rel_pos_bias.relative_position_index"
    official = weights()
    official[name] = official[name].T
    with pytest.raises(ValueError, match=f"constants differ .*: {name};"):
        import_state("mdtv2", official, GIVEN)


def test_values_that_shapes_cannot_tell_must_be_given() -> None:
    with pytest.raises(ValueError, match="mask_ratio, model.mask_spread, model.snr_bound"):
        import_state("mdtv2", weights(), {"dropout": 0.0, "label_drop": 0.1})


def test_another_family_is_named() -> None:
    with pytest.raises(ValueError, match="of family mdtv2, not mar"):
        import_state("mar", weights(), {})
