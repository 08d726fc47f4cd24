"""The results of the replication of a published work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from manyhands.core.words import count
from manyhands.records.statistics import Estimate, estimate
from manyhands.records.todorov2021 import PublishedRow, processes_table, published_table
from manyhands.studies.base.study import Outcome
from manyhands.studies.compare.results import Comparison
from manyhands.studies.sweep.results import Sweep

SCHEMA = "manyhands.study/2"
PUBLISHED_SCHEMA = "manyhands.published/1"


@dataclass(repr=False)
class Repetition(Outcome):
    """The finished runs of the experiment of Todorov et al.

    Attributes
    ----------
    runs
        One record per run, as in the files of ``compare``.
    """

    runs: list[dict[str, Any]] = field(default_factory=list)

    def finished(self) -> list[tuple[str, dict[str, Any]]]:
        """See `manyhands.studies.base.study.Outcome`."""
        return [(count(record["workers"], "process"), record) for record in self.runs]

    def accuracy(self, processes: int) -> Estimate:
        """Return the accuracy in percent, over all seeds."""
        return estimate([100 * record["accuracy"] for record in self.runs if record["workers"] == processes])

    def table(self, number: int) -> list[PublishedRow]:
        """Return our Table II (2) or III (3): medians of times and means of accuracies over the seeds.

        Without communication counts what the slowest process computes; for the time with it, see
        `manyhands.records.runs.with_communication`.
        """
        return processes_table(self.runs, number)

    def record(self) -> dict[str, Any]:
        """Return everything as the JSON file has it."""
        return {
            "schema": PUBLISHED_SCHEMA,
            **self.head(),
            "runs": self.runs,
            "tables": {
                f"table{number}": {
                    "here": [vars(row) for row in self.table(number)],
                    "published": [vars(row) for row in published_table(number)],
                }
                for number in (2, 3)
            },
        }


@dataclass(repr=False)
class Replication(Outcome):
    """A finished, or interrupted, study of several parts.

    Attributes
    ----------
    name
        Of the study.
    sweep, comparison, repetition
        Its parts, as far as they have begun; repetition is the experiment of Todorov et al. to the letter.
    """

    name: Literal["exemplar", "minibatch"]
    sweep: Sweep | None = None
    comparison: Comparison | None = None
    repetition: Repetition | None = None

    @property
    def parts(self) -> list[Sweep | Comparison | Repetition]:
        """Its parts that have begun."""
        return [part for part in (self.sweep, self.comparison, self.repetition) if part is not None]

    @property
    def runs(self) -> list[dict[str, Any]]:
        """All finished runs."""
        return [record for part in self.parts for record in part.runs]

    def finished(self) -> list[tuple[str, dict[str, Any]]]:
        """See `manyhands.studies.base.study.Outcome`."""
        return [each for part in self.parts for each in part.finished()]

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
