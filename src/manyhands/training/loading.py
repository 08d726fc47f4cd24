"""From a model file to a trained model: what the file says is checked before memory is reserved for it."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.choices import PYTORCH, is_made_of_sums
from manyhands.core.errors import ModelFileError, SettingsError
from manyhands.core.learner import Model
from manyhands.data.catalog import test_request
from manyhands.data.columns import Names
from manyhands.data.labels import read_labels
from manyhands.data.origin import Origin
from manyhands.data.scaling import Scaling
from manyhands.learners import LEARNERS, make_learner
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.learners.sums.settings import SumsSettings, own_settings
from manyhands.training.model import OF_SUMS, TrainedModel
from manyhands.training.model_file import read_file

_LAYERED = ("mlp", "published")
"""Learners whose blocks are weights and biases of the layers in the settings."""


def load_model(path: str | Path, module: Any = None) -> TrainedModel:
    """Read a model file; it is data, and is checked like data.

    Parameters
    ----------
    path
        The file.
    module : torch.nn.Module or callable
        For a model that was trained from a module of the user's: such a module, or the function that makes it. Names,
        shapes and types of its tensors must be those of the file; the module itself stays as it is.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged or not a model, or its contents contradict each other; says what.
    """
    description, tensors = read_file(path)
    kind = description.setdefault("learner", "mlp")
    if kind not in LEARNERS:
        raise ModelFileError(
            f"{path}: a model of the learner {kind[:40]!r}, which is not known here ({', '.join(LEARNERS)} are); if "
            "it is yours, add it with manyhands.learners.register first"
        )
    try:
        settings = _settings(kind, json.loads(description["settings"]))
        classes = read_labels(json.loads(description["classes"]))
        return _build(settings, classes, tensors, description, module)
    except KeyError as error:
        raise ModelFileError(f"{path}: the file lacks {error}") from error
    except RecursionError as error:  # JSON nested a thousand deep
        raise ModelFileError(f"{path}: its description is no description") from error
    except ImportError as error:
        raise ModelFileError(f"{path}: its learner {kind} needs a package that is not installed ({error})") from error
    except (ValueError, TypeError, OverflowError) as error:  # SettingsError is a ValueError
        raise ModelFileError(f"{path}: {error}") from error


def _settings(kind: str, fields: Any) -> MLPSettings | SumsSettings:
    """Return the settings of a learner from JSON."""
    if not isinstance(fields, dict):
        raise ValueError("the settings are not a list of names and values")
    return _of_sums(kind, fields) if is_made_of_sums(kind) else _of_network(fields)


def _of_sums(kind: str, fields: dict[str, Any]) -> SumsSettings:
    """Return the settings of a learner that is made of sums; each checks its value."""
    known = own_settings(kind, SumsSettings())
    for name in fields:
        if name not in known:
            raise ValueError(f"there is no setting {name!r} of {kind}")
    return SumsSettings(**fields)


def _of_network(fields: dict[str, Any]) -> MLPSettings:
    """Return the network's settings, whose types must be those of the fields."""
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
    settings: MLPSettings | SumsSettings,
    classes: NDArray[Any],
    tensors: dict[str, NDArray[Any]],
    description: Mapping[str, str],
    module: Any,
) -> TrainedModel:
    """Check every array against the description before any memory is reserved for it."""
    scale, shift, center = tensors.pop("scale"), tensors.pop("shift"), tensors.pop("center", None)
    kind, shape = description["learner"], _shape(description.get("shape"), len(scale))
    sums = settings if isinstance(settings, SumsSettings) else None
    network = MLPSettings(dtype="float64") if isinstance(settings, SumsSettings) else settings
    if kind in _LAYERED:
        _check_layers(network, len(scale), len(classes), tensors)
    scaling = Scaling(description.get("scaling", ""), scale, shift, _threshold(description.get("threshold")), center)
    _check_finite(scaling, network.dtype, tensors)
    if sums is not None:
        learner: Model = make_learner(kind, network, len(scale), len(classes), sums=sums)
        tensors = {name.removeprefix(OF_SUMS): block for name, block in tensors.items()}
    else:
        learner = _learner(kind, network, shape, len(classes), tensors, module)
    learner.load_weights(tensors)
    columns = _columns(description.get("columns"), len(scale))
    name = description.get("name", "")
    kept = shape if len(shape) > 1 else ()
    return TrainedModel(learner, network, scaling, classes, name, *columns, kind, kept, _origin(description), sums)


def _origin(description: Mapping[str, str]) -> Origin | None:
    """Return where the data came from; files of earlier versions do not say it."""
    if "origin" not in description:
        return None
    origin = Origin.from_json(json.loads(description["origin"]))
    test_request(origin)  # checks it
    return origin


def _learner(
    kind: str,
    settings: MLPSettings,
    shape: tuple[int, ...],
    classes: int,
    tensors: Mapping[str, NDArray[Any]],
    module: Any,
) -> Model:
    """Return a learner whose weights are to be loaded; of an ensemble, one of all members."""
    if kind not in PYTORCH:
        return make_learner(kind, settings, math.prod(shape), classes)
    if kind == "torch" and module is None:
        raise SettingsError(
            "it was trained from a module of the user's own, which is no part of the file: load_model(path, module=...)"
        )
    others = {"sample_shape": shape, "module": module}
    learner: Any = make_learner(kind, settings, math.prod(shape), classes, **others)
    members = {name.split(".")[2] for name in tensors if name.startswith("module.members.")}
    own = any(name.startswith("module.members.") for name in learner.weights())
    joined = members and not own
    found: Model = learner.side_by_side(np.tile(learner.parameters, (len(members), 1))) if joined else learner
    return found


def _check_finite(scaling: Scaling, dtype: str, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Check the scaling, and that all numbers are finite in the network's dtype."""
    vectors = scaling.vectors()
    if any(block.shape != scaling.scale.shape or block.dtype != np.float64 for block in vectors.values()):
        raise ValueError("scale, shift and center must be float64 vectors of one length")
    if scaling.center is not None and scaling.threshold is not None:
        raise ValueError("binary inputs have no center")
    for name, block in {**vectors, **tensors}.items():
        # What has a center is scaled in double precision.
        most = np.finfo(dtype if scaling.center is None or name in tensors else np.float64).max
        if block.dtype.kind == "f" and not (np.abs(block) <= most).all():  # NaN is not either
            raise ValueError(f"{name} has values that are not finite")


def _shape(text: str | None, features: int) -> tuple[int, ...]:
    """Return the shape of a sample from JSON; files without one have rows of features."""
    shape = (features,) if text is None else json.loads(text)
    if not isinstance(shape, list | tuple) or not all(type(side) is int and side > 0 for side in shape):
        raise ValueError("the shape of a sample is none")
    if math.prod(shape) != features:
        raise ValueError(f"samples of shape {tuple(shape)} have not {features} features")
    return tuple(shape)


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
