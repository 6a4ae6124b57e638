"""dvc.yaml and the catalog as the Snakefile needs them, and DVC's verdict on what is out of date.

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

import yaml

from nextbasis.catalog import check_references, headline
from nextbasis.stagelist import Stage, load_stages, with_followers
from nextbasis.tables.inputs import CATALOG, load_catalog, scales

BUSY_ADVICE = (
    "Wait until that process has ended. If no dvc is running at all, its number has been given to "
    "another process: delete .dvc/tmp/rwlock."
)
RESOURCES = Path("config/resources.yaml")
RUNTIMES = Path("config/runtimes.yaml")  # and GPUs of single jobs, where the scale's plan has them
MARKERS = Path(".snakemake/dvc")
PICTURE = "grid.png"  # of most kinds that make one; all pictures of stages are in the report
# Within one urgency a row is finished before the next one starts; upstream stages come first of
# all, because everything waits for them.
URGENCY = (
    *("diagnose", "train", "sample", "reconstruct", "score"),
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
    """The stages of dvc.yaml, by kind, as Snakemake sees them."""

    def __init__(self, root: Path = Path()) -> None:
        """Read dvc.yaml, the catalog and the resources below `root`."""
        self.root = root
        self.catalog = load_catalog(root / CATALOG)
        self.scales = scales(self.catalog)
        every = load_stages(self.catalog, root)
        self.stages = [stage for stage in every if not stage.frozen]  # what a user's run may make
        self._by_name = {stage.name: stage for stage in self.stages}
        self._resources = yaml.safe_load((root / RESOURCES).read_text())
        self._runtimes = yaml.safe_load((root / RUNTIMES).read_text())
        self._headline: dict[str, dict[str, set[str]]] = {}
        self._due = {stage.name for stage in self.stages}  # to be made, as far as we know

    def of_scale(self, scale: str) -> list[Stage]:
        """The stages of one scale."""
        return [stage for stage in self.stages if stage.scale == scale]

    def keys(self, kind: str, scale: str) -> list[str]:
        """Keys of one kind's stages at one scale."""
        return [stage.key for stage in self.of_scale(scale) if stage.kind == kind]

    def key_pattern(self, kind: str, scale: str) -> str:
        """Regular expression of exactly these keys; of nothing where there is none."""
        return "|".join(map(_escape, self.keys(kind, scale))) or "(?!)"

    def inputs(self, kind: str, ancient: Callable[[str], str]) -> Callable[[Any], list[str]]:
        """Input function of a kind's rule: what other rules make, and the stage's marker.

        Unless a stage or what it reads is to be made, all that it reads is marked by `ancient`:
        `git clone` and `dvc pull` write files in any order.
        """

        def of(wildcards: Any) -> list[str]:
            stage = self._by_name[_name(kind, wildcards)]
            made = [path for path in stage.deps if path.startswith("results/")]
            if stage.name not in self._due:
                made = [ancient(path) for path in made]
            return [*made, str(MARKERS / stage.name)]

        return of

    def outputs(self, kind: str) -> list[str]:
        """Output patterns of a kind's rule, with {scale} and {key}; pictures, folders are apart."""
        return [path for path in self._patterns(kind) if Path(path).suffix not in ("", ".png")]

    def picture(self, kind: str, name: str = PICTURE) -> str:
        """Output pattern of a picture that a kind's rule makes."""
        return next(path for path in self._patterns(kind) if path.endswith(f"/{name}"))

    def folder(self, kind: str) -> str:
        """Output pattern of the folder that a kind's rule makes."""
        return next(path for path in self._patterns(kind) if not Path(path).suffix)

    def resource(self, kind: str, name: str) -> Callable[..., Any]:
        """Resource function of a kind's rule; None where a job has no such resource.

        threads, mem_mb (of one node), runtime (minutes), gpu (of all nodes), nodes, mpi, tasks.
        """

        def of(wildcards: Any) -> Any:
            scale = wildcards["scale"]
            node = self._resources[scale]["default"] | self._resources[scale].get(kind, {})
            planned = self._runtimes.get(scale, {}).get(kind, {}).get(wildcards.get("key"), {})
            job = node | planned
            nodes = job["gpu"] // node["gpu"] if node["gpu"] else 1
            return (job | _spread(nodes)).get(name)

        return of

    def priority(self, kind: str) -> Callable[[Any], int]:
        """Priority function of a kind's rule: what headline rows need first, then upstream."""

        def of(wildcards: Any) -> int:
            scale, key = wildcards["scale"], wildcards.get("key", "")
            if scale not in self._headline:
                self._headline[scale] = headline(self.catalog[scale])
            urgency = URGENCY.index(kind) if kind in URGENCY else len(URGENCY)
            needed = self._headline[scale].get(kind, {key})
            return urgency + HEADLINE * (key in needed)

        return of

    def check_references(self) -> None:
        """Check every name of the catalog.

        Raises: ValueError.
        """
        check_references(self.catalog)

    def check_configs(self, scale: str) -> None:
        """Compose the configuration of every stage, so a typo costs no computed result.

        A tenth of a second each, so it is skipped while nothing under config/ has changed.
        Raises: ValueError naming stage, key and value.
        """
        # Imported here: Hydra is not needed once the check has passed.
        from nextbasis.config import compose

        stamp = self.root / MARKERS / f"{scale}.checked"
        digest = self._digest_of_configs(scale)
        if stamp.exists() and stamp.read_text() == digest:
            return
        done: set[tuple[str, ...]] = set()
        for stage in self.of_scale(scale):
            kind, words = stage.kind, stage.arguments
            # Names differ everywhere and cannot be wrong here: check_references knows them.
            given = tuple(word for word in words if not word.startswith(("key=", "run=")))
            if not words or (kind, *given) in done:
                continue
            done.add((kind, *given))
            try:
                config = compose(kind, [*given, "key=any", *_names(kind)], self.root / "config")
            except ValueError as error:
                raise ValueError(f"{stage.name}: {error}") from error
            self._check_family(stage, config)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(digest)

    def refresh_markers(self, scale: str) -> None:
        """Ask DVC which stages have changed; renew their markers, and age all others.

        Raises: RuntimeError with DVC's message when it cannot tell.
        """
        stages = self.of_scale(scale)
        groups = sorted({stage.name.partition("@")[0] for stage in stages})
        status = subprocess.run(
            [sys.executable, "-m", "nextbasis.dvc", "--wait-for-lock", "status", "--json", *groups],
            cwd=self.root,
            capture_output=True,
            text=True,
        )
        if status.returncode:
            advice = BUSY_ADVICE if "busy" in status.stderr else ""
            raise RuntimeError(f"dvc status failed:\n{status.stderr}{advice}")
        changed = set(json.loads(status.stdout))
        self._due, folder = with_followers(stages, changed), self.root / MARKERS
        folder.mkdir(parents=True, exist_ok=True)
        for stage in stages:
            marker = folder / stage.name
            if stage.name in changed:
                marker.write_text(f"{time.time_ns()}\n")
            else:
                marker.write_text("unchanged\n")
                os.utime(marker, (0, 0))

    def being_run(self, scale: str) -> bool:
        """Whether another Snakemake holds this scale, or died without `--unlock`."""
        locks = self.root.glob(".snakemake/locks/*")
        return any(f"results/{scale}/" in path.read_text() for path in locks)

    def _patterns(self, kind: str) -> list[str]:
        for stage in self.stages:
            if stage.kind == kind:
                return [_pattern(path, stage) for path in stage.outs]
        # No scale has such a stage: its rule has an output all the same, which no key fits.
        return [f"results/{{scale}}/{kind}/{{key}}/none.json"]

    def _digest_of_configs(self, scale: str) -> str:
        files = [self.root / "dvc.yaml", *sorted((self.root / "config").rglob("*.yaml"))]
        files += sorted(Path(__file__).with_name("config").glob("*.py"))
        digest = hashlib.sha256(scale.encode())
        for path in files:
            digest.update(path.name.encode() + path.read_bytes())
        return digest.hexdigest()

    def _check_family(self, stage: Stage, config: Any) -> None:
        part = {"train": "model", "sample": "sampler"}.get(stage.kind)
        group = {"train": "runs", "sample": "evals"}.get(stage.kind)
        if part is None or group is None:
            return
        entry = self.catalog[stage.scale][group][stage.key]
        family = getattr(config, part).family
        if entry["family"] != family:
            raise ValueError(
                f"{stage.scale}.{group}.{stage.key}: family is '{entry['family']}' but "
                f"{part} '{entry[part]}' belongs to '{family}'"
            )


def _name(kind: str, wildcards: Any) -> str:
    name = f"{kind}-{wildcards.scale}"
    return f"{name}@{wildcards.key}" if hasattr(wildcards, "key") else name


def _names(kind: str) -> list[str]:
    return ["run=any"] if kind in ("sample", "diagnose", "score") else []


def _spread(nodes: int) -> dict[str, Any]:
    """Nodes of a job; the Slurm plugin must know that one with several starts srun itself."""
    return {"nodes": nodes} | ({"mpi": "srun", "tasks": nodes} if nodes > 1 else {})


def _escape(key: str) -> str:
    return key.replace(".", r"\.")


def _pattern(path: str, stage: Stage) -> str:
    scale, rest = f"results/{stage.scale}/", path
    if not path.startswith(scale):
        raise ValueError(f"dvc.yaml: {stage.name} writes {path}, which is not below {scale}")
    rest = path[len(scale) :]
    kind, _, tail = rest.partition("/")
    if stage.key:
        key, _, tail = tail.partition("/")
        if key != stage.key:
            raise ValueError(f"dvc.yaml: {stage.name} writes {path}, not below its key")
        return "/".join(("results", "{scale}", kind, "{key}", tail))
    return "/".join(("results", "{scale}", kind, tail))
