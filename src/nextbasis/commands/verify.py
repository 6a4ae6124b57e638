"""`nextbasis verify`: remake some committed results elsewhere and compare every digit."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nextbasis.commands.arguments import add_scale
from nextbasis.support.git import GitError, git
from nextbasis.support.instructions import machine

EXAMPLE = "nextbasis verify rar_b --scale cpu"
EVALUATION = "rar_b"
SHOWN = 10  # differing numbers of a file


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "verify",
        help="remake committed results in a temporary clone and compare their digits",
        description="Clone this commit, remake an evaluation there with everything it needs (data, "
        "tokenizer, tokens, training, samples, score) and compare every number with the committed "
        "one. The results here are left alone. The exit status is 1 if a digit differs. It takes "
        "the time of these stages: minutes at the scale cpu.",
    )
    command.add_argument(
        "key",
        metavar="EVALUATION",
        nargs="?",
        default=EVALUATION,
        help=f"an entry of evals in the catalog ({EVALUATION})",
    )
    add_scale(command)
    command.set_defaults(action=run)


def run(given: argparse.Namespace) -> int:
    """Remake and compare; 1 if a number differs."""
    from nextbasis.diff.numbers import FILES
    from nextbasis.pipeline.catalog import evaluation_of, load_catalog
    from nextbasis.pipeline.stagelist import load_stages, stage_name, with_makers

    catalog = load_catalog()
    evaluation_of(catalog, given.scale, given.key)
    stages = load_stages(catalog, only=[given.scale])
    target = next(s for s in stages if s.name == stage_name("score", given.scale, given.key))
    paths = [
        path for stage in with_makers(stages, target) for path in stage.outs if path.endswith(FILES)
    ]
    committed = read_committed(paths)
    with TemporaryDirectory(prefix="nextbasis-verify-") as folder:
        remade = remake(Path(folder) / "clone", target.address, paths)
    differing = report(committed, remade)
    return int(bool(differing))


def read_committed(paths: list[str]) -> dict[str, Any]:
    """The contents of the files of the last commit.

    Raises: FileNotFoundError naming a file that it lacks.
    """
    found = {}
    for path in paths:
        try:
            found[path] = json.loads(git(Path(), "show", f"HEAD:{path}"))
        except GitError as error:
            raise FileNotFoundError(
                f"the last commit has no {path}, so there is nothing to compare with; git says: "
                f"{error}"
            ) from error
    return found


def remake(clone: Path, address: str, paths: list[str]) -> dict[str, Any]:
    """What the files hold when a stage and all that it needs are run in a new clone.

    Raises: ValueError if a stage fails; what it said stands above.
    """
    from nextbasis.pipeline.schedule import prepare_environment

    subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
    if (data := Path("data")).is_dir():  # downloads need not be repeated
        (clone / "data").symlink_to(data.resolve())
    prepare_environment()
    environment = os.environ | {"PYTHONPATH": str(clone / "src")}
    command = [sys.executable, "-m", "dvc", "repro", address]
    if subprocess.run(command, cwd=clone, env=environment).returncode:
        raise ValueError(f"`dvc repro {address}` failed in a clone of this commit")
    return {path: json.loads((clone / path).read_text(encoding="utf-8")) for path in paths}


def report(committed: Mapping[str, Any], remade: Mapping[str, Any]) -> int:
    """Print, file by file, how many numbers agree to the last digit; how many do not."""
    total = wrong = 0
    for path, before in committed.items():
        old, new = numbers(before), numbers(remade[path])
        differing = [key for key in old | new if old.get(key) != new.get(key)]
        total, wrong = total + len(old | new), wrong + len(differing)
        print(f"{path}: {len(old | new) - len(differing)} of {len(old | new)} numbers agree")
        for key in differing[:SHOWN]:
            print(f"  {key}: {old.get(key, 'none')} → {new.get(key, 'none')}")
        if len(differing) > SHOWN:
            print(f"  and {len(differing) - SHOWN} more")
        made = [machine(content) or "a machine not recorded" for content in (before, remade[path])]
        if differing and made[0] != made[1]:
            print(f"  made by {made[0]} → {made[1]}")
    print(f"{total - wrong} of {total} numbers agree to the last digit.")
    return wrong


def numbers(content: Any, prefix: str = "") -> dict[str, int | float]:
    """Numbers of nested dictionaries and lists by their place; not those of the provenance."""
    if isinstance(content, bool | str) or content is None:
        return {}
    if isinstance(content, int | float):
        return {prefix: content}
    entries = content.items() if isinstance(content, dict) else enumerate(content)
    found: dict[str, int | float] = {}
    for key, part in entries:
        if key not in ("provenance", "versions"):
            found |= numbers(part, f"{prefix}.{key}" if prefix else str(key))
    return found
