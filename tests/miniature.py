"""A miniature of this repository for tests: real Snakefile, rules and dvc.yaml, fake stages.

Every stage waits for a moment and writes files that depend on what it read, so a whole run takes
seconds and a test can tell what was executed, and whether a result is the right one.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import yaml

from nextbasis.pipeline.catalog import catalog_file, load_catalog
from nextbasis.pipeline.stagelist import load_stages

REPOSITORY = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent
SCALE = "cpu"  # its .gitignore rules are those of the real scale: metrics in git, the rest in cache
FAKED = re.compile(r"(python|\$\{launch\}) -m nextbasis\.stages\.")  # how commands of stages begin
RESOURCES = "default: {threads: 1, mem_mb: 1000, runtime: 10, gpu: 0}\n"
FAKE_STAGE = """
import hashlib, json, os, sys, time
from pathlib import Path
from nextbasis.pipeline.catalog import load_catalog
from nextbasis.pipeline.stagelist import load_stages

kind, given = sys.argv[1], dict(word.split("=", 1) for word in sys.argv[2:])
key, name = given.get("key", ""), f"{sys.argv[1]} {given.get('key', '')}".strip()
stage = next(s for s in load_stages(load_catalog()) if (s.kind, s.key) == (kind, key))
behaviour = json.loads(Path("behaviour.json").read_text())

def log(what):
    with open("executions.log", "a") as stream:
        stream.write(f"{what} {os.getpid()} {name}\\n")

log("start")
digest = hashlib.sha256(stage.cmd.encode())
for path in map(Path, (*stage.deps, *stage.params)):
    for file in sorted(path.rglob("*.[pn]*y")) if path.is_dir() else [path]:  # .py, .npy
        digest.update(file.read_bytes())
time.sleep(behaviour["seconds"].get(kind, 0))
while kind == "train" and Path("hold").exists():
    time.sleep(0.05)
if name in behaviour["fail"]:
    sys.exit(f"{name} fails as told")
value = int(digest.hexdigest()[:8], 16)
for path in map(Path, stage.outs):
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix
    if not suffix:  # a folder of shards
        path.mkdir(exist_ok=True)
        path /= "00000.npy"
    path.write_text(
        json.dumps({"value": value}) if suffix == ".json"
        else f"step,loss\\n0,{value}\\n1,{value / 2}\\n" if suffix == ".csv"
        else f"{path} {digest.hexdigest()}"
    )
log("end")
"""
TABLE_RULES = """
TABLES = f"results/{SCALE}/tables/main.md"
PICTURES = [path for stage in STAGES.stages for path in stage.outs]  # make everything
PAGE = []


rule table:
    input:
        expand("results/{{scale}}/score/{key}/score.json", key=STAGES.keys("score")),
    output:
        "results/{scale}/tables/main.md",
    shell:
        "cat {input} > {output}"
"""


class Project:
    """One miniature in `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def create(cls, root: Path) -> "Project":
        """A committed miniature with two runs, nothing computed yet."""
        project = cls(root)
        for name in ("workflow", "profiles"):
            shutil.copytree(REPOSITORY / name, root / name)
        for name in ("Snakefile", ".gitignore", ".dvcignore"):
            shutil.copy(REPOSITORY / name, root / name)
        project.write(f"config/scales/{SCALE}/resources.yaml", RESOURCES)
        project.write("config/tables.yaml", "{}\n")
        (root / "catalog.yaml").symlink_to(catalog_file(SCALE))
        project.write("workflow/rules/tables.smk", TABLE_RULES)
        project.write("fake.py", FAKE_STAGE)
        project.set_runs("mar_b", "xar_b", evaluated=("mar_b", "xar_b"))
        real = (REPOSITORY / "dvc.yaml").read_text()
        project.write("dvc.yaml", FAKED.sub("python fake.py ", real))
        for stage in load_stages(load_catalog(root), root):
            for path in (*stage.deps, *stage.params):
                if not path.startswith("results/"):
                    file = path if Path(path).suffix else f"{path}/module.py"  # a folder's
                    project.write(file, "value: 1\n")
        project.behave()
        with (root / ".gitignore").open("a") as stream:
            stream.write("behaviour.json\nexecutions.log\n")
        project.run("git", "init", "--quiet")
        project.run("dvc", "init", "--quiet")
        project.run("dvc", "config", "core.analytics", "false")
        project.commit("miniature")
        return project

    def copy(self, root: Path) -> "Project":
        """The same project, results and cache included, in another folder."""
        shutil.copytree(self.root, root, symlinks=True)
        (root / "executions.log").unlink(missing_ok=True)
        return Project(root)

    def set_runs(self, *keys: str, evaluated: tuple[str, ...]) -> None:
        """Let the catalog have exactly these runs, and of these the evaluations."""
        runs = {key: _run(key) for key in keys}
        section = {
            "scale": SCALE,
            "rank": 0,
            "root": ".",
            "launch": "python",
            "datasets": ["any"],
            "weights": "weights.safetensors",
            "texts": {"classes": {"text": "classes"}},
            "tokenizers": {"kl": {"tokenizer": "any", "coder": "kl", "views": "flip", "seed": 0}},
            "rebased": {},
            "extractors": {},
            "runs": runs,
            "evals": {key: runs[key] for key in evaluated},
            "heldouts": {},
            "diagnoses": {},
        }
        section["encoders"] = section["tokenizers"]
        self.write(str(catalog_file(SCALE)), yaml.safe_dump(section))

    def behave(self, fail: tuple[str, ...] = (), **seconds: float) -> None:
        """Tell the fake stages which of them fail and how long each kind takes."""
        self.write("behaviour.json", json.dumps({"seconds": seconds, "fail": fail}))

    def hold(self) -> None:
        """Let trainings start but not end, until they are released."""
        (self.root / "hold").touch()

    def release(self) -> None:
        """Let trainings end."""
        (self.root / "hold").unlink(missing_ok=True)

    def write(self, path: str, text: str) -> None:
        """Write a file of the project."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def set_model(self, name: str, value: int) -> None:
        """Change one model's hyperparameter."""
        self.write(recipe(name), f"value: {value}\n")

    def commit(self, message: str) -> str:
        """Commit everything that git does not ignore; the commit's hash."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", message)
        return self.run("git", "rev-parse", "HEAD").stdout.strip()

    def run(self, *command: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command; its output is in the error message if it should have succeeded."""
        done = subprocess.run(
            command, cwd=self.root, env=environment(), capture_output=True, text=True
        )
        if ok and done.returncode:
            raise AssertionError(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
        return done

    def snakemake(self, *options: str, ok: bool = True) -> str:
        """Run Snakemake on two cores; what it printed."""
        done = self.run("snakemake", "--cores", "2", *options, ok=ok)
        if not ok:
            assert done.returncode, f"snakemake should have failed:\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def start(self, count: int = 2) -> subprocess.Popen[bytes]:
        """Start Snakemake in a process group of its own, return when so many trainings run."""
        with (self.root / "snakemake.out").open("wb") as log:
            process = subprocess.Popen(
                ["snakemake", "--cores", str(count)],
                cwd=self.root,
                env=environment(),
                stdout=log,
                stderr=log,
                preexec_fn=listen_to_interrupts,
                start_new_session=True,
            )
        self.wait_for(lambda: len(self.running("train")) == count)
        return process

    def running(self, kind: str) -> list[int]:
        """Process ids of the stages of a kind that started and live."""
        started = [(pid, name) for what, pid, name in self._log() if what == "start"]
        return [pid for pid, name in started if name.split()[0] == kind and _alive(pid)]

    def name_of(self, pid: int) -> str:
        """Kind and key of the stage that a process id belongs to."""
        return next(name for _, number, name in self._log() if number == pid)

    def trained(self) -> Counter[str]:
        """How often each training has started since the last copy."""
        return self.executed("train")

    def executed(self, *kinds: str) -> Counter[str]:
        """How often each stage (of these kinds, or of all) has started since the last copy."""
        names = [name for what, _, name in self._log() if what == "start"]
        return Counter(name for name in names if not kinds or name.split()[0] in kinds)

    def forget(self) -> None:
        """Count executions from here."""
        (self.root / "executions.log").unlink(missing_ok=True)

    def wait_for(self, condition: object, seconds: float = 60) -> None:
        """Wait until the condition holds; an assertion error after `seconds`."""
        end = time.monotonic() + seconds
        while not condition():  # type: ignore[operator]
            assert time.monotonic() < end, (self.root / "snakemake.out").read_text()
            time.sleep(0.05)

    def status(self) -> dict[str, object]:
        """What DVC says is out of date."""
        return json.loads(self.run("dvc", "status", "--json").stdout)

    def _log(self) -> list[tuple[str, int, str]]:
        """What fake stages have noted: start or end, process id, kind and key."""
        log = self.root / "executions.log"
        lines = log.read_text().splitlines() if log.exists() else []
        noted = [line.split(maxsplit=2) for line in lines]
        return [(what, int(pid), name) for what, pid, name in noted]


def recipe(name: str) -> str:
    """The file of a model's hyperparameters."""
    family = name.partition("_")[0]
    return f"src/nextbasis/families/{family}/recipes/model/small/{name}.yaml"


def listen_to_interrupts() -> None:
    """Undo what shells do to background jobs: they, and so their children, ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def stop(process: subprocess.Popen[bytes], number: signal.Signals) -> int:
    """Send a signal to a process's whole group and wait for the process."""
    os.killpg(process.pid, number)
    return process.wait(timeout=60)


def parent_of(pid: int, name: str) -> int:
    """The nearest ancestor of a process whose command line contains `name`, by walking /proc."""
    while pid > 1:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        pid = int(next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1])
        if name in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8"):
            return pid
    raise AssertionError(f"no ancestor runs {name}")


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def environment() -> dict[str, str]:
    """Variables of processes: the tools of this Python, and a name for commits."""
    identity = {"NAME": "tester", "EMAIL": "tester@example.org"}
    git = {f"GIT_{who}_{k}": v for who in ("AUTHOR", "COMMITTER") for k, v in identity.items()}
    return os.environ | git | {"PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}


def _run(key: str) -> dict[str, object]:
    family = key.partition("_")[0]
    choices = {"model": f"small/{family}_b", "train": f"{SCALE}/{family}", "basis": "identity"}
    choices |= {"construction": "controls", "order": "raster", "sampler": f"{SCALE}/{family}"}
    made = {"tokens": "kl", "coder": "kl", "captions": "classes", "images": 10, "seed": 0}
    told = {"overrides": f"run={key}", "sampling": ""}
    return {"family": family, "run": key} | choices | made | told
