"""The folders of MPI jobs of our own: made, locked while their owner lives, and always removed.

Only the death of a folder's owner releases the lock on the file `ALIVE` in it. A process that gets that lock may remove
the folder: the job's own processes, which look for it, and the next program that makes such a folder (`sweep`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from manyhands.core.errors import ManyhandsError, shown

PREFIX = "manyhands-job-"
MEMORY = "/dev/shm"
ALIVE = "alive"
WORKER = "manyhands.training.jobs.process"
"""The module that a job's processes run."""
_BOOT = "/proc/sys/kernel/random/boot_id"


def make_folder(place: str | None) -> tuple[Path, IO[bytes]]:
    """Make a folder that only this user can read; return it with its lock, which is to be closed after it is removed.

    It is made in ``place``, or in the usual folder for temporary files.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        if (lock := _lock(folder)) is not None:
            lock.write(_here().encode())
            lock.flush()
            return folder, lock
        # A process that was sweeping has taken the folder for an abandoned one, before it had its lock.
        remove(folder)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make such a folder for the block; what a killed process leaves is swept later."""
    folder, lock = make_folder(None)
    try:
        yield folder
    finally:
        remove(folder)
        lock.close()


def owner_is_alive(folder: Path) -> bool:
    """Return whether the process that has made a folder still holds its lock; remove the folder if not."""
    with contextlib.suppress(OSError), open(folder / ALIVE, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    remove(folder)
    return False


def remove_abandoned(*places: str) -> list[Path]:
    """Remove what jobs have left whose owner was killed, and end their processes; return the folders.

    By default it looks in memory and in the usual folder for temporary files.
    """
    removed = []
    for place in dict.fromkeys(places or (MEMORY, tempfile.gettempdir())):
        for folder in Path(place).glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                if _sweep_one(folder):
                    removed.append(folder)
    return removed


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it, as far as that is possible."""
    shutil.rmtree(folder, ignore_errors=True)


def private(path: str, flags: int) -> int:
    """Open a file that only this user can read, whatever the umask: an ``opener`` for `open`."""
    return os.open(path, flags, 0o600)


def _sweep_one(folder: Path) -> bool:
    """Remove a folder if it is ours and its owner is gone; return whether that was so."""
    status = folder.lstat()
    if not folder.is_dir() or folder.is_symlink() or status.st_uid != os.getuid():
        return False
    lock = _lock(folder)
    if lock is None:
        return False
    with lock:
        # A lock says something about processes of this machine only: the folder may be one that several share.
        if (place := lock.read().decode(errors="replace").split()) and not set(place) & set(_here().split()):
            return False
        end_processes(folder)
        remove(folder)
    return True


def _lock(folder: Path) -> IO[bytes] | None:
    """Lock a folder; None if another process has, or has removed it meanwhile."""
    path = folder / ALIVE
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.fdopen(os.open(path, flags, 0o600), "r+b")
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
    except OSError:
        pass
    file.close()
    return None


def _here() -> str:
    """Return this machine's name and its last start: locks of other machines mean nothing here."""
    with contextlib.suppress(OSError):
        return f"{Path(_BOOT).read_text().strip()} {socket.gethostname()}\n"
    return f"{socket.gethostname()}\n"


def end_processes(folder: Path) -> None:
    """Kill what still runs for a job: a stopped process does not notice that its owner is gone."""
    for pid in processes(folder):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def processes(folder: Path) -> list[int]:
    """Return the processes of the job of a folder: the workers, and the mpiexec that has started them."""
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _serves(entry, folder)]


def _serves(process: Path, folder: Path) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return WORKER.encode() in words and os.fsencode(folder) in words


@contextlib.contextmanager
def lost_folder_explained(folder: Path, whose: str) -> Iterator[None]:
    """Name a folder, and say whose it was, if work in it fails because something has removed it meanwhile."""
    try:
        yield
    except OSError as error:
        if folder.exists():
            raise
        raise ManyhandsError(
            f"the temporary folder {shown(folder)} of {whose} is gone: something has removed it during the run; keep "
            "cleaners of temporary files away from it, and run again"
        ) from error
