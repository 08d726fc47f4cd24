"""Which column looks like the label, for messages about one that does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from manyhands.core.parameters import parameter

PIPELINE = (
    "encode words and fill in missing cells with a scikit-learn Pipeline (OneHotEncoder, SimpleImputer) and "
    "MLPClassifier, see docs/guide.md, 'Text columns and missing cells'"
)
"""What to do about features that are no numbers."""
MISSING = frozenset(("", "?", "-", "--", "na", "n/a", "nan", "null", "none", "missing"))
"""What stands in cells without a value, in lower case."""
_NAMES = frozenset(
    ("label", "labels", "class", "classes", "target", "targets", "species", "y", "category", "outcome", "diagnosis",
     "digit", "letter", "quality")
)  # fmt: skip
_MOST_CLASSES, _FEW_CLASSES = 30, 10
_MOST_COLUMNS = 100  # of more, such as pixels, the last one may well have few values
_SAMPLE = 10_000  # rows


def column_text(number: int, name: str | None) -> str:
    """Return what messages call a column of a file, numbered from 0 as for the parameter ``label_column``."""
    return f"column {number} ({'from 0' if name is None else repr(name) if name else 'without a name'})"


def is_label_name(name: str | None) -> bool:
    """Return whether a column's name says that it is the label."""
    return name is not None and name.strip().strip("_").lower() in _NAMES


def likely_label(
    features: NDArray[np.generic], names: Sequence[str] | None, columns: Sequence[int] | None
) -> str | None:
    """Return which feature looks like the label, and how to say so: its column by number and name, and the parameter.

    Parameters
    ----------
    features : ndarray of shape (rows, features)
        The features as stored.
    names, columns
        Their names, and their columns' numbers in the file; None if there are none.

    Returns
    -------
    str or None
        None if none does, or they have no columns: what is named like a label, else the last column if it has few,
        consecutive whole values.
    """
    if columns is None or features.ndim != 2:
        return None
    rows = features[:_SAMPLE]
    named = [] if names is None else [place for place, name in enumerate(names) if is_label_name(name)]
    found = next((place for place in named if _classes_in(rows[:, place]) <= _MOST_CLASSES), None)
    if found is None and len(columns) <= _MOST_COLUMNS and _classes_in(rows[:, -1]) <= _FEW_CLASSES:
        found = len(columns) - 1
    if found is None:
        return None
    name = None if names is None else names[found]
    value = columns[found] if name is None else name
    return f"{column_text(columns[found], name)} looks like the label: {parameter('label_column', value)}"


def _classes_in(column: NDArray[np.generic]) -> float:
    """Return how many classes a column would have: infinite unless they are consecutive and none is rare."""
    values, counts = np.unique(column, return_counts=True)
    numbers = values.astype(np.float64)
    if len(values) < 2 or (np.diff(numbers) != 1).any() or numbers[0] != np.rint(numbers[0]):
        return np.inf
    return len(values) if counts.min() >= max(2, 0.02 * len(column)) else np.inf
