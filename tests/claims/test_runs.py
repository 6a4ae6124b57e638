"""What runs differ in, and which reading of BAR's objective they are, by the real catalog too."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from nextbasis.claims import runs
from nextbasis.claims.inputs import check_claims, load_claims
from nextbasis.pipeline.catalog import load_catalog

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(REPOSITORY)
    return load_catalog()


def settings(**line: Any) -> runs.Settings:
    return runs.settings({"runs": {}}, {"run": "x", "basis": "bar", "seed": 0} | line)


def test_overrides_are_keys_of_the_config() -> None:
    found = settings(
        overrides="basis.init=file:a.npy +basis.options.scales=[1,2] basis.detach_target=true",
        sampling="sampler.num_iter=4",
        images=5,
    )
    assert found == {
        "basis": "bar",
        "basis.init": "file:a.npy",
        "basis.options.scales": [1, 2],
        "basis.detach_target": True,
        "sampler.num_iter": 4,
    }


def test_runs_differ_in_what_their_lines_say() -> None:
    one = settings(model="b", overrides="basis.snr_clip=0 order.scan=hilbert")
    assert runs.differing(one, settings(model="b", seed=3, overrides="order.scan=hilbert")) == [
        "basis.snr_clip"
    ]
    assert runs.differing(one, one) == []
    assert runs.differing(one, settings(model="l")) == ["model", "basis.snr_clip", "order.scan"]


@pytest.mark.parametrize(
    ("sides", "named", "found"),
    [
        (("xar_b_hard", "xar_b_none"), ["basis.projection"], []),
        (("xar_b_hard", "xar_b_none"), [], ["basis.projection: hard, none"]),
        (("xar_b_hard", "xar_b_bar"), [], ["basis.projection: hard, as in its file"]),
        (("xar_b_bar", "xar_b"), ["basis.init"], ["basis: bar, identity"]),
        (("xar_b_hard", "xar_b"), ["basis"], []),
        (("rar_a_000_400", "rar_b"), ["order"], []),
        (("rar_l", "rar_b"), ["order"], ["model: small/rar_l, small/rar_b"]),
        (("rar_b", "mar_b"), ["system"], []),
    ],
)
def test_what_a_claim_does_not_name_is_found(
    catalog: dict[str, Any], sides: tuple[str, str], named: list[str], found: list[str]
) -> None:
    assert runs.unnamed(catalog, "study", sides, named) == found


def test_seeds_of_a_system_differ_in_nothing(catalog: dict[str, Any]) -> None:
    catalog["cpu"]["evals"]["xar_b_s1"]["train"] = "cpu/longer"
    for sides in (("xar_b_bar", "xar_b"), ("xar_b", "mar_b")):
        found = runs.unnamed(catalog, "cpu", sides, ["system"])
        assert found == ["train: cpu/xar, cpu/longer"]


def test_a_claim_whose_runs_differ_in_more_is_refused_by_name(catalog: dict[str, Any]) -> None:
    for key in ("mar_b_bar", "mar_b_bar_s1", "mar_b_bar_s2"):
        catalog["cpu"]["evals"][key]["train"] = "cpu/longer"
    message = (
        "claims.bar_gain_mar_b: at scale cpu the runs of mar_b_bar and mar_b differ in train: "
        "cpu/longer, cpu/mar; the claim names basis under `differ`"
    )
    with pytest.raises(ValueError) as error:
        check_claims(load_claims(), catalog)
    assert message in str(error.value)
    assert "bar_gain_mar_l" not in str(error.value)


def test_a_claim_names_what_a_run_has(catalog: dict[str, Any]) -> None:
    claims = load_claims()
    claims["claims"]["bar_gain_mar_b"]["differ"] = ["basis", "budget"]
    with pytest.raises(ValueError, match="differ must be one of system, family, .*got 'budget'"):
        check_claims(claims, catalog)


@pytest.mark.parametrize(
    ("system", "name"),
    [
        ("mar_b_bar", "r0"),
        ("xar_b_bar", "r0 of constant weight"),  # 1 / t^2 is never below 1, the clip
        ("xar_b_r0_clip5", "r0, snr_clip 5, noise_level sequence"),
        ("xar_b_r0_literal", "r0, snr_clip 0, noise_level sequence"),
        ("xar_b_r0_inverse", "r0_inverse of constant weight"),
        ("xar_b_r4", "r4"),
        ("xar_b_detached", "l_bar, detach_target True"),
        ("xar_b", ""),
        ("xar_b_klt", ""),
        ("nobody", ""),
    ],
)
def test_reading_of_a_system(catalog: dict[str, Any], system: str, name: str) -> None:
    assert runs.reading(catalog, "study", system) == name


def tried(catalog: dict[str, Any], system: str, than: str) -> list[str]:
    return runs.readings_tried(catalog, "study", {"system": system, "than": than})


def test_readings_tried_are_those_that_the_scale_runs(catalog: dict[str, Any]) -> None:
    found = tried(catalog, "xar_b_bar", "xar_b")
    assert found[0] == "r0 of constant weight" and len(set(found)) == len(found)
    assert {name.split(",")[0].split()[0] for name in found} == {
        *("r0", "r0_inverse", "r1", "r2", "r3", "r4", "l_bar")
    }
    assert tried(catalog, "mar_b_bar", "mar_b") == ["r0", "l_bar", "r4"]
    assert tried(catalog, "xar_b_orthogonal", "xar_b") == ["r0 of constant weight"]
    assert tried(catalog, "xar_b_bar", "xar_b_hard") == ["r0 of constant weight"]  # both have it
    assert tried(catalog, "xar_b_bar", "xar_b_lbar") == found
    assert tried(catalog, "xar_b_klt", "xar_b") == []


def test_a_basis_without_its_file_is_named(
    catalog: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="no config/basis/bar.yaml; run from"):
        runs.reading(catalog, "cpu", "xar_b_bar")


def test_every_choice_is_a_key_of_a_basis() -> None:
    for path in (REPOSITORY / runs.BASES).glob("*.yaml"):
        keys = set(yaml.safe_load(path.read_text(encoding="utf-8")))
        assert {choice.removeprefix("basis.") for choice in runs.CHOICES} <= keys
