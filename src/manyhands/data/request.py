"""What a user asks for when naming a data set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from manyhands.core.choices import LABELS
from manyhands.core.errors import SettingsError, shown
from manyhands.core.parameters import parameter
from manyhands.core.shapes import check_shape
from manyhands.data.arrays import Arrays
from manyhands.data.csv.delimiters import parse_delimiter
from manyhands.data.csv.tables import CSVFormat
from manyhands.data.scaling import check_binarize

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://?")


def csv_of(data: str) -> str | None:
    """Return the path that ``data`` is, if it is a CSV file's by its suffix."""
    name = data.lower().removesuffix(".gz")
    return data if name.endswith((".csv", ".tsv")) else None


@dataclass(frozen=True)
class DataRequest:
    """A request for a data set.

    Attributes
    ----------
    data
        ``"auto"``, a known name, a folder with four IDX files, those of CIFAR or pictures by class, CIFAR's archive, a
        .csv, .npz or .parquet file, or arrays in memory.
    train_csv, test_csv
        Instead of ``data``: two CSV files.
    label_column
        Of tables: number, from 0 (negative ones count from the end), or name; None for the first.
    train_size
        First training rows to use; ``"all"``; None for the default (6,000 for MNIST, all otherwise).
    scale
        See `manyhands.data.scaling.make_scaling`.
    validation
        Number of training rows to keep for validation, or ``"auto"``; see `manyhands.data.split.for_validation`.
    binarize
        The threshold that makes inputs binary, or ``"auto"``; see `manyhands.data.scaling.make_binary`.
    labels
        Of CIFAR-100: ``"fine"`` (as None) or ``"coarse"``.
    shape
        Channels, height and width of one sample, where rows are flat; None for what the data say.
    csv
        Instead of ``data``: one CSV file, whatever its name, for training and testing.
    delimiter
        Of CSV files, see `manyhands.data.csv.delimiters.parse_delimiter`; None: found in the first lines.
    test_size
        Share or number of the rows of one table that are for testing; None for a fifth.
    seed
        Of the division of one table.

    Raises
    ------
    SettingsError
        If the threshold is no finite number, or a scaling is asked for beside it; if the labels are of an unknown kind
        or the shape is none.
    """

    data: str | Arrays = "auto"
    train_csv: str | Path | None = None
    test_csv: str | Path | None = None
    label_column: str | int | None = None
    train_size: int | Literal["all"] | None = None
    scale: str = "auto"
    validation: int | Literal["auto"] | None = None
    binarize: float | Literal["auto"] | None = None
    labels: str | None = None
    shape: tuple[int, int, int] | None = None
    csv: str | Path | None = None
    delimiter: str | None = None
    test_size: float | int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_binarize(self.binarize, self.scale)
        if self.labels not in (None, *LABELS):
            raise SettingsError(f"unknown labels {self.labels!r}; choose one of {', '.join(LABELS)}")
        if self.shape is not None:  # a list, where it comes from JSON
            object.__setattr__(self, "shape", check_shape(parameter("shape"), self.shape))
        parse_delimiter(self.delimiter)
        if isinstance(self.data, str) and (path := csv_of(self.data)) is not None and self.csv is None:
            object.__setattr__(self, "csv", path)
            object.__setattr__(self, "data", "auto")
        for each in (self.data, self.csv, self.train_csv, self.test_csv):
            if not isinstance(each, Arrays) and _URL.match(str(each)):
                raise SettingsError(f"{shown(str(each))} is an address; download the file first, and give its path")

    @property
    def csv_format(self) -> CSVFormat:
        """What is said about CSV files."""
        return CSVFormat(self.label_column, self.delimiter)

    @property
    def first_rows(self) -> int | None:
        """How many first training rows are enough, whatever there are; None if all may be needed."""
        one_table = self.train_size in (None, "all") or self.validation is not None  # rows for validation may be any
        return None if one_table or isinstance(self.train_size, str) else self.train_size
