"""Folders of four IDX files: finding the four among all files, and reading them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from manyhands.core.errors import DataError, MissingDataError, shown
from manyhands.data.dataset import Examples
from manyhands.data.download import Published
from manyhands.data.idx import load_idx, read_idx_shape, same_content

_IDX_NAME = re.compile(
    r"(?P<prefix>.*?)(?P<part>train|t10k|test)-(?P<what>images|labels)[-.]idx\d-ubyte(\.gz)?", re.IGNORECASE
)
_KEYS = [(part, what) for part in ("train", "test") for what in ("images", "labels")]
_BLOCK = 1 << 20
_TRAILER = 8  # bytes at the end of a gzip file: checksum and length of what was packed

Files = dict[tuple[str, str], Path]


def idx_files(folder: Path) -> Files:
    """Return the four IDX files in a folder, whatever their common prefix, by part and content.

    The keys are ``("train", "images")``, ``("train", "labels")``, ``("test", "images")``, ``("test", "labels")``. A
    plain file is preferred to its .gz. Hidden files, and backups and unfinished downloads, which have other names, are
    left out.

    Raises
    ------
    MissingDataError
        If there is no such folder, or a file is missing.
    DataError
        If more than one file could be meant, or a plain file and its .gz differ.
    """
    matching = [(path, match) for path in _visible(folder) if (match := _IDX_NAME.fullmatch(path.name))]
    usable = [(path, match) for path, match in matching if _no_file(path) is None]
    found: dict[tuple[str, str], list[Path]] = {}
    for path, match in usable:
        part = "train" if match["part"].lower() == "train" else "test"
        found.setdefault((part, match["what"].lower()), []).append(path)
    chosen = {key: _one_of(key, paths, folder) for key, paths in found.items()}
    _check_all(chosen, [path for path, _ in matching if _no_file(path)], folder)
    prefixes = {match["prefix"].lower() for _, match in usable}
    if len(prefixes) > 1:
        raise DataError(f"files of several data sets: {sorted(prefixes)}", path=folder)
    return chosen


def _visible(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted, without hidden names (macOS puts a file ._name beside each on some disks)."""
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise MissingDataError(f"the folder cannot be read ({error.strerror or error})", path=folder) from error
    return sorted(paths, key=lambda path: (path.name.lower(), path.name))


def _no_file(path: Path) -> str | None:
    """Return what a name stands for, if it is no file."""
    try:
        if path.is_file():
            return None
        if path.is_dir():
            return "a folder"
    except OSError as error:
        return f"not to be reached ({error.strerror or error})"
    return "a link that leads nowhere" if path.is_symlink() else "no ordinary file"


def _one_of(key: tuple[str, str], paths: list[Path], folder: Path) -> Path:
    """Return the only file; of a plain one and its .gz with the same content, the plain one."""
    if len(paths) == 1:
        return paths[0]
    plain, packed = paths[0], paths[1]  # sorted
    if len(paths) > 2 or packed.name.lower() != f"{plain.name.lower()}.gz":
        raise DataError(
            f"both {shown(plain.name)} and {shown(packed.name)} could be the {' '.join(key)}; move the files of one "
            "data set into a folder of their own",
            path=folder,
        )
    if not (_has_trailer_of(packed, plain) or same_content(plain, packed)):
        raise DataError(
            f"both {shown(plain.name)} and {shown(packed.name)} could be the {' '.join(key)}, and they differ; remove "
            "the wrong one",
            path=folder,
        )
    return plain


def _has_trailer_of(packed: Path, plain: Path) -> bool:
    """Return whether a .gz file ends with checksum and length of a plain one; nothing is unpacked."""
    checksum = length = 0
    try:
        with open(plain, "rb") as file:
            while block := file.read(_BLOCK):
                checksum, length = zlib.crc32(block, checksum), length + len(block)
        with open(packed, "rb") as file:
            file.seek(-_TRAILER, 2)
            trailer = file.read(_TRAILER)
    except OSError:  # reading the files will raise it
        return False
    return trailer == checksum.to_bytes(4, "little") + (length % (1 << 32)).to_bytes(4, "little")


def _check_all(found: Files, others: list[Path], folder: Path) -> None:
    missing = [" ".join(key) for key in _KEYS if key not in found]
    if missing:
        strange = "".join(f"; {shown(path.name)} is {_no_file(path)}" for path in others)
        raise MissingDataError(
            f"no IDX file for {', '.join(missing)}; expected are four files named like train-images-idx3-ubyte, "
            f"train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, plain or .gz{strange}",
            path=folder,
        )


def read_pair(
    found: Files,
    part: str,
    rows: int | None = None,
    *,
    shared: bool = False,
    published: Mapping[str, Published] | None = None,
) -> Examples:
    """Return the training or the test samples of four files.

    Parameters
    ----------
    found
        The files, from :func:`idx_files`.
    part
        ``"train"`` or ``"test"``.
    rows
        Number of first rows to keep, if there are so many.
    shared, published
        See :func:`manyhands.data.idx.load_idx`; ``published`` has one for each file name.

    Raises
    ------
    DataError
        If a file is damaged, or the two do not fit; where their headers show it, before either is read.
    """
    images, labels = found[part, "images"], found[part, "labels"]
    known = published or {}
    if published is None:
        _check_shapes(images, labels, read_idx_shape(images)[0], read_idx_shape(labels)[0])
    classes = load_idx(labels, published=known.get(labels.name), shared=shared)
    kept = rows if rows is not None and 0 < rows <= len(classes.values) else None
    values = load_idx(images, rows=kept, published=known.get(images.name), shared=shared)
    if classes.values.dtype.kind not in "iu":
        raise DataError(f"labels are one dimension of whole numbers, not of {classes.values.dtype}", path=labels)
    files = tuple(each.state for each in (values, classes) if each.state is not None)
    return Examples(values.values, classes.values[:kept].astype(np.int64), labels, features_source=images, files=files)


def _check_shapes(images: Path, labels: Path, values: tuple[int, ...], classes: tuple[int, ...]) -> None:
    if len(values) < 2:
        raise DataError(f"images need two or more dimensions, the file has shape {values}", path=images)
    if len(classes) != 1:
        raise DataError(f"labels are one dimension of whole numbers, the file has shape {classes}", path=labels)
    if values[0] != classes[0]:
        raise DataError(f"there are {classes[0]} labels for {values[0]} images in {shown(images.name)}", path=labels)
