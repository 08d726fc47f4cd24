"""The standard output, whose failures are distinguished from those of other files; messages for system errors."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any

from manyhands.core.errors import ManyhandsError, OutputError, shown

_HINTS = {
    errno.EMFILE: ": this process may not open more; raise the limit (ulimit -n)",
    errno.ENFILE: ": the machine can open no more; close other programs",
    errno.ENOSPC: ": make room on that disk, or in TMPDIR",
    errno.EDQUOT: ": your disk quota is used up; make room",
    errno.ENOMEM: ": use fewer workers or rows, or close other programs",
    errno.EAGAIN: ": no more processes or threads may be started; use fewer workers, or raise the limit (ulimit -u)",
    errno.EROFS: ": give a place that can be written to",
}


class Output:
    """A stream such as the standard output; if it cannot be written, that is an OutputError.

    Whoever reads it may go away (BrokenPipeError): that is no error, and passed on as it is.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, as the stream does."""
        with _explained_output():
            return int(self._stream.write(text))

    def flush(self) -> None:
        """Flush, as the stream does."""
        with _explained_output():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _explained_output() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        forget_output()
        raise OutputError(f"the output cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def watched_output() -> Iterator[None]:
    """Replace the standard output by an :class:`Output`, if there is one, until the block ends."""
    if sys.stdout is None:
        yield
        return
    with contextlib.redirect_stdout(Output(sys.stdout)):
        yield


def forget_output() -> None:
    """Send what is still waiting to be printed nowhere, so that Python does not fail again when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # there is none, or somebody has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def explained(error: OSError) -> ManyhandsError:
    """Return what the system has refused as an error of ours: which file, why, and what to do."""
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
    place = "" if name is None else f"{shown(str(name))}: "
    hint = _HINTS.get(error.errno or 0, "; --debug shows where")
    return ManyhandsError(f"{place}{error.strerror or str(error) or type(error).__name__}{hint}")
