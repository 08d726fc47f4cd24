"""What the kernels work on: the network's shape, the update rule, memory for a batch, a table with its order.

There are two variants of the kernel, as types decide what is compiled. The basic one has what most runs need: softmax
over one class per row, scikit-learn's activations, SGD and Adam. The full one has the whole space of networks, and
takes longer to compile. Arguments that have `Work.slopes` select the full one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

IDENTITY, LOGISTIC, TANH, RELU, LEAKY_RELU, ELU, SELU, GELU, SILU, SOFTPLUS, SOFTSIGN = range(11)
SGD, MOMENTUM, NESTEROV, ADAM, ADAGRAD, RMSPROP, ADADELTA, ADAMAX, NADAM, ADAMW, LAMB, LARS = range(12)
CROSS_ENTROPY, BINARY, SQUARED, POISSON = range(4)
GRADIENT, ROUND, UPDATE, PREDICTION, FUSED = 1, 2, 4, 8, 16  # what a step does; may be added up
LOCAL = GRADIENT | UPDATE | FUSED  # a step alone: each piece of the gradient is used at once
RATE, DECAY, ZERO, CORRECTION, SECOND_RATE, RATIO, CONSTANTS = range(7)
"""Places in `Course.constants`, and their number: learning rate (the part of Adam's bias correction in it), penalty on
weights and on biases, 1 / sqrt(1 - beta_2^t), a second rate, a layer's trust ratio."""
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
    first_unit: Any
    """int64 (L + 1,): number of the first neuron of each layer that is here; 0, unless it is a slice of one."""
    tiled: bool
    """Whether `tiles` may be used: float32, on a CPU that has the registers."""
    activation: int
    """IDENTITY to SOFTSIGN."""
    relu_at_once: bool
    """Whether biases are added and negative values cut off in one pass: RELU, in the basic variant."""
    loss: int
    """CROSS_ENTROPY to POISSON; the basic variant knows the first only."""
    drop_below: int
    """0, or what 32 random bits must reach for a hidden neuron to take part."""
    drop_scale: Any
    """What those that do are multiplied with, 1 / (1 - p); of the vectors' dtype."""
    seed: int
    """Of the dropout."""


class Vectors(NamedTuple):
    """The vectors of a network, laid out alike."""

    params: Any
    gradient: Any
    """The gradient; in local steps, scratch memory for a piece of it."""
    first: Any
    """SGD's velocity, Adam's first moment, Adadelta's mean square of updates."""
    second: Any
    """Adam's second moment, or what others keep of the squares."""


class Rule(NamedTuple):
    """The update rule and its constants, all of the vector's dtype."""

    kind: int
    l2: Any
    momentum: Any
    beta_1: Any
    beta_2: Any
    epsilon: Any
    rho: Any
    weight_decay: Any


class Work(NamedTuple):
    """Memory for one batch, used again in every step."""

    values: Any
    """Flat: A_0, A_1, ..., each with room for `capacity` rows."""
    deltas: Any
    """Flat, laid out like `values`."""
    starts: Any
    """int64 (L + 1,): where A_l begins."""
    flags: Any
    """uint8 (inputs,): whether an input is other than zero in any row of the batch."""
    active: Any
    """int64 (inputs,): the numbers of those that are, ascending."""
    actives: Any
    """int64 (1,): how many these are."""
    every: Any
    """int64 (any,): 0, 1, 2, ...: for products that leave nothing out."""
    mass: Any
    """float64 (1,): in the full variant, the sum of the batch's weights."""
    packed: Any
    """Flat: room for a batch of the widest layer's deltas, if `tiles.backward_product` copies them."""
    slopes: Any
    """Flat, laid out like `values`: f'(Z), with the dropout in it; None in the basic variant."""


class Batches(NamedTuple):
    """A table and the rows to use, see `manyhands.core`."""

    features: Any
    labels: Any
    scale: Any
    """Of the network's dtype for rows of bytes, else float64; so is `shift`."""
    shift: Any
    center: Any
    """float64 (inputs,): what is subtracted from floating-point values first. None for bytes."""
    rows: Any
    bounds: Any
    global_rows: Any
    targets: Any
    """In the full variant, (rows, outputs) of the vectors' dtype, or no rows: then the labels are meant. Else None."""
    weights: Any
    """In the full variant, (rows,) of the vectors' dtype, or none: then all rows count alike. Else None."""
    first_row: int
    """Number of the table's first row, among those of all processes."""


class Course(NamedTuple):
    """What a run does, how far it is, and who may stop it."""

    parts: Any
    """int64 (1,): GRADIENT, ROUND, UPDATE, PREDICTION, LOCAL."""
    rates: Any
    """float64 (steps,): learning rates."""
    steps_taken: Any
    """int64 (1,): the optimizer's step count, which goes on counting."""
    constants: Any
    """(CONSTANTS,) of the vectors' dtype: what `optimizers.set_constants` has found for the present step."""
    momenta: Any
    """float64 (1,): NAdam's product of momenta."""
    losses: Any
    """float64 (steps,): written."""
    stop: Any
    """int64 (1,): other than 0 once the run shall end."""
    progress: Any
    """int64 (1,): counts steps."""
    due: Any
    """int64 (any,): after how many steps the parameters are averaged, ascending."""
    seen: Any
    """int64 (1,): examples since the last round."""
    kept_at: Any
    """int64 (k,): after how many steps the parameters are copied, ascending."""
    kept: Any
    """(k, size) of the vectors' dtype: written, the copies."""
    kept_after: Any
    """int64 (k,): written, after how many nanoseconds."""
