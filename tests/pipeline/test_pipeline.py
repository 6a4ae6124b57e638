"""dvc.yaml, as the pipeline reads it, agrees with DVC, with the code and with the configs."""

import ast
import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import grimp
import pytest
import yaml
from pathspec import GitIgnoreSpec

from nextbasis.pipeline.catalog import load_catalog, scales
from nextbasis.pipeline.schedule import Stages
from nextbasis.pipeline.stagelist import Stage, load_stages, with_followers

# A stage need not depend on these: they start it, name its files and say what it was given, and
# find a family or a tokenizer, but compute nothing. What .dvcignore leaves out is no dependency.
NEUTRAL = re.compile(
    r"nextbasis(\.config(\..+)?|\.stages|\.pipeline(\..+)?|\.families(\.family)?"
    r"|\.tokenizers(\.kinds)?|\.support\.(files|folders|progress|provenance|words|yamls))?"
)
IGNORED = shutil.ignore_patterns("__pycache__", "dvc.lock")
GROUPS = {
    **{"train": "runs", "sample": "evals", "score": "evals"},
    **{"heldout": "heldouts", "diagnose": "diagnoses"},
}
CATALOG = load_catalog()
STAGES = {scale: Stages(scale) for scale in scales(CATALOG)}
ALL = load_stages(CATALOG)  # with the frozen ones


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
    assert {stage.address for stage in ALL} == set(dvc_stages)


def test_every_stage_reads_as_dvc_reads_it(dvc_stages: dict[str, dict[str, object]]) -> None:
    for stage in ALL:
        read = {name: dvc_stages[stage.address][name] for name in ("cmd", "deps", "outs", "frozen")}
        assert read == {
            "cmd": stage.cmd,
            "deps": sorted({*stage.deps, *stage.params}),
            "outs": sorted(stage.outs),
            "frozen": stage.frozen,
        }


def test_rules_read_and_write_what_dvc_does() -> None:
    for stage in ALL:
        if stage.frozen:
            continue
        stages, wildcards = STAGES[stage.scale], _Wildcards(stage)
        made = [path.format(**vars(wildcards)) for path in stages.outputs(stage.kind)]
        assert made == list(stage.outs)
        assert stages.address(stage.kind)(wildcards) == stage.address
        read = stages.inputs(stage.kind, ancient=str)(wildcards)
        assert read[-1] == f".snakemake/dvc/{stage.name}"
        assert read[:-1] == [path for path in stage.deps if path.startswith("results/")]


@pytest.mark.parametrize("scale", ["cpu", "imagenet256"])
def test_git_has_what_dvc_does_not_push(
    dvc_stages: dict[str, dict[str, list[str]]], scale: str
) -> None:
    """A clone gets every output, by `git clone` or `dvc pull`; no output comes both ways."""
    stages = STAGES[scale].stages
    outs = [path for stage in stages for path in stage.outs]
    tables = [f"results/{scale}/tables/any.md", f"results/{scale}/claims/claims.csv"]
    command = ["git", "check-ignore", "--no-index", "--stdin"]
    text = "\n".join([*outs, *tables])
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    expected = {path for stage in stages for path in dvc_stages[stage.address]["in git"]}
    assert {*outs, *tables} - set(done.stdout.split()) == expected | set(tables)


def test_what_follows_a_changed_stage_is_due() -> None:
    rest = {"scale": "s", "key": "", "address": "", "cmd": "", "params": (), "frozen": False}
    reads = {"c": ("b", "x"), "b": ("a",), "a": ()}
    chain = [Stage(kind=out, outs=(out,), deps=deps, **rest) for out, deps in reads.items()]
    assert with_followers(chain, {"a-s"}) == {"a-s", "b-s", "c-s"}
    assert with_followers(chain, {"b-s"}) == {"b-s", "c-s"}
    assert with_followers(chain, set()) == set()


def test_results_of_scales_and_stages_never_mix() -> None:
    seen: set[str] = set()
    for stage in (stage for stage in ALL if not stage.frozen):
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


def test_code_dependencies_are_the_imported_rooms(imports: grimp.ImportGraph) -> None:
    """A stage names every room that holds a module it runs, and no other."""
    for stage in {(stage.kind, _family(stage), _coder(stage)): stage for stage in ALL}.values():
        needed = imported(imports, f"nextbasis.stages.{stage.kind}")
        needed.add("nextbasis.support.instructions")  # of the package's __init__
        if any("families/" in path for path in stage.deps):  # found by name: nothing imports it
            family = _family(stage)
            needed |= imported(imports, f"nextbasis.families.{family}.model")
        if coder := _coder(stage):
            needed |= imported(imports, f"nextbasis.tokenizers.{coder}.model")
        rooms = {path: _modules(path) for path in stage.deps if path.startswith("src/")}
        missing = needed - set().union(*rooms.values())
        assert not missing, f"{stage.name}: no dependency holds {sorted(missing)}"
        for path, modules in rooms.items():
            chosen = "/constructions/" in path or not modules  # by name at run time, or weights
            assert chosen or modules & needed, f"{stage.name} does not need {path}"


def test_a_stage_names_few_rooms() -> None:
    for stage in ALL:
        assert sum(path.startswith("src/") for path in stage.deps) <= 9, stage.name


class Clone:
    """A copy of the repository without results, where some stages of tiny are up to date."""

    def __init__(self, root: Path, names: set[str]) -> None:
        self.root, self.names = root, names
        for name in ("src", "config", "workflow"):
            shutil.copytree(name, root / name, symlinks=True, ignore=IGNORED)
        for name in ("dvc.yaml", ".dvcignore", "catalog.yaml"):
            shutil.copy(name, root / name, follow_symlinks=False)
        for command in ("git init --quiet", "dvc init --quiet"):
            subprocess.run(command.split(), cwd=root, check=True)
        stages = [stage for stage in ALL if stage.scale == "tiny" and stage_of(stage) in names]
        assert len(stages) == len(names)
        for stage in stages:
            for path in (*stage.deps, *stage.outs):
                if path.startswith("results/") and not (root / path).exists():
                    (root / path).parent.mkdir(parents=True, exist_ok=True)
                    (root / path).write_text("{}")
        addresses = [stage.address for stage in stages]
        subprocess.run(["dvc", "commit", "-f", *addresses], cwd=root, check=True)

    def edit(self, path: str) -> None:
        """Add a line to a file, a new one too."""
        file = self.root / "src/nextbasis" / path
        file.parent.mkdir(exist_ok=True)
        with file.open("a") as stream:
            stream.write("# edited\n")

    def changed(self) -> set[str]:
        """Of the stages those whose code DVC calls changed."""
        status = ["dvc", "status", "--json", "config/scales/tiny/dvc.yaml"]
        said = subprocess.run(status, cwd=self.root, check=True, capture_output=True, text=True)
        found = {
            address.rpartition(":")[2]
            for address, what in json.loads(said.stdout).items()
            for changes in what
            if any(path.startswith("src/") for path in changes.get("changed deps", {}))
        }
        return found & self.names


def stage_of(stage: Stage) -> str:
    """Its name in its own dvc.yaml."""
    return stage.address.rpartition(":")[2]


def test_a_new_basis_leaves_other_trainings_up_to_date(tmp_path: Path) -> None:
    """DVC's own verdict, before and after a file of constructions is added and another edited."""
    clone = Clone(tmp_path, {"train@xar_b_bar", "train@xar_b_klt", "train@mar_basis_var"})
    assert not clone.changed()
    clone.edit("basis/constructions/mine.py")
    assert not clone.changed()
    clone.edit("basis/constructions/tokens.py")
    assert clone.changed() == {"train@xar_b_klt"}


def test_a_new_tokenizer_leaves_other_tokens_and_samples_up_to_date(tmp_path: Path) -> None:
    """DVC's own verdict, before and after a kind is added, and one and what they share edited."""
    kinds_of = ("tokenizer", "tokens", "reconstruct")
    of = {key: {f"{kind}@{key}" for kind in kinds_of} for key in ("patches", "vq")}
    of["patches"] |= {"sample@xar_b", "diagnose@xar_b_bar"}
    of["vq"] |= {"rebase@vq_klt", "tokens@vq_klt", "sample@rar_b", "sample@rar_b_klt"}
    clone = Clone(tmp_path, of["patches"] | of["vq"])
    assert not clone.changed()
    clone.edit("tokenizers/mine/model.py")
    clone.edit("tokenizers/kl16/model.py")
    clone.edit("tokenizers/kinds.py")
    assert not clone.changed()
    clone.edit("tokenizers/vq/model.py")
    assert clone.changed() == of["vq"]
    clone.edit("tokenizers/common/tokenizer.py")
    assert clone.changed() == of["patches"] | of["vq"]


def test_params_are_the_configs_that_the_command_chooses() -> None:
    for stage in ALL:
        words = dict(word.split("=", 1) for word in stage.arguments)
        groups = {path.name for path in Path("config").iterdir() if path.is_dir()}
        chosen = {f"config/{group}/{words[group]}.yaml" for group in groups & words.keys()}
        if family := _family(stage):
            recipes = f"src/nextbasis/families/{family}/recipes"
            groups = {"model", "train", "sampler"} & words.keys()
            chosen |= {f"{recipes}/{group}/{words[group]}.yaml" for group in groups}
        if "evaluation" in words:
            chosen.add(f"config/scales/{words['evaluation']}/evaluation.yaml")
        assert set(stage.params) == chosen, stage.name
        assert all(Path(path).exists() for path in stage.params), stage.name


def test_parsing_needs_no_torch() -> None:
    program = (
        "import nextbasis.pipeline.schedule, sys; assert not {'torch', 'hydra'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("scale", "lock"), [("cpu", "dvc.lock"), ("emoji", "config/scales/emoji/dvc.lock")]
)
def test_extractors_that_are_shipped_stand_in_the_locks(scale: str, lock: str) -> None:
    """DVC asks a frozen stage without an entry for all that it was made of, before that is made."""
    stages = yaml.safe_load(Path(lock).read_text(encoding="utf-8"))["stages"]
    extractors = CATALOG[scale]["extractors"]
    assert extractors and {f"extractor@{key}" for key in extractors} <= set(stages)


class _Wildcards:
    def __init__(self, stage: Stage) -> None:
        self.scale = stage.scale
        if stage.key:
            self.key = stage.key


def _family(stage: Stage) -> str:
    group = GROUPS.get(stage.kind)
    return CATALOG[stage.scale][group][stage.key]["family"] if group else ""


def _coder(stage: Stage) -> str:
    rooms = [Path(path) for path in stage.deps if path.startswith("src/nextbasis/tokenizers/")]
    return next((room.name for room in rooms if room.name != "common"), "")


@cache
def _modules(path: str) -> set[str]:
    """Modules with code that a dependency names: its own, those DVC sees in a folder, or none."""
    if path.startswith("src/") and Path(path).is_dir():
        ignored = GitIgnoreSpec.from_lines(
            Path(".dvcignore").read_text(encoding="utf-8").splitlines()
        )
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
        if module not in found and not NEUTRAL.fullmatch(module):
            found.add(module)
            left += [module.rpartition(".")[0], *graph.find_modules_directly_imported_by(module)]
    return {module for module in found if _has_code(module)}


@cache
def _has_code(module: str) -> bool:
    path = Path("src", *module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return not all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)
