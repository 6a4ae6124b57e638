"""`nextbasis status`: what of a scale is made, what is running, and how long the rest takes."""

import argparse
import json
import os
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

from nextbasis.pipeline.catalog import default_scale, load_catalog, section
from nextbasis.pipeline.records import HELD
from nextbasis.pipeline.stagelist import Stage, load_stages
from nextbasis.support.files import read_json, result_folder
from nextbasis.support.words import listed

EXAMPLE = "nextbasis status --scale study"
RECORDS = Path(".snakemake/metadata")  # of every output: the job that made it, its start and end
WIDTH = 100  # of a log's last line
NAMED = 3  # of what is missing of a kind
EVERY = ""  # in place of a family

Seconds = dict[tuple[str, str], list[float]]  # of jobs, by kind of stage and family


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "status",
        help="what of a scale is made, what is running, how long the rest takes",
        description="Count what stages have made, name what is missing, show what is running, and "
        "estimate the rest from how long stages of the same kind and family took here. Outputs "
        "older than what they are made of count as missing; whether code or parameters changed, "
        "`snakemake -n --quiet rules` tells. What only `extra=true` asks for is left out.",
    )
    command.add_argument("--scale", default="", help="a folder of config/scales (the default one)")
    command.add_argument(
        "--cores", type=int, default=os.cpu_count() or 1, help="that run jobs (all of the machine)"
    )
    command.set_defaults(action=run)


def run(given: argparse.Namespace) -> int:
    """Print a line a kind of stage, then what is running and the time left.

    Raises: ValueError for an unknown scale or a number of cores below 1.
    """
    if given.cores < 1:
        raise ValueError(f"--cores must be at least 1, got {given.cores}")
    scale = given.scale or default_scale()
    catalog = load_catalog()
    part = section(catalog, scale)
    stages = wanted(load_stages(catalog, only=[scale]), part)
    left = [stage for stage in stages if not is_made(stage)]
    seconds = durations(part)
    print(f"scale {scale}: {len(stages) - len(left)} of {len(stages)} stages are made")
    kinds = list(dict.fromkeys(stage.kind for stage in stages))
    for kind in kinds:
        total = sum(stage.kind == kind for stage in stages)
        keys = [stage.key for stage in left if stage.kind == kind]
        took = f"{fmean(seconds[kind, EVERY]):6.0f} s each" if (kind, EVERY) in seconds else ""
        missing = f"missing: {listed(keys, most=NAMED)}" if any(keys) else ""
        print(f"  {kind:<12} {total - len(keys):>4} of {total:<4} {took:<14} {missing}".rstrip())
    for stage in (stage for stage in stages if stage.address in running()):
        print(f"running: {stage.address}  {last_line(stage)}".rstrip())
    print(time_left(left, part, seconds, given.cores))
    return 0


def wanted(stages: Iterable[Stage], part: dict[str, Any]) -> list[Stage]:
    """The stages that `make tables` runs: none that is frozen, none of what is marked extra."""
    entries = [*part["runs"].items(), *part["evals"].items()]
    extra = {key for key, entry in entries if entry.get("extra")}
    return [stage for stage in stages if not stage.frozen and stage.key not in extra]


def is_made(stage: Stage) -> bool:
    """Whether all outputs of a stage are there, none of them older than a result it is made of."""
    outs, made_of = [Path(path) for path in stage.outs], [Path(path) for path in stage.deps]
    if not all(path.exists() for path in outs):
        return False
    oldest = min(path.stat().st_mtime for path in outs)
    results = (path for path in made_of if path.parts[0] == "results" and path.exists())
    return all(path.stat().st_mtime <= oldest for path in results)


def running() -> set[str]:
    """Addresses of the stages that DVC runs now."""
    try:
        locks = read_json(HELD)
    except (FileNotFoundError, ValueError):  # no DVC has run, or one is writing it
        return set()
    holders = [holder for each in locks.get("write", {}).values() for holder in _listed(each)]
    return {holder["cmd"].split()[-1] for holder in holders if _is_alive(holder["pid"])}


def _listed(holders: Any) -> list[dict[str, Any]]:
    return holders if isinstance(holders, list) else [holders]


def _is_alive(process: int) -> bool:
    return Path(f"/proc/{process}").exists() or not Path("/proc").exists()


def last_line(stage: Stage) -> str:
    """The last line of a stage's log, which tells how far it is."""
    log = result_folder(stage.scale, "logs", stage.kind) / f"{stage.key or stage.kind}.log"
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return next((line.strip()[:WIDTH] for line in reversed(lines) if line.strip()), "")


def durations(part: dict[str, Any]) -> Seconds:
    """Seconds that jobs of a scale took here, by kind of stage and family, and of EVERY family.

    `part` is the catalog's section of the scale.
    """
    found: dict[tuple[str, float], tuple[str, float]] = {}
    for record in _records():
        log = Path((record.get("log") or [""])[0])
        if f"results/{part['scale']}/" in str(log) and not record.get("incomplete"):
            took = record["endtime"] - record["starttime"]
            found[record["rule"], record["starttime"]] = family_of(part, log.stem), took
    kinds: Seconds = {}
    for (kind, _), (family, took) in found.items():
        for each in dict.fromkeys((family, EVERY)):
            kinds.setdefault((kind, each), []).append(took)
    return kinds


def family_of(part: dict[str, Any], key: str) -> str:
    """The family of a run or of an evaluation of a scale; EVERY of what has none."""
    return str(part["evals"].get(key, {}).get("family", EVERY))


def _records() -> Iterable[dict[str, Any]]:
    for path in RECORDS.rglob("*") if RECORDS.is_dir() else []:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (IsADirectoryError, ValueError):
            continue
        if isinstance(record, dict) and {"rule", "starttime", "endtime"} <= record.keys():
            yield record


def time_left(left: list[Stage], part: dict[str, Any], seconds: Seconds, cores: int) -> str:
    """A sentence about the rest, from the mean time of each kind and family, else of the kind."""
    if not left:
        return "nothing is left"
    known = 0.0
    for stage in left:
        every = seconds.get((stage.kind, EVERY), [0.0])
        known += fmean(seconds.get((stage.kind, family_of(part, stage.key)), every))
    unknown = sorted({stage.kind for stage in left if (stage.kind, EVERY) not in seconds})
    text = f"left: {_count(len(left), 'stage')}"
    if known:
        minutes = round(known / cores / 60)
        took = f"about {_count(minutes, 'minute')}" if minutes else "less than a minute"
        text += f", {took} on {_count(cores, 'core')}"
    if unknown:
        text += f"; no {', no '.join(unknown)} has run here yet, so its time is unknown"
    return text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
