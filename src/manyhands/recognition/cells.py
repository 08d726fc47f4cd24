"""Cells of tables and boxes of forms: what lines enclose on all sides, and how these lie beside each other.

A cell is found as a hole: a piece of ground that ink encloses and whose outline is nearly a quadrangle. This needs no
straight and no level lines, so a bent newspaper seen from the side has cells, too.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from manyhands.recognition.binarization import Mask
from manyhands.recognition.geometry import Points, area_of, corners_of, homography, hull_of, mapped
from manyhands.recognition.light import Grey

_LEAST_SIDE, _LEAST_PART = 14, 1 / 110
"""A cell's sides have at least so many pixels, and this part of the picture's longer side."""
_MOST_AREA = 0.25
_MOST_ASPECT, _STRIP = 12.0, 3.0
_SOLID, _SQUARE = 0.80, 0.84
"""How much of its hull a cell fills, and how much of that its four corners enclose; an ellipse's enclose 0.64."""
_GAP = 0.30
"""Cells side by side are apart by less than this part of a cell, more or less."""
_OFFSET = 0.35
"""So far a cell's middle is from the axis of its neighbour, in parts of that one."""
_ALIKE = 0.55
"""Neighbours' sides across their common axis: the smaller is at least this part of the larger."""
_MANY = 16
_LARGEST, _FRAME, _SPARSE = 4, 0.25, 0.35
"""One of the largest pieces of ink is the lines of a table if it spans this part of the picture, and fills less than
this part of its box."""
_BESIDE, _FAINT, _CLEARLY = 7, 0.02, 4.0
"""Faint lines are darker than what lies so many pixels beside them, by this part of the paper and by so much noise."""
_CLOSE = 5
"""Pixels that a line may be broken for."""
_RESIDUAL = 0.12
"""How far middles of cells are from a regular lattice at the median, in cells, such that its missing ones are added."""
_UNUSUAL, _REGULAR = 0.35, 0.6
"""A cell of a regular table has the usual area up to this part of it, and so many of its cells are seen as such."""


@dataclass(frozen=True, eq=False)
class Cell:
    """A place that lines enclose.

    Attributes
    ----------
    corners : ndarray of shape (4, 2)
        Top left, top right, bottom right, bottom left; x and y in pixels.
    outline : ndarray of shape (points, 2)
        Its convex hull; of a cell that was not seen but must be there, the corners.
    row, column : int
        Its place in its table.
    """

    corners: Points
    outline: Points
    row: int = 0
    column: int = 0

    @cached_property
    def middle(self) -> NDArray[np.float64]:
        """Its centre."""
        out: NDArray[np.float64] = self.corners.mean(axis=0)
        return out

    @cached_property
    def axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The ways from its left to its right side, and from its top to its bottom."""
        top_left, top_right, bottom_right, bottom_left = self.corners
        return (top_right - top_left + bottom_right - bottom_left) / 2, (
            bottom_left - top_left + bottom_right - top_right
        ) / 2

    @cached_property
    def sides(self) -> tuple[float, float]:
        """Width and height."""
        across, down = self.axes
        return math.hypot(*across), math.hypot(*down)


Table = tuple[Cell, ...]
"""Cells that lie side by side, by rows and columns from 0."""


def size_of(table: Sequence[Cell]) -> tuple[int, int]:
    """Return how many rows and columns a table has; one of each without any cell."""
    return max((cell.row for cell in table), default=0) + 1, max((cell.column for cell in table), default=0) + 1


def find_tables(ink: Mask, flat: Grey | None = None) -> list[Table]:
    """Return the tables in a picture, and its single boxes as tables of one cell, from top to bottom.

    Parameters
    ----------
    ink : ndarray of shape (height, width), bool
        See `manyhands.recognition.binarization.binarized`.
    flat : ndarray of the same shape, float32
        The picture with even light: lines that are too faint to be ink are sought in it, where there is a frame but no
        table. None: they are not.
    """
    lines = _mended(ink)
    tables = _tables_in(lines)
    if flat is None or _is_complete(tables) or not _has_frame(ink):
        return tables
    # One line that is missing makes two cells one, and a column of them a strip.
    more = _tables_in(lines | faint_lines(flat))
    return more if _alike(more) > _alike(tables) else tables


def _is_complete(tables: Sequence[Table]) -> bool:
    """Return whether the largest table has all cells of its rows and columns, and many."""
    table = max(tables, key=len, default=())
    rows, columns = size_of(table)
    return len(table) == rows * columns >= _MANY and min(rows, columns) > 1


def _alike(tables: Sequence[Table]) -> int:
    """Return how many cells of the largest table are of the usual size: lines that are missing, or none, change it."""
    return int(_usual(max(tables, key=len)).sum()) if tables else 0


def _usual(table: Table) -> NDArray[np.bool_]:
    """Return which cells of a table have an area like most of them."""
    areas = np.array([np.prod(cell.sides) for cell in table])
    out: NDArray[np.bool_] = np.abs(areas / np.median(areas) - 1) < _UNUSUAL
    return out


def _tables_in(lines: Mask) -> list[Table]:
    """Return what lines enclose, by tables."""
    tables = [_completed(table) for table in _side_by_side(find_cells(lines))]
    return sorted(tables, key=lambda table: min(float(cell.middle[1]) for cell in table))


def _has_frame(ink: Mask) -> bool:
    """Return whether a piece of ink is as large as a table's lines, and as sparse."""
    labels, count = ndimage.label(ink, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    places = ndimage.find_objects(labels)
    for number in np.argsort(-sizes)[:_LARGEST]:
        high, wide = (axis.stop - axis.start for axis in places[number])
        if min(high, wide) > _FRAME * min(ink.shape) and sizes[number] < _SPARSE * high * wide:
            return True
    return False


def faint_lines(flat: Grey) -> Mask:
    """Return level and upright lines that are darker than what lies beside them, all along, if only by little."""
    return _level_lines(flat) | _level_lines(flat.T).T


def _level_lines(flat: Grey) -> Mask:
    length = max(15, max(flat.shape) // 40)
    along = ndimage.uniform_filter1d(1 - flat, length, axis=1, mode="nearest")
    beside = ndimage.uniform_filter1d(along, 2 * _BESIDE + 1, axis=0, mode="nearest")
    darker = along - beside
    noise = float(np.median(np.abs(darker))) / 0.6745
    found = darker > max(_FAINT, _CLEARLY * noise)
    # What is darker for more than its own smoothing is no stroke.
    whole = ndimage.uniform_filter1d(found.astype(np.float32), 2 * length, axis=1, mode="nearest") > 0.9
    out: Mask = found & (ndimage.maximum_filter1d(whole.astype(np.uint8), 2 * length, axis=1) > 0)
    return out


def find_cells(lines: Mask) -> list[Cell]:
    """Return places that lines, or the edge of the picture, enclose, and that are quadrangles nearly."""
    framed = np.pad(lines, 1, constant_values=True)  # a table that the camera has cut has cells at the edge
    labels, count = ndimage.label(~framed)
    if count == 0:
        return []
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    least = max(_LEAST_SIDE, round(max(lines.shape) * _LEAST_PART))
    found = []
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        high, wide = (axis.stop - axis.start for axis in place)
        if min(high, wide) < least or max(high, wide) > _MOST_ASPECT * min(high, wide):
            continue
        if not least**2 * _SOLID / 2 < sizes[number] < _MOST_AREA * lines.size or _open(place, framed.shape):
            continue
        cell = _cell_of(labels[place] == number, place[1].start - 1, place[0].start - 1)
        if cell is not None:
            found.append(cell)
    return found


def _open(place: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    """Return whether a region goes from edge to edge of the picture, or is a strip that ends at one: ruled paper."""
    rows, columns = place
    ends = [(axis.start <= 1, axis.stop >= side - 1) for axis, side in zip(place, shape, strict=True)]
    high, wide = rows.stop - rows.start, columns.stop - columns.start
    strip = max(high, wide) > _STRIP * min(high, wide)
    return any(all(pair) for pair in ends) or (strip and any(any(pair) for pair in ends))


def _mended(ink: Mask) -> Mask:
    """Return ink whose level and upright lines are whole where they were broken for some pixels."""
    padded = np.pad(ink, _CLOSE)
    level = ndimage.binary_closing(padded, np.ones((1, _CLOSE)))
    upright = ndimage.binary_closing(padded, np.ones((_CLOSE, 1)))
    out: Mask = (padded | level | upright)[_CLOSE:-_CLOSE, _CLOSE:-_CLOSE]
    return out


def _cell_of(region: Mask, left: int, top: int) -> Cell | None:
    """Return the cell that a piece of ground is, or None."""
    filled = ndimage.binary_fill_holes(region)
    hull = hull_of(_ends_of_rows(filled))
    if len(hull) < 4:
        return None
    area = area_of(hull)
    corners = corners_of(hull)
    if filled.sum() < _SOLID * area or area_of(corners) < _SQUARE * area:
        return None
    corner = np.array([left, top], float)
    return Cell(corners + corner, hull + corner)


def _ends_of_rows(region: Mask) -> Points:
    """Return the corners of the first and the last pixel of each row: the hull's points are among them."""
    rows = np.flatnonzero(region.any(axis=1))
    first = region[rows].argmax(axis=1)
    last = region.shape[1] - region[rows, ::-1].argmax(axis=1)
    x, y = np.concatenate([first, last, first, last]), np.concatenate([rows, rows, rows + 1, rows + 1])
    return np.column_stack([x, y]).astype(float)


def _side_by_side(cells: Sequence[Cell]) -> list[Table]:
    """Return cells grouped by being neighbours, each with its row and column."""
    places: dict[int, tuple[int, int]] = {}
    tables = []
    neighbours = _neighbours(cells)
    for start in range(len(cells)):
        if start in places:
            continue
        places[start] = (0, 0)
        group, waiting = [start], deque([start])
        while waiting:
            at = waiting.popleft()
            for other, (down, right) in neighbours[at].items():
                if other not in places:
                    places[other] = (places[at][0] + down, places[at][1] + right)
                    group.append(other)
                    waiting.append(other)
        first_row, first_column = (min(places[each][axis] for each in group) for axis in (0, 1))
        tables.append(
            tuple(
                replace(cells[each], row=places[each][0] - first_row, column=places[each][1] - first_column)
                for each in sorted(group, key=places.__getitem__)
            )
        )
    return tables


def _neighbours(cells: Sequence[Cell]) -> list[dict[int, tuple[int, int]]]:
    """Return, for each cell, those that lie at its sides, with the step in rows and columns that leads there."""
    found: list[dict[int, tuple[int, int]]] = [{} for _ in cells]
    if not cells:
        return found
    middles = np.array([cell.middle for cell in cells])
    for at, cell in enumerate(cells):
        across, down = cell.axes
        if abs(across[0] * down[1] - across[1] * down[0]) < 1:
            continue
        steps = (middles - cell.middle) @ np.linalg.inv(np.array([across, down]))
        for other in np.flatnonzero((np.abs(steps) < 3).all(axis=1)):
            step = _step_to(cell, cells[int(other)], steps[other])
            if step is not None and other != at:
                found[at][int(other)] = step
    return found


def _step_to(cell: Cell, other: Cell, step: NDArray[np.float64]) -> tuple[int, int] | None:
    """Return the step in rows and columns to another cell, if that is a neighbour."""
    ratios = [theirs / ours for theirs, ours in zip(other.sides, cell.sides, strict=True)]
    for axis in (0, 1):
        across = 1 - axis
        apart = abs(step[axis]) - 0.5 - ratios[axis] / 2
        if abs(step[across]) < _OFFSET and abs(apart) < _GAP and _ALIKE < ratios[across] < 1 / _ALIKE:
            sign = 1 if step[axis] > 0 else -1
            return (0, sign) if axis == 0 else (sign, 0)
    return None


def _completed(table: Table) -> Table:
    """Return a table with the cells that must be there although they were not seen, if it is a regular one.

    Cells of another size than most, such as two whose common line is too faint, are not believed then.
    """
    usual = _usual(table)
    if len(table) < 6 or usual.mean() < _REGULAR:
        return table
    regular = max(_side_by_side([cell for cell, kept in zip(table, usual, strict=True) if kept]), key=len)
    rows, columns = size_of(regular)
    known = {(cell.row, cell.column) for cell in regular}
    if min(rows, columns) < 2 or len(known) != len(regular) or len(known) < _REGULAR * rows * columns:
        return table
    # Lines have a width: the middles lie on a lattice, the corners only nearly.
    lattice = np.array([[cell.column + 0.5, cell.row + 0.5] for cell in regular])
    middles = np.array([cell.middle for cell in regular])
    matrix = homography(lattice, middles)
    side = float(np.median([min(cell.sides) for cell in regular]))
    if np.median(np.hypot(*(mapped(matrix, lattice) - middles).T)) > _RESIDUAL * side:
        return table
    missing = [
        _missing(matrix, row, column) for row in range(rows) for column in range(columns) if (row, column) not in known
    ]
    return tuple(sorted([*regular, *missing], key=lambda cell: (cell.row, cell.column)))


def _missing(matrix: NDArray[np.float64], row: int, column: int) -> Cell:
    """Return a cell by its place in the lattice, a little smaller, so that its lines are not in it."""
    inset = 0.06
    low, high = inset, 1 - inset
    square = np.array([[low, low], [high, low], [high, high], [low, high]]) + np.array([column, row])
    corners = mapped(matrix, square)
    return Cell(corners, corners, row, column)
