"""Loading data sets by what a user names: known names, folders of IDX or CIFAR files, CSV files."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Literal

from manyhands.core.errors import DataError, DownloadError, MissingDataError, OutputError, SettingsError, shown
from manyhands.core.parameters import parameter
from manyhands.core.suggestions import did_you_mean
from manyhands.data import download
from manyhands.data.array_files import read_npz, refuse_npy
from manyhands.data.arrays import Arrays
from manyhands.data.cifar import CIFAR100
from manyhands.data.cifar_files import LAYOUTS, check_no_kind, cifar_files, is_cifar, read_cifar
from manyhands.data.columns import notice
from manyhands.data.csv.tables import Joiner, read_table, read_tables
from manyhands.data.dataset import Dataset, Examples, make_dataset
from manyhands.data.digits import read_digits
from manyhands.data.folder import has_idx_files, has_idx_names, idx_files, read_pair, visible
from manyhands.data.found import DEFAULT_TEST_SIZE, Found, divided, read_timed
from manyhands.data.glyphs import read_glyphs
from manyhands.data.joined import parts_of, read_joined
from manyhands.data.known_folders import data_folder, known_folder
from manyhands.data.mnist import MNIST_FILES, MNIST_MIRRORS
from manyhands.data.origin import Origin, checksum, kept_request, pixels_of, request_to_keep, source_of
from manyhands.data.parquet import read_parquet
from manyhands.data.parts.loading import PartsRequest, TestRows, load_parts, parts_at
from manyhands.data.parts.scan import Options
from manyhands.data.pictures import holds_pictures, read_pictures
from manyhands.data.request import DataRequest as DataRequest
from manyhands.data.request import csv_of as csv_of
from manyhands.data.shapes import shaped
from manyhands.runtime.atomic_files import cache_folder, home_hint, unusable

NAMES = ("auto", "mnist", "digits", "letters", "glyphs", "cifar10", "cifar100")
_TABLES = (".csv", ".tsv", ".npz", ".npy", ".parquet")
_PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth")
_IN_FOLDERS = (
    "expected are four IDX files (such as train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
    "t10k-labels-idx1-ubyte, plain or .gz), the files of CIFAR, or pictures by class (CLASS/*.png, or "
    "train/CLASS/*.png and test/CLASS/*.png)"
)
_PATHS = "a folder of IDX files, CIFAR's files or pictures by class, a .csv, .npz or .parquet file, or CIFAR's .tar.gz"
_MNIST_DEFAULT_ROWS = 6000  # as Todorov et al. 2021
_PATIENT_SECONDS, _AUTO_SECONDS = 600.0, 12.0


def load(request: DataRequest, joiner: Joiner | None = None, *, shared: bool = False) -> Dataset:
    """Return the data set that ``request`` asks for.

    Parameters
    ----------
    request
        What to load.
    joiner
        How several processes that call this at the same time share the reading of CSV files.
    shared
        Whether several processes call this at the same time to read plain IDX files.

    Raises
    ------
    DataError
        If it is not there or not usable; see `manyhands.core.errors`.
    SettingsError
        If the request contradicts itself.
    """
    if (parted := _in_parts(request)) is not None:
        return _load_parts(request, parted)
    found = _find(request, joiner, shared=shared)
    test = found.test
    assert test is not None
    exchanging = 0.0 if joiner is None else joiner.seconds
    dataset = make_dataset(
        found.name,
        found.train,
        test,
        train_size=found.default_rows if request.train_size is None else _number(request.train_size),
        scale=request.scale,
        note=found.note,
        seconds=found.seconds - exchanging,
        validation=request.validation,
        binarize=request.binarize,
    )
    source = None if isinstance(request.data, Arrays) else source_of(request, found.name, _known_names(request))
    origin = _origin(request, found.train, test, found.name)
    return replace(dataset, distributed=exchanging, origin=origin, source=source)


def _in_parts(request: DataRequest) -> Path | None:
    """Return the folder of parts, or the large file, that a request names; None if it names something else."""
    if request.csv is not None and request.train_csv is None and request.test_csv is None:
        return parts_at(Path(request.csv))
    if isinstance(request.data, Arrays) or request.data in NAMES or unusable(request.data):
        return None
    return parts_at(Path(request.data))


def _load_parts(request: DataRequest, path: Path) -> Dataset:
    """Return the data set in parts that a request names."""
    check_no_kind(request.labels)
    parts = PartsRequest(
        path,
        Options(request.label_column, request.delimiter),
        *(request.train_size, request.test_size, request.scale, request.binarize, request.shape),
        *(request.validation, request.seed),
    )
    dataset = load_parts(parts)
    assert dataset.origin is not None
    names = _known_names(request)
    origin = replace(dataset.origin, request=request_to_keep(request, dataset.name, names))
    return replace(dataset, origin=origin, source=source_of(request, dataset.name, names))


def parted_test(request: DataRequest, *, kept: bool = False) -> TestRows | None:
    """Return the test rows that a request names, if they are in parts and stay there; else None. See `load_test`."""
    path = _in_parts(request) if request.test_csv is None else None
    if path is None:
        return None
    found = TestRows(_load_parts(replace(request, train_size=None, validation=None), path))
    if found.drawn and not kept:
        _say_drawn(request)
    return found


def _origin(request: DataRequest, train: Examples, test: Examples, name: str) -> Origin:
    """Return where samples came from."""
    pixels = pixels_of(train.features, train.sample_shape, transposed=train.is_transposed)
    asked = None if isinstance(request.data, Arrays) else request_to_keep(request, name, _known_names(request))
    return Origin(asked, len(test), checksum(test.features, test.labels), pixels)


def _known_names(request: DataRequest) -> Collection[str]:
    """Return the names that are no paths, that of joined data among them."""
    data = str(request.data)
    return (*NAMES, data) if parts_of(data) else NAMES


def test_request(origin: Origin) -> DataRequest | None:
    """Return the request for the test samples of an origin; None if these were in memory. Errors as `kept_request`."""
    return None if origin.request is None else DataRequest(**kept_request(origin.request, DataRequest))


def _number(train_size: int | Literal["all"]) -> int | None:
    """Return a number of rows; None for all."""
    return None if isinstance(train_size, str) else train_size


def way_of_reading(request: DataRequest) -> Literal["csv", "mapped", "whole", "parts"]:
    """Return how several processes can share the reading of what ``request`` asks for.

    ``csv``: each process parses a piece, see :class:`Joiner`. ``mapped``: each reads the rows that it needs.
    ``parts``: each reads its own while it trains. ``whole``: one process has to read everything.
    """
    if _in_parts(request) is not None:
        return "parts"
    table = request.train_csv if request.csv is None else request.csv
    if isinstance(request.data, Arrays):
        return "whole"
    if table is not None:
        return "csv" if Path(table).suffix != ".gz" else "whole"
    own = data_folder(request.data if request.data != "auto" else "mnist")
    folder = Path(request.data) if request.data not in NAMES else own
    if folder is None or not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises for a name too long
        return "whole"
    try:
        found = idx_files(folder)
    except DataError:  # reading the files will raise it
        return "whole"
    return "whole" if any(path.name.lower().endswith(".gz") for path in found.values()) else "mapped"


def load_test(request: DataRequest, *, kept: bool = False) -> Examples:
    """Return only the test examples that ``request`` asks for; of CSV files, ``test_csv`` is enough.

    ``kept`` says that the request is that of the training itself, so that one table is divided as it was there.

    Raises
    ------
    DataError, SettingsError
        As :func:`load`.
    """
    if request.test_csv is not None and request.train_csv is None and request.csv is None:
        _check_one_source(request)
        return shaped(read_table(request.test_csv, request.csv_format), request.shape)
    if (parted := parted_test(request, kept=kept)) is not None:
        return parted.together()
    read = _read_any(replace(request, train_size=1, validation=None), None, shared=False)
    if read.test is None and not kept:
        _say_drawn(request)
    test = divided(read, request.test_size, request.seed).test
    assert test is not None
    return shaped(test, request.shape)


def _say_drawn(request: DataRequest) -> None:
    """Say that test rows are drawn from all rows, by numbers which the training must have had, too."""
    size = DEFAULT_TEST_SIZE if request.test_size is None else request.test_size
    notice(
        f"the test rows are those that {parameter('seed', request.seed)} and {parameter('test_size', size)} draw: "
        "a model that was trained with other values has seen some of them"
    )


def _find(request: DataRequest, joiner: Joiner | None = None, *, shared: bool = False) -> Found:
    """Read the data set that was asked for, and give samples their shape."""
    found = divided(_read_any(request, joiner, shared=shared), request.test_size, request.seed)
    assert found.test is not None
    return found._replace(train=shaped(found.train, request.shape), test=shaped(found.test, request.shape))


def _read_any(request: DataRequest, joiner: Joiner | None, *, shared: bool) -> Found:
    """Read the data set that was asked for."""
    if (request.csv, request.train_csv, request.test_csv) != (None, None, None):
        return _from_csv(request, joiner)
    if isinstance(request.data, Arrays):
        return Found("arrays", request.data.train, request.data.test, "arrays in memory", 0.0)
    if (names := parts_of(request.data)) is not None:
        check_no_kind(request.labels)
        return read_joined(names, lambda name: _read_any(DataRequest(name, train_size="all"), None, shared=shared))
    if request.data in LAYOUTS or (request.data not in NAMES and not unusable(request.data)):
        where = known_folder(request.data, cifar_files) if request.data in LAYOUTS else Path(request.data)
        if request.data in LAYOUTS or is_cifar(where):
            return _from_cifar(where, request.data, request)
    check_no_kind(request.labels)
    rows = request.first_rows
    if request.data == "auto":
        return _auto(request, shared=shared)
    if request.data == "digits":
        return read_timed("digits", "scikit-learn's embedded digits, split 80/20", read_digits)
    if request.data == "glyphs":
        return read_glyphs()
    if request.data == "mnist":
        return _mnist(_PATIENT_SECONDS, request, shared=shared)
    if request.data == "letters":
        folder = known_folder("letters", lambda folder: idx_files(folder).values())
        return read_timed("letters", f"letters from {shown(folder)}", lambda: _from_folder(folder, rows, shared=shared))
    return _from_path(request.data, request, rows, shared=shared)


def _from_path(data: str, request: DataRequest, rows: int | None, *, shared: bool) -> Found:
    """Read the folder or the file that ``data`` names."""
    path = Path(data)
    if not unusable(data) and os.path.isfile(path):  # noqa: PTH113 - it never raises
        return _from_file(path, request)
    if unusable(data) or not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name too long
        others = f"; choose one of {', '.join(NAMES)}, or give {_PATHS}{home_hint(data)}"
        raise MissingDataError(f"there is no data set, folder or file {data!r}{did_you_mean(data, NAMES) or others}")
    if not has_idx_files(path) and holds_pictures(path):
        return read_pictures(path)
    _check_folder(path)
    note = f"IDX files from {shown(path)}{_roles(path)}"
    return read_timed(shown(path.resolve().name), note, lambda: _from_folder(path, rows, shared=shared))


def _from_file(path: Path, request: DataRequest) -> Found:
    """Read a file by the suffix of its name."""
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return read_npz(path)
    if suffix == ".npy":
        raise refuse_npy(path)
    if suffix in (".parquet", ".pq"):
        return read_parquet(path, request.label_column)
    pickled = "; pickles are never loaded: save the arrays with numpy.savez" if suffix in _PICKLES else ""
    raise DataError(
        f"nothing reads a file with the suffix {suffix or '(none)'!r}{pickled}: give {_PATHS}; a CSV file with another "
        f"name is {parameter('csv', str(path))}",
        path=path,
    )


def _roles(folder: Path) -> str:
    """Return which IDX files are for what, in words, where their names alone do not say it."""
    if has_idx_names(folder):
        return ""
    found = {key: shown(path.name) for key, path in idx_files(folder).items()}
    train, test = (f"{found[part, 'images']} and {found[part, 'labels']}" for part in ("train", "test"))
    return f": {train} for training, {test} for testing"


def _check_folder(folder: Path) -> None:
    """Refuse a folder that has neither IDX files nor pictures; name the tables in it."""
    if has_idx_files(folder):
        return
    tables = [path.name for path in visible(folder) if path.suffix.lower() in _TABLES]
    hint = f"; it has {', '.join(map(shown, tables[:5]))}: give the path of a file" if tables else ""
    raise MissingDataError(f"no data set in this folder; {_IN_FOLDERS}{hint}", path=folder)


def _auto(request: DataRequest, *, shared: bool) -> Found:
    """Read MNIST if it is here or can be downloaded within seconds, else digits."""
    try:
        return _mnist(_AUTO_SECONDS, request, shared=shared)
    except (DownloadError, OutputError):
        note = "scikit-learn's embedded digits, as MNIST is neither in MANYHANDS_DATA nor could be downloaded quickly"
        return read_timed("digits", note, read_digits)


def _mnist(seconds: float, request: DataRequest, *, shared: bool) -> Found:
    """Read MNIST from MANYHANDS_DATA/mnist, else from the cache, filled if necessary."""
    rows = request.first_rows
    if request.train_size is None and request.validation is None:
        rows = _MNIST_DEFAULT_ROWS
    own = data_folder("mnist")
    if own is not None and own.is_dir():
        for name, published in MNIST_FILES.items():
            if os.path.isfile(own / name):  # noqa: PTH113 - it never raises
                download.check(own / name, published)
        found = read_timed("mnist", f"MNIST from {shown(own)}", lambda: _from_folder(own, rows, shared=shared))
    else:
        folder = cache_folder() / "mnist"
        mirrors = os.environ.get("MANYHANDS_MNIST_MIRRORS", "").split() or MNIST_MIRRORS
        download.fetch_all(MNIST_FILES, mirrors, folder, seconds=seconds)
        found = read_timed("mnist", f"MNIST from {shown(folder)}", lambda: _from_cache(folder, rows))
    return found._replace(default_rows=min(_MNIST_DEFAULT_ROWS, len(found.train)))


def _from_cache(folder: Path, rows: int | None) -> tuple[Examples, Examples]:
    """Read the published files and no others, each with its checksum: others may be able to write into the cache."""
    part = {"train": "train", "test": "t10k"}
    found = {
        (where, what): folder / f"{part[where]}-{what}-idx{dimensions}-ubyte.gz"
        for where in part
        for what, dimensions in (("images", 3), ("labels", 1))
    }
    return read_pair(found, "train", rows, published=MNIST_FILES), read_pair(found, "test", published=MNIST_FILES)


def _from_folder(folder: Path, rows: int | None, *, shared: bool) -> tuple[Examples, Examples]:
    found = idx_files(folder)
    return read_pair(found, "train", rows, shared=shared), read_pair(found, "test", shared=shared)


def _from_cifar(path: Path, data: str, request: DataRequest) -> Found:
    """Read CIFAR-10 or CIFAR-100."""
    rows = request.first_rows
    expected = LAYOUTS.get(data)
    name = data if expected else shown(path.resolve().name)
    start = time.perf_counter()
    found = read_cifar(path, request.labels, rows, expected)
    kind = f", {request.labels or 'fine'} labels" if found.layout is CIFAR100 else ""
    note = f"{found.layout.title} from {shown(path)}{kind}"
    return Found(name, found.train, found.test, note, time.perf_counter() - start)


def _from_csv(request: DataRequest, joiner: Joiner | None) -> Found:
    """Read the CSV files that were asked for as such."""
    if request.csv is None and (request.train_csv is None or request.test_csv is None):
        raise SettingsError(
            f"{parameter('train_csv')} and {parameter('test_csv')} go together; one file with all rows is "
            f"{parameter('csv')}"
        )
    _check_one_source(request)
    train = request.train_csv if request.csv is None else request.csv
    assert train is not None
    return read_tables(train, request.test_csv, request.csv_format, joiner)


def _check_one_source(request: DataRequest) -> None:
    """Check that CSV files are the only data."""
    check_no_kind(request.labels)
    if request.data != "auto" or (request.csv is not None and (request.train_csv or request.test_csv) is not None):
        raise SettingsError(
            f"give either {parameter('data')}, or {parameter('csv')}, or {parameter('train_csv')} and "
            f"{parameter('test_csv')}"
        )
