"""What learners that are made of sums have in common: they have no vector of parameters, and go over rows by blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.learner import Share, Statistic, SumLearner
from manyhands.core.samples import BLOCK_ROWS, Control, Order, Samples
from manyhands.learners.sums import kernels
from manyhands.learners.sums.settings import SumsSettings

Arrays = Mapping[str, NDArray[Any]]
_PREPARED: set[tuple[Any, ...]] = set()
"""For what learners, settings and samples this process has compiled."""


class Pass(ABC):
    """One pass over the samples; see `manyhands.core.learner.SumLearner`, whose methods these are."""

    reads = True
    """Whether it looks at samples; others divide work on what is known already."""

    @abstractmethod
    def asks(self) -> dict[str, Statistic]:
        """Return the arrays that it needs."""

    @abstractmethod
    def collect(self, table: Samples, share: Share, into: Arrays, control: Control) -> None:
        """Add what the share's rows have."""

    @abstractmethod
    def conclude(self, found: Arrays) -> Pass | None:
        """Take what all workers have found, and return the next pass; None if there is no other."""


class MadeOfSums(SumLearner, ABC):
    """The base of these learners.

    Parameters
    ----------
    settings
        What the user sets.
    features, classes
        The shape of the problem.
    rank
        The worker it belongs to, for messages.
    seed
        Of everything random.
    """

    random_start = False

    def __init__(self, settings: SumsSettings, features: int, classes: int, *, rank: int = 0, seed: int = 0) -> None:
        self.settings, self.features, self.classes, self.rank, self.seed = settings, features, classes, rank, seed
        self.size, self.dtype = 0, np.dtype(np.float64)
        self.parameters: NDArray[Any] = np.zeros(0)
        self.buffers: NDArray[Any] = np.zeros(0)
        self.steps_taken = 0
        self._pass: Pass | None = None

    def bind(self, vector: NDArray[Any]) -> None:
        """Do nothing: there is no vector."""

    def initialize(self, rng: np.random.Generator) -> None:
        """Do nothing: nothing is drawn before the passes."""

    def begin(self, table: Samples, rows: int) -> None:
        """Make the first pass."""
        self._pass = self._first(table, rows)

    @property
    def reads(self) -> bool:
        """Whether the next pass looks at samples."""
        return self._pass is None or self._pass.reads

    def asks(self) -> Mapping[str, Statistic] | None:
        """Return what the next pass needs."""
        return None if self._pass is None else self._pass.asks()

    def collect(self, table: Samples, share: Share, into: Arrays, control: Control) -> None:
        """Add what the share's rows have."""
        assert self._pass is not None
        self._pass.collect(table, share, into, control)

    def conclude(self, found: Arrays) -> None:
        """Go on to the next pass, or make the model."""
        assert self._pass is not None
        self._pass = self._pass.conclude(found)
        if self._pass is None:
            self._complete()

    def prepare(self, table: Samples) -> None:
        """Compile everything by training another such learner on a few samples, and predicting them.

        This is done once in a process for samples of the same types, or small fits would be that in the main.
        """
        types = tuple((name, array.dtype) for name, array in table.arrays().items())
        form = type(self), self.settings, types, table.center is None, self.classes == 1
        if form in _PREPARED:
            return
        labels = np.arange(2 * self.classes, dtype=np.int32) % self.classes
        made = {name: np.ones((len(labels), *array.shape[1:]), array.dtype) for name, array in table.arrays().items()}
        made["features"][::3] = 0  # not the same in all rows
        few = table.with_arrays({**made, "labels": labels})
        with np.errstate(all="ignore"):
            self._rehearse(few)
        _PREPARED.add(form)

    def _rehearse(self, few: Samples) -> None:
        """Train a learner like this one on a few samples."""
        other = type(self)(self.settings, self.features, self.classes)
        share = Share(Order(np.arange(few.rows, dtype=np.int32), np.array([0, few.rows]), np.zeros(1, np.int32)), 0, 1)
        control = Control(np.zeros(1, np.int64), np.zeros(1, np.int64))
        other.begin(few, few.rows)
        while (asked := other.asks()) is not None:
            if not other.reads:  # a few samples need not have a solution
                return
            shapes = {name: each.shape if each.how != "gather" else (1, *each.shape) for name, each in asked.items()}
            arrays = {name: np.zeros(shape, asked[name].dtype) for name, shape in shapes.items()}
            mine = {name: array[0] if asked[name].how == "gather" else array for name, array in arrays.items()}
            other.collect(few, share, mine, control)
            other.conclude(arrays)
        other.predict_proba(few)

    @abstractmethod
    def _first(self, table: Samples, rows: int) -> Pass:
        """Return the first pass."""

    @abstractmethod
    def _complete(self) -> None:
        """Make the model of what the passes have found."""

    def outputs(self, table: Samples) -> NDArray[Any]:
        """Return class probabilities."""
        return self.predict_proba(table)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the model."""
        return self.weights()

    def load_state(self, state: Arrays) -> None:
        """Restore a model."""
        self.load_weights(state)

    def predict_proba(self, table: Samples) -> NDArray[np.float64]:
        """Return class probabilities, shape (rows, K)."""
        found = np.empty((table.rows, self.classes))
        for start in range(0, table.rows, BLOCK_ROWS):
            rows = np.arange(start, min(start + BLOCK_ROWS, table.rows), dtype=np.int32)
            found[rows] = probabilities(self._scores(inputs_of(table, rows)))
        return found

    def _scores(self, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return logarithms of unnormalized class probabilities for a block of inputs."""
        raise NotImplementedError


def blocks(share: Share, control: Control, most: int = BLOCK_ROWS) -> Iterator[NDArray[np.int32]]:
    """Yield the rows of each block of a share, as many blocks at once as have at most ``most`` rows.

    It counts blocks for who watches the worker, and ends when the run is stopped.
    """
    bounds, rows, step = share.order.bounds, share.order.rows, 0
    while step < share.order.steps and not control.stop[0]:
        end = max(step + 1, int(np.searchsorted(bounds, bounds[step] + most, side="right")) - 1)
        yield rows[bounds[step] : bounds[end]]
        control.progress[0] += end - step
        step = end


def inputs_of(table: Samples, rows: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the inputs of some rows in double precision."""
    out = np.empty((len(rows), table.features.shape[1]))
    center = np.zeros(len(table.scale)) if table.center is None else table.center
    kernels.to_inputs(table.features, rows, center, table.scale, table.shift, out)
    return out


def is_whole(table: Samples) -> bool:
    """Return whether sums of what is stored are sums of whole numbers: of bytes without weights."""
    return bool(table.features.dtype == np.uint8 and table.weights is None and table.center is None)


def weights_in(table: Samples) -> NDArray[np.float64]:
    """Return the samples' weights in double precision; none if they are all 1."""
    return np.zeros(0) if table.weights is None else table.weights.astype(np.float64, copy=False)


def heaviest_of(table: Samples) -> float:
    """Return the largest absolute weight of a sample. Weights are of samples in memory, which all workers have."""
    return 1.0 if table.weights is None else float(np.abs(table.weights).max(initial=0.0))


def probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return exp(scores), normalized row by row."""
    scores = scores - scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores


def checked(blocks: Arrays, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[Any]]:
    """Return float64 arrays of a model file, with these names and shapes; others are a ValueError."""
    for name, shape in shapes.items():
        block = blocks.get(name)
        if block is None or block.shape != shape or block.dtype != np.float64:
            found = "missing" if block is None else f"{block.dtype} of shape {block.shape}"
            raise ValueError(f"{name} is {found}; the model needs float64 of shape {shape}")
    return {name: np.array(blocks[name]) for name in shapes}
