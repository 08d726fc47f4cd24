"""The study of Todorov et al. 2021: a sweep, a choice, and the parallel training of the chosen (Tables I to III)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.data.catalog import DataRequest, load
from manyhands.records.environment import describe_environment
from manyhands.runtime.terminal import BRIEF, Detail
from manyhands.studies.base.epochs import check_has_epochs
from manyhands.studies.base.ledger import Key
from manyhands.studies.base.study import Study, TaskRunner
from manyhands.studies.compare.request import CompareRequest
from manyhands.studies.compare.run import CompareStudy, check_run
from manyhands.studies.replications.results import Replication
from manyhands.studies.replications.text import replication_text
from manyhands.studies.replications.todorov2021 import PublishedRequest, PublishedStudy
from manyhands.studies.sweep.request import SweepRequest, with_layers
from manyhands.studies.sweep.run import SweepStudy, load_for_sweep
from manyhands.teams.job import check_can_start_jobs
from manyhands.teams.registry import kind_of
from manyhands.training.loggers import RunLog, no_log


class ExemplarStudy(Study[Replication]):
    """The study as it goes on; for the checkpoint and the errors, see `manyhands.studies.base.study.Study`.

    Parameters
    ----------
    data
        The rows. The sweep keeps some for validation; the comparison has all.
    sweep
        Table I.
    compare
        The comparison; network and epochs are those that the sweep chooses.
    published
        Whether all is done to the letter: MLPClassifiers on raw pixels, chosen on the test rows, in MPI processes.
    checkpoint
        For the runs of all parts.
    log
        Returns the logger of each run of the comparison.
    """

    kind = "exemplar"
    unit = ""

    def __init__(
        self,
        data: DataRequest,
        sweep: SweepRequest,
        compare: CompareRequest,
        *,
        published: bool = False,
        checkpoint: str | Path | None = None,
        log: RunLog = no_log,
    ) -> None:
        check_has_epochs(sweep.spec, "the study exemplar")
        if sweep.splits is not None or compare.splits is not None:
            raise SettingsError("random splits of all rows would test on rows that the sweep has chosen by")
        if any(replace(compare.spec, strategy=each).needs.validation for each in compare.strategies):
            raise SettingsError("the comparison trains on all rows, so its merges have no validation rows to look at")
        if kind_of(sweep.team).processes:
            raise SettingsError("a study starts MPI jobs of its own; its sweep runs on threads")
        check_can_start_jobs("mpi" if published else compare.spec.team)
        self.data, self.compare, self.published, self._log = data, compare, published, log
        self.dataset = load_for_sweep(data, published=published)
        self._whole = self.dataset if published else load(replace(data, validation=None))
        self._sweep = SweepStudy(self.dataset, sweep)
        # fail fast: any choice of the sweep must give a comparison that is possible
        self._following = self._next(sweep.networks[0], sweep.epochs[0]).identity()
        super().__init__(Replication(describe_environment(), {}, "exemplar", sweep=self._sweep.outcome), checkpoint)

    @property
    def size(self) -> int:
        """Number of sessions of the sweep; what follows counts its own steps."""
        return self._sweep.size

    def _next(self, hidden: tuple[int, ...], epochs: int) -> CompareStudy | PublishedStudy:
        """Return the study that follows the choice."""
        request = self.compare
        spec = with_layers(request.spec, hidden, epochs=epochs)
        if not self.published:
            return CompareStudy(self._whole, replace(request, spec=spec), log=self._log)
        spec = spec.changed(dtype="float64")
        return PublishedStudy(PublishedRequest(self.data, request.workers, spec, request.seeds))

    def perform(self, runner: TaskRunner) -> None:
        """Sweep, choose (SettingsError if no classifier is good enough), and compare."""
        best = self._sweep.run_in(runner.part("sweep", self._sweep)).best
        if best is None:
            raise SettingsError(
                f"{self._sweep.outcome.reason}; lower {parameter('min_accuracy')}, or sweep over others"
            )
        following = self._next(best.hidden, best.epochs)
        chosen = {"hidden": list(best.hidden), "epochs": best.epochs}
        if isinstance(following, CompareStudy):
            self.outcome.comparison = following.outcome
            following.run_in(runner.part("comparison", following, **chosen))
        else:
            self.outcome.repetition = following.outcome
            following.run_in(runner.part("processes", following, **chosen))

    def identity(self) -> dict[str, Any]:
        """Return all settings of both parts but those that the sweep chooses."""
        following = {name: value for name, value in self._following.items() if name != "epochs"}
        following["network"] = {name: value for name, value in following["network"].items() if name != "hidden"}
        return {"sweep": self._sweep.identity(), "following": following}

    def check(self, key: Key, record: Mapping[str, Any]) -> None:
        """Check a run that was read from a checkpoint."""
        own = {name: value for name, value in key.items() if name != "part"}
        if key["part"] == "sweep":
            self._sweep.check(own, record)
        else:
            check_run({name: value for name, value in own.items() if name not in ("hidden", "epochs")}, record)

    def text(self, detail: Detail = BRIEF) -> str:
        """Return all tables of what is finished."""
        return replication_text(self.outcome, detail)
