"""Which stages dvc.yaml defines, with commands, dependencies and outputs: its templates resolved.

DVC can tell too, but importing it takes seconds; tests/test_pipeline.py checks that both agree.
"""

import hashlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pathspec
import yaml

from nextbasis.tables.inputs import Catalog

MODULES = "nextbasis.stages"  # a command is `<launcher> -m nextbasis.stages.<kind> KEY=VALUE …`
ROOT = Path(__file__).parents[2]  # of the repository, of which this package is installed
PLACEHOLDER = re.compile(r"\$\{\s*([\w.]+)\s*\}")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One DVC stage; paths are relative to the repository."""

    name: str  # as DVC addresses it: <kind>-<scale>[@<key>]
    kind: str
    scale: str
    key: str  # empty where the scale has one such stage
    cmd: str
    deps: tuple[str, ...]
    params: tuple[str, ...]  # files
    outs: tuple[str, ...]  # outputs, metrics and plots
    frozen: bool

    @property
    def arguments(self) -> list[str]:
        """What the command tells the stage's module; nothing if it is no module of ours."""
        words = shlex.split(self.cmd)
        module = f"{MODULES}.{self.kind}"
        return words[words.index(module) + 1 :] if module in words else []


def load_stages(catalog: Catalog, root: Path = Path()) -> list[Stage]:
    """Every stage of dvc.yaml, in its order.

    Raises: ValueError if a group's name is not <kind>-<scale> or a placeholder leads nowhere.
    """
    groups = yaml.load((root / "dvc.yaml").read_text(), Loader=yaml.CSafeLoader)["stages"]
    return [stage for name, group in groups.items() for stage in _stages(name, group, catalog)]


def with_followers(stages: list[Stage], changed: set[str]) -> set[str]:
    """Names of changed stages and of those that read, directly or not, what these will make."""
    readers: dict[str, list[Stage]] = {}
    for stage in stages:
        for path in stage.deps:
            readers.setdefault(path, []).append(stage)
    found, waiting = set(changed), [stage for stage in stages if stage.name in changed]
    while waiting:
        for path in waiting.pop().outs:
            for reader in readers.get(path, []):
                if reader.name not in found:
                    found.add(reader.name)
                    waiting.append(reader)
    return found


def code_of(kind: str, family: str = "", root: Path = ROOT) -> list[Path]:
    """The source files that stages of a kind depend on, as dvc.yaml and .dvcignore say it.

    `family` is that of the model, for the kinds that have one.
    Raises: ValueError if dvc.yaml has no such kind.
    """
    groups = yaml.load((root / "dvc.yaml").read_text(), Loader=yaml.CSafeLoader)["stages"]
    body = next((g.get("do", g) for n, g in groups.items() if n.startswith(f"{kind}-")), None)
    if body is None:
        raise ValueError(f"dvc.yaml has no stage of kind '{kind}'")
    context = {"item": {"family": family}}
    deps = [
        root / PLACEHOLDER.sub(lambda match: str(_lookup(match, context, kind)), path)
        for path in body["deps"]
        if path.startswith("src/")
    ]
    ignored = pathspec.GitIgnoreSpec.from_lines((root / ".dvcignore").read_text().splitlines())
    found = {file for dep in deps for file in (dep.rglob("*") if dep.is_dir() else [dep])}
    return sorted(
        file for file in found if file.is_file() and not ignored.match_file(file.relative_to(root))
    )


def code_hash(kind: str, family: str = "", root: Path = ROOT) -> str:
    """SHA-256 of the code that a stage depends on, so that no state outlives what made it.

    What DVC calls irrelevant leaves it alone, such as a docstring of the tables.
    """
    digest = hashlib.sha256()
    for path in code_of(kind, family, root):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _stages(name: str, group: dict[str, Any], catalog: Catalog) -> list[Stage]:
    kind, separator, scale = name.partition("-")
    if not separator or scale not in catalog:
        raise ValueError(f"dvc.yaml: stage '{name}' must be named <kind>-<scale of the catalog>")
    if "foreach" not in group:
        return [_stage(name, kind, scale, "", group, dict(catalog))]
    items = _lookup(PLACEHOLDER.fullmatch(group["foreach"]), catalog, name)
    return [
        _stage(f"{name}@{key}", kind, scale, key, group["do"], catalog | {"key": key, "item": item})
        for key, item in items.items()
    ]


def _stage(
    name: str, kind: str, scale: str, key: str, body: dict[str, Any], context: dict[str, Any]
) -> Stage:
    for extra in body.get("vars", []):
        context = context | extra

    def resolve(text: str) -> str:
        return PLACEHOLDER.sub(lambda match: str(_lookup(match, context, name)), text)

    def paths(*lists: str) -> tuple[str, ...]:
        entries = [entry for which in lists for entry in body.get(which, [])]
        return tuple(
            resolve(next(iter(entry)) if isinstance(entry, dict) else entry) for entry in entries
        )

    return Stage(
        name=name,
        kind=kind,
        scale=scale,
        key=key,
        cmd=resolve(body["cmd"]).strip(),
        deps=paths("deps"),
        params=paths("params"),
        outs=paths("outs", "metrics", "plots"),
        frozen=body.get("frozen", False),
    )


def _lookup(match: re.Match[str] | None, context: dict[str, Any], stage: str) -> Any:
    if match is None:
        raise ValueError(f"dvc.yaml: the foreach of '{stage}' must be one ${{placeholder}}")
    value: Any = context
    for part in match[1].split("."):
        if not isinstance(value, dict) or part not in value:
            raise ValueError(f"dvc.yaml: {match[0]} of stage '{stage}' leads nowhere")
        value = value[part]
    return value
