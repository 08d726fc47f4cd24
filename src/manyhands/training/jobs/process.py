"""The program of each process of a job: ``python -P -m manyhands.training.jobs.process FOLDER``.

It looks after its owner from its first moment on, before anything heavy is imported and before MPI has begun.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from manyhands.teams.mpi_environment import outlives_processes
from manyhands.training.jobs.folder import owner_is_alive

_LOOK_SECONDS = 0.3


def main(folder: Path) -> None:
    """Serve the job whose folder it is, until its owner has no more orders."""
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the owner decides when the job ends
    if not outlives_processes():  # else the others see only a process that a signal has ended
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))  # nothing here outlives the folder
    threading.Thread(target=_end_with_owner, args=(folder,), name="manyhands-owner", daemon=True).start()
    from manyhands.core.parameters import as_mark, parameters_named
    from manyhands.training.jobs.server import serve_job

    with parameters_named(as_mark):
        serve_job(folder)
    owner_is_alive(folder)  # if it was killed in these last moments, no other process removes the folder


def _end_with_owner(folder: Path) -> None:
    """End this process as soon as the one that has started the job is gone, whatever it is doing."""
    while owner_is_alive(folder):
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
