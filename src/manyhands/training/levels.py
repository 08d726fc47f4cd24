"""At which levels of parallelism workers share a run: what is possible, and what `auto` chooses.

The levels are those of Pethick et al. 2003 below the training session: every worker has samples of its own (exemplar),
a slice of every layer's neurons (node), or of every layer's inputs (weight); `Grid` mixes the first with one of the
others. The choice is by a cost model of one step of one worker,

    T = (F / R  +  W / M) (1 + U X)  +  X L  +  S / C,

F floating-point operations, W bytes of parameters and of the optimizer's state that pass through memory, X exchanges,
S bytes that a worker exchanges. Workers are never equally fast: each time that they meet, U of what they compute is
spent on waiting. R, M, U, L and C were measured (docs/levels-of-parallelism.md, `manyhands study levels`
compares them with any machine); they are constants here, so that the same run has the same grid everywhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from manyhands.core.errors import SettingsError
from manyhands.core.grid import LEVELS, Grid
from manyhands.core.parameters import parameter
from manyhands.core.strategy import GradientRule, Strategy
from manyhands.data.dataset import Dataset
from manyhands.data.partitioning import Partition
from manyhands.learners.mlp.settings import ONE_VECTOR, MLPSettings
from manyhands.learners.mlp.slices.layout import COLUMNS, ROWS, WHOLE, check_cut, cut_of
from manyhands.runtime.affinity import usable_cores
from manyhands.teams.registry import kind_of
from manyhands.training.auto import Asked, choose
from manyhands.training.spec import DEFAULT_BATCH, RunSpec

RATE = 150e9
"""R: operations per second of one core in matrix products of batches, in float32; half of it in float64."""
MEMORY = 7.5e9
"""M: bytes per second of one core that pass through memory in products and updates of wide layers."""
WAITING = 0.02
"""U: part of a step's computing for which workers wait for the slowest one whenever they meet."""
LATENCY = {True: 200e-6, False: 250e-6}
"""L: seconds of an exchange without its bytes and with the usual delays, for workers that share memory, and others."""
TRAFFIC = {True: 8e9, False: 2e9}
"""C: bytes per second of one worker in exchanges, likewise."""
_PASSES = 4
"""How often a step reads or writes all weights, but for the update: products there and back pack them."""
_UPDATE_PASSES = {1: 5, 2: 7}
"""What an update adds, by how many vectors the optimizer uses: it reads and writes them, and the parameters."""
_ONE_USED = (*ONE_VECTOR, "adagrad", "rmsprop")
"""Optimizers of which an update reads and writes one vector, whether there is another or not."""
_CACHE = 1 << 21
"""Bytes of a worker's weights that stay in its cache: only what is beyond them passes through memory."""
_ROUND_PASSES = 2
"""How often a round of gradients reads or writes all of them: the sum, and what is given to everyone."""
_WORTH = 0.85
"""A network is divided if a step takes at most so much of its time without: the model is not exact."""


@dataclass(frozen=True)
class Cost:
    """What a step costs each worker on one grid, by the model.

    Attributes
    ----------
    grid
        The grid.
    operations
        F: floating-point operations.
    memory
        W: bytes that pass through memory.
    exchanges
        X: how often workers meet, to exchange something or to average gradients.
    sent
        S: bytes that a worker takes part with when they do.
    seconds
        T.
    """

    grid: Grid
    operations: float
    memory: float
    exchanges: int
    sent: float
    seconds: float


def costs(
    network: MLPSettings,
    widths: Sequence[int],
    batch: int,
    workers: int,
    shared_memory: bool,
    averages: Callable[[Grid], bool] = lambda grid: False,
) -> list[Cost]:
    """Return what a step costs on every grid of so many workers that is possible.

    Parameters
    ----------
    network
        The network; of its settings, optimizer and dtype matter.
    widths
        Those of inputs, hidden layers and outputs.
    batch
        Samples of the step, of all workers together.
    workers
        How many.
    shared_memory
        Whether they share memory, or send messages.
    averages
        Whether workers with samples of their own average gradients in every step on a grid; if not, rounds are rare,
        and cost nothing here.

    Returns
    -------
    list of Cost
        The first is that of the grid without a divided network.
    """
    return [
        _cost(network, widths, batch, grid, shared_memory, averages(grid))
        for grid in possible_grids(widths, batch, workers)
    ]


def possible_grids(widths: Sequence[int], batch: int, workers: int) -> Iterator[Grid]:
    """Yield the grids of so many workers, the one without a divided network first."""
    yield Grid(workers)
    for parts in range(2, workers + 1):
        if workers % parts or workers // parts > batch:
            continue
        for level in LEVELS:
            try:
                check_cut(level, parts, widths)
            except SettingsError:
                continue
            yield Grid(workers // parts, level, parts)


def _cost(
    network: MLPSettings, widths: Sequence[int], batch: int, grid: Grid, shared_memory: bool, averages: bool
) -> Cost:
    """Return what a step costs each worker."""
    rows, size = -(-batch // (grid.data or 1)), 4 if network.dtype == "float32" else 8
    operations, weights = 0.0, 0.0
    kinds = cut_of(grid.level, len(widths) - 1).kinds if grid.divides else (WHOLE,) * (len(widths) - 1)
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        own = inputs * outputs / (1 if kinds[layer] == WHOLE else grid.parts)
        operations += (2 if layer == 0 else 3) * 2 * rows * own
        weights += own * size
    passes = _PASSES + _UPDATE_PASSES[1 if network.optimizer in _ONE_USED else 2]
    memory = passes * max(weights - _CACHE, 0.0)
    exchanges, numbers = _exchanges(grid, widths, rows)
    sent = float(numbers * size)
    if averages and (grid.data or 1) > 1:
        exchanges, sent = exchanges + 2, sent + _ROUND_PASSES * weights  # all meet before a round and after it
    rate = RATE * (1 if size == 4 else 0.5)
    seconds = (
        (operations / rate + memory / MEMORY) * (1 + WAITING * exchanges)
        + exchanges * LATENCY[shared_memory]
        + sent / TRAFFIC[shared_memory]
    )
    return Cost(grid, operations, memory, exchanges, sent, seconds)


def _exchanges(grid: Grid, widths: Sequence[int], rows: int) -> tuple[int, int]:
    """Return how many exchanges a step has, and how many numbers a worker makes of what it gets in all of them."""
    if not grid.divides:
        return 0, 0
    cut, found = cut_of(grid.level, len(widths) - 1), []
    for layer, kind in enumerate(cut.kinds):
        if kind == COLUMNS and cut.sliced[layer]:
            found.append(widths[layer])
        if kind == COLUMNS and layer > 0:
            found.append(grid.parts * widths[layer] // (grid.parts if cut.sliced[layer] else 1))
        if kind == ROWS:
            found.append(grid.parts * widths[layer + 1] // (grid.parts if cut.sliced[layer + 1] else 1))
        if kind == ROWS and cut.sliced[layer + 1]:
            found.append(widths[layer + 1])
    return max(len(found), 2), rows * sum(found)  # after a single one they meet once more


def can_divide(spec: RunSpec, dataset: Dataset) -> bool:
    """Whether `auto` may divide the network of a run: nothing else that was asked for forbids it."""
    return (
        spec.learner == "mlp"
        and kind_of(spec.team).divides
        and not spec.reliability.continues
        and spec.parsed.partition is None
        and spec.sharding != "fixed"
        and (dataset.train.rows == dataset.rows or dataset.parts is not None)
        and bool(spec.network.hidden)
    )


def chosen_grid(spec: RunSpec, dataset: Dataset, workers: int) -> Grid:
    """Return the grid on which a step takes the least time, by the model."""
    found = _costs_of(spec, dataset, workers)
    best = min(found, key=lambda cost: cost.seconds)
    return best.grid if best.seconds <= _WORTH * found[0].seconds else found[0].grid


def reason(spec: RunSpec, dataset: Dataset, grid: Grid) -> str:
    """Return in words why `auto` has chosen a grid; nothing where there was no choice."""
    found = _costs_of(spec, dataset, grid.size)
    if len(found) == 1:
        return ""
    own = found[0]
    best = min(found[1:], key=lambda cost: cost.seconds)
    alone = f"with samples of its own a worker takes {_milliseconds(own.seconds)} for a step by the cost model"
    if not grid.divides:
        little = ", which would gain too little" if best.seconds < own.seconds else ""
        return f"the network is not divided{little}: {alone}, and {best.grid.name} {_milliseconds(best.seconds)}"
    return (
        f"the network is divided ({grid.name}): {alone} ({own.memory / 1e6:.0f} MB of parameters pass through memory), "
        f"and so divided {_milliseconds(best.seconds)} ({best.memory / 1e6:.0f} MB, and {best.sent / 1e6:.2g} MB in "
        f"{best.exchanges} exchange{'s' if best.exchanges > 1 else ''})"
    )


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def _costs_of(spec: RunSpec, dataset: Dataset, workers: int) -> list[Cost]:
    widths = (dataset.features, *spec.network.hidden, dataset.outputs)
    batch = min(DEFAULT_BATCH, dataset.rows) if spec.batch is None else spec.batch

    def averages(grid: Grid) -> bool:
        asked = Asked(spec.network, spec.batch, spec.parsed.schedule)
        return choose(asked, grid.data or 1, dataset.rows, spec.epochs)[0].needs.syncs_gradients

    found = costs(spec.network, widths, batch, workers, kind_of(spec.team).shared_memory, averages)
    if workers <= usable_cores() or not kind_of(spec.team).shared_memory:
        return found
    return found[:1]  # workers that wait for each other in every layer need a core each


def check_grid(spec: RunSpec, grid: Grid, strategy: Strategy, dataset: Dataset) -> None:
    """Raise SettingsError if a network cannot be divided so in this run."""
    if not grid.divides:
        return
    what = parameter("grid", grid.name)
    if spec.learner != "mlp":
        raise SettingsError(f"{what} divides the learner mlp, and {spec.learner} is none; leave it out")
    if not kind_of(spec.team).divides:
        raise SettingsError(
            f"{what} is for workers that are threads or MPI processes, not for the team {spec.team}; use "
            f"{parameter('team', 'threads')} or {parameter('team', 'mpi')}"
        )
    if spec.reliability.continues:
        raise SettingsError(
            f"{what} gives each worker a part of the network, which is lost with it: use "
            f"{parameter('on_loss', 'restart')} with {parameter('checkpoint')}"
        )
    if strategy.needs.shared_memory:
        raise SettingsError(f"the workers of {strategy.name} share one whole vector: leave {what} out")
    if spec.partition is not None and spec.parsed.partition != Partition() and grid.data == 1:
        raise SettingsError(f"{parameter('partition')} divides samples, and with {what} all workers see the same ones")
    for rule in strategy.rules:
        if isinstance(rule, GradientRule) and not rule.fusable:
            raise SettingsError(f"{rule.name} compresses the gradient of a whole network: leave send or {what} out")
    check_cut(grid.level, grid.parts, (dataset.features, *spec.network.hidden, dataset.outputs))
