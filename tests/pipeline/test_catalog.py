"""The catalog: names lead somewhere, schemas refuse the rest, its configs compose."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from nextbasis.pipeline.catalog import TABLES, catalog_file, load_catalog, read_files, scales
from nextbasis.pipeline.checks import (
    SCHEMAS,
    check_files,
    check_references,
    check_shape,
    headline,
)
from nextbasis.pipeline.schedule import Stages
from nextbasis.pipeline.stagelist import address, load_stages

IGNORED = shutil.ignore_patterns("__pycache__", "dvc.lock")
CATALOG = load_catalog()
STAGES = {scale: Stages(scale) for scale in scales(CATALOG)}


def test_configs_that_have_not_changed_are_composed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = Stages("tiny")
    stages.root = _root(tmp_path)
    stages.check_configs()
    monkeypatch.setattr("nextbasis.config.compose", None)
    stages.check_configs()
    (tmp_path / "dvc.yaml").unlink()
    (tmp_path / "dvc.yaml").write_text("")
    with pytest.raises(TypeError):
        stages.check_configs()


@pytest.mark.parametrize(
    "path",
    ["config/model.py", "families/xar/config.py", "families/xar/recipes/model/small/xar_b.yaml"],
)
def test_a_schema_or_recipe_that_has_changed_is_composed_again(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "nextbasis"
    shutil.copytree("src/nextbasis", package, ignore=IGNORED)
    monkeypatch.setattr("nextbasis.pipeline.schedule.PACKAGE", package)
    stages = Stages("tiny")
    before = stages._digest_of_configs()
    with (package / path).open("a", encoding="utf-8") as file:
        file.write("# edited\n")
    assert stages._digest_of_configs() != before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("basis.projektion=hard", "projektion"),
        ("basis.delta=two", "delta"),
        ("sampler=tiny/xar", "sampler"),
        ("basis.init=file:nope.npy", "basis.init=file:nope.npy: no such file"),
    ],
)
def test_wrong_overrides_name_stage_and_key(overrides: str, message: str, tmp_path: Path) -> None:
    stages = Stages("tiny")
    stages.catalog["tiny"]["runs"]["xar_b_bar"]["overrides"] = overrides
    stages.root = _root(tmp_path)
    stages.stages = [
        stage for stage in load_stages(stages.catalog) if stage.name == "train-tiny@xar_b_bar"
    ]
    with pytest.raises(ValueError, match=f"train-tiny@xar_b_bar.*{message}"):
        stages.check_configs()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("family", "mar", "tiny: train xar_b: family is 'mar' but model 'small/xar_b'"),
        ("construction", "tokens", "construction is 'tokens' but basis.init=identity is made in"),
    ],
)
def test_entries_say_what_their_recipes_say(
    key: str, value: str, message: str, tmp_path: Path
) -> None:
    stages = Stages("tiny")
    for group in ("runs", "evals"):
        stages.section[group]["xar_b"][key] = value
    stages.root = _root(tmp_path)
    with pytest.raises(ValueError, match=message):
        stages.check_configs()


def test_a_tokenizer_s_entry_says_its_kind(tmp_path: Path) -> None:
    stages = Stages("tiny")
    stages.section["tokenizers"]["vq"]["coder"] = "kl"
    stages.root = _root(tmp_path)
    with pytest.raises(ValueError, match="tokenizer vq: coder is 'kl' but tokenizer 'vq_digits'"):
        stages.check_configs()


def test_a_held_out_loss_of_captions_is_refused_before_anything_runs(tmp_path: Path) -> None:
    stages = Stages("tiny_text")
    key, entry = next(iter(stages.section["runs"].items()))
    stages.section["heldouts"] = {key: entry}
    stages.root = _root(tmp_path)
    with pytest.raises(ValueError, match=f"heldouts: {key} read captions 'words', which are words"):
        stages.check_configs()


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("tiny.runs.xar_b.tokens", "tiles", "tiny.runs.xar_b: no tokens 'tiles'"),
        ("tiny.evals.xar_b.run", "xarb", "tiny.evals.xar_b: no run 'xarb'"),
        ("tiny.evals.xar_b.family", "mar", "family is 'mar' but run 'xar_b' has 'xar'"),
        ("tiny.diagnoses.xar_b_bar.run", "xarb", "tiny.diagnoses.xar_b_bar: no run 'xarb'"),
        ("tiny.diagnoses.xar_b_bar.tokens", "vq", "tokens is 'vq' but run 'xar_b_bar' has"),
        (
            "tiny.diagnoses.rar_b",
            CATALOG["tiny"]["runs"]["rar_b"],
            "tiny.diagnoses.rar_b: RAR models",
        ),
        ("tiny.runs.xar_b.family", "nosuch", "tiny.runs.xar_b: no family 'nosuch'; choose one of"),
        ("tiny.runs.xar_b.captions", "words", "tiny.runs.xar_b: no captions 'words'"),
        ("tiny.runs.xar_b.run", "mar_b", "tiny.runs.xar_b: run must be the entry's own name"),
        ("tiny.rebased.vq_klt.parent", "vqq", "no parent 'vqq'"),
        ("tiny.rebased.vq", {"parent": "vq", "coder": "vq"}, "a tokenizer's already"),
        ("tiny.rebased.vq_klt.coder", "kl", "vq_klt: coder is 'kl' but parent 'vq' has 'vq'"),
        ("tiny.tokenizers.vq.coder", "vae", "tiny.tokenizers.vq: no coder 'vae'; choose one of kl"),
        ("tiny.runs.rar_b.coder", "kl", "runs.rar_b: coder is 'kl' but tokens 'vq' has 'vq'"),
        ("tiny.evals.rar_b.coder", "kl", "evals.rar_b: coder is 'kl' but run 'rar_b' has 'vq'"),
        ("tiny.same.rar_b", "xar_b", "evaluations have this system already"),
        ("tiny.same.other", "nobody", "no system 'nobody'"),
        ("tables.bar_main.metrics", ["fid", "kdi"], r"tables.bar_main.metrics .* got 'kdi'"),
        ("tables.bar_main.rows", [{"label": "x", "system": "nobody"}], "system 'nobody'"),
    ],
)
def test_names_that_lead_nowhere_are_named(where: str, value: object, message: str) -> None:
    catalog = _changed(where, value)
    with pytest.raises(ValueError, match=message):
        check_references(catalog)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("tiny.runs.xar_b.sed", 0),
        ("tiny.runs.xar_b.seed", "zero"),
        ("tiny.runs.xar_b.family", "v ar"),
        ("tiny.runs.xar_b.overrides", "basis.delta = 0.5"),
        ("tiny.runs.x@r", {}),
        ("tiny.evals.xar_b.images", 0),
        ("tiny.evals.xar_b.headline", "yes please"),
        ("tiny.diagnoses.rar_b", {"run": "rar_b"}),
        ("tiny.rums", {}),
    ],
)
def test_schema_refuses(where: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"scales/tiny/catalog.yaml:\n  ['\w]"):
        _validate(_changed(where, value))


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("tables.bar_main.metric", ["fid"]),
        ("tables.bar_main.metrics", []),
        ("tables.bar_main.kind", "system"),
        ("tables.bar_main.rows", [{"label": "x"}]),
        ("tables.bar_main.rows", [{"label": "x", "published": "BAR/main"}]),
        ("tables.bar_main.rows", [{"label": "x", "baseline": "mar_b", "published": "a/b/c"}]),
        ("tables.bar_main.varies", "sampler"),
        ("tables.bar_main.varies", "guidance"),  # rows without groups
        ("tables.bar_gains.varies", "budget"),  # pairs
        ("tables.mar_steps.rows", [{"group": "g", "label": "x", "system": "mar_b"}]),
    ],
)
def test_schema_refuses_tables(where: str, value: object) -> None:
    with pytest.raises(
        ValueError, match=r"config/tables.yaml:\n  (bar_main|bar_gains|mar_steps)[:.]"
    ):
        _validate(_changed(where, value))


def test_schemas_take_the_catalog() -> None:
    check_shape(CATALOG["tables"], "tables", TABLES)
    for scale in scales(CATALOG):
        check_files(scale)


@pytest.mark.parametrize("scale", STAGES)
def test_headline_rows_come_first_and_finish_early(scale: str) -> None:
    def priority(kind: str, key: str) -> int:
        return stages.priority(kind)({"scale": scale, "key": key})

    stages = STAGES[scale]
    needed = headline(CATALOG[scale])
    others = [key for key in stages.keys("score") if key not in needed["score"]]
    assert needed["score"] and others
    for key in needed["score"]:
        assert priority("score", key) > priority("sample", key)
        assert priority("sample", key) > max(priority("train", run) for run in needed["train"])
    late = max(priority(kind, key) for kind in ("train", "score") for key in others)
    late = max(late, *(priority("diagnose", key) for key in stages.keys("diagnose")))
    assert late < min(priority("train", run) for run in needed["train"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": "cpu"}, "tiny/catalog.yaml: scale must be the folder's name, tiny; got 'cpu'"),
        ({"rank": "first"}, "tiny/catalog.yaml: rank must be a whole number; got 'first'"),
        ({"evals": None}, "tiny/catalog.yaml: evals must be entries by name; got 'None'"),
    ],
)
def test_a_folder_that_is_no_scale_is_named(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    shutil.copytree("config", tmp_path / "config", symlinks=True)
    path = tmp_path / "config/scales/tiny/catalog.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        load_catalog(tmp_path)


def test_a_scale_of_parts_has_the_entries_of_all() -> None:
    whole, files = CATALOG["study"], read_files(Path(), "study")
    own, parts = files.pop(catalog_file("study")), files  # the rest
    assert [path.parent.name for path in parts] == own["parts"] == ["mar", "xar", "rar"]
    for group in ("runs", "evals", "heldouts", "diagnoses"):
        names = [name for content in (*parts.values(), own) for name in content[group]]
        assert list(whole[group]) == names and len(set(names)) == len(names)
    defined = {stage.name: stage for stage in load_stages(CATALOG, only=["study"])}
    for path, content in parts.items():
        file = (path.parent / "dvc.yaml").as_posix()
        for kind, group in {
            "train": "runs",
            "heldout": "heldouts",
            "diagnose": "diagnoses",
        }.items():
            for key in content[group]:
                assert defined[f"{kind}-study@{key}"].address == f"{file}:{kind}@{key}"
        for key in content["evals"]:
            assert defined[f"score-study@{key}"].address == f"{file}:score@{key}"
        assert address("score", "study", key) == f"{file}:score@{key}"
    for kind, key in (("train", "dit_b"), ("tokens", "pca"), ("dataset", "")):
        name = f"{kind}-study@{key}".rstrip("@")
        there = f"config/scales/study/dvc.yaml:{kind}@{key or 'fashion_mnist'}"
        assert defined[name].address == address(kind, "study", key) == there
    assert address("reference", "cpu") == "reference@fashion_mnist"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"scale": "cpu"},
            "study/mar/catalog.yaml: scale must be the name of the folder above, study; got",
        ),
        ({"part": "xar"}, "study/mar/catalog.yaml: part must be the folder's name, mar; got 'xar'"),
        ({"weights": "w"}, r"mar/catalog.yaml: weights must be as in config/.*, src/.*; got 'w'"),
        (
            {"launch": "sh"},
            r"study/mar/catalog.yaml: launch must be as in config/.*, python; got 'sh'",
        ),
        (
            {"evals": {"xar_b": {}}},
            r"study/xar/catalog.yaml: runs.xar_b is a name that .*study/mar/catalog.yaml has",
        ),
        ({"runs": []}, r"study/mar/catalog.yaml: runs must be entries by name; got '\[\]'"),
        ({"datasets": ["digits"]}, r"study/mar/catalog.yaml:\n  datasets: "),
        ({"rank": 3}, r"study/mar/catalog.yaml:\n  'rank' is not one of \['scale', 'part', "),
        ({"runs": {"mar_b": {}}}, r"study/mar/catalog.yaml:\n  runs.mar_b: 'family' is a required"),
    ],
)
def test_a_wrong_part_is_named(
    change: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree("config", tmp_path / "config", symlinks=True)
    shutil.copytree(SCHEMAS, tmp_path / SCHEMAS)
    path = tmp_path / "config/scales/study/mar/catalog.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        _ = load_catalog(), check_files("study")


@pytest.mark.parametrize("parts", [None, 3, "mar", ["mar", "xar"], ["mar", "xar", "rar", "rar"]])
def test_parts_are_the_folders(parts: object, tmp_path: Path) -> None:
    shutil.copytree("config", tmp_path / "config", symlinks=True)
    path = tmp_path / catalog_file("study")
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"parts": parts}))
    with pytest.raises(
        ValueError, match=r"study/catalog.yaml: parts must be .*: mar, rar, xar; got"
    ):
        load_catalog(tmp_path)


def test_a_part_without_its_link_is_told_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree("config", tmp_path / "config", symlinks=True)
    shutil.copytree(SCHEMAS, tmp_path / SCHEMAS)
    shutil.copy("dvc.yaml", tmp_path / "dvc.yaml")
    monkeypatch.chdir(tmp_path)
    check_files("study")
    Path("config/scales/study/rar/dvc.yaml").unlink()
    with pytest.raises(
        ValueError, match=r"rar/dvc.yaml is missing: `ln -s \.\./\.\./\.\./\.\./dvc.yaml"
    ):
        check_files("study")


def test_a_part_of_the_default_scale_has_an_address_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree("config", tmp_path / "config", symlinks=True)
    for name in ("dvc.yaml", "catalog.yaml"):
        shutil.copy(name, tmp_path / name, follow_symlinks=False)
    monkeypatch.chdir(tmp_path)
    shutil.copytree("config/scales/study/mar", "config/scales/cpu/more", symlinks=True)
    own = yaml.safe_load(catalog_file("cpu").read_text())
    part = yaml.safe_load(catalog_file("cpu", "more").read_text())
    part |= {"scale": "cpu", "part": "more"}
    part |= dict.fromkeys(("runs", "evals"), {"again": part["runs"]["mar_b"] | {"run": "again"}})
    part |= {"heldouts": {}, "diagnoses": {}, "resampled": {}}
    catalog_file("cpu").write_text(yaml.safe_dump(own | {"parts": ["more"]}))
    catalog_file("cpu", "more").write_text(yaml.safe_dump(part))
    assert address("train", "cpu", "again") == "config/scales/cpu/more/dvc.yaml:train@again"
    assert address("train", "cpu", "mar_b") == "train@mar_b"


def test_unknown_placeholder_is_named() -> None:
    catalog = _changed("tiny.runs.xar_b", {"model": "small/xar_b"})
    missing = (
        r"\$\{item.\w+\} of stage 'train-tiny@xar_b' is not in config/scales/tiny/catalog.yaml"
    )
    with pytest.raises(ValueError, match=missing):
        load_stages(catalog)


def _validate(catalog: dict[str, object]) -> None:
    for name, part in catalog.items():
        if name == "tables":
            check_shape(part, "tables", TABLES)
        elif "parts" not in part:
            check_shape(part, "catalog", catalog_file(name))


def _root(folder: Path) -> Path:
    """A root that has this repository's configs, but where no check has passed yet."""
    for name in ("config", "dvc.yaml", "catalog.yaml"):
        (folder / name).symlink_to(Path(name).resolve())
    return folder


def _changed(where: str, value: object) -> dict[str, object]:
    catalog = json.loads(json.dumps(load_catalog()))  # entries are objects of their own
    *parts, last = where.split(".")
    inner = catalog
    for part in parts:
        inner = inner[part]
    inner[last] = value
    return catalog
