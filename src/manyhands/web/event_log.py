"""The events of a training, kept for all who watch it: late comers, and browsers that were away, get them again."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

_QUIET_SECONDS = 15.0
"""After so long without an event a comment is sent, which shows both sides that the connection lives."""


class EventLog:
    """Events with numbers that only rise, as server-sent events; all of it belongs to one event loop.

    Attributes
    ----------
    boot : str
        Tells one server from the next: numbers of another one mean nothing here.
    watchers : int
        How many follow now.
    """

    def __init__(self) -> None:
        self.boot = secrets.token_hex(4)
        self.watchers = 0
        self._first, self._texts = 0, list[str]()
        self._changed = asyncio.Event()
        self._closed = False

    def add(self, record: Mapping[str, Any]) -> None:
        """Add an event."""
        self._texts.append(json.dumps(record, separators=(",", ":")))
        self._wake()

    def clear(self) -> None:
        """Forget all events: those of a new training begin."""
        self._first += len(self._texts)
        self._texts.clear()

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self._wake()

    async def follow(self, after: str | None) -> AsyncIterator[bytes]:
        """Yield server-sent events for ever: all that are kept, or those behind the one that was seen last.

        Parameters
        ----------
        after
            The id of the last event that was seen, if any.
        """
        self.watchers += 1
        try:
            yield _message(json.dumps({"kind": "hello", "boot": self.boot}))
            at = self._position(after)
            while not self._closed:
                changed = self._changed
                at = max(at, self._first)
                if texts := self._texts[at - self._first :]:
                    yield b"".join(_message(text, f"{self.boot}-{at + n}") for n, text in enumerate(texts))
                    at += len(texts)
                elif not await _set_within(changed, _QUIET_SECONDS):
                    yield b": still here\n\n"
        finally:
            self.watchers -= 1

    def _position(self, after: str | None) -> int:
        """Return the number of the first event to send."""
        boot, _, number = (after or "").partition("-")
        known = boot == self.boot and number.isascii() and number.isdigit() and len(number) < 16
        return min(int(number) + 1, self._first + len(self._texts)) if known else self._first

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Return whether an event is set within some time."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _message(text: str, number: str | None = None) -> bytes:
    """Return one server-sent event; JSON has no line ends of its own."""
    named = "" if number is None else f"id: {number}\n"
    return f"{named}data: {text}\n\n".encode()
