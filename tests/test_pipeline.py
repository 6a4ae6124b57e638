"""dvc.yaml and the catalog agree with DVC, with the code and with the configs."""

import ast
import copy
import subprocess
import sys
from pathlib import Path

import grimp
import jsonschema
import pytest
import yaml
from pathspec import GitIgnoreSpec

from nextbasis.catalog import check_references, headline
from nextbasis.pipeline import Stages
from nextbasis.stagelist import Stage, load_stages, with_followers
from nextbasis.tables.inputs import load_catalog

# A stage need not depend on these: they start it, name its files and say what it was given.
NEUTRAL = {"nextbasis"} | {
    f"nextbasis.{name}"
    for name in ("config", "files", "launch", "progress", "provenance", "stagelist")
}
NEUTRAL |= {"nextbasis.families", "nextbasis.families.family"}  # which find, but compute nothing
SCHEMA = Path("workflow/schemas/catalog.schema.yaml")
STAGES = Stages()
RAR_DIAGNOSIS = {"family": "rar", "run": "rar_b", "tokens": "vq"}
ALL = load_stages(STAGES.catalog)  # with the frozen one


@pytest.fixture(scope="module")
def dvc_stages() -> dict[str, dict[str, object]]:
    """DVC's own reading of dvc.yaml, in a process of its own: its import warns."""
    program = """
import json
from dvc.repo import Repo
print(json.dumps({stage.addressing: {
    "cmd": stage.cmd.strip(),
    "deps": sorted({dep.def_path for dep in stage.deps}),
    "outs": sorted(out.def_path for out in stage.outs),
    "frozen": stage.frozen,
    "in git": sorted(out.def_path for out in stage.outs if not out.use_cache),
} for stage in Repo().index.stages}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return yaml.safe_load(done.stdout)


def test_stages_are_those_of_dvc(dvc_stages: dict[str, dict[str, object]]) -> None:
    assert {stage.name for stage in ALL} == set(dvc_stages)


def test_every_stage_reads_as_dvc_reads_it(dvc_stages: dict[str, dict[str, object]]) -> None:
    for stage in ALL:
        read = {name: dvc_stages[stage.name][name] for name in ("cmd", "deps", "outs", "frozen")}
        assert read == {
            "cmd": stage.cmd,
            "deps": sorted({*stage.deps, *stage.params}),
            "outs": sorted(stage.outs),
            "frozen": stage.frozen,
        }


def test_rules_read_and_write_what_dvc_does() -> None:
    for stage in STAGES.stages:
        made = [*STAGES.outputs(stage.kind)]
        names = {"sample": ["grid.png"], "reconstruct": ["grid.png"]}
        names |= {"diagnose": ["grid.png", "rows.png"]}
        made += [STAGES.picture(stage.kind, name) for name in names.get(stage.kind, [])]
        made += [STAGES.folder("tokens")] if stage.kind == "tokens" else []
        wildcards = {"scale": stage.scale, "key": stage.key}
        assert sorted(path.format(**wildcards) for path in made) == sorted(stage.outs)
        read = STAGES.inputs(stage.kind, ancient=str)(_Wildcards(stage))
        assert read[-1] == f".snakemake/dvc/{stage.name}"
        assert read[:-1] == [path for path in stage.deps if path.startswith("results/")]


@pytest.mark.parametrize("scale", ["cpu", "imagenet256"])
def test_git_has_what_dvc_does_not_push(
    dvc_stages: dict[str, dict[str, list[str]]], scale: str
) -> None:
    """A clone gets every output, by `git clone` or `dvc pull`; no output comes both ways."""
    stages = STAGES.of_scale(scale)
    outs = [path for stage in stages for path in stage.outs]
    tables = [f"results/{scale}/tables/any.md", f"results/{scale}/claims/claims.csv"]
    command = ["git", "check-ignore", "--no-index", "--stdin"]
    text = "\n".join([*outs, *tables])
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    expected = {path for stage in stages for path in dvc_stages[stage.name]["in git"]}
    assert {*outs, *tables} - set(done.stdout.split()) == expected | set(tables)


def test_what_follows_a_changed_stage_is_due() -> None:
    names = {"scale": "", "kind": "", "key": "", "cmd": "", "params": (), "frozen": False}
    reads = {"c": ("b", "x"), "b": ("a",), "a": ()}
    chain = [Stage(name=out, outs=(out,), deps=deps, **names) for out, deps in reads.items()]
    assert with_followers(chain, {"a"}) == {"a", "b", "c"}
    assert with_followers(chain, {"b"}) == {"b", "c"}
    assert with_followers(chain, set()) == set()


def test_results_of_scales_and_stages_never_mix() -> None:
    seen: set[str] = set()
    for stage in STAGES.stages:
        for path in stage.outs:
            assert path.startswith(f"results/{stage.scale}/")
            assert path not in seen, f"{stage.name} writes another stage's {path}"
            seen.add(path)
        for path in stage.deps:
            assert not path.startswith("results/") or path.startswith(f"results/{stage.scale}/")


def test_every_result_read_is_made_by_some_stage() -> None:
    made = {path for stage in ALL for path in stage.outs}
    for stage in ALL:
        for path in stage.deps:
            assert path in made or not path.startswith("results/"), f"{stage.name}: {path}"


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("nextbasis", cache_dir=None)


def test_code_dependencies_are_the_imported_modules(imports: grimp.ImportGraph) -> None:
    rooms = [_modules(f"src/nextbasis/{room}") for room in ("basis", "families/common")]
    for stage in {(stage.kind, _family(stage)): stage for stage in ALL}.values():
        needed = imported(imports, f"nextbasis.stages.{stage.kind}")
        if family := _family(stage):  # found by name, so that nothing imports it
            needed |= imported(imports, f"nextbasis.families.{family}.model")
        for room in rooms:
            if needed & room:  # named whole also where a part is used
                needed |= room
        given = {module for path in stage.deps for module in _modules(path)}
        assert not {folder for path in stage.deps for folder in Path(path).parents} & {
            Path(path) for path in stage.deps
        }, f"{stage.name} names a file and its folder"
        assert given == needed, (
            f"{stage.name}: missing {sorted(needed - given)}, superfluous {sorted(given - needed)}"
        )


def test_params_are_the_configs_that_the_command_chooses() -> None:
    for stage in ALL:
        words = dict(word.split("=", 1) for word in stage.arguments)
        groups = {path.name for path in Path("config").iterdir() if path.is_dir()}
        chosen = {f"config/{group}/{words[group]}.yaml" for group in groups & words.keys()}
        if stage.kind == "train":
            chosen.discard(f"config/tokens/{words['tokens']}.yaml")
        assert set(stage.params) == chosen, stage.name
        assert all(Path(path).exists() for path in stage.params), stage.name


def test_configs_that_have_not_changed_are_composed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = Stages()
    stages.root = _root(tmp_path)
    stages.check_configs("tiny")
    monkeypatch.setattr("nextbasis.config.compose", None)
    stages.check_configs("tiny")
    (tmp_path / "dvc.yaml").unlink()
    (tmp_path / "dvc.yaml").write_text("")
    with pytest.raises(TypeError):
        stages.check_configs("tiny")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("basis.projektion=hard", "projektion"),
        ("basis.delta=two", "delta"),
        ("sampler=tiny/xar", "sampler"),
    ],
)
def test_wrong_overrides_name_stage_and_key(overrides: str, message: str, tmp_path: Path) -> None:
    stages = Stages()
    stages.catalog["tiny"]["runs"]["xar_b_bar"]["overrides"] = overrides
    stages.root = _root(tmp_path)
    stages.stages = [
        stage for stage in load_stages(stages.catalog) if stage.name == "train-tiny@xar_b_bar"
    ]
    with pytest.raises(ValueError, match=f"train-tiny@xar_b_bar.*{message}"):
        stages.check_configs("tiny")


def test_family_must_be_the_model_s(tmp_path: Path) -> None:
    stages = Stages()
    stages.catalog["tiny"]["runs"]["xar_b"]["family"] = "mar"
    stages.root = _root(tmp_path)
    with pytest.raises(ValueError, match="tiny.runs.xar_b: family is 'mar'"):
        stages.check_configs("tiny")


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("tiny.runs.xar_b.tokens", "tiles", "tiny.runs.xar_b: no tokens 'tiles'"),
        ("tiny.evals.xar_b.run", "xarb", "tiny.evals.xar_b: no run 'xarb'"),
        ("tiny.evals.xar_b.family", "mar", "family is 'mar' but run 'xar_b' has 'xar'"),
        ("tiny.diagnoses.xar_b_bar.run", "xarb", "tiny.diagnoses.xar_b_bar: no run 'xarb'"),
        ("tiny.diagnoses.xar_b_bar.tokens", "vq", "tokens is 'vq' but run 'xar_b_bar' has"),
        ("tiny.diagnoses.rar_b", RAR_DIAGNOSIS, "tiny.diagnoses.rar_b: RAR models ids"),
        ("tiny.rebased.vq_klt.parent", "vqq", "no parent 'vqq'"),
        ("tiny.rebased.vq", {"parent": "vq"}, "a tokenizer's already"),
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
        ("tiny.runs.xar_b.family", "var"),
        ("tiny.runs.xar_b.overrides", "basis.delta = 0.5"),
        ("tiny.runs.x@r", {}),
        ("tiny.evals.xar_b.images", 0),
        ("tiny.evals.xar_b.headline", "yes please"),
        ("tiny.diagnoses.rar_b", RAR_DIAGNOSIS),
        ("tiny.rums", {}),
    ],
)
def test_schema_refuses(where: str, value: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(_changed(where, value), yaml.safe_load(SCHEMA.read_text()))


def test_schema_takes_the_catalog() -> None:
    jsonschema.validate(load_catalog(), yaml.safe_load(SCHEMA.read_text()))


@pytest.mark.parametrize("scale", STAGES.scales)
def test_headline_rows_come_first_and_finish_early(scale: str) -> None:
    def priority(kind: str, key: str) -> int:
        return STAGES.priority(kind)({"scale": scale, "key": key})

    needed = headline(STAGES.catalog[scale])
    others = [key for key in STAGES.keys("score", scale) if key not in needed["score"]]
    assert needed["score"] and others
    for key in needed["score"]:
        assert priority("score", key) > priority("sample", key)
        assert priority("sample", key) > max(priority("train", run) for run in needed["train"])
    late = max(priority(kind, key) for kind in ("train", "score") for key in others)
    late = max(late, *(priority("diagnose", key) for key in STAGES.keys("diagnose", scale)))
    assert late < min(priority("train", run) for run in needed["train"])


def test_unknown_placeholder_is_named() -> None:
    catalog = _changed("tiny.runs.xar_b", {"model": "small/xar_b"})
    with pytest.raises(ValueError, match=r"\$\{item.\w+\} of stage 'train-tiny@xar_b'"):
        load_stages(catalog)


def test_parsing_needs_no_torch() -> None:
    program = "import nextbasis.pipeline, sys; assert not {'torch', 'hydra'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


class _Wildcards:
    def __init__(self, stage: Stage) -> None:
        self.scale = stage.scale
        if stage.key:
            self.key = stage.key


def _root(folder: Path) -> Path:
    """A root that has this repository's configs, but where no check has passed yet."""
    for name in ("config", "dvc.yaml"):
        (folder / name).symlink_to(Path(name).resolve())
    return folder


def _changed(where: str, value: object) -> dict[str, object]:
    catalog = copy.deepcopy(load_catalog())
    *parts, last = where.split(".")
    inner = catalog
    for part in parts:
        inner = inner[part]
    inner[last] = value
    return catalog


def _family(stage: Stage) -> str:
    group = {"train": "runs", "sample": "evals", "diagnose": "diagnoses"}.get(stage.kind)
    return STAGES.catalog[stage.scale][group][stage.key]["family"] if group else ""


def _modules(path: str) -> set[str]:
    """Modules with code that a dependency names: its own, those DVC sees in a folder, or none."""
    if path.startswith("src/") and Path(path).is_dir():
        ignored = GitIgnoreSpec.from_lines(Path(".dvcignore").read_text().splitlines())
        files = [file for file in Path(path).rglob("*.py") if not ignored.match_file(file)]
        return set(filter(_has_code, map(_module, files)))
    return {_module(Path(path))} if path.endswith(".py") else set()


def _module(file: Path) -> str:
    name = str(file.relative_to("src")).removesuffix(".py").removesuffix("/__init__")
    return name.replace("/", ".")


def imported(graph: grimp.ImportGraph, start: str) -> set[str]:
    """Modules with code that importing `start` runs, itself included, neutral ones not."""
    found, left = set(), [start]
    while left:
        module = left.pop()
        if module not in found | NEUTRAL:
            found.add(module)
            left += [module.rpartition(".")[0], *graph.find_modules_directly_imported_by(module)]
    return {module for module in found if _has_code(module)}


def _has_code(module: str) -> bool:
    path = Path("src", *module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return not all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)
