"""Validation rows of a training set, and stratified divisions of rows.

The test rows are for reporting. Everything that is chosen by scores (a network, a number of epochs) is chosen on
validation rows, which no training has seen either.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from manyhands.core.checks import whole
from manyhands.core.errors import DataError, SettingsError
from manyhands.core.randomness import generator

_SHARE = 6
"""One of so many rows is kept for validation, if training uses all rows."""
_ENOUGH = 10_000


def for_validation(
    labels: NDArray[np.generic], rows: int, wanted: int | Literal["auto"]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose the rows to train on and those to validate with, all from the training set.

    Rows behind the first ``rows``, which training does not use, are taken if there are enough. Else some of the first
    ``rows`` are set aside, stratified, always the same ones.

    Parameters
    ----------
    labels : ndarray of shape (available,)
        Of the whole training set.
    rows
        Number of first rows to train on.
    wanted
        Number of validation rows. ``"auto"``: up to 10,000 of the unused ones, if these are at least a sixth of
        ``rows``; else a sixth is set aside.

    Returns
    -------
    train, validation : ndarray of int
        Row numbers, ascending.

    Raises
    ------
    SettingsError
        If fewer than one row would be left to either.
    DataError
        If a class has a single row.
    """
    unused = len(labels) - rows
    automatic = min(unused, _ENOUGH) if unused * _SHARE >= rows else rows // _SHARE
    number = automatic if wanted == "auto" else whole("the number of validation rows, if not 'auto',", wanted)
    if unused >= number > 0:
        return np.arange(rows), np.arange(rows, rows + number)
    if not 1 <= number < rows:
        possible = f"ask for 1 to {rows - 1}" if rows > 1 else "there is one row only"
        raise SettingsError(f"{number} of {rows} training rows cannot be kept for validation: {possible}")
    return divide(labels[:rows], number, "validation", 0)


def divide(
    labels: NDArray[np.generic], second: int, purpose: str, number: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide rows at random into two stratified parts; return the row numbers of each, ascending."""
    from sklearn.model_selection import train_test_split

    state = int(generator(number, purpose).integers(2**32))
    try:
        parts = train_test_split(np.arange(len(labels)), test_size=second, stratify=labels, random_state=state)
    except ValueError as error:
        raise DataError(f"the rows cannot be divided into {len(labels) - second} and {second}: {error}") from error
    one, other = (np.sort(part) for part in parts)
    missing = np.setdiff1d(labels, labels[one])
    if len(missing):
        raise DataError(
            f"the rows cannot be divided into {len(one)} and {len(other)}: too few of class {missing[0]} to be in both"
        )
    return one, other
