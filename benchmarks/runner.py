"""Starts one contestant in a process of its own, on its own cores, with its own threads, and reads what it prints."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from workloads import Contestant

FOLDER = Path(__file__).parent
LIMIT = 600.0
"""Seconds after which a run has failed."""
_PINNED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS")
_OWN_CHOICE = ("OPENBLAS_", "MKL_", "OMP_", "MANYHANDS_BLAS_CORE")
_VERSIONS = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
# As our own jobs: Open MPI would spend a second of each run on looking for networks; root and cores are no obstacles.
_OPEN_MPI = {
    "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_btl": "self,sm",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}


class Runner:
    """Starts contestants.

    Parameters
    ----------
    peers
        The peers' environment.
    words
        For the commands, by name; ``data`` is the folder with MNIST.
    folder
        Where contestants' temporary files go.
    """

    def __init__(self, peers: Path, words: dict[str, str], folder: Path) -> None:
        self._peers, self._words, self._folder = peers.absolute() / "bin", words, folder

    def peer_versions(self) -> dict[str, str]:
        """Return the version of every package of the peers' environment; nothing if there is none."""
        try:
            done = subprocess.run([self._peers / "python", "-c", _VERSIONS], capture_output=True, timeout=60)
            return dict(sorted(json.loads(done.stdout).items()))
        except (OSError, ValueError):
            return {}

    def settings(self, one: Contestant) -> dict[str, Any]:
        """Return what a contestant is given: its cores, and threads for each process."""
        return {"cores": one.cores, "OMP_NUM_THREADS": one.threads_each}

    def run(self, one: Contestant, epochs: int, seed: int) -> dict[str, Any]:
        """Return what a run has come to: ``seconds``, ``wall``, ``cpu``, ``others`` and what it printed; or ``error``.

        ``others``: how many cores were busy with something else meanwhile, on average.
        """
        before, busy = resource.getrusage(resource.RUSAGE_CHILDREN), _busy()
        start = time.perf_counter()
        try:
            output = self._output(one, epochs, seed)
        except (OSError, RuntimeError) as error:
            return {"error": str(error)}
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        others = max(0.0, (_busy() - busy - cpu) / wall)
        try:
            # Who prints no seconds is timed from outside, start-up included.
            return {"seconds": wall, **_parse(output), "wall": wall, "cpu": cpu, "others": others}
        except (ValueError, IndexError):
            return {"error": f"no result in its output: {output[-200:]!r}"}

    def _output(self, one: Contestant, epochs: int, seed: int) -> str:
        process = subprocess.Popen(
            self._command(one, epochs, seed),
            cwd=FOLDER,
            env=self._environment(one),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # all its processes can be ended at once
            preexec_fn=lambda: _pin(one.cores),
        )
        try:
            output, errors = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"not ready after {LIMIT:.0f} s") from error
        finally:
            if process.poll() is None:
                _end(process)
        if process.returncode:
            last = (errors.strip() or output.strip() or "no message").splitlines()[-1]
            raise RuntimeError(f"exit status {process.returncode}: {last[:300]}")
        return output

    def _command(self, one: Contestant, epochs: int, seed: int) -> list[str]:
        values = self._words | {"epochs": str(epochs), "few": str(max(1, epochs // 5)), "seed": str(seed)}
        first, *rest = one.command
        peer = str(self._peers / "python")
        program = {
            "ours": [sys.executable],
            "peers": [peer],
            "manyhands": [str(Path(sys.executable).parent / "manyhands")],
            "mpiexec": [str(self._peers / "mpiexec"), "-n", str(one.cores), "--bind-to", "none", peer],
        }[first]
        return program + [word.format(**values) for word in rest]

    def _environment(self, one: Contestant) -> dict[str, str]:
        """Let every library choose its kernels by the CPU, whatever the shell says; pin the threads."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OWN_CHOICE)}
        threads = dict.fromkeys(_PINNED, str(one.threads_each))
        places = {"MANYHANDS_DATA": self._words["data"], "TMPDIR": str(self._folder)}
        return kept | threads | places | (_OPEN_MPI if one.command[0] == "mpiexec" else {})


def _busy() -> float:
    """Return the seconds that all cores together have been busy or taken away since the machine started."""
    try:
        words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, *more = map(int, words[:8])
    return (user + nice + system + sum(more)) / os.sysconf("SC_CLK_TCK")


def _pin(cores: int) -> None:
    """Keep this process on as many cores as it has threads, so that nobody is helped by the others."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def _end(process: subprocess.Popen[str]) -> None:
    """End a contestant with all its processes."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=5)
            return


def _parse(output: str) -> dict[str, Any]:
    """Return the JSON line that a script ends with, or the accuracy that ``manyhands train`` prints."""
    if match := re.search(r"^accuracy\s+([0-9.]+) %", output, re.MULTILINE):
        return {"accuracy": float(match[1]) / 100}
    return dict(json.loads(output.splitlines()[-1]))
