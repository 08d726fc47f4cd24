"""A data set ready for training: rows as stored, labels as class numbers, all checks done."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from manyhands.data.filestate import FileState, check_unchanged
from manyhands.data.scaling import Scaling, check_binarize, make_binary, make_scaling
from manyhands.data.split import for_validation
from manyhands.errors import DataError, SettingsError
from manyhands.protocols import Table

_HINT = "; train with more rows (--train) or remove them"


@dataclass(frozen=True)
class Examples:
    """Rows and their labels as a file gave them.

    Attributes
    ----------
    features : ndarray of shape (rows, ...), uint8 or floating
        Further axes (an image's height and width) count as features.
    labels : ndarray of shape (rows,), integer or str
    source : Path or None
        The file of the labels, for messages.
    features_source : Path or None
        The file of the features, if it is another one.
    files : tuple of FileState
        The files as they were when they were read; see `Dataset.check_unchanged`.
    """

    features: NDArray[Any]
    labels: NDArray[Any]
    source: Path | None = None
    features_source: Path | None = None
    files: tuple[FileState, ...] = ()

    @property
    def place(self) -> Path | None:
        """The file at fault, for messages, if something is wrong with the features."""
        return self.source if self.features_source is None else self.features_source

    def check_unchanged(self) -> None:
        """Check the files, as `Dataset.check_unchanged`."""
        check_unchanged(self.files)

    def __post_init__(self) -> None:
        rows = len(self.features)
        if self.labels.ndim != 1 or len(self.labels) != rows:
            raise DataError(
                f"there are {rows} rows of features, but labels of shape {self.labels.shape}",
                path=self.source,
            )
        if self.features.ndim < 2 or self.features[:1].size == 0:
            raise DataError(f"there are no examples: features have shape {self.features.shape}", path=self.place)

    def flat(self) -> NDArray[Any]:
        """Return the features with shape (rows, features): bytes as bytes, anything else as it can be computed with.

        Raises
        ------
        DataError
            If they are not numbers.
        """
        if self.features.dtype.kind not in "buif":
            raise DataError(f"features must be numbers, not {self.features.dtype}", path=self.place)
        table = self.features.reshape(len(self.features), -1)
        if table.dtype not in (np.uint8, np.float32, np.float64):
            table = table.astype(np.float32)
        return np.ascontiguousarray(table)


@dataclass(frozen=True)
class Dataset:
    """Training and test table of one classification task.

    Attributes
    ----------
    name : str
        As it is printed.
    train, test : Table
        Scaled by what the training rows say.
    classes : ndarray of shape (K,), integer or str
        The label of each class number, sorted.
    scaling : Scaling
        How stored values become inputs.
    note : str
        One line about where the data come from.
    seconds : float
        Time it took to read them.
    distributed : float
        Time it took to bring them from who has read them to this process.
    first_row : int
        Number of the first training row here, among those of all processes.
    all_rows : int or None
        Number of training rows of all processes together, if not all are here.
    validation : Table or None
        Rows of the training set that are not trained on, so that choices need not look at the test rows.
    files : tuple of FileState
        The files as they were when they were read; see `check_unchanged`.
    """

    name: str
    train: Table
    test: Table
    classes: NDArray[Any]
    scaling: Scaling
    note: str = ""
    seconds: float = 0.0
    distributed: float = 0.0
    first_row: int = 0
    all_rows: int | None = None
    validation: Table | None = None
    files: tuple[FileState, ...] = ()

    def check_unchanged(self) -> None:
        """Check that nobody has written to the files: of one that is mapped, what was trained on was never a data set.

        Raises
        ------
        DataError
            If somebody has.
        """
        check_unchanged(self.files)

    @property
    def rows(self) -> int:
        """Number of training rows, those in other processes included."""
        return self.train.rows if self.all_rows is None else self.all_rows

    @property
    def features(self) -> int:
        """Number of features."""
        return int(self.train.features.shape[1])

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What two data sets have in common that are the same, wherever they were read from: facts, and a checksum."""
        checksum = 0
        for table in (self.train, self.test, self.validation):
            if table is not None:
                checksum = zlib.crc32(table.labels.tobytes(), checksum)
                checksum = zlib.crc32(np.ascontiguousarray(table.features).data, checksum)
        facts = self.describe()
        names = ("name", "train_rows", "test_rows", "features", "scaling")
        return {**{name: facts[name] for name in names}, "checksum": checksum}

    def describe(self) -> dict[str, Any]:
        """Return the facts for reports."""
        return {
            "name": self.name,
            "train_rows": self.rows,
            "test_rows": self.test.rows,
            "features": self.features,
            "classes": len(self.classes),
            "scaling": self.scaling.name,
            "note": self.note,
            **({} if self.validation is None else {"validation_rows": self.validation.rows}),
        }


def make_dataset(
    name: str,
    train: Examples,
    test: Examples,
    *,
    rows: int | None = None,
    scale: str = "auto",
    note: str = "",
    seconds: float = 0.0,
    validation: int | Literal["auto"] | None = None,
    binarize: float | Literal["auto"] | None = None,
) -> Dataset:
    """Build a data set, with every check that must come before training.

    Parameters
    ----------
    name, note, seconds
        See :class:`Dataset`.
    train, test
        The examples.
    rows
        Use the first ``rows`` training rows; None for all.
    scale
        See `manyhands.data.scaling.make_scaling`.
    validation
        Number of rows to keep for validation, see `manyhands.data.split.for_validation`; None for none.
    binarize
        Make inputs binary, from this threshold on 1; see `manyhands.data.scaling.make_binary`. None: scale them.

    Raises
    ------
    SettingsError
        If more rows are asked for than there are, the scaling is unknown, or it is asked for beside ``binarize``.
    DataError
        If training and test disagree, values are not finite, the test has a class that training never saw, or all
        binary inputs would be the same.
    """
    check_binarize(binarize, scale)
    kept, held_out = _choose_rows(name, train.labels, rows, validation)
    everything, test_features = train.flat(), test.flat()
    features, labels = everything[kept], train.labels[kept]
    if features.shape[1] != test_features.shape[1]:
        raise DataError(
            f"the training rows have {features.shape[1]} features, the test rows {test_features.shape[1]}",
            path=test.place,
        )
    _check_finite(features, train.place, kept)
    _check_finite(test_features, test.place)
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise DataError(
            f"the {len(labels)} training rows have one class only ({classes[0]}); a classifier needs two",
            path=train.source,
        )
    scaling = make_scaling(scale, features) if binarize is None else make_binary(binarize, features)
    held: Table | None = None
    if held_out is not None:
        held_labels = encode(train.labels[held_out], classes, train.source, _HINT, "validation row")
        _check_finite(everything[held_out], train.place, held_out)
        held = Table(scaling.binarized(everything[held_out]), held_labels, scaling.scale, scaling.shift)
    return Dataset(
        name,
        Table(scaling.binarized(features), codes.astype(np.int32), scaling.scale, scaling.shift),
        Table(
            scaling.binarized(test_features),
            encode(test.labels, classes, test.source, _HINT),
            scaling.scale,
            scaling.shift,
        ),
        classes,
        scaling,
        note,
        seconds,
        validation=held,
        files=train.files + test.files,
    )


def _choose_rows(
    name: str, labels: NDArray[Any], rows: int | None, validation: int | Literal["auto"] | None
) -> tuple[slice | NDArray[np.int64], NDArray[np.int64] | None]:
    """Return which rows of the training set are trained on, and which are kept for validation."""
    available = len(labels)
    if rows is not None and not 1 <= rows <= available:
        raise SettingsError(f"--train {rows}: {name} has {available} training rows; ask for 1 to {available}")
    if validation is None:
        return slice(rows), None  # a view: nothing is copied
    return for_validation(labels, available if rows is None else rows, validation)


def encode(
    labels: NDArray[Any], classes: NDArray[Any], source: Path | None = None, hint: str = "", what: str = "test row"
) -> NDArray[np.int32]:
    """Return the class number of each label.

    Parameters
    ----------
    labels, classes
        Given, and known.
    source, hint, what
        Where the labels come from, what to do about strange ones and what each belongs to, for the message.

    Raises
    ------
    DataError
        If a label is none of ``classes``; names it and its first row.
    """
    if "U" in (labels.dtype.kind, classes.dtype.kind):  # words on one side: compare as words
        labels, classes = labels.astype(np.str_), classes.astype(np.str_)
    order = np.argsort(classes)
    known = classes[order]
    at = np.minimum(np.searchsorted(known, labels), len(known) - 1)
    strange = known[at] != labels
    if strange.any():
        row = int(np.argmax(strange))
        raise DataError(
            f"{what} {row + 1} has the class {str(labels[row])!r}, which no training row has "
            f"({int(strange.sum())} such rows){hint}",
            path=source,
        )
    return order[at].astype(np.int32)


def _check_finite(
    features: NDArray[Any], source: Path | None, numbers: slice | NDArray[np.int64] | None = None
) -> None:
    """Bytes are always finite; of floats, name the first that is not, by its row's number in the file."""
    if features.dtype == np.uint8:
        return
    wrong = ~np.isfinite(features)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        number = numbers[row] if isinstance(numbers, np.ndarray) else row
        raise DataError(
            f"row {number + 1}, feature {column + 1} is {features[row, column]}, not a finite number",
            path=source,
        )
