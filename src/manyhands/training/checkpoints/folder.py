"""The folder of a run's checkpoints: how they are named, which of them counts, and which are removed."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manyhands.core.errors import ModelFileError, OutputError, SettingsError, shown
from manyhands.core.parameters import parameter
from manyhands.core.version import __version__
from manyhands.core.words import count
from manyhands.runtime.atomic_files import home_hint, make_output_folder, unusable
from manyhands.training.checkpoints.state import State, joined, parted
from manyhands.training.model_file import CHECKPOINT, read_file, write_file

_PATIENCE = 2.0
"""Seconds in which a run that has just ended, or was killed, lets go of its folder."""
_NAME = re.compile(r"checkpoint-(\d{12,})\.safetensors")


@dataclass(frozen=True)
class Found:
    """A checkpoint that was read.

    Attributes
    ----------
    path
        Its file.
    version
        Of the package that has written it.
    identity
        Settings and data of its run, as plain data.
    states
        Of all workers, by rank.
    """

    path: Path
    version: str
    identity: Mapping[str, Any]
    states: Sequence[State]


class CheckpointFolder:
    """A folder with the checkpoints of one run; other files in it are left alone.

    Parameters
    ----------
    path
        The folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock: int | None = None

    def make(self) -> None:
        """Make the folder if it is not there; raise OutputError if nothing can be written into it."""
        make_output_folder(self.path)
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise OutputError(f"cannot write checkpoints: no permission to write into {shown(self.path)}")

    def check_new(self) -> None:
        """Raise SettingsError if there are checkpoints, which a new run would replace one by one."""
        if found := self.files():
            raise SettingsError(
                f"{shown(self.path)} has {count(len(found), 'checkpoint')} of an earlier run: "
                f"{parameter('resume', str(self.path))} "
                "goes on from the newest; name another folder for a new run, or remove them"
            )

    def reserve(self) -> None:
        """Keep other runs from writing here, until `release` or the end of this process.

        Raises
        ------
        SettingsError
            If another run is doing so: its checkpoints and those of this one would be taken for each other.
        """
        try:
            self._lock = os.open(self.path, os.O_RDONLY)
            _lock(self._lock)
        except BlockingIOError as error:
            self.release()
            raise SettingsError(
                f"another run is writing checkpoints into {shown(self.path)}: wait for its end, or name another folder"
            ) from error
        except OSError:  # it is gone, which writing will say; or a file system without locks
            self.release()

    def release(self) -> None:
        """Let other runs write here."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def files(self) -> list[Path]:
        """Return the checkpoints, the newest first: the one with the most steps."""
        try:
            names = [entry.name for entry in os.scandir(self.path)]
        except OSError:
            return []
        numbers = {name: int(match[1]) for name in names if (match := _NAME.fullmatch(name))}
        return [self.path / name for name in sorted(numbers, key=lambda name: -numbers[name])]

    def write(self, steps: int, identity: Mapping[str, Any], states: Sequence[State], keep: int) -> Path:
        """Write the states of all workers after so many steps, whole or not at all; then remove all but ``keep`` files.

        Raises
        ------
        OutputError
            If it cannot be written; older checkpoints are as they were.
        """
        path = self.path / f"checkpoint-{steps:012d}.safetensors"
        described, arrays = joined(states)
        texts = {
            "version": __version__,
            "identity": json.dumps(identity),
            "workers": json.dumps(described),
        }
        write_file(path, texts, arrays, CHECKPOINT)
        for old in self.files()[keep:]:
            with suppress(OSError):
                old.unlink()
        return path

    def newest(self) -> Found:
        """Return the newest checkpoint that can be read; a damaged one is skipped with a warning that names it.

        Raises
        ------
        SettingsError
            If there is none.
        """
        problems = []
        for path in self.files():
            try:
                return _read(path)
            except ModelFileError as error:
                problems.append(str(error))
                logging.getLogger("manyhands").warning("a checkpoint is skipped: %s", error)
        raise SettingsError(self._nothing(problems))

    def remove(self) -> None:
        """Remove all checkpoints, and the folder if nothing else is in it."""
        for path in self.files():
            with suppress(OSError):
                path.unlink()
        with suppress(OSError):
            self.path.rmdir()

    def _nothing(self, problems: Sequence[str]) -> str:
        """Return why no checkpoint could be read."""
        if problems:
            return f"none of the checkpoints in {shown(self.path)} can be read: {problems[0]}"
        if problem := unusable(self.path):
            return f"there are no checkpoints: this path cannot be used: {problem}"
        if os.path.isfile(self.path):  # noqa: PTH113 - Path.is_file may raise
            return f"{shown(self.path)} is a file: name the folder of the checkpoints"
        if not os.path.isdir(self.path):  # noqa: PTH112 - Path.is_dir may raise
            return f"there is no folder {shown(self.path)} with checkpoints{home_hint(self.path)}"
        if not os.access(self.path, os.R_OK | os.X_OK):
            return f"the folder {shown(self.path)} cannot be read"
        return f"there is no checkpoint in {shown(self.path)} (checkpoint-*.safetensors)"


def _lock(descriptor: int) -> None:
    """Lock an open folder, or raise BlockingIOError if another has locked it for a while."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
        time.sleep(_PATIENCE / 20)


def _read(path: Path) -> Found:
    """Return a checkpoint; one that is damaged is a ModelFileError."""
    texts, arrays = read_file(path, CHECKPOINT)
    try:
        identity, workers = json.loads(texts["identity"]), json.loads(texts["workers"])
        states = parted(workers, arrays)
        if not states or not isinstance(identity, dict):
            raise ValueError("it has no workers")
        return Found(path, texts["version"], identity, states)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{shown(path)}: damaged: its description is none ({error!r})") from error
