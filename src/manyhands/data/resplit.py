"""Other divisions of the rows of a data set: random training/test splits, and first rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from manyhands.core.samples import Samples
from manyhands.data.dataset import Dataset
from manyhands.data.scaling import make_scaling
from manyhands.data.split import divide, for_validation


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


def as_stored(dataset: Dataset) -> Dataset:
    """Return the data set with its values as they are stored, for learners of counts; binary inputs stay binary."""
    if dataset.scaling.threshold is not None or dataset.scaling.name == "none":
        return dataset
    scaling = make_scaling("none", dataset.train.features)

    def stored(table: Samples) -> Samples:
        return scaling.table(**table.arrays(), **table.facts())

    validation = None if dataset.validation is None else stored(dataset.validation)
    return replace(
        dataset, train=stored(dataset.train), test=stored(dataset.test), validation=validation, scaling=scaling
    )


def held_out(dataset: Dataset) -> Dataset:
    """Return the data set for choices: with validation samples in the place of the test samples.

    If it has none, a sixth of the training samples is held out, stratified, always the same ones.

    Raises
    ------
    DataError
        If a class has too few samples to be in both parts.
    """
    if dataset.validation is not None:
        return replace(dataset, test=dataset.validation, validation=None)
    dataset.check_in_memory("a choice on validation samples")
    train, validation = for_validation(dataset.train.labels, dataset.rows, "auto")
    return replace(dataset, train=dataset.train.take(train), test=dataset.train.take(validation))
