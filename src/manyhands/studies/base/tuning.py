"""The choice of learning rates on validation rows, with seeds of its own.

Comparing optimizers, or strategies, at one rate would only show which of them that rate suits. So each has its own,
and the rows and seeds that are reported have no part in the choice.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import replace

from manyhands.core.errors import SettingsError
from manyhands.data.dataset import Dataset

FIRST_TUNING_SEED = 1000
"""Seeds of the choice are none of those that are reported."""


def best_rate(rates: Iterable[float], tuning: int, score: Callable[[float, int], float]) -> float:
    """Return the rate with the best mean score over the tuning seeds; of equals, the smallest.

    ``score`` returns the accuracy on the validation rows, 0..1, for a rate and a seed; 0 if training diverged.
    """
    seeds = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + tuning)
    return max(sorted(rates), key=lambda rate: statistics.fmean(score(rate, seed) for seed in seeds))


def tried_on_validation(dataset: Dataset) -> Dataset:
    """Return the data set with its validation rows in the place of the test rows, or raise SettingsError."""
    if dataset.validation is None:
        raise SettingsError("the study chooses learning rates on validation rows, and the data set has none")
    return replace(dataset, test=dataset.validation)


def check_seeds(seeds: int, seed: int, tuning: int) -> None:
    """Raise SettingsError unless there are seeds to choose by and others to report."""
    if seeds < 1 or tuning < 1:
        raise SettingsError("the study needs at least one seed to choose by and one to report")
    if seed + seeds > FIRST_TUNING_SEED:
        raise SettingsError(f"seeds from {FIRST_TUNING_SEED} on are those that learning rates are chosen with")
