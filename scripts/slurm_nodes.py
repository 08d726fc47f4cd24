"""A Slurm cluster of two nodes of one machine: the network namespaces of `two_nodes`, a controller and two slurmd.

Needs root, and Debian's ``slurm-wlm``, ``munge`` and ``libpmix-dev``. Everything ends with the block.

    with two_nodes("100mbit") as nodes, slurm(nodes) as cluster:
        cluster.srun([".venv/bin/manyhands", "train", "--team", "mpi", ...])
"""

from __future__ import annotations

import contextlib
import ctypes.util
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from two_nodes import Nodes

_PROGRAMS = ("slurmctld", "slurmd", "srun", "munged")
_ONE_EACH = ("--nodes=2", "--ntasks=2", "--ntasks-per-node=1")
_CONFIGURATION = """\
ClusterName=two
SlurmctldHost={names[0]}({addresses[0]})
NodeName={names[0]} NodeAddr={addresses[0]} CPUs={cpus} State=UNKNOWN
NodeName={names[1]} NodeAddr={addresses[1]} CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
TmpFS={folder}/%n
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
"""


def reason_not_to() -> str | None:
    """Return why there can be no such cluster here; None if there can."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if ctypes.util.find_library("pmix") is None:
        missing.append("libpmix.so")
    return f"{', '.join(missing)} is missing: apt-get install slurm-wlm munge libpmix-dev" if missing else None


class Cluster:
    """A cluster that runs."""

    def __init__(self, nodes: Nodes, folder: Path) -> None:
        self._nodes, self._folder = nodes, folder

    def srun(self, words: Sequence[str], *options: str, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run a program as two tasks, one on each node, as a user would from the first."""
        return self._run(["srun", *_ONE_EACH, "--mpi=pmix", *options, *words], **how)

    def sbatch(self, script: Path, folder: Path, **how: Any) -> subprocess.CompletedProcess[str]:
        """Submit a script, which works in a folder, and wait for its end."""
        return self._run(["sbatch", "--wait", *_ONE_EACH, "--chdir", str(folder), str(script)], cwd=folder, **how)

    def submit(self, script: Path, folder: Path) -> str:
        """Submit a script, which works in a folder; return its job's number."""
        words = ["sbatch", "--parsable", *_ONE_EACH, "--chdir", str(folder), str(script)]
        return self._run(words, cwd=folder).stdout.strip()

    def command(self, *words: str) -> str:
        """Return what one of Slurm's commands says."""
        return self._run(words).stdout.strip()

    def _run(self, words: Sequence[str], **how: Any) -> subprocess.CompletedProcess[str]:
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        variables = {"SLURM_CONF": str(self._folder / "slurm.conf"), "PMIX_MCA_psec": "native", "PATH": programs}
        return self._nodes.run(1, words, env={**os.environ, **variables}, **how)


@contextlib.contextmanager
def slurm(nodes: Nodes) -> Iterator[Cluster]:
    """Start a cluster on both nodes, and end it."""
    with tempfile.TemporaryDirectory(prefix="manyhands-slurm-") as name, contextlib.ExitStack() as daemons:
        folder = Path(name)
        _configure(nodes, folder)
        for number, words in _daemons(nodes, folder):
            daemons.enter_context(_daemon(nodes, number, words, folder))
        _wait(nodes, folder)
        yield Cluster(nodes, folder)


def _configure(nodes: Nodes, folder: Path) -> None:
    for name in ("state", *nodes.names):
        (folder / name).mkdir()
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    where = {"names": nodes.names, "addresses": nodes.addresses}
    text = _CONFIGURATION.format(folder=folder, cpus=os.cpu_count(), **where)
    (folder / "slurm.conf").write_text(text)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)


def _daemons(nodes: Nodes, folder: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the daemons, each with the number of its node; all stay in the foreground."""
    munge = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={folder}/munge.key"]
    yield 1, [*munge, f"--pid-file={folder}/munge.pid", f"--seed-file={folder}/munge.seed"]
    yield 1, ["slurmctld", "-D", "-f", f"{folder}/slurm.conf"]
    for number, name in enumerate(nodes.names, 1):
        yield number, ["slurmd", "-D", "-N", name, "-f", f"{folder}/slurm.conf"]


@contextlib.contextmanager
def _daemon(nodes: Nodes, number: int, words: Sequence[str], folder: Path) -> Iterator[None]:
    with (folder / f"{words[0]}{number}.out").open("w") as log:
        process = nodes.start(number, words, stdout=log, stderr=subprocess.STDOUT)
        try:
            time.sleep(0.5)  # munged has no other sign of being ready than its socket, slurmd none at all
            if process.poll() is not None:
                raise RuntimeError(f"{words[0]} has ended: {Path(log.name).read_text()[-2000:]}")
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(nodes: Nodes, folder: Path, seconds: float = 40) -> None:
    """Wait until both nodes are idle."""
    ask = ["sinfo", "--noheader", "--format", "%D %t"]
    until = time.monotonic() + seconds
    said = ""
    while time.monotonic() < until:
        how = {"env": {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}, "check": False}
        said = nodes.run(1, ask, **how).stdout.strip()
        if said == "2 idle":
            return
        time.sleep(0.5)
    logs = "\n".join(f"{path}: {path.read_text()[-1500:]}" for path in folder.glob("*.log"))
    raise RuntimeError(f"after {seconds:g} s the nodes are: {said}\n{logs}")
