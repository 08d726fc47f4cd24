"""Text for the terminal: tables, paragraphs, labelled facts, and progress.

Rich is imported by the first table or progress bar, so that nothing waits for it before training begins.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from manyhands.core.parameters import parameter

if TYPE_CHECKING:
    from rich.progress import Progress

LABEL = 10
"""Columns of the label in front of a labelled fact."""
RULE = None
"""A row of a table that is a horizontal rule."""
_USUAL, _NARROWEST, _WIDEST_PARAGRAPH = 80, 20, 100
_LONGEST_NAME, _SHORTEST_NAME = 36, 12
_LEGEND_LINES = 4
_GAP = 2
_REFRESH_SECONDS = 0.25
"""One refresh takes a millisecond of the thread that trains."""

BOLD, GREEN, RED, YELLOW = "1", "1;32", "1;31", "1;33"
"""Styles of words, as numbers of ANSI's escape sequences."""

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
    begin = f"{label:{LABEL - 1}} "
    return "\n".join([paragraph(first, begin), *(paragraph(line, " " * LABEL) for line in others)])


def message(text: str) -> str:
    """Return a message as it is printed on the standard error: on a terminal, its lines are broken between words."""
    if sys.stderr is None or not sys.stderr.isatty():
        return text
    return "\n".join(paragraph(line) for line in text.splitlines())


@dataclass(frozen=True)
class Detail:
    """How much of a result is printed, and how.

    Attributes
    ----------
    wide
        All rows and all columns; those that do not fit continue below. Else the most important ones that fit.
    explain
        The whole legend instead of its first lines.
    styled
        Whether verdicts and warnings are bold and coloured; see `takes_styles`.
    """

    wide: bool = False
    explain: bool = False
    styled: bool = False


BRIEF = Detail()
"""The most important rows and columns, and the first lines of the legend, as plain text."""


def takes_styles(stream: Any) -> bool:
    """Return whether a stream shall have bold and colours: a terminal, unless NO_COLOR is set; FORCE_COLOR insists."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str, detail: Detail) -> str:
    """Return a text in a style, line by line, if the detail has styles."""
    if not detail.styled:
        return text
    return "\n".join(f"\x1b[{style}m{line}\x1b[0m" for line in text.split("\n"))


def legend(notes: Sequence[str], detail: Detail) -> str:
    """Return notes as paragraphs: all of them, or as many whole ones as fit into four lines, and how to have more."""
    blocks = [paragraph(note) for note in notes]
    if detail.explain:
        return "\n".join(blocks)
    more = paragraph(f"More: {parameter('explain', True)} (legend), {parameter('wide', True)} (columns and rows).")
    room, shown = _LEGEND_LINES - len(more.split("\n")), []
    for block in blocks:
        room -= len(block.split("\n"))
        if room < 0:
            break
        shown.append(block)
    return "\n".join([*shown, more])


class Group(NamedTuple):
    """Columns of a table that stay side by side: a head for each, of one or more lines, and a title above them.

    Those of the highest ``rank`` are left out first if the terminal is narrow; 0 is never left out.
    """

    heads: Sequence[str]
    title: str = ""
    rank: int = 0


def text_table(
    keys: Sequence[str],
    groups: Sequence[Group],
    rows: Sequence[Row],
    detail: Detail = BRIEF,
    marks: Mapping[str, str] = {},
) -> str:
    """Return a table as plain text that fits the terminal.

    Rows are never broken. Columns are left out by the ranks of their groups until the others fit; of a ``wide`` table
    none is, and groups that do not fit continue below, with the keys repeated.

    Parameters
    ----------
    keys
        Heads of the first columns, which name a row. The first is aligned left, all other columns are aligned right.
    groups
        All other columns.
    rows
        The cells of all columns in order; or the text of a heading in between; or `RULE`. A name that is too long
        becomes a heading.
    detail
        See `Detail`.
    marks
        The styles of cells, by their text.
    """
    rank = max((group.rank for group in groups), default=0)
    names, longest = [row[0] for row in rows if row is not None and not isinstance(row, str)], _LONGEST_NAME
    while True:
        kept = [group for group in groups if group.rank <= rank or detail.wide]
        laid = [
            *itertools.chain.from_iterable(_long_name_apart(row, longest) for row in _kept(rows, keys, groups, kept))
        ]
        pieces, top = _pieces(keys, kept, laid)
        wide = _width(pieces) - columns()
        if wide <= 0 or detail.wide:
            break
        if rank > 0:
            rank -= 1
        elif (shorter := min(max(map(len, names)), longest) - wide) >= _SHORTEST_NAME and shorter < longest:
            longest = shorter
        else:
            break
    return "\n\n".join(
        _block(block, laid, top, marks if detail.styled else {}) for block in _packed(pieces[0], pieces[1:])
    )


def _kept(rows: Sequence[Row], keys: Sequence[str], groups: Sequence[Group], kept: Sequence[Group]) -> Iterator[Row]:
    """Yield rows with the cells of the keys and of the groups that are kept."""
    flags = [True] * len(keys) + [any(group is each for each in kept) for group in groups for _ in group.heads]
    for row in rows:
        yield row if row is None or isinstance(row, str) else [*itertools.compress(row, flags)]


def _pieces(keys: Sequence[str], groups: Sequence[Group], rows: Sequence[Row]) -> tuple[list[list[str]], int]:
    """Return the lines of the keys and of each group, and how many of them are heads."""
    cells = [row for row in rows if row is not None and not isinstance(row, str)]
    tall = max(head.count("\n") for head in itertools.chain(keys, *(group.heads for group in groups))) + 1
    titled = any(group.title for group in groups)
    pieces, place = [], 0
    for group in (Group(keys), *groups):
        own = [row[place : place + len(group.heads)] for row in cells]
        pieces.append(_piece(group, own, tall, titled=titled, named=place == 0))
        place += len(group.heads)
    return pieces, tall + titled


def _long_name_apart(row: Row, longest: int) -> Iterator[Row]:
    """Yield a row, or a name that is too long for it and then the row without it."""
    if row is None or isinstance(row, str) or len(row[0]) <= longest:
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


def _block(block: Sequence[list[str]], rows: Sequence[Row], top: int, marks: Mapping[str, str]) -> str:
    """Return groups side by side, with the rules and headings between their rows."""
    rule = "-" * _width(block)
    joined = ((" " * _GAP).join(parts).rstrip() for parts in zip(*block, strict=True))
    lines = [*filter(None, itertools.islice(joined, top)), rule]
    for row in rows:
        lines.append(rule if row is None else paragraph(row) if isinstance(row, str) else _marked(next(joined), marks))
    return "\n".join(lines)


def _marked(line: str, marks: Mapping[str, str]) -> str:
    """Return a line of a table with the cells in their styles: words with a gap or an end on both sides."""
    if not marks:
        return line
    words = "|".join(map(re.escape, marks))
    return re.sub(rf"(?<=  )({words})(?=  |$)", lambda found: f"\x1b[{marks[found[1]]}m{found[1]}\x1b[0m", line)


class ProgressBar:
    """A progress bar on the standard error, which is drawn by the thread that moves it: see `progress_bar`."""

    def __init__(self, unit: str) -> None:
        self._bar = _new_bar(unit)
        self._task = self._bar.add_task("", total=None, visible=False)
        self._due = 0.0

    def __call__(self, what: str, done: float, total: float) -> None:
        """Move the bar: a description, what is done, and the total."""
        now = time.monotonic()
        if now < self._due and done < total:
            return
        self._due = now + _REFRESH_SECONDS
        with suppress(OSError):
            self._bar.update(self._task, description=what, completed=done, total=total, visible=True)
            if self._bar.live.is_started:
                self._bar.refresh()
            else:
                self._bar.start()
                self._bar.console.show_cursor(True)  # nothing would bring it back if this process were killed

    def line(self, text: str) -> None:
        """Print a line that stays, above the bar."""
        with suppress(OSError):
            self._bar.console.print(text, markup=False, highlight=False, overflow="ellipsis", no_wrap=True)

    def close(self) -> None:
        """Remove the bar."""
        with suppress(OSError):
            self._bar.stop()


@contextmanager
def progress_bar(*, quiet: bool = False, unit: str = "steps") -> Iterator[ProgressBar | None]:
    """Yield a progress bar on the standard error; None if that is no terminal, or ``quiet``.

    It is drawn by the thread that moves it: a thread of its own would disturb measurements. A closed terminal does not
    end the training. ``unit`` is what is counted, in the plural.
    """
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    bar = ProgressBar(unit)
    try:
        yield bar
    finally:
        bar.close()


def _new_bar(unit: str) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(None),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} " + unit, markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
