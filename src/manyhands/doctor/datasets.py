"""The data sets on this machine, and how they are stored."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from manyhands.core.errors import DataError, MissingDataError
from manyhands.data.cifar import SHAPE
from manyhands.data.cifar_files import is_cifar, stored_images
from manyhands.data.folder import idx_files
from manyhands.data.idx import read_idx_shape
from manyhands.runtime.atomic_files import cache_folder

_KNOWN = ("mnist", "letters", "cifar10", "cifar100")
"""Folders that `manyhands.data.catalog` looks for by these names; any other is named as a folder."""


def data_sets() -> dict[str, Any]:
    """Return the data sets in the folder that MANYHANDS_DATA names and in the user's cache, in this order.

    Returns
    -------
    dict
        ``variable``: MANYHANDS_DATA, or None; ``variable_is_folder``: whether it names one; ``cache``: the user's;
        ``found``: see `data_set`; of a known name, only the one that is used.
    """
    variable, cache = os.environ.get("MANYHANDS_DATA"), cache_folder()
    is_folder = bool(variable) and os.path.isdir(variable or "")  # noqa: PTH112 - Path.is_dir raises for names too long
    found = []
    if variable and is_folder:
        found += [data_set(folder) for folder in _folders_in(Path(variable))]
    used = {each["name"] for each in found if each is not None}
    found += [data_set(cache / name) for name in _KNOWN if name not in used]
    return {
        "variable": variable,
        "variable_is_folder": is_folder,
        "cache": str(cache),
        "found": [each for each in found if each is not None],
    }


def _folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder: the known names first."""
    try:
        inside = sorted(each for each in folder.iterdir() if each.is_dir())
    except OSError:
        return []
    return sorted(inside, key=lambda each: _KNOWN.index(each.name) if each.name in _KNOWN else len(_KNOWN))


def data_set(folder: Path) -> dict[str, Any] | None:
    """Return what a folder of four IDX files, or one with the files of CIFAR, holds; None if there are no such files.

    Returns
    -------
    dict
        ``name`` and ``folder``; ``kind``: ``IDX``, ``CIFAR-10`` or ``CIFAR-100``; ``train`` and ``test``: rows, by the
        headers of IDX files and the lengths of others; ``shape`` of one row; ``packed``: whether the images have to be
        unpacked; ``writable``: whether files can be added; ``problem``: why it cannot be used (then there is only
        that), or None.
    """
    facts: dict[str, Any] = {"name": folder.name, "folder": str(folder), "problem": None}
    try:
        found = _cifar_facts(folder) if is_cifar(folder) else _idx_facts(folder)
    except MissingDataError:
        return None
    except DataError as error:
        return {**facts, "problem": str(error)}
    return {**facts, **found, "writable": os.access(folder, os.W_OK)}


def _idx_facts(folder: Path) -> dict[str, Any]:
    files = idx_files(folder)
    train, plain = read_idx_shape(files["train", "images"])
    test, also_plain = read_idx_shape(files["test", "images"])
    packed = not (plain and also_plain)
    return {"kind": "IDX", "train": train[0], "test": test[0], "shape": list(train[1:]), "packed": packed}


def _cifar_facts(folder: Path) -> dict[str, Any]:
    stored = stored_images(folder)
    return {
        "kind": stored.layout.title,
        "train": stored.train,
        "test": stored.test,
        "shape": list(SHAPE),
        "packed": stored.packed,
    }
