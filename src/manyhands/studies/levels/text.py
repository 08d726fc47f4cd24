"""The table of the study of the levels of parallelism: for the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from manyhands.core.words import count
from manyhands.reports import levels
from manyhands.reports.levels import ONE, megabytes, milliseconds
from manyhands.reports.schema import Record
from manyhands.reports.tables.levels import auto_mark
from manyhands.runtime.terminal import BRIEF, Detail, Group, legend, text_table
from manyhands.studies.base.text import as_reports_see_it, limit_notes, markdown_table, plain_heads
from manyhands.studies.compare.text import warnings_text
from manyhands.studies.levels.request import shape_of
from manyhands.studies.levels.results import Levels

_KEYS = ("level", "n")
_GROUPS = (
    Group(("step\nms", "95 %\n")),
    Group(("model\nms",)),
    Group(("speed-\nup",)),
    Group(("effi-\nciency",), rank=2),
    Group(("commu-\nnicate ms",), rank=1),
    Group(("sent\nMB", "ex-\nchanges")),
    Group(("memory\nMB",)),
    Group(("peak\nMB",), rank=3),
    Group(("auto",)),
)


def levels_text(found: Levels, detail: Detail = BRIEF) -> str:
    """Return the table as text that fits the terminal, with the meaning of its columns below."""
    study = as_reports_see_it(found)
    rows: list[Sequence[str] | str | None] = []
    for hidden in levels.network_names(study):
        rows += [*([None] if rows else []), _heading(study, hidden), *_cells_of(study, hidden)]
    if not rows:
        return "No run was finished."
    blocks = [text_table(_KEYS, _GROUPS, rows, detail), legend(_notes(study), detail)]
    return "\n\n".join(filter(None, [*blocks, warnings_text(limit_notes(study), detail)]))


def levels_markdown(found: Levels) -> str:
    """Return the tables as Markdown, for the documentation."""
    study = as_reports_see_it(found)
    heads = plain_heads([*_KEYS, *(head for group in _GROUPS for head in group.heads)])
    blocks = [
        f"{_heading(study, hidden)}:\n\n{markdown_table(heads, _cells_of(study, hidden))}"
        for hidden in levels.network_names(study)
    ]
    notes = [*_notes(study), *limit_notes(study), levels.answer(study)]
    return "\n\n".join([*blocks, *notes, ""])


def _heading(study: Record, hidden: tuple[int, ...]) -> str:
    data = study["settings"]["data"]
    shape = "-".join(filter(None, [str(data["features"]), shape_of(hidden), str(data["classes"])]))
    return f"{levels.network_names(study)[hidden]}: {shape}"


def _cells_of(study: Record, hidden: tuple[int, ...]) -> list[tuple[str, ...]]:
    return [_cells(study, row) for row in levels.rows_of(study, hidden)]


def _cells(study: Record, row: Record) -> tuple[str, ...]:
    interval = row["step_ms_ci95"]
    return (
        "one worker" if row["level"] == ONE else row["level"],
        f"{row['workers']}{'*' if row['oversubscribed'] else ''}",
        milliseconds(row["step_ms"]),
        "" if interval is None else "..".join(map(milliseconds, interval)),
        milliseconds(row["predicted_ms"]),
        f"{row['speedup']:.2f}",
        f"{row['efficiency']:.2f}",
        milliseconds(row["communicate_ms"]),
        megabytes(row["sent_bytes"]),
        str(row["exchanges"]),
        megabytes(row["array_bytes"]),
        megabytes(row["peak_bytes"]),
        auto_mark(study, row),
    )


def _notes(study: Record) -> list[str]:
    """Return what was measured, and how."""
    settings = study["settings"]
    network, repeats = settings["network"], count(settings["repeats"], "repeat")
    return [
        f"Step: of {settings['batch']} samples of {settings['data']['name']}; medians over {repeats}, all levels in "
        f"turns; {settings['team']}, {network['optimizer']}, {network['dtype']}. model: what the cost model says.",
        "auto: the level that it would choose; + within 10 % of the fastest, - not.",
        "session: n trainings side by side, their time over n; the others share one training: exemplar divides the "
        "samples and averages gradients, node, weight and pairs divide the network (docs/levels-of-parallelism.md).",
        "sent: by each worker in a step; communicate: it exchanges, or waits. memory: a worker's arrays (parameters, "
        "optimizer, gradient, one batch), computed from their sizes; peak: its process's resident memory, measured in "
        "a new process (of threads there is none).",
    ]
