"""Steps that Ctrl-C and SIGTERM must not cut in two."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off what Ctrl-C (SIGINT) and SIGTERM do until the block has ended.

    For short steps that belong together, such as writing a record down and counting it. Python runs the handlers of
    signals in the main thread only: in any other there is nothing to put off. A signal without a handler of Python's
    does what it always does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    late: list[tuple[Callable[[int, FrameType | None], Any], int, FrameType | None]] = []
    before: dict[int, Callable[[int, FrameType | None], Any]] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        present = signal.getsignal(number)
        if callable(present):
            before[number] = present
    try:
        for caught in before:
            signal.signal(caught, lambda which, frame: late.append((before[which], which, frame)))
        yield
    finally:
        for caught, handler in before.items():
            signal.signal(caught, handler)
    for handle, which, frame in late:
        handle(which, frame)
