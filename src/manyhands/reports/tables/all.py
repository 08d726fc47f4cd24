"""The tables of a report as rows of text; `manyhands.reports.html.page` makes HTML of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from manyhands.records.todorov2021 import WHAT_DIFFERS, processes_table, published_table
from manyhands.reports import queries
from manyhands.reports.figures.sweep import comparable, published_rows
from manyhands.reports.format import count, decimal, impact, layers, seconds, signed
from manyhands.reports.schema import Record, parts
from manyhands.reports.tables.networks import network_tables
from manyhands.reports.tables.table import Column, Table, shown, with_interval

__all__ = ["Table", "make_tables"]

_PUBLISHED = "published (MIPRO 2021)"
_TITLES = {2: "Table II: without communication", 3: "Table III: with communication"}
_THEIRS = (
    "The published numbers are for MNIST's first 6,000 images, 784-75-10, at most 75 epochs, on a six-core processor."
)
_IN_THEIR_FORM = ("one-shot", "periodic:1epoch")


def make_tables(record: Record) -> list[Table]:
    """Return all tables that a completed record allows."""
    inside, found = parts(record), []
    if inside.compare is not None and inside.compare["summary"]:
        found += [_comparison(inside.compare), *_laws(inside.compare)]
    if inside.sweep is not None and inside.sweep["table"]:
        found.append(_table1(inside.sweep))
    if inside.compare is not None and record.get("study") == "exemplar":
        found += _in_their_form(inside.compare)
    if inside.published is not None:
        found += [
            _beside(inside.published, inside.published["tables"][f"table{number}"], title, "processes")
            for number, title in _TITLES.items()
        ]
        found[-1] = replace(found[-1], note=f"{found[-1].note} {_THEIRS} {WHAT_DIFFERS}".strip())
    if inside.networks is not None:
        found += network_tables(inside.networks)
    return found


def _comparison_columns(compare: Record) -> list[Column]:
    """Return the headings of the comparison, and what stands below them."""
    columns: list[Column] = [
        ("strategy", lambda row: row["strategy"]),
        ("workers", lambda row: f"{row['workers']}{'*' if row['oversubscribed'] else ''}"),
        ("train, s", lambda row: seconds(row["train_s"])),
        ("speedup", _speedup),
        ("scaled speedup", lambda row: decimal(row["scaled_speedup"])),
        ("vs sequential, points", lambda row: with_interval(signed(row["delta_pp"]), row["delta_ci95"], sign=True)),
        ("verdict", _verdict),
        ("accuracy, %", _accuracy),
        ("efficiency", lambda row: decimal(row["efficiency"])),
        ("impact", lambda row: impact(row["impact"])),
        ("total, s", lambda row: seconds(row["total_s"])),
        ("impact with comm.", lambda row: impact(row["impact_with_communication"])),
        ("to target, s", lambda row: seconds(row["target_s"])),
        ("target reached", lambda row: "" if row["target_reached"] is None else f"{row['target_reached']} runs"),
    ]
    if compare["settings"]["target"] is None:
        return [column for column in columns if "target" not in column[0]]
    return columns


def _comparison(compare: Record) -> Table:
    """Return the comparison; columns that no row fills are left out."""
    columns = _comparison_columns(compare)
    rows = shown(columns, compare["summary"])
    kept = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    often = queries.repetitions(compare)
    times = f"Medians of times and means of accuracies over {often}; below them the 95 % intervals."
    crowd = (
        f" * More workers than the {queries.cores(compare)}: these times say nothing about more cores."
        if queries.crowded(compare)
        else ""
    )
    chosen = frozenset(
        place
        for place, row in enumerate(compare["summary"])
        if row in queries.parallel_rows(compare)
        and row["verdict"] in ("same", "higher")
        and queries.surely_faster(row)
        and not row["oversubscribed"]
    )
    bold = " Bold: faster, and no less accurate." if chosen else ""
    return Table(
        "Comparison",
        [columns[place][0] for place in kept],
        [[row[place] for place in kept] for row in rows],
        f"{times}{crowd}{bold}",
        marked=chosen,
    )


def _accuracy(row: Record) -> str:
    interval = row["accuracy_ci95"]
    mean = decimal(100 * row["accuracy_mean"])
    return with_interval(mean, None if interval is None else [100 * end for end in interval])


def _speedup(row: Record) -> str:
    """Return the speedup; the reference has no interval, it would be compared with itself."""
    interval = None if row["strategy"] == queries.SEQUENTIAL else row["speedup_ci95"]
    return with_interval(decimal(row["speedup"]), interval)


def _verdict(row: Record) -> str:
    word = row["verdict"] or ""
    more = row["more_seeds"]
    return f"{word}\n{count(more, 'more seed')}" if word == "undecided" and more else word


def _laws(compare: Record) -> list[Table]:
    """Return what the fitted laws say, if any was fitted."""
    columns: list[Column] = [
        ("strategy", lambda law: law["strategy"]),
        ("serial part (Amdahl), %", lambda law: _percent(law, "amdahl")),
        ("contention (USL)", lambda law: _coefficient(law, "contention")),
        ("coherency (USL)", lambda law: _coefficient(law, "coherency")),
        ("best n (USL)", _best_workers),
        ("largest speedup (USL)", lambda law: "" if law["usl"] is None else decimal(law["usl"]["peak_speedup"])),
        ("serial part (Gustafson), %", lambda law: _percent(law, "gustafson")),
    ]
    rows = shown(columns, compare["laws"])
    kept = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    if kept in ([], [0]):
        return []
    fitted = queries.fitted_crowded(compare)
    note = (
        f"* Fitted to points with more workers than the {queries.cores(compare)}, for lack of others." if fitted else ""
    )
    return [
        Table(
            "How it scales",
            [columns[place][0] for place in kept],
            [[row[place] for place in kept] for row in rows],
            note,
        )
    ]


def _percent(law: Record, kind: str) -> str:
    return "" if law[kind] is None else f"{100 * law[kind]['serial_fraction']:.1f}{queries.starred(law, kind)}"


def _coefficient(law: Record, name: str) -> str:
    return "" if law["usl"] is None else f"{law['usl'][name]:.4f}{queries.starred(law, 'usl')}"


def _best_workers(law: Record) -> str:
    usl = law["usl"]
    if usl is None:
        return ""
    return "none: more is better" if usl["best_workers"] is None else f"{usl['best_workers']:.3g}"


def _table1(sweep: Record) -> Table:
    """Return Table I, ours and, where it may be compared, the published one."""
    theirs = {(row["hidden"][0], row["epochs"]): row for row in published_rows()} if comparable(sweep) else {}
    if not any((row["hidden"][0], row["epochs"]) in theirs for row in sweep["table"] if theirs):
        theirs = {}
    tested = any(row["test_pct"] is not None for row in sweep["table"])
    chosen_on = sweep["settings"]["chosen_on"] or "test"
    rows = []
    for row in sweep["table"]:
        cells = [layers(row["hidden"]), str(row["epochs"]), seconds(row["time_s"])]
        cells[2] += "†" if row["time_falsified"] else ""
        cells.append(decimal(row["accuracy_pct"]) + _half(row["accuracy_ci95"]))
        cells += [decimal(row["test_pct"])] if tested else []
        cells.append(impact(row["impact"]))
        if theirs:
            other = theirs.get((row["hidden"][0], row["epochs"]))
            cells += (
                ["", "", ""]
                if other is None
                else [decimal(other["time_s"]), decimal(other["accuracy_pct"]), decimal(other["impact"])]
            )
        rows.append(cells)
    here = ["time, s", f"accuracy ({chosen_on}), %", *(["accuracy (test), %"] if tested else []), "impact"]
    best = sweep["best"]
    marked = frozenset(
        place
        for place, row in enumerate(sweep["table"])
        if best is not None and (row["hidden"], row["epochs"]) == (best["hidden"], best["epochs"])
    )
    return Table(
        "Table I: training time, accuracy and impact factor by network and epochs",
        ["hidden", "epochs", *here, *(["time, s", "accuracy, %", "impact"] if theirs else [])],
        rows,
        _note1(sweep, bool(theirs), bool(marked)),
        [("", 2), ("here", len(here)), (_PUBLISHED, 3)] if theirs else [],
        marked,
    )


def _half(interval: Sequence[float] | None) -> str:
    """Return an interval as what is added and taken away, for tables with many rows."""
    return "" if interval is None else f" ±{decimal((interval[1] - interval[0]) / 2)}"


def _note1(sweep: Record, beside: bool, marked: bool) -> str:
    notes = ["Bold: the chosen classifier."] if marked else []
    if beside:
        notes.append("Published: pixels not scaled, another machine, scikit-learn's MLPClassifier; theirs is 75, 75.")
    if any(row["accuracy_ci95"] for row in sweep["table"]):
        notes.append("±: 95 % interval.")
    if any(row["time_falsified"] for row in sweep["table"]):
        notes.append("† Measured while other sessions ran, and so too long.")
    return " ".join(notes)


def _in_their_form(compare: Record) -> list[Table]:
    """Return the comparison as Tables II and III: the published strategy, and the one that keeps the accuracy."""
    found = []
    for strategy in _IN_THEIR_FORM:
        runs = [run for run in compare["runs"] if run["strategy"] == strategy and _is_timed(run)]
        for number, title in _TITLES.items() if runs else ():
            here = [vars(row) for row in processes_table(runs, number)]
            sides = {"here": here, "published": [vars(row) for row in published_table(number)]}
            found.append(_beside(compare, sides, f"{title}, {strategy}", "workers"))
    return found


def _is_timed(run: Record) -> bool:
    """Return whether a run has what Tables II and III are made of."""
    seconds = run["seconds"]
    return (
        run["accuracy"] is not None
        and bool(seconds["compute"] and seconds["train"])
        and seconds["distribute"] is not None
    )


def _beside(part: Record, sides: Record, title: str, name: str) -> Table:
    """Return Table II or III, ours beside the published one."""
    theirs = {row["processes"]: row for row in sides["published"]}
    cores = part["environment"]["cores"]
    rows, crowded = [], False
    for row in sides["here"]:
        star = cores is not None and row["processes"] > cores
        crowded = crowded or star
        other = theirs.get(row["processes"])
        rows.append(
            [
                f"{row['processes']}{'*' if star else ''}",
                *_line(row, 3),
                *(("", "", "") if other is None else _line(other, 2)),
            ]
        )
    three = ["time, s", "accuracy, %", "impact"]
    note = f"* More {name} than the {queries.cores(part)} here." if crowded else ""
    groups = [("", 1), ("here", 3), (_PUBLISHED, 3)]
    return Table(title, [name, *three, *three], rows, note, groups)


def _line(row: Record, places: int) -> tuple[str, str, str]:
    return decimal(row["time_s"], places), decimal(row["accuracy_pct"]), decimal(row["impact"])
