"""Samples that a program has in memory: ``(X, y)``, to be divided, or ``(X_train, y_train, X_test, y_test)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from manyhands.core.errors import DataError, SettingsError
from manyhands.data.checks import check_finite
from manyhands.data.checksum import checksum_of
from manyhands.data.dataset import Examples

FORMS = "(X, y) or (X_train, y_train, X_test, y_test)"
_ONE, _TWO = ("X", "y"), ("X_train", "y_train", "X_test", "y_test")


@dataclass(frozen=True, eq=False)
class Arrays:
    """Samples in memory: to train on and, if they are apart, to test with.

    Attributes
    ----------
    train : Examples
        All samples, if ``test`` is None.
    test : Examples or None
        Those of the test.
    """

    train: Examples
    test: Examples | None = None

    def facts(self) -> str:
        """Return, as text, what is the same for equal arrays, and hardly for others."""
        tables = [each for each in (self.train, self.test) if each is not None]
        return "; ".join(
            f"{len(each)} rows, checksum {checksum_of(each.labels, checksum_of(each.features)):08x}" for each in tables
        )


def arrays_of(data: Sequence[Any]) -> Arrays:
    """Return the samples of a tuple of arrays, lists or tables: one of :data:`FORMS`, or of two pairs, as Keras's.

    Columns of DataFrames are found by their names.

    Raises
    ------
    SettingsError
        If there are not two or four of them, or they are in scikit-learn's order.
    DataError
        If they are no samples and labels; names the one at fault.
    """
    parts = list(data)
    if len(parts) == 2 and all(isinstance(each, tuple) and len(each) == 2 for each in parts):
        parts = [*parts[0], *parts[1]]
    if len(parts) not in (2, 4):
        raise SettingsError(f"data in memory are {FORMS}; this is a {type(data).__name__} of {len(parts)}")
    if len(parts) == 2:
        return Arrays(_examples(parts, _ONE))
    if np.ndim(parts[1]) > 1 == np.ndim(parts[2]):
        raise SettingsError(
            "data in memory are in the order (X_train, y_train, X_test, y_test); train_test_split of scikit-learn "
            "returns X_train, X_test, y_train, y_test"
        )
    return Arrays(_examples(parts[:2], _TWO[:2]), _examples(parts[2:], _TWO[2:]))


def _examples(parts: Sequence[Any], names: Sequence[str]) -> Examples:
    """Return samples and their labels; what is wrong with one names it, as it would name a file."""
    features, labels = parts
    for part, name in zip(parts, names, strict=True):
        if isinstance(part, str | bytes | Path | dict) or not (hasattr(part, "__len__") or hasattr(part, "__array__")):
            raise DataError(f"this is a {type(part).__name__}; give an array, a list or a table", path=name)
    try:
        dimensions = np.ndim(features)
    except ValueError:  # a list of lists of different lengths
        dimensions = 2
    if dimensions == 1 and len(features):
        raise DataError("one dimension only; of one feature, use X.reshape(-1, 1)", path=names[0])
    examples = Examples(features, labels, Path(names[1]), features_source=Path(names[0]))
    check_finite(examples.flat(), examples.place)  # here, where rows have their own numbers: they may be drawn
    return examples
