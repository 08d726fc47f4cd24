"""The training that all browsers watch: the process that does it, one training at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException

from manyhands.core.words import count
from manyhands.web.choices import DataChoice, TrainingRequest, as_record
from manyhands.web.event_log import EventLog

_CHILD = (sys.executable, "-m", "manyhands.web.child")
_LONGEST_LINE = 1 << 24
_GRACE_SECONDS = 0.6
"""How long a training may take to stop by itself; then its process ends."""
_ENDS = ("verdict", "stopped", "failed")


class Trainer:
    """Starts and stops trainings; what they tell goes into a log.

    Parameters
    ----------
    log
        Which browsers follow.

    Attributes
    ----------
    running : bool
        Whether a training goes on.
    """

    def __init__(self, log: EventLog) -> None:
        self.log, self.running = log, False
        self._child: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._disturbances = 0

    async def start(self, request: TrainingRequest, choice: DataChoice) -> None:
        """Start a training.

        Raises
        ------
        HTTPException
            409 if another one goes on.
        """
        if self.running:
            raise HTTPException(409, "a training is going on; watch it, or stop it first")
        self.running, self._disturbances = True, 0
        self._ended.clear()
        self.log.clear()
        record = as_record(request, choice)
        self.log.add({"kind": "begin", "request": record["request"], "title": choice.title})
        try:
            await self._ask({"do": "train", "training": record})
        except OSError as error:
            self._finish({"kind": "failed", "text": f"the process for trainings cannot be started: {error}"})

    async def stop(self) -> None:
        """Stop the training; return when it has ended, by itself or with its process."""
        if not self.running:
            return
        with contextlib.suppress(OSError):
            await self._ask({"do": "stop"})
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await self._ended.wait()
        except TimeoutError:
            self._finish({"kind": "stopped"})
            await self.close()

    def note_disturbance(self) -> None:
        """Note that the server has worked while a training went on, which takes time from it."""
        self._disturbances += self.running

    async def close(self) -> None:
        """End the process."""
        child, listening = self._child, self._listening
        self._child = self._listening = None
        if listening is not None:
            listening.cancel()
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()

    async def _ask(self, command: Mapping[str, Any]) -> None:
        """Send a command to the process, which is started if there is none."""
        if self._child is None or self._child.returncode is not None:
            self._child = await _started()
            self._listening = asyncio.create_task(self._listen(self._child))
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(command).encode() + b"\n")
        await self._child.stdin.drain()

    async def _listen(self, child: asyncio.subprocess.Process) -> None:
        """Put into the log what the process tells, until it ends."""
        assert child.stdout is not None
        async for line in child.stdout:
            record = json.loads(line)
            if record["kind"] in _ENDS:
                self._finish(record)
            elif self.running:
                self.log.add(record)
        status = await child.wait()
        self._finish({"kind": "failed", "text": f"the training has ended early: its process has ended ({status})"})

    def _finish(self, record: dict[str, Any]) -> None:
        """Note how the training has ended, once."""
        if not self.running:
            return
        self.running = False
        if record["kind"] == "verdict" and self._disturbances:
            read = (
                f"The server read {count(self._disturbances, 'picture')} meanwhile, which took time from the training."
            )
            record = {**record, "notes": [*record["notes"], read]}
        self.log.add(record)
        self._ended.set()


async def _started() -> asyncio.subprocess.Process:
    """Start the process: in a session of its own, because Ctrl-C on the terminal is for the server alone."""
    return await asyncio.create_subprocess_exec(
        *_CHILD,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
