"""What the system refuses is said in its words: the printed output, or the file that it names."""

import errno
import io
import os
import sys
from argparse import Namespace

import pytest

from manyhands import cli
from manyhands.cli import program
from manyhands.cli.output import Output, explained
from manyhands.core.errors import OutputError


def refusal(number: int, *names: object) -> OSError:
    return OSError(number, os.strerror(number), *names)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (refusal(errno.EMFILE, "/data/a.gz"), "/data/a.gz: Too many open files: this process may not open more; raise"),
        (refusal(errno.ENFILE), "Too many open files in system: the machine can open no more"),
        (refusal(errno.ENOSPC, b"/tmp/x"), "/tmp/x: No space left on device: make room on that disk, or in TMPDIR"),
        (refusal(errno.ENOMEM), "Cannot allocate memory: use fewer workers or rows"),
        (refusal(errno.EAGAIN), "Resource temporarily unavailable: no more processes or threads"),
        (refusal(errno.EIO, "a\0b\udcff"), r"a\x00b\udcff: Input/output error; --debug shows where"),
        (refusal(errno.EACCES, 7), "7: Permission denied; --debug shows where"),
        (OSError("mine"), "mine; --debug shows where"),
        (TimeoutError(), "TimeoutError; --debug shows where"),
    ],
    ids=str,
)
def test_an_error_of_the_system_is_said_with_its_file_and_what_to_do(error, text):
    assert str(explained(error)).startswith(text)
    assert str(explained(error)).isprintable()


def run_command(monkeypatch, error: OSError) -> int:
    def run(_options: object) -> int:
        raise error

    monkeypatch.setattr(program, "_parse", lambda _: Namespace(command="train", debug=False, run=run))
    return cli.main([])


def test_reading_that_fails_is_not_called_writing(monkeypatch, capsys):
    assert run_command(monkeypatch, refusal(errno.EMFILE, "some.csv")) == 1
    assert capsys.readouterr().err.startswith("manyhands train: some.csv: Too many open files")


class Full(io.StringIO):
    """A stream that cannot be written."""

    def write(self, _text: str) -> int:
        raise refusal(errno.ENOSPC)


class Gone(io.StringIO):
    """A stream that nobody reads any more."""

    def flush(self) -> None:
        raise BrokenPipeError


def test_the_printed_output_that_fails_is_called_that():
    with pytest.raises(OutputError, match=r"^the standard output cannot be written: No space left on device$"):
        print("some", file=Output(Full()))


def test_a_reader_who_went_away_is_no_error_of_ours():
    with pytest.raises(BrokenPipeError):
        print("some", file=Output(Gone()), flush=True)


def test_an_output_is_otherwise_its_stream():
    stream = Output(sys.__stderr__)
    assert (stream.fileno(), stream.encoding) == (sys.__stderr__.fileno(), sys.__stderr__.encoding)
