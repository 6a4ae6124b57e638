"""VAR's official checkpoints: every released size, there and back to the bit."""

import json
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
from nextbasis.families.common.generator import build_backbone
from nextbasis.families.common.spec import TokenSpec
from nextbasis.official import (
    export_state,
    import_checkpoint,
    import_state,
    load_imported,
    official_name,
    save_imported,
)
from nextbasis.official.names import RASTER, official_shapes
from nextbasis.official.sizes import infer
from nextbasis.support.weights import read_checkpoint

NAMES = ("var_open", "var_saln_open")
GIVEN = {"dropout": 0.0, "label_drop": 0.1, "drop_path": 0.3, "gate_init": 1e-3}
SIDES = {256: (1, 2, 3, 4, 5, 6, 8, 10, 13, 16), 512: (1, 2, 3, 4, 6, 9, 13, 18, 24, 32)}
PUBLISHED = {
    "var_d16": ("var_d16", 256, 310_283_520),
    "var_d20": ("var_d20", 256, 600_917_136),
    "var_d24": ("var_d24", 256, 1_033_399_360),
    "var_d30": ("var_d30", 256, 2_010_020_356),
    "var_d36s": ("var_d36s_512", 512, 2_353_893_904),
}
FOLDER = find("var").recipes / "model" / "paper"


def paper(name: str) -> Any:
    return section("model", safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8")))


def weights(name: str) -> dict[str, Tensor]:
    tensors = load_file(fixture_path(f"{name}.safetensors"))
    prefix = "weights."
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def assert_same(ours: dict[str, Tensor], official: dict[str, Tensor]) -> None:
    assert set(ours) == set(official)
    for name, tensor in official.items():
        assert ours[name].dtype == tensor.dtype, name
        assert torch.equal(ours[name], tensor), name


def test_every_paper_config_is_compared() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_released_model_has_exactly_the_official_tensors(name: str) -> None:
    title, pixels, count = PUBLISHED[name]
    model, levels = paper(name), tuple((side, side) for side in SIDES[pixels])
    spec = TokenSpec(kind="ids", levels=levels, sizes=(4096,), num_classes=1000)
    with torch.device("meta"):
        backbone = build_backbone(model, RASTER, spec)
    assert sum(parameter.numel() for parameter in backbone.parameters()) == count
    manifest = json.loads(fixture_path(f"manifests/{title}.json").read_text(encoding="utf-8"))
    entries = manifest.get("tensors", manifest.get("state_dict", manifest))
    wanted = {key: tuple(shape) for key, (shape, *_) in entries.items()}
    assert official_shapes(model, spec) == wanted
    told, found = infer("var", wanted, as_dict(model), None, levels)
    assert told == model and found == spec


@pytest.mark.parametrize("name", NAMES)
def test_export_is_exact_through_the_folder(name: str, tmp_path: Path) -> None:
    official = weights(name)
    imported = import_state("var", official, GIVEN)
    assert imported.spec.levels == ((1, 1), (2, 2), (3, 3), (4, 4)) and not imported.extra
    assert imported.model.shared_modulation == (name == "var_saln_open")
    save_imported(tmp_path / "out", imported, basis_config(), RASTER)
    loaded = load_imported(tmp_path / "out")
    assert (loaded.model, loaded.spec) == (imported.model, imported.spec)
    assert_same(export_state(loaded), official)
    generator, _ = load_generator(tmp_path / "out")
    assert_same(dict(generator.backbone.state_dict()), imported.state)


@pytest.mark.parametrize("name", NAMES)
def test_official_files_hold_the_fixtures_weights(name: str) -> None:
    path = fixture_path(f"ckpt/{name}/var_d3.pth")
    imported = import_checkpoint("var", path, GIVEN)
    assert imported.source == "flat"
    assert_same(export_state(imported), weights(name))
    training = fixture_path(f"ckpt/{name}/ar-ckpt-last.pth")
    state, origin = read_checkpoint(training, "trainer/var_wo_ddp")
    assert origin.section == "trainer/var_wo_ddp" and set(state) == set(weights(name))


@pytest.mark.parametrize("name", NAMES)
def test_any_one_tensor_missing_is_named(name: str) -> None:
    official = weights(name)
    for missing in official:
        with pytest.raises(ValueError, match=missing.replace(".", r"\.")):
            import_state("var", {k: t for k, t in official.items() if k != missing}, GIVEN)


@pytest.mark.parametrize("name", NAMES)
def test_any_one_tensor_of_another_shape_is_refused(name: str) -> None:
    official = weights(name)
    told = {"word_embed.weight": "the numbers of a code, which nothing else does"}
    for wrong, tensor in official.items():
        if wrong in told:
            continue
        with pytest.raises(ValueError, match="of another shape|no squares"):
            import_state("var", official | {wrong: tensor[..., :-1]}, GIVEN)


def test_levels_that_are_no_squares_are_refused() -> None:
    official = weights("var_open")
    official["lvl_1L"] = torch.tensor([[0] * 2 + [1] * 28])
    with pytest.raises(ValueError, match=r"levels of 2 and 28 tokens|\[2, 28\] tokens"):
        import_state("var", official, GIVEN)


def test_a_wrong_mask_is_refused() -> None:
    official = weights("var_open")
    official["attn_bias_for_masking"] = torch.zeros_like(official["attn_bias_for_masking"])
    with pytest.raises(ValueError, match="constants differ .*: attn_bias_for_masking;"):
        import_state("var", official, GIVEN)


def test_names_are_the_official_ones() -> None:
    names = {
        "blocks.1.attn.q_norm.scale": "blocks.1.attn.scale_mul_1H11",
        "blocks.0.mlp.fc2.weight": "blocks.0.ffn.fc2.weight",
        "final_modulation.1.bias": "head_nm.ada_lin.1.bias",
        "pos_embed": "pos_1LC",
    }
    assert {ours: official_name("var", ours) for ours in names} == names
