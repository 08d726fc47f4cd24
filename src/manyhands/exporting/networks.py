"""The shipped networks for images (`manyhands.learners.torch.networks`) as nodes of a graph, module by module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray
from torch import nn

from manyhands.core.errors import SettingsError
from manyhands.exporting.graph import Graph
from manyhands.learners.torch.learner import Ensemble
from manyhands.learners.torch.networks import Residual

Blocks = Mapping[str, NDArray[Any]]


def network(graph: Graph, value: str, module: nn.Module, name: str, blocks: Blocks) -> str:
    """Add a module in evaluation mode, and return its output.

    Parameters
    ----------
    graph
        Where nodes are added.
    value
        The module's input.
    module
        Says what is computed.
    name
        Of the module; those of its tensors begin with it.
    blocks
        Tensors by name.

    Raises
    ------
    SettingsError
        If a part of it cannot be exported; names the part.
    """
    if type(module) not in _PARTS:
        raise _refusal(name, module, "layers of this kind are not known to the export")
    return _PARTS[type(module)](graph, value, module, name, blocks)


def _refusal(name: str, module: nn.Module, why: str) -> SettingsError:
    return SettingsError(
        f"the layer {name} ({module}) cannot be exported to ONNX: {why}; torch.onnx.export on model.learner.module may "
        "be able to (that has neither scaling nor class names)"
    )


def _require(holds: bool, name: str, module: nn.Module) -> None:
    """Refuse a layer that has other options than the shipped networks use."""
    if not holds:
        raise _refusal(name, module, "one of its options is not known to the export")


def _sequence(graph: Graph, value: str, module: Any, name: str, blocks: Blocks) -> str:
    for own, part in module.named_children():
        value = network(graph, value, part, f"{name}.{own}", blocks)
    return value


def _ensemble(graph: Graph, value: str, module: Any, name: str, blocks: Blocks) -> str:
    members = [
        network(graph, value, part, f"{name}.members.{own}", blocks) for own, part in module.members.named_children()
    ]
    return graph.apply("Mean", *members)


def _residual(graph: Graph, value: str, module: Any, name: str, blocks: Blocks) -> str:
    body = network(graph, value, module.body, f"{name}.body", blocks)
    shortcut = network(graph, value, module.shortcut, f"{name}.shortcut", blocks)
    return network(graph, graph.apply("Add", body, shortcut), module.activation, f"{name}.activation", blocks)


def _tensors(graph: Graph, name: str, blocks: Blocks, *own: str) -> list[str]:
    """Return constants for the tensors that a module has."""
    return [graph.constant(each, blocks[each]) for each in (f"{name}.{part}" for part in own) if each in blocks]


def _convolution(graph: Graph, value: str, module: Any, name: str, blocks: Blocks) -> str:
    _require(module.padding_mode == "zeros" and not isinstance(module.padding, str), name, module)
    return graph.apply(
        "Conv",
        value,
        *_tensors(graph, name, blocks, "weight", "bias"),
        kernel_shape=module.kernel_size,
        strides=module.stride,
        pads=2 * module.padding,
        dilations=module.dilation,
        group=module.groups,
    )


def _batch_norm(graph: Graph, value: str, module: Any, name: str, blocks: Blocks) -> str:
    _require(module.affine and module.track_running_stats, name, module)
    tensors = _tensors(graph, name, blocks, "weight", "bias", "running_mean", "running_var")
    return graph.apply("BatchNormalization", value, *tensors, epsilon=module.eps)


def _max_pool(graph: Graph, value: str, module: Any, name: str, blocks: Blocks) -> str:
    _require(not module.ceil_mode and not module.return_indices and module.dilation == 1, name, module)
    size, stride, padding = (_pair(each) for each in (module.kernel_size, module.stride, module.padding))
    return graph.apply("MaxPool", value, kernel_shape=size, strides=stride, pads=2 * padding)


def _pair(sizes: Any) -> tuple[int, ...]:
    return sizes if isinstance(sizes, tuple) else (sizes, sizes)


def _average_of_all(graph: Graph, value: str, module: Any, name: str, blocks: Blocks) -> str:
    _require(_pair(module.output_size) == (1, 1), name, module)
    return graph.apply("GlobalAveragePool", value)


def _flatten(graph: Graph, value: str, module: Any, name: str, blocks: Blocks) -> str:
    _require((module.start_dim, module.end_dim) == (1, -1), name, module)
    return graph.apply("Flatten", value, axis=1)


def _linear(graph: Graph, value: str, module: Any, name: str, blocks: Blocks) -> str:
    return graph.apply("Gemm", value, *_tensors(graph, name, blocks, "weight", "bias"), transB=1)


def _relu(graph: Graph, value: str, module: Any, name: str, blocks: Blocks) -> str:
    return graph.apply("Relu", value)


def _identity(graph: Graph, value: str, module: Any, name: str, blocks: Blocks) -> str:
    return value


_PARTS: dict[type[nn.Module], Callable[[Graph, str, Any, str, Blocks], str]] = {
    Ensemble: _ensemble,
    Residual: _residual,
    nn.AdaptiveAvgPool2d: _average_of_all,
    nn.BatchNorm2d: _batch_norm,
    nn.Conv2d: _convolution,
    nn.Flatten: _flatten,
    nn.Identity: _identity,
    nn.Linear: _linear,
    nn.MaxPool2d: _max_pool,
    nn.ReLU: _relu,
    nn.Sequential: _sequence,
}
"""What the shipped networks are made of."""
