"""Where files go: whole or not at all, and the folder for what can be made again."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from manyhands.errors import OutputError

_PREFIX, _SUFFIX = ".manyhands.", ".part"
_DESCRIPTORS = "/proc/self/fd"


def cache_folder() -> Path:
    """Return the folder for downloads and compiled code; absolute, but perhaps not there yet.

    It is the one that MANYHANDS_CACHE names, else the system's place for caches. A user without a home (in many
    containers), or with one that cannot be written, gets a folder among the temporary files.
    """
    if chosen := os.environ.get("MANYHANDS_CACHE"):
        return Path(_absolute(chosen))
    usual = _users_cache()
    if usual is None or not _can_be_used(usual):
        with contextlib.suppress(OSError):  # there is no folder for temporary files either
            return Path(_absolute(tempfile.gettempdir()), f"manyhands-{os.geteuid()}")
    return usual or Path(os.sep, "tmp", f"manyhands-{os.geteuid()}")


def _absolute(path: str) -> str:
    """Return a path that stays the same when the process goes to another folder."""
    try:
        return os.path.abspath(path)  # noqa: PTH100 - resolve would follow links
    except OSError:  # the present folder has been deleted
        return path


def _users_cache() -> Path | None:
    """Return the system's place for this user's caches; None if nobody knows where the user is at home."""
    import platformdirs

    try:
        folder = Path(platformdirs.user_cache_dir("manyhands"))
    except (RuntimeError, KeyError):
        return None
    return folder if folder.is_absolute() else None


def _can_be_used(folder: Path) -> bool:
    """Tell whether a folder can be read or, if it is not there, made."""
    nearest = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    needed = os.R_OK if nearest == folder else os.W_OK
    return os.path.isdir(nearest) and os.access(nearest, needed | os.X_OK)  # noqa: PTH112 - Path.is_dir may raise


def make_folder(folder: Path) -> None:
    """Make a folder, and those it is in, which nobody else can write, whatever the umask.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        folder.stat()  # a name too long fails here, before a part of it is made
    for each in (*reversed(folder.parents), folder):
        if not os.path.isdir(each):  # noqa: PTH112 - Path.is_dir raises for a name too long
            with contextlib.suppress(FileExistsError):
                each.mkdir(0o755)


@contextlib.contextmanager
def atomic_writer(path: str | Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``path`` when the block ends without an error.

    The data are on the disk (fsync) before the name changes, so that a crash leaves either the old file or the new
    one. Where the system can (Linux), the temporary file has no name while it is written: a process that is killed
    leaves nothing. After any error the temporary file is gone and ``path`` is as it was.

    Raises
    ------
    OutputError
        If the file cannot be written: no such folder, no permission, disk full.
    """
    target = Path(os.path.realpath(path))  # a link stays a link: what it points to is replaced
    temporary: Path | None = None
    try:
        descriptor = _open_unnamed(target.parent)
        if descriptor is None:
            descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=_PREFIX, suffix=_SUFFIX)
            temporary = Path(name)
            temporary.chmod(0o666 & ~_umask())
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if temporary is None:
                temporary = _give_name(file.fileno(), target.parent)
        temporary.replace(target)
        temporary = None
        _sync_folder(target.parent)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _open_unnamed(folder: Path) -> int | None:
    """Open a file without a name, which vanishes with the process; None where that is not possible."""
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir(_DESCRIPTORS):  # noqa: PTH112 - a plain question
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666)
    except OSError:  # a file system without it; what is really wrong, the usual way will say
        return None


def _give_name(descriptor: int, folder: Path) -> Path:
    """Give a file without a name a temporary one."""
    path = folder / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
    root = os.open("/", os.O_RDONLY)
    try:
        # With a folder to start from (which an absolute path ignores), os.link follows the link in /proc to the file.
        os.link(f"{_DESCRIPTORS}/{descriptor}", path, src_dir_fd=root)
    finally:
        os.close(root)
    return path


def write_whole(path: str | Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all.

    Raises
    ------
    OutputError
        As :func:`atomic_writer`.
    """
    with atomic_writer(path) as file:
        file.write(content)


def write_json(path: str | Path, record: Any) -> None:
    """Write plain data as JSON, whole or not at all.

    Raises
    ------
    OutputError
        As :func:`atomic_writer`.
    """
    write_whole(path, (json.dumps(record, indent=1) + "\n").encode())


def check_writable(path: str | Path) -> None:
    """Fail now, and not after an hour of training, if ``path`` can never be written.

    Raises
    ------
    OutputError
        If the folder is missing or not writable, or the path is a folder.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.is_dir():
            raise OutputError(f"cannot write {path}: it is a folder; give a file name")
        if target.exists() and not target.is_file():
            raise OutputError(f"cannot write {path}: it is a device or a pipe; give an ordinary file")
        if not target.parent.is_dir():
            raise OutputError(f"cannot write {path}: there is no folder {Path(path).parent}")
    except OSError as error:  # a name too long, or a folder on the way that may not be entered
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    if not os.access(target.parent, os.W_OK):
        raise OutputError(f"cannot write {path}: no permission to write into {Path(path).parent}")


def _umask() -> int:
    """Return the process's umask (mkstemp makes files private; results should be as ordinary files)."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself durable, where the system lets a folder be synchronized."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
