"""The gate: how far a batch's outcomes are from the stored ones, and which samples that is too far for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from manyhands.learners.torch.speculative.layers import Layer, Rectifier, Saved, samples_of


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

    def some(self, rows: Tensor) -> Outcome:
        """Return the outcome of some of the samples."""
        saved = [tuple(samples_of(each, rows) for each in layer) for layer in self.saved]
        return Outcome(saved, self.probabilities[rows], self.labels[rows], self.losses[rows])

    def with_others(self, others: Outcome) -> Outcome:
        """Return this outcome with that of other samples behind it."""
        pairs = zip(self.saved, others.saved, strict=True)
        saved = [tuple(map(_joined, ours, other)) for ours, other in pairs]
        own = (self.probabilities, self.labels, self.losses)
        theirs = (others.probabilities, others.labels, others.losses)
        return Outcome(saved, *map(_joined, own, theirs))


def _joined(ours: Tensor, theirs: Tensor) -> Tensor:
    found = torch.cat([ours, theirs])
    if ours.dim() == 4 and ours.is_contiguous(memory_format=torch.channels_last):
        return found.contiguous(memory_format=torch.channels_last)
    return found


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
