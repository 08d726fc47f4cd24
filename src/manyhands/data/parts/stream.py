"""A worker's share of a table in parts, streamed through a ring of two windows: one is used while the next is read.

Reading releases the interpreter's lock, and so do the steps that are taken meanwhile.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from manyhands.core.samples import Order, Samples
from manyhands.data.parts.description import pieces_between
from manyhands.data.parts.epochs import WINDOW_BYTES, Epoch, WindowPlan
from manyhands.data.parts.reading import PartedData
from manyhands.data.sampler import BatchSampler

_WAIT_SECONDS, _END_SECONDS = 0.2, 5.0


class Stream:
    """One worker's share; close it when the run is over, however it ends.

    Parameters
    ----------
    data
        The parts.
    scaled
        Samples with the scaling and the shape of the ring's.
    rank, size
        The worker, and the number of workers: its share are rows [rN/n, (r+1)N/n).
    batch
        The most rows that it uses in one step.
    seed, shuffle
        Of the order.
    epochs
        Epochs begin below this number; what is behind the last one is not read ahead.
    window_bytes
        About how large a window is.

    Attributes
    ----------
    table : Samples
        The ring: two windows.
    """

    def __init__(
        self,
        data: PartedData,
        scaled: Samples,
        *,
        rank: int,
        size: int,
        batch: int,
        seed: int,
        epochs: int,
        shuffle: bool = True,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self._data, self._end = data, epochs
        first, last = rank * data.rows // size, (rank + 1) * data.rows // size
        self.plan = WindowPlan(
            pieces_between(data.train, first, last),
            row_bytes=data.width * data.stored.itemsize,
            batch=batch,
            seed=seed,
            rank=rank,
            shuffle=shuffle,
            window_bytes=window_bytes,
        )
        # Zeroed, so that all of it is there before the clock starts.
        features = np.zeros((2 * self.plan.room, data.width), data.stored)
        features[:] = 0
        self.table = scaled.with_arrays({"features": features, "labels": np.zeros(2 * self.plan.room, np.int32)})
        self._epochs: dict[int, Epoch] = {}
        self._state = threading.Condition()
        self._here = [-1, -1]
        """The numbers of the windows in the two halves, counted from the first of epoch 0; -1 for none."""
        self._used = -1
        """The number of the window that is in use: it and the next one may be in memory."""
        self._error: BaseException | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def order(self, number: int) -> Epoch:
        """Return the order of an epoch; those of an epoch and the next one are kept."""
        with self._state:
            found = self._epochs.get(number)
        if found is None:
            found = self.plan.epoch(number)
            with self._state:
                self._epochs = {key: value for key, value in self._epochs.items() if key >= number - 1}
                self._epochs[number] = found
        return found

    def wait_for(self, number: int, window: int, used: int) -> bool:
        """Wait a moment for a window of an epoch; return whether it is there.

        ``used`` is the first window that is still in use: all before it may be overwritten. What has gone wrong with
        reading is raised here.
        """
        wanted, used = number * self.plan.count + window, number * self.plan.count + used
        with self._state:
            if self._used != used:
                self._used = used
                self._state.notify_all()
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._read, name="manyhands-reader", daemon=True)
                self._thread.start()
            if self._here[wanted % 2] != wanted and self._error is None:
                self._state.wait(_WAIT_SECONDS)
            if self._here[wanted % 2] == wanted:
                return True
            if self._error is not None:
                raise self._error
            return False

    def close(self) -> None:
        """End reading."""
        with self._state:
            self._closed = True
            self._state.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_END_SECONDS)  # one that waits for a dead disk ends with the process

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()

    def _read(self) -> None:
        """Read one window after the other, as far ahead as the ring has room."""
        try:
            while (window := self._next()) is not None:
                self._bring(window)
                with self._state:
                    self._here[window % 2] = window
                    self._state.notify_all()
        except BaseException as error:
            with self._state:
                self._error = error
                self._state.notify_all()

    def _next(self) -> int | None:
        """Wait until a window may be read, and return its number; None at the end."""
        with self._state:
            while not self._closed:
                for window in (self._used, self._used + 1):
                    if self._here[window % 2] != window and window < self._end * self.plan.count:
                        self._here[window % 2] = -1
                        return window
                self._state.wait()
            return None

    def _bring(self, window: int) -> None:
        """Read the pieces of a window into its half of the ring."""
        number, place = divmod(window, self.plan.count)
        at = place % 2 * self.plan.room
        for piece in self.order(number).windows[place]:
            if self._closed:
                return
            rows = slice(at, at + piece.rows)
            self._data.fill(self._data.train, piece, self.table.features[rows], self.table.labels[rows])
            at += piece.rows


class StreamSampler(BatchSampler):
    """The batches of a worker whose rows are streamed: an order are places in the ring of the stream.

    Parameters
    ----------
    stream
        The rows.
    **settings
        Of the batches; see `manyhands.data.sampler.BatchSampler`. The sharding is fixed.
    """

    streamed = True

    def __init__(self, stream: Stream, **settings: Any) -> None:
        super().__init__(**settings, sharding="fixed", share=np.broadcast_to(np.int64(0), (stream.plan.rows,)))
        self._stream = stream

    def epoch(self, number: int) -> Order:
        """Return the order of an epoch; what of it is here, :meth:`reach` says."""
        rows = self._stream.order(number + self._first_epoch).rows
        return Order(rows, self._bounds, self._global_rows)

    def reach(self, number: int, step: int) -> int:
        """Return up to which step of an epoch the rows are here, all steps before ``step`` being over.

        It is ``step`` itself if nothing has come within a moment.

        Raises
        ------
        DataError
            If a part has changed, is gone or cannot be read.
        """
        number += self._first_epoch
        ends, bounds = self._stream.order(number).ends, self._bounds
        last = len(ends) - 1
        first = min(int(np.searchsorted(ends, bounds[step], side="right")), last)
        if not self._stream.wait_for(number, first, first):
            return step
        until = self.steps_per_epoch if first == last else int(np.searchsorted(bounds, ends[first], side="right")) - 1
        if until > step:
            return until
        # The step needs this window and the next one with rows, and only then gives this one free.
        second = min(int(np.searchsorted(ends, bounds[step + 1] - 1, side="right")), last)
        return step + 1 if self._stream.wait_for(number, second, first) else step
