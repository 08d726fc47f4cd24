"""The folder of a report, which belongs to one study: whose it is, and how a new report takes the place of an old one.

A report is never mixed with another one. A folder that holds the report of another study is refused; an older report
of the same study (the same command) is replaced whole: its page goes first, then all its files, and the new page comes
last, so that a folder with a page is whole whenever the program is stopped. Other files in the folder stay.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manyhands.core.errors import FormatError, OutputError, shown
from manyhands.core.parameters import parameter
from manyhands.records.environment import command_line
from manyhands.records.seal import FIELD, sealed, unsealed
from manyhands.reports.schema import complete

PAGE, RECORD, EVALUATION = "report.html", "results.json", "evaluation.json"
PICTURES = ("confusion", "calibration", "mistakes", "weights")
"""The names of the pictures in a model's report."""
NUMBERS = ("classes.csv", "confusion.csv", "calibration.csv", "mistakes.csv")
"""The names of the CSV files in a model's report."""
_MODEL = "manyhands.evaluate"
_VALUES = frozenset(("--json", "--report", "--checkpoint", "--log", "--tensorboard", "--markdown"))
_FLAGS = frozenset(("--quiet", "-q", "--debug", "--replace", "--log-rounds", "--wide", "--explain"))
_ADVICE = "give another folder, or move these files away"


@dataclass(frozen=True)
class Owner:
    """The study that a report is of.

    Attributes
    ----------
    kind
        The kind of its record, such as ``manyhands.compare``; empty if it is not known yet.
    command
        The command line that made the record.
    time
        When the record was made.
    checksum
        Of the record; empty if it is not known yet.
    """

    kind: str
    command: str
    time: str = ""
    checksum: str = ""

    @property
    def name(self) -> str:
        """What a message calls it."""
        return f"`{shown(self.command)}`{f' of {shown(self.time)}' if self.time else ''}"

    def same(self, other: Owner) -> bool:
        """Return whether both are the same study: the same command, wherever it writes and whatever it prints."""
        if self.checksum and self.checksum == other.checksum:
            return True
        kinds = {self.kind, other.kind} - {""}
        return bool(self.command) and len(kinds) < 2 and _essence(self.command) == _essence(other.command)


def check_owner(folder: Path, owner: Owner | None = None, *, replace: bool = False) -> None:
    """Raise OutputError if a folder holds the report of another study, or a page that is not ours.

    Parameters
    ----------
    owner
        The study whose report will be written; None: the one that this process was started for.
    replace
        Whether the report of another study may be replaced.
    """
    mine = Owner("", command_line()) if owner is None else owner
    found = _records(folder)
    if not found and (folder / PAGE).is_file():
        raise OutputError(
            f"cannot write into {shown(folder)}: it has a {PAGE} but no {RECORD} or {EVALUATION} that says whose it "
            f"is; {_ADVICE}"
        )
    for record in found.values():
        theirs = owner_of(record)
        if not (replace or theirs.same(mine)):
            raise OutputError(
                f"cannot write into {shown(folder)}: it holds the report of another study, {theirs.name}, and this one "
                f"is {mine.name}; give another folder, or replace that report with {parameter('replace', True)}"
            )


def owner_of(record: Mapping[str, Any]) -> Owner:
    """Return the study that a record is of."""
    environment = record.get("environment")
    facts = environment if isinstance(environment, dict) else {}
    command, time = (str(facts.get(name) or "") for name in ("command", "time"))
    study = record.get("study")
    kind = str(record.get("schema", "")).partition("/")[0]
    return Owner(f"{kind} {study}" if study else kind, command, time, sealed(record)[FIELD])


def take(folder: Path, record: Mapping[str, Any], *, replace: bool = False) -> None:
    """Make a folder ready for the report of a record: delete the page of an older report first, then its files.

    Raises
    ------
    OutputError
        As `check_owner`, or if the older page cannot be deleted.
    """
    check_owner(folder, owner_of(record), replace=replace)
    older = {name: _files_of(each, folder / name) for name, each in _records(folder).items()}
    kept = RECORD if owner_of(record).kind.partition(" ")[0] != _MODEL else EVALUATION
    try:
        _delete(folder / PAGE)
    except OSError as error:
        raise OutputError(
            f"cannot replace the report in {shown(folder)}: {PAGE} cannot be deleted ({error.strerror or error})"
        ) from error
    for name, files in older.items():
        for file in (*files, *(() if name == kept else (name,))):
            with contextlib.suppress(OSError):
                _delete(folder / file)


def _delete(path: Path) -> None:
    """Delete a file; folders and links are not ours."""
    if path.is_file() and not path.is_symlink():
        path.unlink()


def _records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the records that lie in a folder, by the names of their files; raise OutputError if one is not ours."""
    found = {}
    for name in (RECORD, EVALUATION):
        path = folder / name
        if not path.is_file():
            continue
        try:
            record = unsealed(json.loads(path.read_bytes()))
            if not str(record["schema"]).startswith("manyhands."):
                raise FormatError("it is no record")
        except (OSError, ValueError, RecursionError, TypeError, KeyError) as error:
            raise _unknown(path, error) from error
        found[name] = record
    return found


def _unknown(path: Path, error: Exception) -> OutputError:
    """Return the error for a folder whose record cannot be used, so that its report cannot be replaced."""
    why = error.problem if isinstance(error, FormatError) else "it is no record"
    return OutputError(
        f"cannot write into {shown(path.parent)}: whose report it holds cannot be told from {path.name} ({why}); "
        f"{_ADVICE}"
    )


def _files_of(record: dict[str, Any], path: Path) -> tuple[str, ...]:
    """Return the names of all files that the report of a record may have, except its page and the record itself."""
    if record["schema"].startswith(f"{_MODEL}/"):
        return (*NUMBERS, *_pictures(PICTURES))
    from manyhands.reports.csv_files import csv_files
    from manyhands.reports.figures.registry import drafts

    try:
        completed = complete(record)
    except FormatError as error:
        raise _unknown(path, error) from error
    return (*csv_files(completed), *_pictures(draft.name for draft in drafts(completed)))


def _pictures(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{name}.{ending}" for name in names for ending in ("png", "svg"))


def _essence(command: str) -> list[str]:
    """Return a command without the options that say where it writes and what it prints."""
    try:
        words = shlex.split(command)
    except ValueError:  # it was not written by a shell's rules
        return [command]
    found, skip = [], False
    for word in words:
        if not skip and word not in _FLAGS and word.partition("=")[0] not in _VALUES:
            found.append(word)
        skip = word in _VALUES
    return found
