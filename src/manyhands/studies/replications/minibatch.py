"""The study of Alowaisheq & Dhami: mini-batch model averaging, on several random splits, with its convergence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from manyhands.core.errors import SettingsError
from manyhands.data.dataset import Dataset
from manyhands.records.environment import describe_environment
from manyhands.runtime.terminal import BRIEF, Detail
from manyhands.studies.base.epochs import check_has_epochs
from manyhands.studies.base.ledger import Key
from manyhands.studies.base.study import Study, TaskRunner
from manyhands.studies.compare.request import CompareRequest
from manyhands.studies.compare.run import CompareStudy, check_run
from manyhands.studies.replications.results import Replication
from manyhands.studies.replications.text import replication_text
from manyhands.training.loggers import RunLog, no_log

MINIBATCH_STRATEGIES = ("sequential", "minibatch:5epochs", "periodic:1epoch")
MINIBATCH_WORKERS = (1, 2, 4)
MINIBATCH_EPOCHS = 40


class MinibatchStudy(Study[Replication]):
    """Sequential and parallel training on several random splits (``compare.splits``), with convergence.

    For the checkpoint and the errors, see `manyhands.studies.base.study.Study`.
    """

    kind = "minibatch"
    unit = "steps"

    def __init__(
        self,
        dataset: Dataset,
        compare: CompareRequest,
        checkpoint: str | Path | None = None,
        log: RunLog = no_log,
    ) -> None:
        check_has_epochs(compare.spec, "the study minibatch")
        if compare.splits is None:
            raise SettingsError("the study minibatch needs a number of random splits")
        self.dataset = dataset
        self._study = CompareStudy(dataset, replace(compare, spec=replace(compare.spec, convergence=True)), log=log)
        super().__init__(
            Replication(describe_environment(), {}, "minibatch", comparison=self._study.outcome), checkpoint
        )

    @property
    def size(self) -> int:
        """Steps of all runs."""
        return self._study.size

    def perform(self, runner: TaskRunner) -> None:
        """Compare on every split."""
        self._study.run_in(runner.part("comparison", self._study))

    def identity(self) -> dict[str, Any]:
        """Return the identity of the comparison."""
        return self._study.identity()

    def check(self, key: Key, record: Mapping[str, Any]) -> None:
        """Check a run that was read from a checkpoint."""
        check_run({name: value for name, value in key.items() if name != "part"}, record)

    def text(self, detail: Detail = BRIEF) -> str:
        """Return all tables of what is finished."""
        return replication_text(self.outcome, detail)
