"""Names of columns: which of a table's are the features that a model knows, and which is only a row number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError

Names = tuple[str, ...]
_ROW_NAMES = re.compile(r"|Unnamed: 0(\.\d+)*")
_MOST_NAMED = 8
_FEWEST_COUNTED, _FEWEST_UNNAMED = 5, 30  # a column without a name may well count so few rows


def names_of(table: Any) -> Names | None:
    """Return the names of a table's columns; None if it has none, or is no table.

    Parameters
    ----------
    table
        With an attribute ``columns``, as a DataFrame has, or ``column_names``. Columns that are numbered from 0 have
        no names.
    """
    names = getattr(table, "column_names", None)
    names = getattr(table, "columns", None) if names is None else names
    if names is None or callable(names):
        return None
    listed = list(names)
    if len(np.shape(table)) != 2 or len(listed) != np.shape(table)[1] or listed == list(range(len(listed))):
        return None
    return tuple(str(name).strip() for name in listed)


def reordered(
    features: NDArray[Any], given: Names | None, wanted: Names | None, source: Path | None = None
) -> NDArray[Any]:
    """Return features in the order of the training rows' columns, if both have names; else as they are.

    Parameters
    ----------
    features : ndarray of shape (rows, columns)
    given, wanted
        Names of these columns, and of the training rows'.
    source
        The file of these, for messages.

    Raises
    ------
    DataError
        If a wanted column is missing, there is another one, or two of one name cannot be told apart.
    """
    if given is None or wanted is None or given == wanted:
        return features
    if sorted(given) != sorted(wanted):
        raise DataError(_difference(given, wanted), path=source)
    twice = next((name for name in wanted if wanted.count(name) > 1), None) if len(set(wanted)) < len(wanted) else None
    if twice is not None:
        raise DataError(
            f"several columns are named {twice!r} and the columns stand in another order than in the training rows; "
            "give each its own name",
            path=source,
        )
    places = {name: place for place, name in enumerate(given)}
    return np.ascontiguousarray(features[:, [places[name] for name in wanted]])


def _difference(given: Names, wanted: Names) -> str:
    """Say which names differ."""
    missing, unexpected = _without(wanted, given), _without(given, wanted)
    parts = [
        f"{what}: {', '.join(map(repr, names[:_MOST_NAMED]))}{', ...' if len(names) > _MOST_NAMED else ''}"
        for what, names in (("missing", missing), ("unexpected", unexpected))
        if names
    ]
    return (
        "the feature names should match those of the training rows, in any order; "
        f"{'; '.join(parts)} (is the label's column the right one?)"
    )


def _without(names: Names, others: Names) -> list[str]:
    """Return the names that are not among others, or are there more often than among them."""
    left: dict[str, int] = {}
    for name in others:
        left[name] = left.get(name, 0) + 1
    found = []
    for name in names:
        left[name] = left.get(name, 0) - 1
        if left[name] < 0:
            found.append(name)
    return found


def notice(text: str) -> None:
    """Say something on the side that is worth a look and no error."""
    import logging

    logging.getLogger("manyhands").warning(text)


def say_positions(given: Names | None, wanted: Names | None, what: str) -> None:
    """Say that columns are taken by position, if names are known on one side only.

    Parameters
    ----------
    given, wanted
        Names of the columns of ``what``, and of the training rows'.
    what
        Which rows, for the message.
    """
    if (given is None) == (wanted is None):
        return
    lacks, has = (what, "the training rows have") if given is None else ("the training rows", f"{what} have")
    notice(f"columns are taken by position: {has} names of columns, {lacks} have none")


def row_names(names: Sequence[str]) -> int:
    """Return how many of the first columns only name the rows: no name, or pandas' ``Unnamed: 0``.

    pandas writes its index so (unless to_csv is given index=False), and R its row names.
    """
    return next((place for place, name in enumerate(names) if not _ROW_NAMES.fullmatch(name)), len(names))


def counting_columns(features: NDArray[Any], *, named: bool) -> list[int]:
    """Return which columns hold each of so many whole numbers in a row once, in any order: they may be row numbers.

    Parameters
    ----------
    features : ndarray of shape (rows, columns)
        They may be counted from any number on, as those of a part of a table are.
    named
        Whether columns have names; if not, more rows are needed to tell.
    """
    rows = len(features)
    if rows < (_FEWEST_COUNTED if named else _FEWEST_UNNAMED) or (features.dtype == np.uint8 and rows > 256):
        return []
    low, high = (end.astype(float) for end in (features.min(axis=0), features.max(axis=0)))
    candidates = np.flatnonzero((low == np.rint(low)) & (high - low == rows - 1.0))
    return [int(column) for column in candidates if (np.diff(np.sort(features[:, column]).astype(float)) == 1).all()]
