"""From what a user names to a data set: known names, folders of IDX files, CSV files."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from manyhands.data import download
from manyhands.data.columns import counting_columns, notice
from manyhands.data.csvfile import read_csv, read_csv_part
from manyhands.data.csvheader import CsvColumns, csv_columns
from manyhands.data.dataset import Dataset, Examples, make_dataset
from manyhands.data.digits import read_digits
from manyhands.data.idx import read_idx
from manyhands.data.scaling import check_binarize
from manyhands.errors import DataError, DownloadError, MissingDataError, OutputError, SettingsError
from manyhands.files import cache_folder

NAMES = ("auto", "mnist", "digits", "letters")
MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://yann.lecun.com/exdb/mnist/",
)
_MNIST_DEFAULT_ROWS = 6000  # as Todorov et al. 2021
_PATIENT_SECONDS, _AUTO_SECONDS = 600.0, 12.0
_IDX_NAME = re.compile(r"(?P<prefix>.*?)(?P<part>train|t10k|test)-(?P<what>images|labels)[-.]idx\d-ubyte(\.gz)?")


@dataclass(frozen=True)
class DataRequest:
    """What a user asked for.

    Attributes
    ----------
    data
        ``"auto"``, a known name, or a folder with four IDX files.
    train_csv, test_csv
        Instead of ``data``: two CSV files.
    label_column
        Of the CSV files: number or name.
    rows
        First training rows to use; None for the default (6,000 for MNIST, all otherwise).
    scale
        See `manyhands.data.scaling.make_scaling`.
    validation
        Number of training rows to keep for validation, or ``"auto"``; see `manyhands.data.split.for_validation`.
    binarize
        The threshold that makes inputs binary, or ``"auto"``; see `manyhands.data.scaling.make_binary`.

    Raises
    ------
    SettingsError
        If the threshold is no finite number, or a scaling is asked for beside it.
    """

    data: str = "auto"
    train_csv: str | Path | None = None
    test_csv: str | Path | None = None
    label_column: str | int = 0
    rows: int | None = None
    scale: str = "auto"
    validation: int | Literal["auto"] | None = None
    binarize: float | Literal["auto"] | None = None

    def __post_init__(self) -> None:
        check_binarize(self.binarize, self.scale)


class Joiner(Protocol):
    """One of several processes that each read a piece of every CSV file.

    Attributes
    ----------
    part, parts : int
        Which piece is this process's, and of how many.
    seconds : float
        Time spent on exchanging the pieces so far.
    """

    part: int
    parts: int
    seconds: float

    def __call__(self, features: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the whole table, given this process's piece of it."""
        ...


def load(request: DataRequest, joiner: Joiner | None = None) -> Dataset:
    """Return the data set that ``request`` asks for.

    Parameters
    ----------
    request
        What is asked for.
    joiner
        If several processes call this at the same time and CSV files are asked for: how they share the work.

    Raises
    ------
    DataError
        If it is not there or not usable; see `manyhands.errors`.
    SettingsError
        If the request contradicts itself.
    """
    found = _find(request, joiner)
    exchanging = 0.0 if joiner is None else joiner.seconds
    dataset = make_dataset(
        found.name,
        found.train,
        found.test,
        rows=found.default_rows if request.rows is None else request.rows,
        scale=request.scale,
        note=found.note,
        seconds=found.seconds - exchanging,
        validation=request.validation,
        binarize=request.binarize,
    )
    return dataset if joiner is None else replace(dataset, distributed=exchanging)


def way_of_reading(request: DataRequest) -> Literal["csv", "mapped", "whole"]:
    """Return how several processes can share the reading of what ``request`` asks for.

    ``csv``: each parses a piece, see :class:`Joiner`. ``mapped``: each looks at the rows it needs. ``whole``: one has
    to read everything.
    """
    if request.train_csv is not None:
        return "csv" if Path(request.train_csv).suffix != ".gz" else "whole"
    own = _data_folder(request.data if request.data != "auto" else "mnist")
    folder = Path(request.data) if request.data not in NAMES else own
    if folder is None or not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises for a name too long
        return "whole"
    plain = [path.suffix != ".gz" for path in _files_in(folder) if _IDX_NAME.fullmatch(path.name)]
    return "mapped" if plain and all(plain) else "whole"


def load_test(request: DataRequest) -> Examples:
    """Return only the test examples that ``request`` asks for; of CSV files, ``test_csv`` is enough.

    Raises
    ------
    DataError, SettingsError
        As :func:`load`.
    """
    if request.test_csv is not None and request.train_csv is None:
        _check_alone(request)
        return _read_csv(request.test_csv, request.label_column)
    return _find(request).test


class _Found(NamedTuple):
    """Examples with their name, where they come from, and how many rows to use unless the user says so.

    ``seconds`` is the time of reading alone: not of looking for the files, fetching them or importing a reader.
    """

    name: str
    train: Examples
    test: Examples
    note: str
    seconds: float
    default_rows: int | None = None


def _read(name: str, note: str, reader: Callable[[], tuple[Examples, Examples]]) -> _Found:
    """Read training and test examples, and time it."""
    start = time.perf_counter()
    train, test = reader()
    return _Found(name, train, test, note, time.perf_counter() - start)


def _find(request: DataRequest, joiner: Joiner | None = None) -> _Found:
    """Read what was asked for."""
    if request.train_csv is not None or request.test_csv is not None:
        return _from_csv(request, joiner)
    if request.data == "auto":
        return _auto()
    if request.data == "digits":
        return _digits("scikit-learn's embedded digits, split 80/20")
    if request.data == "mnist":
        return _mnist(_PATIENT_SECONDS)
    if request.data == "letters":
        folder = _letters_folder()
        return _read("letters", f"letters from {folder}", lambda: _from_folder(folder))
    folder = Path(request.data)
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises for a name too long
        raise MissingDataError(
            f"there is no data set and no folder {request.data!r}; choose one of {', '.join(NAMES)}, or give a "
            "folder with four IDX files"
        )
    return _read(folder.resolve().name, f"IDX files from {folder}", lambda: _from_folder(folder))


def _auto() -> _Found:
    """Take MNIST if it can be had within seconds, else digits."""
    try:
        return _mnist(_AUTO_SECONDS)
    except (DownloadError, OutputError):
        return _digits(
            "scikit-learn's embedded digits, as MNIST is neither in MANYHANDS_DATA nor could be downloaded quickly"
        )


def _mnist(seconds: float) -> _Found:
    folder = _mnist_folder(seconds)
    found = _read("mnist", f"MNIST from {folder}", lambda: _from_folder(folder))
    return found._replace(default_rows=min(_MNIST_DEFAULT_ROWS, len(found.train.labels)))


def _mnist_folder(seconds: float) -> Path:
    """Return a folder with MNIST: MANYHANDS_DATA/mnist, else the cache, filled if necessary."""
    own = _data_folder("mnist")
    if own is not None and own.is_dir():
        folder = own
    else:
        folder = cache_folder() / "mnist"
        mirrors = os.environ.get("MANYHANDS_MNIST_MIRRORS", "").split() or MNIST_MIRRORS
        download.fetch_all(MNIST_FILES, mirrors, folder, seconds=seconds)
    for name, digest in MNIST_FILES.items():
        if (folder / name).exists():
            download.check(folder / name, digest)
    return folder


def _letters_folder() -> Path:
    tried = [folder for folder in (_data_folder("letters"), cache_folder() / "letters") if folder is not None]
    for folder in tried:
        if os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises for a name too long
            return folder
    raise MissingDataError(
        f"the data set 'letters' is not in {' nor in '.join(map(str, tried))}; it cannot be downloaded: "
        "set MANYHANDS_DATA to the folder that has letters/, or give a folder with your own IDX files to --data"
    )


def _data_folder(name: str) -> Path | None:
    base = os.environ.get("MANYHANDS_DATA")
    return Path(base) / name if base else None


def _digits(note: str) -> _Found:
    return _read("digits", note, read_digits)


def _from_folder(folder: Path) -> tuple[Examples, Examples]:
    found = idx_files(folder)
    return _pair(found, "train"), _pair(found, "test")


def idx_files(folder: Path) -> dict[tuple[str, str], Path]:
    """Return the four IDX files in a folder, whatever their common prefix, by part and content.

    The keys are ``("train", "images")``, ``("train", "labels")``, ``("test", "images")``, ``("test", "labels")``.

    Raises
    ------
    MissingDataError
        If there is no such folder, or a file is missing.
    DataError
        If more than one file could be meant.
    """
    found: dict[tuple[str, str], Path] = {}
    prefixes = set()
    for path in _files_in(folder):
        match = _IDX_NAME.fullmatch(path.name)
        if match is None:
            continue
        prefixes.add(match["prefix"])
        key = ("train" if match["part"] == "train" else "test", match["what"])
        other = found.get(key)
        # The plain file and its .gz may stand side by side: the same data, and sorted() brings the plain one first.
        if other is None:
            found[key] = path
        elif other.name != path.name.removesuffix(".gz"):
            raise DataError(f"both {other.name} and {path.name} could be the {' '.join(key)}", path=folder)
    missing = [
        f"{part} {what}" for part in ("train", "test") for what in ("images", "labels") if (part, what) not in found
    ]
    if missing:
        raise MissingDataError(
            f"no IDX file for {', '.join(missing)}; expected are four files named like train-images-idx3-ubyte, "
            "train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, plain or .gz",
            path=folder,
        )
    if len(prefixes) > 1:
        raise DataError(f"files of several data sets: {sorted(prefixes)}", path=folder)
    return found


def _files_in(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise MissingDataError(f"the folder cannot be read ({error.strerror})", path=folder) from error


def _pair(found: dict[tuple[str, str], Path], part: str) -> Examples:
    images, labels = found[part, "images"], found[part, "labels"]
    values, classes = read_idx(images), read_idx(labels)
    if values.ndim < 2:
        raise DataError(f"images need two or more dimensions, the file has shape {values.shape}", path=images)
    if classes.ndim != 1 or classes.dtype.kind not in "iu":
        raise DataError(f"labels are one dimension of whole numbers, the file has shape {classes.shape}", path=labels)
    if len(values) != len(classes):
        raise DataError(f"there are {len(classes)} labels for {len(values)} images in {images.name}", path=labels)
    return Examples(values, classes.astype(np.int64), labels)


def _from_csv(request: DataRequest, joiner: Joiner | None) -> _Found:
    if request.train_csv is None or request.test_csv is None:
        raise SettingsError("--train-csv and --test-csv go together")
    _check_alone(request)
    first, second = request.train_csv, request.test_csv
    found = _read(
        Path(first).name,
        f"CSV from {first} and {second}",
        lambda: (
            _read_csv(first, request.label_column, joiner),
            _read_csv(second, request.label_column, joiner),
        ),
    )
    if _speaks(joiner):
        _say_counting(found.train)
    return found


def _check_alone(request: DataRequest) -> None:
    if request.data != "auto":
        raise SettingsError("give either --data or --train-csv and --test-csv, not both")


def _read_csv(path: str | Path, label_column: str | int, joiner: Joiner | None = None) -> Examples:
    if joiner is None:
        features, labels = read_csv(path, label_column)
    else:
        features, labels = joiner(*read_csv_part(path, label_column, joiner.part, joiner.parts))
    columns = csv_columns(path, label_column)
    if columns.left_out and _speaks(joiner):
        notice(f"{path}: {_first_columns(columns)} only names the rows (pandas writes its index so): it is left out")
    return Examples(features, labels, Path(path), columns.features, columns.label)


def _speaks(joiner: Joiner | None) -> bool:
    """Return whether it is this of several processes that says what all of them see."""
    return joiner is None or joiner.part == 0


def _first_columns(columns: CsvColumns) -> str:
    """Name the columns that are left out."""
    names = (columns.names or ())[: columns.left_out]
    return " and ".join(f"column {place} ({name or 'without a name'})" for place, name in enumerate(names))


def _say_counting(train: Examples) -> None:
    """Say it if a feature counts the rows."""
    for place in counting_columns(train.features, named=train.feature_names is not None)[:1]:
        name = f"feature {place + 1}" if train.feature_names is None else f"the column {train.feature_names[place]!r}"
        notice(
            f"{train.source}: {name} counts the rows and is trained on like any other; if it is only their number, "
            "take it out of both files"
        )
