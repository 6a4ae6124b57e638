"""Which stages dvc.yaml defines, with commands, dependencies and outputs: its templates resolved.

dvc.yaml is read once a scale, and once for each part of one, with the catalog that lies there. DVC
can tell all this too, but importing it takes seconds; tests/pipeline/test_pipeline.py checks that
both agree.
"""

import hashlib
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pathspec

from nextbasis.pipeline.catalog import (
    OF_PARTS,
    SCALES,
    Catalog,
    catalog_file,
    default_scale,
    load_catalog,
    scales,
)
from nextbasis.support.words import listed
from nextbasis.support.yamls import read_keys

MODULES = "nextbasis.stages"  # a command is `<launcher> -m nextbasis.stages.<kind> KEY=VALUE …`
ROOT = Path(__file__).parents[3]  # of the repository, of which this package is installed
FILE = "dvc.yaml"
PLACEHOLDER = re.compile(r"\$\{\s*([\w.\[\]]+)\s*\}")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One DVC stage; paths are relative to the repository."""

    kind: str
    scale: str
    key: str  # empty where the scale has one such stage
    address: str  # how `dvc repro` is told of it, and `dvc status` calls it
    cmd: str
    deps: tuple[str, ...]
    params: tuple[str, ...]  # files
    outs: tuple[str, ...]  # outputs, metrics and plots
    frozen: bool

    @property
    def name(self) -> str:
        """What names it among the stages of all scales: <kind>-<scale>[@<key>]."""
        return stage_name(self.kind, self.scale, self.key)

    @property
    def arguments(self) -> list[str]:
        """What the command tells the stage's module; nothing if it is no module of ours."""
        words = shlex.split(self.cmd)
        module = f"{MODULES}.{self.kind}"
        return words[words.index(module) + 1 :] if module in words else []


def stage_name(kind: str, scale: str, key: str = "") -> str:
    """<kind>-<scale>[@<key>]."""
    return f"{kind}-{scale}@{key}" if key else f"{kind}-{scale}"


def address(kind: str, scale: str, key: str = "") -> str:
    """How `dvc repro` is told of a stage: <kind>@<key>, behind its file if not that at the top.

    What a scale has once DVC calls by its data set in place of a key.
    """
    section = load_catalog()[scale]
    file = _file(scale, section.get("part_of", {}).get(key, ""), default_scale())
    return _address(file, kind, key or section["datasets"][0])


def stage_files(catalog: Catalog, scale: str, root: Path = Path()) -> list[str]:
    """The dvc.yaml of a scale, that at the top for the default one, and of each of its parts."""
    parts = ["", *catalog[scale].get("parts", [])]
    return [_file(scale, part, default_scale(root)) for part in parts]


def lock_files(catalog: Catalog, scale: str, root: Path = Path()) -> list[str]:
    """The dvc.lock beside each of `stage_files`, whether it is there or not."""
    return [str(Path(file).with_suffix(".lock")) for file in stage_files(catalog, scale, root)]


def load_stages(
    catalog: Catalog, root: Path = Path(), only: Iterable[str] | None = None
) -> list[Stage]:
    """Every stage of the scales in `only`, else of all, in dvc.yaml's order.

    Raises: ValueError if a placeholder leads nowhere.
    """
    groups, default = _groups(root), default_scale(root)
    found = []
    for scale in scales(catalog) if only is None else only:
        for kind, group in groups.items():
            found += _stages(kind, group, catalog[scale], default)
    return found


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


def with_makers(stages: list[Stage], target: Stage) -> list[Stage]:
    """A stage and those that make, directly or not, what it reads; in their order."""
    makers = {path: stage for stage in stages for path in stage.outs if not stage.frozen}
    found, waiting = {target.name}, [target]
    while waiting:
        for path in waiting.pop().deps:
            maker = makers.get(path)
            if maker is not None and maker.name not in found:
                found.add(maker.name)
                waiting.append(maker)
    return [stage for stage in stages if stage.name in found]


def code_of(kind: str, root: Path = ROOT, **item: str) -> list[Path]:
    """The source files that stages of a kind depend on, as dvc.yaml and .dvcignore say it.

    `item` is what the catalog says of the stage as far as its code depends on it: the model's
    `family`, the `construction` that holds its basis, and the `coder` that makes its tokens.
    Raises: ValueError if dvc.yaml has no such kind.
    """
    groups = _groups(root)
    if kind not in groups:
        raise ValueError(f"{FILE} has no stage '{kind}'; it has {listed(groups)}")
    deps = [
        root / PLACEHOLDER.sub(lambda match: str(_lookup(match, {"item": item}, kind)), path)
        for path in groups[kind]["do"]["deps"]
        if path.startswith("src/")
    ]
    ignored = pathspec.GitIgnoreSpec.from_lines(
        (root / ".dvcignore").read_text(encoding="utf-8").splitlines()
    )
    found = {dep for dep in deps if dep.is_file()}  # one that is named counts, ignored or not
    for file in (file for dep in deps if dep.is_dir() for file in dep.rglob("*")):
        if file.is_file() and not ignored.match_file(file.relative_to(root)):
            found.add(file)
    return sorted(found)


def code_hash(kind: str, root: Path = ROOT, **item: str) -> str:
    """SHA-256 of the code that a stage depends on, so that no state outlives what made it.

    What DVC calls irrelevant leaves it alone, such as a docstring of the tables. `item` is as in
    `code_of`.
    """
    digest = hashlib.sha256()
    for path in code_of(kind, root, **item):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _file(scale: str, part: str, default: str) -> str:
    return FILE if (scale, part) == (default, "") else (SCALES / scale / part / FILE).as_posix()


def _address(file: str, kind: str, item: str) -> str:
    return f"{kind}@{item}" if file == FILE else f"{file}:{kind}@{item}"


def _groups(root: Path) -> dict[str, Any]:
    return read_keys(root / FILE)["stages"]


def _stages(kind: str, group: dict[str, Any], section: dict[str, Any], default: str) -> list[Stage]:
    match = PLACEHOLDER.fullmatch(group["foreach"])
    items = _lookup(match, section, kind)
    once = isinstance(items, list)  # of one: what a scale has once, and a part of it not at all
    part_of = section.get("part_of", {}) if match and match[1] in OF_PARTS else {}
    found = []
    for name in items:
        file = _file(section["scale"], part_of.get(name, ""), default)
        own = {"item": name} if once else {"key": name, "item": items[name]}
        found.append(_stage(kind, _address(file, kind, name), group["do"], section | own))
    return found


def _stage(kind: str, address: str, body: dict[str, Any], context: dict[str, Any]) -> Stage:
    key = context.get("key", "")
    name = stage_name(kind, context["scale"], key)

    def resolve(text: str) -> str:
        return PLACEHOLDER.sub(lambda match: str(_lookup(match, context, name)), text)

    def paths(*lists: str) -> tuple[str, ...]:
        entries = [entry for which in lists for entry in body.get(which, [])]
        return tuple(
            resolve(next(iter(entry)) if isinstance(entry, dict) else entry) for entry in entries
        )

    return Stage(
        kind=kind,
        scale=context["scale"],
        key=key,
        address=address,
        cmd=resolve(body["cmd"]).strip(),
        deps=paths("deps"),
        params=paths("params"),
        outs=paths("outs", "metrics", "plots"),
        frozen=body.get("frozen", False),
    )


def _lookup(match: re.Match[str] | None, context: dict[str, Any], stage: str) -> Any:
    if match is None:
        raise ValueError(f"{FILE}: the foreach of '{stage}' must be one ${{placeholder}}")
    value: Any = context
    for word in re.findall(r"\w+", match[1]):
        try:
            value = value[int(word) if isinstance(value, list) else word]
        except (KeyError, IndexError, TypeError, ValueError):
            raise ValueError(
                f"{FILE}: {match[0]} of stage '{stage}' is not in {_source(context)}"
            ) from None
    return value


def _source(context: dict[str, Any]) -> str:
    """The catalog that says what stands in a context, for errors."""
    if "scale" not in context:
        return "the catalog"
    part = context.get("part_of", {}).get(context.get("key"), "")
    return str(catalog_file(context["scale"], part))
