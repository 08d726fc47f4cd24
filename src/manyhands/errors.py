"""Every error that a user can cause or meet.

Each message says what was wrong, where (file, line, byte, rank, step) and what to do about it. The command
line prints the message alone; a traceback appears only with ``--debug``.
"""

from __future__ import annotations

from pathlib import Path


class ManyhandsError(Exception):
    """Base of all errors raised on purpose by this package."""


class SettingsError(ManyhandsError, ValueError):
    """An option or argument has a value that cannot work."""


class DataError(ManyhandsError, ValueError):
    """Training or test data cannot be used.

    Parameters
    ----------
    problem
        What is wrong and what to do.
    path
        The file at fault, if there is one.
    line
        1-based line number in a text file.
    byte
        0-based offset in a binary file.
    """

    def __init__(
        self,
        problem: str,
        *,
        path: str | Path | None = None,
        line: int | None = None,
        byte: int | None = None,
    ) -> None:
        self.problem = problem
        self.path = None if path is None else Path(path)
        self.line = line
        self.byte = byte
        place = "" if path is None else str(path)
        if line is not None:
            place += f", line {line}"
        if byte is not None:
            place += f", byte {byte}"
        super().__init__(f"{place}: {problem}" if place else problem)


class MissingDataError(DataError):
    """A file or data set is not there."""


class FormatError(DataError):
    """A file is not what its format demands."""


class ChecksumError(DataError):
    """A file differs from the published one."""


class DownloadError(DataError):
    """A data set could not be fetched from any mirror."""


class ModelFileError(ManyhandsError, ValueError):
    """A model file cannot be used."""


class OutputError(ManyhandsError, OSError):
    """A result could not be written; nothing half-written is left behind."""


class DivergedError(ManyhandsError, ArithmeticError):
    """The training loss stopped being a finite number.

    Parameters
    ----------
    step
        1-based number of the optimizer step, counted over all epochs, whose loss was not finite.
    rank
        The worker that met it.
    loss
        That loss.
    """

    def __init__(self, step: int, rank: int, loss: float) -> None:
        self.step = step
        self.rank = rank
        self.loss = loss
        super().__init__(
            f"the loss became {loss} at step {step} on worker {rank}: training diverged. "
            "Lower --learning-rate, or check the scaling of the inputs (--scale auto)."
        )

    def __reduce__(self) -> tuple[type[DivergedError], tuple[int, int, float]]:
        return type(self), (self.step, self.rank, self.loss)


class WorkerLost(ManyhandsError, RuntimeError):  # noqa: N818 - an event the design names so
    """Another worker ended early, so a round can never be completed.

    Parameters
    ----------
    rank
        The worker that is gone.
    reason
        What is known about it, as a half-sentence with the worker as its subject.
    """

    def __init__(self, rank: int, reason: str = "ended before the round was complete") -> None:
        self.rank = rank
        self.reason = reason
        super().__init__(f"worker {rank} {reason}")

    def __reduce__(self) -> tuple[type[WorkerLost], tuple[int, str]]:
        return type(self), (self.rank, self.reason)


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM): everything ends as on Ctrl-C."""

    def __str__(self) -> str:
        return "terminated"


class HungUp(Terminated):
    """The terminal is gone (SIGHUP): everything ends as on Ctrl-C."""

    def __str__(self) -> str:
        return "terminated: the terminal is gone (SIGHUP; nohup lets a program go on)"
