"""A real Slurm cluster of one node on loopback, from Debian's slurm-wlm and munge.

Configuration, key, sockets and logs live in a folder of the test. Needs root, because slurmd starts
jobs of any user; nothing of an existing cluster is touched: commands find ours by SLURM_CONF, and
its ports are free ones.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMANDS = ("munged", "slurmctld", "slurmd", "sinfo", "sbatch", "srun", "squeue", "scancel")
DEADLINE = 60  # seconds for a daemon to answer or to end
CONFIG = """\
ClusterName=nextbasis
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
OverTimeLimit=0
KillWait=30
SchedulerParameters=sched_interval=5
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName={partition} Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no cluster can be started here; nothing if it can."""
    absent = [name for name in COMMANDS if shutil.which(name) is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "slurmd needs root"


@contextmanager
def cluster(
    folder: Path, partition: str = "gpu", cpus: int = 2, memory: int = 8000
) -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands speak to a cluster that ends with the block.

    Whatever happens in the block, its jobs are cancelled and its daemons stopped. The folder's path
    should be short: it holds sockets. The node has `memory` MB and no GPU.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    config = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    settings = {"host": host, "folder": folder, "ports": _free_ports(2), "partition": partition}
    settings |= {"cpus": cpus, "memory": memory}
    config.write_text(CONFIG.format(**settings))
    environment = os.environ | {"SLURM_CONF": str(config)}
    environment["PATH"] = f"{_srun(folder, config)}{os.pathsep}{environment['PATH']}"
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for command in (_munged(folder, key), ["slurmctld", "-D"], ["slurmd", "-D", "-N", host]):
            with (folder / f"{command[0]}.out").open("wb") as log:
                daemons.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            time.sleep(1)
        _wait_for("idle", ["sinfo", "--noheader", "--format=%T"], environment, folder)
        yield environment
        _wait_for("", ["squeue", "--noheader"], environment, folder)
    finally:
        _stop(daemons, environment)


def _munged(folder: Path, key: Path) -> list[str]:
    names = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    files = [f"--{option}={folder}/munge.{suffix}" for option, suffix in names.items()]
    # --force: the folder may be one that others can write to, as /tmp is.
    return ["munged", "--foreground", "--force", f"--key-file={key}", *files]


def _srun(folder: Path, config: Path) -> Path:
    """A folder with an srun that knows the configuration: the plugin hides SLURM_* from it."""
    script = folder / "bin/srun"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nSLURM_CONF={config} exec {shutil.which("srun")} "$@"\n')
    script.chmod(0o755)
    return script.parent


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait_for(wanted: str, command: list[str], env: dict[str, str], folder: Path) -> None:
    for _ in range(DEADLINE):
        said = subprocess.run(command, env=env, capture_output=True, text=True)
        if said.returncode == 0 and said.stdout.strip() == wanted:
            return
        time.sleep(1)
    logs = "\n".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
    raise RuntimeError(f"{' '.join(command)}: {said.stdout}{said.stderr}\n{logs}")


def _stop(daemons: list[subprocess.Popen[bytes]], environment: dict[str, str]) -> None:
    """Cancel jobs while there is a daemon to do it, for they outlive slurmd; then end daemons."""
    if len(daemons) == 3:
        subprocess.run(["scancel", "--full", "--signal=KILL", "--user=root"], env=environment)
        subprocess.run(["scancel", "--user=root"], env=environment)
        for _ in range(DEADLINE):
            queue = subprocess.run(["squeue", "--noheader"], env=environment, capture_output=True)
            if not queue.stdout.strip():
                break
            time.sleep(1)
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
