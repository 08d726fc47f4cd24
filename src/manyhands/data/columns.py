"""Names of columns: the order of a table's features, and columns that are only row numbers."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError

Names = tuple[str, ...]
_ROW_NAMES = re.compile(r"|Unnamed: 0(\.\d+)*")
_MOST_NAMED, _MOST_COUNTING = 8, 3
_FEWEST_COUNTED, _FEWEST_UNNAMED = 5, 30  # a column without a name may well count so few rows


def names_of(table: Any) -> Names | None:
    """Return the names of a table's columns; None if it has none, or is no table.

    They are its attribute ``columns``, as a DataFrame has, or ``column_names``; numbers from 0 on are no names.
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
        The file of the features, for messages.

    Raises
    ------
    DataError
        If a wanted column is missing, there is another one, or two of one name cannot be told apart.
    """
    if given is None or wanted is None or given == wanted:
        return features
    if sorted(given) != sorted(wanted):
        raise DataError(_difference(given, wanted), path=source)
    twice = next((name for name, number in Counter(wanted).items() if number > 1), None)
    if twice is not None:
        raise DataError(
            f"several columns are named {twice!r} and the columns stand in another order than in the training rows; "
            "give each its own name",
            path=source,
        )
    places = {name: place for place, name in enumerate(given)}
    return np.ascontiguousarray(features[:, [places[name] for name in wanted]])


def _difference(given: Names, wanted: Names) -> str:
    """Return which names differ, in words."""
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
    """Return the names that are more often in ``names`` than in ``others``."""
    return list((Counter(names) - Counter(others)).elements())


def notice(text: str) -> None:
    """Log a warning."""
    logging.getLogger("manyhands").warning(text)


def say_positions(given: Names | None, wanted: Names | None, what: str) -> None:
    """Warn that columns are taken by position, if only the training rows or only ``what`` (other rows) have names."""
    if (given is None) == (wanted is None):
        return
    lacks, has = (what, "the training rows have") if given is None else ("the training rows", f"{what} have")
    notice(f"columns are taken by position: {has} names of columns, {lacks} have none")


def row_names(names: Sequence[str]) -> int:
    """Return how many of the first columns only name the rows: no name, or ``Unnamed: 0``, as of pandas and R."""
    return next((place for place, name in enumerate(names) if not _ROW_NAMES.fullmatch(name)), len(names))


def counting_columns(features: NDArray[Any], *, named: bool) -> list[int]:
    """Return which columns may be row numbers: permutations of consecutive whole numbers, from any number on.

    More rows are needed for columns that are not ``named``.
    """
    rows = len(features)
    if rows < (_FEWEST_COUNTED if named else _FEWEST_UNNAMED) or (features.dtype == np.uint8 and rows > 256):
        return []
    low, high = (end.astype(float) for end in (features.min(axis=0), features.max(axis=0)))
    candidates = np.flatnonzero((low == np.rint(low)) & (high - low == rows - 1.0))
    return [int(column) for column in candidates if (np.diff(np.sort(features[:, column]).astype(float)) == 1).all()]
