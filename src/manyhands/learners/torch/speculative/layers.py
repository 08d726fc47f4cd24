"""Layers taken apart: forward, the gradient of the inputs, and the gradient of the weights, each a call of its own.

Autograd computes both gradients of a layer at once and in one order. Here they are separate pieces of work, so that
lanes can share them, and what a backward pass needs of a forward pass is an object that can be kept for later.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter

aten = torch.ops.aten
Saved = tuple[Tensor, ...]
"""What one layer keeps of a forward pass; the first axis of each tensor counts samples."""


class Layer:
    """One layer of a stack.

    Parameters
    ----------
    module
        It has the parameters, whose ``grad`` is written.

    Attributes
    ----------
    name
        In messages and time lines.
    trained
        Whether there are gradients of weights.
    per_sample
        Whether each sample's outcome depends on that sample alone.
    shape_only
        Whether only the shape of the first saved tensor, the inputs, is used.
    forward_weights
        What the forward pass multiplies and adds: the module's own, unless they are predicted.
    """

    trained = False
    per_sample = True
    shape_only = False

    def __init__(self, module: Any, name: str) -> None:
        self.module, self.name = module, name
        self.forward_weights: Any = getattr(module, "weight", None), getattr(module, "bias", None)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Saved]:
        """Return the outputs, and what the gradients need."""
        raise NotImplementedError

    def input_gradient(self, saved: Saved, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs, given that of the outputs."""
        raise NotImplementedError

    def weight_gradient(self, saved: Saved, gradient: Tensor, *, add: bool) -> None:
        """Write the gradient of the weights, or ``add`` it to what is there."""

    def multiply_adds(self, outputs: Tensor) -> int:
        """Return the multiply-adds of the forward pass; both gradients have as many each."""
        return 0

    def picked(self, pieces: Sequence[tuple[Saved, Tensor]]) -> Saved:
        """Return what is saved of some samples: for each piece, of these rows; pieces stand one behind the other."""
        found = []
        for number, tensors in enumerate(zip(*(saved for saved, _ in pieces), strict=True)):
            rows = [each for _, each in pieces]
            if number == 0 and self.shape_only:
                found.append(tensors[0][: sum(map(len, rows))])
            else:
                found.append(picked(tensors, rows))
        return tuple(found)


class Convolution(Layer):
    """``nn.Conv2d``, any but padding with other numbers than zero."""

    trained = True

    def __init__(self, module: nn.Conv2d, name: str) -> None:
        super().__init__(module, name)
        if module.padding_mode != "zeros" or isinstance(module.padding, str):
            raise _refusal(name, module, "padding must be numbers of zeros")
        self._how = (module.stride, module.padding, module.dilation, False, (0, 0), module.groups)
        self._bias_sizes = None if module.bias is None else [module.out_channels]

    def forward(self, inputs: Tensor) -> tuple[Tensor, Saved]:
        """Return the outputs, and the inputs."""
        return aten.convolution(inputs, *self.forward_weights, *self._how), (inputs,)

    def _gradients(self, saved: Saved, gradient: Tensor, wanted: list[bool]) -> Any:
        how = (self._bias_sizes, *self._how)
        return aten.convolution_backward(gradient, saved[0], self.module.weight, *how, wanted)

    def input_gradient(self, saved: Saved, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        found: Tensor = self._gradients(saved, gradient, [True, False, False])[0]
        return found

    def weight_gradient(self, saved: Saved, gradient: Tensor, *, add: bool) -> None:
        """Write the gradient of weights and bias."""
        _, weight, bias = self._gradients(saved, gradient, [False, True, self.module.bias is not None])
        _write(self.module.weight.grad, weight, add=add)
        if bias is not None:
            _write(self.module.bias.grad, bias, add=add)

    def multiply_adds(self, outputs: Tensor) -> int:
        """Return the multiply-adds of one forward pass."""
        return outputs.numel() * int(self.module.weight[0].numel())


class Dense(Layer):
    """``nn.Linear``."""

    trained = True

    def forward(self, inputs: Tensor) -> tuple[Tensor, Saved]:
        """Return the outputs, and the inputs."""
        weight, bias = self.forward_weights
        return nn.functional.linear(inputs, weight, bias), (inputs,)

    def input_gradient(self, saved: Saved, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        found: Tensor = gradient @ self.module.weight
        return found

    def weight_gradient(self, saved: Saved, gradient: Tensor, *, add: bool) -> None:
        """Write the gradient of weights and bias, the former without a copy."""
        weight, bias = self.module.weight.grad, self.module.bias
        torch.addmm(weight, gradient.t(), saved[0], beta=1 if add else 0, out=weight)
        if bias is not None:
            _write(bias.grad, gradient.sum(dim=0), add=add)

    def multiply_adds(self, outputs: Tensor) -> int:
        """Return the multiply-adds of one forward pass."""
        return outputs.numel() * int(self.module.in_features)


class MaxPool(Layer):
    """``nn.MaxPool2d``."""

    shape_only = True

    def __init__(self, module: nn.MaxPool2d, name: str) -> None:
        super().__init__(module, name)
        if module.return_indices:
            raise _refusal(name, module, "it returns indices")
        stride = module.kernel_size if module.stride is None else module.stride
        self._how = [_pair(each) for each in (module.kernel_size, stride, module.padding, module.dilation)]
        self._ceil = module.ceil_mode

    def forward(self, inputs: Tensor) -> tuple[Tensor, Saved]:
        """Return the largest numbers, and where they are."""
        outputs, places = aten.max_pool2d_with_indices(inputs, *self._how, self._ceil)
        return outputs, (inputs, places)

    def input_gradient(self, saved: Saved, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        inputs, places = saved
        found: Tensor = aten.max_pool2d_with_indices_backward(gradient, inputs, *self._how, self._ceil, places)
        return found


class AveragePool(Layer):
    """``nn.AvgPool2d``."""

    shape_only = True

    def __init__(self, module: nn.AvgPool2d, name: str) -> None:
        super().__init__(module, name)
        self._how = (
            *(_pair(each) for each in (module.kernel_size, module.stride, module.padding)),
            module.ceil_mode,
            module.count_include_pad,
            module.divisor_override,
        )

    def forward(self, inputs: Tensor) -> tuple[Tensor, Saved]:
        """Return the means, and the inputs, of which only the shape is used."""
        return aten.avg_pool2d(inputs, *self._how), (inputs,)

    def input_gradient(self, saved: Saved, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        found: Tensor = aten.avg_pool2d_backward(gradient, saved[0], *self._how)
        return found


class GlobalAverage(Layer):
    """``nn.AdaptiveAvgPool2d`` to any size."""

    shape_only = True

    def forward(self, inputs: Tensor) -> tuple[Tensor, Saved]:
        """Return the means, and the inputs, of which only the shape is used."""
        return self.module(inputs), (inputs,)

    def input_gradient(self, saved: Saved, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        found: Tensor = aten._adaptive_avg_pool2d_backward(gradient, saved[0])
        return found


class Rectifier(Layer):
    """``nn.ReLU``; it overwrites its inputs if ``in_place``, where the layer before it does not need them."""

    in_place = False

    def forward(self, inputs: Tensor) -> tuple[Tensor, Saved]:
        """Return the outputs, which are also what the gradient needs."""
        outputs = torch.relu_(inputs) if self.in_place else torch.relu(inputs)
        return outputs, (outputs,)

    def input_gradient(self, saved: Saved, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        found: Tensor = aten.threshold_backward(gradient, saved[0], 0)
        return found


_OF_OUTPUTS = {nn.Tanh: (torch.tanh, aten.tanh_backward), nn.Sigmoid: (torch.sigmoid, aten.sigmoid_backward)}
"""Activations whose gradient follows from their outputs."""


class Smooth(Layer):
    """An activation whose gradient follows from its outputs or inputs by a function of PyTorch's own."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, Saved]:
        """Return the outputs, and what the gradient needs."""
        if type(self.module) in _OF_OUTPUTS:
            outputs = _OF_OUTPUTS[type(self.module)][0](inputs)
            return outputs, (outputs,)
        return self.module(inputs), (inputs,)

    def input_gradient(self, saved: Saved, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        if type(self.module) in _OF_OUTPUTS:
            found: Tensor = _OF_OUTPUTS[type(self.module)][1](gradient, saved[0])
        elif isinstance(self.module, nn.LeakyReLU):
            found = aten.leaky_relu_backward(gradient, saved[0], self.module.negative_slope, False)
        elif isinstance(self.module, nn.SiLU):
            found = aten.silu_backward(gradient, saved[0])
        else:
            found = aten.gelu_backward(gradient, saved[0], approximate=self.module.approximate)
        return found


class Flat(Layer):
    """``nn.Flatten`` of everything but the samples."""

    shape_only = True

    def __init__(self, module: nn.Flatten, name: str) -> None:
        super().__init__(module, name)
        if (module.start_dim, module.end_dim) != (1, -1):
            raise _refusal(name, module, "it must leave nothing but samples and features")

    def forward(self, inputs: Tensor) -> tuple[Tensor, Saved]:
        """Return rows; a picture's channels come first in them, as everywhere."""
        return inputs.flatten(1), (inputs,)

    def input_gradient(self, saved: Saved, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs, in their order of memory."""
        inputs = saved[0]
        pictures = gradient.view(inputs.shape)
        if inputs.dim() == 4 and inputs.is_contiguous(memory_format=torch.channels_last):
            return pictures.contiguous(memory_format=torch.channels_last)
        return pictures


class Normalization(Layer):
    """``nn.BatchNorm1d`` or ``nn.BatchNorm2d``: a batch's outcome is that of all its samples together."""

    trained = True
    per_sample = False

    def __init__(self, module: nn.modules.batchnorm._BatchNorm, name: str) -> None:
        super().__init__(module, name)
        if not module.affine or not module.track_running_stats or module.momentum is None:
            raise _refusal(name, module, "it must have weights, running statistics and a momentum")

    def forward(self, inputs: Tensor) -> tuple[Tensor, Saved]:
        """Return the normalized numbers, the inputs and their statistics; running statistics move on."""
        module = self.module
        module.num_batches_tracked.add_(1)
        outputs, mean, deviation = aten.native_batch_norm(
            inputs,
            *self.forward_weights,
            module.running_mean,
            module.running_var,
            True,
            module.momentum,
            module.eps,
        )
        return outputs, (inputs, mean, deviation)

    def _gradients(self, saved: Saved, gradient: Tensor, wanted: list[bool]) -> Any:
        inputs, mean, deviation = saved
        module = self.module
        running = module.running_mean, module.running_var
        return aten.native_batch_norm_backward(
            gradient, inputs, module.weight, *running, mean, deviation, True, module.eps, wanted
        )

    def input_gradient(self, saved: Saved, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs, through the statistics."""
        found: Tensor = self._gradients(saved, gradient, [True, False, False])[0]
        return found

    def weight_gradient(self, saved: Saved, gradient: Tensor, *, add: bool) -> None:
        """Write the gradient of factors and summands."""
        _, weight, bias = self._gradients(saved, gradient, [False, True, True])
        _write(self.module.weight.grad, weight, add=add)
        _write(self.module.bias.grad, bias, add=add)


class Drop(Layer):
    """``nn.Dropout``: which numbers were left out is kept with a batch."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, Saved]:
        """Return what is left, and what that is."""
        outputs, kept = aten.native_dropout(inputs, self.module.p, True)
        return outputs, (kept,)

    def input_gradient(self, saved: Saved, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        left = 1 - self.module.p
        found: Tensor = aten.native_dropout_backward(gradient, saved[0], 1 / left if left else 0.0)
        return found


_KINDS: dict[type[nn.Module], type[Layer]] = {
    nn.Conv2d: Convolution,
    nn.Linear: Dense,
    nn.MaxPool2d: MaxPool,
    nn.AvgPool2d: AveragePool,
    nn.AdaptiveAvgPool2d: GlobalAverage,
    nn.ReLU: Rectifier,
    **dict.fromkeys((nn.Tanh, nn.Sigmoid, nn.LeakyReLU, nn.SiLU, nn.GELU), Smooth),
    nn.Flatten: Flat,
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d), Normalization),
    nn.Dropout: Drop,
}


def layers_of(module: nn.Module) -> list[Layer]:
    """Return the layers of a feed-forward stack: ``nn.Sequential``, nested as you like, of layers that are known.

    Raises
    ------
    SettingsError
        If it is another module, or a layer cannot be taken apart.
    """
    layers = list(_taken_apart(module))
    for before, layer in itertools.pairwise(layers):
        if isinstance(layer, Rectifier):
            layer.in_place = isinstance(before, Convolution | Dense | MaxPool | Normalization)
    return layers


def _taken_apart(module: nn.Module, name: str = "") -> Iterator[Layer]:
    if isinstance(module, nn.Sequential):
        for number, each in enumerate(module):
            yield from _taken_apart(each, f"{name}.{number}" if name else str(number))
    elif type(module) in _KINDS:
        _check_trained(module, name)
        yield _KINDS[type(module)](module, f"{name} {type(module).__name__}".strip())
    elif not isinstance(module, nn.Identity):
        known = ", ".join(each.__name__ for each in _KINDS)
        raise _refusal(name or "the module", module, f"known are nn.Sequential and {known}")


def _check_trained(module: nn.Module, name: str) -> None:
    parameters = list(module.parameters())
    if any(not each.requires_grad for each in parameters):
        raise _refusal(name, module, "it has frozen parameters")


def _refusal(name: str, module: nn.Module, why: str) -> SettingsError:
    return SettingsError(
        f"{parameter('speculative')} needs a stack of layers that can be taken apart, and not {name} "
        f"({type(module).__name__}): {why}"
    )


def _pair(number: Any) -> list[int]:
    return [number, number] if isinstance(number, int) else list(number)


def _write(target: Tensor, values: Tensor, *, add: bool) -> None:
    if add:
        target.add_(values)
    else:
        target.copy_(values)


def picked(tensors: Sequence[Tensor], rows: Sequence[Tensor]) -> Tensor:
    """Return some samples of each of several tensors, one behind the other, in their order of memory."""
    shape = (sum(map(len, rows)), *tensors[0].shape[1:])
    last = tensors[0].dim() == 4 and tensors[0].is_contiguous(memory_format=torch.channels_last)
    if last:  # as rows of numbers: index_select copies those at once
        flat = [each.permute(0, 2, 3, 1).flatten(1) for each in tensors]
        rows_found = picked(flat, rows)
        return rows_found.view(shape[0], shape[2], shape[3], shape[1]).permute(0, 3, 1, 2)
    found, begin = tensors[0].new_empty(shape), 0
    for tensor, wanted in zip(tensors, rows, strict=True):
        torch.index_select(tensor, 0, wanted, out=found[begin : begin + len(wanted)])
        begin += len(wanted)
    return found


def multiply_adds(layers: Sequence[Layer], inputs: Tensor) -> dict[str, int]:
    """Return the multiply-adds of a step on a batch: ``forward``, ``input gradient`` and ``weight gradient``."""
    counts = {"forward": 0, "input gradient": 0, "weight gradient": 0}
    first = True
    with torch.no_grad():
        for layer in layers:
            inputs, _ = layer.forward(inputs)
            count = layer.multiply_adds(inputs)
            counts["forward"] += count
            counts["weight gradient"] += count
            counts["input gradient"] += 0 if first else count
            first = first and not layer.trained
    return counts
