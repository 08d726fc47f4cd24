"""All errors that a user can see.

Each message says what is wrong, where (file, line, byte, rank, step) and what to do about it. The command line prints
the message alone, and a traceback only with ``--debug``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from manyhands.core.parameters import parameter

_MOST_FILES = 3


def shown(path: str | Path) -> str:
    """Return a path for a message, with characters escaped that a terminal or a text file cannot show."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode() for each in str(path)
    )


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
        place = "" if path is None else shown(path)
        if line is not None:
            place += f", line {line}"
        if byte is not None:
            place += f", byte {byte}"
        super().__init__(f"{place}: {problem}" if place else problem)


class MissingDataError(DataError):
    """A file or data set is not there."""


class FormatError(DataError):
    """A file does not follow its format."""


class ChecksumError(DataError):
    """A file differs from the published one."""


class DownloadError(DataError):
    """A data set could not be fetched from any mirror."""


class ModelFileError(ManyhandsError, ValueError):
    """A model file cannot be used."""


class TrainingWarning(UserWarning):
    """A training has ended, but has come to nothing: a model at chance level, or a loss above its start."""


class OutputError(ManyhandsError, OSError):
    """A result could not be written; nothing half-written is left behind."""


class OutOfMemoryError(ManyhandsError, MemoryError):
    """Something needs more memory than there is."""


class DrawingError(ManyhandsError, RuntimeError):
    """Figures of a report could not be drawn; everything else of the report is written.

    Parameters
    ----------
    reasons
        Why not, by the name of the figure.
    page
        Of the report, which says so too.
    """

    def __init__(self, reasons: Mapping[str, str], page: Path) -> None:
        self.reasons = dict(reasons)
        self.page = page
        super().__init__(f"figures are missing in {page}: {missing(reasons)}; all else of the report is written")

    def __reduce__(self) -> tuple[type[DrawingError], tuple[dict[str, str], Path]]:
        return type(self), (self.reasons, self.page)


def missing(reasons: Mapping[str, str]) -> str:
    """Return what is missing and why, grouped by reason."""
    groups: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        groups.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in groups.items())


def joined(errors: Sequence[ManyhandsError]) -> ManyhandsError:
    """Return the only error, or one with the messages of all (of many files, the first three)."""
    if len(errors) == 1:
        return errors[0]
    others = [str(error) for error in errors if not isinstance(error, OutputError)]
    files = list(dict.fromkeys(str(error) for error in errors if isinstance(error, OutputError)))
    more = [f"and {len(files) - _MOST_FILES} more files"] if len(files) > _MOST_FILES else []
    return OutputError("; ".join([*files[:_MOST_FILES], *more, *others]))


DIVERGED = "training diverged"
"""Part of every message about divergence: of an error in another process, only the message is known."""


class SingularError(ManyhandsError, ValueError):
    """A class has a covariance matrix that cannot be inverted.

    Parameters
    ----------
    label
        Number of the class, from 0.
    rank, features
        Of its matrix.
    rows
        Samples of the class.
    remedy
        The parameter that helps.
    """

    def __init__(self, label: int, rank: int, features: int, rows: int, remedy: str) -> None:
        self.label, self.rank, self.features, self.rows, self.remedy = label, rank, features, rows, remedy
        super().__init__(
            f"the covariance matrix of class number {label} (from 0) cannot be inverted: its {rows:,} samples vary in "
            f"{rank} directions only, and there are {features} features, such as pixels that never change; add "
            f"{parameter(remedy, 0.1)}"
        )

    def __reduce__(self) -> tuple[type[SingularError], tuple[int, int, int, int, str]]:
        return type(self), (self.label, self.rank, self.features, self.rows, self.remedy)


class DivergedError(ManyhandsError, ArithmeticError):
    """The training loss stopped being a finite number.

    Parameters
    ----------
    step
        1-based number of the optimizer step, counted over all epochs, whose loss was not finite.
    rank
        The worker that computed it.
    loss
        That loss.
    """

    def __init__(self, step: int, rank: int, loss: float) -> None:
        self.step = step
        self.rank = rank
        self.loss = loss
        super().__init__(
            f"the loss became {loss} at step {step} on worker {rank}: {DIVERGED}. "
            f"Lower {parameter('learning_rate')}, or check the scaling of the inputs ({parameter('scale', 'auto')})."
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
        What is known about it: the end of a sentence whose subject is the worker.
    """

    def __init__(self, rank: int, reason: str = "ended before the round was complete") -> None:
        self.rank = rank
        self.reason = reason
        super().__init__(f"worker {rank} {reason}")

    def __reduce__(self) -> tuple[type[WorkerLost], tuple[int, str]]:
        return type(self), (self.rank, self.reason)


class WorkerFailed(WorkerLost):
    """An error has ended a worker, which leaves the others.

    Parameters
    ----------
    rank
        The worker.
    problem
        Its error, in words.
    """

    def __init__(self, rank: int, problem: str) -> None:
        self.problem = problem
        super().__init__(rank, f"failed: {problem}")

    def __reduce__(self) -> tuple[type[WorkerLost], tuple[int, str]]:
        return type(self), (self.rank, self.problem)


class CorruptedError(ManyhandsError, RuntimeError):
    """A check of the parameters has found that memory, or a message, does not hold what was computed.

    Parameters
    ----------
    round_number
        The round, from 1.
    problem
        Which workers hold what.
    """

    def __init__(self, round_number: int, problem: str) -> None:
        self.round_number, self.problem = round_number, problem
        super().__init__(f"round {round_number}: {problem}")

    def __reduce__(self) -> tuple[type[CorruptedError], tuple[int, str]]:
        return type(self), (self.round_number, self.problem)


class Suspended(ManyhandsError):  # noqa: N818 - no error: the run was asked to end
    """A run was asked to end, and has written down where it is (or why it could not)."""


class RankError(ManyhandsError):
    """A step that all processes of an MPI job take together has failed on another rank, and therefore on all.

    It is also an error of the class that was raised there (`of`), so that the same ``except`` catches both.

    Parameters
    ----------
    rank
        The process that has failed.
    problem
        Its message.
    """

    def __init__(self, rank: int, problem: str) -> None:
        self.rank = rank
        self.problem = problem
        Exception.__init__(self, f"rank {rank}: {problem}")

    def __str__(self) -> str:
        return str(self.args[0])

    @staticmethod
    def kinds_of(error: BaseException) -> list[str]:
        """Return the names of an error's classes that every process knows, the most specific first."""
        return [kind.__name__ for kind in type(error).__mro__ if _KNOWN.get(kind.__name__) is kind]

    @staticmethod
    def of(rank: int, problem: str, kinds: tuple[str, ...]) -> RankError:
        """Return an error for one that was raised on another rank.

        Parameters
        ----------
        rank, problem
            See the class.
        kinds
            The names that `kinds_of` returned there.
        """
        return _kind_of_rank_error(next((name for name in kinds if name in _KNOWN), ""))(rank, problem)

    def __reduce__(self) -> tuple[Any, ...]:
        return RankError.of, (self.rank, self.problem, tuple(RankError.kinds_of(self)))


_BUILTIN = (
    ValueError, TypeError, AttributeError, KeyError, IndexError, LookupError, MemoryError, OSError, ArithmeticError,
    AssertionError, ImportError, RuntimeError, UserWarning, Warning,
)  # fmt: skip
_OURS = (
    MissingDataError, FormatError, ChecksumError, DownloadError, DataError, SettingsError, ModelFileError, OutputError
)  # fmt: skip
_KNOWN: dict[str, type[Exception]] = {kind.__name__: kind for kind in (*_OURS, *_BUILTIN)}


@functools.cache
def _kind_of_rank_error(name: str) -> type[RankError]:
    """Return a RankError that is also an error of that name, or the plain one."""
    if not name:
        return RankError
    place = {"path": None, "line": None, "byte": None} if issubclass(_KNOWN[name], DataError) else {}
    return cast(type[RankError], type("RankError", (RankError, _KNOWN[name]), {"__module__": __name__, **place}))


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM): everything ends as on Ctrl-C."""

    def __str__(self) -> str:
        return f"terminated{f': {self.args[0]}' if self.args else ''}"


class HungUp(Terminated):
    """The terminal is gone (SIGHUP): everything ends as on Ctrl-C."""

    def __str__(self) -> str:
        return "terminated: the terminal is gone (SIGHUP; nohup lets a program go on)"
