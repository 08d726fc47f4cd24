"""From scikit-learn's arrays to tables: what is trained on, and what is set aside to decide when to stop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.model_selection import train_test_split

from manyhands.core.randomness import generator
from manyhands.core.samples import Samples
from manyhands.data.dataset import Dataset
from manyhands.data.precision import coarse, say_once
from manyhands.data.scaling import Scaling
from manyhands.runtime.memory import check_memory

_HUGE = 1e15  # sums of a hundred million products of such numbers are still float32 numbers
_FEWER = "use fewer rows at a time (partial_fit), or fewer features (such as TruncatedSVD's)"


@dataclass(frozen=True)
class Rows:
    """Checked examples.

    Attributes
    ----------
    features : ndarray or sparse matrix of shape (rows, features)
    targets : ndarray of shape (rows, outputs)
        Numbers; or for classes an indicator, True for what a row belongs to, or one column with the class number.
    weights : ndarray of shape (rows,) or None
    sample_shape : tuple of int
        Shape of one sample before it was flattened to a row; empty for ``(features,)``.
    """

    features: Any
    targets: NDArray[Any]
    weights: NDArray[Any] | None = None
    sample_shape: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self.features.shape[0])

    def set_aside(self, fraction: float, seed: int, *, stratified: bool) -> tuple[Rows, Rows]:
        """Divide the rows into those to train on and a ``fraction`` to evaluate; a seed sets the same rows aside.

        If ``stratified``, both parts have the same share of each class. Too few rows are a ValueError, as
        scikit-learn's.
        """
        arrays = [self.features, self.targets, *([] if self.weights is None else [self.weights])]
        parts = train_test_split(
            *arrays,
            random_state=int(generator(seed, "validation").integers(2**31)),
            test_size=fraction,
            stratify=self.targets if stratified else None,
        )
        train, held = (
            replace(self, features=part[0], targets=part[1], weights=None if self.weights is None else part[2])
            for part in (parts[::2], parts[1::2])
        )
        if held.count < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return train, held

    def table(self, dtype: str, *, classes: bool) -> Samples:
        """Return the rows as samples in the dtype that the learner computes in; bytes stay bytes.

        With ``classes`` each row belongs to one class, and the samples have its number instead of targets.
        """
        width = self.features.shape[1]
        labels = self._class_numbers() if classes else np.zeros(self.count)
        with np.errstate(over="ignore"):  # what is infinite in this dtype ends the training, with a better message
            return Samples(
                dense(self.features, dtype),
                labels.astype(np.int32),
                np.ones(width),
                np.zeros(width),
                None if classes else _writable(self.targets, dtype),
                None if self.weights is None else _writable(self.weights, dtype),
                sample_shape=self.sample_shape,
            )

    def _class_numbers(self) -> NDArray[Any]:
        """Return the number of each row's class."""
        numbers: NDArray[Any] = self.targets[:, 0] if self.targets.shape[1] == 1 else self.targets.argmax(axis=1)
        return numbers


def make_dataset(train: Rows, held: Rows | None, dtype: str, *, classes: int) -> Dataset:
    """Return the data set of a run, without test rows: of so many classes, or with targets if there are none.

    ``dtype`` is that of :meth:`Rows.table`.
    """
    table = train.table(dtype, classes=classes > 0)
    scaling = Scaling("none", table.scale, table.shift)
    validation = None if held is None else held.table(dtype, classes=classes > 0)
    names = np.arange(classes or train.targets.shape[1])
    return Dataset("fit", table, table.take(slice(0)), names, scaling, validation=validation)


def needs_doubles(rows: Rows) -> bool:
    """Return whether float32 would lose what tells the rows, or their targets, apart, or has no room for products."""
    features = rows.features
    if sparse.issparse(features):  # a column with zeros is not far from them
        columns = features.tocsc()
        features = columns[:, np.flatnonzero(np.diff(columns.indptr) == rows.count)].toarray()
    if _is_coarse(features):
        say_once(
            "features lie so far from zero that float32 would lose what tells their rows apart: this fit computes in "
            "float64; networks learn far more from standardized features, such as StandardScaler's"
        )
        return True
    if _is_huge(rows.features):
        say_once(
            "features are so large that their products would exceed float32: this fit computes in float64; networks "
            "learn far more from standardized features, such as StandardScaler's"
        )
        return True
    return _is_coarse(rows.targets) or _is_huge(rows.targets)


def _is_huge(array: Any) -> bool:
    """Return whether float32 may be too small for sums of products of such numbers."""
    values = array.data if sparse.issparse(array) else array
    if values.dtype.kind != "f" or not values.size:
        return False
    return bool(max(float(values.max()), -float(values.min())) > _HUGE)


def _is_coarse(array: NDArray[Any]) -> bool:
    """Return whether float32 numbers lie too far apart for a column."""
    exact = array.dtype == np.float32 or array.dtype.kind not in "iuf" or array.dtype.itemsize <= 2
    return not exact and bool(coarse(array, np.float32).any())


def dense(features: Any, dtype: str) -> NDArray[Any]:
    """Return contiguous rows."""
    if sparse.issparse(features):
        size = features.shape[0] * features.shape[1] * np.dtype(dtype).itemsize
        # Twice: rows that were stored by columns are dense in the wrong order first.
        check_memory(2 * size, f"making {features.shape[0]:,} sparse rows dense for training", _FEWER)
        return np.ascontiguousarray(features.astype(dtype).toarray())
    fits = np.ascontiguousarray(features, "uint8" if features.dtype == np.uint8 else dtype)
    return fits if fits.flags.writeable else _lent(fits)


class _Lent:
    """Lends the memory of a read-only array, such as a mapped file, as if it could be written."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def _lent(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only array as one that kernels are compiled for, without a copy: none writes samples."""
    return np.asarray(_Lent(array))


def _writable(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return a contiguous array, copied only if need be. Kernels are compiled for arrays that could be written."""
    fits = np.ascontiguousarray(array, dtype)
    return fits if fits.flags.writeable else fits.copy()
