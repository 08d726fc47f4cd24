"""Rows of a table in parts as a worker has them: values in one type, class numbers, in memory that is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError
from manyhands.data.labels import describe_labels, encode, read_labels
from manyhands.data.parts import arrays
from manyhands.data.parts.description import Block, Part, Piece, Table, pieces_between
from manyhands.data.precision import storable

_BYTES_AT_ONCE = 8 << 20


def read_block(part: Part, block: Block, out: NDArray[Any] | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return features, shape (rows, features), and labels of a block, as they are stored."""
    if part.form == "array":
        return arrays.read(part, block, out)
    from manyhands.data.parts import tables

    return tables.read(part, block)


@dataclass(frozen=True)
class PartedData:
    """The parts of a data set, and how what is stored in them becomes samples.

    Attributes
    ----------
    train, test : Table
        Where the rows lie; the test table may have no parts.
    rows : int
        How many of the first training rows are used.
    classes : ndarray of shape (K,)
        The label of each class number.
    dtype : str
        Of the values: ``"uint8"``, ``"float32"`` or ``"float64"``.
    threshold : float or None
        Values from here on become 1, those below 0; None: they stay as they are.
    checksum : str
        The same for the same rows.
    low, high : ndarray of shape (features,), float64
        The least and the largest values of training rows.
    """

    train: Table
    test: Table
    rows: int
    classes: NDArray[Any]
    dtype: str
    threshold: float | None
    checksum: str
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def stored(self) -> np.dtype[Any]:
        """The type of the samples."""
        return np.dtype(np.uint8 if self.threshold is not None else self.dtype)

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.low)

    def check_unchanged(self) -> None:
        """Raise DataError if a part has changed, or is not there."""
        self.train.check_unchanged()
        self.test.check_unchanged()

    def fill(self, table: Table, piece: Piece, features: NDArray[Any], labels: NDArray[np.int32]) -> None:
        """Write the rows of a piece and their class numbers into arrays of that many rows.

        Raises
        ------
        DataError
            If the part has changed, is not there, cannot be read, or has a label that is no class.
        """
        part, block = table.blocks[piece.block]
        chosen = table.chosen(piece.block)
        if part.form == "array" and chosen is None:
            values, given = arrays.read(part, block, features, piece.begin, piece.end)
        else:
            values, given = read_block(part, block)
            rows = slice(piece.begin, piece.end) if chosen is None else chosen[piece.begin : piece.end]
            values, given = values[rows], given[rows]
        if len(given) != len(labels):
            raise DataError("this part has another number of rows now", path=part.files[0])
        if values is not features:
            features[:] = values if self.threshold is None else values >= self.threshold
        labels[:] = self._codes(part, given)

    def _codes(self, part: Part, labels: NDArray[Any]) -> NDArray[Any]:
        """Return class numbers."""
        if not part.layout.get("codes"):
            return encode(labels, self.classes, part.files[-1], what="row")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.classes):
            raise DataError(f"this part has a class number beyond {len(self.classes) - 1}", path=part.files[-1])
        return labels

    def rows_between(self, table: Table, first: int, last: int) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """Return features and class numbers of the rows first..last-1 of a table."""
        features = np.empty((last - first, self.width), self.stored)
        labels = np.empty(last - first, np.int32)
        at = 0
        for piece in pieces_between(table, first, last):
            self.fill(table, piece, features[at : at + piece.rows], labels[at : at + piece.rows])
            at += piece.rows
        return features, labels

    def blocks(self, table: Table, rows: int | None = None) -> Iterator[tuple[NDArray[Any], NDArray[np.int32]]]:
        """Yield the (first) rows of a table, some megabytes at a time."""
        count = table.rows if rows is None else rows
        at_once = max(1, _BYTES_AT_ONCE // (self.width * self.stored.itemsize))
        for begin in range(0, count, at_once):
            yield self.rows_between(table, begin, min(begin + at_once, count))

    def to_json(self) -> dict[str, Any]:
        """Return plain data, for another process that can open the same files."""
        return {
            "train": self.train.to_json(),
            "test": self.test.to_json(),
            "rows": self.rows,
            "classes": describe_labels(self.classes),
            "dtype": self.dtype,
            "threshold": self.threshold,
            "checksum": self.checksum,
            "low": self.low.tolist(),
            "high": self.high.tolist(),
        }

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> PartedData:
        """Return what :meth:`to_json` has described."""
        return cls(
            Table.from_json(known["train"]),
            Table.from_json(known["test"]),
            known["rows"],
            read_labels(known["classes"]),
            known["dtype"],
            known["threshold"],
            known["checksum"],
            *(np.array(known[name], np.float64) for name in ("low", "high")),
        )


def stored_type(found: NDArray[Any], before: np.dtype[Any] | None) -> np.dtype[Any]:
    """Return the type that holds a block of numbers and all blocks before exactly: bytes, float32 or float64."""
    own = storable(found[:, :]).dtype
    if before is None or own == before:
        return own
    return np.dtype(np.result_type(own, before))
