"""Where the data sets that have names lie: in MANYHANDS_DATA, or in the cache folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from manyhands.core.errors import DataError, MissingDataError, shown
from manyhands.core.parameters import parameter
from manyhands.data.cifar_files import LAYOUTS
from manyhands.runtime.atomic_files import cache_folder


def known_folder(name: str, files: Callable[[Path], Iterable[Path]]) -> Path:
    """Return the folder of a data set that cannot be downloaded; ``files`` are those that would be read in it."""
    own, cached = data_folder(name), cache_folder() / name
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


def data_folder(name: str) -> Path | None:
    """Return the folder of a data set in MANYHANDS_DATA; None if that is not set."""
    base = os.environ.get("MANYHANDS_DATA")
    return Path(base) / name if base else None
