"""How the workers that hold one network together carry out the exchanges of a step: in shared memory, or by messages.

In shared memory the kernel reads what the others have computed where it lies, and needs to know where that is. Between
processes the same kernel reads messages that have been received before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.team import Team
from manyhands.learners.mlp import kernel_args
from manyhands.learners.mlp.slices.kernel_args import EXCHANGES, GATHER, SUM, SUM_NORMS, Exchange
from manyhands.learners.mlp.slices.program import Programs, Transfer
from manyhands.runtime.memory import aligned_zeros
from manyhands.runtime.shared_reduce import no_peers


class Room:
    """The memory of one worker for batches of up to some size, and its programs.

    Parameters
    ----------
    programs
        What is to be done.
    work
        A, D and slopes of this worker's neurons.
    team
        The workers that hold the network together.
    dtype
        Of all numbers.

    Attributes
    ----------
    exchange : Exchange
        What the kernel knows about the others.
    by_messages : bool
        Whether the exchanges are carried out here, and not by the kernel.
    """

    def __init__(self, programs: Programs, work: kernel_args.Work, team: Team, dtype: np.dtype[Any]) -> None:
        self.programs, self.work, self.team, self.rows = programs, work, team, programs.rows
        self._layout = programs.layout
        self.mail = aligned_zeros(programs.mail, dtype)
        self._signal = np.zeros(1, dtype)
        meeting = no_peers() if team.size == 1 else team.shared_reduction(self._signal)
        self.by_messages = meeting is None
        kinds, parts, layers = len(programs.transfers), team.size, self._layout.layers
        self.exchange = Exchange(
            meets=not self.by_messages,
            meeting=no_peers() if meeting is None else meeting,
            mail=self.mail,
            addresses=np.zeros((kinds, parts), np.uintp),
            pitches=np.zeros((kinds, parts), np.int64),
            widths=np.zeros((kinds, parts), np.int64),
            offsets=np.zeros((kinds, parts), np.int64),
            sources=np.full(kinds, parts, np.int64),
            joint=np.array([each.joint for each in programs.transfers], np.int64),
            norms=np.zeros(2 * layers),
            own_norms=np.zeros(2 * layers),
            squares=np.zeros(0),
        )
        self._count = -1
        self._messages: dict[int, Callable[[], None]] = {}
        for number, each in enumerate(programs.transfers):
            self._describe(number, each)
        if not self.by_messages:
            self._publish()

    def _describe(self, number: int, transfer: Transfer) -> None:
        """Write the shapes of all contributions to an exchange."""
        exchange, layout, unit = self.exchange, self._layout, transfer.unit
        for rank in range(self.team.size):
            if transfer.kind == GATHER:
                exchange.widths[number, rank] = exchange.pitches[number, rank] = layout.own_width(unit, rank)
                exchange.offsets[number, rank] = layout.offset(unit, rank)
            elif transfer.kind == SUM:
                exchange.pitches[number, rank] = transfer.joint
                exchange.widths[number, rank] = layout.own_width(unit, self.team.rank)
        if self.by_messages and transfer.kind == SUM:
            exchange.pitches[number] = exchange.widths[number]

    def _publish(self) -> None:
        """Tell everyone where everyone's contributions begin: addresses are exact in double precision."""
        own = np.array([self._address(each) for each in self.programs.transfers], np.float64)
        table = np.zeros((len(own), self.team.size))
        table[:, self.team.rank] = own
        sent = self.team.bytes_sent
        flat = table.reshape(-1)
        self.team.sum_(flat)
        self.team.bytes_sent = sent
        self.exchange.addresses[:] = table.astype(np.uint64)
        for number, each in enumerate(self.programs.transfers):
            if each.kind == SUM and each.own:
                shift = self._layout.offset(each.unit, self.team.rank) * self.mail.itemsize
                self.exchange.addresses[number] += np.uintp(shift)

    def _memory(self, which: int) -> NDArray[Any]:
        work = self.work
        return (work.values, work.deltas, self.mail)[which]

    def _address(self, transfer: Transfer) -> int:
        """Return where this worker's contribution begins."""
        if transfer.kind == SUM_NORMS:
            return int(self.exchange.own_norms.ctypes.data)
        memory = self._memory(transfer.memory)
        return int(memory.ctypes.data) + transfer.at * memory.itemsize

    def segments(self, program: NDArray[np.int64]) -> list[int]:
        """Return where the exchanges of a program stand."""
        return [index for index, row in enumerate(program.tolist()) if row[0] in EXCHANGES]

    def bytes_of(self, program: NDArray[np.int64], count: int) -> int:
        """Return how many bytes this worker offers to the others in one run of a program."""
        if self.team.size == 1:
            return 0
        return sum(
            self._bytes(self.programs.transfers[row[-1]], count) for row in program.tolist() if row[0] in EXCHANGES
        )

    def _bytes(self, transfer: Transfer, count: int) -> int:
        if transfer.kind == SUM_NORMS:
            return int(self.exchange.norms.nbytes)
        if transfer.kind == GATHER:
            return int(self._layout.own_width(transfer.unit, self.team.rank)) * count * self.mail.itemsize
        return transfer.joint * count * self.mail.itemsize

    def transfer(self, number: int, count: int) -> None:
        """Carry out an exchange by messages, for a batch of ``count`` samples."""
        if count != self._count:
            self._count, self._messages = count, {}
        send = self._messages.get(number)
        if send is None:
            send = self._messages[number] = self._message(number, self.programs.transfers[number], count)
        sent = self.team.bytes_sent
        send()
        self.team.bytes_sent = sent  # `bytes_of` counts them, the same for every kind of team

    def _message(self, number: int, transfer: Transfer, count: int) -> Callable[[], None]:
        """Return what carries out an exchange, with its memory found once."""
        if transfer.kind == GATHER:
            return self._gathering(number, transfer, count)
        if transfer.kind == SUM and transfer.own:
            return self._scattering(number, transfer, count)
        if transfer.kind == SUM_NORMS:
            return partial(self._sum_norms, number)
        whole = self.mail[transfer.at : transfer.at + count * transfer.joint]
        self._found(number, whole)
        return partial(self.team.sum_, whole)

    def _found(self, number: int, result: NDArray[Any]) -> None:
        """Note that an exchange leaves one sum, and where."""
        self.exchange.sources[number] = 1
        self.exchange.addresses[number] = result.ctypes.data

    def _sum_norms(self, number: int) -> None:
        self.team.sum_(self.exchange.own_norms)
        self._found(number, self.exchange.own_norms)

    def _gathering(self, number: int, transfer: Transfer, count: int) -> Callable[[], None]:
        """Return what receives all workers' neurons of a layer, one block of rows after the other."""
        widths = [self._layout.own_width(transfer.unit, rank) for rank in range(self.team.size)]
        begins = np.concatenate([[0], np.cumsum(widths)]) * count + transfer.inbox
        inbox = self.mail[begins[0] : begins[-1]]
        mine = self.mail[begins[self.team.rank] : begins[self.team.rank + 1]]
        source = self._memory(transfer.memory)[transfer.at : transfer.at + len(mine)]
        self.exchange.addresses[number] = self.mail.ctypes.data + begins[:-1] * self.mail.itemsize
        counts = [width * count * self.mail.itemsize for width in widths]

        def send() -> None:
            mine[:] = source
            self.team.all_gather_pieces_(inbox.view(np.uint8), counts)

        return send

    def _scattering(self, number: int, transfer: Transfer, count: int) -> Callable[[], None]:
        """Return what sends everyone's columns of what this worker has computed, and receives its own."""
        layout, unit, size = self._layout, transfer.unit, self.mail.itemsize
        widths = [layout.own_width(unit, rank) for rank in range(self.team.size)]
        offsets = [layout.offset(unit, rank) for rank in range(self.team.size)]
        own = widths[self.team.rank] * count
        inbox = self.mail[transfer.inbox : transfer.inbox + self.team.size * own]
        self.exchange.addresses[number] = inbox.ctypes.data + np.arange(self.team.size) * own * size
        matrix = self.mail[transfer.at : transfer.at + count * transfer.joint].reshape(count, transfer.joint)
        outbox = np.empty(sum(widths) * count, self.mail.dtype)
        begins = np.concatenate([[0], np.cumsum(widths)]) * count
        counts, expected = [width * count * size for width in widths], [own * size] * self.team.size

        def send() -> None:
            for begin, width, offset in zip(begins.tolist(), widths, offsets, strict=False):
                outbox[begin : begin + width * count].reshape(count, width)[:] = matrix[:, offset : offset + width]
            self.team.all_to_all(outbox.view(np.uint8), counts, inbox.view(np.uint8), expected)

        return send
