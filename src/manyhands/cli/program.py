"""The program behind the command line: its parser, what it says of errors, and its exit status."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from manyhands.cli import (
    compare,
    data,
    doctor,
    evaluate,
    export,
    help_pages,
    jobs,
    predict,
    read,
    reader,
    report,
    serve,
    study,
    sweep,
    train,
)
from manyhands.cli.options import group_of, option
from manyhands.cli.output import explained, forget_output, json_apart, watched_output
from manyhands.core.errors import ManyhandsError, SettingsError, Suspended
from manyhands.core.parameters import parameters_named
from manyhands.core.version import __version__
from manyhands.runtime import signals
from manyhands.runtime.memory import memory_errors_explained
from manyhands.runtime.terminal import message
from manyhands.teams.environment import announced
from manyhands.teams.job import is_first_process
from manyhands.teams.mpi_environment import check_reachable
from manyhands.training.jobs.deferred import closing_deferred

_COMMANDS = (train, compare, sweep, study, evaluate, predict, read, reader, export, data, report, serve, doctor)
EXAMPLES = (
    "manyhands train --data digits --workers 2 --out model.safetensors",
    "manyhands compare --data digits --workers 1,2",
    "manyhands doctor",
)
_FAILED, _USAGE = 1, 2


def run(arguments: Sequence[str] | None) -> int:
    """Carry out a command; return the exit status: see `manyhands.cli.main`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no plus-minus sign shows a question mark
    if not _has_its_place():
        return _USAGE
    options = _parse(arguments)
    if "run" not in options:  # a command without a command of its own
        return help_pages.show(options.parser.format_help()) if is_first_process() else 0
    _show_notices()
    if "hang_timeout" in options:
        os.environ["MANYHANDS_HANG_TIMEOUT"] = str(options.hang_timeout)  # the processes of a job have it from here
    prefix = f"manyhands {options.command}"
    try:
        with (
            parameters_named(option),
            watched_output(),
            json_apart(options),
            memory_errors_explained("this process"),
            closing_deferred(),
            signals.blamed(),
        ):
            status: int = options.run(options)
            jobs.check_spoken()
            if sys.stdout is not None:
                sys.stdout.flush()
        return status
    except ManyhandsError as error:
        if options.debug and not jobs.in_multiprocess_job():
            raise
        if options.debug:
            traceback.print_exc()
        return jobs.end_all(prefix, error, _status_of(error))
    except KeyboardInterrupt as error:
        if options.debug:
            raise
        return jobs.interrupted(prefix, error)
    except BrokenPipeError:  # the reader of our output went away (| head): nothing more to say to it
        forget_output()
        return _FAILED
    except OSError as error:
        if options.debug:
            raise
        return jobs.end_all(prefix, explained(error), _FAILED)


def _status_of(error: ManyhandsError) -> int:
    """Return the exit status for an error; a run that another process was asked to end has that of being terminated."""
    if isinstance(error, Suspended):
        return signals.TERMINATED
    return _USAGE if isinstance(error, SettingsError) else _FAILED


def _has_its_place() -> bool:
    """Return whether this process can be what its launcher announced; explain on a terminal why it will be silent."""
    try:
        check_reachable()
    except SettingsError as error:
        signals.say(f"manyhands: {error}")
        return False
    if (job := announced()) is not None and job.rank > 0 and sys.stderr is not None and sys.stderr.isatty():
        text = f"process {job.rank} of {job.size} that {job.launcher} has started"
        signals.say(f"manyhands: this is {text}: the first one, process 0, prints and writes")
    return True


def _show_notices() -> None:
    """Print the library's log, such as that it is compiling."""
    import logging  # not for --help and --version

    class _Notice(logging.Formatter):
        """Breaks the lines of a notice for the terminal, as those of an error."""

        def format(self, record: logging.LogRecord) -> str:
            return message(super().format(record))

    class _ToStandardError(logging.StreamHandler[Any]):
        """Prints to what the standard error is at that time."""

        @property
        def stream(self) -> Any:
            return sys.stderr

        @stream.setter
        def stream(self, _stream: Any) -> None: ...

    logger = logging.getLogger("manyhands")
    if not logger.handlers:
        handler = _ToStandardError() if is_first_process() else logging.NullHandler()  # of several, one says it
        handler.setFormatter(_Notice("manyhands: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; of several processes with the same one, the first prints what is wrong with it."""
    if is_first_process():
        return _parser().parse_args(arguments)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            return _parser().parse_args(arguments)
    except SystemExit as end:
        if end.code:
            jobs.let_first_speak(said.getvalue())
        raise


def _parser() -> help_pages.Parser:
    parser = help_pages.Parser(
        prog="manyhands",
        description="Train neural networks with many workers, and prove what that cost in time and accuracy.",
        epilog="manyhands COMMAND --help shows the options of a command.",
        examples=EXAMPLES,
    )
    group_of(parser, "help").add_argument(
        "--version", action="version", version=f"manyhands {__version__}", help="show the version"
    )
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    for command in _COMMANDS:
        command.register(commands)
    parser.add_aliases()
    return parser
