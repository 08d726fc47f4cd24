"""Samples as they are stored, the order in which a worker uses them, and the cells that stop a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError

BLOCK_ROWS = 1024
"""Rows at most whose sums are made at once: so many products of bytes less 128 add up exactly in float32."""
_PER_SAMPLE, _PER_FEATURE = {"per": "sample"}, {"per": "feature"}
"""What the first axis of a field of :class:`Samples` counts."""


@dataclass(frozen=True)
class Samples:
    """Samples as they are stored, and how stored values become the network's inputs.

    Code that copies, splits, sends or compares samples uses :meth:`arrays` and :meth:`facts`, so that a new field needs
    no other line.

    Attributes
    ----------
    features : ndarray of shape (rows, features), uint8, float32 or float64
        As read. Images stay uint8; a learner converts a batch when it uses it: ``(features - center) * scale + shift``.
    labels : ndarray of shape (rows,), int32
        Class number of each sample, 0..K-1.
    scale, shift : ndarray of shape (features,), float64
        The scaling, per feature.
    targets : ndarray of shape (rows, outputs), float32 or float64, or None
        Desired outputs, for models that do not predict one class for each sample; ``labels`` are unused then.
    weights : ndarray of shape (rows,), float32 or float64, or None
        Weight of each sample in the loss; None for equal weights.
    first_row : int
        Number of the first sample, among those of all processes.
    center : ndarray of shape (features,), float64, or None
        Subtracted from the features first, in double precision; None for nothing, as always for bytes.
    sample_shape : tuple of int
        Shape of one sample before it was flattened to a row, such as ``(1, 28, 28)`` for images (channels, height,
        width). If it is not given, ``(features,)``.

    Raises
    ------
    DataError
        If a sample of this shape has another number of features.
    """

    features: NDArray[Any] = field(metadata=_PER_SAMPLE)
    labels: NDArray[np.int32] = field(metadata=_PER_SAMPLE)
    scale: NDArray[np.float64] = field(metadata=_PER_FEATURE)
    shift: NDArray[np.float64] = field(metadata=_PER_FEATURE)
    targets: NDArray[Any] | None = field(default=None, metadata=_PER_SAMPLE)
    weights: NDArray[Any] | None = field(default=None, metadata=_PER_SAMPLE)
    first_row: int = 0
    center: NDArray[np.float64] | None = field(default=None, metadata=_PER_FEATURE)
    sample_shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        stored = self.features.shape[1:]
        shape = tuple(self.sample_shape) or stored
        if math.prod(shape) != math.prod(stored):
            raise DataError(f"samples of shape {shape} have {math.prod(shape)} features, and the rows {stored}")
        object.__setattr__(self, "sample_shape", shape)

    def __repr__(self) -> str:
        return f"Samples({self.rows:,} rows of {self.features.shape[1]:,} features, {self.features.dtype})"

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that have an entry for each sample, by field name, without those that are None."""
        found = {each.name: getattr(self, each.name) for each in fields(self) if each.metadata == _PER_SAMPLE}
        return {name: array for name, array in found.items() if array is not None}

    def facts(self) -> dict[str, Any]:
        """Return the fields that are not arrays, as plain data."""
        return {each.name: getattr(self, each.name) for each in fields(self) if not each.metadata}

    def with_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> Samples:
        """Return samples with these arrays, by field name, in the place of their own; all else is the same."""
        changed: dict[str, Any] = dict(arrays)
        return replace(self, **changed)

    def inputs(self) -> NDArray[np.float64]:
        """Return all inputs, shape (rows, features), in double precision."""
        values = self.features if self.center is None else self.features - self.center
        return np.asarray(values * self.scale + self.shift)

    def take(self, rows: slice | NDArray[Any]) -> Samples:
        """Return some of the samples, with all arrays and facts.

        Consecutive samples keep their numbers (``first_row``). Others, chosen one by one, are numbered from 0.
        """
        begin, _, step = rows.indices(self.rows) if isinstance(rows, slice) else (0, 0, 0)
        first = self.first_row + begin if step == 1 else 0
        return replace(self.with_arrays({name: array[rows] for name, array in self.arrays().items()}), first_row=first)

    @property
    def rows(self) -> int:
        """Number of samples."""
        return int(self.features.shape[0])


@dataclass(frozen=True)
class Order:
    """The samples that one worker uses, step by step.

    Batches may differ in size (the last of an epoch; parts of a global batch that n does not divide), so they are
    stored end to end.

    Attributes
    ----------
    rows : ndarray of shape (examples,), int32
        Row numbers of the table.
    bounds : ndarray of shape (steps + 1,), int64
        Step s uses ``rows[bounds[s]:bounds[s + 1]]``; it may be empty.
    global_rows : ndarray of shape (steps,), int32
        Size of the global batch that step s is this worker's part of.
    """

    rows: NDArray[np.int32]
    bounds: NDArray[np.int64]
    global_rows: NDArray[np.int32]

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.global_rows)

    @property
    def examples(self) -> int:
        """Number of examples in all steps together."""
        return int(self.bounds[-1] - self.bounds[0])

    def part(self, start: int, stop: int) -> Order:
        """Return the steps start..stop-1, without copying."""
        return Order(self.rows, self.bounds[start : stop + 1], self.global_rows[start:stop])


@dataclass(frozen=True)
class Control:
    """Cells that a run shares with the code that supervises it.

    Attributes
    ----------
    stop : ndarray of shape (1,), int64
        Non-zero when the run must end; checked between any two steps.
    progress : ndarray of shape (1,), int64
        Number of steps that this worker has taken; written after every step.
    pace : ndarray of shape (2,), int64
        Nanoseconds that this worker has computed, without waiting for others, and samples that it has used meanwhile;
        written after every call of the learner.
    ending : ndarray of shape (1,), int64
        Non-zero when the run is asked to end by itself, as soon as all workers have written down where they are.
    """

    stop: NDArray[np.int64]
    progress: NDArray[np.int64]
    pace: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))
    ending: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
