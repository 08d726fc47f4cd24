"""Wall-clock seconds of each phase, measured where it happens."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from manyhands.core.types import Phase

PHASES: tuple[Phase, ...] = get_args(Phase)


class PhaseClock:
    """One worker's clock; phases may be entered many times but not nested.

    Only computing may have communication and merges in it, which are not counted as computing then: those of workers
    that hold one network together.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(PHASES, 0.0)
        self.train = 0.0
        """From the moment every worker has its data to the merged parameters being ready."""
        self._train_began = 0.0
        self._contexts = {name: _Context(self.seconds, name) for name in PHASES}
        self._contexts["compute"] = _Net(self.seconds, "compute", ("communicate", "merge"))

    def phase(self, name: Phase) -> _Context:
        """Return the context whose duration counts as ``name``."""
        return self._contexts[name]

    def add(self, name: Phase, seconds: float) -> None:
        """Add seconds that compiled code has measured itself."""
        self.seconds[name] += float(seconds)

    def begin_training(self) -> None:
        """Note that the training time begins now."""
        self._train_began = time.perf_counter()

    def continue_from(self, seconds: Mapping[str, float], train_s: float) -> None:
        """Go on where a checkpoint was written: so many seconds of each phase, and of training, have gone by."""
        self.seconds.update(seconds)
        self._train_began = time.perf_counter() - train_s

    def end_training(self) -> None:
        """Note that the training time ends now."""
        self.train = time.perf_counter() - self._train_began

    def elapsed(self) -> float:
        """Return the training time so far."""
        return time.perf_counter() - self._train_began

    @contextlib.contextmanager
    def apart(self, name: Phase) -> Iterator[None]:
        """Count what is done meanwhile as ``name`` alone: as no other phase, and not as training."""
        began, kept = time.perf_counter(), dict(self.seconds)
        yield
        duration = time.perf_counter() - began
        self.seconds.update(kept)
        self.seconds[name] += duration
        self._train_began += duration

    def report(self) -> dict[str, float]:
        """Return all seconds as plain data, with ``train``."""
        return {**self.seconds, "train": self.train}

    def forget(self, *names: Phase) -> None:
        """Set phases back to zero."""
        for name in names:
            self.seconds[name] = 0.0


class _Context:
    """Adds its duration to one phase. Made once and used again: rounds inside every step come by the thousand."""

    __slots__ = ("_name", "_seconds", "_start")

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self._seconds, self._name, self._start = seconds, name, 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_error: object) -> None:
        self._seconds[self._name] += time.perf_counter() - self._start


class _Net(_Context):
    """Adds its duration without that of other phases in it."""

    __slots__ = ("_others", "_talked")

    def __init__(self, seconds: dict[str, float], name: str, others: tuple[str, ...]) -> None:
        super().__init__(seconds, name)
        self._others, self._talked = others, 0.0

    def __enter__(self) -> None:
        self._talked = sum(self._seconds[name] for name in self._others)
        super().__enter__()

    def __exit__(self, *_error: object) -> None:
        super().__exit__()
        self._seconds[self._name] -= sum(self._seconds[name] for name in self._others) - self._talked


def slowest(reports: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each phase's seconds, the largest over all workers' reports, with ``train`` and ``total``.

    ``total`` is read + distribute + train, which is what Table III of Todorov et al. 2021 counts.
    """
    seconds = {name: max(report[name] for report in reports) for name in (*PHASES, "train")}
    seconds["total"] = seconds["read"] + seconds["distribute"] + seconds["train"]
    return seconds
