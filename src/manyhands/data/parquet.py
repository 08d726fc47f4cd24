"""Parquet files as samples: one row per sample, one column with its label, the others numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, FormatError, MissingDataError, SettingsError, shown
from manyhands.core.extras import require
from manyhands.core.parameters import parameter
from manyhands.data.columns import notice, row_names
from manyhands.data.csv.header import Layout
from manyhands.data.examples import Examples
from manyhands.data.found import Found, read_timed
from manyhands.data.likely_labels import PIPELINE, is_label_name
from manyhands.runtime.atomic_files import home_hint, readable

_NEEDED = "a table needs rows, a label and at least one feature"
_INDEX = "__index_level_"  # pandas' name of an index without one


def read_parquet(path: Path, label_column: str | int | None = None) -> Found:
    """Return the samples of a Parquet file.

    Parameters
    ----------
    path
        The file.
    label_column
        Number or name of the label's column, as of CSV files; None: the first.

    Raises
    ------
    SettingsError
        If pyarrow is not installed, or there is no such column.
    DataError
        If it is not there, damaged, or a cell of a feature is missing or no number; names the column.
    """
    require("pyarrow")
    return read_timed(shown(path.name), f"Parquet from {shown(path)}", lambda: (_read(path, label_column), None))


def _read(path: Path, label_column: str | int | None) -> Examples:
    return examples_of(path, _table(path), label_column)


def examples_of(path: Path, table: Any, label_column: str | int | None, *, quiet: bool = False) -> Examples:
    """Return the samples of a pyarrow Table, as `read_parquet`; of several of one file, all but one are ``quiet``."""
    names = tuple(map(str, table.column_names))
    kept, layout = columns_of(path, names, label_column)
    if len(kept) < len(names) and not quiet:
        left = [repr(name) for place, name in enumerate(names) if place not in kept]
        notice(f"{path}: {', '.join(left)} only names the rows (pandas writes its index so): it is left out")
    if not table.num_rows:
        raise DataError(_NEEDED, path=path)
    places = tuple(place for place in kept if place != layout.label_at)
    features = np.column_stack([_numbers(table, place, layout, kept) for place in places])
    return Examples(
        *(features, _labels(table, layout), path, tuple(names[place] for place in places), names[layout.label_at]),
        columns=places,
        label_asked=layout.label_asked,
    )


def columns_of(path: Path, names: tuple[str, ...], label_column: str | int | None) -> tuple[list[int], Layout]:
    """Return the numbers of the columns that do not only name rows, and the label's; errors as `read_parquet`."""
    kept = [place for place, name in enumerate(names) if not name.startswith(_INDEX)]
    kept = kept[row_names([names[place] for place in kept]) :]
    if len(kept) < 2:
        raise DataError(_NEEDED, path=path)
    return kept, _layout(path, names, kept, label_column)


def _table(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        with open(readable(path), "rb") as file:
            return pyarrow.parquet.read_table(file)
    except FileNotFoundError as error:
        raise MissingDataError(f"there is no such file{home_hint(path)}", path=path) from error
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"cannot be read ({error.strerror})", path=path) from error
        raise FormatError(f"no Parquet file, or a damaged one ({error}); write it again", path=path) from error


def _layout(path: Path, names: tuple[str, ...], kept: list[int], label_column: str | int | None) -> Layout:
    """Return the columns, with the label's found by its name, or by its number among all."""
    asked = kept[0] if label_column is None else label_column
    if isinstance(asked, str) and asked in names:
        if names.count(asked) > 1:
            raise SettingsError(f"{path}: several columns are named {asked!r}; give the label's number")
        at = names.index(asked)
    else:
        try:
            at = int(asked)
        except ValueError:
            at = len(names)
        if not -len(names) <= at < len(names):
            raise SettingsError(
                f"{path}: there is no column {asked!r}; the columns are {', '.join(names[:8])}"
                f"{', ...' if len(names) > 8 else ''}, numbered from 0"
            )
        at %= len(names)
    return Layout(path, "", at, len(names), True, names, 0, label_column is not None)


def _numbers(table: Any, place: int, layout: Layout, kept: list[int]) -> NDArray[Any]:
    """Return a feature's column as numbers."""
    column, path = table.column(place), layout.path
    if column.null_count:
        row = next(row for row, value in enumerate(column) if not value.is_valid)
        problem = f"{layout.column(place)}: row {row + 1} has no value ({column.null_count} such rows): {PIPELINE}"
        raise DataError(problem, path=path)
    values = column.to_numpy()
    if values.dtype.kind in "buif":
        return np.asarray(values, np.uint8) if values.dtype.kind == "b" else values
    texts = [each for each in kept if each != layout.label_at and _is_text(table, each)]
    named = [each for each in texts if is_label_name(layout.names[each])] or texts
    if not layout.label_asked and not _is_text(table, layout.label_at) and len(named) == 1:
        hint = f"is {layout.column(named[0])} the label? {layout.option(named[0])}"
    else:
        hint = f"{PIPELINE}, or {parameter('label_column')} if it is the label"
    raise DataError(f"{layout.column(place)} has no numbers, but {column.type}: {hint}", path=path)


def _is_text(table: Any, place: int) -> bool:
    import pyarrow.types as kinds

    kind = table.column(place).type
    kind = kind.value_type if kinds.is_dictionary(kind) else kind
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind))


def _labels(table: Any, layout: Layout) -> Any:
    column = table.column(layout.label_at)
    if column.null_count:
        row = next(row for row, value in enumerate(column) if not value.is_valid)
        raise DataError(
            f"{layout.column(layout.label_at)}: row {row + 1} has no label; remove such rows", path=layout.path
        )
    return column.to_numpy()
