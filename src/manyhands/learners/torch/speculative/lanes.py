"""Lanes: threads that share the work of one step.

One lane goes forward, another one goes back. A backward pass is a chain, from one layer's input gradient to the next,
and the weight gradients of the layers hang from it: nothing waits for them but the optimizer. With balanced lanes, a
lane that has nothing else to do takes them, in the order in which the chain has made them possible.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from manyhands.learners.torch.speculative.layers import Layer, Saved


class Span(NamedTuple):
    """A piece of work: which lane did what to which layer, from when to when (seconds of `time.perf_counter`)."""

    lane: int
    what: str
    layer: str
    begin: float
    end: float


class Backward:
    """One backward pass, which several lanes may share.

    Parameters
    ----------
    layers
        The stack.
    saved
        What each layer has kept of a forward pass.
    gradient
        That of the stack's outputs.
    add
        Whether weight gradients are added to what is there.
    shared
        Whether weight gradients are left to whoever is free.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        saved: Sequence[Saved],
        gradient: Tensor,
        *,
        add: bool = False,
        shared: bool = True,
    ) -> None:
        self._layers, self._saved, self._gradient = layers, saved, gradient
        self._add, self._shared = add, shared
        self._first = next((number for number, layer in enumerate(layers) if layer.trained), len(layers))
        self._waiting: deque[tuple[int, Tensor]] = deque()
        self._changed = threading.Condition()
        self._chain_ends = False

    def descend(self, lane: Lane) -> None:
        """Go down the chain; then take what is left of the weight gradients."""
        gradient = self._gradient
        try:
            for number in range(len(self._layers) - 1, self._first - 1, -1):
                layer = self._layers[number]
                if layer.trained and self._shared:
                    with self._changed:
                        self._waiting.append((number, gradient))
                        self._changed.notify()
                elif layer.trained:
                    self._weights(lane, number, gradient)
                if number > self._first:
                    with lane.span("input gradient", layer.name):
                        gradient = layer.input_gradient(self._saved[number], gradient)
        finally:
            with self._changed:
                self._chain_ends = True
                self._changed.notify_all()
        self.help(lane)

    def help(self, lane: Lane) -> None:
        """Take weight gradients until there are none left."""
        while (task := self._next()) is not None:
            self._weights(lane, *task)

    def _next(self) -> tuple[int, Tensor] | None:
        with self._changed:
            while not self._waiting and not self._chain_ends:
                self._changed.wait()
            return self._waiting.popleft() if self._waiting else None

    def _weights(self, lane: Lane, number: int, gradient: Tensor) -> None:
        layer = self._layers[number]
        with lane.span("weight gradient", layer.name):
            layer.weight_gradient(self._saved[number], gradient, add=self._add)


@dataclass
class Lane:
    """One lane's record of a step."""

    number: int
    spans: list[Span] = field(default_factory=list)

    def span(self, what: str, layer: str) -> _Timed:
        """Return a context that notes a piece of work."""
        return _Timed(self, what, layer)

    @property
    def busy(self) -> float:
        """Seconds of work."""
        return sum(each.end - each.begin for each in self.spans)


class _Timed:
    """A context manager, not a generator: there are some twenty of them in a step of a few milliseconds."""

    __slots__ = ("_begin", "_lane", "_layer", "_what")

    def __init__(self, lane: Lane, what: str, layer: str) -> None:
        self._lane, self._what, self._layer = lane, what, layer

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        now = time.perf_counter()
        self._lane.spans.append(Span(self._lane.number, self._what, self._layer, self._begin, now))


class Lanes:
    """Threads that wait for work; the caller's is the first lane. They end with this object.

    Parameters
    ----------
    count
        How many lanes there are.
    balanced
        Whether lanes share the weight gradients.
    """

    def __init__(self, count: int, *, balanced: bool = True) -> None:
        self.count, self.balanced = count, balanced
        self._inboxes: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in range(count - 1)]
        for inbox in self._inboxes:
            given = inbox, torch.get_num_threads()
            threading.Thread(target=_serve, args=given, name="lane", daemon=True).start()

    def close(self) -> None:
        """End the threads."""
        for inbox in self._inboxes:
            inbox.put(None)

    def __del__(self) -> None:
        self.close()

    def beside(self, forward: Callable[[Lane], None], backward: Backward) -> list[Lane]:
        """Go forward in the first lane while others go back; return what each lane has done."""
        lanes = [Lane(number) for number in range(self.count)]

        def first() -> None:
            forward(lanes[0])
            if self.balanced:
                backward.help(lanes[0])

        if self.count == 1:
            forward(lanes[0])
            backward.descend(lanes[0])
        else:
            others = [(backward.descend, lanes[1]), *((backward.help, lane) for lane in lanes[2:])]
            self._together(first, others)
        return lanes

    def back(self, backward: Backward) -> list[Lane]:
        """Let the lanes go back together, with nothing beside it; only balanced lanes can share this."""
        lanes = [Lane(number) for number in range(self.count if self.balanced else 1)]
        self._together(lambda: backward.descend(lanes[0]), [(backward.help, lane) for lane in lanes[1:]])
        return lanes

    def _together(self, own: Callable[[], None], others: Sequence[tuple[Callable[[Lane], None], Lane]]) -> None:
        """Do all of this at the same time; the first error of any lane is raised when all have ended."""
        done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()  # of this step: Ctrl-C may leave answers
        for inbox, work in zip(self._inboxes, others, strict=False):
            inbox.put((*work, done))
        errors: list[BaseException] = []
        try:
            own()
        except BaseException as error:
            errors.append(error)
        answers = [done.get() for _ in others]
        errors += [answer for answer in answers if answer is not None]
        if errors:
            raise errors[0]


def _serve(inbox: queue.SimpleQueue[Any], threads: int) -> None:
    torch.set_num_threads(threads)  # that of the first lane: OpenMP keeps a number for every thread
    with torch.no_grad():
        while (work := inbox.get()) is not None:
            function, lane, done = work
            try:
                function(lane)
                done.put(None)
            except BaseException as error:
                done.put(error)
            work = function = lane = None  # nothing of a step is kept while there is no work
