"""A study as a page for people: one HTML file, its figures, its numbers and the record they were made from.

A report is made from a record alone, so that a file read again gives the same as the run itself. matplotlib is needed
to draw, and imported only then (`manyhands.studies.report.canvas`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from manyhands.errors import FormatError, MissingDataError
from manyhands.files import check_folder, check_writable, make_output_folder, write_whole
from manyhands.studies.report.records import complete

PAGE, RECORD = "report.html", "results.json"


def write_report(record: Any, folder: str | Path) -> Path:
    """Write the report of a record into a folder, which is made if need be.

    Beside the page stand the record itself, every figure as PNG and SVG, and the numbers as CSV files. The same record
    gives the same bytes. Everything is made before anything is written, and the page is written last.

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
        If no report can be made of the record.
    SettingsError
        If matplotlib is missing.
    OutputError
        If the files cannot be written; each is whole or not there.
    """
    from manyhands.studies.report.canvas import png, svg
    from manyhands.studies.report.figures import make_figures
    from manyhands.studies.report.page import make_page
    from manyhands.studies.report.raw import csv_files

    text = json.dumps(record, indent=1) + "\n"
    completed = complete(json.loads(text))  # a live run's record becomes what will be read from its file
    pictures = [(picture, svg(picture), png(picture)) for picture in make_figures(completed)]
    files = {RECORD: text.encode(), **csv_files(completed)}
    for picture, vector, pixels in pictures:
        files |= {f"{picture.name}.png": pixels, f"{picture.name}.svg": vector}
    page = make_page(completed, [(picture, vector) for picture, vector, _ in pictures], list(files))
    target = make_folder(folder)
    for name, content in {**files, PAGE: page.encode(errors="replace")}.items():
        write_whole(target / name, content)
    return target / PAGE


def read_record(path: str | Path) -> dict[str, Any]:
    """Read a record that a study wrote, and check that a report can be made of it.

    Raises
    ------
    MissingDataError
        If there is no such file, or it cannot be read.
    FormatError
        If it is no JSON, or no record, or lacks what a report needs.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise MissingDataError("no such file; give one that was written with --json", path=path) from error
    except IsADirectoryError as error:
        raise MissingDataError("it is a folder; give the JSON file of a study", path=path) from error
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        reason = getattr(error, "strerror", None) or error
        raise MissingDataError(f"it cannot be read: {reason}", path=path) from error
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"it is not JSON ({error or 'nested too deep'}); give a file that was written with --json", path=path
        ) from error
    try:
        complete(record)
    except FormatError as error:
        raise FormatError(error.problem, path=path) from error
    found: dict[str, Any] = record
    return found


def check_possible(folder: str | Path) -> None:
    """Fail now, and not after an hour of training, if no report could be written; the folder is made.

    Raises
    ------
    SettingsError
        If matplotlib is missing.
    OutputError
        If the folder cannot be made, or not be written into.
    """
    from manyhands.studies.report.canvas import require_matplotlib

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
