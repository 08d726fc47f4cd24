"""The tables of a study of networks as text for the terminal."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from manyhands.core.parameters import parameter
from manyhands.core.words import count
from manyhands.records.axes import AXIS_TITLES
from manyhands.records.statistics import Estimate
from manyhands.reports.format import seconds
from manyhands.runtime.terminal import BRIEF, Detail, Group, Row, legend, text_table
from manyhands.studies.compare.text import VERDICT_STYLES, coarse_note, warnings_text, with_interval
from manyhands.studies.networks.results import NetworkRow, Networks

_OPEN = {"undecided": "?"}


def networks_text(study: Networks, detail: Detail = BRIEF) -> str:
    """Return what is finished as tables: every network with one worker, and what several workers change."""
    rows = study.summary
    if not rows:
        return "\n".join(["No run was finished.", *_diverged(study)])
    strategies = dict.fromkeys(row.row.strategy for row in rows if row.row.workers > 1)
    tables = [_alone(study, rows, detail), *(_several(study, rows, strategy, detail) for strategy in strategies)]
    blocks = [*tables, legend(_notes(study, rows), detail), warnings_text(_warnings(study, rows), detail)]
    return "\n\n".join(filter(None, blocks))


def _alone(study: Networks, rows: Sequence[NetworkRow], detail: Detail) -> str:
    """Return the table of every network with one worker."""
    targets = study.settings["targets"]
    groups = [Group(("rate", "train\ns", "accuracy %\n(95 %)")), Group(("confi-\ndence %", "calib.\nerror %"), rank=2)]
    if targets:
        groups.append(Group((f"epochs to\n{'/'.join(f'{100 * target:g}' for target in targets)} %",), rank=1))
    lines = [(row.network, _alone_cells(row)) for row in rows if row.row.workers == 1]
    return text_table(["one worker"], groups, list(_under_axes(study, lines)), detail)


def _alone_cells(row: NetworkRow) -> list[str]:
    cells = [
        f"{row.learning_rate:g}",
        seconds(row.row.train_s),
        with_interval(row.row.accuracy.times(100), "{:.2f}"),
        _percent(row.confidence),
        _percent(row.calibration_error),
    ]
    if row.reached:
        cells.append("/".join("-" if each.epochs is None else f"{each.epochs:.3g}" for each in row.reached))
    return cells


def _percent(value: Estimate) -> str:
    return f"{100 * value.mean:.1f}"


def _several(study: Networks, rows: Sequence[NetworkRow], strategy: str, detail: Detail) -> str:
    """Return the table of what a strategy changes, with columns for each number of workers."""
    mine = {(row.network, row.row.workers): row for row in rows if row.row.strategy == strategy}
    crowded = {number for (_, number), row in mine.items() if row.row.oversubscribed}
    workers = sorted({number for _, number in mine})
    groups = []
    for number in workers:
        title = f"n = {number}{'*' if number in crowded else ''}"
        groups += [Group(("points", "verdict"), title), Group(("speedup",), rank=1)]
    networks = dict.fromkeys(network for network, _ in mine)
    lines = [(each, [cell for number in workers for cell in _change(mine.get((each, number)))]) for each in networks]
    table = text_table(["network"], groups, list(_under_axes(study, lines)), detail, VERDICT_STYLES)
    return f"{strategy} vs one worker\n{table}"


def _change(row: NetworkRow | None) -> tuple[str, str, str]:
    """Return what several workers change: accuracy, verdict, speed."""
    if row is None or row.row.delta is None or row.row.verdict is None:
        return "-", "", "-"
    word = row.row.verdict.word
    return with_interval(row.row.delta, "{:+.2f}"), _OPEN.get(word, word), f"{row.row.speedup:.2f}"


def _under_axes(study: Networks, lines: Sequence[tuple[int, list[str]]]) -> Iterator[Row]:
    """Yield the rows of networks under the names of their axes."""
    for axis, group in itertools.groupby(lines, lambda line: str(study.networks[line[0]]["axis"])):
        if axis:
            yield AXIS_TITLES.get(axis, axis)
        for number, cells in group:
            yield (f"{'  ' if axis else ''}{study.networks[number]['name']}", *cells)


def _notes(study: Networks, rows: Sequence[NetworkRow]) -> list[str]:
    """Return what was measured, and how, the most important first."""
    settings, data = study.settings, study.settings["data"]
    seeds = settings["seeds"]
    held = f", {data['validation_rows']:,} validation" if "validation_rows" in data else ""
    architecture = f"{settings['architecture']}, " if settings.get("architecture") else ""
    notes = [
        f"{data['name']}: {data['train_rows']:,} training{held} and {data['test_rows']:,} test samples, "
        f"{architecture}{count(settings['epochs'], 'epoch')}, {count(seeds, 'seed')}. "
        "Means (times: medians), ± the 95 % interval over seeds.",
    ]
    if any(row.row.workers > 1 for row in rows):
        notes.append(
            f"vs one worker: paired by seed; same: the interval lies within ±{settings['margin']:g} points; ?: "
            "undecided."
        )
    if study.tried:
        multiples = ", ".join(f"{each:g}" for each in settings["multiples"])
        notes.append(
            f"Learning rates: the best of {multiples} times the optimizer's own on the validation samples, with one "
            f"worker and {count(settings['tuning'], 'other seed')}; n workers use the "
            "same. Nothing is chosen on test samples."
        )
        at_edge = sum(_at_edge(study, row) for row in rows if row.row.workers == 1)
        if at_edge:
            notes.append(
                f"For {at_edge} of the networks, the best rate is the lowest or highest tried; see "
                f"{parameter('lr_multipliers')}."
            )
    notes.append(
        "confidence: mean probability of the predicted class; calibration error: mean difference between confidence "
        "and accuracy, over 15 bins."
    )
    if settings["targets"]:
        notes.append(
            "Accuracy was measured during training. The evaluations are not timed, but they slow runs of several "
            f"workers (docs/studies.md); {parameter('targets', ())} turns them off."
        )
    return notes


def _warnings(study: Networks, rows: Sequence[NetworkRow]) -> list[str]:
    """Return the limits of what the tables show."""
    settings, alike = study.settings, _alike(study, rows)
    notes = [f"Warning: {text}" for text in study.problems()]
    notes += coarse_note(settings, (row.row.verdict for row in rows))
    if any(row.row.oversubscribed for row in rows):
        notes.append(f"* more workers than the {study.environment['cores']} usable cores: timings are not meaningful.")
    if settings["skipped"]:
        skipped = _few(settings["skipped"])
        notes.append(f"With fewer workers only, as every worker needs a sample of each batch: {skipped}.")
    notes += [f"{name}: of {width} neurons, {count} differed at the end." for name, width, count in alike]
    if study.diverged:
        notes += [*_diverged(study), "Diverged runs, and runs paired with them, are excluded from the means."]
    return notes + (["Interrupted: only finished runs are counted."] if study.interrupted else [])


def _at_edge(study: Networks, row: NetworkRow) -> bool:
    """Return whether the rate of a network is the lowest or highest that was tried, so that another may be better."""
    rates = sorted({each["learning_rate"] for each in study.tried if each["network"] == row.network})
    return len(rates) > 1 and row.learning_rate in (rates[0], rates[-1])


def _few(names: Sequence[str], most: int = 6) -> str:
    """Return names, the first of them if there are many."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _alike(study: Networks, rows: Sequence[NetworkRow]) -> Iterator[tuple[str, int, int]]:
    """Yield networks with one worker some of whose hidden neurons ended alike: name, neurons, how many differ."""
    for row in rows:
        network = study.networks[row.network]
        if row.row.workers > 1:
            continue
        for width, distinct in zip(network.get("hidden", ()), row.distinct, strict=False):
            if distinct < width:
                yield network["name"], width, distinct


def _diverged(study: Networks) -> list[str]:
    """Return a line for each network that diverged, with the strategies, workers and numbers of runs."""
    groups: dict[str, dict[str, int]] = {}
    for each in study.diverged:
        who = "one worker" if each["workers"] == 1 else f"{each['strategy']} n={each['workers']}"
        counts = groups.setdefault(study.networks[each["network"]]["name"], {})
        counts[who] = counts.get(who, 0) + 1
    seeds = study.settings["seeds"]
    return [
        f"diverged: {name}: {', '.join(f'{who} ({count} of {seeds})' for who, count in found.items())}"
        for name, found in groups.items()
    ]
