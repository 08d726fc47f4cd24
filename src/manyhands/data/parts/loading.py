"""From what a user names to a data set in parts: a folder of parts, or a file that is too large to be read as one."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, SettingsError, shown
from manyhands.core.parameters import parameter
from manyhands.core.shapes import check_shape
from manyhands.data.checks import check_sizes
from manyhands.data.cifar_files import is_cifar
from manyhands.data.dataset import Dataset, Examples
from manyhands.data.found import DEFAULT_TEST_SIZE
from manyhands.data.origin import Origin, Pixels, pixels_of
from manyhands.data.parts.description import Drawn, Table
from manyhands.data.parts.folder import FoundParts, find_parts, form_of, holds_parts, idx_in
from manyhands.data.parts.manifest import Manifest, is_sharded, open_tables, read_manifest
from manyhands.data.parts.reading import PartedData
from manyhands.data.parts.scan import Options, scan
from manyhands.data.pictures import holds_pictures
from manyhands.data.scaling import Summary, binary_from, scaling_from
from manyhands.runtime.cgroups import memory_room

_SAMPLE_ROWS = 1000
_TEST_BYTES = 64 << 20
"""Bytes of test rows that are kept in memory; more are read whenever they are needed."""
_OF_MEMORY = 4
"""A file of more than one in so many free bytes is read in parts."""


@dataclass(frozen=True)
class _Known:
    """A data set in parts, whoever has made them."""

    name: str
    note: str
    train: Table
    test: Table
    classes: NDArray[Any]
    summary: Summary
    dtype: str
    shape: tuple[int, ...]
    feature_names: tuple[str, ...] | None
    label_name: str | None
    checksum: str
    pixels: Pixels | None = None


class PartsRequest(NamedTuple):
    """What of a `manyhands.data.catalog.DataRequest` matters here."""

    path: Path
    options: Options
    train_size: int | str | None
    test_size: float | int | None
    scale: str
    binarize: Any
    shape: tuple[int, ...] | None
    validation: Any
    seed: int


def parts_at(path: Path) -> Path | None:
    """Return a path if it is a folder of parts, or a table so large that it is read in parts; else None."""
    if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name too long
        return path if _is_too_large(path) else None
    if is_sharded(path):
        return path
    if is_cifar(path) or holds_pictures(path):
        return None
    return path if holds_parts(path) or any(map(_is_too_large, idx_in(path))) else None


def _is_too_large(path: Path) -> bool:
    """Return whether a table's file takes so much of the free memory that it is read in parts."""
    try:
        size = path.stat().st_size
    except (OSError, ValueError):
        return False
    room = memory_room()
    return form_of(path) in ("csv", "parquet", "idx") and room is not None and size > room[0] // _OF_MEMORY


def load_parts(request: PartsRequest) -> Dataset:
    """Return a data set in parts, with every check that must come before training; its rows stay where they are.

    Raises
    ------
    DataError
        If a part is missing, changed, damaged, or unlike the others; names it.
    SettingsError
        If something is asked for that needs all rows in memory.
    """
    if request.validation is not None:
        raise SettingsError(
            f"{parameter('validation')} sets rows aside, which data in parts cannot: choose without, or data that fit "
            "into memory"
        )
    began = time.perf_counter()
    known = _known(request)
    scaling = (
        scaling_from(request.scale, known.summary)
        if request.binarize is None
        else binary_from(request.binarize, known.summary)
    )
    if request.binarize is None and request.scale in ("auto", "standard"):
        check_sizes(np.stack([known.summary.low, known.summary.high]).astype(known.dtype), request.path)
    data = PartedData(
        train=known.train,
        test=known.test,
        rows=_rows(request, known),
        classes=known.classes,
        dtype=known.dtype,
        threshold=scaling.threshold,
        checksum=known.checksum,
        low=known.summary.low,
        high=known.summary.high,
    )
    shape = _shape(request, known)
    train = scaling.table(*data.rows_between(data.train, 0, min(data.rows, _SAMPLE_ROWS)), sample_shape=shape)
    kept = min(data.test.rows, max(_TEST_BYTES // (data.width * data.stored.itemsize), 1))
    test = scaling.table(*data.rows_between(data.test, 0, kept), sample_shape=shape)
    pixels = known.pixels or pixels_of(train.features, shape, transposed=False)
    return Dataset(
        known.name,
        train,
        test,
        known.classes,
        scaling,
        known.note,
        time.perf_counter() - began,
        available=known.train.rows if data.rows < known.train.rows else None,
        all_rows=data.rows,
        feature_names=known.feature_names,
        label_name=known.label_name,
        origin=Origin(None, data.test.rows, zlib.crc32(known.checksum.encode()), pixels),
        parts=data,
    )


def _rows(request: PartsRequest, known: _Known) -> int:
    """Return how many training rows are used."""
    rows, available = request.train_size, known.train.rows
    if rows in (None, "all"):
        return available
    if not isinstance(rows, int) or not 1 <= rows <= available:
        wrong = parameter("train_size", rows)
        raise SettingsError(f"{wrong}: {known.name} has {available} training rows; ask for 1 to {available}")
    return rows


def _shape(request: PartsRequest, known: _Known) -> tuple[int, ...]:
    """Return the shape of a sample, as asked for or as stored."""
    if request.shape is None:
        return known.shape
    shape = check_shape(parameter("shape"), request.shape)
    if int(np.prod(shape)) != len(known.summary.low):
        raise SettingsError(
            f"{parameter('shape', shape)}: samples of {known.name} have {len(known.summary.low)} features"
        )
    return shape


def _known(request: PartsRequest) -> _Known:
    """Return what is known of the parts after they were verified, or scanned."""
    path = request.path
    if is_sharded(path):
        if request.test_size is not None:
            raise SettingsError(f"{parameter('test_size', request.test_size)}: the parts of {shown(path)} are divided")
        return _of_manifest(path, read_manifest(path))
    found = find_parts(path) if path.is_dir() else FoundParts(str(form_of(path)), ((path,),), ())
    if found is None:
        raise DataError("there are no parts in this folder", path=path)
    return _of_scan(request, found)


def _of_manifest(path: Path, manifest: Manifest) -> _Known:
    train, test = open_tables(path, manifest)
    return _Known(
        name=shown(path.resolve().name),
        note=f"{len(train.parts)} parts from {shown(path)} ({manifest.name})",
        train=train,
        test=test,
        classes=manifest.classes,
        summary=manifest.summary,
        dtype=manifest.dtype,
        shape=manifest.sample_shape,
        feature_names=manifest.feature_names,
        label_name=manifest.label_name,
        checksum=manifest.checksum,
        pixels=None if manifest.pixels is None else Pixels(**manifest.pixels),
    )


def _of_scan(request: PartsRequest, found: FoundParts) -> _Known:
    scanned = scan(found, request.options)
    train, test, note = scanned.train, scanned.test, f"{len(scanned.train.parts)} parts ({found.title})"
    note = f"{note} from {shown(request.path)}"
    if test.parts and request.test_size is not None:
        given = parameter("test_size", request.test_size)
        raise SettingsError(f"{given}: {shown(request.path)} has test rows of its own; leave it out")
    if not test.parts:
        count = _test_count(request, train.rows)
        train, test = (replace(train, drawn=Drawn(request.seed, count, test=each)) for each in (False, True))
        note = f"{note}; {count:,} rows drawn for testing, {parameter('seed', request.seed)}"
    return _Known(
        name=shown(request.path.resolve().name),
        note=note,
        train=train,
        test=test,
        classes=scanned.classes,
        summary=scanned.summary,
        dtype=scanned.dtype,
        shape=scanned.shape,
        feature_names=scanned.feature_names,
        label_name=scanned.label_name,
        checksum=f"{scanned.checksum:08x}" + (f" {train.drawn}" if train.drawn else ""),
    )


def _test_count(request: PartsRequest, rows: int) -> int:
    """Return how many rows are drawn for testing."""
    size = DEFAULT_TEST_SIZE if request.test_size is None else request.test_size
    count = int(np.ceil(size * rows)) if isinstance(size, float) else size
    if not 1 <= count < rows:
        raise SettingsError(
            f"{parameter('test_size', size)}: of the {rows} rows of {shown(request.path)}, 1 to {rows - 1} can be test "
            "rows"
        )
    return count


class TestRows:
    """The test rows of a data set in parts, read block by block as `manyhands.data.dataset.Examples`.

    Attributes
    ----------
    rows : int
        How many there are.
    drawn : bool
        Whether they were drawn from all rows, and are no parts of their own.
    checksum : int
        Of the data set.
    """

    def __init__(self, dataset: Dataset) -> None:
        assert dataset.parts is not None
        self._dataset, self._data = dataset, dataset.parts
        self.rows = dataset.test_rows
        self.drawn = self._data.test.drawn is not None
        self.checksum = 0 if dataset.origin is None else dataset.origin.checksum

    @property
    def size(self) -> int:
        """Bytes of all features."""
        return self.rows * self._data.width * self._data.stored.itemsize

    def blocks(self) -> Iterator[Examples]:
        """Yield all rows, some megabytes at a time."""
        for features, codes in self._data.blocks(self._data.test):
            yield self._examples(features, codes)

    def together(self) -> Examples:
        """Return all rows at once."""
        return self._examples(*self._data.rows_between(self._data.test, 0, self.rows))

    def _examples(self, features: NDArray[Any], codes: NDArray[np.int32]) -> Examples:
        shaped = features.reshape(len(features), *self._dataset.test.sample_shape)
        names, label = self._dataset.feature_names, self._dataset.label_name
        return Examples(shaped, self._dataset.classes[codes], feature_names=names, label_name=label)

    def check_unchanged(self) -> None:
        """Raise DataError if a part has changed."""
        self._data.check_unchanged()
