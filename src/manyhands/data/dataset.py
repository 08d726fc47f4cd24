"""Data sets ready for training: rows as stored, labels as class numbers, all checks done."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from manyhands.core.checks import whole
from manyhands.core.errors import DataError, SettingsError
from manyhands.core.html import facts
from manyhands.core.parameters import parameter
from manyhands.core.samples import Samples
from manyhands.core.shapes import samples_text, shape_text
from manyhands.data.checks import check_finite, check_sizes
from manyhands.data.columns import Names, notice, reordered, say_positions
from manyhands.data.examples import Examples as Examples
from manyhands.data.filestate import FileState, check_unchanged
from manyhands.data.label_checks import check_classes, doubt_about
from manyhands.data.labels import check_labels, encode, named
from manyhands.data.origin import Origin
from manyhands.data.precision import check_whole, coarse, say_what_is_lost
from manyhands.data.scaling import Scaling, check_binarize, make_binary, make_scaling
from manyhands.data.split import for_validation

if TYPE_CHECKING:
    from manyhands.data.parts.reading import PartedData

_CLASSES_SHOWN = 5
_BYTES_AT_ONCE = 8 << 20


@dataclass(frozen=True)
class Dataset:
    """Training and test table of one classification task.

    Attributes
    ----------
    name : str
        As it is printed.
    train, test : Table
        Scaled by what the training rows say.
    classes : ndarray of shape (K,), bool, integer, floating or str
        The label of each class number, sorted.
    scaling : Scaling
        How stored values become inputs.
    note : str
        One line about where the data come from.
    seconds : float
        Time it took to read them.
    distributed : float
        Time it took to bring them to this process from the one that read them.
    first_row : int
        Number of the first training row here, among those of all processes.
    all_rows : int or None
        Number of training rows of all processes together, if not all are here.
    available : int or None
        Number of training rows that there would be; None if all are used or kept for validation.
    validation : Table or None
        Rows of the training set that are not trained on, so that choices need not look at the test rows.
    feature_names : tuple of str or None
        Names of the features, if they have any.
    label_name : str or None
        Name of the column that the labels were in.
    files : tuple of FileState
        The files as they were when they were read; see `check_unchanged`.
    origin : Origin or None
        Where it came from, if that is known.
    source : dict or None
        The arguments of `manyhands.train` that name it, with absolute paths; None if it was in memory.
    parts : PartedData or None
        Where the rows lie, if they are read while a run trains: ``train`` are then only the first of them, and so may
        ``test`` be.

    Raises
    ------
    DataError
        If the classes have labels that a model file cannot hold.
    """

    name: str
    train: Samples
    test: Samples
    classes: NDArray[Any]
    scaling: Scaling
    note: str = ""
    seconds: float = 0.0
    distributed: float = 0.0
    first_row: int = 0
    all_rows: int | None = None
    available: int | None = None
    validation: Samples | None = None
    feature_names: Names | None = None
    label_name: str | None = None
    files: tuple[FileState, ...] = ()
    origin: Origin | None = None
    source: dict[str, Any] | None = None
    parts: PartedData | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", check_labels(self.classes))

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name}: {self.rows:,} training and {self.test_rows:,} test "
            f"{samples_text(self.train.sample_shape)}, classes {named(self.classes)}, inputs {self.scaling.name})"
        )

    def _repr_html_(self) -> str:
        known = {name.replace("_", " "): str(value) for name, value in self.describe().items()}
        return facts("Data set", {**known, "classes": named(self.classes)})

    def check_unchanged(self) -> None:
        """Check that no mapped file was written to since it was read.

        Raises
        ------
        DataError
            If one was.
        """
        check_unchanged(self.files)
        if self.parts is not None:
            self.parts.check_unchanged()

    def check_in_memory(self, what: str) -> None:
        """Raise SettingsError if rows are read while a run trains; ``what`` needs all of them, says the message."""
        if self.parts is not None:
            raise SettingsError(
                f"{what} needs all rows at once, but {self.name} is read in parts: take data that fit into memory, or "
                f"fewer of them ({parameter('train_size')} of a file)"
            )

    def note_changes(self) -> None:
        """Warn if a file was written to since it was read; for processes that use a copy of all files."""
        check_unchanged(self.files, copied=True)

    @property
    def rows(self) -> int:
        """Number of training rows, those in other processes included."""
        return self.train.rows if self.all_rows is None else self.all_rows

    @property
    def test_rows(self) -> int:
        """Number of test rows, those that are not in memory included."""
        return self.test.rows if self.parts is None else self.parts.test.rows

    def test_tables(self) -> Iterator[Samples]:
        """Yield all test rows: in one table or, if they are in parts, block by block."""
        if self.parts is None or self.test.rows == self.test_rows:
            yield self.test
            return
        for features, labels in self.parts.blocks(self.parts.test):
            yield self.test.with_arrays({"features": features, "labels": labels})

    def stored_rows(self, role: Literal["train", "test"]) -> Iterator[tuple[NDArray[Any], NDArray[np.int32]]]:
        """Yield all training or test rows as they are stored, and their class numbers, some megabytes at a time."""
        if self.parts is not None:
            is_train = role == "train"
            yield from self.parts.blocks(getattr(self.parts, role), self.parts.rows if is_train else None)
            return
        samples = self.tables[role]
        at_once = max(1, _BYTES_AT_ONCE // max(samples.features[:1].nbytes, 1))
        for begin in range(0, samples.rows, at_once):
            yield samples.features[begin : begin + at_once], samples.labels[begin : begin + at_once]

    @property
    def features(self) -> int:
        """Number of features."""
        return int(self.train.features.shape[1])

    @property
    def outputs(self) -> int:
        """Number of outputs of a network that learns it."""
        return len(self.classes) if self.train.targets is None else int(self.train.targets.shape[1])

    @property
    def tables(self) -> dict[str, Samples]:
        """The tables there are, by the names of their fields."""
        found = {"train": self.train, "test": self.test}
        return found if self.validation is None else {**found, "validation": self.validation}

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Facts and a checksum, which are equal for two data sets with the same rows, wherever they were read from."""
        checksum = 0
        for table in self.tables.values():
            arrays = {"labels": table.labels, **table.arrays()}  # labels first, as in all checkpoints so far
            for array in arrays.values():
                checksum = zlib.crc32(np.ascontiguousarray(array).data, checksum)
        if self.parts is not None:  # what is not in memory
            checksum = zlib.crc32(f"{self.parts.checksum} {self.parts.rows}".encode(), checksum)
        facts = self.describe()
        names = ("name", "train_rows", "test_rows", "features", "scaling")
        return {**{name: facts[name] for name in names}, "checksum": checksum}

    @cached_property
    def largest_input(self) -> float:
        """The largest absolute value of an input; infinite or NaN if one cannot be computed, 0 for bytes."""
        floats = [table.features for table in self.tables.values() if table.features.dtype != np.uint8]
        found = [self.scaling.largest_input(features) for features in floats]
        if self.parts is not None and floats:
            found.append(self.scaling.largest_input(np.stack([self.parts.low, self.parts.high])))
        return float(np.max(found, initial=0))

    @cached_property
    def coarse_in_single(self) -> NDArray[np.bool_]:
        """For each feature, whether float32 is too coarse to distinguish its values."""
        return coarse(self.train.features, np.float32)

    def facts(self) -> dict[str, Any]:
        """Return what other processes need besides the tables and the arrays of the scaling, as plain data."""
        return {
            "name": self.name,
            "note": self.note,
            "seconds": self.seconds,
            "available": self.available,
            "scaling": self.scaling.name,
            "threshold": self.scaling.threshold,
            "vectors": list(self.scaling.vectors()),
            "source": self.source,
        }

    @property
    def text(self) -> str:
        """Rows, features and classes in words, the first classes by name; the first line that a command prints."""
        rows = f"{self.rows:,} training"
        if self.available is not None:
            rows = f"{self.rows:,} of {self.available:,} training ({parameter('train_size', 'all')} for all)"
        held = f", {self.validation.rows:,} validation" if self.validation is not None else ""
        shape = self.train.sample_shape
        samples = "samples" if len(shape) < 2 else samples_text(shape)
        classes = ", ".join(str(label)[:40] for label in self.classes[:_CLASSES_SHOWN].tolist())
        more = ", ..." if len(self.classes) > _CLASSES_SHOWN else ""
        return (
            f"{self.name}: {rows}{held} and {self.test_rows:,} test {samples}, {self.features:,} "
            f"{'feature' if self.features == 1 else 'features'}, {len(self.classes)} classes ({classes}{more})"
        )

    def describe(self) -> dict[str, Any]:
        """Return the facts for reports."""
        return {
            "name": self.name,
            "train_rows": self.rows,
            "test_rows": self.test_rows,
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
    train_size: int | None = None,
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
    train_size
        Use so many of the first training rows; None for all.
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
        binary inputs would be the same. Columns disagree if both have names and these are not the same; their order
        does not matter.
    """
    check_binarize(binarize, scale)
    kept, held_out = _choose_rows(name, train.labels, train_size, validation)
    everything = train.flat()
    test_features = reordered(test.flat(), test.feature_names, train.feature_names, test.place)
    if everything.dtype != np.uint8:  # one kernel for all
        dtype = np.result_type(everything, test_features)
        everything, test_features = (table.astype(dtype, copy=False) for table in (everything, test_features))
    features, labels = everything[kept], train.labels[kept]
    if features.shape[1] != test_features.shape[1]:
        raise DataError(
            f"the training rows have {features.shape[1]} features, the test rows {test_features.shape[1]}",
            path=test.place,
        )
    if len(train.sample_shape) > 1 < len(test.sample_shape) and train.sample_shape != test.sample_shape:
        raise DataError(
            f"the training samples have the shape {shape_text(train.sample_shape)}, the test samples "
            f"{shape_text(test.sample_shape)}",
            path=test.place,
        )
    say_positions(test.feature_names, train.feature_names, "the test rows")
    check_finite(features, train.place, kept)
    check_finite(test_features, test.place)
    classes, codes = np.unique(labels, return_inverse=True)
    check_classes(classes, labels, train.table, train.label_source)
    check_whole(train.table, train.place)
    doubt = doubt_about(classes, labels, train.table, train.label_source)
    if binarize is None and scale in ("auto", "standard"):
        check_sizes(features, train.place)
    scaling = make_scaling(scale, features) if binarize is None else make_binary(binarize, features)
    if scaling.center is not None:
        say_what_is_lost(features)
    shape = train.sample_shape

    def table(stored: NDArray[Any], numbers: NDArray[np.int32]) -> Samples:
        return scaling.table(scaling.binarized(stored), numbers, sample_shape=shape)

    used = len(features) + (0 if held_out is None else len(held_out))
    available = max(len(train), train.available or 0)
    hint = _hint(used < available) if doubt is None else f"; {doubt}"
    held: Samples | None = None
    if held_out is not None:
        held_labels = encode(train.labels[held_out], classes, train.source, hint, "validation row")
        check_finite(everything[held_out], train.place, held_out)
        held = table(everything[held_out], held_labels)
    test_codes = encode(test.labels, classes, test.source, hint)
    if doubt is not None:
        notice(doubt)
    return Dataset(
        name,
        table(features, codes.astype(np.int32)),
        table(test_features, test_codes),
        classes,
        scaling,
        note,
        seconds,
        available=available if used < available else None,
        validation=held,
        feature_names=train.feature_names,
        label_name=train.label_name,
        files=train.files + test.files,
    )


def _hint(has_more: bool) -> str:
    """Return what to do about labels that are no class: training with more rows helps if there are more."""
    more = f"train with more rows ({parameter('train_size', 'all')})" if has_more else "add training rows of this class"
    return f"; {more}, or remove them"


def _choose_rows(
    name: str, labels: NDArray[Any], train_size: int | None, validation: int | Literal["auto"] | None
) -> tuple[slice | NDArray[np.int64], NDArray[np.int64] | None]:
    """Return which rows of the training set are trained on, and which are kept for validation."""
    available = len(labels)
    rows = available if train_size is None else whole(parameter("train_size"), train_size)
    if not 1 <= rows <= available:
        wrong = parameter("train_size", rows)
        raise SettingsError(f"{wrong}: {name} has {available} training rows; ask for 1 to {available}")
    if validation is None:
        return slice(rows), None  # a view: nothing is copied
    return for_validation(labels, rows, validation)
