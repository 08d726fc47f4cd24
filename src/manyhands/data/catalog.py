"""Loading data sets by what a user names: known names, folders of IDX or CIFAR files, CSV files."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from numpy.typing import NDArray

from manyhands.core.choices import LABELS
from manyhands.core.errors import DataError, DownloadError, MissingDataError, OutputError, SettingsError, shown
from manyhands.core.parameters import parameter
from manyhands.core.shapes import check_shape
from manyhands.core.suggestions import did_you_mean
from manyhands.data import download
from manyhands.data.arrays import Arrays
from manyhands.data.cifar import CIFAR100
from manyhands.data.cifar_files import LAYOUTS, check_no_kind, cifar_files, is_cifar, read_cifar
from manyhands.data.columns import notice, say_counting
from manyhands.data.csv.header import Layout, find_layout
from manyhands.data.csv.reader import read_csv
from manyhands.data.dataset import Dataset, Examples, make_dataset
from manyhands.data.digits import read_digits
from manyhands.data.download import Published
from manyhands.data.folder import idx_files, read_pair
from manyhands.data.origin import Origin, checksum, kept_request, pixels_of, request_to_keep
from manyhands.data.scaling import check_binarize
from manyhands.data.shapes import shaped
from manyhands.data.split import for_test
from manyhands.runtime.atomic_files import cache_folder, home_hint, unusable

NAMES = ("auto", "mnist", "digits", "letters", "cifar10", "cifar100")
MNIST_FILES = {
    "train-images-idx3-ubyte.gz": Published(
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9912422
    ),
    "train-labels-idx1-ubyte.gz": Published("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28881),
    "t10k-images-idx3-ubyte.gz": Published("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1648877),
    "t10k-labels-idx1-ubyte.gz": Published("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4542),
}
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://yann.lecun.com/exdb/mnist/",
)
DEFAULT_TEST_SIZE = 0.2
_MNIST_DEFAULT_ROWS = 6000  # as Todorov et al. 2021
_PATIENT_SECONDS, _AUTO_SECONDS = 600.0, 12.0


@dataclass(frozen=True)
class DataRequest:
    """A request for a data set.

    Attributes
    ----------
    data
        ``"auto"``, a known name, a folder with four IDX files or those of CIFAR, CIFAR's archive, or arrays in memory.
    train_csv, test_csv
        Instead of ``data``: two CSV files.
    label_column
        Of the CSV files: number or name.
    train_size
        First training rows to use; None for the default (6,000 for MNIST, all otherwise).
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
    test_size
        Of one table without test rows: a share below 1, or a number of rows, to test with; None for the default (0.2).
    seed
        Of that division.

    Raises
    ------
    SettingsError
        If the threshold is no finite number, or a scaling is asked for beside it; if the labels are of an unknown kind
        or the shape is none.
    """

    data: str | Arrays = "auto"
    train_csv: str | Path | None = None
    test_csv: str | Path | None = None
    label_column: str | int = 0
    train_size: int | None = None
    scale: str = "auto"
    validation: int | Literal["auto"] | None = None
    binarize: float | Literal["auto"] | None = None
    labels: str | None = None
    shape: tuple[int, int, int] | None = None
    test_size: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_binarize(self.binarize, self.scale)
        if self.labels not in (None, *LABELS):
            raise SettingsError(f"unknown labels {self.labels!r}; choose one of {', '.join(LABELS)}")
        if self.shape is not None:  # a list, where it comes from JSON
            object.__setattr__(self, "shape", check_shape(parameter("shape"), self.shape))


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
    found = _find(request, joiner, shared=shared)
    exchanging = 0.0 if joiner is None else joiner.seconds
    dataset = make_dataset(
        found.name,
        found.train,
        found.test,
        train_size=found.default_rows if request.train_size is None else request.train_size,
        scale=request.scale,
        note=found.note,
        seconds=found.seconds - exchanging,
        validation=request.validation,
        binarize=request.binarize,
    )
    return replace(dataset, distributed=exchanging, origin=_origin(request, found))


def _origin(request: DataRequest, found: _Found) -> Origin:
    """Return where samples came from."""
    train, test = found.train, found.test
    pixels = pixels_of(train.features, train.sample_shape, transposed=train.is_transposed)
    asked = None if isinstance(request.data, Arrays) else request_to_keep(request, found.name, NAMES)
    return Origin(asked, len(test), checksum(test.features, test.labels), pixels)


def test_request(origin: Origin) -> DataRequest | None:
    """Return the request for the test samples of an origin; None if these were in memory. Errors as `kept_request`."""
    return None if origin.request is None else DataRequest(**kept_request(origin.request, DataRequest))


def way_of_reading(request: DataRequest) -> Literal["csv", "mapped", "whole"]:
    """Return how several processes can share the reading of what ``request`` asks for.

    ``csv``: each process parses a piece, see :class:`Joiner`. ``mapped``: each reads the rows that it needs.
    ``whole``: one process has to read everything.
    """
    if isinstance(request.data, Arrays):
        return "whole"
    if request.train_csv is not None:
        return "csv" if Path(request.train_csv).suffix != ".gz" else "whole"
    own = _data_folder(request.data if request.data != "auto" else "mnist")
    folder = Path(request.data) if request.data not in NAMES else own
    if folder is None or not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises for a name too long
        return "whole"
    try:
        found = idx_files(folder)
    except DataError:  # reading the files will raise it
        return "whole"
    return "whole" if any(path.name.lower().endswith(".gz") for path in found.values()) else "mapped"


def load_test(request: DataRequest) -> Examples:
    """Return only the test examples that ``request`` asks for; of CSV files, ``test_csv`` is enough.

    Raises
    ------
    DataError, SettingsError
        As :func:`load`.
    """
    if request.test_csv is not None and request.train_csv is None:
        _check_alone(request)
        return shaped(_read_csv(request.test_csv, request.label_column), request.shape)
    return _find(replace(request, train_size=1, validation=None)).test


class _Found(NamedTuple):
    """Samples with their name and source, and how many rows to use by default; ``seconds`` is the time of reading."""

    name: str
    train: Examples
    test: Examples
    note: str
    seconds: float
    default_rows: int | None = None


def _read(name: str, note: str, reader: Callable[[], tuple[Examples, Examples]]) -> _Found:
    """Read training and test samples, and time it: not finding files, downloading them or importing a reader."""
    start = time.perf_counter()
    train, test = reader()
    return _Found(name, train, test, note, time.perf_counter() - start)


def _find(request: DataRequest, joiner: Joiner | None = None, *, shared: bool = False) -> _Found:
    """Read the data set that was asked for, and give samples their shape."""
    found = _read_any(request, joiner, shared=shared)
    return found._replace(train=shaped(found.train, request.shape), test=shaped(found.test, request.shape))


def _read_any(request: DataRequest, joiner: Joiner | None, *, shared: bool) -> _Found:
    """Read the data set that was asked for."""
    if request.train_csv is not None or request.test_csv is not None:
        return _from_csv(request, joiner)
    if isinstance(request.data, Arrays):
        return _from_arrays(request.data, request)
    if request.test_size is not None:
        raise SettingsError(f"{parameter('test_size')} divides one table, and {request.data} has test samples already")
    if request.data in LAYOUTS or (request.data not in NAMES and not unusable(request.data)):
        where = _known_folder(request.data, cifar_files) if request.data in LAYOUTS else Path(request.data)
        if request.data in LAYOUTS or is_cifar(where):
            return _from_cifar(where, request.data, request)
    check_no_kind(request.labels)
    rows = request.train_size if request.validation is None else None  # rows for validation may be any
    if request.data == "auto":
        return _auto(request, shared=shared)
    if request.data == "digits":
        return _read("digits", "scikit-learn's embedded digits, split 80/20", read_digits)
    if request.data == "mnist":
        return _mnist(_PATIENT_SECONDS, request, shared=shared)
    if request.data == "letters":
        folder = _known_folder("letters", lambda folder: idx_files(folder).values())
        return _read("letters", f"letters from {shown(folder)}", lambda: _from_folder(folder, rows, shared=shared))
    folder = Path(request.data)
    if unusable(request.data) or not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises for a name too long
        kind = "it is a file; " if os.path.isfile(folder) else ""  # noqa: PTH113 - it never raises
        hint = did_you_mean(request.data, NAMES) or (
            f"; {kind}choose one of {', '.join(NAMES)}, or give a folder with four IDX files or those of CIFAR, or "
            f"CIFAR's .tar.gz{home_hint(request.data)}"
        )
        raise MissingDataError(f"there is no data set and no folder {request.data!r}{hint}")
    return _read(
        shown(folder.resolve().name),
        f"IDX files from {shown(folder)}",
        lambda: _from_folder(folder, rows, shared=shared),
    )


def _from_arrays(data: Arrays, request: DataRequest) -> _Found:
    """Return samples in memory; if they are one table, it is divided."""
    if data.test is not None:
        if request.test_size is not None:
            raise SettingsError(f"{parameter('test_size')} divides one table, and there are test rows already")
        return _Found("arrays", data.train, data.test, "arrays in memory", 0.0)
    size = DEFAULT_TEST_SIZE if request.test_size is None else request.test_size
    kept, drawn = for_test(data.train.labels, size, request.seed)
    note = f"arrays in memory, of which {len(drawn):,} of {len(data.train):,} rows are for the test"
    return _Found("arrays", data.train.take(kept), data.train.take(drawn), note, 0.0)


def _auto(request: DataRequest, *, shared: bool) -> _Found:
    """Read MNIST if it is here or can be downloaded within seconds, else digits."""
    try:
        return _mnist(_AUTO_SECONDS, request, shared=shared)
    except (DownloadError, OutputError):
        note = "scikit-learn's embedded digits, as MNIST is neither in MANYHANDS_DATA nor could be downloaded quickly"
        return _read("digits", note, read_digits)


def _mnist(seconds: float, request: DataRequest, *, shared: bool) -> _Found:
    """Read MNIST from MANYHANDS_DATA/mnist, else from the cache, filled if necessary."""
    rows = None if request.validation is not None else request.train_size or _MNIST_DEFAULT_ROWS
    own = _data_folder("mnist")
    if own is not None and own.is_dir():
        for name, published in MNIST_FILES.items():
            if os.path.isfile(own / name):  # noqa: PTH113 - it never raises
                download.check(own / name, published)
        found = _read("mnist", f"MNIST from {shown(own)}", lambda: _from_folder(own, rows, shared=shared))
    else:
        folder = cache_folder() / "mnist"
        mirrors = os.environ.get("MANYHANDS_MNIST_MIRRORS", "").split() or MNIST_MIRRORS
        download.fetch_all(MNIST_FILES, mirrors, folder, seconds=seconds)
        found = _read("mnist", f"MNIST from {shown(folder)}", lambda: _from_cache(folder, rows))
    return found._replace(default_rows=min(_MNIST_DEFAULT_ROWS, len(found.train.labels)))


def _from_cache(folder: Path, rows: int | None) -> tuple[Examples, Examples]:
    """Read the published files and no others, each with its checksum: others may be able to write into the cache."""
    part = {"train": "train", "test": "t10k"}
    found = {
        (where, what): folder / f"{part[where]}-{what}-idx{dimensions}-ubyte.gz"
        for where in part
        for what, dimensions in (("images", 3), ("labels", 1))
    }
    return read_pair(found, "train", rows, published=MNIST_FILES), read_pair(found, "test", published=MNIST_FILES)


def _known_folder(name: str, files: Callable[[Path], Iterable[Path]]) -> Path:
    """Return the folder of a data set that cannot be downloaded; ``files`` are those that would be read in it."""
    own, cached = _data_folder(name), cache_folder() / name
    if own is not None and own.is_dir():
        return own
    if os.path.isdir(cached):  # noqa: PTH112 - Path.is_dir raises where the folder may not be entered
        _check_mine(cached, files)
        return cached
    kind = LAYOUTS[name].title if name in LAYOUTS else "your own IDX"
    raise MissingDataError(
        f"the data set {name!r} is not in {' nor in '.join(shown(each) for each in (own, cached) if each)}; it cannot "
        f"be downloaded: set MANYHANDS_DATA to the folder that has {name}/, or give a folder with {kind} files "
        f"to {parameter('data')}"
    )


def _check_mine(folder: Path, files: Callable[[Path], Iterable[Path]]) -> None:
    """Refuse a folder of the cache, which the user has not chosen, if other users can write into it."""
    for path in (folder, *files(folder)):
        found = path.stat()
        if found.st_mode & stat.S_IWOTH or found.st_uid not in (0, os.geteuid()):
            raise DataError(
                "other users can write here, and no checksum of these files is known: change its owner or its mode "
                f"(chmod o-w), or name the folder yourself ({parameter('data')})",
                path=path,
            )


def _data_folder(name: str) -> Path | None:
    base = os.environ.get("MANYHANDS_DATA")
    return Path(base) / name if base else None


def _from_folder(folder: Path, rows: int | None, *, shared: bool) -> tuple[Examples, Examples]:
    found = idx_files(folder)
    return read_pair(found, "train", rows, shared=shared), read_pair(found, "test", shared=shared)


def _from_cifar(path: Path, data: str, request: DataRequest) -> _Found:
    """Read CIFAR-10 or CIFAR-100."""
    rows = request.train_size if request.validation is None else None
    expected = LAYOUTS.get(data)
    name = data if expected else shown(path.resolve().name)
    start = time.perf_counter()
    found = read_cifar(path, request.labels, rows, expected)
    kind = f", {request.labels or 'fine'} labels" if found.layout is CIFAR100 else ""
    note = f"{found.layout.title} from {shown(path)}{kind}"
    return _Found(name, found.train, found.test, note, time.perf_counter() - start)


def _from_csv(request: DataRequest, joiner: Joiner | None) -> _Found:
    if request.train_csv is None or request.test_csv is None:
        raise SettingsError(f"{parameter('train_csv')} and {parameter('test_csv')} go together")
    _check_alone(request)
    first, second = request.train_csv, request.test_csv
    found = _read(
        shown(Path(first).name),
        f"CSV from {shown(first)} and {shown(second)}",
        lambda: (
            _read_csv(first, request.label_column, joiner),
            _read_csv(second, request.label_column, joiner),
        ),
    )
    if _speaks(joiner):
        say_counting(found.train.features, found.train.feature_names, found.train.source)
    return found


def _check_alone(request: DataRequest) -> None:
    check_no_kind(request.labels)
    if request.data != "auto":
        raise SettingsError(
            f"give either {parameter('data')} or {parameter('train_csv')} and {parameter('test_csv')}, not both"
        )


def _read_csv(path: str | Path, label_column: str | int, joiner: Joiner | None = None) -> Examples:
    if joiner is None:
        features, labels = read_csv(path, label_column)
    else:
        features, labels = joiner(*read_csv(path, label_column, joiner.part, joiner.parts))
    layout = find_layout(path, label_column)
    if layout.left_out and _speaks(joiner):
        notice(f"{path}: {_left_out(layout)} only names the rows (pandas writes its index so): it is left out")
    return Examples(features, labels, Path(path), layout.features, layout.label)


def _speaks(joiner: Joiner | None) -> bool:
    """Return whether this process prints what all of several processes find."""
    return joiner is None or joiner.part == 0


def _left_out(layout: Layout) -> str:
    """Return the columns that are left out, in words."""
    names = enumerate(layout.names[: layout.left_out])
    return " and ".join(f"column {place} ({name or 'without a name'})" for place, name in names)
