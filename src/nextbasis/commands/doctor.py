"""`nextbasis doctor`: whether this machine and folder have what a scale needs.

What is missing is told with what to do about it.
"""

import argparse
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from nextbasis.commands.arguments import add_scale
from nextbasis.pipeline.catalog import load_catalog, section
from nextbasis.pipeline.stagelist import Stage, load_stages, stage_file
from nextbasis.support.files import sha256
from nextbasis.support.git import GitError, git
from nextbasis.support.yamls import read_yaml

EXAMPLE = "nextbasis doctor --scale cpu"
LEAST_PYTHON = (3, 11)
TOOLS = ("git", "dvc", "snakemake")
LOCK = Path("requirements.lock")
ONLINE = {
    "debian": "the Debian archive",
    "torchvision": "torchvision's servers",
    "npm": "the npm registry",
}
GIB = 2**30


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `advice` is empty if it is in order."""

    name: str
    found: str
    advice: str = ""


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "doctor",
        help="check Python, packages, tools, disk, data and weights",
        description="Check whether this machine and folder have what a scale needs, and say what "
        "to do about what they lack. The exit status is 1 if something needs attention.",
    )
    add_scale(command)
    command.set_defaults(action=run)


def run(given: argparse.Namespace) -> int:
    """Print all checks; 1 if something needs attention."""
    checks = examine(given.scale)
    print(text(checks))
    return int(any(check.advice for check in checks))


def examine(scale: str) -> list[Check]:
    """Look at Python, packages, tools, disk, data and weights of one scale.

    Raises: ValueError for an unknown scale, FileNotFoundError outside the repository.
    """
    catalog = load_catalog()
    part = section(catalog, scale)
    stages = load_stages(catalog, only=[scale])
    checks = [_python(), _packages(), _torch(), *_tools(), _clone(), _caches(), _disk(scale)]
    return [*checks, _data(stages, scale), *_weights(stages, part)]


def text(checks: list[Check]) -> str:
    """One line a check, and the advice below it."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(
            f"{'MISSING' if check.advice else 'ok':<8}{check.name:<{width}}  {check.found}"
        )
        if check.advice:
            lines.append(f"{'':<8}{'':<{width}}  → {check.advice}")
    wrong = sum(bool(check.advice) for check in checks)
    lines.append(f"{wrong} of {len(checks)} need attention." if wrong else "Everything is there.")
    return "\n".join(lines)


def _python() -> Check:
    good = sys.version_info >= LEAST_PYTHON
    least = ".".join(map(str, LEAST_PYTHON))
    advice = "" if good else f"install Python {least} or newer: make PYTHON=/path/to/python{least}"
    return Check("Python", platform.python_version(), advice)


def _packages() -> Check:
    pins = [line.split("==") for line in LOCK.read_text(encoding="utf-8").split() if "==" in line]
    other = []
    for name, pinned in pins:
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "not installed"
        if found.partition("+")[0] != pinned.partition("+")[0]:
            other.append(f"{name} {found} (pinned: {pinned})")
    text = f"{len(pins) - len(other)} of {len(pins)} are the pinned ones"
    advice = f"make setup; other are {', '.join(other[:3])}" if other else ""
    return Check("packages", text + (", …" if len(other) > 3 else ""), advice)


def _torch() -> Check:
    import torch  # here: --help needs no second of import

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return Check("torch", f"{torch.__version__}, {device}, {os.cpu_count()} cores")


def _tools() -> list[Check]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    checks = []
    for tool in TOOLS:
        found = shutil.which(tool, path=path)
        advice = "install git" if tool == "git" else "make setup"
        checks.append(Check(tool, found or "not found", "" if found else advice))
    return checks


def _clone() -> Check:
    try:
        head = git(Path(), "rev-parse", "--short", "HEAD").decode().strip()
    except FileNotFoundError:
        return Check("repository", "not looked at: there is no git", "install git")
    except GitError as error:
        advice = "clone it, or run `dvc config --local core.no_scm true` to work without git"
        if "safe.directory" in str(error):
            advice = "run the command that git names, if you trust who owns this folder"
        return Check("repository", str(error), advice)
    return Check("repository", f"a git clone at {head}")


def _caches() -> Check:
    """Whether the folder of caches, in HOME unless it is said, takes files: Snakemake needs it."""
    path = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    try:
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            return Check("caches", str(path))
    except OSError as error:
        advice = "export XDG_CACHE_HOME=FOLDER, one that you may write"
        return Check("caches", f"{path} cannot be written ({error.strerror})", advice)


def _disk(scale: str) -> Check:
    """Free space against what the recorded results of the scale take, in cache and workspace."""
    lock = Path(stage_file(scale)).with_suffix(".lock")
    stages = read_yaml(lock) if lock.is_file() else {}
    outs = [
        out.get("size", 0)
        for stage in (stages or {}).get("stages", {}).values()
        for out in stage.get("outs", [])
    ]
    free, needed = shutil.disk_usage(".").free, 2 * sum(outs)
    text = f"{free / GIB:.1f} GiB free"
    if needed:
        text += f"; results and their cache took {needed / GIB:.1f} GiB"
    advice = f"free {(needed - free) / GIB:.1f} GiB, or clone to another disk"
    return Check("disk", text, advice if free < needed else "")


def _data(stages: list[Stage], scale: str) -> Check:
    stage = next(stage for stage in stages if stage.kind == "dataset")
    if all(Path(path).is_file() for path in stage.outs):
        return Check("data", f"made already, in results/{scale}/dataset")
    config = read_yaml(Path(stage.params[0]))
    own = os.environ.get("NEXTBASIS_DATA", "")
    folders = [own] if own else []
    folders += [s["location"] for s in config["sources"] if s["kind"] in ("local", "image_folder")]
    folders += [
        str(Path(file).parent)
        for source in config["sources"]
        if source["kind"] == "journeydb"
        for file in source["location"].split()
    ]
    if present := [folder for folder in folders if Path(folder).is_dir()]:
        return Check("data", f"{config['name']} in {present[0]}")
    kinds = [source["kind"] for source in config["sources"]]
    if "sklearn" in kinds:
        return Check("data", f"{config['name']}, shipped with scikit-learn")
    if online := [ONLINE[kind] for kind in kinds if kind in ONLINE]:
        return Check("data", f"{config['name']} will be fetched from {' or '.join(online)}")
    advice = f"put it there, or set NEXTBASIS_DATA to its folder (see {stage.params[0]})"
    return Check("data", f"{config['name']} is not in {', '.join(folders)}", advice)


def _weights(stages: list[Stage], part: dict[str, Any]) -> list[Check]:
    """Files of weights that configs name: tokenizers' and the scores' extractor's."""
    names = sorted({entry["tokenizer"] for entry in part["tokenizers"].values()})
    configs = [Path(f"config/tokenizer/{name}.yaml") for name in names]
    reference = next(stage for stage in stages if stage.kind == "reference")
    configs += map(Path, reference.params)
    return [check for path in configs if (check := _weight(path)) is not None]


def _weight(config: Path) -> Check | None:
    values = read_yaml(config)
    if not values.get("weights"):
        return None
    path, name = Path(values["weights"]), f"weights of {config.stem}"
    if not path.is_file():
        return Check(name, f"{path} is missing", f"put the file there; {config} says which it is")
    expected = values.get("weights_sha256", "")
    if expected and sha256(path) != expected:
        return Check(name, f"{path} has another SHA-256", f"{config} expects {expected}")
    return Check(name, str(path))
