"""Reading parts of others once, before anything is trained: rows, classes and statistics, and whether all are alike.

What was found is remembered, so the next start is quick (`manyhands.data.parts.memo`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, shown
from manyhands.data.checksum import checksum_of
from manyhands.data.csv.reader import join_labels
from manyhands.data.labels import check_labels, describe_labels, encode, read_labels
from manyhands.data.parts import memo
from manyhands.data.parts.arrays import array_part
from manyhands.data.parts.description import Block, Part, State, Table
from manyhands.data.parts.folder import Files, FoundParts
from manyhands.data.parts.reading import read_block, stored_type
from manyhands.data.parts.statistics import Statistics, check_block, summary_from_json, summary_to_json
from manyhands.data.scaling import Summary

_MOST_CLASSES = 100_000


class Options(NamedTuple):
    """What the user says about tables."""

    label_column: str | int | None = None
    delimiter: str | None = None


@dataclass(frozen=True)
class Scanned:
    """What was found in parts.

    Attributes
    ----------
    train, test : Table
        The parts.
    classes : ndarray of shape (K,)
        The labels of training rows, sorted.
    summary : Summary
        Of training rows.
    dtype : str
        That holds all values.
    shape : tuple of int
        Of a sample.
    feature_names : tuple of str or None
        Of the columns.
    label_name : str or None
        Of the label's column.
    checksum : int
        Of all values and labels.
    """

    train: Table
    test: Table
    classes: NDArray[Any]
    summary: Summary
    dtype: str
    shape: tuple[int, ...]
    feature_names: tuple[str, ...] | None
    label_name: str | None
    checksum: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "train": self.train.to_json(),
            "test": self.test.to_json(),
            "classes": describe_labels(self.classes),
            "summary": summary_to_json(self.summary),
            "dtype": self.dtype,
            "shape": list(self.shape),
            "feature_names": None if self.feature_names is None else list(self.feature_names),
            "label_name": self.label_name,
            "checksum": self.checksum,
        }

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> Scanned:
        """Return what :meth:`to_json` has described."""
        names = known["feature_names"]
        return cls(
            Table.from_json(known["train"]),
            Table.from_json(known["test"]),
            read_labels(known["classes"]),
            summary_from_json(known["summary"]),
            known["dtype"],
            tuple(known["shape"]),
            None if names is None else tuple(names),
            known["label_name"],
            int(known["checksum"]),
        )


def scan(found: FoundParts, options: Options) -> Scanned:
    """Return what is in parts, remembered from the last time if no file has changed.

    Raises
    ------
    DataError
        If a part is missing, damaged, unlike the others (columns, types, classes), or has values that cannot be used;
        names the part.
    """
    files = [path for part in (*found.train, *found.test) for path in part]
    states = {path: State.of(path) for path in files}
    roles = [[list(map(str, part)) for part in role] for role in (found.train, found.test)]
    key = f"scanned {roles} {list(options)}"
    if (known := memo.recall(key, states)) is not None:
        return Scanned.from_json(known)
    alike = _check_alike(found, options)
    train = _Scan(found, options)
    parts = [train.part(each) for each in found.train]
    classes = check_labels(np.unique(join_labels(train.labels)), found.train[0][-1])
    if len(classes) < 2:
        raise DataError(f"all training rows have one class ({classes[0]}); a classifier needs two", path=files[0])
    test = _Scan(found, options, train, classes)
    of_test = [test.part(each) for each in found.test]
    assert test.dtype is not None
    assert train.statistics is not None
    scanned = Scanned(
        Table(tuple(parts)),
        Table(tuple(of_test)),
        classes,
        train.statistics.summary(),
        test.dtype.name,
        alike.shape,
        alike.names,
        alike.label,
        test.checksum,
    )
    memo.remember(key, states, scanned.to_json())
    return scanned


class _Alike(NamedTuple):
    """What all parts have in common."""

    shape: tuple[int, ...]
    names: tuple[str, ...] | None
    label: str | None
    kinds: tuple[str, ...]


def _check_alike(found: FoundParts, options: Options) -> _Alike:
    """Compare columns and types of all parts before any is read."""
    first: _Alike | None = None
    for files in (*found.train, *found.test):
        one = _facts(found, files, options)
        if first is None:
            first = one
        elif one != first:
            raise DataError(
                f"this part is unlike {shown(found.train[0][0].name)}: {_difference(one, first)}", path=files[0]
            )
    assert first is not None
    return first


def _facts(found: FoundParts, files: Files, options: Options) -> _Alike:
    if found.form in ("npy", "idx"):
        part, shape = array_part(*files)
        kinds = (np.dtype(part.layout["features"][0]).name, np.dtype(part.layout["labels"][0]).kind)
        return _Alike(shape, None, None, kinds)
    from manyhands.data.parts.tables import columns_of_part

    columns = columns_of_part(files[0], *options)
    return _Alike((columns.width,), columns.features, columns.label, columns.types)


def _difference(one: _Alike, other: _Alike) -> str:
    """Return the first difference between two parts, in words."""
    if one.shape != other.shape:
        return f"its samples have the shape {one.shape}, and those there {other.shape}"
    if one.names != other.names or one.label != other.label:
        strange = sorted(set(one.names or ()) ^ set(other.names or ())) or [str(one.label)]
        return f"its columns are others, or in another order ({', '.join(map(shown, strange[:5]))})"
    return f"its types are {', '.join(one.kinds)}, and those there {', '.join(other.kinds)}"


class _Scan:
    """Reads all blocks of parts, and adds up what they hold; those of test parts, behind those for training."""

    def __init__(
        self,
        found: FoundParts,
        options: Options,
        before: _Scan | None = None,
        classes: NDArray[Any] | None = None,
    ) -> None:
        self._found, self._options, self._classes = found, options, classes
        self.dtype: np.dtype[Any] | None = None if before is None else before.dtype
        self.checksum: int = 0 if before is None else before.checksum
        self.statistics: Statistics | None = None
        self.labels: list[NDArray[Any]] = []

    def part(self, files: Files) -> Part:
        """Read a part, and return what is known of it."""
        blocks, row, path = [], 0, files[0]
        for block, features, labels in self._blocks(files):
            blocks.append(block)
            check_block(features, path, row)
            self.dtype = stored_type(features, self.dtype)
            self.statistics = self.statistics or Statistics(features.shape[1])
            self.statistics.add(features)
            self.checksum = checksum_of(labels, checksum_of(features, self.checksum))
            self._add_labels(labels, files[-1])
            row += len(labels)
        if not row:
            raise DataError("this part has no rows", path=path)
        if self._found.form in ("npy", "idx"):
            return array_part(*files)[0]
        from manyhands.data.parts.tables import layout_of

        form, states = self._found.form, tuple(map(State.of, files))
        return Part(form, files, states, row, layout_of(path, *self._options), tuple(blocks))

    def _blocks(self, files: Files) -> Iterator[tuple[Block, NDArray[Any], NDArray[Any]]]:
        if self._found.form in ("npy", "idx"):
            part = array_part(*files)[0]
            for block in part.blocks:
                yield block, *read_block(part, block)
            return
        from manyhands.data.parts.tables import blocks_of

        yield from blocks_of(files[0], *self._options)

    def _add_labels(self, labels: NDArray[Any], path: Path) -> None:
        found = np.unique(check_labels(labels, path))
        if self._classes is not None:
            encode(found, self._classes, path, what="label")
            return
        if self.labels:
            found = (
                np.unique(join_labels([*self.labels, found]))
                if _mixed(self.labels[0], found)
                else np.union1d(self.labels[0], found)
            )
        if len(found) > _MOST_CLASSES:
            raise DataError(
                f"there are more than {_MOST_CLASSES} different labels up to here: are they classes?", path=path
            )
        self.labels = [found]


def _mixed(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Return whether words meet numbers."""
    return "U" in (one.dtype.kind, other.dtype.kind)
