"""The experiment of Todorov et al. 2021, repeated to the letter, and their tables beside ours.

One MPI job per number of processes: rank 0 reads the CSV files and scatters equal shares; every process trains its own
MLPClassifier on its share to the end, from the same random_state; one mean of the weights at the end is scored on the
test rows. Like the paper, this looks at the test rows only; nothing is chosen by them here.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from manyhands.core.errors import SettingsError
from manyhands.data.catalog import DataRequest, load
from manyhands.data.csv.reader import write_csv
from manyhands.data.dataset import Dataset
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.records.environment import describe_environment
from manyhands.records.seal import write_record
from manyhands.records.statistics import Estimate, estimate
from manyhands.records.todorov2021 import WHAT_DIFFERS, PublishedRow, processes_table, published_table
from manyhands.runtime.terminal import Group, paragraph, text_table
from manyhands.studies.compare.results import run_record
from manyhands.studies.compare.run import StudyProgress
from manyhands.teams.job import check_can_start_jobs
from manyhands.training.jobs import deferred
from manyhands.training.jobs.client import Job
from manyhands.training.jobs.folder import temporary_folder
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.spec import RunSpec

SCHEMA = "manyhands.published/1"
_THEIR_ROWS, _THEIR_HIDDEN, _THEIR_EPOCHS = 6000, (75,), 75


@dataclass(frozen=True)
class PublishedRequest:
    """What to repeat.

    Attributes
    ----------
    data
        The rows; the scaling is none, whatever it says.
    workers
        Numbers of processes.
    spec
        The classifier, its most epochs and its first seed; the paper's are the defaults.
    seeds
        random_state spec.seed .. spec.seed + seeds - 1.
    """

    data: DataRequest
    workers: tuple[int, ...] = (1, 2, 4, 6)
    spec: RunSpec = field(default=RunSpec(network=MLPSettings(dtype="float64")))
    seeds: int = 1


@dataclass
class Repetition:
    """The finished runs.

    Attributes
    ----------
    environment, settings
        What was run on what.
    runs
        One record per run, as in the files of ``compare``.
    interrupted
        Whether runs are missing.
    """

    environment: dict[str, Any]
    settings: dict[str, Any]
    runs: list[dict[str, Any]] = field(default_factory=list)
    interrupted: bool = False

    def accuracy(self, processes: int) -> Estimate:
        """Return the accuracy in percent, over all seeds."""
        return estimate([100 * record["accuracy"] for record in self.runs if record["workers"] == processes])

    def table(self, number: int) -> list[PublishedRow]:
        """Return our Table II (2) or III (3): medians of times and means of accuracies over the seeds.

        Without communication counts what the slowest process computes; with it scattering, waiting, gathering and
        averaging too. Reading is in neither, as the paper's times for one process show.
        """
        return processes_table(self.runs, number)

    def record(self) -> dict[str, Any]:
        """Return everything as the JSON file has it."""
        return {
            "schema": SCHEMA,
            "environment": self.environment,
            "settings": self.settings,
            "interrupted": self.interrupted,
            "runs": self.runs,
            "tables": {
                f"table{number}": {
                    "here": [vars(row) for row in self.table(number)],
                    "published": [vars(row) for row in published_table(number)],
                }
                for number in (2, 3)
            },
        }

    def save(self, path: str | Path) -> None:
        """Write :meth:`record` as JSON with a checksum, whole or not at all.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        write_record(path, self.record())


class PublishedStudy:
    """The repetition as it goes on; what is finished is in :attr:`outcome` at any time.

    Parameters
    ----------
    request
        What to repeat.

    Attributes
    ----------
    dataset : Dataset
        Its rows, unscaled.
    plans : list of Plan
        One per number of processes and seed.
    outcome : Repetition
        Grows run by run.

    Raises
    ------
    DataError, SettingsError
        If data or settings cannot be used; before the first job starts.
    """

    def __init__(self, request: PublishedRequest) -> None:
        check_can_start_jobs("mpi")
        if request.data.binarize is not None:
            raise SettingsError("as published, pixels are raw: leave binarize out")
        self.request = request
        self.dataset = load(replace(request.data, scale="none"))
        self.plans = self._plans()
        self.outcome = Repetition(describe_environment(), self._settings())

    def _plans(self) -> list[Plan]:
        request = self.request
        if request.seeds < 1 or not request.workers:
            raise SettingsError("give at least one seed and one number of workers")
        spec = replace(request.spec, strategy="one-shot", team="mpi", learner="published")
        return [
            resolve(replace(spec, workers=workers, seed=seed), self.dataset)
            for workers in dict.fromkeys(request.workers)
            for seed in range(spec.seed, spec.seed + request.seeds)
        ]

    def _settings(self) -> dict[str, Any]:
        described = self.plans[0].describe()
        shared = {name: described[name] for name in ("strategy", "team", "learner", "epochs", "sharding", "network")}
        return {
            "data": self.dataset.describe(),
            **shared,
            "batch_per_process": {plan.workers: plan.batch // plan.workers for plan in self.plans},
            "workers": list(self.request.workers),
            "seeds": self.request.seeds,
            "seed": self.request.spec.seed,
        }

    def run(self, progress: StudyProgress | None = None) -> Repetition:
        """Carry out all plans, one MPI job for each number of processes.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; :attr:`outcome` then holds the finished runs.
        """
        self.outcome.interrupted = True
        with temporary_folder() as folder:
            source = _as_csv(self.request.data, self.dataset, folder)
            for workers in dict.fromkeys(self.request.workers):
                deferred.close_others()
                with ExitStack() as jobs:
                    job = jobs.enter_context(Job(workers, self.dataset, source))
                    for plan in (plan for plan in self.plans if plan.workers == workers):
                        result = job.run(plan, _bind(progress, plan))
                        self.outcome.runs.append(run_record(result))
                        if progress is not None:
                            progress(plan, plan.total_steps)
                    deferred.close(jobs)
        self.outcome.interrupted = False
        return self.outcome

    def text(self) -> str:
        """Return Tables II and III of what is finished, and what differs."""
        return tables_text(self.outcome)


def _bind(progress: StudyProgress | None, plan: Plan) -> Callable[[int], None] | None:
    return None if progress is None else lambda steps: progress(plan, steps)


def _as_csv(request: DataRequest, dataset: Dataset, folder: Path) -> DataRequest:
    """Return a request for CSV files: the user's own, or some made from the rows that were found otherwise."""
    if request.train_csv is not None and request.test_csv is not None:
        train, test = Path(request.train_csv).resolve(), Path(request.test_csv).resolve()
        return replace(request, train_csv=train, test_csv=test, scale="none")
    train, test = folder / "train.csv", folder / "test.csv"
    for path, table in ((train, dataset.train), (test, dataset.test)):
        write_csv(path, table.features, dataset.classes[table.labels])
    return DataRequest(train_csv=train, test_csv=test, scale="none")


def tables_text(repetition: Repetition) -> str:
    """Return Tables II and III, ours beside the published ones, and what differs, as text that fits the terminal."""
    if not repetition.runs:
        return "No run was finished."
    cores = repetition.environment["cores"]
    blocks = [
        table_text("Table II: without communication", repetition.table(2), published_table(2), cores),
        table_text("Table III: with communication", repetition.table(3), published_table(3), cores),
    ]
    return "\n\n".join([*blocks, "\n".join(map(paragraph, [*_notes(repetition), WHAT_DIFFERS]))])


def _notes(repetition: Repetition) -> list[str]:
    """Explain the tables, and what must not be read into them."""
    read = statistics.median(record["seconds"]["read"] for record in repetition.runs)
    seeds = len({record["seed"] for record in repetition.runs})
    notes = [
        f"Reading the CSV files ({read:.3f} s, rank 0) is in neither table. Published times: a six-core Intel "
        "i7-9750H; scattering took about 11 s there."
    ]
    notes += other_than_published(repetition.settings)
    if seeds > 1:
        notes.append(f"Medians of times and means of accuracies over {seeds} seeds.")
    if any(record["workers"] > repetition.environment["cores"] for record in repetition.runs):
        notes.append(f"* more processes than the {repetition.environment['cores']} usable cores.")
    if repetition.interrupted:
        notes.append("Interrupted: only finished runs are counted.")
    return notes


def other_than_published(settings: dict[str, Any]) -> list[str]:
    """Return a warning if data, network or epochs are others than those of the published Tables II and III."""
    here = (settings["data"]["name"], settings["data"]["train_rows"], tuple(settings["network"]["hidden"]))
    if here == ("mnist", _THEIR_ROWS, _THEIR_HIDDEN) and settings["epochs"] == _THEIR_EPOCHS:
        return []
    return [
        "The published numbers are for MNIST's first 6,000 images, 784-75-10, at most 75 epochs: compare only if "
        "that is what was run here."
    ]


def table_text(title: str, here: Sequence[PublishedRow], published: Sequence[PublishedRow], cores: int) -> str:
    """Return one table, ours at the left, as text."""
    theirs = {row.processes: _cells(row, 2) for row in published}
    heads = ("time s", "accuracy %", "impact")
    rows = [
        (
            f"{row.processes}{'*' if row.processes > cores else ''}",
            *_cells(row, 3),
            *theirs.get(row.processes, ("", "", "")),
        )
        for row in here
    ]
    groups = [Group(heads, "here"), Group(heads, "published (MIPRO 2021)")]
    return f"{title}\n{text_table(['processes'], groups, rows)}"


def _cells(row: PublishedRow, decimals: int) -> tuple[str, str, str]:
    return f"{row.time_s:.{decimals}f}", f"{row.accuracy_pct:.2f}", f"{row.impact:.2f}"
