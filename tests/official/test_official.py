"""Official checkpoints: read, checked, renamed, and written back to the bit."""

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
from nextbasis.families import find, names
from nextbasis.families.common.checkpoint import load_generator
from nextbasis.families.common.generator import build_backbone
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
from nextbasis.official.sizes import infer
from nextbasis.support.weights import read_checkpoint

GIVEN: dict[str, dict[str, Any]] = {
    "mar": {
        "encoder_heads": 4,
        "decoder_heads": 2,
        "dropout": 0.1,
        "label_drop": 0.1,
        "head_batch_mul": 4,
        "mask_ratio_min": 0.7,
        "mask_ratio_std": 0.25,
    },
    "xar": {"dropout": 0.1, "label_drop": 0.1},
    "rar": {"dropout": 0.1, "label_drop": 0.1},
}
PAPER = {
    path.stem: path for name in GIVEN for path in find(name).recipes.glob("model/paper/*.yaml")
}


def weights(family: str) -> dict[str, Tensor]:
    tensors = load_file(fixture_path(f"{family}_open.safetensors"))
    prefix = "weights."
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def assert_same(ours: dict[str, Tensor], official: dict[str, Tensor]) -> None:
    assert set(ours) == set(official)
    for name, tensor in official.items():
        assert ours[name].dtype == tensor.dtype, name
        assert torch.equal(ours[name], tensor), name


@pytest.mark.parametrize(
    ("family", "file", "factor", "source"),
    [
        ("mar", "ckpt/mar_open/checkpoint-last.pth", 0.5, "model_ema"),
        ("xar", "ckpt/xar_open/checkpoint-last.pth", 0.5, "model_ema"),
        ("xar", "ckpt/xar_open/xAR-flat.pth", 1.0, "flat"),
    ],
)
def test_official_files_hold_the_fixtures_weights(
    family: str, file: str, factor: float, source: str
) -> None:
    imported = import_checkpoint(family, fixture_path(file), GIVEN[family])
    assert imported.source == source
    expected = import_state(family, weights(family), GIVEN[family])
    assert imported.model == expected.model and imported.spec == expected.spec
    assert_same(imported.state, {name: factor * t for name, t in expected.state.items()})
    assert_same(export_state(imported), read_checkpoint(fixture_path(file))[0])


@pytest.mark.parametrize("family", ["mar", "xar", "rar"])
def test_export_is_exact_through_the_folder(family: str, tmp_path: Path) -> None:
    official = weights(family)
    imported = import_state(family, official, GIVEN[family])
    save_imported(tmp_path / "out", imported, basis_config(), RASTER)
    loaded = load_imported(tmp_path / "out")
    assert (loaded.model, loaded.spec) == (imported.model, imported.spec)
    assert_same(export_state(loaded), official)
    generator, _ = load_generator(tmp_path / "out")
    assert_same(dict(generator.backbone.state_dict()), imported.state)


def test_rar_has_the_surplus_rows_of_the_official_tables() -> None:
    imported = import_state("rar", weights("rar"), GIVEN["rar"])
    assert (imported.model.surplus_positions, imported.model.surplus_timesteps) == (1022, 98)
    assert imported.spec.num_tokens == 16 and not imported.extra


def test_surplus_rows_of_other_number_must_fit_both_tables() -> None:
    given = GIVEN["rar"] | {"surplus_positions": 1018, "surplus_timesteps": 94}
    assert import_state("rar", weights("rar"), given, (4, 5)).spec.num_tokens == 20
    with pytest.raises(ValueError, match="timesteps_embeddings has shape"):
        import_state("rar", weights("rar"), given | {"surplus_timesteps": 98}, (4, 5))


@pytest.mark.parametrize("name", PAPER)
def test_paper_sizes_are_read_off_the_official_shapes(name: str) -> None:
    family, size = name.split("_")
    model = section("model", yaml(PAPER[name]))
    titles = {"mar": f"MAR-{size.upper()}", "xar": f"xAR-{size.upper()}", "rar": f"rar_{size}"}
    manifest = json.loads(fixture_path(f"manifests/{titles[family]}.json").read_text())
    entries = manifest.get("tensors", manifest.get("state_dict", manifest))
    shapes = {key: tuple(value[0]) for key, value in entries.items()}
    inferred, spec = infer(family, shapes, as_dict(model), None)
    assert inferred == model
    assert spec.grid == (16, 16) and spec.num_classes == 1000
    assert official_shapes(model, spec) == shapes


def yaml(path: Path) -> dict[str, Any]:
    return dict(safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("family", ["mar", "xar", "rar"])
def test_names_go_there_and_back(family: str) -> None:
    imported = import_state(family, weights(family), GIVEN[family])
    backbone = build_backbone(imported.model, RASTER, imported.spec)
    assert set(backbone.state_dict()) == set(imported.state)
    for name in backbone.state_dict():
        assert our_name(family, official_name(family, name)) == name


@pytest.mark.parametrize("family", ["mar", "xar", "rar"])
def test_every_wrong_tensor_is_named(family: str) -> None:
    official = weights(family)
    names = list(GIVEN_AWAY[family])
    official.pop(names[0])
    official[names[1]] = official[names[1]][..., :-1]
    official["surprise.weight"] = torch.ones(3)
    with pytest.raises(ValueError) as error:
        import_state(family, official, GIVEN[family])
    message = str(error.value)
    assert "3 tensors do not fit" in message
    assert f"missing: {names[0]}" in message
    assert "unexpected: surprise.weight" in message
    assert f"{names[1]} has shape" in message


GIVEN_AWAY = {
    "mar": ("mask_token", "encoder_blocks.1.attn.qkv.weight"),
    "xar": ("encoder_norm.weight", "decoder_blocks.0.mlp.fc1_g.bias"),
    "rar": ("cls_token", "blocks.2.adaLN_modulation.1.weight"),
}


@pytest.mark.parametrize("family", ["mar", "xar", "rar"])
def test_any_one_tensor_missing_is_named(family: str) -> None:
    official = weights(family)
    for name in official:
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            import_state(family, {k: t for k, t in official.items() if k != name}, GIVEN[family])


@pytest.mark.parametrize("family", ["mar", "xar", "rar"])
def test_another_family_is_named(family: str) -> None:
    for other in {"mar", "xar", "rar"} - {family}:
        with pytest.raises(ValueError, match=f"of family {family}, not {other}"):
            import_state(other, weights(family), GIVEN[other])


def test_a_tokenizer_is_no_backbone() -> None:
    path = fixture_path("ckpt/vae_open/kl16.ckpt")
    with pytest.raises(ValueError, match="of family kl16, not mar"):
        import_checkpoint("mar", path, GIVEN["mar"])


def test_unknown_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="not of family rar: it lacks lm_head.weight"):
        import_state("rar", {"conv1.weight": torch.ones(3)}, GIVEN["rar"])


def test_another_size_is_refused() -> None:
    wanted = yaml(PAPER["mar_b"])
    with pytest.raises(ValueError, match="model.encoder_width is 768 .* and 48 in the checkpoint"):
        import_state("mar", weights("mar"), wanted)


def test_values_that_shapes_cannot_tell_must_be_given() -> None:
    with pytest.raises(ValueError, match="model.encoder_heads, model.decoder_heads"):
        import_state("mar", weights("mar"), {})


def test_tokens_that_form_no_square_need_a_grid() -> None:
    official = weights("rar")
    for name in ("pos_embed", "target_aware_pos_embed", "timesteps_embeddings"):
        official[name] = official[name][:, :-4]
    with pytest.raises(ValueError, match="12 tokens per image, which is no 3 x 3 grid"):
        import_state("rar", official, GIVEN["rar"])
    assert import_state("rar", official, GIVEN["rar"], (2, 6)).spec.grid == (2, 6)


@pytest.mark.parametrize("name", ["mask", "encoder_blocks.1.attn.rope.freqs_cos"])
def test_wrong_constants_of_xar_are_refused(name: str) -> None:
    official = weights("xar")
    official[name] = torch.zeros_like(official[name])
    with pytest.raises(ValueError, match=f"constants differ .*: {name};"):
        import_state("xar", official, GIVEN["xar"])


def test_constants_rounded_otherwise_survive_the_round_trip() -> None:
    official = weights("xar")
    name = "encoder_blocks.0.attn.rope.freqs_sin"
    official[name] = official[name] + 1e-7
    imported = import_state("xar", official, GIVEN["xar"])
    assert list(imported.extra) == [f"official.{name}"]
    assert_same(export_state(imported), official)


def test_tensors_of_integers_are_refused() -> None:
    official = weights("rar")
    official["lm_head.bias"] = official["lm_head.bias"].long()
    with pytest.raises(ValueError, match="not floating-point numbers: lm_head.bias"):
        import_state("rar", official, GIVEN["rar"])


@pytest.mark.parametrize("family", ["mar", "xar", "rar"])
def test_weights_that_are_not_finite_are_named(family: str) -> None:
    official = weights(family)
    name = list(official)[-1]
    official[name] = official[name].clone()
    official[name].view(-1)[-1] = torch.nan
    message = rf"1 of \d+ tensors hold numbers that are not finite .*: {name}"
    with pytest.raises(ValueError, match=message.replace(".weight", r"\.weight")):
        import_state(family, official, GIVEN[family])


def test_a_prefix_that_is_no_wrapper_is_named() -> None:
    official = {f"net.{name}": tensor for name, tensor in weights("mar").items()}
    with pytest.raises(ValueError, match=r"104 of 104 tensors have 'net\.' in front"):
        import_state("mar", official, GIVEN["mar"])


def test_unknown_families_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=f"family must be one of {', '.join(names())}; got 'nosuch'"
    ):
        import_checkpoint("nosuch", tmp_path / "absent.pth", {})


def test_a_trained_folder_is_not_an_imported_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no imported model"):
        load_imported(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="trained here"):
        load_imported(tmp_path)
