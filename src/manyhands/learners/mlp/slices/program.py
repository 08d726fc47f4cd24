"""What a worker with slices of a network does in a step: a list of operations, and the memory that they need.

Of each layer's neurons, a worker has its own (their A and D are in `Work`), or all. Columns of weights need the inputs
of all, so these are put side by side first; rows give a part of every sum, so these are added up then. Backward it is
the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from manyhands.learners.mlp.slices.kernel_args import (
    ACTIVATE,
    APPLY,
    BACK,
    BEGIN,
    DELTAS,
    FIELDS,
    FORWARD,
    FUSED,
    GATHER,
    GRADIENT,
    LOAD,
    LOSS,
    MAIL,
    MEET,
    NORMS,
    SLOPES,
    SUM,
    SUM_NORMS,
    VALUES,
)
from manyhands.learners.mlp.slices.layout import COLUMNS, ROWS, SliceLayout


@dataclass(frozen=True)
class Transfer:
    """One exchange of a step.

    Attributes
    ----------
    kind
        GATHER, SUM, SUM_NORMS or MEET.
    unit
        The layer of neurons that it is about.
    memory, at
        Where this worker's contribution is; -1 for norms.
    joint
        Elements of a row of what all have together.
    own
        Whether a sum is wanted of this worker's neurons only.
    inbox
        Where in the mail messages are received.
    """

    kind: int
    unit: int = 0
    memory: int = MAIL
    at: int = 0
    joint: int = 0
    own: bool = False
    inbox: int = 0


@dataclass
class Programs:
    """All programs of one worker for batches of up to ``rows`` samples.

    Attributes
    ----------
    train, gradient, apply, predict
        A step alone; the gradient, left whole; the update with it; and the outputs.
    transfers
        All exchanges; the programs name them by their numbers.
    mail
        Elements of the mail.
    """

    layout: SliceLayout
    rows: int
    starts: NDArray[np.int64]
    scaled: bool
    transfers: list[Transfer] = field(default_factory=list)
    mail: int = 0

    def __post_init__(self) -> None:
        self._inputs: dict[int, tuple[int, int, int]] = {}
        forward = self._forward()
        backward = self._backward()
        updates = [_row(APPLY, layer) for layer in range(self.layout.layers)]
        if self.scaled:
            norms = [_row(NORMS, layer) for layer in range(self.layout.layers)]
            updates = [*norms, self._exchange(Transfer(SUM_NORMS)), *updates]
        whole = [*forward, _row(LOSS), *backward(GRADIENT)]
        alone = [*whole, _row(BEGIN), *updates] if self.scaled else [
            *forward, _row(LOSS), _row(BEGIN), *backward(FUSED)
        ]  # fmt: skip
        self.train, self.gradient = self._program(alone), self._program(whole)
        self.apply, self.predict = self._program([_row(BEGIN), *updates]), self._program([*forward, _row(LOSS)])

    def _program(self, rows: list[list[int]]) -> NDArray[np.int64]:
        """Return a program; one with a single exchange gets a second meeting, so that nobody is a step ahead."""
        if sum(row[0] in (GATHER, SUM, SUM_NORMS) for row in rows) == 1:
            rows = [*rows, self._exchange(Transfer(MEET))]
        return np.array(rows, np.int64)

    def _room(self, width: int) -> int:
        """Return where in the mail there is room for a matrix of so many columns."""
        begin = self.mail
        self.mail += -(-self.rows * width // 16) * 16
        return begin

    def _exchange(self, transfer: Transfer, memory: int = MAIL, at: int = 0) -> list[int]:
        """Return the operation for an exchange whose result goes to ``at`` of a memory."""
        self.transfers.append(transfer)
        return _row(transfer.kind, transfer.unit, target=memory, target_at=at, number=len(self.transfers) - 1)

    def _gather(self, unit: int, memory: int) -> tuple[list[int], int]:
        """Return the operation that puts all workers' neurons of a layer side by side, and where."""
        joint = int(self.layout.joint_widths[unit])
        at, inbox = self._room(joint), self._room(joint)
        transfer = Transfer(GATHER, unit, memory, int(self.starts[unit]), joint, inbox=inbox)
        return self._exchange(transfer, MAIL, at), at

    def _sum(self, unit: int, partial: int, memory: int) -> list[int]:
        """Return the operation that adds up what all have computed for a layer, into this worker's neurons."""
        own, joint = self.layout.cut.sliced[unit], int(self.layout.joint_widths[unit])
        inbox = self._room(self.layout.parts * int(self.layout.widths[unit])) if own else partial
        transfer = Transfer(SUM, unit, MAIL, partial, joint, own, inbox)
        return self._exchange(transfer, memory, int(self.starts[unit]))

    def _forward(self) -> list[list[int]]:
        layout, rows = self.layout, [_row(LOAD)]
        for layer, kind in enumerate(layout.cut.kinds):
            source = VALUES, int(self.starts[layer]), int(layout.widths[layer])
            if kind == COLUMNS and layout.cut.sliced[layer]:
                operation, at = self._gather(layer, VALUES)
                rows.append(operation)
                source = MAIL, at, int(layout.joint_widths[layer])
            self._inputs[layer] = source
            if kind == ROWS:
                partial = self._room(int(layout.outer[layer]))
                rows += [_row(FORWARD, layer, source, MAIL, partial), self._sum(layer + 1, partial, VALUES)]
            else:
                rows.append(_row(FORWARD, layer, source, VALUES, int(self.starts[layer + 1])))
            rows.append(_row(ACTIVATE, layer))
        return rows

    def _backward(self) -> _Backward:
        """Return what makes the operations from the last layer's deltas on."""
        layout, before = self.layout, {}
        deltas: dict[int, tuple[int, int]] = {}
        for layer in reversed(range(layout.layers)):
            kind, rows = layout.cut.kinds[layer], []
            deltas[layer] = DELTAS, int(self.starts[layer + 1])
            if kind == ROWS and layout.cut.sliced[layer + 1]:
                operation, at = self._gather(layer + 1, DELTAS)
                rows.append(operation)
                deltas[layer] = MAIL, at
            if layer > 0 and kind == COLUMNS:
                partial = self._room(int(layout.inner[layer]))
                rows.append(_row(BACK, layer, target=MAIL, target_at=partial, delta=deltas[layer]))
                rows.append(self._sum(layer, partial, DELTAS))
            elif layer > 0:
                at = int(self.starts[layer])
                rows.append(_row(BACK, layer, target=DELTAS, target_at=at, delta=deltas[layer]))
            if layer > 0:
                rows.append(_row(SLOPES, layer))
            before[layer] = rows
        return _Backward(before, self._inputs, deltas)


@dataclass(frozen=True)
class _Backward:
    """The way back, which ends for each layer with its gradient, or with its update."""

    before: dict[int, list[list[int]]]
    inputs: dict[int, tuple[int, int, int]]
    deltas: dict[int, tuple[int, int]]

    def __call__(self, code: int) -> list[list[int]]:
        rows: list[list[int]] = []
        for layer, operations in self.before.items():
            rows += [*operations, _row(code, layer, self.inputs[layer], delta=self.deltas[layer])]
        return rows


def _row(
    code: int,
    layer: int = 0,
    source: tuple[int, int, int] = (VALUES, 0, 0),
    target: int = VALUES,
    target_at: int = 0,
    delta: tuple[int, int] = (DELTAS, 0),
    number: int = 0,
) -> list[int]:
    """Return one operation."""
    row = [code, layer, *source, target, target_at, *delta, number]
    assert len(row) == FIELDS
    return row
