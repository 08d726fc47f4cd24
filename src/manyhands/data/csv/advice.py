"""What to do about a cell that is no number: name the label's column, fill in what is missing, encode words."""

from __future__ import annotations

import csv
import itertools
import re

from manyhands.core.parameters import parameter
from manyhands.data.csv.delimiters import rows_of
from manyhands.data.csv.header import Layout, number_in
from manyhands.data.csv.pieces import Piece, open_piece
from manyhands.data.likely_labels import MISSING, PIPELINE, is_label_name

_SAMPLE = 500  # rows
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


def advice(layout: Layout, column: int, cell: str) -> str:
    """Return what to do about a cell of a feature that is no number; nothing if it is a single slip."""
    word = cell.strip()
    if _DECIMAL_COMMA.fullmatch(word):
        return "; write decimals with a point"
    if word.lower() in MISSING:
        return f"; {PIPELINE}"
    texts = _text_columns(layout)
    features = [each for each in texts if each != layout.label_at]
    named = [each for each in features if layout.header and is_label_name(layout.names[each])]
    candidates = named or features
    if not layout.label_asked and layout.label_at not in texts and len(candidates) == 1:
        return f"; is {layout.column(candidates[0])} the label? {layout.option(candidates[0])}"
    if column not in features:
        return ""
    many = len(features) > 1
    label = f"{parameter('label_column')} if {'one' if many else 'it'} is the label"
    which = " and ".join(layout.column(each) for each in features[:3])
    return f"; {which} {'are' if many else 'is'} text: {PIPELINE}, or {label}"


def _text_columns(layout: Layout) -> list[int]:
    """Return the columns of which most cells are neither numbers nor missing, by the first rows."""
    texts, rows = [0] * layout.columns, 0
    try:
        with open_piece(Piece(layout.path)) as file:
            for cells in itertools.islice(rows_of(file, layout.delimiter), int(layout.header), _SAMPLE):
                if len(cells) == layout.columns:
                    rows += 1
                    for column, cell in enumerate(cells):
                        texts[column] += cell.strip().lower() not in MISSING and number_in(cell) is None
    except csv.Error:  # said with its line, where it is
        pass
    return [column for column in range(layout.left_out, layout.columns) if 2 * texts[column] > rows]
