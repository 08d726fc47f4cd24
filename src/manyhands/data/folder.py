"""Folders of four IDX files: finding the four among all files, and reading them.

Files with the published names are found by these. Others are found by their headers: one dimension is labels, more are
images; then by the words train, test or t10k in their names, else by their numbers of rows (`_by_headers`).
"""

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
_PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test", "t10k": "test"}
_WORD = re.compile(r"train(?:ing)?|t10k|test(?:ing)?")
_OTHER_SUFFIXES = (".csv", ".txt", ".md", ".png", ".jpg", ".npz", ".npy", ".zip", ".parquet")
_MOST_LISTED = 8
_BLOCK = 1 << 20
_TRAILER = 8  # bytes at the end of a gzip file: checksum and length of what was packed

Files = dict[tuple[str, str], Path]


def idx_files(folder: Path) -> Files:
    """Return the four IDX files in a folder, by part and content.

    The keys are ``("train", "images")``, ``("train", "labels")``, ``("test", "images")``, ``("test", "labels")``. Of
    the published names, any common prefix will do; with other names, what is in the files says what they are. A plain
    file is preferred to its .gz. Hidden files, and backups and unfinished downloads of files with the published names,
    are left out.

    Raises
    ------
    MissingDataError
        If there is no such folder, or a file is missing.
    DataError
        If more than one file could be meant, or a plain file and its .gz differ.
    """
    matching = [(path, match) for path in visible(folder) if (match := _IDX_NAME.fullmatch(path.name))]
    if not matching and (stored := _headers(folder)):
        return _by_headers(stored, folder)
    usable = [(path, match) for path, match in matching if _no_file(path) is None]
    found: dict[tuple[str, str], list[Path]] = {}
    for path, match in usable:
        part = "train" if match["part"].lower() == "train" else "test"
        found.setdefault((part, match["what"].lower()), []).append(path)
    chosen = {key: one_of(" ".join(key), paths, folder) for key, paths in found.items()}
    _check_all(chosen, [path for path, _ in matching if _no_file(path)], folder)
    prefixes = {match["prefix"].lower() for _, match in usable}
    if len(prefixes) > 1:
        raise DataError(f"files of several data sets: {sorted(prefixes)}", path=folder)
    return chosen


def has_idx_files(folder: Path) -> bool:
    """Return whether a folder has files that are IDX, by their names or by what is in them; errors as `idx_files`."""
    return has_idx_names(folder) or bool(_headers(folder))


def _headers(folder: Path) -> dict[Path, tuple[int, ...]]:
    """Return the files of a folder that begin as IDX files, with their shapes; of a plain one and its .gz, one."""
    found = {}
    for path in visible(folder):
        if _no_file(path) is None and not path.name.lower().endswith(_OTHER_SUFFIXES):
            try:
                found[path] = read_idx_shape(path)[0]
            except DataError:  # something else
                continue
    twins: dict[str, list[Path]] = {}
    for path in found:
        twins.setdefault(path.name.lower().removesuffix(".gz"), []).append(path)
    chosen = {one_of("data", paths, folder) for paths in twins.values()}
    return {path: shape for path, shape in found.items() if path in chosen}


def _by_headers(stored: Mapping[Path, tuple[int, ...]], folder: Path) -> Files:
    """Return which of some IDX files are the four.

    There must be two of images and two of labels. The part is what both names say; if the names of neither images nor
    labels say it, files with the same number of rows belong together, and more rows are for training.
    """
    kinds = {
        what: [path for path, shape in stored.items() if (len(shape) == 1) == (what == "labels")]
        for what in ("images", "labels")
    }
    named = {what: {_part_in(path): path for path in paths} for what, paths in kinds.items()}
    if all(len(paths) == 2 for paths in kinds.values()):
        if all(set(parts) == {"train", "test"} for parts in named.values()):
            return {(str(part), what): path for what, parts in named.items() for part, path in parts.items()}
        by_rows = {what: sorted(paths, key=lambda path: stored[path][0]) for what, paths in kinds.items()}
        (few, many), (few_labels, many_labels) = by_rows.values()
        rows = [stored[path][0] for path in (few, few_labels, many, many_labels)]
        named_right = {_part_in(path) for path in (many, many_labels)} <= {None, "train"}
        named_right = named_right and {_part_in(path) for path in (few, few_labels)} <= {None, "test"}
        if rows[0] == rows[1] < rows[2] == rows[3] and named_right:
            return {
                ("train", "images"): many,
                ("train", "labels"): many_labels,
                ("test", "images"): few,
                ("test", "labels"): few_labels,
            }
    listed = ", ".join(f"{shown(path.name)} {shape}" for path, shape in list(stored.items())[:_MOST_LISTED])
    raise DataError(
        f"which of these IDX files are images and labels for training and testing? There are {listed}; expected are "
        "two of images and two of labels (one dimension), with train and test (or t10k) in all names, or with the same "
        "number of rows in files that belong together, and more for training",
        path=folder,
    )


def _part_in(path: Path) -> str | None:
    """Return the part that a file's name says: ``train`` or ``test``; None if it says neither, or both."""
    said = {_PARTS[word] for word in _WORD.findall(path.name.lower()) if word in _PARTS}
    return said.pop() if len(said) == 1 else None


def has_idx_names(folder: Path) -> bool:
    """Return whether anything in a folder is called like an IDX file; errors as :func:`idx_files`."""
    return any(_IDX_NAME.fullmatch(path.name) for path in visible(folder))


def visible(folder: Path) -> list[Path]:
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


def one_of(what: str, paths: list[Path], folder: Path) -> Path:
    """Return the only file; of a plain one and its .gz with the same content, the plain one.

    Parameters
    ----------
    what
        What the file is, for messages.
    paths
        All that it could be, sorted as by :func:`visible`.
    folder
        Where they are.

    Raises
    ------
    DataError
        If more than one could be meant, or the two differ.
    """
    if len(paths) == 1:
        return paths[0]
    plain, packed = paths[0], paths[1]  # sorted
    if len(paths) > 2 or packed.name.lower() != f"{plain.name.lower()}.gz":
        raise DataError(
            f"both {shown(plain.name)} and {shown(packed.name)} could be the {what}; move the files of one "
            "data set into a folder of their own",
            path=folder,
        )
    if not (_has_trailer_of(packed, plain) or same_content(plain, packed)):
        raise DataError(
            f"both {shown(plain.name)} and {shown(packed.name)} could be the {what}, and they differ; remove "
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
    numbers = classes.values[:kept].astype(np.int64)
    return Examples(
        *(values.values, numbers, labels), features_source=images, files=files, available=len(classes.values)
    )


def _check_shapes(images: Path, labels: Path, values: tuple[int, ...], classes: tuple[int, ...]) -> None:
    if len(values) < 2:
        raise DataError(f"images need two or more dimensions, the file has shape {values}", path=images)
    if len(classes) != 1:
        raise DataError(f"labels are one dimension of whole numbers, the file has shape {classes}", path=labels)
    if values[0] != classes[0]:
        raise DataError(f"there are {classes[0]} labels for {values[0]} images in {shown(images.name)}", path=labels)
