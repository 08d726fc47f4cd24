"""The first fault of a CSV file, with its line: NumPy's reader does not name it, and reads some faults as values."""

from __future__ import annotations

import csv
import itertools
import re

import numpy as np

from manyhands.core.errors import FormatError
from manyhands.data.csv.advice import advice
from manyhands.data.csv.delimiters import WHITESPACE, rows_of
from manyhands.data.csv.header import CONTROL, END, Layout, number_in
from manyhands.data.csv.pieces import Piece, lines_before, open_piece

LONGEST_LABEL = 200
_LARGEST = float(np.finfo(np.float64).max)
_LINE_END = re.compile("[\r\n]")
_OF_WORDS = re.compile(r'["\s]')
"""What in rows divided by white space NumPy takes otherwise: it divides them by a form feed or a wide space, too."""


def find_fault(layout: Layout, piece: Piece, *, values: bool = True) -> FormatError | None:
    """Return the first fault of a piece of a file, None if there is none.

    Without ``values``, only those rows are checked in which NumPy may overlook something: with control characters, such
    as a NUL behind a number, or line ends within cells, which may be rows behind a stray quotation mark.
    """
    path, line = piece.path, lines_before(piece) + piece.skip
    by_words = layout.delimiter == WHITESPACE
    with open_piece(piece) as file:
        for _ in range(piece.skip):  # by lines, as NumPy does
            file.readline()
        reader, before = rows_of(itertools.chain(file, ["\n", END]), layout.delimiter), line
        try:
            for cells in reader:
                text = "".join(cells)
                if text == END:
                    break
                strange = CONTROL.search(text) or _LINE_END.search(text) or (by_words and _OF_WORDS.search(text))
                if (values or strange) and (problem := _problem(cells, layout)):
                    return FormatError(problem, path=path, line=line + 1)
                line = before + reader.line_num
        except csv.Error as error:  # above all a cell that is too long
            problem = f"not a CSV row ({error}); is there a quotation mark that is not closed?"
            return FormatError(problem, path=path, line=line + 1)
    return None


def _problem(cells: list[str], layout: Layout) -> str | None:
    """Return what is wrong with a row, if anything is; blank lines are fine."""
    if not cells:
        return None
    for column, cell in enumerate(cells):
        is_kept = column >= layout.left_out
        if layout.delimiter == WHITESPACE and cell.startswith('"'):
            return f"{layout.column(column)}: a quotation mark is opened here and not closed in this line"
        if _LINE_END.search(cell) and (problem := _swallowed(cell, layout.delimiter, is_kept=is_kept)):
            return f"{layout.column(column)}: {problem}"
    if len(cells) != layout.columns:
        return f"the row has {len(cells)} cells, the first has {layout.columns}"
    for column in range(layout.left_out, layout.columns):
        check = _label_problem if column == layout.label_at else _number_problem
        if problem := check(cells[column]):
            told = "" if column == layout.label_at else advice(layout, column, cells[column])
            return f"{layout.column(column)}: {problem}{told}"
    return None


def _swallowed(cell: str, delimiter: str, *, is_kept: bool) -> str | None:
    """Return what is wrong with a cell of several lines, which only a row's name may have."""
    if cell.endswith(END):
        return "a quotation mark is opened here and never closed"
    if is_kept or delimiter in cell:
        return f"a quotation mark is opened here and not closed in this line; the cell is {cell[:40]!r}"
    return None


def _label_problem(cell: str) -> str | None:
    """Return what is wrong with a label, if anything is."""
    if CONTROL.search(cell):
        return f"the label {cell[:40]!r} has a control character"
    if not cell.strip():
        return "the cell is empty"
    if len(cell.strip()) > LONGEST_LABEL:
        return f"a label of {len(cell)} characters; at most {LONGEST_LABEL} are possible"
    return None


def _number_problem(cell: str) -> str | None:
    """Return what is wrong with the cell of a feature, if anything is."""
    if CONTROL.search(cell):
        return f"{cell[:40]!r} has a control character, and is not a number"
    if not cell.strip():
        return "the cell is empty"
    value = number_in(cell)
    if value is None:
        return f"{cell[:40]!r} is not a number"
    return None if abs(value) <= _LARGEST else f"{cell[:40]!r} is not a finite number"
