"""Whole studies, as the published works did them: from the question to the report's record.

``w1``, Todorov et al. 2021: sweep, choice, and the parallel comparison with the chosen classifier (Tables I to III).
``w4``, Alowaisheq & Dhami: sequential and parallel training on several random splits, with their convergence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Dataset
from manyhands.records.environment import describe_environment
from manyhands.records.seal import write_record
from manyhands.records.todorov2021 import processes_table, published_table
from manyhands.runtime.terminal import Group, paragraph, text_table
from manyhands.studies.compare.results import Comparison
from manyhands.studies.compare.run import CompareRequest, CompareStudy, StudyProgress
from manyhands.studies.compare.text import comparison_table
from manyhands.studies.replications.todorov2021 import (
    PublishedRequest,
    PublishedStudy,
    Repetition,
    other_than_published,
    table_text,
    tables_text,
)
from manyhands.studies.sweep.request import SweepRequest
from manyhands.studies.sweep.results import Sweep
from manyhands.studies.sweep.run import SweepStudy, load_for_sweep
from manyhands.studies.sweep.text import sweep_text
from manyhands.teams.job import check_can_start_jobs
from manyhands.teams.registry import kind_of
from manyhands.training.loggers import RunLog, no_log
from manyhands.training.plan import Plan

SCHEMA = "manyhands.study/1"
W4_STRATEGIES = ("sequential", "minibatch:5epochs", "periodic:1epoch")
W4_WORKERS = (1, 2, 4)
W4_EPOCHS = 40
_THEIR_STRATEGY, _OUR_STRATEGY = "one-shot", "periodic:1epoch"

Stage = Callable[[str, float, float], None]
"""Told which part of the study is running, how much of it is done, and how much there is."""


@dataclass
class Study:
    """A finished, or interrupted, study.

    Attributes
    ----------
    name
        ``"w1"`` or ``"w4"``.
    environment
        What it was run on.
    sweep, comparison, repetition
        Its parts, as far as they have begun; repetition is the experiment of Todorov et al. to the letter.
    interrupted
        Whether runs are missing.
    """

    name: Literal["w1", "w4"]
    environment: dict[str, Any] = field(default_factory=describe_environment)
    sweep: Sweep | None = None
    comparison: Comparison | None = None
    repetition: Repetition | None = None
    interrupted: bool = False

    @property
    def runs(self) -> list[dict[str, Any]]:
        """All finished runs."""
        parts = (self.sweep, self.comparison, self.repetition)
        return [record for part in parts if part is not None for record in part.runs]

    def record(self) -> dict[str, Any]:
        """Return everything as the JSON file has it."""
        return {
            "schema": SCHEMA,
            "study": self.name,
            "environment": self.environment,
            "interrupted": self.interrupted,
            "sweep": None if self.sweep is None else self.sweep.record(),
            "compare": None if self.comparison is None else self.comparison.record(),
            "published": None if self.repetition is None else self.repetition.record(),
        }

    def save(self, path: str | Path) -> None:
        """Write :meth:`record` as JSON with a checksum, whole or not at all.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        write_record(path, self.record())

    def text(self) -> str:
        """Return all tables of what is finished."""
        blocks = []
        if self.sweep is not None:
            blocks.append("Table I: hidden sizes and epochs\n" + sweep_text(self.sweep))
        if self.repetition is not None:
            blocks.append(tables_text(self.repetition))
        elif self.comparison is not None and self.name == "w1":
            blocks += _published_tables(self.comparison)
        if self.comparison is not None and self.comparison.runs and self.comparison.settings["splits"] is not None:
            blocks.append(accuracies_text(self.comparison))
        if self.comparison is not None:
            blocks.append(comparison_table(self.comparison))
        return "\n\n".join(blocks) or "No run was finished."


def _published_tables(comparison: Comparison) -> list[str]:
    """Return Tables II and III of the comparison: their strategy, and the one that keeps the accuracy."""
    tables = []
    for strategy in (_THEIR_STRATEGY, _OUR_STRATEGY):
        runs = [record for record in comparison.runs if record["strategy"] == strategy]
        for number, title in ((2, "Table II: without communication"), (3, "Table III: with communication")):
            if runs:
                here = processes_table(runs, number)
                cores = comparison.environment["cores"]
                tables.append(table_text(f"{title}, {strategy}", here, published_table(number), cores))
    notes = ["Published: raw pixels, one mean at the end, a six-core Intel i7-9750H."]
    notes += other_than_published(comparison.settings)
    return [*tables, "\n".join(map(paragraph, notes))] if tables else []


def accuracies_text(comparison: Comparison) -> str:
    """Return the accuracy on each random split, as the master of Alowaisheq & Dhami reports it."""
    groups: dict[tuple[str, int], list[str]] = {}
    for record in comparison.runs:
        groups.setdefault((record["strategy"], record["workers"]), []).append(f"{100 * record['accuracy']:.2f}")
    splits = max(map(len, groups.values()))
    rows = [
        (strategy, str(workers), *scores, *[""] * (splits - len(scores)))
        for (strategy, workers), scores in groups.items()
    ]
    table = text_table(["strategy", "n"], [Group([str(number + 1)]) for number in range(splits)], rows)
    return f"accuracy on each random split, %\n{table}"


class W1Study:
    """Todorov et al. 2021: which classifier, and what becomes of its time and accuracy in parallel.

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
    journal
        See `manyhands.studies.sweep.run.SweepStudy`.

    Attributes
    ----------
    outcome : Study
        Grows run by run.

    Raises
    ------
    ManyhandsError
        If data or settings cannot be used; before the first training.
    """

    def __init__(
        self,
        data: DataRequest,
        sweep: SweepRequest,
        compare: CompareRequest,
        *,
        published: bool = False,
        journal: str | Path | None = None,
    ) -> None:
        if sweep.splits is not None or compare.splits is not None:
            raise SettingsError("random splits of all rows would test on rows that the sweep has chosen by")
        if any(replace(compare.spec, strategy=each).needs.validation for each in compare.strategies):
            raise SettingsError("the comparison trains on all rows, so its merges have no validation rows to look at")
        if kind_of(sweep.team).processes:
            raise SettingsError("a study starts MPI jobs of its own; its sweep runs on threads")
        check_can_start_jobs("mpi" if published else compare.spec.team)
        self.data, self.compare, self.published = data, compare, published
        self.dataset = load_for_sweep(data, published=published)
        self._whole = self.dataset if published else load(replace(data, validation=None))
        if sweep.hidden and sweep.epochs:
            self._next(self._whole, sweep.hidden[0], sweep.epochs[0])  # what is wrong with it is better known now
        self._sweep = SweepStudy(self.dataset, sweep, journal)
        self.outcome = Study("w1", sweep=self._sweep.outcome)

    def _next(self, dataset: Dataset, hidden: tuple[int, ...], epochs: int) -> CompareStudy | PublishedStudy:
        """Return what follows the choice."""
        request = self.compare
        spec = request.spec.changed(hidden=hidden, epochs=epochs)
        if not self.published:
            return CompareStudy(dataset, replace(request, spec=spec))
        spec = spec.changed(dtype="float64")
        return PublishedStudy(PublishedRequest(self.data, request.workers, spec, request.seeds))

    def run(self, stage: Stage | None = None, log: RunLog = no_log) -> Study:
        """Carry out the whole study.

        Raises
        ------
        SettingsError
            If the sweep finds no classifier that is good enough.
        KeyboardInterrupt
            On Ctrl-C; :attr:`outcome` then holds the finished runs.
        """
        self.outcome.interrupted = True
        self._sweep.run(None if stage is None else lambda done, whole: stage("sweep", done, whole))
        best = self._sweep.outcome.best
        if best is None:
            raise SettingsError(f"{self._sweep.outcome.reason}; lower {parameter('target')}, or sweep over others")
        following = self._next(self._whole, best.hidden, best.epochs)
        if isinstance(following, CompareStudy):
            self.outcome.comparison = following.outcome
            following.run(_steps_of(following.plans, "comparison", stage), log)
        else:
            self.outcome.repetition = following.outcome
            following.run(_steps_of(following.plans, "processes", stage))
        self.outcome.interrupted = False
        return self.outcome


class W4Study:
    """Alowaisheq & Dhami: mini-batch model averaging, on several random splits.

    Parameters
    ----------
    dataset
        Whose rows are split.
    compare
        The comparison; ``splits`` is set, and convergence is measured.

    Attributes
    ----------
    outcome : Study
        Grows run by run.
    """

    def __init__(self, dataset: Dataset, compare: CompareRequest) -> None:
        if compare.splits is None:
            raise SettingsError("the study w4 needs a number of random splits")
        self.dataset = dataset
        self._study = CompareStudy(dataset, replace(compare, spec=replace(compare.spec, convergence=True)))
        self.outcome = Study("w4", comparison=self._study.outcome)

    def run(self, stage: Stage | None = None, log: RunLog = no_log) -> Study:
        """Carry out the whole study.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; :attr:`outcome` then holds the finished runs.
        """
        self.outcome.interrupted = True
        self._study.run(_steps_of(self._study.plans, "comparison", stage), log)
        self.outcome.interrupted = False
        return self.outcome


def _steps_of(plans: Sequence[Plan], name: str, stage: Stage | None) -> StudyProgress | None:
    """Return what adds up the steps of all plans of a stage."""
    if stage is None:
        return None
    total = sum(plan.total_steps for plan in plans)
    done: dict[int, int] = {}

    def progress(plan: Plan, steps: int) -> None:
        done[id(plan)] = steps
        stage(name, sum(done.values()), total)

    return progress
