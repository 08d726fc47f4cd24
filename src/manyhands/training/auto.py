"""Strategy `auto`: which strategy, batch, learning rate and schedule, for so many workers and so much data.

Derived on validation rows of MNIST and confirmed on other data; docs/strategies.md has the measurements.

- **The rate is held for half of the run and then falls to nothing**: large rates find better networks, but only a
  falling one lets them settle, and lets the workers' networks come close to each other.
- **One worker** learns at 12 sqrt(75 / w) times Adam's default rate, w the width of the widest hidden layer.
- **Up to 8 workers** meet once an epoch. The mean of n networks has less noise than one: what a single one gets from
  a large rate they get from one that is sqrt(n) times smaller.
- **In a short run** (fewer than 30 epochs, so fewer than 30 rounds) such rates would not get far enough: the rate is
  smaller by the fourth root of n only, and more than 2 workers step beyond their mean, by Nesterov's momentum
  0.3 (log2(n) - 1) (`manyhands.strategies.diloco` with an outer rate of 1).
- **More than 8 workers**, or **fewer than 500 steps** in the whole run, average gradients, at the rate of one worker:
  there is too little that each could learn alone. So do workers whose shares are not alike.

- **PyTorch's learners** have batches of 50 and the schedule linear:hold=25%. Convolutional networks learn at 4 times
  Adam's default rate, whatever the number of workers; a module of the user's own keeps the optimizer's default. Two
  workers meet every 20 steps and step beyond their mean, by Nesterov's momentum 0.3; more average gradients, as their
  parts of such a batch are too small to learn from alone. Found on validation samples (docs/pytorch.md).

A learning rate, a batch or a schedule of the user's own stays as it is; with such a schedule the rate stays, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from manyhands.core.choices import NETWORKS
from manyhands.core.strategy import Strategy
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.strategies import parse_strategy
from manyhands.training.schedules import RateSchedule, parse_schedule

_BATCH = 200
_SCHEDULE = "linear:hold=50%"
_DEFAULT_RATE = MLPSettings().learning_rate
_TIMES, _AT_WIDTH = 12.0, 75
_SHORT = 30
"""Epochs below which rounds are too few to make up for small steps."""
_MOST = 8
_FEWEST_STEPS = 500
_UNEVEN = 1.1
_TORCH_BATCH, _TORCH_SCHEDULE, _TORCH_TIMES = 50, "linear:hold=25%", 4.0
_TORCH_PAIR = "diloco:20,rate=1,momentum=0.3"
_LEAST_SHARE = 4
"""Rows of a global batch below which a worker cannot learn by itself."""


@dataclass(frozen=True)
class Asked:
    """What a user has asked for, and what is left to choose: batch and schedule if they are None.

    The learning rate is chosen, too, if it is the default one, the optimizer is Adam, and the schedule is to be chosen.
    """

    settings: MLPSettings
    batch: int | None = None
    schedule: RateSchedule | None = None


def choose(asked: Asked, workers: int, rows: int, epochs: int, *, alike: bool = True) -> tuple[Strategy, Asked]:
    """Return the strategy, and everything else resolved; what the user has chosen stays as it is.

    If the workers' shares are not ``alike``, each would forget the others' classes between two rounds.
    """
    batch = _batch(workers, rows) if asked.batch is None else asked.batch
    schedule = parse_schedule(_SCHEDULE) if asked.schedule is None else asked.schedule
    strategy, times = _strategy(workers, batch, rows, epochs) if alike or workers == 1 else ("gradient", 1.0)
    settings = asked.settings
    if asked.schedule is None:  # such rates are good because they fall
        settings = replace(settings, learning_rate=_rate(settings, times))
    return parse_strategy(strategy), Asked(settings, batch, schedule)


def choose_for_torch(
    learner: str, asked: Asked, workers: int, rows: int, *, alike: bool = True
) -> tuple[Strategy, Asked]:
    """Return the strategy, and everything else resolved, for one of `manyhands.core.choices.PYTORCH`; see `choose`."""
    batch = min(_TORCH_BATCH, rows) if asked.batch is None else asked.batch
    schedule = parse_schedule(_TORCH_SCHEDULE) if asked.schedule is None else asked.schedule
    settings, own = asked.settings, asked.settings.learning_rate != _DEFAULT_RATE or asked.settings.optimizer != "adam"
    if asked.schedule is None and learner in NETWORKS and not own:
        settings = replace(settings, learning_rate=_DEFAULT_RATE * _TORCH_TIMES)
    if workers == 1:
        strategy = "sequential"
    else:
        strategy = _TORCH_PAIR if workers == 2 and batch >= workers * _LEAST_SHARE and alike else "gradient"
    return parse_strategy(strategy), Asked(settings, batch, schedule)


def _batch(workers: int, rows: int) -> int:
    """Return the global batch: the usual one, unless a worker's part of it could be much more than 1 / n."""
    batch = min(_BATCH, rows)
    if -(-batch // workers) * workers <= _UNEVEN * batch:
        return batch
    return min(max(1, round(batch / workers)) * workers, rows)


def _strategy(workers: int, batch: int, rows: int, epochs: int) -> tuple[str, float]:
    """Return the strategy that talks least without losing accuracy, and by what its rate differs from one worker's."""
    if workers == 1:
        return "sequential", 1.0
    steps = -(-rows // batch) * epochs
    if workers > _MOST or steps < _FEWEST_STEPS or batch < workers * _LEAST_SHARE:
        return "gradient", 1.0
    if epochs >= _SHORT:
        return "periodic:1epoch", workers**-0.5
    if workers == 2:
        return "periodic:1epoch", workers**-0.25
    return f"diloco:1epoch,rate=1,momentum={0.3 * (math.log2(workers) - 1):.2g}", workers**-0.25


def _rate(settings: MLPSettings, times: float) -> float:
    """Return the learning rate: the user's, if it is not the default one, or not Adam's."""
    if settings.learning_rate != _DEFAULT_RATE or settings.optimizer != "adam":
        return settings.learning_rate
    alone = max(1.0, _TIMES * math.sqrt(_AT_WIDTH / max(settings.hidden, default=_AT_WIDTH)))
    return float(f"{_DEFAULT_RATE * alone * times:.4g}")  # what is printed is what is used
