"""What the kernels work on: the network's shape, the update rule, memory for a batch, a table with its order."""

from __future__ import annotations

from typing import Any, NamedTuple

IDENTITY, LOGISTIC, TANH, RELU = range(4)
SGD, NESTEROV, ADAM = range(3)
GRADIENT, ROUND, UPDATE = 1, 2, 4  # the parts of a step that talks; may be added up
PIECE = 8192
"""Elements of the gradient that are computed and used at once: 32 KiB of float32."""


class Network(NamedTuple):
    """Shape of the network and where each layer's blocks begin in the flat vector."""

    widths: Any
    """int64 (L + 1,): inputs, hidden layers, classes; as stored, with padding."""
    real_widths: Any
    """int64 (L + 1,): without padding."""
    weight_at: Any
    """int64 (L,)."""
    bias_at: Any
    """int64 (L,)."""
    tiled: bool
    """Whether `tiles` may be used: float32, on a CPU that has the registers."""
    activation: int
    """IDENTITY, LOGISTIC, TANH or RELU."""


class Rule(NamedTuple):
    """The update rule and its constants, all of the vector's dtype."""

    kind: int
    l2: Any
    momentum: Any
    beta_1: Any
    beta_2: Any
    epsilon: Any


class Work(NamedTuple):
    """Memory for one batch, used again in every step."""

    values: Any
    """Flat: A_0, A_1, ..., each with room for `capacity` rows."""
    deltas: Any
    """Flat, laid out like `values`."""
    starts: Any
    """int64 (L + 1,): where A_l begins."""


class Batches(NamedTuple):
    """A table and the rows to use, see `manyhands.protocols`."""

    features: Any
    labels: Any
    scale: Any
    shift: Any
    rows: Any
    bounds: Any
    global_rows: Any
