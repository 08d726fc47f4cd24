"""The files of CIFAR-10 and CIFAR-100: found in a folder or in the published archive, and read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, MissingDataError, SettingsError, shown
from manyhands.core.parameters import parameter
from manyhands.data.cifar import CIFAR10, CIFAR100, NAMES_BYTES, Images, LabelByte, Layout, blocks_of, read_names
from manyhands.data.dataset import Examples
from manyhands.data.filestate import FileState
from manyhands.data.folder import has_idx_names, one_of, visible
from manyhands.data.packed import opened, watched
from manyhands.data.tar import read_members

_BINARY = re.compile(r"(data_batch_[1-5]|test_batch|(train|test)(-\d+)?)\.bin(\.gz)?", re.IGNORECASE)
_ARCHIVE = re.compile(r"cifar-100?-binary\.tar(\.gz)?", re.IGNORECASE)
_ANY_ARCHIVE = re.compile(r".+\.(tar|tar\.gz|tgz)", re.IGNORECASE)
_NAMES_FILES = tuple(each.names_file for layout in (CIFAR10, CIFAR100) for each in layout.label_bytes)
LAYOUTS = {"cifar10": CIFAR10, "cifar100": CIFAR100}


class Cifar(NamedTuple):
    """Training and test images, which of the data sets they are, and whether the labels have names."""

    layout: Layout
    train: Examples
    test: Examples


class Stored(NamedTuple):
    """How many images there are, and whether some of them have to be unpacked."""

    layout: Layout
    train: int
    test: int
    packed: bool


def is_cifar(path: Path) -> bool:
    """Return whether a path seems to be an archive, or a folder with files of CIFAR and none that are IDX files'.

    Raises
    ------
    MissingDataError
        If it is a folder that cannot be read.
    """
    if os.path.isfile(path):  # noqa: PTH113 - it never raises
        return _ANY_ARCHIVE.fullmatch(path.name) is not None
    if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name too long
        return False
    return not has_idx_names(path) and any(_looks_like(each.name) for each in visible(path))


def read_cifar(path: Path, labels: str | None = None, rows: int | None = None, expected: Layout | None = None) -> Cifar:
    """Read a folder with the files of CIFAR-10 or CIFAR-100, or the published archive.

    Parameters
    ----------
    path
        A folder with ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``, or with ``train.bin`` and
        ``test.bin`` (also ``train-10000.bin``), all plain or ``.gz``; a folder with an archive; or an archive.
    labels
        Of CIFAR-100: ``"fine"`` (as None) or ``"coarse"``. Labels are names where the file of names is there, else
        numbers.
    rows
        Number of first training images to keep, if there are so many. The others are checked, but not held.
    expected
        Which of the two it must be; None for either.

    Returns
    -------
    Cifar
        Features have shape (images, 3, 32, 32).

    Raises
    ------
    SettingsError
        If ``labels`` are given for CIFAR-10.
    MissingDataError
        If a file is missing.
    FormatError
        If a file is empty, truncated, damaged or has a label that is no class; names the byte.
    DataError
        If it is not clear which files are meant, or they are not of the data set that is ``expected``; one cannot be
        read or was changed meanwhile; or memory cannot hold the images.
    """
    rows = rows if rows is None or rows > 0 else None  # what is wrong with it is said later
    if path.is_file():
        return _from_archive(path, labels, rows, expected)
    archives = [each for each in visible(path) if _ARCHIVE.fullmatch(each.name)]
    binaries = _binaries(path)
    if binaries or not archives:
        return _from_folder(path, binaries, labels, rows, expected)
    if len(archives) > 1:
        names = " and ".join(shown(each.name) for each in archives)
        raise DataError(f"both {names} could be meant: give the path of one", path=path)
    return _from_archive(archives[0], labels, rows, expected)


def stored_images(folder: Path) -> Stored:
    """Return how many images a folder has, by the lengths of its files (.gz files state the length of their content).

    Raises
    ------
    MissingDataError
        If a file is missing.
    DataError
        If it is not clear which files are meant, or one cannot be read.
    """
    found = _binaries(folder)
    layout = _layout_of(found, folder, None)
    packed = any(path.suffix.lower() == ".gz" for path in found.values())
    train, test = (sum(map(_content_bytes, map(found.__getitem__, keys))) for keys in (layout.train, (layout.test,)))
    return Stored(layout, train // layout.record, test // layout.record, packed)


def _content_bytes(path: Path) -> int:
    try:
        with path.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            if path.suffix.lower() == ".gz":
                file.seek(max(0, length - 4))
                length = int.from_bytes(file.read(4), "little")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=path) from error
    return length


def check_no_kind(labels: str | None) -> None:
    """Raise SettingsError if a kind of labels is asked for; called where the data have only one."""
    if labels is not None:
        raise SettingsError(
            f"{parameter('labels', labels)}: only CIFAR-100 has coarse and fine labels; leave it out, or give CIFAR-100"
        )


def cifar_files(folder: Path) -> list[Path]:
    """Return what :func:`read_cifar` may read in a folder."""
    return [path for path in visible(folder) if _looks_like(path.name) or path.name.lower() in _NAMES_FILES]


def _looks_like(name: str) -> bool:
    return _BINARY.fullmatch(name) is not None or _ARCHIVE.fullmatch(name) is not None


def _key(name: str) -> str | None:
    """Return which file of a layout has this name: without its number of images and ending; None if none has."""
    found = _BINARY.fullmatch(name)
    return None if found is None else (found[2] or found[1]).lower()


def _binaries(folder: Path) -> dict[str, Path]:
    """Return the files with images in a folder, by their names in a layout."""
    found: dict[str, list[Path]] = {}
    for path in visible(folder):
        if (key := _key(path.name)) is not None and path.is_file():
            found.setdefault(key, []).append(path)
    return {key: one_of(f"file {key}.bin", paths, folder) for key, paths in found.items()}


def _layout_of(found: Mapping[str, object], place: Path, expected: Layout | None) -> Layout:
    """Return whose files have these names; none may be missing."""
    kinds = [layout for layout in LAYOUTS.values() if {*layout.train, layout.test} & set(found)]
    if len(kinds) > 1:
        raise DataError("files of both CIFAR-10 and CIFAR-100: give each a folder of its own", path=place)
    layout = kinds[0] if kinds else expected or CIFAR100
    if expected not in (None, layout):
        raise DataError(f"these are the files of {layout.title}, not of {expected.title}", path=place)
    missing = [name for name in (*layout.train, layout.test) if name not in found]
    if missing:
        names = ", ".join(f"{name}.bin" for name in missing)
        raise MissingDataError(
            f"{names} of {layout.title} missing; expected are data_batch_1.bin to data_batch_5.bin and test_batch.bin "
            "(CIFAR-10), or train.bin and test.bin (CIFAR-100), plain or .gz",
            path=place,
        )
    return layout


def _place_of(layout: Layout, labels: str | None) -> int:
    """Return which label byte was asked for."""
    if layout is not CIFAR100:
        check_no_kind(labels)
    return next((place for place, each in enumerate(layout.label_bytes) if each.kind == (labels or "fine")), 0)


def _from_folder(
    folder: Path, found: Mapping[str, Path], labels: str | None, rows: int | None, expected: Layout | None
) -> Cifar:
    layout = _layout_of(found, folder, expected)
    place = _place_of(layout, labels)

    def add(images: Images, key: str) -> tuple[Path, FileState | None]:
        with watched(found[key]) as (file, length, state):
            images.add(blocks_of(file, layout), found[key], length)
        return found[key], state

    return _read(layout, place, _names_in(folder, layout.label_bytes[place]), rows, add)


def _from_archive(path: Path, labels: str | None, rows: int | None, expected: Layout | None) -> Cifar:
    members = read_members(path, lambda name: name in _NAMES_FILES or _key(name) is not None)
    found = {key: name for name in members if (key := _key(name)) is not None}
    layout = _layout_of(found, path, expected)
    place = _place_of(layout, labels)
    label = layout.label_bytes[place]
    named, content = members.get(label.names_file, (path, None))
    names = None if content is None else read_names(bytes(content), label, named)

    def add(images: Images, key: str) -> tuple[Path, FileState | None]:
        member, content = members.pop(found[key])  # its memory is free once it is read
        images.add(blocks_of(memoryview(content), layout), member)
        return member, members.state

    return _read(layout, place, names, rows, add)


def _read(
    layout: Layout,
    place: int,
    names: NDArray[np.str_] | None,
    rows: int | None,
    add: Callable[[Images, str], tuple[Path, FileState | None]],
) -> Cifar:
    """Return both parts; ``add`` reads a file of the layout and returns its path and state."""

    def part(keys: tuple[str, ...], most: int | None) -> Examples:
        images = Images(layout, most)
        read = [add(images, key) for key in keys]
        files = tuple(dict.fromkeys(state for _, state in read if state is not None))
        pixels, labels = images.arrays()
        codes = labels[:, place].astype(np.int64)
        labels_or_names = codes if names is None else names[codes]
        return Examples(pixels, labels_or_names, read[0][0], files=files, available=images.seen)

    return Cifar(layout, part(layout.train, rows), part((layout.test,), None))


def _names_in(folder: Path, label: LabelByte) -> NDArray[np.str_] | None:
    """Return the names of the classes, if their file lies in a folder."""
    path = next((each for each in visible(folder) if each.name.lower() == label.names_file), None)
    if path is None or not path.is_file():
        return None
    with opened(path) as (file, _):
        return read_names(file.read(NAMES_BYTES), label, path)
