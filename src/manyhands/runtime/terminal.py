"""Text for the terminal: tables, paragraphs, labelled facts, and progress.

Rich is imported by the first table or progress bar, so that nothing waits for it before training begins.
"""

from __future__ import annotations

import io
import itertools
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.progress import Progress

LABEL = 10
"""Columns of the label in front of a labelled fact."""
RULE = None
"""A row of a table that is a horizontal rule."""
_USUAL, _NARROWEST, _WIDEST_PARAGRAPH = 80, 20, 100
_LONGEST_NAME = 36
_GAP = 2
_REFRESH_SECONDS = 0.25
"""One refresh takes a millisecond of the thread that trains."""

Row = Sequence[str] | str | None
Advance = Callable[[str, float, float], None]
"""Moves a progress bar: gets a description, what is done, and the total."""


def columns() -> int:
    """Return the width of the terminal: 80 if the output is no terminal and COLUMNS is not set."""
    return max(_NARROWEST, shutil.get_terminal_size((_USUAL, 24)).columns)


def paragraph(text: str, first: str = "") -> str:
    """Return ``text`` broken into lines between words, so that paths and commands can be copied.

    The first line begins with ``first``; the others are indented as far.
    """
    return textwrap.fill(
        text,
        min(columns(), _WIDEST_PARAGRAPH),
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )


def labelled(label: str, text: str) -> str:
    """Return lines as paragraphs behind a label."""
    first, *others = text.split("\n")
    return "\n".join([paragraph(first, f"{label:{LABEL}}"), *(paragraph(line, " " * LABEL) for line in others)])


def message(text: str) -> str:
    """Return a message as it is printed on the standard error: on a terminal, its lines are broken between words."""
    if sys.stderr is None or not sys.stderr.isatty():
        return text
    return "\n".join(paragraph(line) for line in text.splitlines())


class Group(NamedTuple):
    """Columns of a table that stay side by side: a head for each, of one or more lines, and a title above them."""

    heads: Sequence[str]
    title: str = ""


def text_table(keys: Sequence[str], groups: Sequence[Group], rows: Sequence[Row]) -> str:
    """Return a table as plain text that fits the terminal.

    Rows are never broken. Groups of columns that do not fit continue below, with the keys repeated.

    Parameters
    ----------
    keys
        Heads of the first columns, which name a row. The first is aligned left, all other columns are aligned right.
    groups
        All other columns.
    rows
        The cells of all columns in order; or the text of a heading in between; or `RULE`. A name that is too long
        becomes a heading.
    """
    laid = [*itertools.chain.from_iterable(map(_long_name_apart, rows))]
    cells = [row for row in laid if row is not None and not isinstance(row, str)]
    tall = max(head.count("\n") for head in itertools.chain(keys, *(group.heads for group in groups))) + 1
    titled = any(group.title for group in groups)
    pieces, place = [], 0
    for group in (Group(keys), *groups):
        own = [row[place : place + len(group.heads)] for row in cells]
        pieces.append(_piece(group, own, tall, titled=titled, named=place == 0))
        place += len(group.heads)
    return "\n\n".join(_block(block, laid, tall + titled) for block in _packed(pieces[0], pieces[1:]))


def _long_name_apart(row: Row) -> Iterator[Row]:
    """Yield a row, or a name that is too long for it and then the row without it."""
    if row is None or isinstance(row, str) or len(row[0]) <= _LONGEST_NAME:
        yield row
    else:
        yield row[0]
        yield ("", *row[1:])


def _piece(group: Group, rows: Sequence[Sequence[str]], tall: int, *, titled: bool, named: bool) -> list[str]:
    """Return a group's lines, all of the same width: its title, ``tall`` lines of heads, and a line for each row."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, _GAP // 2))
    for number, head in enumerate(group.heads):
        heads = head.rjust(len(head) + tall - 1 - head.count("\n"), "\n")
        table.add_column(heads, justify="left" if named and number == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    wide = sum(max(map(len, cells)) for cells in zip(group.heads, *rows, strict=True))
    text = io.StringIO()
    console = Console(
        file=text, width=2 * wide + _GAP * len(group.heads), markup=False, emoji=False, highlight=False,
        color_system=None, force_terminal=False, force_jupyter=False,
    )  # fmt: skip
    console.print(table)
    lines = text.getvalue().splitlines()
    width = max(cell_len(lines[0]), len(group.title))
    title = [group.title.center(width)] if titled else []
    return [*title, *(" " * (width - cell_len(line)) + line for line in lines)]


def _packed(keys: list[str], pieces: Sequence[list[str]]) -> list[list[list[str]]]:
    """Return as few blocks as the terminal is wide enough for, each of the keys and some of the groups."""
    blocks = [[keys]]
    for piece in pieces:
        if len(blocks[-1]) > 1 and _width([*blocks[-1], piece]) > columns():
            blocks.append([keys])
        blocks[-1].append(piece)
    return blocks


def _width(block: Sequence[list[str]]) -> int:
    from rich.cells import cell_len

    return sum(cell_len(piece[0]) + _GAP for piece in block) - _GAP


def _block(block: Sequence[list[str]], rows: Sequence[Row], top: int) -> str:
    """Return groups side by side, with the rules and headings between their rows."""
    rule = "-" * _width(block)
    joined = ((" " * _GAP).join(parts).rstrip() for parts in zip(*block, strict=True))
    lines = [*filter(None, itertools.islice(joined, top)), rule]
    for row in rows:
        lines.append(rule if row is None else paragraph(row) if isinstance(row, str) else next(joined))
    return "\n".join(lines)


@contextmanager
def progress_bar(*, quiet: bool = False, unit: str = "steps") -> Iterator[Advance | None]:
    """Yield the function that moves a progress bar on the standard error; None if that is no terminal, or ``quiet``.

    The bar is drawn by the thread that moves it: a thread of its own would disturb measurements. A closed terminal does
    not end the training. ``unit`` is what is counted, in the plural.
    """
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    bar = _new_bar(unit)
    task = bar.add_task("", total=None, visible=False)
    due = 0.0

    def advance(what: str, done: float, total: float) -> None:
        nonlocal due
        now = time.monotonic()
        if now < due and done < total:
            return
        due = now + _REFRESH_SECONDS
        with suppress(OSError):
            bar.update(task, description=what, completed=done, total=total, visible=True)
            if bar.live.is_started:
                bar.refresh()
            else:
                bar.start()
                bar.console.show_cursor(True)  # nothing would bring it back if this process were killed

    try:
        yield advance
    finally:
        with suppress(OSError):
            bar.stop()


def _new_bar(unit: str) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(None),
        TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit, markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
