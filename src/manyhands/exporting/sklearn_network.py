"""A trained model as scikit-learn's own classifier."""

from __future__ import annotations

from typing import Any

import numpy as np

from manyhands.core.errors import SettingsError
from manyhands.training.model import TrainedModel

THEIR_ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
_PERCEPTRONS = ("mlp", "published")


def check_activation(activation: str, what: str) -> None:
    """Refuse activations that scikit-learn lacks."""
    if activation not in THEIR_ACTIVATIONS:
        raise SettingsError(f"{what} has no activation {activation!r}; those it has are {', '.join(THEIR_ACTIVATIONS)}")


def network_to_sklearn(model: TrainedModel) -> Any:
    """Return scikit-learn's own classifier with the network of a model, which takes values as they are stored.

    Parameters
    ----------
    model : TrainedModel
        A multilayer perceptron; its scaling goes into the weights of the first layer.

    Returns
    -------
    sklearn.neural_network.MLPClassifier
        Fitted, for predictions.

    Raises
    ------
    SettingsError
        If scikit-learn has no such network.
    """
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import LabelBinarizer

    if model.kind not in _PERCEPTRONS:
        raise SettingsError(f"scikit-learn has no network like those of the learner {model.kind}")
    if model.scaling.threshold is not None:
        raise SettingsError("scikit-learn's networks cannot make their inputs binary, as this model does")
    check_activation(model.settings.activation, "scikit-learn")
    blocks = {name: block.astype(np.float64) for name, block in model.learner.weights().items()}
    layers = range(len(model.settings.hidden) + 1)
    weights, biases = ([blocks[f"{kind}.{layer}"] for layer in layers] for kind in ("weights", "biases"))
    scaling = model.scaling
    center = 0.0 if scaling.center is None else scaling.center
    biases[0] = biases[0] + (scaling.shift - center * scaling.scale) @ weights[0]
    weights[0] = scaling.scale[:, None] * weights[0]
    if len(model.classes) == 2:  # one output there: the difference of the two
        weights[-1], biases[-1] = np.diff(weights[-1]), np.diff(biases[-1])
    made = MLPClassifier(model.settings.hidden, activation=model.settings.activation)
    made.coefs_, made.intercepts_ = weights, biases
    made.n_layers_, made.n_outputs_ = len(weights) + 1, len(biases[-1])
    made.out_activation_ = "logistic" if len(model.classes) == 2 else "softmax"
    made.n_features_in_, made.classes_ = len(weights[0]), model.classes
    made._label_binarizer = LabelBinarizer().fit(model.classes)
    made.n_iter_ = made.t_ = 0
    return made
