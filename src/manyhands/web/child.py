"""The process that trains for the web server: commands come as JSON lines, events go as JSON lines.

``python -m manyhands.web.child``. It stays until its standard input ends, which it does with the server, however that
ends. So compiled code and data of the last training are there for the next one.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
from collections.abc import Mapping
from typing import Any, BinaryIO

from manyhands.web.choices import from_record
from manyhands.web.session import Session


class Post:
    """Where events go: the standard output as it was at the beginning, which nothing else is printed to any more."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._lock = file, threading.Lock()

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Send an event."""
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()


class Notices(logging.Handler):
    """Sends the library's log, such as that it is compiling, as events."""

    def __init__(self, post: Post) -> None:
        super().__init__()
        self._post = post

    def emit(self, record: logging.LogRecord) -> None:
        """Send one notice."""
        self._post({"kind": "note", "text": record.getMessage()})


def main() -> None:
    """Carry out trainings until the standard input ends."""
    post = Post(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # whatever prints does not disturb the events
    logger = logging.getLogger("manyhands")
    logger.addHandler(Notices(post))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    session = Session(post)
    asked: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked, session), daemon=True).start()
    while True:
        session.train(*from_record(asked.get()))


def _listen(asked: queue.SimpleQueue[dict[str, Any]], session: Session) -> None:
    """Pass commands on; end this process when no more can come."""
    for line in sys.stdin.buffer:
        command = json.loads(line)
        if command["do"] == "stop":
            session.stop()
        else:
            session.allow()
            asked.put(command["training"])
    os._exit(0)  # in the midst of a training, too


if __name__ == "__main__":
    main()
