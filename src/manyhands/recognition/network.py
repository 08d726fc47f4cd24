"""The forward pass of a small convolutional network in NumPy: reading a page needs no PyTorch.

A network here is convolutions, each with a maximum over 2 x 2 places and ReLU behind it, and then dense layers with
ReLU between them: what `manyhands.learners.torch.networks` calls cnn-small and cnn-fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

PADDING = {"cnn-small": (2, 0), "cnn-fast": (0, 0)}
"""Of the convolutions, by the names of the networks."""
_AT_ONCE = 256
"""Images whose windows are in memory at the same time."""


@dataclass(frozen=True)
class Network:
    """Weights of a network, ready to be applied.

    Attributes
    ----------
    convolutions : sequence of (ndarray of shape (outputs, inputs, height, width), ndarray of shape (outputs,), int)
        Weights, biases and padding.
    dense : sequence of (ndarray of shape (outputs, inputs), ndarray of shape (outputs,))
        Weights and biases.
    """

    convolutions: Sequence[tuple[Array, Array, int]]
    dense: Sequence[tuple[Array, Array]]

    @property
    def classes(self) -> int:
        """Outputs of the last layer."""
        return len(self.dense[-1][1])

    def logits(self, images: NDArray[np.uint8]) -> Array:
        """Return outputs before softmax, shape (rows, classes).

        Parameters
        ----------
        images : ndarray of shape (rows, 28, 28), uint8
        """
        parts = [self._some(images[at : at + _AT_ONCE]) for at in range(0, len(images), _AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros((0, self.classes), np.float32)

    def _some(self, images: NDArray[np.uint8]) -> Array:
        values = images.astype(np.float32)[..., None] * np.float32(1 / 255)
        for weights, biases, padding in self.convolutions:
            values = np.maximum(_pooled(_convolved(values, weights, padding) + biases), 0)
        flat = values.transpose(0, 3, 1, 2).reshape(len(values), -1)  # PyTorch flattens channels first
        for number, (weights, biases) in enumerate(self.dense):
            flat = flat @ weights.T + biases
            if number < len(self.dense) - 1:
                flat = np.maximum(flat, 0)
        return flat


def network_of(tensors: Mapping[str, NDArray[np.generic]], padding: Sequence[int]) -> Network:
    """Return a network from its tensors, which are named in the order of the layers: ``0.weight``, ``0.bias``, ...

    Raises
    ------
    ValueError
        If these are not the tensors of such a network.
    """
    layers = sorted(
        {name.rsplit(".", 1)[0] for name in tensors}, key=lambda name: [int(part) for part in name.split(".")]
    )
    pairs = [(_single(tensors, f"{layer}.weight"), _single(tensors, f"{layer}.bias")) for layer in layers]
    convolutions = [pair for pair in pairs if pair[0].ndim == 4]
    dense = [pair for pair in pairs if pair[0].ndim == 2]
    kinds = [weights.ndim for weights, _ in pairs]
    if kinds != sorted(kinds, reverse=True) or len(convolutions) != len(padding) or not dense:
        raise ValueError("its layers are not some convolutions and then dense ones")
    if any(len(weights) != len(biases) for weights, biases in pairs):
        raise ValueError("a layer has not as many biases as outputs")
    return Network([(*pair, pad) for pair, pad in zip(convolutions, padding, strict=True)], dense)


def _single(tensors: Mapping[str, NDArray[np.generic]], name: str) -> Array:
    if name not in tensors:
        raise ValueError(f"the tensor {name} is missing")
    return np.ascontiguousarray(tensors[name], np.float32)


def _convolved(values: Array, weights: Array, padding: int) -> Array:
    """Return values of shape (rows, height, width, channels) convolved, as one product of matrices."""
    if padding:
        values = np.pad(values, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height, width = weights.shape[2:]
    windows = np.lib.stride_tricks.sliding_window_view(values, (height, width), axis=(1, 2))
    rows, down, across = windows.shape[:3]
    matrix = windows.reshape(rows * down * across, -1)
    out: Array = (matrix @ weights.reshape(len(weights), -1).T).reshape(rows, down, across, -1)
    return out


def _pooled(values: Array) -> Array:
    """Return maxima over 2 x 2 places; a last odd row or column is left out."""
    height, width = (side // 2 * 2 for side in values.shape[1:3])
    kept = values[:, :height, :width]
    out: Array = np.maximum(
        np.maximum(kept[:, ::2, ::2], kept[:, 1::2, ::2]), np.maximum(kept[:, ::2, 1::2], kept[:, 1::2, 1::2])
    )
    return out


def softmax(logits: Array) -> Array:
    """Return probabilities, row by row."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    out: Array = powers / powers.sum(axis=1, keepdims=True)
    return out
