"""A trained classifier: it predicts labels from values as they are stored, and lives in one safe file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError
from manyhands.core.html import facts
from manyhands.core.learner import Model
from manyhands.core.shapes import shape_text
from manyhands.data.columns import Names, names_of, reordered, say_positions
from manyhands.data.dataset import Dataset, Examples
from manyhands.data.labels import describe_labels, encode, named
from manyhands.data.origin import Origin
from manyhands.data.scaling import Scaling
from manyhands.data.values import values_in
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.learners.sums.settings import SumsSettings, own_settings, settings_text
from manyhands.runtime.memory import check_memory, memory_errors_explained
from manyhands.training.model_file import write_file
from manyhands.training.plan import Plan

_MOST_NAMED = 8
OF_SUMS = "model."
"""What stands in files before the names of arrays of learners that are made of sums."""


@dataclass(frozen=True)
class TrainedModel:
    """A network with its input scaling and the names of its classes.

    Attributes
    ----------
    learner : Model
        Holds the parameters.
    settings : MLPSettings
        Its network; of a learner that is made of sums, nothing but the dtype that inputs must fit into.
    scaling : Scaling
        How stored values become inputs.
    classes : ndarray of shape (K,), bool, integer, floating or str
        Label of each class number.
    name : str
        What it was trained on.
    feature_names : tuple of str or None
        Names of the columns it was trained on, if they had any.
    label_name : str or None
        Name of the column that the labels were in.
    kind : str
        Name of the learner, one of `manyhands.learners.LEARNERS`.
    sample_shape : tuple of int
        Shape of one sample, such as (1, 28, 28) for images; empty for rows of features.
    origin : Origin or None
        Where its data came from, if that is known.
    sums : SumsSettings or None
        What was set about a learner that is made of sums.
    """

    learner: Model
    settings: MLPSettings
    scaling: Scaling
    classes: NDArray[Any]
    name: str = ""
    feature_names: Names | None = None
    label_name: str | None = None
    kind: str = "mlp"
    sample_shape: tuple[int, ...] = ()
    origin: Origin | None = None
    sums: SumsSettings | None = None

    def __repr__(self) -> str:
        return f"TrainedModel({self.network}, trained on {self.name or 'unknown data'}, classes {named(self.classes)})"

    def _repr_html_(self) -> str:
        return facts("Trained model", self._facts())

    def _facts(self) -> dict[str, str]:
        """Return what it is, for readers."""
        shape = self.sample_shape or (len(self.scaling.scale),)
        names = {} if self.feature_names is None else {"features": ", ".join(self.feature_names[:_MOST_NAMED])}
        if self.feature_names is not None and len(self.feature_names) > _MOST_NAMED:
            names["features"] += f", ... ({len(self.feature_names)} in all)"
        return {
            "network": self.network,
            "trained on": self.name or "unknown data",
            "sample": shape_text(shape),
            **names,
            "classes": named(self.classes),
            "inputs": self.scaling.name,
        }

    @property
    def network(self) -> str:
        """The network in a few words, such as ``mlp 784-75-10 relu``."""
        if self.sums is not None:
            return settings_text(self.kind, self.sums)
        if not self.learner.layered:
            return self.kind
        widths = [len(self.scaling.scale), *self.settings.hidden, len(self.classes)]
        return f"{self.kind} {'-'.join(map(str, widths))} {self.settings.activation}"

    @memory_errors_explained("the prediction")
    def predict_proba(self, features: Any) -> NDArray[Any]:
        """Return class probabilities of shape (rows, K).

        Parameters
        ----------
        features : array-like of shape (rows, ...), DataFrame or Examples
            Values as they are stored, e.g. pixels from 0 to 255; they are scaled, or made binary, here. If both these
            columns and those of the training rows have names, they may stand in any order.

        Raises
        ------
        DataError
            If the number of features is not the network's, a column is missing or strange, a value is not finite, or
            the result is not.
        OutOfMemoryError
            If there is not enough memory for so many rows at once.
        """
        rows = self._rows(features)
        expected = len(self.scaling.scale)
        if rows.shape[1] != expected:
            raise DataError(f"the model takes {expected} features per row, these have {rows.shape[1]}")
        size = rows.size * (1 if rows.dtype == np.uint8 else rows.itemsize) + 8 * len(rows) * len(self.classes)
        check_memory(size, f"a prediction for {len(rows):,} rows", "predict fewer at a time")
        if rows.dtype != np.uint8:
            if not np.isfinite(rows).all():
                raise DataError("the features contain values that are not finite")
            if not self.scaling.largest_input(rows) <= float(np.finfo(self.settings.dtype).max):
                raise DataError(
                    f"the features contain values that are not finite {self.settings.dtype} numbers, or become such "
                    "by the model's scaling"
                )
        labels = np.zeros(len(rows), np.int32)
        table = self.scaling.table(self.scaling.binarized(rows), labels, sample_shape=self.sample_shape)
        found = self.learner.predict_proba(table)
        wrong = ~np.isfinite(found).all(axis=1)
        if wrong.any():
            raise DataError(
                f"row {int(np.argmax(wrong)) + 1}: the probabilities are not finite numbers ({int(wrong.sum())} such "
                "rows): its values, or the model's scaling or weights, are too large"
            )
        return found

    def in_order(self, examples: Examples) -> Examples:
        """Return examples with their columns in the order of the training rows', if both have names.

        Raises
        ------
        DataError
            If a column is missing or strange.
        """
        order = reordered(examples.flat(), examples.feature_names, self.feature_names, examples.source)
        if examples.feature_names in (None, self.feature_names) or self.feature_names is None:
            return examples
        return replace(examples, features=order, feature_names=self.feature_names)

    def _rows(self, features: Any) -> NDArray[Any]:
        """Return features with shape (rows, features), in the order of the training rows' columns."""
        if not isinstance(features, Examples):
            values = values_in(features)
            if values.ndim < 2:
                what = f"a {type(features).__name__}" if values.ndim == 0 else f"of the shape {values.shape}"
                raise DataError(f"features are {what}; give rows, shape (rows, features), and one row as [row]")
            labels = np.zeros(len(values), np.int64)
            features = Examples(values, labels, feature_names=names_of(features))
        if features.source is not None:
            say_positions(features.feature_names, self.feature_names, "the test rows")
        return reordered(features.flat(), features.feature_names, self.feature_names, features.source)

    def predict(self, features: Any) -> NDArray[Any]:
        """Return the label of the most probable class of each row, shape (rows,)."""
        labels: NDArray[Any] = self.classes[self.predict_proba(features).argmax(axis=1)]
        return labels

    def accuracy(self, examples: Examples) -> float:
        """Return the share of ``examples`` classified correctly, 0..1.

        Raises
        ------
        DataError
            If the features do not fit or a label is none of the model's classes.
        """
        return float(self.correct(examples).mean())

    def score(self, features: Any, labels: Any) -> float:
        """Return the share of rows classified correctly, 0..1, as scikit-learn's classifiers do.

        Parameters
        ----------
        features : array-like of shape (rows, ...) or DataFrame
            As for :meth:`predict`.
        labels : array-like of shape (rows,)
            The true ones.

        Raises
        ------
        DataError
            As :meth:`accuracy`.
        """
        return self.accuracy(Examples(features, labels))

    def correct(self, examples: Examples) -> NDArray[np.bool_]:
        """Return, for each of ``examples``, whether it is classified correctly.

        Raises
        ------
        DataError
            As :meth:`accuracy`.
        """
        probabilities = self.predict_proba(examples)  # first: it checks that the features fit at all
        found: NDArray[np.bool_] = probabilities.argmax(axis=1) == encode(
            examples.labels, self.classes, examples.source
        )
        return found

    def save(self, path: str | Path) -> None:
        """Write the model as a safetensors file: weights, scaling and a description, no code.

        Raises
        ------
        DataError
            If its classes have labels that no file can hold; those of a `Dataset` are none of them.
        OutputError
            If it cannot be written; nothing half-written is left.
        """
        settings = asdict(self.settings) if self.sums is None else own_settings(self.kind, self.sums)
        description = {
            "learner": self.kind,
            "settings": json.dumps(settings),
            "classes": json.dumps(describe_labels(self.classes)),
            "scaling": self.scaling.name,
            "name": self.name.encode(errors="backslashreplace").decode(),  # of a file, it need not be Unicode
        }
        if self.scaling.threshold is not None:
            description["threshold"] = json.dumps(self.scaling.threshold)
        if self.feature_names is not None:
            description["columns"] = json.dumps({"features": self.feature_names, "label": self.label_name})
        if len(self.sample_shape) > 1:
            description["shape"] = json.dumps(self.sample_shape)
        if self.origin is not None:
            description["origin"] = json.dumps(self.origin.to_json())
        before = "" if self.sums is None else OF_SUMS  # such learners give their arrays any names, "center" too
        weights = {f"{before}{name}": block for name, block in self.learner.weights().items()}
        tensors = {**self.scaling.vectors(), **weights}
        write_file(path, description, tensors)


def model_of(learner: Model, plan: Plan, dataset: Dataset) -> TrainedModel:
    """Return the model that the learner of a plan has become on a data set."""
    return TrainedModel(
        *(learner, plan.model_settings, dataset.scaling, dataset.classes, dataset.name),
        *(dataset.feature_names, dataset.label_name, plan.learner, dataset.train.sample_shape, dataset.origin),
        plan.sums if plan.needs.sums else None,
    )


def accuracy(probabilities: NDArray[Any], labels: NDArray[np.int32]) -> float:
    """Return the share of rows whose most probable class is the label, 0..1."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def scores(probabilities: NDArray[Any], labels: NDArray[np.int32]) -> tuple[float, float]:
    """Return loss and accuracy: the mean of -log(probability of the label), and :func:`accuracy`.

    As in scikit-learn's log_loss, a probability of 0 counts as the smallest step from 1.
    """
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    smallest = float(np.finfo(probabilities.dtype).eps)
    return float(-np.log(np.maximum(own, smallest)).mean()), accuracy(probabilities, labels)
