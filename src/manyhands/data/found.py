"""What a reader of a data set has found: samples with their name and source, for training and testing or for both."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from manyhands.core.errors import DataError, SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.randomness import generator
from manyhands.data.checks import check_finite
from manyhands.data.examples import Examples
from manyhands.data.label_checks import doubt_about
from manyhands.data.split import divide

DEFAULT_TEST_SIZE = 0.2


class Found(NamedTuple):
    """Samples with their name and source, and how many rows to use by default; ``seconds`` is the time of reading.

    ``test`` is None where there is one table for both: see :func:`divided`.
    """

    name: str
    train: Examples
    test: Examples | None
    note: str
    seconds: float
    default_rows: int | None = None


def read_timed(name: str, note: str, reader: Callable[[], tuple[Examples, Examples | None]]) -> Found:
    """Read samples, and time it: not finding files, downloading them or importing a reader."""
    start = time.perf_counter()
    train, test = reader()
    return Found(name, train, test, note, time.perf_counter() - start)


def divided(found: Found, test_size: float | int | None, seed: int) -> Found:
    """Return training and test rows of one table: stratified, the same for the same seed.

    Parameters
    ----------
    found
        The table; one with test rows of its own is returned as it is.
    test_size
        Share or number of the test rows; None for a fifth.
    seed
        Of the run.

    Raises
    ------
    SettingsError
        If a size is given and there are test rows, or no rows are left for training.
    DataError
        If a class has too few rows to be in both parts.
    """
    if found.test is not None:
        if test_size is not None:
            given = parameter("test_size", test_size)
            raise SettingsError(f"{given}: {found.name} has test rows of its own; leave it out")
        return found
    size = DEFAULT_TEST_SIZE if test_size is None else test_size
    rows = len(found.train)
    count = math.ceil(size * rows) if isinstance(size, float) else size
    if not 1 <= count < rows:
        raise SettingsError(
            f"{parameter('test_size', size)}: of the {rows} rows of {found.name}, 1 to {rows - 1} can be test rows"
        )
    _check_classes(found.train, count)
    check_finite(found.train.flat(), found.train.place)  # while the rows have the numbers that they have in the file
    kept, drawn = divide(found.train.labels, count, "test rows", seed)
    # Many files are sorted by class; the first rows, which train_size takes, should be of all.
    kept = generator(seed, "order of training rows").permutation(kept)
    share = f"{100 * size:g} % of the rows" if isinstance(size, float) else f"{count} rows"
    note = f"{found.note}; {share} drawn for testing, {parameter('seed', seed)}"
    return found._replace(train=found.train.take(kept), test=found.train.take(drawn), note=note)


def _check_classes(table: Examples, count: int) -> None:
    """Check that each class can be in both parts."""
    classes, sizes = np.unique(table.labels, return_counts=True)
    label, size = classes[np.argmin(sizes)], int(sizes.min())
    few = min(count, len(table) - count)
    if size >= 2 and len(classes) <= few:
        return
    what = (
        f"the class {label} has one row only, and cannot be in both"
        if size < 2
        else f"there are {len(classes)} classes, more than the {few} rows of one part"
    )
    doubt = doubt_about(classes, table.labels, table.table, table.label_source)
    remedy = "; remove such rows, or give training and test rows apart" if doubt is None else f"; {doubt}"
    raise DataError(f"the rows cannot be divided into training and test rows: {what}{remedy}", path=table.source)
