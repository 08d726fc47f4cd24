"""The tables of a study of classifiers: by workers, beside one worker and scikit-learn; and scikit-learn's own."""

from __future__ import annotations

from manyhands.core.words import count, size
from manyhands.reports import classifiers
from manyhands.reports.classifiers import model_word, point_ms, short_ms, short_seconds, sklearn_word
from manyhands.reports.format import decimal, impact, listed
from manyhands.reports.schema import Record
from manyhands.reports.tables.table import Column, Table, crowd_note, percent_cell, table_of, with_interval


def classifier_tables(study: Record) -> list[Table]:
    """Return all tables of a completed study of classifiers."""
    if not study["summary"]:
        return []
    tables = [_of_rows(study)]
    return tables + ([_of_theirs(study)] if study["theirs"] else [])


def _of_rows(study: Record) -> Table:
    """Return the table of all classifiers; the most efficient one with a core for each worker stands out."""
    rows, workers = study["summary"], classifiers.most_workers(study)
    fair = [row for row in rows if row["workers"] == workers]
    best = max(fair, key=lambda row: float(row["efficiency"]), default=None)
    marked = frozenset(place for place, row in enumerate(rows) if row is best)
    return table_of("Classifiers by number of workers", _COLUMNS, rows, _note(study), marked)


_COLUMNS: list[Column] = [
    ("classifier", lambda row: row["learner"]),
    ("n", lambda row: f"{row['workers']}{'*' if row['oversubscribed'] else ''}"),
    ("time, s", lambda row: short_seconds(row["compute_s"])),
    ("with comm., s", lambda row: short_seconds(row["train_s"])),
    ("speedup", lambda row: with_interval(decimal(row["speedup"]), row["speedup_ci95"])),
    ("efficiency", lambda row: decimal(row["efficiency"])),
    ("accuracy, %", lambda row: percent_cell(row, "accuracy")),
    ("impact", lambda row: impact(row["impact"])),
    ("impact w. comm.", lambda row: impact(row["impact_with_communication"])),
    ("ms per point", lambda row: short_ms(point_ms(row))),
    ("rounds", lambda row: f"{row['rounds']:,.0f}"),
    ("sent", lambda row: size(row["bytes_sent"])),
    ("vs n = 1", model_word),
    ("vs scikit-learn", sklearn_word),
    ("times as fast as it", lambda row: decimal(row["times_as_fast_as_sklearn"])),
]


def _note(study: Record) -> str:
    runs = max((row["runs"] or 0 for row in study["summary"]), default=0)
    margin = study["settings"]["margin"]
    notes = [
        f"Medians of times and means of accuracies over {count(runs, 'run')}; below them 95 % intervals. Time: of "
        "computing; with comm.: with distributing and exchanging, of which are speedup, efficiency and time per point. "
        f"Bold: the highest efficiency with a core for each worker. same: within {margin:g} points."
    ]
    if chosen := choice_note(study):
        notes.append(chosen)
    if any(row["oversubscribed"] for row in study["summary"]):
        notes.append(crowd_note(study))
    return " ".join(notes)


def choice_note(study: Record) -> str:
    """Return how qda's regularization was chosen; nothing if it was not."""
    if not study["tried"]:
        return ""
    best = max(study["tried"], key=lambda each: float(each["accuracy"]))
    values = listed([f"{each['value']:g}" for each in study["tried"]])
    return (
        f"qda: {best['parameter']} {best['value']:g}, chosen from {values} on samples held out of the training "
        "samples; nothing is chosen on test samples."
    )


def _of_theirs(study: Record) -> Table:
    """Return the table of scikit-learn's estimators, beside ours with one worker."""

    def ours(row: Record, field: str) -> float | None:
        found = classifiers.row_of(study, row["learner"], 1)
        return None if found is None else found[field]

    columns: list[Column] = [
        ("estimator", lambda row: row["learner"]),
        ("fit, s", lambda row: short_seconds(row["fit_s"])),
        ("ours, n = 1, s", lambda row: short_seconds(ours(row, "train_s"))),
        ("accuracy, %", lambda row: percent_cell(row, "accuracy")),
        ("ours, %", lambda row: decimal(None if (mean := ours(row, "accuracy_mean")) is None else 100 * mean)),
        ("difference, points", lambda row: _difference(ours(row, "sklearn_delta_pp"), ours(row, "sklearn_delta_ci95"))),
        ("impact", lambda row: impact(row["impact"])),
    ]
    note = "scikit-learn's own estimator of each kind, with the same settings and inputs, in one thread."
    return table_of("scikit-learn", columns, study["theirs"], note)


def _difference(value: float | None, interval: object) -> str:
    if value is None:
        return ""
    return with_interval(f"{value + 0.0:+.2f}", interval if isinstance(interval, list) else None, sign=True)
