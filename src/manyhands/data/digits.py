"""The 1,797 digits of 8 x 8 pixels that come inside scikit-learn.

They are read from scikit-learn's file and split as its `train_test_split` would do it (a test compares them), without
importing scikit-learn, which would take longer than everything else of a small run together.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import MissingDataError
from manyhands.data.dataset import Examples

_TEST_SHARE = 0.2
_PLACE = ("datasets", "data", "digits.csv.gz")


def read_digits() -> tuple[Examples, Examples]:
    """Return training and test rows, split 80/20, stratified, always in the same way.

    Raises
    ------
    MissingDataError
        If scikit-learn is not installed, or keeps its digits elsewhere.
    """
    table = _table()
    features, labels = table[:, :-1].astype(np.uint8), table[:, -1].astype(np.int64)
    kept, drawn = _split(labels, int(np.ceil(_TEST_SHARE * len(labels))), seed=0)
    return Examples(features[kept], labels[kept]), Examples(features[drawn], labels[drawn])


def _table() -> NDArray[Any]:
    found = importlib.util.find_spec("sklearn")
    folders = [] if found is None else list(found.submodule_search_locations or [])
    for folder in folders:
        path = Path(folder).joinpath(*_PLACE)
        if path.is_file():
            with gzip.open(path, "rt") as file:
                return np.loadtxt(file, delimiter=",", dtype=np.uint8)
    raise MissingDataError("scikit-learn's digits are not installed; install scikit-learn, or use other data")


def _split(labels: NDArray[np.int64], test: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of training and test rows, as scikit-learn's StratifiedShuffleSplit draws them."""
    rng = np.random.RandomState(seed)
    _, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rows_of = np.split(np.argsort(numbers, kind="stable"), np.cumsum(counts)[:-1])
    to_train = _in_proportion(counts, len(labels) - test, rng)
    to_test = _in_proportion(counts - to_train, test, rng)
    kept: list[int] = []
    drawn: list[int] = []
    for rows, first, second in zip(rows_of, to_train, to_test, strict=True):
        shuffled = rows[rng.permutation(len(rows))]
        kept.extend(shuffled[:first])
        drawn.extend(shuffled[first : first + second])
    return rng.permutation(kept), rng.permutation(drawn)


def _in_proportion(counts: NDArray[np.int64], total: int, rng: Any) -> NDArray[np.int64]:
    """Return how many of each class make ``total`` rows in proportion; ties for the last rows are broken at random."""
    exact = counts / counts.sum() * total
    chosen = np.floor(exact)
    missing = int(total - chosen.sum())
    for remainder in np.sort(np.unique(exact - chosen))[::-1]:
        if missing == 0:
            break
        (alike,) = np.where(exact - np.floor(exact) == remainder)
        more = rng.choice(alike, size=min(len(alike), missing), replace=False)
        chosen[more] += 1
        missing -= len(more)
    result: NDArray[np.int64] = chosen.astype(np.int64)
    return result
