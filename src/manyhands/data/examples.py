"""Rows and their labels as a file, or a user, gave them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError
from manyhands.core.shapes import samples_text
from manyhands.data.columns import Names, names_of
from manyhands.data.filestate import FileState, check_unchanged
from manyhands.data.label_checks import LabelSource
from manyhands.data.labels import check_labels, named
from manyhands.data.precision import storable
from manyhands.data.values import values_in

_TRANSPOSED = ("emnist", "letters-")


@dataclass(frozen=True)
class Examples:
    """Rows and their labels as a file gave them.

    Attributes
    ----------
    features : ndarray of shape (rows, ...), or what NumPy makes one of
        Numbers of any dtype. Further axes (an image's height and width) count as features. Given a table with named
        columns, such as a pandas DataFrame, this becomes its values.
    labels : ndarray of shape (rows,), bool, integer, floating or str
        Given anything that `manyhands.data.labels.check_labels` takes, this becomes what it returns.
    source : Path or None
        The file of the labels, or the name of the argument they came in, for messages.
    feature_names : tuple of str or None
        Names of the columns of ``features``, by which those of other rows are found; None: by position. A table has
        names of its own.
    label_name : str or None
        Name of the column of the labels; a Series has a name of its own.
    features_source : Path or None
        That of the features, if it is another one.
    files : tuple of FileState
        The files as they were when they were read; see `Dataset.check_unchanged`.
    columns : tuple of int or None
        The numbers of the features' columns in the file of a table, from 0.
    label_asked : bool
        Whether somebody said which column the labels are in, or it is beyond doubt.
    available : int or None
        Number of rows of the file, if these are only its first; after construction never None.

    Raises
    ------
    DataError
        If there is no row, the numbers of rows or names disagree, a feature is masked, or labels cannot be classes.
    """

    features: NDArray[Any]
    labels: NDArray[Any]
    source: Path | None = None
    feature_names: Names | None = None
    label_name: str | None = None
    features_source: Path | None = None
    files: tuple[FileState, ...] = ()
    columns: tuple[int, ...] | None = None
    label_asked: bool = True
    available: int | None = None

    @property
    def place(self) -> Path | None:
        """The file at fault, for messages, if something is wrong with the features."""
        return self.source if self.features_source is None else self.features_source

    def check_unchanged(self) -> None:
        """Check the files, as `Dataset.check_unchanged`."""
        check_unchanged(self.files)

    def __post_init__(self) -> None:
        names = names_of(self.features) if self.feature_names is None else tuple(self.feature_names)
        features = values_in(self.features, self.place)
        if features.ndim < 2 or features[:1].size == 0:
            raise DataError(f"there are no examples: features have shape {features.shape}", path=self.place)
        labels = check_labels(self.labels, self.source)
        if len(labels) != len(features):
            raise DataError(
                f"there are {len(features)} rows of features, but labels of shape {labels.shape}", path=self.source
            )
        if names is not None and len(names) != features[0].size:
            raise DataError(f"there are {len(names)} names for {features[0].size} features", path=self.source)
        label_name = getattr(self.labels, "name", None) if self.label_name is None else self.label_name
        available = len(labels) if self.available is None else self.available
        found = {"features": features, "labels": labels, "feature_names": names, "available": available}
        for name, value in {**found, "label_name": label_name if isinstance(label_name, str) else None}.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Examples({len(self):,} {samples_text(self.sample_shape)}, classes {named(np.unique(self.labels))})"

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample: channels, height and width of an image, of which a file without channels has one."""
        shape = self.features.shape[1:]
        return (1, *shape) if len(shape) == 2 else shape

    @property
    def is_transposed(self) -> bool:
        """Whether images lie on their side, by the name of their file: those of EMNIST do."""
        return self.source is not None and self.source.name.lower().startswith(_TRANSPOSED)

    @property
    def label_source(self) -> LabelSource:
        """Where the labels come from, for messages about them."""
        return LabelSource(self.source, self.label_name, self.label_asked, self.feature_names, self.columns)

    def take(self, rows: NDArray[np.int64]) -> Examples:
        """Return the examples with these row numbers, as if they were all."""
        return replace(self, features=self.features[rows], labels=self.labels[rows], available=len(rows))

    def flat(self) -> NDArray[Any]:
        """Return the features with shape (rows, features): bytes as bytes, anything else as floats that keep it.

        Raises
        ------
        DataError
            If they are not numbers.
        """
        if self.features.dtype.kind not in "buif":
            raise DataError(f"features must be numbers, not {self.features.dtype}", path=self.place)
        return np.ascontiguousarray(storable(self.table))

    @property
    def table(self) -> NDArray[Any]:
        """The features as they are, with shape (rows, features)."""
        return self.features.reshape(len(self.features), -1)
