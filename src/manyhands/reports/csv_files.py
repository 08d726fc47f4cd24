"""The numbers of a report as CSV files with one header line, decimal points and commas between cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from manyhands.records.runs import SECONDS
from manyhands.reports.csv_cells import csv_text
from manyhands.reports.figures.sweep import comparable, published_rows
from manyhands.reports.format import layers
from manyhands.reports.schema import Record, parts

_RUN = (
    *("strategy", "workers", "team", "learner", "sharding", "seed", "split", "rows", "accuracy", "loss", "steps"),
    *("rounds", "bytes_sent", "examples", "target_s", "seconds"),
)
_SUMMARY = (
    *("strategy", "workers", "accuracy_mean", "accuracy_ci95", "delta_pp", "delta_ci95", "train_s", "total_s"),
    *("speedup", "speedup_ci95", "efficiency", "impact", "impact_with_communication", "oversubscribed", "verdict"),
    *("more_seeds", "target_s", "target_reached", "scaled_speedup"),
)
_SESSION = (
    *("hidden", "epochs", "seed", "split", "accuracy", "validation_accuracy", "epochs_run", "loss", "side_by_side"),
    *("retimed_s", "seconds"),
)
_TABLE1 = (
    *("hidden", "epochs", "runs", "time_s", "time_falsified", "accuracy_pct", "accuracy_ci95", "test_pct", "impact"),
)
_NETWORK = (
    *("axis", "name", "activation", "optimizer", "batch", "weight_init", "bias_init", "loss", "dropout", "hidden"),
)
_NETWORK_RUN = ("learning_rate", "validation_accuracy", "confidence", "calibration_error", "distinct_neurons")
_NETWORK_ROW = (
    *("strategy", "workers", "learning_rate", "accuracy_mean", "accuracy_ci95", "delta_pp", "delta_ci95", "verdict"),
    *("train_s", "speedup", "speedup_ci95", "oversubscribed", "validation_mean", "validation_ci95"),
    *("confidence_mean", "confidence_ci95", "calibration_error_mean", "calibration_error_ci95", "distinct_neurons"),
)
_CASE = ("case", "kind", "threshold", "lanes", "workers")
_CASE_RUN = (
    *(*_CASE, "seed", "accuracy", "loss", "steps", "rounds", "bytes_sent", "examples"),
    *("hits", "misses", "unseen", "hit_rate", "saved", "ceiling", "ideal", "seconds"),
)
_CASE_ROW = (
    *(*_CASE, "train_s", "total_s", "reduction_pct", "reduction_ci95", "speedup", "speedup_ci95", "oversubscribed"),
    *("hit_rate", "saved", "ceiling", "ideal", "accuracy_mean", "accuracy_ci95", "delta_pp", "delta_ci95", "verdict"),
    "more_seeds",
)
_LEVEL = ("name", "hidden", "level", "workers")
_LEVEL_RUN = (*_LEVEL, "repeat", "steps", "step_ms", "communicate_ms", "sent_bytes", "seconds")
_LEVEL_ROW = (
    *(*_LEVEL, "repeats", "step_ms", "step_ms_ci95", "predicted_ms", "speedup", "speedup_ci95", "efficiency"),
    *("communicate_ms", "sent_bytes", "exchanges", "array_bytes", "peak_bytes", "oversubscribed"),
)
_LEVEL_CASE = (*_LEVEL, "parameters", "exchanges", "array_bytes", "operations", "memory_bytes", "predicted_ms")
_CLASSIFIER_RUN = (
    *(
        "learner",
        "workers",
        "team",
        "seed",
        "accuracy",
        "passes",
        "rounds",
        "bytes_sent",
        "model",
        "answers",
        "seconds",
    ),
)
_CLASSIFIER_ROW = (
    *("learner", "workers", "runs", "compute_s", "train_s", "speedup", "speedup_ci95", "efficiency", "oversubscribed"),
    *("accuracy_mean", "accuracy_ci95", "impact", "impact_with_communication", "rounds", "bytes_sent", "same_model"),
    *("delta_pp", "delta_ci95", "verdict", "more_seeds", "sklearn_delta_pp", "sklearn_delta_ci95", "sklearn_verdict"),
    *("same_answers", "times_as_fast_as_sklearn"),
)
_CURVE = ("step", "epoch", "round", "train_s", "loss", "accuracy")
_WHOSE = ("strategy", "workers", "seed")
_LINE = ("processes", "time_s", "accuracy_pct", "impact")


def csv_files(record: Record) -> dict[str, bytes]:
    """Return the CSV files that a completed record allows, by name.

    An interval becomes two columns, ``_low`` and ``_high``; hidden layers are joined, as in ``512-128``; what has no
    value is empty.
    """
    inside = parts(record)
    found: dict[str, bytes] = {}
    if inside.sweep is not None:
        found |= _of_sweep(inside.sweep)
    if inside.compare is not None:
        compare = inside.compare
        found["runs.csv"] = _written(_RUN, compare["runs"])
        found["summary.csv"] = _written(_SUMMARY, compare["summary"])
        found["curves.csv"] = _written((*_WHOSE, *_CURVE), _curves(compare["runs"]))
    if inside.published is not None:
        name = "runs.csv" if inside.compare is None else "published_runs.csv"
        found[name] = _written(_RUN, inside.published["runs"])
        for number in (2, 3):
            sides = inside.published["tables"][f"table{number}"]
            found[f"table{number}.csv"] = _written(_LINE, sides["here"])
            found[f"table{number}_published.csv"] = _written(_LINE, sides["published"])
    if inside.networks is not None:
        found |= _of_networks(inside.networks)
    if inside.speculative is not None:
        found |= _of_speculation(inside.speculative)
    if inside.levels is not None:
        found |= _of_levels(inside.levels)
    if inside.classifiers is not None:
        found |= _of_classifiers(inside.classifiers)
    return {name: content for name, content in found.items() if content.count(b"\n") > 1}


def _of_networks(study: Record) -> dict[str, bytes]:
    """Return runs, rows, curves and tried rates, each with the network they belong to."""
    unlayered = dict.fromkeys(("hidden", "distinct_neurons")) if study["settings"]["architecture"] else {}

    def named(records: Iterable[Record]) -> Iterable[Record]:
        return ({**study["networks"][each["network"]], **each, **unlayered} for each in records)

    targets = [
        f"{what}_to_{100 * target:g}" for target in study["settings"]["targets"] for what in ("epochs", "seconds")
    ]
    rows = ({**row, **_reached(row)} for row in named(study["summary"]))
    return {
        "runs.csv": _written((*_NETWORK, *_NETWORK_RUN, *_RUN), named(study["runs"])),
        "networks.csv": _written((*_NETWORK, *_NETWORK_ROW, *targets), rows),
        "curves.csv": _written(("name", *_WHOSE, *_CURVE), _curves(named(study["runs"]), ("name", *_WHOSE))),
        "tried.csv": _written((*_NETWORK, "learning_rate", "seed", "validation_accuracy"), named(study["tried"])),
    }


def _of_speculation(study: Record) -> dict[str, bytes]:
    """Return runs, rows, curves, hit rates by epoch and time lines of the last steps, each with the case's facts."""
    cases = {case["name"]: case for case in study["cases"]}
    runs = [
        {**cases[run["case"]], **run, **(run["speculation"] or {}), "seconds": run["seconds"]} for run in study["runs"]
    ]
    rows = ({**cases[row["case"]], **row} for row in study["summary"])
    whose = (*_CASE, "seed")
    rates = (
        {**run, "epoch": epoch, "hit_rate": rate}
        for run in runs
        for epoch, rate in enumerate(run.get("hit_rate_by_epoch", ()), start=1)
    )
    spans = ({**run, **span} for run in runs for span in run.get("timeline", ()))
    return {
        "runs.csv": _written(_CASE_RUN, runs),
        "summary.csv": _written(_CASE_ROW, rows),
        "curves.csv": _written((*whose, *_CURVE), _curves(runs, whose)),
        "hit_rates.csv": _written((*whose, "epoch", "hit_rate"), rates),
        "timelines.csv": _written((*whose, "lane", "what", "layer", "begin", "end"), spans),
    }


def _of_levels(study: Record) -> dict[str, bytes]:
    """Return runs, rows, what the model says of each case, and what auto would choose."""
    names = {tuple(row["hidden"]): row["name"] for row in study["summary"]}
    runs = ({**run, "name": names.get(tuple(run["hidden"]))} for run in study["runs"])
    return {
        "runs.csv": _written(_LEVEL_RUN, runs),
        "summary.csv": _written(_LEVEL_ROW, study["summary"]),
        "cases.csv": _written(_LEVEL_CASE, study["cases"]),
        "model.csv": _written(("width", "level", "predicted_ms"), study["model"]),
        "auto.csv": _written(("hidden", "workers", "grid", "level"), study["chosen"]),
    }


def _of_classifiers(study: Record) -> dict[str, bytes]:
    """Return runs, rows, scikit-learn's fits and rows, and the regularizations that were tried."""
    return {
        "runs.csv": _written(_CLASSIFIER_RUN, study["runs"]),
        "summary.csv": _written(_CLASSIFIER_ROW, study["summary"]),
        "sklearn_runs.csv": _written(("learner", "seed", "accuracy", "fit_s", "answers"), study["references"]),
        "sklearn.csv": _written(
            ("learner", "runs", "fit_s", "accuracy_mean", "accuracy_ci95", "impact"), study["theirs"]
        ),
        "tried.csv": _written(("parameter", "value", "accuracy"), study["tried"]),
    }


def _reached(row: Record) -> Record:
    """Return how soon every target was reached, as fields of a row."""
    return {
        f"{what}_to_{100 * each['target']:g}": each[what] for each in row["reached"] for what in ("epochs", "seconds")
    }


def _of_sweep(sweep: Record) -> dict[str, bytes]:
    found = {
        "sessions.csv": _written(*_with_network(sweep, _SESSION, sweep["sessions"])),
        "table1.csv": _written(*_with_network(sweep, _TABLE1, sweep["table"])),
    }
    if comparable(sweep):
        found["table1_published.csv"] = _written(
            ("hidden", "epochs", "time_s", "accuracy_pct", "impact"), published_rows()
        )
    return found


def _with_network(
    sweep: Record, columns: Sequence[str], rows: Iterable[Record]
) -> tuple[Sequence[str], Iterable[Record]]:
    """Return columns and rows, with the architecture's name in the place of hidden layers where there is one."""
    name = sweep["settings"]["architecture"]
    if name is None:
        return columns, rows
    named = ({**row, "network": name} for row in rows)
    return ["network" if column == "hidden" else column for column in columns], named


def _curves(runs: Iterable[Record], whose: Sequence[str] = _WHOSE) -> Iterable[Record]:
    """Yield the points of all curves, each with the run it belongs to."""
    for run in runs:
        for point in run["curve"] or []:
            yield {**{name: run.get(name) for name in whose}, **point}


def _written(columns: Sequence[str], rows: Iterable[Record]) -> bytes:
    """Return rows as CSV."""
    header = [name for column in columns for name in _names(column)]
    lines = ([cell for column in columns for cell in _cells(column, row.get(column))] for row in rows)
    return csv_text([header, *lines])


def _names(column: str) -> list[str]:
    if column == "seconds":
        return [f"seconds_{name}" for name in SECONDS]
    return [f"{column}_low", f"{column}_high"] if column.endswith("_ci95") else [column]


def _cells(column: str, value: Any) -> list[Any]:
    """Return the cells of a value; Python writes numbers so that they read back the same."""
    if column == "seconds":
        return [value[name] for name in SECONDS]
    if column.endswith("_ci95"):
        return [None, None] if value is None else value
    return [layers(value) if isinstance(value, list) else value]
