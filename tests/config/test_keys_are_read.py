"""Every key of config/ is read by something, and a key that nothing reads is refused."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from nextbasis.config import SCHEMAS, data, running, text, tokenizer
from nextbasis.config import model as models
from nextbasis.families import find
from nextbasis.families import names as families
from nextbasis.pipeline.catalog import SCALES
from nextbasis.pipeline.schedule import LIMITS, RESOURCES, RUNTIMES, Stages
from nextbasis.plan.estimate import ASSUMPTIONS, assumptions
from nextbasis.plan.paper import read_page
from nextbasis.tables import external
from nextbasis.tokenizers import kinds

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/nextbasis"
IN_DVC = re.compile(r"\$\{(?:item\.)?(\w+)\}")


class WithoutChecks(ast.NodeTransformer):
    """Leaves out what is only checked when a config is made, which is not reading it."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
        return None if node.name == "__post_init__" else node


def trees(also_checks: bool = False) -> Iterator[ast.AST]:
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield tree if also_checks else WithoutChecks().visit(tree)


def classes() -> dict[str, type]:
    """All dataclasses of the config, by name."""
    modules = [data, running, text, tokenizer, models]
    modules += [find(name).part("config") for name in families()]
    modules += [kinds.find(name).part("config") for name in kinds.names()]
    found = [each for module in modules for each in vars(module).values()] + [*SCHEMAS.values()]
    return {each.__name__: each for each in found if isinstance(each, type) and is_dataclass(each)}


def test_every_field_of_a_section_is_read() -> None:
    read = {
        node.attr
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    assert len(classes()) > 20
    unread = {
        f"{name}.{field.name}"
        for name, each in classes().items()
        for field in fields(each)
        if field.name not in read
    }
    assert not unread


def test_every_key_of_the_root_is_some_stages() -> None:
    root = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    chosen = [each for each in root.pop("defaults") if each != "_self_"]
    sections = {name for each in chosen for name in each if "hydra/" not in name}
    known = {field.name for stage in SCHEMAS.values() for field in fields(stage)}
    assert {*root, *sections} <= known
    assert known - {*root, *sections} == {"evaluation"}  # chosen by a scale's folder


def words_read() -> set[str]:
    """Strings of the code, which reads catalogs, tables and claims by key; dvc.yaml's items."""
    words = {
        node.value
        for tree in trees(also_checks=True)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    for path in [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]:
        words |= set(re.findall(r"[\"'](\w+)[\"']", path.read_text(encoding="utf-8")))
    return words | set(IN_DVC.findall((ROOT / "dvc.yaml").read_text(encoding="utf-8")))


def properties(schema: Any) -> Iterator[str]:
    """Names of all properties of a JSON schema."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for part in schema.values():
            yield from properties(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from properties(part)


@pytest.mark.parametrize("name", ["catalog", "tables", "claims"])
def test_every_key_that_a_schema_allows_is_read(name: str) -> None:
    path = ROOT / f"workflow/schemas/{name}.schema.yaml"
    allowed = set(properties(yaml.safe_load(path.read_text(encoding="utf-8"))))
    anchors = {"defaults", "resampled"}  # of YAML: other keys take them up
    assert allowed and allowed - words_read() - anchors == set()


def test_every_key_of_the_plan_is_read() -> None:
    plan = yaml.safe_load((ROOT / ASSUMPTIONS).read_text(encoding="utf-8"))
    entries = [*plan["page"]["trainings"], *plan["page"]["steps"]]
    keys = {*plan, *plan["page"], *(key for entry in entries for key in entry)}
    read = {
        node.attr for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }
    assert keys <= words_read() | read


def scale(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what a scale is planned from; its folder."""
    import shutil

    for name in ("config", "dvc.yaml", "catalog.yaml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, root / name)
    monkeypatch.chdir(root)
    return root / SCALES / "tiny"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            RESOURCES,
            "trains: {gpu: 1}",
            "nothing reads trains; the keys are train, default, dataset",
        ),
        (RESOURCES, "train: {gpus: 1}", "train: nothing reads gpus; the keys are threads, mem_mb"),
        (RESOURCES, "train: {gpu: one}", "train.gpu must be a whole number, got 'one'"),
        (RESOURCES, "train: {gpu: -1}", "train.gpu must be a whole number, got '-1'"),
        (RUNTIMES, "train: {nobody: {gpu: 1}}", "train: nothing reads nobody; the keys are "),
        (RUNTIMES, "sampling: {}", "nothing reads sampling; the keys are dataset"),
        (RUNTIMES, "train: {mar_b: {minutes: 3}}", "train.mar_b: nothing reads minutes"),
    ],
)
def test_limits_of_jobs_that_nothing_reads_are_refused(
    file: str, content: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = scale(tmp_path, monkeypatch)
    Stages("tiny")
    text = (folder / RESOURCES).read_text(encoding="utf-8") if file == RESOURCES else ""
    (folder / file).write_text(f"{text}\n{content}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"{SCALES}/tiny/{file}.*{re.escape(message)}"):
        Stages("tiny")


def test_the_default_of_limits_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = scale(tmp_path, monkeypatch)
    (folder / RESOURCES).write_text("default: {threads: 1}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"default has no {', '.join(LIMITS[1:])}"):
        Stages("tiny")


def test_keys_of_the_plan_that_nothing_reads_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale(tmp_path, monkeypatch)
    path = Path(ASSUMPTIONS)
    given = path.read_text(encoding="utf-8")
    path.write_text(given + "\nutilization: {}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="plan.yaml: nothing reads utilization; the keys are gpus"):
        assumptions("tiny", None)
    path.write_text(given.replace("  dollars:", "  euros: {}\n  dollars:"), encoding="utf-8")
    with pytest.raises(ValueError, match="plan.yaml: page: nothing reads euros; the keys are dol"):
        read_page()


def test_keys_of_rows_from_outside_that_nothing_reads_are_refused(tmp_path: Path) -> None:
    path, row = tmp_path / "external.yaml", dict.fromkeys(external.KEYS, "x")
    path.write_text(yaml.safe_dump({"rows": {"VAR": row | {"label": "x"}}}))
    with pytest.raises(ValueError, match="external.yaml: row 'VAR': nothing reads label; the keys"):
        external.read_rows(path)
    path.write_text(yaml.safe_dump({"rows": {"VAR": row}, "row": {}}))
    with pytest.raises(ValueError, match="external.yaml: nothing reads row; the keys are rows"):
        external.read_rows(path)


@pytest.mark.parametrize(
    ("kind", "name", "names"),
    [
        ("local", "train-images", "train-images-idx3-ubyte, train-labels-idx1-ubyte"),
        ("sklearn", "image", "images, labels"),
        ("npm", "labels", "images, captions"),
        ("image_folder", "images", "none"),
        ("webdataset", "a.tar", "none"),
    ],
)
def test_checksums_that_nothing_verifies_are_refused(kind: str, name: str, names: str) -> None:
    source = data.SourceConfig(kind=kind, location="x")
    values: dict[str, Any] = {"image_size": 8, "channels": 1, "num_test": 1, "sources": [source]}
    values |= {"name": "mine", "num_classes": 0 if kind == "npm" else 3}
    data.DatasetConfig(**values, checksums={})
    with pytest.raises(ValueError, match=f"of kind {kind} verifies {names}.*; got {name}"):
        data.DatasetConfig(**values, checksums={name: "0" * 64})
