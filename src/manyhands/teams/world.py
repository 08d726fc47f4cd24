"""The job of processes that this process is a member of: exchanging arrays and texts, waiting, and leaving.

A kind of job gives the transfers (`World.start_all_to_all` and the others that raise NotImplementedError here); all
that is made of them stands here. Everything waits without blocking, and looks meanwhile whether a worker is lost.
"""

from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError, WorkerLost
from manyhands.teams.watchdog import Messages, Watch

_LARGEST_MESSAGE = 1 << 30
"""Bytes in one message: MPI counts in 32 bits."""
_LAST_WORDS_SECONDS = 1.0
IDLE_NAP = 0.01
"""Seconds between two looks of a process that has nothing else to do."""

Bytes = NDArray[np.uint8]
Transfer = Any
"""A transfer that has been started, for `World.wait`."""


class World(ABC):
    """The place of this process in a job.

    Attributes
    ----------
    rank, size : int
        This process, and the number of processes.
    library : str
        Name and version of the library that carries the messages.
    place : int
        This process's number among those on its machine.
    job : str
        What messages call such a job, such as "an MPI job".
    watch : Watch or None
        Watches the other processes; None in a job of one.
    can_regroup : bool
        Whether it can go on without processes that are lost.
    survives : bool
        Whether it does so now; else every loss ends the job.
    """

    rank: int
    size: int
    library: str
    place: int
    job: str
    can_regroup: bool = False
    survives: bool = False

    def __init__(self) -> None:
        self.watch: Watch | None = None
        self._abandoned: list[Any] = []
        self._process = os.getpid()

    def begin_watch(self, messages: Messages, calm: float | None) -> None:
        """Watch the other processes from now on; ``calm`` is the patience with those that are not training."""
        self.watch = Watch(messages) if calm is None else Watch(messages, calm)
        self.watch.start()

    def part(self, ranks: Sequence[int]) -> World:
        """Return the place of this process among some of the job's; see `manyhands.core.team.Team.part`."""
        raise SettingsError(f"the workers of {self.job} cannot divide a network")

    @abstractmethod
    def start_all_to_all(
        self, sent: Bytes, counts: Sequence[int], received: Bytes, expected: Sequence[int]
    ) -> Transfer:
        """Send ``counts[r]`` consecutive bytes to each rank r, and receive ``expected[r]`` from it."""

    @abstractmethod
    def start_exchange(self, parts: Bytes, counts: Sequence[int], rows: Bytes) -> Transfer:
        """Send each other rank r the part r of ``parts``, and receive its part for this process into row r.

        ``counts`` are the bytes of the parts; ``rows`` has as many for each rank as this process's part. What the row
        of this process holds afterwards is not defined.
        """

    @abstractmethod
    def start_all_gather(self, parts: Bytes, counts: Sequence[int]) -> Transfer:
        """Replace all parts but the own one by those of the other processes."""

    @abstractmethod
    def start_broadcast(self, content: Bytes, root: int) -> Transfer:
        """Replace the content by the one of ``root``."""

    @abstractmethod
    def start_barrier(self) -> Transfer:
        """Begin to wait for all processes."""

    @abstractmethod
    def send_text(self, text: str, to: int, tag: int) -> None:
        """Send a text to one process, which takes it by its tag."""

    @abstractmethod
    def take_text(self, tag: int) -> tuple[int, str] | None:
        """Return a text of this tag that has come, and who has sent it; None if there is none."""

    @abstractmethod
    def complete(self, transfers: Sequence[Transfer], *, idle: bool) -> None:
        """Wait for transfers, calling `check` often."""

    @abstractmethod
    def blamed(self, error: RuntimeError) -> tuple[int, str]:
        """Return which worker an error of a transfer is about, and what has happened to it."""

    def lost_by(self, error: RuntimeError) -> WorkerLost:
        """Return the loss that an error of a transfer means, in a job that goes on after it."""
        return WorkerLost(*self.blamed(error))

    def regroup(self) -> list[tuple[int, str]]:
        """Go on without the processes that are lost; see `manyhands.core.team.Team.regroup`."""
        raise WorkerLost(self.rank, f"cannot go on without the lost ones: {self.job} ends with any of its processes")

    def agree(self, well: bool) -> bool:
        """Return whether all say that they are well; see `manyhands.core.team.Team.agree`."""
        raise WorkerLost(self.rank, f"cannot agree with the others: {self.job} ends with any of its processes")

    def let_go(self, reason: str, words: str) -> None:
        """End this process, and let the others go on without it, if the job does that; ``words`` are for the user."""
        if self.survives and self.watch is not None and not self.watch.final:
            self.watch.leave(reason, words)

    @abstractmethod
    def abort(self, status: int) -> None:
        """End all processes of the job now."""

    @abstractmethod
    def end(self) -> None:
        """Give back what the library holds, at the end of a job that is well."""

    @abstractmethod
    def is_over(self) -> bool:
        """Return whether other code has ended the job already."""

    def wait(self, *transfers: Transfer, idle: bool = False) -> None:
        """Wait for transfers that have been started; WorkerLost if a worker is lost meanwhile.

        If ``idle``, there is no hurry: the core is left to others from the beginning.
        """
        if self.watch is not None:
            self.watch.depends = True
        try:
            self.complete(transfers, idle=idle)
        except WorkerLost:
            self._abandoned.append(transfers)  # their memory must stay: the messages may still come
            raise
        except RuntimeError as error:  # of mpi4py or PyTorch, where the others survive lost processes
            self._abandoned.append(transfers)
            if self.survives:
                raise self.lost_by(error) from error
            self.call_off(*self.blamed(error))
            self.check()
            raise
        finally:
            if self.watch is not None:
                self.watch.depends = False

    def barrier(self) -> None:
        """Wait for all processes."""
        self.wait(self.start_barrier())

    def check(self) -> None:
        """Raise WorkerLost if a worker is lost."""
        if self.watch is not None and self.watch.lost is not None:
            raise WorkerLost(*self.watch.lost)

    def call_off(self, rank: int, reason: str) -> bool:
        """Notify all processes that worker ``rank`` will not come; return whether this was news."""
        return self.watch is not None and self.watch.call_off(rank, reason)

    def all_gather_texts(self, text: str) -> list[str]:
        """Give every process the texts of all, in rank order."""
        content = np.frombuffer(text.encode(), np.uint8)
        lengths = np.zeros(self.size, np.int64)
        lengths[self.rank] = len(content)
        self.wait(self.start_all_gather(lengths.view(np.uint8), [lengths.itemsize] * self.size))
        together, ends = np.zeros(int(lengths.sum()), np.uint8), np.cumsum(lengths)
        begins = ends - lengths
        together[begins[self.rank] : ends[self.rank]] = content
        self.wait(self.start_all_gather(together, lengths.tolist()))
        return [bytes(together[begin:end]).decode() for begin, end in zip(begins, ends, strict=True)]

    def broadcast_text(self, text: str, *, idle: bool = False) -> str:
        """Give every process the text of rank 0, which may take its time if they are ``idle``."""
        length = np.array([len(text.encode())], np.int64)
        self.wait(self.start_broadcast(length.view(np.uint8), 0), idle=idle)
        content = np.zeros(int(length[0]), np.uint8)
        if self.rank == 0:
            content[:] = np.frombuffer(text.encode(), np.uint8)
        self.broadcast_(content)
        return content.tobytes().decode()

    def broadcast_(self, array: NDArray[Any], root: int = 0) -> None:
        """Replace a contiguous array of any size and dtype on all processes by the one of ``root``."""
        flat = as_bytes(array)
        for begin in range(0, len(flat), _LARGEST_MESSAGE):
            self.wait(self.start_broadcast(flat[begin : begin + _LARGEST_MESSAGE], root))

    def all_gather_arrays(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """Give every process the arrays of all, in rank order; dtypes and shapes may differ.

        Arrays of objects travel as JSON, so these must be text, numbers or truth values.
        """
        mine = [array.dtype.str, array.shape, array.tolist() if array.dtype.hasobject else None]
        arrays = []
        for rank, (dtype, shape, values) in enumerate(map(json.loads, self.all_gather_texts(json.dumps(mine)))):
            if values is not None:
                each = np.empty(shape, object)
                each[...] = values
            else:
                each = np.ascontiguousarray(array) if rank == self.rank else np.empty(shape, np.dtype(dtype))
                self.broadcast_(each, rank)
            arrays.append(each)
        return arrays

    def gather(self, array: NDArray[Any]) -> NDArray[Any] | None:
        """Return the one-dimensional arrays of all, as rows, on rank 0; None elsewhere."""
        leads, nothing = self.rank == 0, np.zeros(0, np.uint8)
        rows = np.zeros((self.size, len(array)), array.dtype) if leads else None
        counts = [array.nbytes if rank == 0 else 0 for rank in range(self.size)]
        expected = [array.nbytes if leads else 0] * self.size
        received = nothing if rows is None else as_bytes(rows)
        self.wait(self.start_all_to_all(as_bytes(np.ascontiguousarray(array)), counts, received, expected))
        return rows

    def scatter(self, array: NDArray[Any] | None, rows: Sequence[int], like: NDArray[Any]) -> None:
        """Send consecutive rows of rank 0's ``array``, ``rows[r]`` to rank r, into everyone's ``like``."""
        width = like[:1].nbytes if len(like) else like.dtype.itemsize * int(np.prod(like.shape[1:]))
        source = np.zeros(0, np.uint8) if array is None else as_bytes(np.ascontiguousarray(array))
        counts = [0 if array is None else count * width for count in rows]
        expected = [like.nbytes if rank == 0 else 0 for rank in range(self.size)]
        self.wait(self.start_all_to_all(source, counts, as_bytes(like), expected))

    def await_text(self, tag: int) -> str:
        """Return the next text of this tag, leaving the core to others meanwhile."""
        if self.watch is not None:
            self.watch.depends = True
        try:
            while (found := self.take_text(tag)) is None:
                self.check()
                time.sleep(IDLE_NAP)
        finally:
            if self.watch is not None:
                self.watch.depends = False
        return found[1]

    def leave(self) -> None:
        """Leave the job in good order, or, after a failure, end it for all."""
        if self.is_over() or os.getpid() != self._process:  # a fork is no member, though it believes to be one
            return
        if self.watch is not None:
            self.watch.close()
        if self.watch is None or self.watch.lost is None:
            self.end()
            return
        # The process that knows the cause reports it and ends the job, once the others have reported theirs.
        time.sleep(_LAST_WORDS_SECONDS if self.watch.mine else 2 * _LAST_WORDS_SECONDS)
        self.abort(1)


def as_bytes(array: NDArray[Any]) -> Bytes:
    """Return a contiguous array's memory."""
    return array.reshape(-1).view(np.uint8)


def begins_of(counts: Sequence[int]) -> list[int]:
    """Return where each of consecutive parts begins."""
    return [sum(counts[:rank]) for rank in range(len(counts))]
