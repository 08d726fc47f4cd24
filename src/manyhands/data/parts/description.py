"""What is known of a table in parts: its files, and which rows lie where in them; plain data for other processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, MissingDataError
from manyhands.core.randomness import generator
from manyhands.data.filestate import FileState

BLOCK_BYTES = 1 << 20
"""Of a block, about: large enough to be read at the speed of the disk, small enough to be mixed with many others."""


class State(NamedTuple):
    """By what a change of a file is noticed: its bytes, when it was written last, and its number on the disk."""

    size: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path, descriptor: int | None = None) -> State:
        """Return the state of a file; DataError if it is not there, or no ordinary file."""
        found = FileState.of(path, descriptor)
        if found is None:
            raise MissingDataError("this part is not there, or no ordinary file", path=path)
        return cls(found.size, found.changed_ns, found.inode[1])


class Block(NamedTuple):
    """Consecutive rows of a part, which are read at once.

    ``start`` and ``stop`` count rows of arrays, bytes of CSV files, and row groups of Parquet files.
    """

    start: int
    stop: int
    rows: int


@dataclass(frozen=True)
class Part:
    """One part of a table.

    Attributes
    ----------
    form : str
        ``"array"`` (NumPy's and IDX files), ``"csv"`` or ``"parquet"``.
    files : tuple of Path
        Features, then labels if they have a file of their own.
    states : tuple of State
        Of the files when they were scanned or verified.
    rows : int
        How many.
    layout : dict
        What a reader needs besides, as plain data.
    blocks : tuple of Block
        All rows, in their order.
    """

    form: str
    files: tuple[Path, ...]
    states: tuple[State, ...]
    rows: int
    layout: Mapping[str, Any]
    blocks: tuple[Block, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "form": self.form,
            "files": list(map(str, self.files)),
            "states": [list(state) for state in self.states],
            "rows": self.rows,
            "layout": dict(self.layout),
            "blocks": [list(block) for block in self.blocks] if self.form != "array" else self.blocks[0].rows,
        }

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> Part:
        """Return what :meth:`to_json` has described."""
        rows, blocks = int(known["rows"]), known["blocks"]
        return cls(
            known["form"],
            tuple(map(Path, known["files"])),
            tuple(State(*state) for state in known["states"]),
            rows,
            known["layout"],
            row_blocks(rows, blocks) if isinstance(blocks, int) else tuple(Block(*block) for block in blocks),
        )

    def check_unchanged(self) -> None:
        """Raise DataError if a file has another state now, or is not there."""
        for path, state in zip(self.files, self.states, strict=True):
            check_state(path, state, State.of(path))


def check_state(path: Path, before: State, now: State) -> None:
    """Raise DataError if a part has changed."""
    if now != before:
        how = f"from {before.size} to {now.size} bytes" if now.size != before.size else "at the same length"
        raise DataError(
            f"this part was changed while it was used ({how}), so this result belongs to no data; run again, and write "
            "new data under another name",
            path=path,
        )


def row_blocks(rows: int, at_once: int) -> tuple[Block, ...]:
    """Return blocks of so many rows of an array; the last one may be shorter."""
    starts = range(0, rows, max(at_once, 1))
    return tuple(Block(start, min(start + at_once, rows), min(at_once, rows - start)) for start in starts)


@dataclass(frozen=True)
class Drawn:
    """Which rows of parts without test rows of their own are for testing: so many of all, drawn by a seed.

    Attributes
    ----------
    seed, count : int
        Of the draw, and how many rows it takes.
    test : bool
        Whether the drawn rows are meant, or all others.
    """

    seed: int
    count: int
    test: bool


@dataclass(frozen=True)
class Table:
    """The rows of several parts, end to end.

    Attributes
    ----------
    parts : tuple of Part
        In their order.
    drawn : Drawn or None
        Which of the rows are meant; None for all.
    """

    parts: tuple[Part, ...]
    drawn: Drawn | None = None

    @cached_property
    def blocks(self) -> list[tuple[Part, Block]]:
        """All blocks with the parts that they are of."""
        return [(part, block) for part in self.parts for block in part.blocks]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many rows of each block are meant, shape (blocks,)."""
        everything = np.array([block.rows for _, block in self.blocks], np.int64)
        if self.drawn is None:
            return everything
        # Drawn block by block, so that no list of all rows is ever needed.
        taken = generator(self.drawn.seed, "test rows of blocks").multivariate_hypergeometric(
            everything, self.drawn.count, method="marginals"
        )
        return taken if self.drawn.test else everything - taken

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """How many rows there are up to the end of each block, shape (blocks,)."""
        return np.cumsum(self.counts)

    @property
    def rows(self) -> int:
        """Number of rows that are meant."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def chosen(self, number: int) -> NDArray[np.int64] | None:
        """Return the numbers of the rows of a block that are meant, ascending; None for all."""
        if self.drawn is None:
            return None
        rows = self.blocks[number][1].rows
        taken = int(self.counts[number]) if self.drawn.test else rows - int(self.counts[number])
        drawn = generator(self.drawn.seed, "test rows in a block", number).choice(rows, taken, replace=False)
        mask = np.zeros(rows, np.bool_)
        mask[drawn] = True
        return np.flatnonzero(mask if self.drawn.test else ~mask)

    def check_unchanged(self) -> None:
        """Raise DataError if a part has changed, or is not there."""
        for part in self.parts:
            part.check_unchanged()

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        drawn = None if self.drawn is None else [self.drawn.seed, self.drawn.count, self.drawn.test]
        return {"parts": [part.to_json() for part in self.parts], "drawn": drawn}

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> Table:
        """Return what :meth:`to_json` has described."""
        parts = tuple(Part.from_json(each) for each in known["parts"])
        return cls(parts, None if known["drawn"] is None else Drawn(*known["drawn"]))


class Piece(NamedTuple):
    """Consecutive rows of a block: its number in the table, and which of the rows that are meant."""

    block: int
    begin: int
    end: int

    @property
    def rows(self) -> int:
        """How many rows."""
        return self.end - self.begin


def pieces_between(table: Table, first: int, last: int) -> Sequence[Piece]:
    """Return the rows first..last-1 of a table as pieces of its blocks."""
    ends = table.ends
    found = []
    for number in range(int(np.searchsorted(ends, first, side="right")), len(ends)):
        before = int(ends[number] - table.counts[number])
        if before >= last:
            break
        begin, end = max(first - before, 0), min(last, int(ends[number])) - before
        if end > begin:
            found.append(Piece(number, begin, end))
    return found
