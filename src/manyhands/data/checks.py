"""Checks of the values of features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError

_LARGEST = 1e150  # a sum of such squares over all rows is a finite double


def check_sizes(features: NDArray[Any], source: Path | None = None) -> None:
    """Refuse values that cannot be standardized because no double can hold their squares."""
    if features.dtype != np.float64:
        return
    wrong = (features.max(axis=0) > _LARGEST) | (features.min(axis=0) < -_LARGEST)
    if wrong.any():
        raise DataError(
            f"feature {int(np.argmax(wrong)) + 1} has values beyond {_LARGEST:g}, too large to be standardized; divide "
            "it by a constant, in all files",
            path=source,
        )


def check_finite(
    features: NDArray[Any],
    source: Path | None = None,
    numbers: slice | NDArray[np.int64] | None = None,
    *,
    first_row: int = 0,
) -> None:
    """Refuse floats that are not finite; the error names the first by its row's number in the file."""
    if features.dtype == np.uint8:
        return
    wrong = ~np.isfinite(features)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        number = first_row + (numbers[row] if isinstance(numbers, np.ndarray) else row)
        raise DataError(
            f"row {number + 1}, feature {column + 1} is {features[row, column]}, not a finite number",
            path=source,
        )
