"""Output files, which are written whole or not at all, and the cache folder."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from manyhands.core.errors import DataError, OutputError, shown

_PREFIX, _SUFFIX = ".manyhands.", ".part"
_DESCRIPTORS = "/proc/self/fd"
_OUTPUTS = (".html", ".json", ".csv", ".png", ".svg", ".checkpoint")


def cache_folder() -> Path:
    """Return the folder for downloads and compiled code; absolute, but perhaps not there yet.

    It is the one that MANYHANDS_CACHE names, else the system's place for caches. A user without a home (in many
    containers), or with one that cannot be written, gets a folder among the temporary files.
    """
    if chosen := os.environ.get("MANYHANDS_CACHE"):
        return Path(_absolute(chosen))
    usual = _users_cache()
    if usual is None or not _can_be_used(usual):
        import tempfile

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
    """Return whether a folder can be read or, if it is not there, made."""
    nearest = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    needed = os.R_OK if nearest == folder else os.W_OK
    return os.path.isdir(nearest) and os.access(nearest, needed | os.X_OK)  # noqa: PTH112 - Path.is_dir may raise


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, writable by this user only, whatever the umask; raise OSError if that fails."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        folder.stat()  # a name too long fails here, before a part of it is made
    for each in (*reversed(folder.parents), folder):
        if not os.path.isdir(each):  # noqa: PTH112 - Path.is_dir raises for a name too long
            with contextlib.suppress(FileExistsError):
                each.mkdir(0o755)


def unusable(path: str | Path) -> str | None:
    """Return why no file can have this path, whatever there is on the disk; None if one can."""
    try:
        name = os.fsencode(path)
    except UnicodeEncodeError:
        return "it has a character that no file name can have"
    if b"\0" in name:
        return "it has a NUL character, which no file name can have"
    return None if name else "it is empty"


def readable(path: str | Path) -> Path:
    """Return the path of a file to be read; raise DataError if no file can have it."""
    if problem := unusable(path):
        raise DataError(f"this path cannot be used: {problem}", path=path)
    return Path(path)


def home_hint(path: str | Path) -> str:
    """Return a hint about a path that begins with ``~``, which is a shell's abbreviation; else nothing."""
    return "; only a shell knows what ~ stands for: write the folder out" if str(path).startswith("~") else ""


def output_file(path: str | Path) -> Path:
    """Return the file that is changed by writing to ``path``.

    A link may lead to anywhere in or below its own folder, which is the one that the user has named. One that leads
    out of it may have been put there by somebody else, to have another file overwritten; so it is refused.

    Raises
    ------
    OutputError
        If no file can have this path, or it is a link that leads out of its folder, a folder, a device or a pipe.
    """
    name = _printable(path)
    if problem := unusable(path):
        raise OutputError(f"cannot write {name}: {problem}")
    target = Path(os.path.realpath(path))
    try:
        if target.is_dir():
            raise OutputError(f"cannot write {name}: it is a folder; give a file name")
        if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - they never raise
            raise OutputError(f"cannot write {name}: it is a device or a pipe; give an ordinary file")
    except OSError as error:  # a name too long, or a folder on the way that may not be entered
        raise _explained(path, error) from error
    _check_inside(path, target)
    return target


def _check_inside(path: str | Path, target: Path) -> None:
    """Refuse a link that leads out of its folder; the folder itself may be reached through links."""
    folder = os.path.realpath(Path(path).parent)
    if os.path.islink(path) and not target.is_relative_to(folder):  # noqa: PTH114 - it never raises
        raise OutputError(
            f"cannot write {_printable(path)}: it is a link that leads out of its folder, to {shown(target)}; give "
            "that path itself, or remove the link"
        )


def _explained(path: str | Path, error: OSError) -> OutputError:
    """Return an error of writing as ours."""
    if isinstance(error, OutputError):
        return error
    return OutputError(f"cannot write {_printable(path)}: {error.strerror or error}{_other_file(path, error)}")


def _other_file(path: str | Path, error: OSError) -> str:
    """Return the file that an error is about, if it is another one: a temporary file, or one that is read meanwhile."""
    if error.filename is None or isinstance(error.filename, int):
        return ""
    name = os.fsdecode(error.filename)
    if os.path.realpath(name) in (os.path.realpath(path), os.path.realpath(Path(path).parent)):
        return ""
    return f" ({shown(name)})"


def _printable(path: str | Path) -> str:
    return shown(path) or repr("")


@contextlib.contextmanager
def atomic_writer(path: str | Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``path`` when the block ends without an error.

    The data are on the disk (fsync) before the name changes, so that a crash leaves either the old file or the new
    one. Where the system can (Linux), the temporary file has no name while it is written: a process that is killed
    leaves nothing. After any error the temporary file is gone and ``path`` is as it was. Nobody but its owner can read
    the file before it is whole; then it has the mode of the file that it replaces, or what the umask leaves.

    Raises
    ------
    OutputError
        If the file cannot be written: no such folder, no permission, disk full, a link out of the folder.
    """
    target = output_file(path)  # a link stays a link: what it points to is replaced
    temporary: Path | None = None
    try:
        descriptor = _open_unnamed(target.parent)
        if descriptor is None:
            descriptor, temporary = _open_named(target.parent)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            _take_mode(file.fileno(), target)
            os.fsync(file.fileno())
            if temporary is None:
                temporary = _give_name(file.fileno(), target.parent)
        temporary.replace(target)
        temporary = None
        _sync_folder(target.parent)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise _explained(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _take_mode(descriptor: int, target: Path) -> None:
    """Give a new file the mode and the owner of the one that it will replace, or the mode of any new file."""
    try:
        old = target.stat()
    except OSError:
        mode = 0o666 & ~_umask()
    else:
        mode = old.st_mode & 0o777
        for owner in (old.st_uid, -1):  # only root can give a file away
            with contextlib.suppress(OSError):
                os.fchown(descriptor, owner, old.st_gid)
                break
        else:
            mode &= ~0o070  # what the old group might do is nothing for another
    with contextlib.suppress(PermissionError):  # a file system without modes
        os.fchmod(descriptor, mode)


def open_in_place(path: str | Path, flags: int) -> int:
    """Open a file that grows while it is in use, such as a log or a checkpoint; return its descriptor.

    Parameters
    ----------
    path
        A device or a pipe is opened as it is; a pipe that nobody reads is an error instead of a wait.
    flags
        For `os.open`.

    Raises
    ------
    OutputError
        If it cannot be opened, or is a link that leads out of its folder.
    """
    if problem := unusable(path):
        raise OutputError(f"cannot write {_printable(path)}: {problem}")
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - they never raise
            return _open_special(path, flags)
        target = Path(os.path.realpath(path))
        _check_inside(path, target)
        return os.open(target, flags | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise _explained(path, error) from error


def _open_special(path: str | Path, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OutputError(
                f"cannot write {_printable(path)}: nobody reads this pipe; start its reader first"
            ) from error
        raise
    os.set_blocking(descriptor, True)
    return descriptor


def _open_unnamed(folder: Path) -> int | None:
    """Open a file without a name, which vanishes with the process; None where that is not possible."""
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir(_DESCRIPTORS):  # noqa: PTH112 - a plain question
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
    except OSError:  # a file system without it; what is really wrong, the usual way will say
        return None


def _open_named(folder: Path) -> tuple[int, Path]:
    path = _temporary(folder)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), path


def _temporary(folder: Path) -> Path:
    # Not by `secrets` or `tempfile`: they take longer to import than most commands need before they do something.
    return folder / f"{_PREFIX}{os.urandom(8).hex()}{_SUFFIX}"


def _give_name(descriptor: int, folder: Path) -> Path:
    """Give a file without a name a temporary one."""
    path = _temporary(folder)
    root = os.open("/", os.O_RDONLY)
    try:
        # With a folder to start from (which an absolute path ignores), os.link follows the link in /proc to the file.
        os.link(f"{_DESCRIPTORS}/{descriptor}", path, src_dir_fd=root)
    finally:
        os.close(root)
    return path


def write_whole(path: str | Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all; errors as :func:`atomic_writer`."""
    with atomic_writer(path) as file:
        file.write(content)


def write_json(path: str | Path, record: Any) -> None:
    """Write plain data as JSON, whole or not at all; errors as :func:`atomic_writer`."""
    write_whole(path, (json.dumps(record, indent=1) + "\n").encode())


def check_writable(path: str | Path) -> None:
    """Raise OutputError now, and not after an hour of training, if ``path`` can never be written."""
    target, name = output_file(path), _printable(path)
    folder = shown(Path(path).parent)
    try:
        if not target.parent.is_dir():
            raise OutputError(f"cannot write {name}: there is no folder {folder}{home_hint(path)}")
        if not os.access(target.parent, os.W_OK):
            raise OutputError(f"cannot write {name}: no permission to write into {folder}")
        if target.exists() and not _may_replace(target):
            raise OutputError(
                f"cannot write {name}: it belongs to another user, and only its owner may replace it there"
            )
    except OSError as error:
        raise _explained(path, error) from error


def _may_replace(target: Path) -> bool:
    """Return whether a file's folder lets this user replace it: in those such as /tmp only its owner may."""
    folder = target.parent.stat()
    return not folder.st_mode & stat.S_ISVTX or os.geteuid() in (0, folder.st_uid, target.stat().st_uid)


def make_output_folder(folder: str | Path) -> Path:
    """Make a folder for outputs if it is not there, or raise OutputError; return it."""
    name = _printable(folder)
    if problem := unusable(folder):
        raise OutputError(f"cannot make the folder {name}: {problem}")
    target = Path(folder)
    if str(folder).startswith("~") and not os.path.lexists(target.parts[0]):
        raise OutputError(f"cannot make the folder {name}: there is no {target.parts[0]}{home_hint(folder)}")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"cannot write into {name}: it is a file; give a folder") from error
    except OSError as error:
        raise OutputError(f"cannot make the folder {name}: {error.strerror or error}") from error
    return target


def check_folder(folder: Path) -> None:
    """Raise OutputError if an output in a folder is a link that leads out of it."""
    try:
        links = [entry for entry in os.scandir(folder) if entry.is_symlink()]
    except OSError as error:
        raise _explained(folder, error) from error
    for entry in links:
        if Path(entry.name).suffix in _OUTPUTS:
            output_file(entry.path)


def _umask() -> int:
    """Return the process's umask (temporary files are private; results should be as ordinary files)."""
    mask = os.umask(0o077)  # what other threads make in this moment is rather too private
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
