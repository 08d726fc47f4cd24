"""The standard output, whose failures are distinguished from those of other files; messages for system errors."""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from manyhands.cli.options import group_of
from manyhands.core.errors import ManyhandsError, OutputError, shown
from manyhands.runtime.terminal import Detail, labelled, takes_styles

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
        raise OutputError(f"the standard output cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def watched_output() -> Iterator[None]:
    """Replace the standard output by an :class:`Output`, if there is one, until the block ends."""
    if sys.stdout is None:
        yield
        return
    with contextlib.redirect_stdout(Output(sys.stdout)):
        yield


@contextlib.contextmanager
def json_apart(options: argparse.Namespace) -> Iterator[None]:
    """Keep the standard output for the JSON of ``--json -``, if that is asked for: all else goes to the standard error.

    For the command, there is then no file to write; see `write_json_results`.
    """
    options.json_here = None
    if getattr(options, "json", None) != "-":
        yield
        return
    options.json, options.json_here = None, sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        yield


def write_json_results(options: argparse.Namespace, record: Callable[[], Mapping[str, Any]]) -> None:
    """Write a record as JSON where ``--json`` says; nowhere if it was not given."""
    from manyhands.runtime.atomic_files import write_json

    if options.json:
        write_json(options.json, record())
    if getattr(options, "json_here", None) is not None:
        print(json.dumps(record(), indent=1), file=options.json_here, flush=True)


def detail_of(options: argparse.Namespace) -> Detail:
    """Return how much of a result is printed: see `add_detail_options`."""
    return Detail(
        wide=getattr(options, "wide", False),
        explain=getattr(options, "explain", False),
        styled=takes_styles(sys.stdout),
    )


def add_detail_options(parser: argparse.ArgumentParser) -> None:
    """Add what says how much of a study's result is printed."""
    group = group_of(parser, "output")
    group.add_argument("--wide", action="store_true", help="print all columns, and rows with n = 1, too")
    group.add_argument("--explain", action="store_true", help="print the whole legend of the tables")


def files_text(**files: str | None) -> str:
    """Return lines that name the files that were written, by what they are; empty if there are none."""
    return "\n".join(labelled(name, path) for name, path in files.items() if path)


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
