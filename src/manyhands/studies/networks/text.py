"""A study of networks as text for a terminal of 80 columns."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Sequence

from manyhands.records.axes import AXIS_TITLES
from manyhands.records.statistics import Estimate
from manyhands.studies.compare.text import seconds_text, with_interval
from manyhands.studies.networks.results import NetworkRow, Networks

WIDTH = 80
_NAME = 20
_PER_LINE = 2
_WORDS = {"same": "same", "lower": "lower", "higher": "higher", "undecided": "?"}


def networks_text(study: Networks) -> str:
    """Return what is finished as tables: every network with one worker, and what several workers change."""
    rows = study.summary
    if not rows:
        return "\n".join(["No run was finished.", *_diverged(study)])
    blocks = ["\n".join(_alone(study, rows))]
    for strategy in dict.fromkeys(row.row.strategy for row in rows if row.row.workers > 1):
        blocks += ["\n".join(lines) for lines in _several(study, rows, strategy)]
    notes = (textwrap.fill(note, WIDTH, break_on_hyphens=False) for note in _notes(study, rows))
    return "\n\n".join([*blocks, "\n".join(notes)])


def _alone(study: Networks, rows: Sequence[NetworkRow]) -> Iterator[str]:
    """Yield the table of every network with one worker."""
    targets = study.settings["targets"]
    names = "/".join(f"{100 * target:g}" for target in targets)
    columns = [("", "rate"), ("train", "s"), ("accuracy %", "(95 %)"), ("confi-", "dence %"), ("calib.", "error %")]
    columns += [("epochs to", f"{names} %")] if targets else []
    lines = [(row, _alone_cells(row)) for row in rows if row.row.workers == 1]
    widths = [max(*map(len, title), *(len(cells[place]) for _, cells in lines)) for place, title in enumerate(columns)]
    for number in range(2):
        name = "one worker" if number else ""
        yield _line(name, [title[number].rjust(width) for title, width in zip(columns, widths, strict=True)])
    yield "-" * (_NAME + sum(widths) + 2 * len(widths))
    yield from _body(
        study,
        [(row.network, [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]) for row, cells in lines],
    )


def _alone_cells(row: NetworkRow) -> list[str]:
    cells = [
        f"{row.learning_rate:g}",
        seconds_text(row.row.train_s),
        with_interval(row.row.accuracy.times(100), "{:.2f}"),
        _percent(row.confidence),
        _percent(row.calibration_error),
    ]
    if row.reached:
        cells.append("/".join("-" if each.epochs is None else f"{each.epochs:.3g}" for each in row.reached))
    return cells


def _percent(value: Estimate) -> str:
    return f"{100 * value.mean:.1f}"


def _several(study: Networks, rows: Sequence[NetworkRow], strategy: str) -> Iterator[list[str]]:
    """Yield tables of what a strategy changes, for a few numbers of workers each."""
    mine = {(row.network, row.row.workers): row for row in rows if row.row.strategy == strategy}
    workers = sorted({number for _, number in mine})
    for first in range(0, len(workers), _PER_LINE):
        shown = workers[first : first + _PER_LINE]
        crowded = {number for (_, number), row in mine.items() if row.row.oversubscribed}
        heads = [f"n = {number}{'*' if number in crowded else ''}".center(27) for number in shown]
        lines = [_line(strategy if len(strategy) <= _NAME else "", heads).rstrip()]
        if len(strategy) > _NAME:
            lines.insert(0, strategy)
        lines.append(_line("vs one worker", [f"{'points':>13} {'':5} {'speedup':>7}"] * len(shown)))
        lines.append("-" * (_NAME + 29 * len(shown)))
        networks = dict.fromkeys(network for network, number in mine if number in shown)
        cells = [(network, [_change(mine.get((network, number))) for number in shown]) for network in networks]
        yield [*lines, *_body(study, cells)]


def _change(row: NetworkRow | None) -> str:
    """Return what several workers change: accuracy, verdict, speed."""
    if row is None or row.row.delta is None or row.row.verdict is None:
        return f"{'-':>13} {'':6} {'-':>6}"
    word = _WORDS[row.row.verdict.word]
    return f"{with_interval(row.row.delta, '{:+.2f}'):>13} {word:6} {row.row.speedup:6.2f}"


def _body(study: Networks, lines: Sequence[tuple[int, list[str]]]) -> Iterator[str]:
    """Yield lines under the name of their axis, and a long name on a line of its own."""
    for axis, group in itertools.groupby(lines, lambda line: str(study.networks[line[0]]["axis"])):
        if axis:
            yield AXIS_TITLES.get(axis, axis)
        for number, cells in group:
            name = f"{'  ' if axis else ''}{study.networks[number]['name']}"
            if len(name) > _NAME:
                yield from textwrap.wrap(name, WIDTH, initial_indent="  " if axis else "", subsequent_indent="    ")
                name = ""
            yield _line(name, cells)


def _line(name: str, cells: Sequence[str]) -> str:
    return "  ".join([name.ljust(_NAME), *cells]).rstrip()


def _notes(study: Networks, rows: Sequence[NetworkRow]) -> list[str]:
    """Say what was measured, and how."""
    settings, data = study.settings, study.settings["data"]
    seeds, alike = settings["seeds"], _alike(study, rows)
    held = f", {data['validation_rows']} validation" if "validation_rows" in data else ""
    notes = [
        f"{data['name']}: {data['train_rows']} training{held} and {data['test_rows']} test rows, {settings['epochs']} "
        f"epochs, {seeds} seed{'s' if seeds > 1 else ''}. Means (times: medians), ± the 95 % interval.",
    ]
    if study.tried:
        multiples = ", ".join(f"{each:g}" for each in settings["multiples"])
        notes.append(
            f"Learning rates: the best of {multiples} times the optimizer's own on the validation rows, with one "
            f"worker and {settings['tuning']} other seed{'s' if settings['tuning'] > 1 else ''}; n workers have the "
            "same. Test rows choose nothing."
        )
        at_edge = sum(_at_edge(study, row) for row in rows if row.row.workers == 1)
        if at_edge:
            notes.append(
                f"The best rate is the lowest or the highest tried for {at_edge} of them; see --lr-multipliers."
            )
    notes.append(
        "confidence: mean probability of the predicted class; calibration error: how far confidence and accuracy are "
        "apart, over 15 bins."
    )
    if any(row.row.workers > 1 for row in rows):
        notes.append(
            f"vs one worker: paired by seed; same: the interval lies within ±{settings['margin']:g} points; ?: "
            "undecided."
        )
    if settings["targets"]:
        notes.append(
            "Accuracy was measured on the way: no clock counts it, but runs of several workers take longer by it "
            "(docs/studies.md). --targets none leaves it out."
        )
    if any(row.row.oversubscribed for row in rows):
        notes.append(f"* more workers than the {study.environment['cores']} usable cores: these times say nothing.")
    if settings["skipped"]:
        notes.append(f"With fewer workers only, as every worker needs a row of a batch: {_few(settings['skipped'])}.")
    notes += [f"{name}: of {width} neurons, {count} differed at the end." for name, width, count in alike]
    if study.diverged:
        notes += [*_diverged(study), "What diverged is in no mean, nor is what was paired with it."]
    return notes + (["Interrupted: only finished runs are counted."] if study.interrupted else [])


def _at_edge(study: Networks, row: NetworkRow) -> bool:
    """Tell whether the rate of a network is the lowest or highest that was tried, so that another may be better."""
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
        for width, count in zip(network["hidden"], row.distinct, strict=False):
            if count < width:
                yield network["name"], width, count


def _diverged(study: Networks) -> list[str]:
    """Name what diverged: every network once, with who trained it and how often."""
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
