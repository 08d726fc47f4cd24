"""A module's parameters and buffers as flat vectors, of which the module's tensors are views.

So a round needs no packing, threads average by reading each other's vectors where they lie, and an optimizer that works
element by element takes one step on one tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from manyhands.core.errors import SettingsError
from manyhands.core.types import Vector
from manyhands.runtime.memory import aligned_zeros

BYTES_APART = 64
"""Tensors begin on multiples of it: on cache lines of their own, as PyTorch's own allocator has it."""


@dataclass(frozen=True)
class Place:
    """Where one tensor lies in a flat vector.

    Attributes
    ----------
    name
        Its name in the module.
    tensor
        The parameter or buffer itself; its memory is replaced by a view.
    begin, end
        Its numbers in the vector.
    """

    name: str
    tensor: Tensor
    begin: int
    end: int

    def view(self, flat: Tensor) -> Tensor:
        """Return the part of a flat tensor that is this one, with its shape and its order in memory."""
        part, shape = flat[self.begin : self.end], self.tensor.shape
        if self.tensor.dim() == 4 and self.tensor.is_contiguous(memory_format=torch.channels_last):
            rows, channels, height, width = shape
            return part.view(rows, height, width, channels).permute(0, 3, 1, 2)
        return part.view(shape)


class FlatVector:
    """One float32 vector in this process's memory, and the same numbers on a device.

    Parameters
    ----------
    size
        Its length.
    device
        On a CPU, the tensor is the vector's memory; elsewhere :meth:`push` and :meth:`pull` copy.

    Attributes
    ----------
    vector : ndarray of shape (size,), float32
        In this process's memory.
    flat : Tensor of shape (size,)
        On the device.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self._device = device
        self.bind(aligned_zeros(size, np.dtype(np.float32)))

    def bind(self, vector: Vector) -> None:
        """Use another vector from now on."""
        self.vector, here = vector, torch.from_numpy(vector)
        self.flat = here if self._device.type == "cpu" else here.to(self._device, copy=True)

    def push(self) -> None:
        """Bring the vector to the device, if that has memory of its own."""
        if self._device.type != "cpu":
            self.flat.copy_(torch.from_numpy(self.vector))

    def pull(self) -> None:
        """Bring the device's numbers into the vector."""
        if self._device.type != "cpu":
            torch.from_numpy(self.vector).copy_(self.flat)


class FlatTensors(FlatVector):
    """Tensors of a module in one flat vector.

    Parameters
    ----------
    named
        Names and tensors, each tensor once. Their values are copied into the vector, and they become views of it.
    device
        Where the tensors are.

    Attributes
    ----------
    places : tuple of Place
        Where each tensor lies.
    """

    def __init__(self, named: Sequence[tuple[str, Tensor]], device: torch.device) -> None:
        self.places = tuple(_placed(named))
        values = [place.tensor.detach().clone() for place in self.places]
        super().__init__(self.places[-1].end if self.places else 0, device)
        for place, value in zip(self.places, values, strict=True):
            place.tensor.data.copy_(value)
        self.pull()

    def bind(self, vector: Vector) -> None:
        """Use another vector from now on; tied tensors stay tied, as the objects stay the same."""
        super().bind(vector)
        for place in self.places:
            place.tensor.data = place.view(self.flat)


def _placed(named: Sequence[tuple[str, Tensor]]) -> Iterator[Place]:
    """Yield the tensors' places, one after the other, with each tensor on cache lines of its own."""
    end, step = 0, BYTES_APART // 4
    for name, tensor in named:
        begin = -(-end // step) * step
        end = begin + tensor.numel()
        yield Place(name, tensor, begin, end)


def trainable(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return names and parameters that are trained, tied ones once.

    Raises
    ------
    SettingsError
        If a parameter cannot be part of one float32 vector, or there is none.
    """
    found = [(name, each) for name, each in module.named_parameters() if each.requires_grad]
    for name, each in module.named_parameters():
        if isinstance(each, nn.parameter.UninitializedParameter):
            raise SettingsError(
                f"the parameter {name} has no shape yet: call the module once on a batch before training (lazy modules "
                "take their shapes from their first batch)"
            )
    for name, each in found:
        if each.layout != torch.strided:
            raise SettingsError(f"the parameter {name} is {each.layout}: only dense tensors can be averaged")
        if each.dtype != torch.float32:
            raise SettingsError(
                f"the parameter {name} is {each.dtype}: parameters are trained in float32 (module.float()); lower "
                "precision is a matter of the setting precision"
            )
    if not found:
        raise SettingsError("the module has no parameter that is trained (requires_grad)")
    return found


def averaged_buffers(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Return names and tensors of the buffers that workers average: those of dtype float32, such as BatchNorm's."""
    return [(name, each) for name, each in module.named_buffers() if _is_averaged(each)]


def other_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return what is neither trained nor averaged, by name: frozen parameters, counters, buffers of other dtypes."""
    frozen = {name: each for name, each in module.named_parameters() if not each.requires_grad}
    return {**frozen, **{name: each for name, each in module.named_buffers() if not _is_averaged(each)}}


def _is_averaged(buffer: Tensor) -> bool:
    return buffer.dtype == torch.float32 and buffer.layout == torch.strided
