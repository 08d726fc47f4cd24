"""A data set of which this process has a share of the training rows, made together with the other processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError
from manyhands.core.parameters import parameter
from manyhands.core.samples import Samples
from manyhands.data.checks import check_finite, check_sizes
from manyhands.data.dataset import Dataset
from manyhands.data.scaling import Across, Scaling, check_binarize, make_binary, make_scaling


@dataclass(frozen=True)
class Share:
    """The rows of this process.

    Attributes
    ----------
    features, test_features : ndarray of shape (rows, features), uint8, float32 or float64
        As stored: at least one training row, and all test rows, or none where another process evaluates.
    codes, test_codes : ndarray of shape (rows,), int32
        Class numbers.
    classes : ndarray of shape (K,)
        The labels of all processes' training rows, sorted.
    first_row, rows
        Number of the first training row here, and of the training rows of all processes together.
    scale, binarize
        See `manyhands.data.dataset.make_dataset`.
    """

    features: NDArray[Any]
    codes: NDArray[np.int32]
    test_features: NDArray[Any]
    test_codes: NDArray[np.int32]
    classes: NDArray[Any]
    first_row: int
    rows: int
    scale: str = "auto"
    binarize: float | Literal["auto"] | None = None

    def check(self) -> None:
        """Make every check of one's own rows that must come before training; nothing is exchanged.

        Raises
        ------
        SettingsError, DataError
            As `manyhands.data.dataset.make_dataset`.
        """
        check_binarize(self.binarize, self.scale)
        check_finite(self.features, first_row=self.first_row)
        check_finite(self.test_features)
        if len(self.classes) < 2:
            raise DataError(
                f"the {self.rows} training rows have one class only ({self.classes[0]}); a classifier needs two: is "
                f"{parameter('label_column')} the right one?"
            )
        if self.binarize is None and self.scale in ("auto", "standard"):
            check_sizes(self.features)

    def dataset(
        self,
        name: str,
        across: Across,
        shape: tuple[int, ...] | None = None,
        note: str = "",
        scaling: Scaling | None = None,
    ) -> Dataset:
        """Return the data set: what depends on all rows is computed by all processes together.

        Parameters
        ----------
        name, note
            See `manyhands.data.dataset.Dataset`.
        across
            Combines what the processes find out about their rows.
        shape
            Of a sample, channels first; None: that of a row.
        scaling
            If it is known; a threshold has been applied then. None: what the training rows say.

        Raises
        ------
        DataError
            On all processes alike, if binary inputs would all be the same.
        """
        found = self._scaling(across) if scaling is None else scaling
        own: dict[str, Any] = {} if shape is None else {"sample_shape": shape}

        def table(stored: NDArray[Any], numbers: NDArray[np.int32]) -> Samples:
            return found.table(found.binarized(stored) if scaling is None else stored, numbers, **own)

        return Dataset(
            name,
            table(self.features, self.codes),
            table(self.test_features, self.test_codes),
            self.classes,
            found,
            note,
            first_row=self.first_row,
            all_rows=self.rows,
        )

    def _scaling(self, across: Across) -> Scaling:
        if self.binarize is None:
            return make_scaling(self.scale, self.features, across)
        return make_binary(self.binarize, self.features, across)
