"""The request of a study of the levels of parallelism, and the cases that follow from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from manyhands.core.checks import whole
from manyhands.core.errors import SettingsError
from manyhands.core.grid import LEVELS, Grid
from manyhands.core.parameters import parameter
from manyhands.core.suggestions import choice_of
from manyhands.data.dataset import Dataset
from manyhands.data.resplit import head
from manyhands.learners.mlp.slices.layout import check_cut
from manyhands.studies.base.workers import numbers_of_workers
from manyhands.teams.registry import kind_of
from manyhands.training.levels import costs
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.spec import DEFAULT_BATCH, RunSpec

ONE, SESSION, EXEMPLAR = "one", "session", "exemplar"
STUDIED = (SESSION, EXEMPLAR, *LEVELS)
"""The four levels of Pethick et al. 2003, from the coarsest on, and pairs."""
DEFAULT_NETWORKS: tuple[tuple[int, ...], ...] = ((75,), (2048, 2048), (256,) * 8)
NAMES = dict(zip(DEFAULT_NETWORKS, ("narrow", "wide", "deep"), strict=True))
"""What tables call the default networks."""
DEFAULT_WORKERS = (1, 2, 4)
DEFAULT_WIDTHS = (64, 128, 256, 512, 1024, 2048)
DEFAULT_REPEATS = 5
DEFAULT_STEPS = 20
CROSSING = (EXEMPLAR, "node", "pairs")
"""The levels that are compared at every width."""
_LEAST_SECONDS = 0.3
"""A run of one worker takes at least about so long, by the cost model: shorter ones measure the clock."""
_MOST_TIMES = 20
"""Networks whose steps are short get up to so many times the steps."""
_TEST_ROWS = 200
_MOST = 10**6


@dataclass(frozen=True)
class LevelsRequest:
    """What to study.

    Attributes
    ----------
    networks
        Hidden layers of each network.
    workers
        Numbers of workers; one worker is measured in any case.
    levels
        Any of :data:`STUDIED`.
    widths
        Widths of both hidden layers of further networks, on which `exemplar`, `node` and `pairs` are compared; may be
        empty.
    repeats
        Timed runs of every case.
    steps
        Steps of every run, or more of networks whose steps are short.
    spec
        All other settings of a run.
    """

    networks: tuple[tuple[int, ...], ...] = DEFAULT_NETWORKS
    workers: tuple[int, ...] = DEFAULT_WORKERS
    levels: tuple[str, ...] = STUDIED
    widths: tuple[int, ...] = DEFAULT_WIDTHS
    repeats: int = DEFAULT_REPEATS
    steps: int = DEFAULT_STEPS
    spec: RunSpec = field(default=RunSpec())

    def __post_init__(self) -> None:
        object.__setattr__(self, "workers", tuple(dict.fromkeys(numbers_of_workers(self.workers))))
        object.__setattr__(self, "networks", tuple(dict.fromkeys(map(tuple, self.networks))))

    @property
    def crossing_workers(self) -> int:
        """The number of workers at which widths are compared: the smallest above one."""
        return min(number for number in self.workers if number > 1)


@dataclass(frozen=True)
class Case:
    """One way to take steps: a network, a level, and how many workers there are."""

    hidden: tuple[int, ...]
    level: str
    workers: int

    @property
    def name(self) -> str:
        """What progress calls it."""
        return f"{network_name(self.hidden)} {self.level} n={self.workers}"

    @property
    def key(self) -> dict[str, Any]:
        """The case as plain data."""
        return {"hidden": list(self.hidden), "level": self.level, "workers": self.workers}

    @property
    def grid(self) -> Grid:
        """The grid of its workers; sessions have samples of their own, too."""
        return Grid(1, self.level, self.workers) if self.level in LEVELS else Grid(self.workers)


def network_name(hidden: tuple[int, ...]) -> str:
    """Return a short name of a network: that of a default one, else its hidden layers."""
    return NAMES.get(hidden) or shape_of(hidden) or "none"


def shape_of(widths: tuple[int, ...]) -> str:
    """Return widths as text, equal ones that follow each other counted: ``784-256x8-10``."""
    runs: list[list[int]] = []
    for width in widths:
        if runs and runs[-1][0] == width:
            runs[-1][1] += 1
        else:
            runs.append([width, 1])
    return "-".join(f"{width}x{times}" if times > 2 else "-".join([str(width)] * times) for width, times in runs)


def check(request: LevelsRequest, dataset: Dataset) -> None:
    """Raise SettingsError for what cannot be, before anything runs."""
    spec = request.spec
    if spec.learner != "mlp":
        raise SettingsError(f"the levels are those of the learner mlp, not of {spec.learner}")
    if not kind_of(spec.team).divides:
        raise SettingsError(
            f"the team {spec.team} cannot divide a network: use {parameter('team', 'threads')} or "
            f"{parameter('team', 'mpi')}"
        )
    for name in ("grid", "strategy", "workers", "stop", "partition", "sharding"):
        if getattr(spec, name) is not None:
            raise SettingsError(f"the study chooses it for every level: leave {parameter(name)} out")
    whole(parameter("repeats"), request.repeats, least=1, most=_MOST)
    _check_levels(request)
    _check_rows(request, dataset)
    for case in cases_of(request):
        if case.grid.divides and case.level in LEVELS:
            check_cut(case.level, case.workers, widths_of(case.hidden, dataset))


def _check_levels(request: LevelsRequest) -> None:
    """Check networks, levels and numbers of workers by themselves."""
    if not (request.networks and request.levels):
        raise SettingsError("give at least one network and one level")
    for level in request.levels:
        if level not in STUDIED:
            raise SettingsError(f"unknown level {level!r}{choice_of(level, STUDIED)}")
    for number in request.workers:
        whole(parameter("workers"), number, least=1)
    if max(request.workers, default=1) == 1:
        raise SettingsError(
            f"levels are ways to share work: give at least one number above 1, such as {parameter('workers', (1, 2))}"
        )
    for width in request.widths:
        whole(parameter("widths"), width, least=1)


def _check_rows(request: LevelsRequest, dataset: Dataset) -> None:
    """Check that there are samples for all workers."""
    most = max(request.workers)
    whole(parameter("steps"), request.steps, least=most, most=_MOST)
    batch = batch_of(request, dataset)
    if batch < most:
        raise SettingsError(f"{parameter('batch', batch)} gives each of {most} workers less than one sample")
    if dataset.rows < batch * most:
        raise SettingsError(
            f"{most} trainings side by side need a batch of {batch} samples each, and there are {dataset.rows}: lower "
            f"{parameter('batch')} or {parameter('workers')}"
        )


def batch_of(request: LevelsRequest, dataset: Dataset) -> int:
    """Return the global batch b of all cases."""
    return min(DEFAULT_BATCH, dataset.rows) if request.spec.batch is None else request.spec.batch


def widths_of(hidden: tuple[int, ...], dataset: Dataset) -> tuple[int, ...]:
    """Return the widths of all layers of a network on a data set."""
    return (dataset.features, *hidden, dataset.outputs)


def measured_part(request: LevelsRequest, dataset: Dataset) -> Dataset:
    """Return the samples that runs step through: whole batches; few are left for the test, which is not timed."""
    batch = batch_of(request, dataset)
    rows = batch * min(request.steps, dataset.rows // batch)
    test = dataset.test.take(slice(_TEST_ROWS))
    return replace(head(dataset, rows), test=test, validation=None)


def cases_of(request: LevelsRequest) -> list[Case]:
    """Return all cases, network by network; that of one worker comes first."""
    found: dict[Case, None] = {}
    for hidden in request.networks:
        found |= dict.fromkeys(_of_network(hidden, request.levels, request.workers))
    for width in dict.fromkeys(request.widths):
        found |= dict.fromkeys(_of_network((width, width), CROSSING, (request.crossing_workers,)))
    return list(found)


def _of_network(hidden: tuple[int, ...], levels: tuple[str, ...], workers: tuple[int, ...]) -> Iterator[Case]:
    yield Case(hidden, ONE, 1)
    for number in workers:
        yield from (Case(hidden, level, number) for level in dict.fromkeys(levels) if number > 1)


def spec_of(case: Case, request: LevelsRequest, dataset: Dataset) -> RunSpec:
    """Return the settings of a case; ``dataset`` is the part that is measured.

    A training session has a global batch of n times b, of which each worker takes a b of its own, and no round before
    its end: n trainings, in the machine code of all others.
    """
    batch, alone = batch_of(request, dataset), case.level == SESSION
    spec = request.spec.changed(hidden=case.hidden, train_size=None, batch=batch * (case.workers if alone else 1))
    epochs = epochs_of(case.hidden, request, dataset) * (case.workers if alone else 1)
    strategy = "sequential" if case.workers == 1 else "one-shot" if alone else "gradient"
    return replace(spec, strategy=strategy, grid=case.grid, workers=case.workers, epochs=epochs)


def plan_of(case: Case, request: LevelsRequest, dataset: Dataset) -> Plan:
    """Return the run of a case, in which everything is decided."""
    return resolve(spec_of(case, request, dataset), dataset)


def epochs_of(hidden: tuple[int, ...], request: LevelsRequest, dataset: Dataset) -> int:
    """Return how often a run passes over the samples: until it has all steps, and takes long enough to be measured."""
    batch = batch_of(request, dataset)
    per_epoch, network = dataset.rows // batch, request.spec.network.changed(hidden=hidden)
    seconds = costs(network, widths_of(hidden, dataset), batch, 1, shared_memory=True)[0].seconds
    steps = min(max(request.steps, _LEAST_SECONDS / seconds), _MOST_TIMES * request.steps)
    return math.ceil(steps / per_epoch)
