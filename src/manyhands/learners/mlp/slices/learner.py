"""One worker's slices of a network, as a learner: what it does, all workers that hold the network do together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DivergedError, WorkerLost
from manyhands.core.learner import Rounds, RunOutcome, Snapshots
from manyhands.core.samples import Control, Order, Samples
from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.learners.mlp import kernel_args
from manyhands.learners.mlp.layout import Layout, drawn_pieces
from manyhands.learners.mlp.learner import MLP, PREDICTION_ROWS
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.learners.mlp.slices import kernels
from manyhands.learners.mlp.slices.exchanges import Room
from manyhands.learners.mlp.slices.kernel_args import Slices
from manyhands.learners.mlp.slices.layout import SliceLayout
from manyhands.learners.mlp.slices.program import Programs
from manyhands.runtime.memory import aligned_zeros

_AT_ONCE = 1 << 22
"""Numbers of a layer's weights that are put together at once."""


class SlicedMLP(MLP):
    """A worker's part of a network that a group of workers holds together.

    Its vectors are those of its part. Every method that computes is a collective of the group, whose workers call it
    with the same samples, and get the same answer; so are `whole`, `state` and `weights`, which give the whole network.

    Parameters
    ----------
    settings, features, classes, rank, seed
        Of the whole network; see `manyhands.learners.mlp.learner.MLP`.
    team
        The group.
    level
        How the network is divided; see `manyhands.learners.mlp.slices.layout`.

    Raises
    ------
    SettingsError
        If a layer has fewer neurons than there are workers.
    """

    holds_rounds = keeps_snapshots = False

    def __init__(
        self,
        settings: MLPSettings,
        features: int,
        classes: int,
        *,
        team: Team,
        level: str,
        rank: int = 0,
        seed: int = 0,
    ) -> None:
        self.slices = SliceLayout(features, settings.hidden, classes, level=level, rank=team.rank, parts=team.size)
        self.group = team
        super().__init__(settings, features, classes, rank=rank, seed=seed, layout=self.slices)
        self._whole_layout = Layout(features, settings.hidden, classes)
        counted = [float(self.slices.is_counted(layer)) for layer in range(self.slices.layers)]
        self._shape = Slices(self.slices.inner, self.slices.outer, self.slices.first_input, np.array(counted))
        if not self.divisible:  # the step of a layer depends on all of its gradient
            self._scratch = aligned_zeros(self.size, self.dtype)
        self._room: Room | None = None
        self._prediction_room: Room | None = None

    def initialize(self, rng: np.random.Generator) -> None:
        """Write this worker's part of a random start, which is that of the undivided network."""
        self.parameters[:] = 0
        for drawn in drawn_pieces(self.slices.whole_widths, self.settings, rng):
            if not drawn.of_weights:
                own = self.slices.bias_slice(drawn.layer)
                self.slices.biases(self.parameters, drawn.layer)[:] = drawn.values[own]
                continue
            self._write(self.parameters, drawn.layer, drawn.first, drawn.values)
        self._first[:] = 0
        self._second[:] = 0
        self.steps_taken = 0

    def _write(self, vector: Vector, layer: int, first: int, rows: NDArray[Any]) -> None:
        """Take this worker's part of consecutive rows of a whole layer's weights."""
        own = self.slices.weights(vector, layer)
        for block in self.slices.blocks(layer):
            begin, end = max(block.rows.start, first), min(block.rows.stop, first + len(rows))
            if begin < end:
                shift = block.own_rows.start - block.rows.start
                own[begin + shift : end + shift, block.own_columns] = rows[begin - first : end - first, block.columns]

    def _read(self, vector: Vector, layer: int, first: int, rows: NDArray[Any]) -> None:
        """Write this worker's part of a layer's weights into consecutive rows of the whole layer's."""
        own = self.slices.weights(vector, layer)
        for block in self.slices.blocks(layer):
            begin, end = max(block.rows.start, first), min(block.rows.stop, first + len(rows))
            if begin < end:
                shift = block.own_rows.start - block.rows.start
                rows[begin - first : end - first, block.columns] = own[begin + shift : end + shift, block.own_columns]

    def _joined(self, vector: Vector, out: Vector) -> None:
        """Put the parts that all workers have of a vector together, some rows of a layer at a time: a collective."""
        layout, sent = self._whole_layout, self.group.bytes_sent
        for layer in range(layout.layers):
            target = layout.weights(out, layer)
            at_once = max(1, _AT_ONCE // target.shape[1])
            for first in range(0, len(target), at_once):
                rows = np.zeros(target[first : first + at_once].shape, self.dtype)
                if self.slices.is_counted(layer):
                    self._read(vector, layer, first, rows)
                self.group.sum_(rows.reshape(-1))
                target[first : first + at_once] = rows
            biases = np.zeros(target.shape[1], self.dtype)
            if self.slices.counts_biases(layer):
                biases[self.slices.bias_slice(layer)] = self.slices.biases(vector, layer)
            self.group.sum_(biases)
            layout.biases(out, layer)[:] = biases
        self.group.bytes_sent = sent  # of training alone

    def _divided(self, whole: Vector, out: Vector) -> None:
        """Take this worker's part of a whole vector."""
        out[:] = 0
        for layer in range(self._whole_layout.layers):
            self._write(out, layer, 0, self._whole_layout.weights(whole, layer))
            own = self.slices.bias_slice(layer)
            self.slices.biases(out, layer)[:] = self._whole_layout.biases(whole, layer)[own]

    def _undivided(self) -> MLP:
        return MLP(self.settings, self.features, self.classes, rank=self.rank, seed=self.seed)

    def whole(self, into: Any = None) -> MLP:
        """Return the whole network with its optimizer's state: a collective of those that hold it."""
        found: MLP = self._undivided() if into is None else into
        self._joined(self.parameters, found.parameters)
        for name, vector in self.optimizer_state.items():
            self._joined(vector, found.optimizer_state[name])
        found.steps_taken = self.steps_taken
        return found

    def take_over(self, whole: Any) -> None:
        """Go on with the parameters and the optimizer's state that the whole network has now."""
        self._divided(whole.parameters, self.parameters)
        for name, vector in self.optimizer_state.items():
            self._divided(whole.optimizer_state[name], vector)
        self.steps_taken = whole.steps_taken

    def finished(self) -> MLP:
        """Return the whole network; what only training needs is given up first."""
        self.group.barrier()  # the others may still read what this worker has made in the last step
        self._room = self._prediction_room = None
        nothing = np.zeros(0, self.dtype)
        self._first = self._second = self._scratch = nothing
        found = self._undivided()
        self._joined(self.parameters, found.parameters)
        found.steps_taken = self.steps_taken
        return found

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the state of the whole network: a collective."""
        return self.whole().state()

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take this worker's part of the state of a whole network."""
        self._divided(state["parameters"], self.parameters)
        self.steps_taken = int(state["steps_taken"][0])
        for name, vector in self.optimizer_state.items():
            self._divided(state[name], vector)

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return copies of the whole network's blocks: a collective."""
        found = self._undivided()
        self._joined(self.parameters, found.parameters)
        return found.weights()

    def load_weights(self, blocks: Mapping[str, NDArray[Any]]) -> None:
        """Take this worker's part of such blocks."""
        found = self._undivided()
        found.load_weights(blocks)
        self._divided(found.parameters, self.parameters)

    def side_by_side(self, members: NDArray[Any]) -> MLP:
        """Return one wider network of whole ones."""
        return self._undivided().side_by_side(members)

    def run(
        self,
        samples: Samples,
        order: Order,
        rates: NDArray[np.float64],
        control: Control,
        rounds: Rounds | None = None,
        snapshots: Snapshots | None = None,
    ) -> RunOutcome:
        """Take ``order.steps`` steps together; see the protocol."""
        batches, room = self._adapter.batches(samples, order), self._room_for(order)
        before = int(control.progress[0])
        course = self._course(kernel_args.LOCAL, order.steps, rates)._replace(
            stop=control.stop, progress=control.progress
        )
        done, squares = self._do(room, room.programs.train, self._scratch, batches, course, self._no_outputs)
        self.steps_taken = int(course.steps_taken[0])
        losses: NDArray[np.float64] = course.losses[:done]
        if done and not np.isfinite(losses[-1]):
            raise DivergedError(before + done, self.rank, float(losses[-1]))
        return RunOutcome(losses + self._penalties(squares[:done], order.global_rows[:done]))

    def gradient(self, samples: Samples, order: Order, out: Vector) -> float:
        """Write this worker's part of the mean gradient over one step's rows into ``out``; see the protocol."""
        batches, room = self._adapter.batches(samples, order), self._room_for(order)
        course = self._course(kernel_args.GRADIENT, 1, np.zeros(1))
        if order.examples == 0:
            out[:] = 0
            return 0.0
        self._do(room, room.programs.gradient, out, batches, course, self._no_outputs)
        return float(course.losses[0])

    def apply(self, gradient: Vector, rate: float, global_rows: int, workers: int = 1) -> float:
        """Take one optimizer step along this worker's part of the gradient; see the protocol."""
        bounds, rows = np.zeros(2, np.int64), np.array([global_rows], np.int32)
        batches = self._adapter.latest._replace(bounds=bounds, global_rows=rows)
        course = self._course(kernel_args.UPDATE, 1, np.full(1, rate))
        room = self._some_room()
        _, squares = self._do(room, room.programs.apply, gradient, batches, course, self._no_outputs)
        self.steps_taken = int(course.steps_taken[0])
        return float(self._penalties(squares, rows)[0])

    def outputs(self, samples: Samples) -> NDArray[Any]:
        """Return the outputs, shape (rows, K), computed together; see the protocol."""
        capacity = min(PREDICTION_ROWS, max(samples.rows, 1))
        order = self._in_pieces(samples.rows, capacity)
        batches = self._adapter.batches(samples, order)
        if self._prediction_room is None or self._is_stale(self._prediction_room, capacity):
            self._prediction_room = self._new_room(capacity)
        out = np.empty((samples.rows, self.classes), self.dtype)
        course, room = self._course(kernel_args.PREDICTION, order.steps, np.zeros(0)), self._prediction_room
        self._do(room, room.programs.predict, self._scratch, batches, course, out)
        return out

    def _penalties(self, squares: NDArray[np.float64], global_rows: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the penalty part of each step's loss: the squares of all workers' weights are added up."""
        sums, sent = squares.copy(), self.group.bytes_sent
        if len(sums) and self.settings.l2:
            self.group.sum_(sums)
            self.group.bytes_sent = sent
        return np.asarray(0.5 * self.settings.l2 * sums / global_rows)

    def _do(
        self,
        room: Room,
        program: NDArray[np.int64],
        gradient: Vector,
        batches: kernel_args.Batches,
        course: kernel_args.Course,
        out: NDArray[Any],
    ) -> tuple[int, NDArray[np.float64]]:
        """Go through a program, step by step; return how many were done, and this worker's sums of squares."""
        steps = len(course.losses)
        squares = np.zeros(steps)
        vectors = kernel_args.Vectors(self.parameters, gradient, self._first, self._second)
        work = partial(
            kernels.run, vectors, self._adapter.network, self._shape, self._adapter.rule, room.work,
            room.exchange._replace(squares=squares), batches, course, out, program,
        )  # fmt: skip
        counts = np.diff(batches.bounds)
        if room.by_messages:
            done = self._by_messages(room, program, work, course, counts)
        else:
            done = int(work(0, len(program), 0, steps))
            if done < 0:
                raise WorkerLost(-done - 1)
            self.group.record_fused_rounds(0, self.parameters)
        for count, times in zip(*np.unique(counts[:done], return_counts=True), strict=True):
            if count:
                self.group.bytes_sent += int(times) * room.bytes_of(program, int(count))
        return done, squares

    def _by_messages(
        self,
        room: Room,
        program: NDArray[np.int64],
        work: Callable[..., int],
        course: kernel_args.Course,
        counts: NDArray[np.int64],
    ) -> int:
        """Take steps whose exchanges are messages: the kernel computes what is between them."""
        stops = [*room.segments(program), len(program)]
        for step in range(len(course.losses)):
            count, begin = int(counts[step]), 0
            if program is not room.programs.apply and count == 0:
                continue
            for stop in stops:
                if work(begin, stop, step, step + 1) == 0:  # it was stopped
                    return step
                if not np.isfinite(course.losses[step]):
                    return step + 1
                if stop < len(program):
                    room.transfer(int(program[stop, -1]), count)
                begin = stop
        return len(course.losses)

    def _room_for(self, order: Order) -> Room:
        """Return room for the largest batch of an order."""
        rows = int(np.diff(order.bounds).max(initial=1))
        if self._room is None or self._is_stale(self._room, rows):
            self._room = self._new_room(rows)
        return self._room

    def _some_room(self) -> Room:
        if self._room is None or self._is_stale(self._room, 1):
            self._room = self._new_room(1)
        return self._room

    def _is_stale(self, room: Room, rows: int) -> bool:
        """Return whether a room is too small, or for the other kernel variant."""
        return room.rows < rows or (room.work.slopes is None) != (self._adapter.work.slopes is None)

    def _new_room(self, rows: int) -> Room:
        """Return memory for batches of up to ``rows`` samples: a collective where memory is shared."""
        work = self._adapter.new_work(rows)
        programs = Programs(self.slices, rows, work.starts, scaled=not self.divisible)
        return Room(programs, work, self.group, self.dtype)
