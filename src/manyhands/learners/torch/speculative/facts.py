"""What a speculative learner has to say about its training."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.learners.torch.speculative.ceilings import ceiling
from manyhands.learners.torch.speculative.lanes import Lane, Span

_EDGES = np.array([0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 1.0])
"""Upper ends of the classes in which distances are counted."""


@dataclass
class Facts:
    """Counts and times of one worker's training.

    Attributes
    ----------
    hits, misses, unseen
        Samples whose gradient came from a stored outcome; that were too far from it; that had none to compare with.
    by_epoch
        Hits and samples of each epoch.
    seconds
        By what was done: ``forward``, ``input gradient``, ``weight gradient``, and ``wall`` (of the part that lanes
        share), all steps.
    clean
        The same, of steps without misses: in others, work was thrown away and done again.
    timeline
        The pieces of work of the last step.
    lanes, balanced, speculates, micro_batches
        How many lanes there are, whether they share weight gradients, and whether they go back beside going forward:
        from stored outcomes, or with the first ones of so many parts of a batch.
    multiply_adds
        Of one sample, by what is done, without the loss and layers that have no weights.
    steps_per_epoch
        Steps of this worker in an epoch.
    """

    hits: int = 0
    misses: int = 0
    unseen: int = 0
    by_epoch: list[list[int]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    clean: dict[str, float] = field(default_factory=dict)
    busy: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    distances: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(_EDGES), np.int64))
    timeline: list[Span] = field(default_factory=list)
    lanes: int = 1
    balanced: bool = True
    speculates: bool = True
    micro_batches: int = 1
    multiply_adds: dict[str, int] = field(default_factory=dict)
    steps_per_epoch: int = 1
    _steps: int = 0
    _of_step: dict[str, float] = field(default_factory=dict)

    def count(self, samples: int, hits: int, *, seen: bool) -> None:
        """Count the samples of a step."""
        self.hits += hits
        if seen:
            self.misses += samples - hits
        else:
            self.unseen += samples
        while len(self.by_epoch) <= self._steps // self.steps_per_epoch:
            self.by_epoch.append([0, 0])
        self.by_epoch[-1][0] += hits
        self.by_epoch[-1][1] += samples
        self._steps += 1
        _add(self.seconds, self._of_step)
        if hits == samples or not seen:
            _add(self.clean, self._of_step)

    def count_distances(self, found: NDArray[np.float32]) -> None:
        """Count distances between 0 and 1."""
        self.distances += np.bincount(np.searchsorted(_EDGES, found.clip(max=1)), minlength=len(_EDGES))

    def count_work(self, lanes: list[Lane], wall: float) -> None:
        """Count what lanes have done together in so many seconds."""
        _add(self._of_step, {"wall": wall})
        for lane in lanes:
            for span in lane.spans:
                _add(self._of_step, {span.what: span.end - span.begin})
        busy = np.array([lane.busy for lane in lanes])
        if len(busy) > len(self.busy):
            self.busy = np.concatenate([self.busy, np.zeros(len(busy) - len(self.busy))])
        self.busy[: len(busy)] += busy
        self.timeline += [span for lane in lanes for span in lane.spans]

    def begin_step(self) -> None:
        """Forget the last step's time line and times."""
        self.timeline, self._of_step = [], {}

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        begin = min((span.begin for span in self.timeline), default=0.0)
        work = sum(self.clean.get(name, 0.0) for name in ("forward", "input gradient", "weight gradient"))
        best = partial(
            ceiling,
            lanes=self.lanes,
            balanced=self.balanced,
            speculates=self.speculates,
            micro_batches=self.micro_batches,
        )
        return {
            "hits": self.hits,
            "misses": self.misses,
            "unseen": self.unseen,
            "hit_rate": self.hits / max(self.hits + self.misses + self.unseen, 1),
            "hit_rate_by_epoch": [hits / samples for hits, samples in self.by_epoch],
            "seconds": dict(self.seconds),
            "busy_s": self.busy.tolist(),
            "saved": 1 - self.clean["wall"] / work if work else 0.0,
            "ceiling": best(self.clean),
            "ideal": best(self.multiply_adds),
            "distances": {"up_to": _EDGES.tolist(), "samples": self.distances.tolist()},
            "timeline": [
                {**span._asdict(), "begin": span.begin - begin, "end": span.end - begin} for span in self.timeline
            ],
        }


def _add(sums: dict[str, float], more: dict[str, float]) -> None:
    for name, seconds in more.items():
        sums[name] = sums.get(name, 0.0) + seconds
