"""Weights of the next step, predicted, for outcomes that are used one step later.

What a batch's forward pass has come to is used when the weights have moved on by a step. As an optimizer with momentum
moves on in much the same direction as before, forward passes take the weights of now plus the last update (Chen, Yang
& Cheng, "Efficient and Robust Parallel DNN Training through Model Parallelism on Multi-GPU Platform", 2018).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from manyhands.learners.torch.speculative.layers import Layer
from manyhands.learners.torch.vectors import FlatTensors


class Prediction:
    """Predicted weights, which the forward passes of some layers use from now on.

    Parameters
    ----------
    parameters
        The weights, which optimizer and backward passes work on.
    layers
        The stack.
    """

    def __init__(self, parameters: FlatTensors, layers: Sequence[Layer]) -> None:
        self._parameters = parameters
        self._predicted, self._before, self.update = (torch.zeros_like(parameters.flat) for _ in range(3))
        views = {id(place.tensor): place.view(self._predicted) for place in parameters.places}
        for layer in layers:
            weight, bias = layer.forward_weights
            layer.forward_weights = views.get(id(weight)), views.get(id(bias))

    def predict(self) -> None:
        """Let forward passes use the present weights plus the last update."""
        torch.add(self._parameters.flat, self.update, out=self._predicted)

    def note(self) -> None:
        """Note the weights before an update."""
        self._before.copy_(self._parameters.flat)

    def learn(self) -> None:
        """Take over the update since :meth:`note`."""
        torch.sub(self._parameters.flat, self._before, out=self.update)

    def forget(self) -> None:
        """Predict no change, until there is an update."""
        self.update.zero_()
