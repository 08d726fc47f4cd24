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
    """The backward passes of one step, which several lanes may share.

    Each pass is a chain of input gradients, with weight gradients hanging from it. Those of one layer are summed in the
    order of the passes, whoever computes them: the sums have the same bits with any number of lanes.

    Parameters
    ----------
    layers
        The stack.
    add
        Whether weight gradients are added to what is there.
    shared
        Whether weight gradients are left to whoever is free.
    """

    def __init__(self, layers: Sequence[Layer], *, add: bool = False, shared: bool = True) -> None:
        self._layers, self._add, self._shared = layers, add, shared
        self._first = next((number for number, layer in enumerate(layers) if layer.trained), len(layers))
        self._chains: deque[_Pass] = deque()
        self._weights: deque[_Weights] = deque()
        self._summed = [0] * len(layers)
        self._passes = self._descending = 0
        self._ended = self._failed = False
        self._changed = threading.Condition()

    def add(self, saved: Sequence[Saved], gradient: Tensor) -> None:
        """Add a pass that is ready: what each layer has kept of a forward pass, and the gradient of the outputs."""
        with self._changed:
            self._chains.append(_Pass(self._passes, saved, gradient))
            self._passes += 1
            self._changed.notify_all()

    def end(self) -> None:
        """Say that no pass is to come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def share(self, lane: Lane) -> None:
        """Take work until nothing is left, nor to come: a chain if there is one, else weight gradients."""
        while (task := self._next()) is not None:
            self._do(lane, task)

    def catch_up(self, lane: Lane) -> None:
        """Take what work there is, by oneself."""
        while self._chains:
            self._do(lane, self._begin(self._chains.popleft()))

    def _next(self) -> _Pass | _Weights | None:
        with self._changed:
            while not self._finished:
                if self._chains:
                    return self._begin(self._chains.popleft())
                for place, task in enumerate(self._weights):
                    if self._summed[task.layer] == task.of.number:
                        del self._weights[place]
                        return task
                self._changed.wait()
        return None

    @property
    def _finished(self) -> bool:
        return self._failed or (self._ended and not (self._chains or self._weights or self._descending))

    def _begin(self, chain: _Pass) -> _Pass:
        self._descending += 1
        return chain

    def _do(self, lane: Lane, task: _Pass | _Weights) -> None:
        try:
            if isinstance(task, _Weights):
                self._sum(lane, task)
            else:
                self._descend(lane, task)
        except BaseException:
            self._failed = True  # nobody may wait for what will not come
            raise
        finally:
            with self._changed:
                self._descending -= isinstance(task, _Pass)
                self._changed.notify_all()

    def _descend(self, lane: Lane, chain: _Pass) -> None:
        """Go down a chain, and leave the weight gradients to others, or not."""
        gradient = chain.gradient
        for number in range(len(self._layers) - 1, self._first - 1, -1):
            layer = self._layers[number]
            if layer.trained:
                task = _Weights(number, chain, gradient)
                if self._shared:
                    with self._changed:
                        self._weights.append(task)
                        self._changed.notify()
                else:
                    self._sum(lane, task)
            if number > self._first:
                with lane.span("input gradient", layer.name):
                    gradient = layer.input_gradient(chain.saved[number], gradient)

    def _sum(self, lane: Lane, task: _Weights) -> None:
        layer = self._layers[task.layer]
        with lane.span("weight gradient", layer.name):
            layer.weight_gradient(task.of.saved[task.layer], task.gradient, add=self._add or task.of.number > 0)
        with self._changed:
            self._summed[task.layer] += 1


class _Pass(NamedTuple):
    """A backward pass: its number, what each layer has kept, and the gradient of the outputs."""

    number: int
    saved: Sequence[Saved]
    gradient: Tensor


class _Weights(NamedTuple):
    """A weight gradient to be computed: of which layer and pass, and the gradient of the layer's outputs."""

    layer: int
    of: _Pass
    gradient: Tensor


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

    def share(self, backward: Backward, forward: Callable[[Lane], None] | None = None) -> list[Lane]:
        """Go back in all lanes, the first of which goes forward before; return what each lane has done."""
        lanes = [Lane(number) for number in range(self.count if self.balanced or forward else 1)]
        # Plain lanes: one goes forward, and one back.
        helpers = lanes[1:] if self.balanced else lanes[1:2]

        def first() -> None:
            try:
                if forward is not None:
                    forward(lanes[0])
            finally:
                backward.end()
            if self.balanced or len(lanes) == 1:
                backward.share(lanes[0])

        self._together(first, [(backward.share, lane) for lane in helpers])
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
