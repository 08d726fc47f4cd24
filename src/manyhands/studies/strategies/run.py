"""The study of strategies: accuracy, workers and bytes of every method, each at a learning rate of its own.

For every method at every number of workers, the learning rate is chosen on validation rows, from the same list and with
as many runs; the sequential reference's too. Then every method is run with other seeds and tried on the test rows. What
is finished is kept in a journal, so that the study can be stopped and goes on where it was.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from manyhands.core.errors import DivergedError, ManyhandsError, SettingsError
from manyhands.core.version import __version__
from manyhands.data.dataset import Dataset
from manyhands.records.environment import describe_environment
from manyhands.records.runs import FINISHED_RUN, TRIAL, check_fields
from manyhands.records.statistics import DEFAULT_MARGIN, check_margin
from manyhands.strategies import parse_strategy
from manyhands.studies.base.journal import Journal
from manyhands.studies.base.ledger import Ledger
from manyhands.studies.base.tuning import FIRST_TUNING_SEED, best_rate, check_seeds, tried_on_validation
from manyhands.studies.compare.results import Comparison, SummaryRow, run_record
from manyhands.studies.compare.text import with_interval
from manyhands.teams.launch import check_alone
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

SCHEMA = "manyhands.methods/1"
METHODS = (
    "gradient",
    "gradient:scale=sqrt",
    "gradient:scale=linear",
    "gradient:send=int8",
    "periodic:1epoch",
    "periodic:1epoch,state=mean",
    "periodic:1epoch,state=reset",
    "periodic:1epoch,send=float16",
    "periodic:1epoch,send=bfloat16",
    "periodic:1epoch,send=int8",
    "periodic:5epochs",
    "periodic:10",
    "post-local:16",
    "slowmo:1epoch",
    "diloco:1epoch",
    "swap:75%",
    "easgd:10",
    "hogwild",
    "minibatch:5epochs",
    "gradient@20% then periodic:1epoch",
    "one-shot",
    "one-shot:merge=mean",
    "one-shot:merge=validation",
    "one-shot:merge=fisher",
    "one-shot:merge=soup",
    "one-shot:merge=bootstrap",
    "one-shot:merge=rebasin",
    "one-shot:merge=ensemble",
    "one-shot:starts=own",
    "one-shot:starts=own,merge=rebasin",
    "one-shot:starts=own,merge=ensemble",
)
"""What is compared: every strategy, every merge, every option."""

DEFAULT_RATES = (0.001, 0.004, 0.012)
DEFAULT_WORKERS = (2, 8)
DEFAULT_SEEDS = 5
TUNING_SEEDS = 1

MethodsProgress = Callable[[str, float, float], None]
"""Told what is running, how many runs are done, and how many there are."""


@dataclass(frozen=True)
class MethodsRequest:
    """What to study.

    Attributes
    ----------
    strategies
        As text.
    workers
        Numbers of workers.
    rates
        Learning rates to choose from.
    spec
        All other settings of a run; strategy, workers and the learning rate are replaced.
    seeds
        Seeds spec.seed .. spec.seed + seeds - 1 are reported.
    tuning
        Runs per learning rate.
    margin
        Percentage points of accuracy that count as no difference.
    """

    strategies: tuple[str, ...] = METHODS
    workers: tuple[int, ...] = DEFAULT_WORKERS
    rates: tuple[float, ...] = DEFAULT_RATES
    spec: RunSpec = field(default=RunSpec(schedule="linear:hold=50%"))
    seeds: int = DEFAULT_SEEDS
    tuning: int = TUNING_SEEDS
    margin: float = DEFAULT_MARGIN


@dataclass
class Methods(Comparison):
    """What the study has come to: a comparison of accuracies. Its runs were not timed side by side.

    Attributes
    ----------
    diverged
        Runs whose training diverged; they are in no mean.
    """

    diverged: list[str] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """Return everything as the JSON file has it, without what would compare times."""
        timed = ("speedup", "speedup_ci95", "efficiency", "impact", "impact_with_communication", "scaled_speedup")
        whole = super().record()
        summary = [{name: value for name, value in row.items() if name not in timed} for row in whole["summary"]]
        return {**whole, "schema": SCHEMA, "summary": summary, "laws": [], "diverged": self.diverged}


@dataclass(frozen=True)
class _Case:
    """A method at one number of workers."""

    strategy: str
    workers: int

    def __str__(self) -> str:
        return f"{self.strategy} n={self.workers}"


class MethodsStudy:
    """The study as it goes on: what is finished is in :attr:`outcome` at any time.

    Parameters
    ----------
    dataset
        With validation rows.
    request
        What to study.
    journal
        A file in which finished runs are kept; what it has already is not done again.

    Attributes
    ----------
    outcome : Methods
        Grows run by run.

    Raises
    ------
    SettingsError
        If any of the runs is not possible, or the journal is another study's; before the first one starts.
    """

    def __init__(self, dataset: Dataset, request: MethodsRequest, journal: str | Path | None = None) -> None:
        check_alone(request.spec.team)
        _check(request)
        self.dataset, self.request, self._journal_path = dataset, request, journal
        self._tried = tried_on_validation(dataset)
        self._cases = list(_cases(request))
        for case in self._cases:
            self._plan(case, request.rates[0], request.spec.seed)
        if journal is not None:
            with Journal(journal, self._identity()):
                pass  # what is wrong with it is better known now
        self.outcome = Methods(describe_environment(), self._settings())

    def run(self, progress: MethodsProgress | None = None) -> Methods:
        """Carry out all runs that the journal does not have.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; :attr:`outcome` then holds the finished runs.
        """
        self.outcome.interrupted = True
        whole = len(self._cases) * (len(self.request.rates) * self.request.tuning + self.request.seeds)
        finished = itertools.count(1)
        with ExitStack() as stack:
            journal = None
            if self._journal_path is not None:
                journal = stack.enter_context(Journal(self._journal_path, self._identity()))
            ledger = Ledger(journal, _check_run)
            for case in self._cases:
                told = None if progress is None else _bind(progress, str(case), finished, whole)
                rate = self._choose(case, ledger, told)
                for seed in range(self.request.spec.seed, self.request.spec.seed + self.request.seeds):
                    record = self._carry_out(case, rate, seed, ledger, told)
                    if record.get("diverged"):
                        self.outcome.diverged.append(f"{case}, rate {rate:g}, seed {seed}")
                    else:
                        self.outcome.runs.append(record)
        self.outcome.interrupted = False
        return self.outcome

    def _choose(self, case: _Case, ledger: Ledger, told: Callable[[], None] | None) -> float:
        """Return the learning rate with the best mean accuracy on the validation rows; of equals, the smallest."""

        def score(rate: float, seed: int) -> float:
            return float(self._carry_out(case, rate, seed, ledger, told)["accuracy"])

        return best_rate(self.request.rates, self.request.tuning, score)

    def _carry_out(
        self, case: _Case, rate: float, seed: int, ledger: Ledger, told: Callable[[], None] | None
    ) -> dict[str, Any]:
        """Return the record of a run, done now or before."""
        place = {"strategy": case.strategy, "workers": case.workers, "rate": rate, "seed": seed}
        record = ledger.get(place)
        if record is None:
            tuning = seed >= FIRST_TUNING_SEED
            dataset = self._tried if tuning else self.dataset
            try:
                record = run_record(run(self._plan(case, rate, seed), dataset))
            except DivergedError as error:
                if case.strategy == "sequential" and not tuning:
                    what = f"the sequential reference, rate {rate:g}, seed {seed}"
                    raise ManyhandsError(f"{what}: {error}; it has nothing to be compared with") from error
                # Such a rate is not chosen; such a run is named, in no mean, and not tried again.
                record = {"accuracy": 0.0} if tuning else {"accuracy": 0.0, "diverged": True}
            ledger.add(place, record)
        if told is not None:
            told()
        return record

    def _plan(self, case: _Case, rate: float, seed: int) -> Plan:
        chosen = {"strategy": case.strategy, "workers": case.workers, "learning_rate": rate, "seed": seed}
        return resolve(self.request.spec.changed(**chosen), self.dataset)

    def _settings(self) -> dict[str, Any]:
        """Return what was resolved, for the record."""
        request = self.request
        plan = self._plan(self._cases[0], request.rates[0], request.spec.seed)
        return {
            "data": self.dataset.describe(),
            "strategies": list(dict.fromkeys(case.strategy for case in self._cases)),
            "workers": list(request.workers),
            "team": request.spec.team,
            "learner": plan.learner,
            "network": asdict(request.spec.network),
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

    def _identity(self) -> dict[str, Any]:
        """Return what makes runs interchangeable."""
        settings = self._settings()
        network = {name: value for name, value in settings["network"].items() if name != "learning_rate"}
        return {
            "kind": "methods",
            "version": __version__,
            "data": self.dataset.identity,
            "network": network,
            **{name: settings[name] for name in ("team", "batch", "epochs", "schedule")},
        }

    def text(self) -> str:
        """Return what is finished as a table."""
        return methods_text(self.outcome)


def _check_run(place: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Raise ValueError or KeyError unless a line of a journal is a whole run of this study."""
    known = {name: place[name] for name in ("strategy", "workers", "seed")}
    if known["seed"] >= FIRST_TUNING_SEED or record.get("diverged"):
        check_fields(record, TRIAL, same={})
    else:
        check_fields(record, FINISHED_RUN, same={**known, "learning_rate": place["rate"]})


def _bind(progress: MethodsProgress, what: str, finished: Iterator[int], whole: int) -> Callable[[], None]:
    return lambda: progress(what, next(finished), whole)


def _check(request: MethodsRequest) -> None:
    """Check what `resolve` does not see."""
    check_seeds(request.seeds, request.spec.seed, request.tuning)
    if not request.workers or not request.rates or min(request.workers) < 1:
        raise SettingsError("the study needs at least one number of workers from 1 on, and one learning rate")
    check_margin(request.margin)
    if any(replace(request.spec, strategy=each).automatic for each in request.strategies):
        raise SettingsError("auto has a learning rate of its own, so there is none to choose: compare it instead")


def _cases(request: MethodsRequest) -> Iterator[_Case]:
    """Yield the sequential reference, then every method at every number of workers."""
    yield _Case("sequential", 1)
    for name in dict.fromkeys(parse_strategy(text).name for text in request.strategies):
        if name != "sequential":
            yield from (_Case(name, workers) for workers in dict.fromkeys(request.workers))


_HEADER = ("strategy", "n", "rate", "rounds", "KB sent", "examples", "accuracy %", "vs sequential", "verdict")


def _cells(comparison: Methods, rows: Sequence[SummaryRow]) -> list[tuple[str, ...]]:
    """Return the table's cells, a row for each method and number of workers."""
    base = next(row for row in rows if row.strategy == "sequential")
    whole = _runs(comparison, base)[0]["examples"]
    return [_line(row, _runs(comparison, row)[0], whole) for row in rows]


def _line(row: SummaryRow, first: dict[str, Any], whole: int) -> tuple[str, ...]:
    """Return the cells of one row; its runs differ in nothing but seed, accuracy and time."""
    return (
        row.strategy,
        str(row.workers),
        f"{first['learning_rate']:g}",
        str(first["rounds"]),
        "shared" if parse_strategy(row.strategy).needs.shared_memory else f"{first['bytes_sent'] / 1000:.0f}",
        f"{first['examples'] / whole:.3f}",
        with_interval(row.accuracy.times(100), "{:.2f}"),
        "" if row.delta is None else with_interval(row.delta, "{:+.2f}"),
        "" if row.verdict is None else row.verdict.word,
    )


def _runs(comparison: Methods, row: SummaryRow) -> list[dict[str, Any]]:
    """Return a row's runs."""
    key = (row.strategy, row.workers)
    return [record for record in comparison.runs if (record["strategy"], record["workers"]) == key]


def methods_text(comparison: Methods) -> str:
    """Return the table as text for a terminal."""
    rows = comparison.summary
    if not rows:
        return "No run was finished."
    lines: list[tuple[str, ...]] = [_HEADER, *_cells(comparison, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADER))]
    text = [
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    ]
    text.insert(1, "-" * len(text[0]))
    notes = (textwrap.fill(note, 100, break_on_hyphens=False) for note in _notes(comparison))
    return "\n".join([*(line.rstrip() for line in text), "", *notes])


def methods_markdown(comparison: Methods) -> str:
    """Return the table as Markdown, for the documentation."""
    if not comparison.summary:
        return "No run was finished.\n"
    rule = ("---", *("---:" for _ in _HEADER[2:]), "---")
    lines: list[Sequence[str]] = [_HEADER, rule, *_cells(comparison, comparison.summary)]
    table = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([*table, "", *_notes(comparison), ""])


def _notes(comparison: Methods) -> list[str]:
    """Say what was measured, and how."""
    settings, data = comparison.settings, comparison.settings["data"]
    rates = ", ".join(f"{rate:g}" for rate in settings["rates"])
    hidden = "-".join(map(str, settings["network"]["hidden"])) or "none"
    notes = [
        f"{data['name']}, {data['train_rows']} training, {data['validation_rows']} validation and {data['test_rows']} "
        f"test rows; hidden {hidden}, {settings['network']['optimizer']}, global batch {settings['batch']}, "
        f"{settings['epochs']} epochs, schedule {settings['schedule']}; {settings['seeds']} seeds.",
        f"rate: the best of {rates} on the validation rows, over {settings['tuning']} other "
        f"seed{'s' if settings['tuning'] > 1 else ''}, for every line by itself.",
        "rounds, KB sent: of one worker, one vector for a round (shared: written in place); examples: its share of the "
        "sequential run's. ± is the 95 % interval: of twenty intervals, one misses.",
        "Merges that look at validation rows have chosen their rate by the same rows.",
        *(f"diverged: {what}" for what in comparison.diverged),
    ]
    return notes + (["Interrupted: only finished runs are counted."] if comparison.interrupted else [])
