"""From a trained model to an ONNX file: scaling, network and class names in one graph of standard operators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.choices import NETWORKS, PYTORCH
from manyhands.core.errors import DataError, OutputError, SettingsError
from manyhands.core.extras import require
from manyhands.core.version import __version__
from manyhands.exporting.graph import Graph, tensor_type
from manyhands.exporting.scaling import scaled, stored_dtype
from manyhands.runtime.atomic_files import write_whole
from manyhands.runtime.memory import memory_errors_explained

if TYPE_CHECKING:
    from manyhands.training.model import TrainedModel

_OPSET, _IR_VERSION = 17, 8
"""Of ONNX 1.12 (2022): runtimes that are newer read it, too."""
_LAYERED = ("mlp", "published")
"""Learners whose blocks are weights and biases of the layers in the settings."""
_LARGEST = 2**31 - 1
"""Bytes of a protobuf message."""


@memory_errors_explained("the export")
def export_onnx(model: TrainedModel, path: str | Path) -> None:
    """Write a trained model as an ONNX file, for programs that have no Manyhands.

    The graph has one input, ``X``: values as they are stored, such as pixels from 0 to 255, of shape (N, features), for
    convolutional networks (N, channels, height, width). They are float32; float64 if the network computes in float64,
    or if features lie so far from zero that float32 could not tell their values apart. The outputs are
    ``probabilities``, shape (N, K), and ``label``, shape (N,): the most probable class's label, int64, float64, bool or
    string. Class names, the version of Manyhands, the learner, the training data's name and the names of its columns
    are in the file's ``metadata_props``.

    Parameters
    ----------
    model
        Of the learners ``mlp`` or ``published``, or of a convolutional network that comes along.
    path
        The file; it appears whole or not at all.

    Raises
    ------
    SettingsError
        If the package onnx is not installed, or the model, or one of its layers, cannot be exported.
    DataError
        If a class has a name that is no Unicode text.
    OutputError
        If the file cannot be written, or would be larger than ONNX files can be (2 GiB).
    """
    check_exportable(model.kind)
    graph = Graph(model.settings.dtype if model.kind in _LAYERED else np.float32)
    _add_nodes(graph, model)
    content = _assembled(graph, model)
    if content.ByteSize() > _LARGEST:
        raise OutputError(f"cannot write {path}: an ONNX file has at most 2 GiB, and this model is larger")
    write_whole(path, content.SerializeToString(deterministic=True))


def check_exportable(kind: str) -> None:
    """Check that models of a learner can be exported here.

    Raises
    ------
    SettingsError
        If they cannot, or the package onnx is not installed.
    """
    require("onnx")
    if kind not in (*_LAYERED, *NETWORKS):
        own = (
            "it was trained from a PyTorch module of the user's own: load_model(path, module=...) in Python, and use "
            "torch.onnx.export on model.learner.module (that has neither scaling nor class names)"
        )
        raise SettingsError(
            f"a model of the learner {kind} cannot be exported to ONNX ({', '.join((*_LAYERED, *NETWORKS))} can)"
            + (f"; {own}" if kind in PYTORCH else "")
        )


def input_of(model: TrainedModel) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return dtype and shape of one sample as the exported graph takes it."""
    shape = (len(model.scaling.scale),) if model.kind in _LAYERED else model.sample_shape
    return stored_dtype(model.scaling, model.settings.dtype), shape


def _add_nodes(graph: Graph, model: TrainedModel) -> None:
    stored, shape = input_of(model)
    inputs = scaled(graph, "X", stored, model.scaling, shape)
    graph.apply("Identity", _probabilities(graph, inputs, model), output="probabilities")
    best = graph.apply("ArgMax", "probabilities", axis=1, keepdims=0)
    graph.apply("Gather", graph.constant("classes", _labels(model)), best, output="label")


def _probabilities(graph: Graph, inputs: str, model: TrainedModel) -> str:
    """Add the network; what it needs is imported for it alone: one needs PyTorch, the other compiled code."""
    from manyhands.exporting.layers import perceptron, softmax

    if model.kind in _LAYERED:
        return perceptron(graph, inputs, model.settings, model.learner.weights())
    from manyhands.exporting.networks import network

    learner: Any = model.learner
    return softmax(graph, network(graph, inputs, learner.module, "module", learner.weights()))


def _labels(model: TrainedModel) -> NDArray[Any]:
    """Return the labels of the classes in a dtype for them: int64 for whole numbers, if they are not too large."""
    classes = model.classes
    if classes.dtype.kind == "U":
        for label in classes:
            _check_text(str(label))
        return classes.astype(object)
    if classes.dtype.kind == "f":
        return classes.astype(np.float64)
    fits = classes.dtype.kind in "iu" and classes.max() <= np.iinfo(np.int64).max
    return classes.astype(np.int64) if fits else classes


def _check_text(label: str) -> None:
    """Refuse what protobuf cannot hold."""
    try:
        label.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"the class {label!r} has characters that are no Unicode text, which ONNX files need; rename it"
        ) from error


def _assembled(graph: Graph, model: TrainedModel) -> Any:
    """Return the model's protobuf message."""
    from onnx import helper

    stored, shape = input_of(model)
    outputs = [
        helper.make_tensor_value_info("probabilities", tensor_type(graph.dtype), ["N", len(model.classes)]),
        helper.make_tensor_value_info("label", graph.constants["classes"].data_type, ["N"]),
    ]
    made = helper.make_graph(
        graph.nodes,
        "manyhands",
        [helper.make_tensor_value_info("X", tensor_type(stored), ["N", *shape])],
        outputs,
        list(graph.constants.values()),
    )
    content = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="manyhands",
        producer_version=__version__,
        doc_string="X: values as they are stored; the scaling is inside.",
    )
    helper.set_model_props(content, _properties(model))
    return content


def _properties(model: TrainedModel) -> dict[str, str]:
    """Return what is said about the model, by name."""
    found = {
        "manyhands_version": __version__,
        "learner": model.kind,
        "trained_on": model.name.encode(errors="backslashreplace").decode(),  # of a file, it need not be Unicode
        "classes": json.dumps(model.classes.tolist()),
        "scaling": model.scaling.name,
    }
    if model.feature_names is not None:
        found["features"] = json.dumps(model.feature_names)
    return found
