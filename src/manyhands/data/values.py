"""The values of features that a user passes: arrays, lists of rows and tables with named columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError
from manyhands.data.columns import Names, names_of


def values_in(features: Any, source: Path | None = None) -> NDArray[Any]:
    """Return the values of an array, a list of rows or a table with named columns as a plain array.

    A table with columns of different types has objects for values: they become numbers, column by column.

    Raises
    ------
    DataError
        If some are masked, missing or no numbers, they are sparse, or rows have different lengths.
    """
    if hasattr(features, "toarray"):
        raise DataError("the features are sparse; make them dense: features.toarray()", path=source)
    if isinstance(features, np.ma.MaskedArray) and np.ma.is_masked(features):
        raise DataError("some features are masked; fill them in or remove their rows", path=source)
    try:
        values = np.asarray(features)
    except ValueError as error:  # a list of lists of different lengths
        raise DataError("the rows of the features have different lengths", path=source) from error
    if values.dtype.kind not in "OUT" or values.ndim != 2:
        return values
    return _numbers(values, names_of(features), source)


def _numbers(values: NDArray[Any], names: Names | None, source: Path | None) -> NDArray[np.float64]:
    """Return objects or words of shape (rows, columns) as numbers, if they are or spell some."""
    found = np.empty(values.shape, np.float64)
    for place in range(values.shape[1]):
        try:
            found[:, place] = values[:, place].astype(np.float64)
        except (TypeError, ValueError):
            name = f"column {place + 1}" if names is None else f"the column {names[place]!r}"
            raise DataError(_reason(name, values[:, place]), path=source) from None
    return found


def _reason(name: str, column: NDArray[Any]) -> str:
    """Return why a column is not one of numbers, and what to do."""
    row, value = next((row, value) for row, value in enumerate(column.tolist()) if not _is_number(value))
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value == "":
        return (
            f"{name} has no value in row {row + 1}; remove such rows, or fill them in, such as with scikit-learn's "
            "SimpleImputer in a Pipeline"
        )
    shown = f"the text {value[:40]!r}" if isinstance(value, str) else f"a {type(value).__name__}"
    return (
        f"{name} has {shown} in row {row + 1}; a network takes numbers: encode the column, such as with "
        "scikit-learn's OneHotEncoder in a Pipeline, or leave it out"
    )


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
