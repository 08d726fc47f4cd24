"""A trained classifier: it predicts labels from values as they are stored, and lives in one safe file."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, ModelFileError, shown
from manyhands.core.learner import Model
from manyhands.data.columns import Names, names_of, reordered, say_positions
from manyhands.data.dataset import Dataset, Examples, values_in
from manyhands.data.labels import describe_labels, encode, read_labels
from manyhands.data.scaling import Scaling
from manyhands.learners import LEARNERS, make_learner
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.runtime.atomic_files import home_hint, unusable, write_whole
from manyhands.runtime.memory import check_memory, memory_errors_explained

_FORMAT = "manyhands.model/1"
_CHECKSUM = "sha256"
_BUFFERS = "buffers"
_LAYERED = ("mlp", "published")
"""Learners whose blocks are weights and biases of the layers in the settings."""
_PARTS = {
    *("format", "learner", "settings", "classes", "scaling", "name"),
    *("threshold", "columns", _CHECKSUM),  # not in every file
}
"""What a description may have: more may be damage, or change what the rest means."""


@dataclass(frozen=True)
class TrainedModel:
    """A network with its input scaling and the names of its classes.

    Attributes
    ----------
    learner : Model
        Holds the parameters.
    settings : MLPSettings
        Its network.
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
    """

    learner: Model
    settings: MLPSettings
    scaling: Scaling
    classes: NDArray[Any]
    name: str = ""
    feature_names: Names | None = None
    label_name: str | None = None
    kind: str = "mlp"

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
        found = self.learner.predict_proba(self.scaling.table(self.scaling.binarized(rows), labels))
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
            labels = np.zeros(len(values) if values.ndim else 0, np.int64)
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
        from safetensors.numpy import save

        description = {
            "format": _FORMAT,
            "learner": self.kind,
            "settings": json.dumps(asdict(self.settings)),
            "classes": json.dumps(describe_labels(self.classes)),
            "scaling": self.scaling.name,
            "name": self.name.encode(errors="backslashreplace").decode(),  # of a file, it need not be Unicode
        }
        if self.scaling.threshold is not None:
            description["threshold"] = json.dumps(self.scaling.threshold)
        if self.feature_names is not None:
            description["columns"] = json.dumps({"features": self.feature_names, "label": self.label_name})
        buffers = {_BUFFERS: self.learner.buffers} if len(self.learner.buffers) else {}
        tensors = {**self.scaling.vectors(), **self.learner.weights(), **buffers}
        description[_CHECKSUM] = _checksum(description, tensors)
        write_whole(path, _in_one_order(save(tensors, metadata=description)))


def model_of(learner: Model, kind: str, settings: MLPSettings, dataset: Dataset) -> TrainedModel:
    """Return the model that a learner of one of `manyhands.learners.LEARNERS` has become on a data set."""
    return TrainedModel(
        *(learner, settings, dataset.scaling, dataset.classes, dataset.name),
        *(dataset.feature_names, dataset.label_name, kind),
    )


def _checksum(description: Mapping[str, str], tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return a digest of all that a model file says, whatever its order and spelling."""
    texts = {name: text for name, text in description.items() if name != _CHECKSUM}
    facts = {name: [block.dtype.str, block.shape] for name, block in tensors.items()}
    digest = hashlib.sha256(json.dumps([texts, facts], sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()


def _in_one_order(content: bytes) -> bytes:
    """Return a safetensors file with its header sorted: the library's own order changes from process to process."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    # Offsets count from the end of the header, so the tensors themselves may stay as they are.
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


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


def load_model(path: str | Path) -> TrainedModel:
    """Read a model file; it is data, and is checked like data.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged or not a model, or its contents contradict each other; says what.
    """
    if problem := unusable(path):
        raise ModelFileError(f"{shown(path)}: this path cannot be used: {problem}")
    path = Path(path)
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - they never raise
        raise ModelFileError(f"{shown(path)}: it is no ordinary file; give the file of a model")
    description, tensors = _read(path)
    if description.get("format") != _FORMAT:
        raise ModelFileError(f"{path}: not a manyhands model (format {description.get('format')!r})")
    kind = description.setdefault("learner", "mlp")
    if kind not in LEARNERS:
        raise ModelFileError(
            f"{path}: a model of the learner {kind[:40]!r}, which is not known here ({', '.join(LEARNERS)} are); if "
            "it is yours, add it with manyhands.learners.register first"
        )
    if strange := sorted(set(description) - _PARTS):
        raise ModelFileError(f"{path}: damaged, or written by a newer version (it has a part {strange[0][:40]!r})")
    if _CHECKSUM in description and description[_CHECKSUM] != _checksum(description, tensors):
        raise ModelFileError(f"{path}: damaged: its contents do not have the checksum that was written with them")
    try:
        settings = _settings(json.loads(description["settings"]))
        classes = read_labels(json.loads(description["classes"]))
        return _build(settings, classes, tensors, description)
    except KeyError as error:
        raise ModelFileError(f"{path}: the file lacks {error}") from error
    except RecursionError as error:  # JSON nested a thousand deep
        raise ModelFileError(f"{path}: its description is no description") from error
    except ImportError as error:
        raise ModelFileError(f"{path}: its learner {kind} needs a package that is not installed ({error})") from error
    except (ValueError, TypeError, OverflowError) as error:  # SettingsError is a ValueError
        raise ModelFileError(f"{path}: {error}") from error


def _read(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Return a safetensors file's description and arrays."""
    from safetensors import SafetensorError, safe_open

    try:
        if path.exists() and not path.is_file():  # to open a pipe would wait for ever
            raise ModelFileError(f"{path}: no model file but a folder, a device or a pipe")
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ModelFileError(f"{shown(path)}: there is no such file{home_hint(path)}") from error
    except ModelFileError:
        raise
    except (SafetensorError, OSError, TypeError, ValueError, AttributeError) as error:  # last: a type NumPy lacks
        raise ModelFileError(f"{path}: damaged or not a model file ({error})") from error


def _settings(fields: Any) -> MLPSettings:
    """Return the network's settings from JSON, whose types must be those of the fields."""
    if not isinstance(fields, dict):
        raise ValueError("the settings are not a list of names and values")
    fields, defaults = _renamed(fields), asdict(MLPSettings())
    for name, value in fields.items():
        if name not in defaults:
            raise ValueError(f"there is no setting {name!r}")
        wanted = (float, int) if isinstance(defaults[name], float) else (type(defaults[name]),)
        fits = type(value) in wanted
        if name == "hidden":
            fits = isinstance(value, list) and all(type(width) is int for width in value)
        if not fits:
            raise ValueError(f"the setting {name} cannot be {str(value)[:40]!r}")
    return MLPSettings(**{**fields, "hidden": tuple(fields["hidden"])})


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of files in which SGD's momentum was a switch and not an optimizer of its own."""
    if type(fields.get("nesterov")) is not bool:
        return fields
    kept = {name: value for name, value in fields.items() if name != "nesterov"}
    if kept.get("optimizer") == "sgd":
        kept["optimizer"] = "nesterov" if fields["nesterov"] else "momentum"
    return kept


def _columns(text: str | None, count: int) -> tuple[Names | None, str | None]:
    """Return the names of ``count`` features, and of the label's column, from JSON; files without them have none."""
    if text is None:
        return None, None
    described = json.loads(text)
    if not isinstance(described, dict):
        raise ValueError("the names of the columns are no names")
    names, label = described["features"], described["label"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(names) != count:
        raise ValueError(f"the columns are not a list of the names of {count} features")
    if label is not None and not isinstance(label, str):
        raise ValueError("the name of the label's column is no word")
    return tuple(names), label


def _threshold(text: str | None) -> float | None:
    """Return the threshold of binary inputs from JSON; files without one have none."""
    if text is None:
        return None
    value = json.loads(text)
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"the threshold of the inputs cannot be {text[:40]!r}")
    return float(value)


def _build(
    settings: MLPSettings, classes: NDArray[Any], tensors: dict[str, NDArray[Any]], description: Mapping[str, str]
) -> TrainedModel:
    """Check every array against the description before any memory is reserved for it."""
    scale, shift, center = tensors.pop("scale"), tensors.pop("shift"), tensors.pop("center", None)
    kind = description["learner"]
    if kind in _LAYERED:
        _check_layers(settings, len(scale), len(classes), tensors)
    scaling = Scaling(description.get("scaling", ""), scale, shift, _threshold(description.get("threshold")), center)
    if any(block.shape != (len(scale),) or block.dtype != np.float64 for block in scaling.vectors().values()):
        raise ValueError("scale, shift and center must be float64 vectors of one length")
    if center is not None and scaling.threshold is not None:
        raise ValueError("binary inputs have no center")
    for name, block in {**scaling.vectors(), **tensors}.items():
        # What has a center is scaled in double precision.
        dtype = settings.dtype if center is None or name in tensors else np.float64
        if not (np.abs(block) <= np.finfo(dtype).max).all():  # NaN is not either
            raise ValueError(f"{name} has values that are not finite")
    buffers = tensors.pop(_BUFFERS, np.zeros(0, settings.dtype))
    learner = make_learner(kind, settings, len(scale), len(classes))
    learner.load_weights(tensors)
    if buffers.shape != learner.buffers.shape or buffers.dtype != learner.buffers.dtype:
        raise ValueError(f"the file has {buffers.shape} buffers, the learner {kind} {learner.buffers.shape}")
    learner.buffers[:] = buffers
    columns = _columns(description.get("columns"), len(scale))
    return TrainedModel(learner, settings, scaling, classes, description.get("name", ""), *columns, kind)


def _check_layers(settings: MLPSettings, features: int, classes: int, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Check that the arrays are those of the network's layers."""
    if (count := len(tensors[f"biases.{len(settings.hidden)}"])) != classes:
        raise ValueError(f"the network has {count} classes, the list {classes}")
    widths = [features, *settings.hidden, classes]
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        for name, shape in ((f"weights.{layer}", (inputs, outputs)), (f"biases.{layer}", (outputs,))):
            block = tensors[name]
            if block.shape != shape or block.dtype != settings.dtype:
                raise ValueError(
                    f"{name} is {block.dtype} of shape {block.shape}; "
                    f"the network needs {settings.dtype} of shape {shape}"
                )
    if len(tensors) != 2 * (len(widths) - 1):
        raise ValueError("the file has more arrays than the network has layers")
