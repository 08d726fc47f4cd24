"""The request of a study of classifiers, and the cases that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from manyhands.core.checks import real, whole
from manyhands.core.choices import SUMS, UNSCALED
from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.suggestions import choice_of
from manyhands.data.dataset import Dataset
from manyhands.learners.sums.settings import OF, SumsSettings, own_settings
from manyhands.records.statistics import DEFAULT_MARGIN, check_margin
from manyhands.studies.base.workers import numbers_of_workers
from manyhands.training.spec import RunSpec

NETWORK = "mlp"
"""The neural network that the others are compared with."""
STUDIED = (*SUMS, NETWORK)
DEFAULT_LEARNERS = ("gaussian-nb", "multinomial-nb", "bernoulli-nb", "lda", "qda", "tree", "forest", NETWORK)
DEFAULT_WORKERS = (1, 2, 4, 6)  # as Todorov et al. 2021
DEFAULT_RUNS = 5
DEFAULT_REG_PARAMS = (0.001, 0.01, 0.1, 0.5)
"""Of qda: where pixels are always 0, covariances are singular, and some regularization must be chosen."""
REG_PARAM, SHRINKAGE = "reg_param", "shrinkage"
_FEWEST, _MOST = 2, 10**6


@dataclass(frozen=True)
class ClassifiersRequest:
    """What to study.

    Attributes
    ----------
    learners
        Any of :data:`STUDIED`.
    workers
        Numbers of workers; one worker is measured in any case.
    runs
        Runs of each case, with seeds spec.seed .. spec.seed + runs - 1.
    reg_params
        Regularizations of qda: one, or several, of which one is chosen on samples held out of the training set. They
        are values of ``reg_param`` or, where a class has too few samples for that, of ``shrinkage``.
    margin
        Percentage points of accuracy that count as no difference.
    spec
        All other settings of a run. Each learner takes those that it knows.
    """

    learners: tuple[str, ...] = DEFAULT_LEARNERS
    workers: tuple[int, ...] = DEFAULT_WORKERS
    runs: int = DEFAULT_RUNS
    reg_params: tuple[float, ...] = DEFAULT_REG_PARAMS
    margin: float = DEFAULT_MARGIN
    spec: RunSpec = field(default=RunSpec())

    def __post_init__(self) -> None:
        given = tuple(number for number in numbers_of_workers(self.workers) if number != 1)
        object.__setattr__(self, "workers", (1, *dict.fromkeys(given)))
        object.__setattr__(self, "learners", tuple(dict.fromkeys(self.learners)))

    @property
    def seeds(self) -> range:
        """The seeds of the runs."""
        return range(self.spec.seed, self.spec.seed + self.runs)

    @property
    def chooses(self) -> bool:
        """Whether the regularization of qda is to be chosen."""
        return "qda" in self.learners and len(self.reg_params) > 1


@dataclass(frozen=True)
class Case:
    """One learner at one number of workers."""

    learner: str
    workers: int

    @property
    def name(self) -> str:
        """What progress calls it."""
        return f"{self.learner} n={self.workers}"

    @property
    def key(self) -> dict[str, Any]:
        """The case as plain data."""
        return {"learner": self.learner, "workers": self.workers}


def cases_of(request: ClassifiersRequest) -> list[Case]:
    """Return all cases, learner by learner; that of one worker comes first."""
    return [Case(learner, workers) for learner in request.learners for workers in request.workers]


def check(request: ClassifiersRequest) -> None:
    """Raise SettingsError for what `resolve` does not see."""
    if not request.learners:
        raise SettingsError(f"give at least one learner: {', '.join(STUDIED)}")
    for learner in request.learners:
        if learner not in STUDIED:
            raise SettingsError(f"the study has no learner {learner!r}{choice_of(learner, STUDIED)}")
    for number in request.workers:
        whole(parameter("workers"), number, least=1)
    if whole(parameter("runs"), request.runs, most=_MOST) < _FEWEST:
        raise SettingsError(f"one run says nothing about how runs differ: give {parameter('runs', _FEWEST)} or more")
    for value in request.reg_params:
        if not 0 <= real(parameter("reg_param"), value) <= 1:
            raise SettingsError(f"{parameter('reg_param')} must be a number from 0 to 1, not {value:g}")
    if not request.reg_params:
        raise SettingsError(f"give at least one {parameter('reg_param')}")
    check_margin(request.margin)
    _check_spec(request)


def _check_spec(request: ClassifiersRequest) -> None:
    """Check that nothing is set that the study chooses, or that none of its learners knows."""
    for name in ("strategy", "workers", "grid", "stop", "partition", "sharding"):
        if getattr(request.spec, name) is not None:
            raise SettingsError(f"the study chooses it for every learner: leave {parameter(name)} out")
    usual = SumsSettings()
    for each in fields(SumsSettings):
        value = getattr(request.spec.sums, each.name)
        if value != getattr(usual, each.name) and not set(OF[each.name]) & set(request.learners):
            raise SettingsError(
                f"{parameter(each.name, value)} is for {', '.join(OF[each.name])}, and none of them is studied"
            )


def takes_stored(learner: str, request: ClassifiersRequest) -> bool:
    """Return whether a learner takes values as they are stored: counts and thresholds, unless a scaling is set."""
    return learner in UNSCALED and request.spec.scale == "auto"


def qda_parameter(dataset: Dataset) -> str:
    """Return how qda is regularized: ``reg_param`` needs more samples of each class than there are features."""
    fewest = int(np.bincount(dataset.train.labels, minlength=len(dataset.classes)).min())
    return REG_PARAM if fewest > dataset.features else SHRINKAGE


def regularized(parameter: str, value: float) -> dict[str, Any]:
    """Return the settings of qda that regularize it."""
    return {parameter: value, "qda_solver": "svd" if parameter == REG_PARAM else "eigen"}


def spec_of(case: Case, seed: int, request: ClassifiersRequest, qda: Mapping[str, Any]) -> RunSpec:
    """Return the settings of a run: of a network all that `auto` chooses, of sums those that the learner knows.

    ``qda`` are the settings that regularize that one; `regularized` returns them.
    """
    base = replace(request.spec, learner=case.learner, workers=case.workers, seed=seed, train_size=None)
    if case.learner == NETWORK:
        return replace(base, sums=SumsSettings(), strategy="auto")
    own = own_settings(case.learner, request.spec.sums)
    if case.learner == "qda":
        own |= {SHRINKAGE: None, **qda}
    usual = RunSpec()
    plain = {name: getattr(usual, name) for name in ("network", "batch", "epochs", "schedule")}
    return replace(base, sums=SumsSettings(**own), **plain)
