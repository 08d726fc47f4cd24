"""Multilayer perceptrons as nodes of a graph.

Activations are made of operators that onnxruntime has in double precision, too: it has Elu, Selu, Softplus and Softsign
in float32 only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.exporting.graph import Graph
from manyhands.learners.mlp.activations import LEAK, SELU_ALPHA, SELU_SCALE
from manyhands.learners.mlp.settings import MLPSettings


def perceptron(graph: Graph, value: str, settings: MLPSettings, blocks: Mapping[str, NDArray[Any]]) -> str:
    """Add a multilayer perceptron, and return its class probabilities, shape (N, K).

    Parameters
    ----------
    graph
        Where nodes are added.
    value
        Inputs of shape (N, features).
    settings
        Activation and loss, to which the outputs belong.
    blocks
        Weights and biases of all layers, named as by `manyhands.core.learner.Model.weights` of the learner mlp.
    """
    last = len(settings.hidden)
    for layer in range(last + 1):
        weights, biases = (graph.constant(name, blocks[name]) for name in (f"weights.{layer}", f"biases.{layer}"))
        value = graph.apply("Gemm", value, weights, biases)
        if layer < last:
            value = _ACTIVATIONS[settings.activation](graph, value)
    return _OUTPUTS[settings.loss](graph, value, len(blocks[f"biases.{last}"]))


def softmax(graph: Graph, value: str) -> str:
    """Return probabilities for logits of shape (N, K)."""
    return graph.apply("Softmax", value, axis=1)


def _exponential_unit(graph: Graph, z: str, alpha: float = 1.0) -> str:
    below = graph.apply("Sub", graph.apply("Exp", graph.apply("Min", z, 0.0)), 1.0)
    return graph.apply("Add", graph.apply("Max", z, 0.0), graph.apply("Mul", below, alpha))


def _selu(graph: Graph, z: str) -> str:
    return graph.apply("Mul", _exponential_unit(graph, z, SELU_ALPHA), SELU_SCALE)


def _gelu(graph: Graph, z: str) -> str:
    """Return z F(z), F the normal distribution."""
    scaled = graph.apply("Mul", z, math.sqrt(0.5))
    if graph.dtype == np.float64:  # onnxruntime has the error function in float32 only, which is exact to 1e-7
        error = graph.cast(graph.apply("Erf", graph.cast(scaled, np.float32)), np.float64)
    else:
        error = graph.apply("Erf", scaled)
    return graph.apply("Mul", graph.apply("Mul", z, 0.5), graph.apply("Add", error, 1.0))


def _silu(graph: Graph, z: str) -> str:
    return graph.apply("Mul", z, graph.apply("Sigmoid", z))


def _softplus(graph: Graph, z: str) -> str:
    grown = graph.apply("Exp", graph.apply("Neg", graph.apply("Abs", z)))
    return graph.apply("Add", graph.apply("Max", z, 0.0), graph.apply("Log", graph.apply("Add", grown, 1.0)))


def _softsign(graph: Graph, z: str) -> str:
    return graph.apply("Div", z, graph.apply("Add", graph.apply("Abs", z), 1.0))


_ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "identity": lambda graph, z: z,
    "logistic": lambda graph, z: graph.apply("Sigmoid", z),
    "tanh": lambda graph, z: graph.apply("Tanh", z),
    "relu": lambda graph, z: graph.apply("Relu", z),
    "leaky_relu": lambda graph, z: graph.apply("LeakyRelu", z, alpha=LEAK),
    "elu": _exponential_unit,
    "selu": _selu,
    "gelu": _gelu,
    "silu": _silu,
    "softplus": _softplus,
    "softsign": _softsign,
}
"""Of hidden layers, by the names of `manyhands.core.choices.ACTIVATIONS`."""


def _shares(graph: Graph, outputs: str, classes: int) -> str:
    """Cut outputs off below 0 and make them add up to 1; where all of them are 0, every class is as likely."""
    positive = graph.apply("Max", outputs, 0.0)
    axis = graph.constant("class axis", np.array([1], np.int64))
    total = graph.apply("ReduceSum", positive, axis, keepdims=1)
    nothing = graph.apply("LessOrEqual", total, 0.0)
    shares = graph.apply("Div", positive, graph.apply("Where", nothing, 1.0, total))
    return graph.apply("Where", nothing, 1 / classes, shares)


_OUTPUTS: dict[str, Callable[[Graph, str, int], str]] = {
    "cross_entropy": lambda graph, z, classes: softmax(graph, z),
    "binary_cross_entropy": lambda graph, z, classes: _shares(graph, graph.apply("Sigmoid", z), classes),
    "squared_error": _shares,
    "poisson": lambda graph, z, classes: _shares(graph, graph.apply("Exp", z), classes),
}
"""Class probabilities from the last layer's sums, by the names of `manyhands.core.choices.LOSSES`."""
