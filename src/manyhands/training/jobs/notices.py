"""What the workers of an MPI job of our own have to say on the side, such as that they compile: their owner says it.

Nobody reads what these processes print unless the job fails.
"""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path

from manyhands.core.parameters import rendered
from manyhands.training.jobs.folder import private

_NAME = "notices.jsonl"
_LOGGER = logging.getLogger("manyhands")
_said: set[str] = set()


class _Leaving(logging.Handler):
    """Leaves notices in the folder of a job, a line each."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._path = folder / _NAME

    def emit(self, record: logging.LogRecord) -> None:
        """Leave one; a notice that cannot be left ends nothing."""
        with contextlib.suppress(OSError), open(self._path, "a", encoding="ascii", opener=private) as file:
            file.write(json.dumps([record.levelno, record.getMessage()]) + "\n")


def leave_notices(folder: Path) -> None:
    """Let this process's notices come to the owner of the job; for one of the workers, as all have the same."""
    _LOGGER.addHandler(_Leaving(folder))
    _LOGGER.setLevel(logging.INFO)


class Notices:
    """Says what the workers of a job have left to be said, each notice once, however many jobs this process starts."""

    def __init__(self, folder: Path) -> None:
        self._path, self._read = folder / _NAME, 0

    def say(self) -> None:
        """Say what is new; a line that is not whole yet waits for its end."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._read)
                lines = [line for line in file.readlines() if line.endswith(b"\n")]
        except FileNotFoundError:
            return
        self._read += sum(map(len, lines))
        for line in lines:
            level, text = json.loads(line)
            text = rendered(text)
            if text not in _said:
                _said.add(text)
                _LOGGER.log(level, "%s", text)
