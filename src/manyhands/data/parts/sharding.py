"""Writing a data set in parts: rows are dealt out at random, in memory that does not grow with them.

Blocks of rows are distributed over the parts, as many to each as chance gives it of the places that are left; then each
part is shuffled by itself. The folder has a temporary name until everything in it is on the disk, so that what is left
of a process that was killed is never taken for data.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import OutputError, SettingsError, shown
from manyhands.core.parameters import parameter
from manyhands.core.randomness import generator
from manyhands.data.dataset import Dataset
from manyhands.data.parts.manifest import MANIFEST, Manifest, PartFiles
from manyhands.data.parts.statistics import Statistics
from manyhands.runtime.atomic_files import make_output_folder, unusable

_SHUFFLED_BYTES = 64 << 20
"""Of rows of a part that are shuffled at once."""
_MOST_PARTS, _MOST_ROWS = 10_000, 10**9
_OLD_SECONDS = 60.0
_PREFIX, _SUFFIX = ".manyhands.", ".parts"


def shard(
    dataset: Dataset, destination: str | Path, parts: int, seed: int = 0, progress: Callable[[int], None] | None = None
) -> Manifest:
    """Write a data set as a folder of parts, whole or not at all.

    Parameters
    ----------
    dataset
        Loaded with the scaling ``"none"``: what is written are values as they are stored. It may be in parts itself.
    destination
        The folder; there must be nothing of this name.
    parts
        Of the training rows: their sizes differ by one row at most. Test rows have as many parts, if there are rows
        enough for parts of the same size.
    seed
        Of the order of the rows.
    progress
        Called with the number of rows that have been distributed.

    Raises
    ------
    SettingsError
        If there cannot be so many parts.
    OutputError
        If the folder is there, or cannot be written; nothing is left behind then.
    """
    if dataset.rows >= _MOST_ROWS:
        raise SettingsError(f"{dataset.name} has {dataset.rows:,} rows; at most {_MOST_ROWS:,} can be dealt out")
    if not 1 <= parts <= min(dataset.rows, _MOST_PARTS):
        raise SettingsError(
            f"{parameter('parts', parts)}: {dataset.rows} rows can be in 1 to {min(dataset.rows, _MOST_PARTS)} parts"
        )
    target = check_destination(destination)
    make_output_folder(target.parent)
    _remove_abandoned(target.parent)
    folder = target.parent / f"{_PREFIX}{os.urandom(8).hex()}{_SUFFIX}"
    try:
        folder.mkdir(0o700)
        with _locked(folder):
            manifest = _write(dataset, folder, parts, seed, progress or (lambda _: None))
            _finish(folder, target)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write {shown(destination)}: {error.strerror or error}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return manifest


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder that ends with the process: by it the folders of dead ones are known."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove_abandoned(parent: Path) -> None:
    """Remove what processes that were killed have left of such folders."""
    for folder in parent.glob(f"{_PREFIX}*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime < _OLD_SECONDS:  # its owner may be about to lock it
                continue
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def check_destination(destination: str | Path) -> Path:
    """Return the folder to be made; OutputError if there is something of this name, or none can be."""
    if problem := unusable(destination):
        raise OutputError(f"cannot write {shown(destination)}: {problem}")
    if os.path.lexists(destination):
        raise OutputError(f"cannot write {shown(destination)}: there is something of this name; remove it first")
    return Path(os.path.realpath(destination))


def _write(dataset: Dataset, folder: Path, parts: int, seed: int, progress: Callable[[int], None]) -> Manifest:
    statistics = Statistics(dataset.features)
    of_test = min(parts, max(1, dataset.test_rows * parts // dataset.rows)) if dataset.test_rows else 0
    written = {}
    roles: list[tuple[Literal["train", "test"], int, int]]
    roles = [("train", dataset.rows, parts), ("test", dataset.test_rows, of_test)]
    for role, rows, count in roles:
        dealt = _Dealer(dataset, folder, role, rows, count, seed)
        for features, codes in dataset.stored_rows(role):
            if role == "train":
                statistics.add(features)
            dealt.deal(features, codes)
            progress(len(features))
        written[role] = tuple(dealt.finish(number) for number in range(count))
    pixels = None if dataset.origin is None or dataset.origin.pixels is None else asdict(dataset.origin.pixels)
    manifest = Manifest(
        name=dataset.name,
        dtype=dataset.train.features.dtype.name,
        sample_shape=dataset.train.sample_shape,
        classes=dataset.classes,
        summary=statistics.summary(),
        train=written["train"],
        test=written["test"],
        seed=seed,
        feature_names=dataset.feature_names,
        label_name=dataset.label_name,
        pixels=pixels,
    )
    with _durable(folder / MANIFEST) as file:
        file.write(manifest.text().encode())
    return manifest


class _Dealer:
    """Deals the rows of one role out to its parts."""

    def __init__(self, dataset: Dataset, folder: Path, role: str, rows: int, parts: int, seed: int) -> None:
        self._folder, self._role, self._seed = folder, role, seed
        self._width, self._dtype = dataset.features, dataset.train.features.dtype
        self._code = np.dtype(np.uint8 if len(dataset.classes) <= 256 else np.int32)
        self._classes = len(dataset.classes)
        self._left = np.diff(np.arange(parts + 1, dtype=np.int64) * rows // max(parts, 1))
        self._sizes = self._left.copy()
        self._block = 0

    def deal(self, features: NDArray[Any], codes: NDArray[np.int32]) -> None:
        """Give every part as many of these rows as chance gives it of the places that are left."""
        draws = generator(self._seed, f"{self._role} rows to parts", self._block)
        taken = draws.multivariate_hypergeometric(self._left, len(features), method="marginals")
        order = draws.permutation(len(features))
        begin = 0
        for part in np.flatnonzero(taken).tolist():
            rows = order[begin : begin + taken[part]]
            begin += int(taken[part])
            for what, array in (("features", features), ("labels", codes.astype(self._code))):
                with open(self._raw(part, what), "ab", buffering=0) as file:
                    _write_all(file, array[rows])
        self._left -= taken
        self._block += 1

    def finish(self, part: int) -> PartFiles:
        """Shuffle a part, and write it as two arrays."""
        rows = int(self._sizes[part])
        at_once = max(1, _SHUFFLED_BYTES // (self._width * self._dtype.itemsize))
        names = {what: f"{self._role}-{part:05d}-{what}.npy" for what in ("features", "labels")}
        sizes, checksums = [], []
        counts = np.zeros(self._classes, np.int64)
        for what, dtype, shape in (
            ("features", self._dtype, (rows, self._width)),
            ("labels", self._code, (rows,)),
        ):
            with open(self._raw(part, what), "rb") as raw, _durable(self._folder / names[what]) as file:
                sink = _Summed(file)
                np.lib.format.write_array_header_1_0(sink, _header(dtype, shape))
                for number, begin in enumerate(range(0, rows, at_once)):
                    count = min(at_once, rows - begin)
                    stored = np.fromfile(raw, dtype, count * (self._width if what == "features" else 1))
                    stored = stored.reshape(count, *shape[1:])
                    draws = generator(self._seed, f"{self._role} rows of part {part}", number)
                    shuffled = stored[draws.permutation(count)]
                    sink.write(shuffled.reshape(-1).view(np.uint8).data)
                    if what == "labels":
                        counts += np.bincount(shuffled, minlength=self._classes)
            self._raw(part, what).unlink()
            sizes.append(sink.size)
            checksums.append(sink.checksum)
        return PartFiles(
            names["features"],
            names["labels"],
            rows,
            (sizes[0], sizes[1]),
            (checksums[0], checksums[1]),
            tuple(counts.tolist()),
        )

    def _raw(self, part: int, what: str) -> Path:
        return self._folder / f"{self._role}-{part:05d}-{what}.raw"


class _Summed:
    """A file of which length and checksum are known when it is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.size, self.checksum = file, 0, 0

    def write(self, data: Any) -> int:
        """Write bytes."""
        self.checksum = zlib.crc32(data, self.checksum)
        self.size += len(data)
        self._file.write(data)
        return len(data)


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
    return {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}


def _write_all(file: Any, array: NDArray[Any]) -> None:
    """Write an array's bytes to an unbuffered file, which may take a part of them at a time."""
    view = memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    while len(view):
        view = view[file.write(view) :]


@contextlib.contextmanager
def _durable(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file that is on the disk when the block ends."""
    with open(path, "xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _finish(folder: Path, target: Path) -> None:
    """Give the folder its name, once everything in it is on the disk; nothing that has it meanwhile is replaced."""
    mask = os.umask(0o077)
    os.umask(mask)
    folder.chmod(0o777 & ~mask)
    _sync(folder)
    if os.path.lexists(target):
        raise OutputError(f"cannot write {shown(target)}: there is something of this name now; remove it first")
    folder.rename(target)
    _sync(target.parent)


def _sync(folder: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
