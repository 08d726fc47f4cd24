"""A study as a page for people: one HTML file, its figures, its numbers and the record they were made from.

A report is made from a record alone, so that a file read again gives the same as the run itself. matplotlib is needed
to draw, and imported only then (`manyhands.reports.figures.style`).
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from manyhands.core.errors import FormatError, MissingDataError, shown
from manyhands.records.seal import FIELD, sealed, unsealed, write_record
from manyhands.reports.schema import complete
from manyhands.runtime.atomic_files import check_folder, check_writable, make_output_folder
from manyhands.runtime.memory import check_memory

PAGE, RECORD = "report.html", "results.json"
_TIMES_IN_MEMORY = 4  # the bytes, the text, and what it says
_LOG = logging.getLogger("manyhands")


def write_report(record: Any, folder: str | Path) -> Path:
    """Write the report of a record into a folder, which is made if need be.

    Beside the page stand the record itself, every figure as PNG and SVG, and the numbers as CSV files. The same record
    gives the same bytes. The numbers are written before anything is drawn, and the page is written last; figures that
    cannot be drawn, whatever the reason, are missing in it, and nothing else is.

    Parameters
    ----------
    record
        Of a comparison, a sweep, the published experiment or a study, as loaded from JSON.
    folder
        Where to.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    FormatError
        If no report can be made of the record, or it is not the one that its checksum was made for.
    DrawingError
        If figures are missing, of which matplotlib may be the reason. The page is there, and says so.
    OutputError
        If files cannot be written; all others are, and each is whole or not there.
    """
    from manyhands.reports.csv_files import csv_files
    from manyhands.reports.figures.all import drafts
    from manyhands.reports.html.page import make_page
    from manyhands.reports.publishing import publish

    whole = sealed(unsealed(record))  # a live run's record becomes what will be read from its file
    completed = complete(unsealed(whole))
    files = {RECORD: (json.dumps(whole, indent=1) + "\n").encode(), **csv_files(completed)}
    return publish(
        make_folder(folder),
        files,
        drafts(completed),
        lambda pictures, names, missing: make_page(completed, pictures, names, missing),
        PAGE,
    )


def write_numbers(record: Any, folder: str | Path) -> None:
    """Write the record of a report before the report itself is made: what can fail later costs the rest only.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    write_record(make_folder(folder) / RECORD, record)


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
        content = _content(Path(path))
    except FileNotFoundError as error:
        raise MissingDataError("no such file; give the JSON file of a finished command or study", path=path) from error
    except IsADirectoryError as error:
        raise MissingDataError("it is a folder; give the JSON file of a study", path=path) from error
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        reason = getattr(error, "strerror", None) or error
        raise MissingDataError(f"it cannot be read: {reason}", path=path) from error
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


def _content(path: Path) -> bytes:
    """Return what a file holds, if it can be held with what it says."""
    check_memory(_TIMES_IN_MEMORY * path.stat().st_size, f"the record {shown(path)}", "give the JSON file of a study")
    return path.read_bytes()


def check_possible(folder: str | Path) -> None:
    """Fail now, and not after an hour of training, if no report could be written; the folder is made.

    Raises
    ------
    SettingsError
        If matplotlib is missing.
    OutputError
        If the folder cannot be made, or not be written into.
    """
    from manyhands.reports.figures.style import require_matplotlib

    require_matplotlib()
    target = make_folder(folder)
    check_writable(target / PAGE)
    check_folder(target)


def make_folder(folder: str | Path) -> Path:
    """Make a report's folder if it is not there, and return it.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
    return make_output_folder(folder)
