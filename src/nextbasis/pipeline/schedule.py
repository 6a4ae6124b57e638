"""The stages of one scale as the Snakefile needs them, and DVC's verdict on what is out of date.

Snakemake orders and runs the stages; only DVC decides which of them have changed. Its verdict
reaches Snakemake by one marker file a stage, an input of the stage's rule.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nextbasis.basis.registry import construction_of, is_brought
from nextbasis.pipeline.catalog import SCALES, load_catalog, section
from nextbasis.pipeline.checks import check_references, headline
from nextbasis.pipeline.records import Records
from nextbasis.pipeline.stagelist import (
    Stage,
    load_stages,
    lock_files,
    stage_files,
    stage_name,
    with_followers,
)
from nextbasis.support.files import write_text
from nextbasis.support.words import listed
from nextbasis.support.yamls import check_keys, read_keys

BUSY_ADVICE = (
    "Wait until that process has ended. If no dvc is running at all, its number has been given to "
    "another process: delete .dvc/tmp/rwlock."
)
RESOURCES = "resources.yaml"  # of a scale's folder
RUNTIMES = "runtimes.yaml"  # and GPUs of single jobs, where the scale's plan has them
LIMITS = ("threads", "mem_mb", "runtime", "gpu")  # of a job, in these files
MARKERS = Path(".snakemake/dvc")
PACKAGE = Path(__file__).parents[1]
# What a configuration is made of besides config/, in this package: schemas, and families' recipes.
CHECKED = (
    *("config/*.py", "families/*/config.py", "tokenizers/*/config.py"),
    "families/*/recipes/**/*.yaml",
)
# Within one urgency a row is finished before the next one starts; upstream stages come first of
# all, because everything waits for them.
URGENCY = (
    *("diagnose", "heldout", "train", "sample", "reconstruct", "score"),
    *("tokens", "text", "rebase", "tokenizer", "reference"),
)
HEADLINE = 100  # added to the urgency of what the headline rows need


def prepare_environment() -> None:
    """Let jobs find the tools of this Python's environment, activated or not, and use one thread.

    Two jobs of one thread beat one job of two threads on two cores.
    """
    tools = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([tools, os.environ.get("PATH", "")])
    os.environ.setdefault("OMP_NUM_THREADS", "1")


class Stages:
    """The stages of one scale, by kind, as Snakemake sees them."""

    def __init__(self, scale: str, root: Path = Path()) -> None:
        """Read dvc.yaml, the catalogs and the scale's resources below `root`.

        Raises: ValueError naming the scales there are; FileNotFoundError naming what is missing.
        """
        self.root, self.scale = root, scale
        self.catalog = load_catalog(root)
        self.section = section(self.catalog, scale)
        every = load_stages(self.catalog, root, [scale])
        self.stages = [stage for stage in every if not stage.frozen]  # what a user's run may make
        self.kinds = list(dict.fromkeys(stage.kind for stage in self.stages))
        self._by_name = {stage.name: stage for stage in self.stages}
        self._resources, self._runtimes = self._read(RESOURCES), self._read(RUNTIMES)
        self._check_resources()
        self._headline = headline(self.section)
        self._due = {stage.name for stage in self.stages}  # to be made, as far as we know

    def _read(self, name: str) -> dict[str, Any]:
        path = self.root / SCALES / self.scale / name
        return read_keys(path) if path.is_file() else {}

    def _check_resources(self) -> None:
        """Check that every number of resources.yaml and runtimes.yaml is of a job, and one.

        Raises: ValueError naming file, kind and key of one that nothing reads, or is no number.
        """
        file = SCALES / self.scale / RESOURCES
        check_keys(file, self._resources, ("default", *self.kinds))
        entries = {f"{file}: {kind}": entry for kind, entry in self._resources.items()}
        file = SCALES / self.scale / RUNTIMES
        check_keys(file, self._runtimes, self.kinds)
        for kind, jobs in self._runtimes.items():
            check_keys(f"{file}: {kind}", jobs, self.keys(kind))
            entries |= {f"{file}: {kind}.{key}": entry for key, entry in jobs.items()}
        for where, entry in entries.items():
            check_keys(where, entry, LIMITS)
            for name, value in entry.items():
                if type(value) is not int or value < 0:
                    raise ValueError(f"{where}.{name} must be a whole number, got '{value}'")
        if lacking := [name for name in LIMITS if name not in self._resources.get("default", {})]:
            raise ValueError(f"{SCALES / self.scale / RESOURCES}: default has no {listed(lacking)}")

    def keys(self, kind: str) -> list[str]:
        """Keys of one kind's stages."""
        return [stage.key for stage in self.stages if stage.kind == kind]

    def key_pattern(self, kind: str) -> str:
        """Regular expression of exactly these keys."""
        return "|".join(key.replace(".", r"\.") for key in self.keys(kind))

    def address(self, kind: str) -> Callable[[Any], str]:
        """Function of a job's wildcards: how `dvc repro` is told of its stage."""
        return lambda wildcards: self._stage(kind, wildcards).address

    def inputs(self, kind: str, ancient: Callable[[str], str]) -> Callable[[Any], list[str]]:
        """Input function of a kind's rule: what other rules make, and the stage's marker.

        Unless a stage or what it reads is to be made, all that it reads is marked by `ancient`:
        `git clone` and `dvc pull` write files in any order.
        """

        def of(wildcards: Any) -> list[str]:
            stage = self._stage(kind, wildcards)
            made = [path for path in stage.deps if path.startswith("results/")]
            if stage.name not in self._due:
                made = [ancient(path) for path in made]
            return [*made, str(MARKERS / stage.name)]

        return of

    def outputs(self, kind: str) -> list[str]:
        """Output patterns of a kind's rule, with {scale} and {key}."""
        stage = next(stage for stage in self.stages if stage.kind == kind)
        return [_pattern(path, stage) for path in stage.outs]

    def log(self, kind: str) -> str:
        """Pattern of the log of a kind's rule."""
        return "results/{scale}/logs/" + kind + ("/{key}.log" if self.keys(kind)[0] else ".log")

    def resource(self, kind: str, name: str) -> Callable[..., Any]:
        """Resource function of a kind's rule; None where a job has no such resource.

        threads, mem_mb (of one node), runtime (minutes), gpu (of all nodes), nodes, mpi, tasks.
        """
        node = self._resources["default"] | self._resources.get(kind, {})

        def of(wildcards: Any) -> Any:
            job = node | self._runtimes.get(kind, {}).get(wildcards.get("key"), {})
            nodes = job["gpu"] // node["gpu"] if node["gpu"] else 1
            return (job | _spread(nodes)).get(name)

        return of

    def priority(self, kind: str) -> Callable[[Any], int]:
        """Priority function of a kind's rule: what headline rows need first, then upstream."""
        urgency = URGENCY.index(kind) if kind in URGENCY else len(URGENCY)

        def of(wildcards: Any) -> int:
            key = wildcards.get("key", "")
            return urgency + HEADLINE * (key in self._headline.get(kind, {key}))

        return of

    def check_references(self) -> None:
        """Check every name of the catalog, of all scales.

        Raises: ValueError.
        """
        check_references(self.catalog)

    def check_configs(self) -> None:
        """Compose the configuration of every stage, so a typo costs no computed result.

        A tenth of a second each, so it is skipped while nothing that they are made of has changed.
        Raises: ValueError naming stage, key and value.
        """
        stamp = self.root / MARKERS / f"{self.scale}.checked"
        digest = self._digest_of_configs()
        if stamp.exists() and stamp.read_text(encoding="utf-8") == digest:
            return
        from nextbasis.config import compose  # here: Hydra is not needed once the check has passed

        done: set[tuple[str, ...]] = set()
        for stage in self.stages:
            kind, words = stage.kind, stage.arguments
            # Names differ everywhere and cannot be wrong here: check_references knows them.
            given = tuple(word for word in words if not word.startswith(("key=", "run=")))
            if not words or (kind, *given) in done:
                continue
            done.add((kind, *given))
            try:
                config = compose(kind, [*given, "key=any", *_names(kind)], self.root / "config")
                if kind in ("train", "rebase") and is_brought(config.basis.init):
                    _check_brought(config.basis.init)
            except ValueError as error:
                raise ValueError(f"{stage.name}: {error}") from error
            self._check_entry(stage, config)
        write_text(stamp, digest)

    def refresh_markers(self) -> None:
        """Ask DVC which stages have changed; renew their markers, and age all others.

        Raises: RuntimeError with DVC's message when it cannot tell.
        """
        files = stage_files(self.catalog, self.scale, self.root)
        records = Records(self.root, lock_files(self.catalog, self.scale, self.root))
        status = self._status(files)
        while status.returncode and records.mend(status.stderr):
            status = self._status(files)
        if status.returncode:
            advice = BUSY_ADVICE if "busy" in status.stderr else ""
            raise RuntimeError(f"dvc status failed:\n{status.stderr}{advice}")
        records.keep()
        addresses = json.loads(status.stdout)
        changed = {stage.name for stage in self.stages if stage.address in addresses}
        self._due, folder = with_followers(self.stages, changed), self.root / MARKERS
        for stage in self.stages:
            marker = folder / stage.name
            if stage.name in changed:
                write_text(marker, f"{time.time_ns()}\n")
            else:
                write_text(marker, "unchanged\n")
                os.utime(marker, (0, 0))

    def _status(self, files: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dvc", "--wait-for-lock", "status", "--json", *files],
            cwd=self.root,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )

    def being_run(self) -> bool:
        """Whether another Snakemake holds this scale, or died without `--unlock`."""
        locks = self.root.glob(".snakemake/locks/*")
        return any(f"results/{self.scale}/" in path.read_text(encoding="utf-8") for path in locks)

    def _stage(self, kind: str, wildcards: Any) -> Stage:
        return self._by_name[stage_name(kind, self.scale, getattr(wildcards, "key", ""))]

    def _digest_of_configs(self) -> str:
        files = [self.root / "dvc.yaml", *sorted((self.root / "config").rglob("*.yaml"))]
        for pattern in CHECKED:
            files += sorted(PACKAGE.glob(pattern))
        digest = hashlib.sha256(self.scale.encode())
        for path in files:
            digest.update(str(path).encode() + path.read_bytes())
        return digest.hexdigest()

    def _check_entry(self, stage: Stage, config: Any) -> None:
        """Check what an entry of the catalog repeats of the recipes that it names."""
        where = f"{stage.scale}: {stage.kind} {stage.key}"
        if stage.kind in ("train", "sample"):
            part = "model" if stage.kind == "train" else "sampler"
            entry = self.section["evals"][stage.key]
            family = getattr(config, part).family
            if entry["family"] != family:
                raise ValueError(
                    f"{where}: family is '{entry['family']}' but {part} '{entry[part]}' belongs to "
                    f"'{family}'"
                )
        if stage.kind == "tokenizer":
            given, kind = self.section["tokenizers"][stage.key]["coder"], config.tokenizer.kind
            if given != kind:
                raise ValueError(
                    f"{where}: coder is '{given}' but tokenizer "
                    f"'{self.section['tokenizers'][stage.key]['tokenizer']}' is of kind '{kind}'"
                )
        if stage.kind == "text" and config.text.kind != "classes":
            reading = [
                key
                for key, entry in self.section["heldouts"].items()
                if entry["captions"] == stage.key
            ]
            if reading:
                raise ValueError(
                    f"{stage.scale}: heldouts: {listed(reading)} read captions '{stage.key}', "
                    f"which are {config.text.kind}; held-out losses are of class labels"
                )
        if stage.kind in ("train", "rebase"):
            group = "runs" if stage.kind == "train" else "rebased"
            given = self.section[group][stage.key]["construction"]
            made = construction_of(config.basis.init)
            if given != made:
                raise ValueError(
                    f"{where}: construction is '{given}' but basis.init={config.basis.init} is "
                    f"made in constructions/{made}.py"
                )


def _check_brought(init: str) -> None:
    """Nothing if the file of a basis that somebody brings is there, and is the one it is to be.

    Raises: ValueError naming basis.init and the file.
    """
    from nextbasis.basis.brought import source_hash  # torch, which few catalogs need here

    source_hash(init)


def _names(kind: str) -> list[str]:
    return ["run=any"] if kind in ("sample", "diagnose", "heldout", "score") else []


def _spread(nodes: int) -> dict[str, Any]:
    """Nodes of a job; the Slurm plugin must know that one with several starts srun itself."""
    return {"nodes": nodes} | ({"mpi": "srun", "tasks": nodes} if nodes > 1 else {})


def _pattern(path: str, stage: Stage) -> str:
    scale = f"results/{stage.scale}/"
    if not path.startswith(scale):
        raise ValueError(f"dvc.yaml: {stage.name} writes {path}, which is not below {scale}")
    kind, _, tail = path[len(scale) :].partition("/")
    if stage.key:
        key, _, tail = tail.partition("/")
        if key != stage.key:
            raise ValueError(f"dvc.yaml: {stage.name} writes {path}, not below its key")
        return "/".join(("results", "{scale}", kind, "{key}", tail))
    return "/".join(("results", "{scale}", kind, tail))
