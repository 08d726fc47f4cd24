"""Folders of parts that others have made: which files are parts, which belong together, and what each is for."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from manyhands.core.errors import DataError, shown
from manyhands.data.folder import has_idx_files, visible

_TOKENS = re.compile(r"[-_. ]+")
_FEATURES, _LABELS = {"images", "features", "x", "data", "inputs"}, {"labels", "y", "target", "targets"}
_ROLES = {"train": "train", "training": "train", "test": "test", "testing": "test", "t10k": "test"}
_SUFFIXES = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".pq": "parquet", ".npy": "npy"}
_IDX = re.compile(r"idx\d")
_OURS = re.compile(r"(train|test)-\d{5}-(features|labels)\.npy")
_NUMBER = re.compile(r"\d+")
_TITLES = {"csv": "CSV", "parquet": "Parquet", "npy": ".npy", "idx": "IDX"}

Files = tuple[Path, ...]


class FoundParts(NamedTuple):
    """Parts of one format: their files (features, then labels if they have a file of their own) by what they are for.

    Without ``test``, test rows are drawn from the others.
    """

    form: str
    train: tuple[Files, ...]
    test: tuple[Files, ...]

    @property
    def title(self) -> str:
        """The format in words."""
        return _TITLES[self.form]


def form_of(path: Path) -> str | None:
    """Return the format of a part by its name; None if it is none."""
    name = path.name.lower().removesuffix(".gz")
    if (form := _SUFFIXES.get(Path(name).suffix)) is not None:
        return form
    return "idx" if any(_IDX.fullmatch(token) for token in _TOKENS.split(name)) else None


def holds_parts(folder: Path) -> bool:
    """Return whether a folder has parts; IDX files are such if they are numbered, or in folders train and test."""
    files = [path for path, _ in _candidates(folder)]
    of_idx = [path for path in files if form_of(path) == "idx"]
    if of_idx or not files:
        alike = Counter(_NUMBER.sub("#", path.name.lower()) for path in of_idx if path.suffix.lower() != ".gz")
        return any(path.parent != folder for path in of_idx) or max(alike.values(), default=0) > 1
    try:
        return not has_idx_files(folder)
    except DataError:  # reading them will raise it
        return False


def idx_in(folder: Path) -> list[Path]:
    """Return the plain files of a folder that are IDX files by their names."""
    return [path for path, _ in _candidates(folder) if form_of(path) == "idx" and not path.name.lower().endswith(".gz")]


def find_parts(folder: Path) -> FoundParts | None:
    """Return the parts in a folder, or in its folders train and test; None if it has none.

    Raises
    ------
    DataError
        If they have several formats, one lacks its other half, or only some say whether they are for training.
    """
    by_role: dict[str | None, list[Path]] = {}
    for path, role in _candidates(folder):
        by_role.setdefault(role, []).append(path)
    files = [path for paths in by_role.values() for path in paths]
    if not files:
        return None
    if any(_OURS.fullmatch(path.name) for path in files):
        raise DataError(
            "these are parts that manyhands data shard has written, or was writing when it was ended; their manifest "
            "is missing or damaged: make them again",
            path=folder,
        )
    forms = sorted({str(form_of(path)) for path in files})
    if len(forms) > 1:
        names = ", ".join(_TITLES[form] for form in forms)
        raise DataError(f"parts of several formats ({names}): put those of one data set into a folder", path=folder)
    if None in by_role and len(by_role) > 1:
        raise DataError(
            f"{shown(by_role[None][0].name)} does not say whether it is for training or testing, and other parts do; "
            "put train or test into its name",
            path=folder,
        )
    if set(by_role) == {"test"}:
        raise DataError("these parts are for testing, by their names: where are those for training?", path=folder)
    paired = {role: tuple(_paired(paths, forms[0], folder)) for role, paths in by_role.items()}
    return FoundParts(forms[0], paired.get("train", paired.get(None, ())), paired.get("test", ()))


def _candidates(folder: Path) -> list[tuple[Path, str | None]]:
    """Return the files that can be parts, each with what its name, or that of its folder, says it is for."""
    found: list[tuple[Path, str | None]] = []
    for path in visible(folder):
        role = _ROLES.get(path.name.lower())
        if role and os.path.isdir(path):  # noqa: PTH112 - Path.is_dir may raise
            found += [(each, role) for each in visible(path) if form_of(each) and os.path.isfile(each)]  # noqa: PTH113
        elif form_of(path) and os.path.isfile(path):  # noqa: PTH113 - Path.is_file may raise
            roles = {_ROLES[token] for token in _TOKENS.split(path.name.lower()) if token in _ROLES}
            found.append((path, roles.pop() if len(roles) == 1 else None))
    return found


def _paired(paths: Sequence[Path], form: str, folder: Path) -> list[Files]:
    """Return the files of each part, in the order of their names."""
    if form in ("csv", "parquet"):
        return [(path,) for path in paths]
    halves: dict[str, dict[str, Path]] = {}
    for path in paths:
        tokens = _TOKENS.split(path.name.lower())
        kinds = ["features" if token in _FEATURES else "labels" if token in _LABELS else "" for token in tokens]
        own = [kind for kind in kinds if kind]
        if len(own) != 1:
            raise DataError(
                f"is {shown(path.name)} features or labels? One of the words {', '.join(sorted(_FEATURES))}, or "
                f"{', '.join(sorted(_LABELS))}, must be in its name",
                path=folder,
            )
        key = "-".join("*" if kind else _IDX.sub("idx", token) for kind, token in zip(kinds, tokens, strict=True))
        if own[0] in halves.setdefault(f"{path.parent}/{key}", {}):
            raise DataError(f"{shown(path.name)} and another file could be the {own[0]} of one part", path=folder)
        halves[f"{path.parent}/{key}"][own[0]] = path
    for found in halves.values():
        if len(found) == 1:
            kind, path = next(iter(found.items()))
            other = "labels" if kind == "features" else "features"
            raise DataError(f"there are no {other} for {shown(path.name)}", path=folder)
    return [(found["features"], found["labels"]) for _, found in sorted(halves.items())]
