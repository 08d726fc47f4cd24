"""Other divisions of the rows of a data set: random training/test splits, and first rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from manyhands.core.samples import Samples
from manyhands.data.dataset import Dataset
from manyhands.data.scaling import make_scaling
from manyhands.data.split import divide


def resplit(dataset: Dataset, number: int) -> Dataset:
    """Return random split ``number`` of the data set, stratified, with the same numbers of rows.

    Training and test rows are drawn from both. If there are validation rows, choices are made: then training and
    validation rows are drawn from both, and the test rows stay as they are.

    Parameters
    ----------
    dataset
        With all rows in this process.
    number
        0 or larger; the split is a function of it alone.

    Raises
    ------
    DataError
        If a class has too few rows to be in both parts.
    """
    dataset.check_in_memory("another split")
    other = dataset.test if dataset.validation is None else dataset.validation
    further = other.arrays()
    joined = {name: np.concatenate([array, further[name]]) for name, array in dataset.train.arrays().items()}
    everything = dataset.train.with_arrays(joined)
    kept, drawn = divide(everything.labels, other.rows, "split", number)
    # Means and deviations belong to the rows they come from; what bytes are divided by does not.
    scaling = (
        make_scaling("standard", everything.features[kept]) if dataset.scaling.name == "standard" else dataset.scaling
    )

    def scaled(table: Samples) -> Samples:
        return scaling.table(**table.arrays(), **table.facts())

    second = scaled(everything.take(drawn))
    return replace(
        dataset,
        train=scaled(everything.take(kept)),
        validation=None if dataset.validation is None else second,
        test=second if dataset.validation is None else scaled(dataset.test),
        scaling=scaling,
        note=f"{dataset.note}, random split {number}",
    )


def head(dataset: Dataset, rows: int) -> Dataset:
    """Return the data set with its first ``rows`` training rows only, scaled as the whole."""
    dataset.check_in_memory("a part of the rows")
    return replace(dataset, train=dataset.train.take(slice(rows)))
