"""An ONNX graph in the making. The package onnx is imported by this folder only, and only to export: it is an extra."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Graph:
    """Nodes and constants of a graph; a value is known by its name.

    Parameters
    ----------
    dtype
        Of the numbers that the network computes with, float32 or float64.

    Attributes
    ----------
    nodes : list of onnx.NodeProto
        In the order in which they are computed.
    constants : dict of str to onnx.TensorProto
        By name.
    """

    def __init__(self, dtype: DTypeLike) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def apply(self, operator: str, *inputs: str | float, **attributes: Any) -> str:
        """Add a node and return the name of its only output.

        Parameters
        ----------
        operator
            Name of a standard operator of ONNX.
        inputs
            Names of values; numbers become constants of the graph's dtype.
        attributes
            Of the operator. With ``output``, the output has that name.
        """
        from onnx import helper

        output = attributes.pop("output", f"{operator}.{len(self.nodes)}")
        names = [each if isinstance(each, str) else self._number(each) for each in inputs]
        self.nodes.append(helper.make_node(operator, names, [output], name=output, **attributes))
        return str(output)

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        self.constants[name] = numpy_helper.from_array(values, name)
        return name

    def cast(self, value: str, dtype: DTypeLike) -> str:
        """Return a value in another dtype."""
        return self.apply("Cast", value, to=tensor_type(np.dtype(dtype)))

    def _number(self, number: float) -> str:
        return self.constant(f"number {number!r}", np.array(number, self.dtype))


def tensor_type(dtype: np.dtype[Any]) -> int:
    """Return ONNX's number of a dtype."""
    from onnx import TensorProto, helper

    return int(TensorProto.STRING if dtype.kind in "OU" else helper.np_dtype_to_tensor_dtype(dtype))
