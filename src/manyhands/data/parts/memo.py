"""What was found out about files once, remembered in the cache folder as long as they stay as they were.

A memo only saves time: one that is missing, damaged, or cannot be written is as good as none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manyhands.data.parts.description import State
from manyhands.runtime.atomic_files import cache_folder
from manyhands.runtime.trusted_files import TrustedFolder, UnusableFileError, UnusableFolderError

States = Mapping[Path, State]
_FORMAT, _MOST_KEPT = 1, 100


def recall(key: str, states: States) -> Any:
    """Return what was remembered about files under a key; None if nothing was, or one of them has changed since."""
    try:
        content = _folder().read(_name(key))
        known = None if content is None else json.loads(content)
    except (UnusableFileError, UnusableFolderError, OSError, ValueError):
        return None
    if not isinstance(known, dict) or known.get("format") != _FORMAT or known.get("key") != key:
        return None
    return known.get("facts") if known.get("states") == _plain(states) else None


def remember(key: str, states: States, facts: Any) -> None:
    """Remember facts (plain data) about files that have these states."""
    record = {"format": _FORMAT, "key": key, "states": _plain(states), "facts": facts}
    try:
        folder = _folder()
        folder.write(_name(key), json.dumps(record).encode())
        _forget_old(folder.path)
    except (UnusableFileError, UnusableFolderError, OSError):
        return


def _forget_old(folder: Path) -> None:
    """Keep the newest memos."""
    memos = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    for path in memos[:-_MOST_KEPT]:
        path.unlink(missing_ok=True)


def _folder() -> TrustedFolder:
    return TrustedFolder(cache_folder(), "parts")


def _name(key: str) -> str:
    import hashlib

    return f"{hashlib.sha256(key.encode(errors='surrogateescape')).hexdigest()[:32]}.json"


def _plain(states: States) -> dict[str, list[int]]:
    return {str(path): list(state) for path, state in sorted(states.items())}
