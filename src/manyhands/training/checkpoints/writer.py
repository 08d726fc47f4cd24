"""Writing checkpoints beside the training, in a thread that does nothing else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from manyhands.core.errors import OutputError
from manyhands.training.checkpoints.state import State

Write = Callable[[int, Sequence[State]], Path]
"""Writes the states of all workers after so many steps; returns the file."""


class Writer:
    """Writes one checkpoint at a time; a failure is said, and ends nothing.

    Parameters
    ----------
    write
        What writes a file, or raises OutputError.

    Attributes
    ----------
    seconds : float
        Processor time of all writing so far: where every core has a worker, it is taken from one.
    last : Path or None
        The newest file that was written.
    problem : str or None
        Why the last one could not be written.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._thread: threading.Thread | None = None
        self.seconds = 0.0
        self.last: Path | None = None
        self.problem: str | None = None

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, steps: int, states: Sequence[State]) -> None:
        """Begin to write the states of all workers after so many steps; the one before must be done."""
        self.finish()
        self._thread = threading.Thread(target=self._run, args=(steps, states), name="manyhands-checkpoint")
        self._thread.start()

    def finish(self) -> None:
        """Wait until nothing is being written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, steps: int, states: Sequence[State]) -> None:
        began = time.thread_time()
        try:
            self.last, self.problem = self._write(steps, states), None
        except OutputError as error:
            self.problem = str(error)
            newest = "there is none yet" if self.last is None else f"the newest is {self.last.name}"
            logging.getLogger("manyhands").warning(
                "the checkpoint after step %d is missing, and training goes on (%s): %s", steps, newest, error
            )
        self.seconds += time.thread_time() - began
