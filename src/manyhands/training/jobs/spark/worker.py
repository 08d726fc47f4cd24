"""The worker of a Spark task: ``python -P -m manyhands.training.jobs.spark.worker FOLDER PARENT``.

The task's own process belongs to Spark, which may use it again for something else; so training is a process of its own,
which ends with the task, whatever happens to that.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

_DIE_WITH_PARENT = 1
_LOOK_SECONDS = 2.0
_EXECUTOR = b"ExecutorBackend"


def main(folder: Path, parent: int) -> None:
    """Train as one worker of the job that is described in a folder."""
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Spark decides when the task ends
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended before this was asked for
        os._exit(1)
    from manyhands.training.jobs.spark.files import DONE, JOB

    job = json.loads((folder / JOB).read_text())
    if job["hang_timeout"] is not None:
        os.environ["MANYHANDS_HANG_TIMEOUT"] = str(job["hang_timeout"])
    threading.Thread(target=_end_stopped_ancestors, name="manyhands-ancestors", daemon=True).start()
    from manyhands.core.parameters import as_mark, parameters_named
    from manyhands.training.jobs.spark.service import serve

    with parameters_named(as_mark):
        serve(folder, job)
    (folder / DONE).touch()
    while True:  # until the task ends this process: as long as that is there, somebody must see whether it is stopped
        time.sleep(_LOOK_SECONDS)


def _end_stopped_ancestors() -> None:
    """Kill a process of Spark that is stopped: the task's or the executor, which nothing else notices for long."""
    from manyhands.teams.startup_watchdog import STOPPED_SECONDS, is_stopped
    from manyhands.teams.watchdog import chosen_patience

    patience, seen = chosen_patience() or STOPPED_SECONDS, dict[int, float]()
    while True:
        time.sleep(min(_LOOK_SECONDS, patience / 4))
        now = time.monotonic()
        seen = {pid: seen.get(pid, now) for pid in _ancestors() if is_stopped(pid)}
        for pid, since in seen.items():
            if now - since >= patience:
                os.write(2, f"manyhands: process {pid} of Spark has been stopped for {now - since:.0f} s\n".encode())
                os.kill(pid, signal.SIGKILL)


def _ancestors() -> list[int]:
    """Return the task's process, Spark's daemon that has started it, and the executor.

    Where Spark runs inside the user's own program (``local``), this may be suspended, as any program.
    """
    from manyhands.teams.startup_watchdog import parent_of

    task = os.getppid()
    daemon = parent_of(task)
    executor = parent_of(daemon)
    return [pid for pid in (task, daemon, executor if _is_executor(executor) else 0) if pid > 1]


def _is_executor(pid: int) -> bool:
    try:
        return _EXECUTOR in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
