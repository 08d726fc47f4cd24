"""The gate: how far a batch's outcomes are from the stored ones, and which samples that is too far for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from manyhands.learners.torch.speculative.layers import Layer, Rectifier, Saved, picked


@dataclass(frozen=True)
class Outcome:
    """What a batch's forward pass has come to, position by position.

    Attributes
    ----------
    saved : tuple of tuples of tensors
        What each layer has kept.
    probabilities : Tensor of shape (rows, K)
        Softmax of the logits.
    labels : Tensor of shape (rows,)
        Class numbers.
    losses : Tensor of shape (rows,)
        Cross-entropy of each sample.
    """

    saved: Sequence[Saved]
    probabilities: Tensor
    labels: Tensor
    losses: Tensor

    @classmethod
    def of(cls, saved: Sequence[Saved], logits: Tensor, labels: Tensor) -> Outcome:
        """Return the outcome of a forward pass that ends with these logits."""
        logarithms = logits.log_softmax(dim=1)
        return cls(saved, logarithms.exp(), labels, -logarithms.gather(1, labels[:, None]).squeeze(1))

    def gradient(self, rows: int | None = None) -> Tensor:
        """Return the gradient of the logits of the mean cross-entropy over ``rows`` samples, shape (rows, K)."""
        gradient = self.probabilities.clone()
        gradient[torch.arange(len(gradient)), self.labels] -= 1
        return gradient.div_(rows or len(gradient))


def together(layers: Sequence[Layer], pieces: Sequence[tuple[Outcome, Tensor]]) -> Outcome:
    """Return the outcomes of some samples, for each piece of these rows, one behind the other."""
    rows = [each for _, each in pieces]
    outcomes = [each for each, _ in pieces]
    saved = [
        layer.picked([(outcome.saved[number], wanted) for outcome, wanted in pieces])
        for number, layer in enumerate(layers)
    ]
    parts = ([getattr(each, name) for each in outcomes] for name in ("probabilities", "labels", "losses"))
    return Outcome(saved, *(picked(part, rows) for part in parts))


def distances(kind: str, layers: Sequence[Layer], stored: Outcome, found: Outcome) -> Tensor:
    """Return how far the outcome of each position is from the stored one, shape (rows,), from 0 to 1.

    Parameters
    ----------
    kind
        ``"sample"``: total variation between the probabilities, sum |p - q| / 2. ``"batch"``: its mean over the batch,
        for every position. ``"layer"``: the largest part of a ReLU layer's units, over the layers, that are above zero
        in one of the two and not in the other.
    layers
        The stack.
    stored, found
        The outcomes.
    """
    if kind == "layer":
        return torch.stack(
            [
                ((ours[0] > 0) != (theirs[0] > 0)).flatten(1).float().mean(dim=1)
                for layer, ours, theirs in zip(layers, stored.saved, found.saved, strict=True)
                if isinstance(layer, Rectifier)
            ]
        ).amax(dim=0)
    each = (stored.probabilities - found.probabilities).abs().sum(dim=1) / 2
    return each.mean().expand_as(each) if kind == "batch" else each
