"""Files that only this user or root can have written, and that are as they were written: compiled code.

A folder is entered step by step and held open, so that the folder that was checked is the one that is read and written,
whatever is renamed meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from manyhands.runtime.atomic_files import make_folder

_MARK = b"manyhands, sha256 of name and content:\n"
_DIGEST = hashlib.sha256().digest_size
_LARGEST = 1 << 28
"""Bytes of a file: none of ours is nearly as large, and one that is would be read into memory before it is refused."""
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644
"""Less what the umask takes away; whatever it leaves, nobody else may write."""
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_ENTER = os.O_RDONLY | os.O_DIRECTORY
_LEFT_OVER, _LEFT_OVER_SECONDS = ".part", 3600.0


class UnusableFileError(Exception):
    """A file that must not be used; the message says why, as a half-sentence with the file as its subject."""


class UnusableFolderError(Exception):
    """A folder that must not be used; the message is a half-sentence that names it, says why, and what to do."""


class TrustedFolder:
    """A folder of files with checksums, which only this user or root can write.

    Parameters
    ----------
    root
        It, and all folders inside it, belong to this user or root and can be written by nobody else. It may be a
        symbolic link; nothing inside it may.
    names
        The way from there to the folder; made when something is written.
    """

    def __init__(self, root: Path, *names: str) -> None:
        self._root, self._names = root, names
        self.path = root.joinpath(*names)

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if it is not there.

        Raises
        ------
        UnusableFileError, UnusableFolderError
            If it is damaged or no ordinary file; or if it or the folder belongs to others, or can be written by them.
        """
        with self._open(make=False) as folder:
            if folder is None:
                return None
            try:
                content = _read(folder, name)
            except FileNotFoundError:
                return None
            except OSError as error:  # a symbolic link, too
                raise UnusableFileError(f"cannot be read ({error.strerror or error})") from error
        begin = len(_MARK) + _DIGEST
        if content[:begin] != _MARK + self._digest(name, content[begin:]):
            raise UnusableFileError("is damaged")
        return content[begin:]

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all, or raise UnusableFolderError (as `read`) or OSError."""
        with self._open(make=True) as folder:
            assert folder is not None
            _write(folder, name, _MARK + self._digest(name, content) + content)

    def problem(self) -> str | None:
        """Return why nothing in the folder would be used, or None; a folder that is not there yet has no problem."""
        try:
            with self._open(make=False):
                return None
        except UnusableFolderError as error:
            return str(error)

    def _digest(self, name: str, content: bytes) -> bytes:
        """Return the checksum of a file, which holds in its place only."""
        place = os.fsencode("\0".join((*self._names, name)))
        return hashlib.sha256(place + b"\0" + hashlib.sha256(content).digest()).digest()

    @contextlib.contextmanager
    def _open(self, *, make: bool) -> Iterator[int | None]:
        """Enter the folder, checking every step; None if it is not there and shall not be made."""
        with contextlib.ExitStack() as stack:
            try:
                folder = self._enter(stack, make=make)
            except FileNotFoundError as error:
                if make:  # somebody removes it at the same time
                    raise UnusableFolderError(_cannot(self.path, error)) from error
                folder = None
            yield folder

    def _enter(self, stack: contextlib.ExitStack, *, make: bool) -> int:
        path = Path(os.path.realpath(self._root))
        try:
            if make:
                make_folder(path)
            folder = os.open(path, _ENTER)
            stack.callback(os.close, folder)
            _check_folder(folder, path)
            for name in self._names:
                path /= name
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, _FOLDER_MODE, dir_fd=folder)
                folder = os.open(name, _ENTER | os.O_NOFOLLOW, dir_fd=folder)
                stack.callback(os.close, folder)
                _check_folder(folder, path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise UnusableFolderError(_cannot(path, error)) from error
        return folder


def _cannot(path: Path, error: OSError) -> str:
    if os.path.islink(path):  # noqa: PTH114 - Path.is_symlink raises for a name too long
        return f"{path} is a symbolic link: delete it"
    if isinstance(error, NotADirectoryError):
        return f"{path} is no folder"
    return f"{path} cannot be used as a folder ({error.strerror or error})"


def _check_folder(descriptor: int, path: Path) -> None:
    fault = _fault(os.fstat(descriptor))
    if fault is not None:
        cure = "" if fault.startswith("belongs") else f", who could put any program there: chmod go-w {path}"
        raise UnusableFolderError(f"{path} {fault}{cure}")


def _fault(facts: os.stat_result) -> str | None:
    """Return what keeps a file or folder from being trusted, or None. Root may do anything anyway."""
    if facts.st_uid not in (0, os.geteuid()):
        return f"belongs to another user (number {facts.st_uid})"
    return "can be written by others" if facts.st_mode & _WRITABLE_BY_OTHERS else None


def _read(folder: int, name: str) -> bytes:
    """Read a file that can be trusted; without waiting, as opening a pipe would."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise UnusableFileError("is no ordinary file")
        if fault := _fault(facts):
            raise UnusableFileError(fault)
        if facts.st_size > _LARGEST:
            raise UnusableFileError("is damaged")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(_LARGEST)
    finally:
        os.close(descriptor)


def _write(folder: int, name: str, content: bytes) -> None:
    """Write a file, whole or not at all; `manyhands.runtime.atomic_files` does so for results, and follows links."""
    _sweep(folder)
    temporary = f"{name}.{secrets.token_hex(8)}{_LEFT_OVER}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _replace(folder, temporary, name)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    with contextlib.suppress(OSError):
        os.fsync(folder)


def _replace(folder: int, temporary: str, name: str) -> None:
    try:
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except IsADirectoryError:  # nothing of ours, and where only we can have put it
        shutil.rmtree(name, dir_fd=folder)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def _sweep(folder: int) -> None:
    """Remove what processes that were killed while they wrote have left."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(_LEFT_OVER):
                age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                if age > _LEFT_OVER_SECONDS:
                    os.unlink(entry.name, dir_fd=folder)
