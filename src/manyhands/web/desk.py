"""Work that costs computing time: one piece at a time, a short queue, and a refusal beyond it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.exceptions import HTTPException

Result = TypeVar("Result")


class Desk:
    """A thread that does one thing at a time, so that visitors cannot take all cores.

    Parameters
    ----------
    name
        Of the thread.
    most
        How many pieces of work may be there at once, the present one included; others are refused (429).
    """

    def __init__(self, name: str, most: int) -> None:
        self._most, self._here = most, 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"manyhands-{name}")
        self.done = 0
        """How many pieces of work were taken."""

    async def do(self, work: Callable[[], Result]) -> Result:
        """Return what ``work`` returns, when it is its turn.

        Raises
        ------
        HTTPException
            429 if too many others wait.
        """
        if self._here >= self._most:
            raise HTTPException(429, "others are being served; try again in a moment", {"Retry-After": "2"})
        self._here += 1
        self.done += 1
        running = asyncio.get_running_loop().run_in_executor(self._thread, work)
        # Not when this call ends: a visitor that goes away leaves the work behind, which still has the thread.
        running.add_done_callback(self._left)
        return await asyncio.shield(running)

    def begin(self, work: Callable[[], Result]) -> None:
        """Let the thread do something that nobody waits for."""
        self._thread.submit(work)

    def _left(self, running: asyncio.Future[Result]) -> None:
        self._here -= 1
        if not running.cancelled():
            running.exception()  # seen here, should nobody wait for it any more

    def close(self) -> None:
        """Take no more work, and do not wait for what is being done."""
        self._thread.shutdown(wait=False, cancel_futures=True)
