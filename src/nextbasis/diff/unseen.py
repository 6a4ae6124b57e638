"""What a comparison cannot see: scales that one version lacks, edits that nothing ran with."""

from collections.abc import Collection, Iterable
from pathlib import Path

from nextbasis.diff.causes import Stages, flatten
from nextbasis.diff.history import Version, WorkingTree
from nextbasis.support.git import GitError, git
from nextbasis.support.words import listed
from nextbasis.support.yamls import parse_yaml

SHOWN = 8  # keys that are named
NAMED = 3  # stages that are named with each


def unseen(old: Version, new: Version, stages: tuple[Stages, Stages], root: Path) -> list[str]:
    """Sentences about what the two versions do not tell; none if they tell all."""
    found = [
        f"{listed(sorted(lacking))}: {version.name} has no results of "
        f"{'it' if len(lacking) == 1 else 'them'}, so nothing of {other.name} is compared"
        for version, other, lacking in (
            (old, new, scales(stages[1]) - scales(stages[0])),
            (new, old, scales(stages[0]) - scales(stages[1])),
        )
        if lacking
    ]
    if isinstance(new, WorkingTree):
        found += edited(new, stages[1])
        answered = {path for stage in stages[1].values() for path in stage.get("params") or {}}
        found += changed_code(root, answered)
    return found


def scales(stages: Iterable[str]) -> set[str]:
    """The scales that have one of these stages: <kind>-<scale>[@<key>]."""
    names = (name.partition("@")[0] for name in stages)
    return {name.split("-", 1)[1] for name in names if "-" in name}


def edited(tree: WorkingTree, stages: Stages) -> list[str]:
    """Parameters that differ from those which results here were made with, and whose results."""
    paths = {path for stage in stages.values() for path in stage.get("params") or {}}
    now = {path: flatten(parse_yaml(text) or {}) for path, text in tree.read(paths).items()}
    behind: dict[str, list[str]] = {}  # stages by what was changed since they ran
    for name, stage in stages.items():
        for path, values in (stage.get("params") or {}).items():
            for key, value in flatten(values).items() if path in now else ():
                if (new := now[path].get(key, "none")) != value:
                    behind.setdefault(f"{path}, {key}: {value} → {new}", []).append(name)
    if not behind:
        return []
    changes = [
        f"{change} (not run since: {listed(sorted(names), most=NAMED)})"
        for change, names in behind.items()
    ]
    rest = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    reached = scales(name for names in behind.values() for name in names)
    commands = [f"`snakemake --cores 2 --config scale={scale}`" for scale in sorted(reached)]
    return [
        f"edited: {'; '.join(changes[:SHOWN])}{rest}; what depends on it, and whatever else is "
        f"missing at its scale, is made by {listed(commands)}"
    ]


def changed_code(root: Path, answered: Collection[str] = ()) -> list[str]:
    """Files of the code, without the `answered` ones, that are not as in the last commit."""
    try:
        lines = git(root, "status", "--porcelain", "--", "src").decode().splitlines()
    except (GitError, FileNotFoundError):
        return []
    files = [line[3:] for line in lines if line[3:] not in answered]
    if not files:
        return []
    return [
        f"not as in the last commit: {listed(files)}; whether results were made with it, "
        "`snakemake -n --quiet rules` tells of the default scale, and with --config scale=NAME of "
        "another"
    ]
