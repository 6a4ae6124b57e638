"""What a comparison cannot see: scales that one version lacks, edits that nothing ran with."""

from pathlib import Path
from typing import Any

from nextbasis.diff.causes import Stages, flatten
from nextbasis.diff.history import Version, WorkingTree
from nextbasis.support.git import GitError, git
from nextbasis.support.words import listed
from nextbasis.support.yamls import parse_yaml

SHOWN = 8  # keys that are named


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
        found += changed_code(root)
    return found


def scales(stages: Stages) -> set[str]:
    """The scales that have a stage: <kind>-<scale>[@<key>]."""
    names = (name.partition("@")[0] for name in stages)
    return {name.split("-", 1)[1] for name in names if "-" in name}


def edited(tree: WorkingTree, stages: Stages) -> list[str]:
    """Parameters that differ from those which the results here were made with."""
    recorded: dict[str, dict[str, Any]] = {}
    for stage in stages.values():
        for path, values in (stage.get("params") or {}).items():
            recorded.setdefault(path, {}).update(flatten(values))
    changes = []
    for path, text in tree.read(recorded).items():
        now = flatten(parse_yaml(text) or {})
        changes += [
            f"{path}, {key}: {value} → {now.get(key, 'none')}"
            for key, value in recorded[path].items()
            if now.get(key) != value
        ]
    if not changes:
        return []
    rest = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    return [
        f"edited, and nothing was run with it since: {'; '.join(changes[:SHOWN])}{rest}; "
        "`snakemake --cores 2` runs what depends on it"
    ]


def changed_code(root: Path) -> list[str]:
    """Files of the code that are not as in the last commit."""
    try:
        lines = git(root, "status", "--porcelain", "--", "src").decode().splitlines()
    except (GitError, FileNotFoundError):
        return []
    if not lines:
        return []
    files = [line[3:] for line in lines]
    return [
        f"{len(files)} files of src are not as in the last commit ({listed(files)}); whether "
        "results were made with them, `snakemake -n --quiet` tells"
    ]
