"""The report of a study: one HTML page, its figures, its numbers and the record that all of it is made from.

A report is made from a record alone, so that a record read from its file gives the same report as the run itself.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from manyhands.core.errors import FormatError, MissingDataError, shown
from manyhands.records.seal import FIELD, sealed, unsealed, write_record
from manyhands.reports.folder import PAGE, RECORD, Owner, check_owner, take
from manyhands.reports.schema import complete
from manyhands.runtime.atomic_files import check_folder, check_writable, make_output_folder
from manyhands.runtime.memory import check_memory

_TIMES_IN_MEMORY = 4  # the bytes, the text, and what it says
_LOG = logging.getLogger("manyhands")


def write_report(record: Any, folder: str | Path, *, replace: bool = False) -> Path:
    """Write the report of a record, as loaded from JSON, into a folder; return the path of the page.

    Beside the page stand the record itself, every figure as PNG and SVG, and the numbers as CSV files. The same record
    gives the same bytes. A figure that cannot be drawn is missing in the page. An older report of the same command is
    replaced whole; files that are not a report's stay.

    Parameters
    ----------
    replace
        Whether a report of another study may be replaced, too.

    Raises
    ------
    FormatError
        If no report can be made of the record, or it is not the one that its checksum was made for.
    DrawingError, OutputError
        As `manyhands.reports.folder.take` and `manyhands.reports.publishing.publish`.
    """
    from manyhands.reports.csv_files import csv_files
    from manyhands.reports.figures.registry import drafts
    from manyhands.reports.publishing import publish
    from manyhands.reports.study_page import make_page

    whole = sealed(unsealed(record))  # a live run's record becomes what will be read from its file
    completed = complete(unsealed(whole))
    files = {RECORD: (json.dumps(whole, indent=1) + "\n").encode(), **csv_files(completed)}
    target = make_output_folder(folder)
    take(target, whole, replace=replace)
    return publish(
        target,
        files,
        drafts(completed),
        lambda pictures, names, missing: make_page(completed, pictures, names, missing),
        PAGE,
    )


def write_numbers(record: Any, folder: str | Path, name: str = RECORD, *, replace: bool = False) -> None:
    """Write the record of a report, or raise OutputError, before the report itself, which may fail."""
    target = make_output_folder(folder)
    take(target, record, replace=replace)
    write_record(target / name, record)


def read_record(path: str | Path) -> dict[str, Any]:
    """Read a record that a study wrote, and check that a report can be made of it.

    Raises
    ------
    MissingDataError
        If there is no such file, or it cannot be read.
    FormatError
        If it is no JSON, or no record, lacks what a report needs, or was changed since it was written.
    """
    try:
        size = Path(path).stat().st_size
        check_memory(_TIMES_IN_MEMORY * size, f"the record {shown(path)}", "give the JSON file of a study")
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        reason = getattr(error, "strerror", None) or error
        raise MissingDataError(
            f"it cannot be read ({reason}); give the JSON file of a finished command or study", path=path
        ) from error
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"it is not JSON ({error or 'nested too deep'}); give the JSON file of a finished command or study",
            path=path,
        ) from error
    try:
        found: dict[str, Any] = unsealed(record)
        complete(found)
    except FormatError as error:
        raise FormatError(error.problem, path=path) from error
    if FIELD not in record:
        _LOG.info(
            "%s has no checksum, as files of older versions: only the ranges of its numbers were checked", shown(path)
        )
    return found


def check_possible(folder: str | Path, owner: Owner | None = None, *, replace: bool = False) -> None:
    """Raise SettingsError (no matplotlib) or OutputError before training if no report could be written.

    For ``owner`` and ``replace``, see `manyhands.reports.folder.check_owner`.
    """
    from manyhands.reports.figures.style import require_matplotlib

    require_matplotlib()
    target = make_output_folder(folder)
    check_writable(target / PAGE)
    check_folder(target)
    check_owner(target, owner, replace=replace)
