"""The manifest of a folder that `manyhands data shard` has written: what its parts hold, and their checksums."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import ChecksumError, DataError, FormatError, MissingDataError, shown
from manyhands.data.labels import describe_labels, read_labels
from manyhands.data.parts import memo
from manyhands.data.parts.arrays import array_part
from manyhands.data.parts.description import Part, State, Table
from manyhands.data.parts.statistics import summary_from_json, summary_to_json
from manyhands.data.scaling import Summary

MANIFEST = "manifest.json"
FORMAT = "manyhands.parts/1"
_MARK, _BEGIN = b'"format": "manyhands.parts/', 100
_BLOCK = 1 << 22
_LARGEST = 1 << 28
_AT_ONCE = 4


@dataclass(frozen=True)
class PartFiles:
    """One part, as the manifest has it: names of files in the folder, rows, and by features and labels the rest.

    ``counts`` says how many rows of each class it has.
    """

    features: str
    labels: str
    rows: int
    bytes: tuple[int, int]
    checksums: tuple[int, int]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Manifest:
    """What a folder of parts holds.

    Attributes
    ----------
    name : str
        Of the data set.
    dtype : str
        Of the features.
    sample_shape : tuple of int
        Of one sample.
    classes : ndarray of shape (K,)
        The label of each class number.
    summary : Summary
        Of all training rows.
    train, test : tuple of PartFiles
        The parts.
    seed : int
        That the rows were shuffled by.
    feature_names, label_name
        See `manyhands.data.dataset.Dataset`.
    pixels : dict or None
        See `manyhands.data.origin.Pixels`.
    """

    name: str
    dtype: str
    sample_shape: tuple[int, ...]
    classes: NDArray[Any]
    summary: Summary
    train: tuple[PartFiles, ...]
    test: tuple[PartFiles, ...]
    seed: int
    feature_names: tuple[str, ...] | None = None
    label_name: str | None = None
    pixels: Mapping[str, Any] | None = None

    @property
    def features(self) -> int:
        """Number of features."""
        return len(self.summary.low)

    def to_json(self) -> dict[str, Any]:
        """Return plain data, with a checksum of all of it."""
        described = {
            "format": FORMAT,
            "name": self.name,
            "rows": _rows(self.train),
            "test_rows": _rows(self.test),
            "features": self.features,
            "dtype": self.dtype,
            "sample_shape": list(self.sample_shape),
            "classes": describe_labels(self.classes),
            "feature_names": None if self.feature_names is None else list(self.feature_names),
            "label_name": self.label_name,
            "pixels": None if self.pixels is None else dict(self.pixels),
            "seed": self.seed,
            "statistics": summary_to_json(self.summary),
            **{role: [_part_to_json(part) for part in getattr(self, role)] for role in ("train", "test")},
        }
        return {**described, "checksum": _digest(described)}

    @property
    def checksum(self) -> str:
        """The checksum of all that it says: the same for the same parts."""
        return str(self.to_json()["checksum"])

    def text(self) -> str:
        """Return it as a JSON file with a line for each fact and each part."""
        lines = []
        for name, value in self.to_json().items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                inner = ",\n".join(f"  {json.dumps(each)}" for each in value)
                lines.append(f' "{name}": [\n{inner}\n ]')
            else:
                lines.append(f' "{name}": {json.dumps(value)}')
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> Manifest:
        """Return what :meth:`to_json` has described; anything else is a ValueError, TypeError or KeyError."""
        described = {name: value for name, value in known.items() if name != "checksum"}
        if known["format"] != FORMAT:
            raise ValueError(f"its format is {str(known['format'])[:40]!r}, and {FORMAT} is known here")
        if known["checksum"] != _digest(described):
            raise ValueError("it does not have the checksum that it states")
        found = cls(
            name=str(known["name"]),
            dtype=_dtype(known["dtype"]),
            sample_shape=tuple(map(int, known["sample_shape"])),
            classes=read_labels(known["classes"]),
            summary=summary_from_json(known["statistics"]),
            train=tuple(map(_part_from_json, known["train"])),
            test=tuple(map(_part_from_json, known["test"])),
            seed=int(known["seed"]),
            feature_names=None if known["feature_names"] is None else tuple(map(str, known["feature_names"])),
            label_name=known["label_name"],
            pixels=known["pixels"],
        )
        if not found.train or known["rows"] != _rows(found.train) or known["features"] != found.features:
            raise ValueError("its numbers contradict each other")
        return found


def _dtype(name: Any) -> str:
    if name not in ("uint8", "float32", "float64"):
        raise ValueError(f"no features have the type {str(name)[:40]!r}")
    return str(name)


def _digest(described: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(described, sort_keys=True).encode()):08x}"


def _rows(parts: Iterable[PartFiles]) -> int:
    return sum(part.rows for part in parts)


def _part_to_json(part: PartFiles) -> dict[str, Any]:
    described = {each.name: getattr(part, each.name) for each in fields(part)}
    return {
        name: [f"{each:08x}" for each in value]
        if name == "checksums"
        else list(value)
        if isinstance(value, tuple)
        else value
        for name, value in described.items()
    }


def _part_from_json(known: Mapping[str, Any]) -> PartFiles:
    names = [str(known[name]) for name in ("features", "labels")]
    if any("/" in name or name in ("", "..") for name in names):  # a manifest is about its own folder
        raise ValueError(f"{names[0]!r} is no name of a part")
    first, second = (int(each, 16) for each in known["checksums"])
    features, labels = map(int, known["bytes"])
    return PartFiles(
        names[0], names[1], int(known["rows"]), (features, labels), (first, second), tuple(map(int, known["counts"]))
    )


def is_sharded(folder: Path) -> bool:
    """Return whether a folder has a manifest of ours, by its first bytes; what is wrong with it, reading says."""
    try:
        with open(folder / MANIFEST, "rb") as file:
            return _MARK in file.read(_BEGIN)
    except OSError:
        return False


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder.

    Raises
    ------
    MissingDataError
        If there is none.
    FormatError
        If it is damaged or of another format.
    """
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _LARGEST:
            raise FormatError("no manifest is so large", path=path)
        known = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(known, dict):
            raise ValueError("it has no names")
        return Manifest.from_json(known)
    except FileNotFoundError as error:
        raise MissingDataError("there is no such manifest", path=path) from error
    except OSError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"cannot be read ({error.strerror or error})", path=path) from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise FormatError(
            f"no manifest of parts, or a damaged one ({error}); make the parts again (manyhands data shard)", path=path
        ) from error


def open_tables(folder: Path, manifest: Manifest) -> tuple[Table, Table]:
    """Return training and test table, after checking that every part is there and holds what the manifest says.

    The first time checksums of all files are computed; later, files that have the same length, time stamp and inode as
    then are taken for unchanged.

    Raises
    ------
    DataError
        If a part is missing, unreadable, or another one than when it was written; names it.
    """
    everything = [*manifest.train, *manifest.test]
    tables = tuple(
        Table(tuple(_open(folder, part, manifest) for part in parts)) for parts in (manifest.train, manifest.test)
    )
    states = {path: state for table in tables for part in table.parts for path, state in _states(part)}
    key = f"verified {folder.resolve()} {manifest.checksum}"
    if memo.recall(key, states) is None:
        files = [
            (folder / name, checksum)
            for part in everything
            for name, checksum in zip((part.features, part.labels), part.checksums, strict=True)
        ]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda each: _verify(*each), files))
        memo.remember(key, states, "verified")
    return tables[0], tables[1]


def _states(part: Part) -> Iterable[tuple[Path, State]]:
    return zip(part.files, part.states, strict=True)


def _open(folder: Path, known: PartFiles, manifest: Manifest) -> Part:
    """Return a part after comparing its files' lengths and headers with the manifest."""
    paths = folder / known.features, folder / known.labels
    for path, size in zip(paths, known.bytes, strict=True):
        found = State.of(path).size
        if found != size:
            raise FormatError(f"this part has {found} bytes, and the manifest says {size}; make it again", path=path)
    part, _ = array_part(*paths, codes=True)
    dtype, _, width = part.layout["features"]
    if part.rows != known.rows or width != manifest.features or np.dtype(dtype) != manifest.dtype:
        raise FormatError(
            f"this part has {part.rows} rows of {width} features ({np.dtype(dtype)}), and the manifest says "
            f"{known.rows} of {manifest.features} ({manifest.dtype})",
            path=paths[0],
        )
    return part


def _verify(path: Path, wanted: int) -> None:
    """Compare a file's checksum with the manifest's."""
    checksum = 0
    try:
        with open(path, "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                checksum = zlib.crc32(block, checksum)
    except OSError as error:
        raise DataError(f"this part cannot be read ({error.strerror or error})", path=path) from error
    if checksum != wanted:
        raise ChecksumError(
            f"this part was changed since it was written: its checksum is {checksum:08x}, and that in "
            f"{shown(MANIFEST)} is {wanted:08x}; make the parts again (manyhands data shard)",
            path=path,
        )
