"""A trained classifier: it predicts labels from values as they are stored, and lives in one safe file."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.data.dataset import Examples, encode
from manyhands.data.scaling import Scaling
from manyhands.errors import DataError, ModelFileError, shown
from manyhands.files import home_hint, unusable, write_whole
from manyhands.learners.mlp.network import MLPSettings
from manyhands.protocols import Learner, Table

_FORMAT = "manyhands.model/1"
_LONGEST_LABEL = 1000  # characters; every label takes the longest one's room


@dataclass(frozen=True)
class TrainedModel:
    """A network with its input scaling and the names of its classes.

    Attributes
    ----------
    learner : Learner
        Holds the parameters.
    settings : MLPSettings
        Its network.
    scaling : Scaling
        How stored values become inputs.
    classes : ndarray of shape (K,), integer or str
        Label of each class number.
    name : str
        What it was trained on.
    """

    learner: Learner
    settings: MLPSettings
    scaling: Scaling
    classes: NDArray[Any]
    name: str = ""

    def predict_proba(self, features: NDArray[Any]) -> NDArray[Any]:
        """Return class probabilities of shape (rows, K).

        Parameters
        ----------
        features : ndarray of shape (rows, ...)
            Values as they are stored, e.g. pixels from 0 to 255; they are scaled, or made binary, here.

        Raises
        ------
        DataError
            If the number of features is not the network's, or a value is not finite.
        """
        rows = Examples(np.asarray(features), np.zeros(len(features), np.int64)).flat()
        expected = len(self.scaling.scale)
        if rows.shape[1] != expected:
            raise DataError(f"the model takes {expected} features per row, these have {rows.shape[1]}")
        # What is compared with a threshold never becomes a number of the network's dtype.
        dtype = rows.dtype if self.scaling.threshold is not None else np.dtype(self.settings.dtype)
        if rows.dtype != np.uint8 and not (np.abs(rows) <= np.finfo(dtype).max).all():
            raise DataError(f"the features contain values that are not finite {dtype} numbers")
        inputs = self.scaling.binarized(rows)
        return self.learner.predict_proba(
            Table(inputs, np.zeros(len(inputs), np.int32), self.scaling.scale, self.scaling.shift)
        )

    def predict(self, features: NDArray[Any]) -> NDArray[Any]:
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
        probabilities = self.predict_proba(examples.features)  # first: it checks that the features fit at all
        found: NDArray[np.bool_] = probabilities.argmax(axis=1) == encode(
            examples.labels, self.classes, examples.source
        )
        return found

    def save(self, path: str | Path) -> None:
        """Write the model as a safetensors file: weights, scaling and a description, no code.

        Raises
        ------
        OutputError
            If it cannot be written; nothing half-written is left.
        """
        from safetensors.numpy import save

        kind = "str" if self.classes.dtype.kind == "U" else "int"
        description = {
            "format": _FORMAT,
            "learner": "mlp",
            "settings": json.dumps(asdict(self.settings)),
            "classes": json.dumps({"kind": kind, "labels": self.classes.tolist()}),
            "scaling": self.scaling.name,
            "name": self.name,
        }
        if self.scaling.threshold is not None:
            description["threshold"] = json.dumps(self.scaling.threshold)
        tensors = {"scale": self.scaling.scale, "shift": self.scaling.shift, **self.learner.weights()}
        write_whole(path, _in_one_order(save(tensors, metadata=description)))


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
    try:
        settings = _settings(json.loads(description["settings"]))
        classes = _classes(json.loads(description["classes"]), len(tensors[f"biases.{len(settings.hidden)}"]))
        return _build(settings, classes, tensors, description)
    except KeyError as error:
        raise ModelFileError(f"{path}: the file lacks {error}") from error
    except RecursionError as error:  # JSON nested a thousand deep
        raise ModelFileError(f"{path}: its description is no description") from error
    except (ValueError, TypeError, OverflowError) as error:  # SettingsError is a ValueError
        raise ModelFileError(f"{path}: {error}") from error


def _read(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Return a safetensors file's description and arrays."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ModelFileError(f"{shown(path)}: there is no such file{home_hint(path)}") from error
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


def _classes(described: Any, count: int) -> NDArray[Any]:
    """Return the labels of ``count`` classes from JSON."""
    labels = described["labels"]
    wanted = {"int": int, "str": str}.get(described["kind"])
    if wanted is None or not isinstance(labels, list) or not all(type(label) is wanted for label in labels):
        raise ValueError("the classes are not a list of whole numbers or of words")
    if len(labels) != count:
        raise ValueError(f"the network has {count} classes, the list {len(labels)}")
    if wanted is str and max(map(len, labels), default=0) > _LONGEST_LABEL:
        raise ValueError(f"a class has a label of more than {_LONGEST_LABEL} characters")
    classes = np.array(labels, dtype=np.int64 if wanted is int else np.str_)
    if len(np.unique(classes)) != count:
        raise ValueError("two classes have the same label")
    return classes


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
    scale, shift = tensors.pop("scale"), tensors.pop("shift")
    widths = [len(scale), *settings.hidden, len(classes)]
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
    if scale.shape != shift.shape or scale.ndim != 1 or scale.dtype != np.float64 or shift.dtype != np.float64:
        raise ValueError("scale and shift must be two float64 vectors of one length")
    largest = np.finfo(settings.dtype).max
    for name, block in {"scale": scale, "shift": shift, **tensors}.items():
        if not (np.abs(block) <= largest).all():  # NaN is not either
            raise ValueError(f"{name} has values that are not finite")
    from manyhands.learners.mlp.learner import MLP

    learner = MLP(settings, len(scale), len(classes))
    learner.load_weights(tensors)
    scaling = Scaling(description.get("scaling", ""), scale, shift, _threshold(description.get("threshold")))
    return TrainedModel(learner, settings, scaling, classes, description.get("name", ""))
