"""Rows without labels, whose classes are to be predicted: CSV files, and arrays in .npy files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, FormatError, MissingDataError, SettingsError
from manyhands.core.parameters import parameter
from manyhands.data.columns import Names, notice
from manyhands.data.csv.header import Layout, find_layout
from manyhands.data.csv.reader import read_csv
from manyhands.data.dataset import Examples
from manyhands.data.precision import narrowed
from manyhands.runtime.atomic_files import home_hint

_LAST = -1


def read_rows(
    path: str | Path,
    *,
    features: int,
    names: Names | None = None,
    label_name: str | None = None,
    label_column: str | int | None = None,
    usual: str | int | None = None,
    delimiter: str | None = None,
) -> Examples:
    """Return the rows of a CSV file, with a column of labels or without; there are labels of no meaning in any case.

    Parameters
    ----------
    path
        The file.
    features
        Number of columns that a model takes.
    names, label_name
        Names of its columns, and of that of the labels, if they have any. A column of this name is left out.
    label_column
        Number or name of the column to leave out; None: ``label_name``.
    usual
        Of a file without names, the column to leave out if there is one more than the model takes: that in which the
        labels of its training were.
    delimiter
        Between cells; None: what the first lines have.

    Raises
    ------
    SettingsError
        If there is no such column.
    FormatError, MissingDataError
        As `manyhands.data.csv.reader.read_csv`; also if there are more or fewer columns.
    """
    layout = find_layout(path, _LAST, delimiter)
    found = layout.names[layout.left_out :]
    at = label_column
    if at is None and layout.header and label_name in found and label_name not in (names or ()):
        at = label_name
    if at is None and names is None and len(found) == features + 1:
        at = usual
    if at is None:
        return _whole(path, layout, features, delimiter)
    values, labels = read_csv(path, at, delimiter=delimiter)
    kept = find_layout(path, at, delimiter)
    where = kept.column(kept.label_at)
    notice(f"{path}: {where} is taken for labels, and left out")
    _check_number(path, values.shape[1], features, named=kept.header and names is not None)
    return Examples(values, labels, Path(path), kept.features, kept.label)


def _whole(path: str | Path, layout: Layout, features: int, delimiter: str | None) -> Examples:
    """Return all columns as features: the last is read as if it were a label, and put back."""
    names = layout.names[layout.left_out :] if layout.header else None
    values, last = read_csv(path, _LAST, delimiter=delimiter)
    _check_number(path, values.shape[1] + 1, features, named=names is not None)
    try:
        column = last.astype(np.float64)
    except ValueError:
        row = next(row for row, cell in enumerate(last.tolist()) if not _is_number(cell))
        name = "the last column" if names is None else f"the last column, {names[-1]!r},"
        raise FormatError(
            f"{name} has {str(last[row])[:40]!r} in row {row + 1}, which is not a number; if it is the label, say so: "
            f"{parameter('label_column', '-1' if names is None else names[-1])}",
            path=path,
        ) from None
    whole = narrowed(np.column_stack([values.astype(np.float64), column]))
    if not np.isfinite(whole).all():
        raise FormatError("the last column has numbers that are not finite", path=path)
    return Examples(whole, np.zeros(len(whole), np.int64), Path(path), names)


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _check_number(path: str | Path, found: int, features: int, *, named: bool) -> None:
    """Check the number of columns; where both have names, these are compared instead."""
    if named or found == features:
        return
    hint = f"; if one of them is the label, name it ({parameter('label_column')})" if found > features else ""
    raise FormatError(f"the model takes {features} features per row, and there are {found} columns{hint}", path=path)


def read_array(path: Path, features: int) -> NDArray[Any]:
    """Return the rows of a .npy file, which is no pickle."""
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise MissingDataError(f"there is no such file{home_hint(path)}", path=path) from error
    except (OSError, ValueError, EOFError) as error:
        raise FormatError(f"not an array of numbers that NumPy can read without pickle ({error})", path=path) from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "buif":
        raise FormatError("not an array of numbers", path=path)
    if values.ndim < 2 or values[:1].size != features:
        raise DataError(
            f"the model takes {features} features per row, and the array has the shape {values.shape}", path=path
        )
    if not len(values):
        raise SettingsError(f"{path}: the array has no rows")
    return values
