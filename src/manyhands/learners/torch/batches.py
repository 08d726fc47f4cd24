"""From stored rows to the tensors of a batch: gathered from memory, scaled, with the shape that the network expects."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyhands.core.samples import Samples


class Batches:
    """The samples of one table as a network takes them.

    Bytes are gathered as bytes and scaled as a batch. What has a center is scaled in double precision first, as
    everywhere (`manyhands.core.samples.Samples.inputs`). On a GPU, the table lies there.

    Parameters
    ----------
    samples
        The table.
    device
        Where the batches are to be.
    """

    def __init__(self, samples: Samples, device: torch.device) -> None:
        self.samples, self._device = samples, device
        self._images = len(samples.sample_shape) == 3
        self._scale, self._shift = (_factor(vector, device) for vector in (samples.scale, samples.shift))
        self._table: Tensor | None = None
        if device.type != "cpu" and samples.center is None:
            self._table = torch.from_numpy(np.ascontiguousarray(samples.features)).to(device)

    def inputs(self, rows: NDArray[np.int32]) -> Tensor:
        """Return the inputs of some rows, shape (rows, ...), float32; images in the order that CPUs prefer."""
        if self.samples.center is not None:
            flat = torch.from_numpy(self.samples.take(rows).inputs().astype(np.float32)).to(self._device)
        else:
            flat = self._gathered(rows).to(torch.float32)
            flat = _applied(torch.mul, flat, self._scale, 1.0)
            flat = _applied(torch.add, flat, self._shift, 0.0)
        inputs = flat.view(len(rows), *self.samples.sample_shape)
        return inputs.to(memory_format=torch.channels_last) if self._images else inputs

    def labels(self, rows: NDArray[np.int32]) -> Tensor:
        """Return the class numbers of some rows, int64."""
        return torch.from_numpy(self.samples.labels[rows].astype(np.int64)).to(self._device)

    def weights(self, rows: NDArray[np.int32]) -> Tensor | None:
        """Return the weights of some rows in the loss, float32; None if all are equal."""
        if self.samples.weights is None:
            return None
        return torch.from_numpy(self.samples.weights[rows].astype(np.float32)).to(self._device)

    def _gathered(self, rows: NDArray[np.int32]) -> Tensor:
        if self._table is not None:
            return self._table[torch.from_numpy(rows.astype(np.int64)).to(self._device)]
        return torch.from_numpy(self.samples.features.take(rows, axis=0))


def _factor(vector: NDArray[np.float64], device: torch.device) -> float | Tensor:
    """Return one number in the place of a vector of equal ones."""
    if len(vector) and (vector == vector[0]).all():
        return float(vector[0])
    return torch.from_numpy(vector.astype(np.float32)).to(device)


def _applied(function: Callable[..., Tensor], inputs: Tensor, by: float | Tensor, neutral: float) -> Tensor:
    """Apply a function in place, unless it would change nothing."""
    if isinstance(by, float) and by == neutral:
        return inputs
    return function(inputs, by, out=inputs)
