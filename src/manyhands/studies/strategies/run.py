"""The study of strategies: accuracy, workers and bytes of every strategy, each at a learning rate of its own.

For every strategy at every number of workers, the learning rate is chosen on validation rows, from the same list and
with as many runs; the sequential reference's too. Then every strategy is run with other seeds and tried on the test
rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manyhands.core.errors import DivergedError, ManyhandsError
from manyhands.data.dataset import Dataset
from manyhands.records.environment import describe_environment
from manyhands.records.runs import FINISHED_RUN, TRIAL, check_fields
from manyhands.runtime.terminal import BRIEF, Detail
from manyhands.studies.base.learners import check_learners, learner_facts, learner_identity
from manyhands.studies.base.ledger import Key, Record
from manyhands.studies.base.study import Study, Task, TaskRunner
from manyhands.studies.base.tuning import FIRST_TUNING_SEED, best_rate, tried_on_validation
from manyhands.studies.compare.results import run_record
from manyhands.studies.strategies.request import Case, StrategiesRequest, cases_of, check
from manyhands.studies.strategies.results import StrategiesComparison
from manyhands.studies.strategies.text import strategies_text
from manyhands.teams.job import check_can_start_jobs
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.run import run


class StrategiesStudy(Study[StrategiesComparison]):
    """The study as it goes on; for the checkpoint and the errors, see `manyhands.studies.base.study.Study`.

    The data set must have validation rows.
    """

    kind = "strategies"
    answers = False  # its runs are not timed side by side

    def __init__(self, dataset: Dataset, request: StrategiesRequest, checkpoint: str | Path | None = None) -> None:
        check_can_start_jobs(request.spec.team)
        check(request)
        self.dataset, self.request = dataset, request
        self._tried = tried_on_validation(dataset)
        self._cases = list(cases_of(request))
        check_learners([self._plan(case, request.rates[0], request.spec.seed) for case in self._cases], dataset)
        super().__init__(StrategiesComparison(describe_environment(), self._settings()), checkpoint)

    @property
    def size(self) -> int:
        """Number of runs, those included that choose learning rates."""
        return len(self._cases) * (len(self.request.rates) * self.request.tuning + self.request.seeds)

    def perform(self, runner: TaskRunner) -> None:
        """Choose a rate for each case, and run it with every seed."""
        first = self.request.spec.seed
        for case in self._cases:
            rate = self._choose(case, runner)
            for seed in range(first, first + self.request.seeds):
                runner.run(self._task(case, rate, seed))

    def _choose(self, case: Case, runner: TaskRunner) -> float:
        """Return the learning rate with the best mean accuracy on the validation rows; of equals, the smallest."""

        def score(rate: float, seed: int) -> float:
            return float(runner.run(self._task(case, rate, seed))["accuracy"])

        return best_rate(self.request.rates, self.request.tuning, score)

    def _task(self, case: Case, rate: float, seed: int) -> Task:
        return Task(
            {"strategy": case.strategy, "workers": case.workers, "rate": rate, "seed": seed},
            str(case),
            lambda _tick: self._train(case, rate, seed),
            lambda record: self._collect(case, rate, seed, record),
        )

    def _train(self, case: Case, rate: float, seed: int) -> Record:
        """Do a run, and return its record."""
        tuning = seed >= FIRST_TUNING_SEED
        try:
            return run_record(run(self._plan(case, rate, seed), self._tried if tuning else self.dataset))
        except DivergedError as error:
            if case.strategy == "sequential" and not tuning:
                what = f"the sequential reference, rate {rate:g}, seed {seed}"
                raise ManyhandsError(f"{what}: {error}; it has nothing to be compared with") from error
            # Such a rate is not chosen; such a run is named, in no mean, and not tried again.
            return {"accuracy": 0.0} if tuning else {"accuracy": 0.0, "diverged": True}

    def _collect(self, case: Case, rate: float, seed: int, record: Record) -> None:
        """Add a run to the outcome, if it is one that is reported."""
        if seed >= FIRST_TUNING_SEED:
            return
        if record.get("diverged"):
            self.outcome.diverged.append(f"{case}, rate {rate:g}, seed {seed}")
        else:
            self.outcome.runs.append(record)

    def _plan(self, case: Case, rate: float, seed: int) -> Plan:
        chosen = {"strategy": case.strategy, "workers": case.workers, "learning_rate": rate, "seed": seed}
        return resolve(self.request.spec.changed(**chosen), self.dataset)

    def _settings(self) -> dict[str, Any]:
        """Return the resolved settings, for the record."""
        request = self.request
        plan = self._plan(self._cases[0], request.rates[0], request.spec.seed)
        return {
            "data": self.dataset.describe(),
            "strategies": list(dict.fromkeys(case.strategy for case in self._cases)),
            "workers": list(request.workers),
            "team": request.spec.team,
            **learner_facts(plan, request.spec.network),
            "batch": plan.batch,
            "epochs": plan.epochs,
            "schedule": plan.schedule.name,
            "rates": list(request.rates),
            "tuning": request.tuning,
            "seeds": request.seeds,
            "seed": plan.seed,
            "splits": None,
            "target": None,
            "margin": request.margin,
            "scaled": False,
        }

    def identity(self) -> dict[str, Any]:
        """Return all settings that runs depend on, beyond their keys."""
        settings = self.outcome.settings
        network = {name: value for name, value in settings["network"].items() if name != "learning_rate"}
        shared = {name: settings[name] for name in ("team", "batch", "epochs", "schedule")}
        return {"data": self.dataset.identity, "network": network, **shared, **learner_identity(self.request.spec)}

    def check(self, key: Key, record: Mapping[str, Any]) -> None:
        """Check a run that was read from a checkpoint."""
        known = {name: key[name] for name in ("strategy", "workers", "seed")}
        if known["seed"] >= FIRST_TUNING_SEED or record.get("diverged"):
            check_fields(record, TRIAL, same={})
        else:
            check_fields(record, FINISHED_RUN, same={**known, "learning_rate": key["rate"]})

    def text(self, detail: Detail = BRIEF) -> str:
        """Return what is finished as a table."""
        return strategies_text(self.outcome, detail)
