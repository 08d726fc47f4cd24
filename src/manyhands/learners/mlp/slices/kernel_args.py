"""What the kernel of a sliced network works on besides what `manyhands.learners.mlp.kernel_args` has."""

from __future__ import annotations

from typing import Any, NamedTuple

LOAD, FORWARD, ACTIVATE, LOSS, BACK, SLOPES, GRADIENT, BEGIN, FUSED, APPLY, NORMS, GATHER, SUM, SUM_NORMS, MEET = range(
    15
)
"""What an operation of a program does; see `manyhands.learners.mlp.slices.kernels`."""
EXCHANGES = (GATHER, SUM, SUM_NORMS, MEET)
VALUES, DELTAS, MAIL = range(3)
"""Which memory an operation reads or writes: A or D of this worker's neurons, or what workers exchange."""
CODE, LAYER, SOURCE, SOURCE_AT, PITCH, TARGET, TARGET_AT, DELTA, DELTA_AT, NUMBER, FIELDS = range(11)
"""Fields of an operation, and how many there are: a program is an int64 array with a row for each operation.

SOURCE, TARGET and DELTA are memories, with where a matrix begins in each; PITCH is the source's; NUMBER is that of an
exchange.
"""


class Slices(NamedTuple):
    """The shape of this worker's weights."""

    inner: Any
    """int64 (L,): rows."""
    outer: Any
    """int64 (L,): columns."""
    first_input: int
    """The first input that this worker reads in its first layer."""
    counted: Any
    """float64 (L,): 1 where sums over all workers' weights count this worker's, else 0."""


class Exchange(NamedTuple):
    """How the workers that hold one network together communicate."""

    meets: bool
    """Whether the kernel itself waits for the others, who share memory; else messages have been received before."""
    meeting: Any
    """The `manyhands.runtime.shared_reduce.SharedReduction` of these workers: its barrier, clock and scratch memory."""
    mail: Any
    """Flat: what is sent, and what is made of it."""
    addresses: Any
    """uintp (exchanges, workers): where each worker's contribution begins."""
    pitches: Any
    """int64 (exchanges, workers): elements from one of its rows to the next."""
    widths: Any
    """int64 (exchanges, workers): elements of a row."""
    offsets: Any
    """int64 (exchanges, workers): where in the result's rows it goes."""
    sources: Any
    """int64 (exchanges,): how many contributions there are: one, if it is the sum already."""
    joint: Any
    """int64 (exchanges,): elements from one row of the result to the next."""
    norms: Any
    """float64 (2 L,): sums of squares of each layer's weights and steps."""
    own_norms: Any
    """float64 (2 L,): this worker's part of them."""
    squares: Any
    """float64 (steps,): sums of the squares of this worker's weights before each update."""
