"""Errors: they say where, they belong to one family, and they survive the way between processes."""

import pickle
from pathlib import Path

import pytest

from manyhands.core import errors
from manyhands.core.errors import (
    ChecksumError,
    DataError,
    DivergedError,
    DownloadError,
    FormatError,
    ManyhandsError,
    MissingDataError,
    ModelFileError,
    OutputError,
    RankError,
    SettingsError,
    WorkerLost,
)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({}, "it is broken"),
        ({"path": "a.csv"}, "a.csv: it is broken"),
        ({"path": "a.csv", "line": 7}, "a.csv, line 7: it is broken"),
        ({"path": "a.idx", "byte": 0}, "a.idx, byte 0: it is broken"),
    ],
)
def test_data_error_says_where(place, message):
    assert str(DataError("it is broken", **place)) == message


def test_diverged_error_names_step_worker_and_remedy():
    message = str(DivergedError(12, 3, float("nan")))
    assert "nan at step 12 on worker 3" in message
    assert "learning_rate" in message


def test_every_public_error_belongs_to_the_family():
    classes = [thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, Exception)]
    classes = [thing for thing in classes if not issubclass(thing, Warning)]
    assert len(classes) >= 11
    assert all(issubclass(one, ManyhandsError) for one in classes)


@pytest.mark.parametrize("kind", [MissingDataError, FormatError, ChecksumError, DownloadError])
def test_all_that_is_wrong_with_data_is_a_data_error(kind):
    assert issubclass(kind, DataError)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (SettingsError, ValueError),
        (DataError, ValueError),
        (ModelFileError, ValueError),
        (OutputError, OSError),
        (DivergedError, ArithmeticError),
        (WorkerLost, RuntimeError),
    ],
)
def test_callers_can_catch_the_builtin_kind(kind, builtin):
    assert issubclass(kind, builtin)


@pytest.mark.parametrize(
    "error",
    [
        SettingsError("no"),
        FormatError("broken", path="a.csv", line=3),
        OutputError("cannot write"),
        DivergedError(12, 3, float("inf")),
        WorkerLost(2),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_the_way_to_another_process(error):
    # Process pools and mpi4py pickle the errors of their workers; one that cannot be rebuilt hides the cause or hangs.
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


class TestJoined:
    def test_the_only_one_stays_what_it_is(self):
        error = errors.SettingsError("a")
        assert errors.joined([error]) is error

    def test_several_say_all_and_of_many_files_the_first(self):
        drawing = errors.DrawingError({"a": "x", "b": "x", "c": "y"}, Path("p"))
        files = [errors.OutputError(f"cannot write {number}") for number in (1, 1, 2, 3, 4, 5)]
        assert str(errors.joined([*files, drawing])) == (
            "cannot write 1; cannot write 2; cannot write 3; and 2 more files; "
            "figures are missing in p: a, b (x); c (y); all else of the report is written"
        )


@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        (ValueError("x"), [ValueError]),
        (FormatError("x", path="f"), [FormatError, DataError, ValueError]),
        (OutputError("x"), [OutputError, OSError]),
        (FileNotFoundError("x"), [OSError]),
        (MemoryError(), [MemoryError]),
        (KeyError("x"), [KeyError, LookupError]),
        (UnicodeDecodeError("ascii", b"", 0, 1, "x"), [ValueError]),
        (DeprecationWarning("x"), [Warning]),
        (type("Strange", (Exception,), {})("x"), []),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_of_another_rank_is_of_the_kind_it_has_there(error, kinds):
    told = RankError.of(1, "it is broken", tuple(RankError.kinds_of(error)))
    for one in (told, pickle.loads(pickle.dumps(told))):
        assert all(isinstance(one, kind) for kind in (RankError, ManyhandsError, *kinds))
        assert str(one) == "rank 1: it is broken"
        assert (one.rank, one.problem) == (1, "it is broken")
        assert isinstance(one, ValueError) == (ValueError in kinds)
