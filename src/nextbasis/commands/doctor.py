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
from nextbasis.pipeline.catalog import SCALES, Catalog, load_catalog, section
from nextbasis.pipeline.schedule import RESOURCES
from nextbasis.pipeline.stagelist import Stage, load_stages, lock_files
from nextbasis.support.files import sha256
from nextbasis.support.git import GitError, git
from nextbasis.support.yamls import read_keys, read_yaml

EXAMPLE = "nextbasis doctor --scale cpu"
LEAST_PYTHON = (3, 11)
TOOLS = ("git", "dvc", "snakemake")
LOCK = Path("requirements.lock")
ONLINE = {
    "debian": "the Debian archive",
    "torchvision": "torchvision's servers",
    "npm": "the npm registry",
}
GIGA = 1e9  # bytes in the gigabyte of disks, as in docs/paper-scale.md


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `advice` is empty if it is in order."""

    name: str
    found: str
    advice: str = ""
    needed: bool = True  # by the scale, wherever it is run; without, the advice is a warning

    @property
    def mark(self) -> str:
        """The word in front of its line."""
        if not self.advice:
            return "ok"
        return "MISSING" if self.needed else "warning"


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "doctor",
        help="check Python, packages, tools, disk, data and weights",
        description="Check whether this machine and folder have what a scale needs, and say what "
        "to do about what they lack. The exit status is 1 if something is missing; warnings "
        "leave it 0.",
    )
    add_scale(command)
    command.set_defaults(action=run)


def run(given: argparse.Namespace) -> int:
    """Print all checks; 1 if something is missing."""
    checks = examine(given.scale)
    print(text(checks))
    return int(any(check.mark == "MISSING" for check in checks))


def examine(scale: str) -> list[Check]:
    """Look at Python, packages, tools, disk, data and weights of one scale.

    Raises: ValueError for an unknown scale, FileNotFoundError outside the repository.
    """
    catalog = load_catalog()
    part = section(catalog, scale)
    stages = load_stages(catalog, only=[scale])
    checks = [_python(), _packages(), _torch(scale), *_tools(), *_slurm(scale), _clone()]
    checks += [_caches(), _disk(scale, catalog)]
    return [*checks, _data(stages, scale), *_weights(stages, part)]


def text(checks: list[Check]) -> str:
    """One line a check, and the advice below it."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.mark:<8}{check.name:<{width}}  {check.found}")
        if check.advice:
            lines.append(f"{'':<8}{'':<{width}}  → {check.advice}")
    marks = [check.mark for check in checks]
    wrong, warned = marks.count("MISSING"), marks.count("warning")
    everything = "Everything needed is there" if warned else "Everything is there"
    end = f"{wrong} of {len(checks)} need attention" if wrong else everything
    lines.append(end + (f"; warnings: {warned}." if warned else "."))
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


def _torch(scale: str) -> Check:
    import torch  # here: --help needs no second of import

    has_gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if has_gpu else "CPU"
    found = f"{torch.__version__}, {device}, {os.cpu_count()} cores"
    if has_gpu or not _gpus(scale):
        return Check("torch", found)
    planned = f"{SCALES / scale / RESOURCES} plans up to {_gpus(scale)} GPUs a node"
    advice = f"{planned}: docs/how-to/cluster.md"
    return Check("torch", found, advice, needed=False)


def _gpus(scale: str) -> int:
    """GPUs that the largest job of a scale asks a node for."""
    return max(job.get("gpu", 0) for job in read_keys(SCALES / scale / RESOURCES).values())


def _tools() -> list[Check]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    checks = []
    for tool in TOOLS:
        found = shutil.which(tool, path=path)
        advice = "install git" if tool == "git" else "make setup"
        checks.append(Check(tool, found or "not found", "" if found else advice))
    return checks


def _slurm(scale: str) -> list[Check]:
    """Whether jobs can go to Slurm, at a scale that is planned for GPUs."""
    if not _gpus(scale):
        return []
    found = shutil.which("sbatch")
    advice = "`--profile profiles/slurm` works only where Slurm is; other profiles need none"
    return [Check("sbatch", found or "not found", "" if found else advice, needed=False)]


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


def _disk(scale: str, catalog: Catalog) -> Check:
    """Free space against what the results of the scale take, in the workspace and in DVC's cache.

    Of one of the papers' scales the plan says what all its runs keep; of another each dvc.lock that
    it has does.
    """
    free = shutil.disk_usage(".").free
    text, advice = f"{_gb(free)} free", ""
    if planned := 2 * _planned(scale):
        text += f"; all results and DVC's cache of them take {_gb(planned)}, by the plan"
        advice = "docs/paper-scale.md lists what takes it; a few runs need less"
        return Check("disk", text, advice if free < planned else "", needed=False)
    locks = lock_files(catalog, scale)
    if recorded := 2 * sum(_recorded(Path(lock)) for lock in locks):
        where = f"{locks[0]} records" if len(locks) == 1 else f"the locks of {scale} record"
        text += f"; the results that {where} and DVC's cache of them take {_gb(recorded)}"
        advice = f"free {_gb(recorded - free)}, or clone to another disk"
    return Check("disk", text, advice if free < recorded else "")


def _planned(scale: str) -> int:
    """Bytes of results that the plan counts for all runs of a scale of the papers; 0 of others."""
    from nextbasis.plan.paper import paper, read_page

    if scale not in read_page()["images"]:
        return 0
    print("counting what the scale's results take: half a minute", file=sys.stderr, flush=True)
    return sum(paper(scale).kept().values())


def _recorded(lock: Path) -> int:
    """Bytes of the results that a dvc.lock records, made here or elsewhere; 0 if there is none."""
    stages = read_yaml(lock) if lock.is_file() else {}
    return sum(
        out.get("size", 0)
        for stage in (stages or {}).get("stages", {}).values()
        for out in stage.get("outs", [])
    )


def _gb(size: int) -> str:
    return f"{size / GIGA:,.1f} GB"


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
