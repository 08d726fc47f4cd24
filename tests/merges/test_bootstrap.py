"""Bootstrap-corrected averaging: the formula by hand, and what a second training costs and leaves behind."""

from types import SimpleNamespace

import numpy as np
import pytest

import manyhands
from manyhands.core.samples import Control
from manyhands.core.strategy import RoundContext
from manyhands.merges.bootstrap import RATIO, bootstrap_
from manyhands.teams.launch import launch
from manyhands.training.clock import PhaseClock


def merged(first, second, examples, dtype=np.float64):
    """Return every worker's parameters after the merge, and what was asked for."""
    size, stop, asked = len(first), np.zeros(1, np.int64), []

    def work(team):
        learner = SimpleNamespace(parameters=np.array(first[team.rank], dtype))

        def retrain(fraction):
            asked.append(fraction)
            return np.array(second[team.rank], dtype)

        bootstrap_(RoundContext(team, learner, examples[team.rank], 0.1, True, None, SimpleNamespace(retrain=retrain)))
        return learner.parameters

    clocks = [PhaseClock() for _ in range(size)]
    return launch("threads", clocks, [Control(stop, np.zeros(1, np.int64))] * size, work), asked


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_formula_by_hand(dtype):
    # r = 0.1: (mean(8, 12) - 0.1 * mean(6, 4)) / 0.9 = (10 - 0.5) / 0.9; (mean(1, 3) - 0.1 * mean(20, 20)) / 0.9 = 0
    results, asked = merged([[8.0, 1.0], [12.0, 3.0]], [[6.0, 20.0], [4.0, 20.0]], [5, 5], dtype)
    assert asked == [RATIO] * 2 == [0.1] * 2
    for parameters in results:
        assert parameters.dtype == dtype
        np.testing.assert_allclose(parameters, [9.5 / 0.9, 0], rtol=1e-6, atol=1e-6)
        assert parameters.tobytes() == results[0].tobytes()


def test_both_means_are_by_examples():
    # Shares of 30 and 10: x1 = (3 * 8 + 16) / 4 = 10, x2 = (3 * 4 + 8) / 4 = 5: (10 - 0.5) / 0.9
    results, _ = merged([[8.0], [16.0]], [[4.0], [8.0]], [30, 10])
    for parameters in results:
        np.testing.assert_allclose(parameters, [9.5 / 0.9], rtol=1e-12)


def test_what_needs_no_correction_is_the_mean():
    # If a part of the rows leads to the same parameters as all, there is no bias.
    results, _ = merged([[8.0], [12.0]], [[8.0], [12.0]], [5, 5])
    for parameters in results:
        np.testing.assert_allclose(parameters, [10.0], rtol=1e-12)


def train(strategy, **changes):
    return manyhands.train("digits", strategy=strategy, **{"workers": 3, "epochs": 10, "hidden": (16,), **changes})


def test_a_run_counts_the_examples_of_both_trainings():
    # Shares of 479 rows; a tenth of them, 48, once more: (479 + 48) * 10
    plain, corrected = train("one-shot"), train("one-shot:merge=bootstrap")
    assert plain.examples == 4790
    assert corrected.examples == 5270
    assert corrected.steps == plain.steps
    assert corrected.rounds == 1
    assert corrected.losses == plain.losses


def test_a_run_is_repeatable_and_corrects_something():
    plain, corrected, again = (
        train(strategy).model.learner.parameters
        for strategy in ("one-shot", "one-shot:merge=bootstrap", "one-shot:merge=bootstrap")
    )
    assert corrected.tobytes() == again.tobytes()
    assert 1e-3 < np.abs(corrected - plain).max() < 1


def test_softmax_regression_is_corrected_as_the_paper_says():
    # By the formula, over runs that can be had otherwise: x1 is what one-shot ends with. What the correction adds,
    # (x1 - x2) / 9, is then known up to x2, which has trained less: weights grow, so it points away from the start.
    corrected, plain, started = (
        train(strategy, hidden=(), **changes).model.learner.parameters.astype(float)
        for strategy, changes in (
            ("one-shot:merge=bootstrap", {}),
            ("one-shot", {}),
            ("one-shot", {"learning_rate": 1e-30}),
        )
    )
    moved, added = plain - started, corrected - plain
    # One step of x2 for 8 of x1, from the same start: x1 - x2 is most of x1's way.
    assert 0.9 < moved @ added / np.linalg.norm(moved) / np.linalg.norm(added) <= 1
    assert 0.5 / 9 < np.linalg.norm(added) / np.linalg.norm(moved) < 1 / 9


def test_with_global_sharding_a_tenth_of_each_epoch_is_used_too():
    # Here a worker sees other rows in every epoch, so what is kept must be a tenth of all rows, not of its first ones:
    # 1,437 * 10 / 4 = 3,592.5 examples, and a tenth more.
    plain, corrected = (
        train(strategy, workers=4, sharding="global").examples for strategy in ("one-shot", "one-shot:merge=bootstrap")
    )
    assert 0.08 * plain < corrected - plain < 0.12 * plain


def test_after_an_early_end_the_second_training_is_as_short():
    # A loss that must fall by 100 to count as falling never does: all runs end after 3 of 30 epochs.
    plain, corrected = (
        train(strategy, epochs=30, stop="loss:100,patience=1") for strategy in ("one-shot", "one-shot:merge=bootstrap")
    )
    assert len(plain.losses) == len(corrected.losses) == 3
    assert corrected.examples <= 1.2 * plain.examples


def test_the_second_training_begins_where_the_first_did():
    # At a rate of nearly 0 both trainings end where they began: (mean(x1) - 0.1 mean(x1)) / 0.9 = mean(x1).
    still = {"learning_rate": 1e-30, "epochs": 1}
    plain, corrected = (
        train(strategy, **still).model.learner.parameters for strategy in ("one-shot", "one-shot:merge=bootstrap")
    )
    np.testing.assert_allclose(corrected, plain, atol=1e-6)
