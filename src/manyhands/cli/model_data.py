"""Test samples for a model file: those that are asked for, or else those of the data it was trained with."""

from __future__ import annotations

import argparse
import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from manyhands.cli import options as shared
from manyhands.core.errors import MissingDataError, SettingsError, shown
from manyhands.core.parameters import parameter

if TYPE_CHECKING:
    from manyhands.data.catalog import DataRequest
    from manyhands.data.dataset import Examples
    from manyhands.data.origin import Origin
    from manyhands.data.parts.loading import TestRows
    from manyhands.training.model import TrainedModel

_EARLIER = ("mnist", "digits", "letters", "cifar10", "cifar100")
"""Data sets that files of earlier versions may name as what the model was trained on."""


def test_samples(options: argparse.Namespace, model: TrainedModel) -> tuple[Examples | TestRows, str]:
    """Return the test samples, and what they are if they were found by the model alone; those in parts stay there.

    If they have changed since the training, that is said.

    Raises
    ------
    SettingsError
        If none are asked for, and the model does not know its own.
    DataError
        If they are not there, or cannot be used.
    """
    from manyhands.data.catalog import load_test, parted_test

    if (options.data, options.csv, options.test_csv) != (None, None, None):
        options.label_column = _label_column(options, model)
        asked = shared.spec_of(options).request(*shared.data_of(options))
        return parted_test(asked) or load_test(asked), ""
    request = _own_request(options, model)
    name = shown(request.test_csv or request.csv or str(request.data))
    try:
        parted = parted_test(request, kept=True)
        examples = parted or load_test(request, kept=True)
    except MissingDataError as error:
        raise MissingDataError(f"the test samples of the model's training are not there: {error}; {_give()}") from error
    if model.origin is not None and (change := _change(model.origin, examples)):
        logging.getLogger("manyhands").warning("%s was changed since the model was trained: %s", name, change)
    return examples, f"{name}, the test samples of the model's training"


def _change(origin: Origin, examples: Examples | TestRows) -> str | None:
    """Return, in words, how test samples differ from those of the training; None if they do not."""
    from manyhands.data.dataset import Examples

    if isinstance(examples, Examples):
        return origin.change(examples.features, examples.labels)
    return None if origin.checksum == examples.checksum else "its parts have other checksums now than then"


def _own_request(options: argparse.Namespace, model: TrainedModel) -> DataRequest:
    """Return the request for the test samples of the model's training."""
    from manyhands.data.catalog import DataRequest, test_request

    if model.origin is None:
        if model.name not in _EARLIER:
            raise SettingsError(f"{options.model} does not say where its data came from; {_give()}")
        request = DataRequest(model.name)
    else:
        found = test_request(model.origin)
        if found is None:
            raise SettingsError(f"{options.model} was trained with arrays in memory; {_give()}")
        request = found
    names = ("labels", "label_column", "delimiter", "test_size", "seed")
    chosen = {name: getattr(options, name, None) for name in names}
    return replace(request, **{name: value for name, value in chosen.items() if value is not None})


def _give() -> str:
    return f"give test samples ({parameter('data')}, {parameter('csv')} or {parameter('test_csv')})"


def _label_column(options: argparse.Namespace, model: TrainedModel) -> str | None:
    """Return the column of the labels: the one asked for, else that of the training rows, else the first."""
    chosen: str | None = options.label_column
    from manyhands.data.catalog import csv_of

    path = options.test_csv or options.csv or csv_of(options.data or "")
    if chosen is None and path and model.label_name:
        from manyhands.data.csv.header import find_layout

        with contextlib.suppress(SettingsError):  # it has no such column; what is wrong with the file is said later
            find_layout(path, model.label_name, options.delimiter)
            return model.label_name
    return chosen
