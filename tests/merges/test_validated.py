"""Merges that look at validation rows: weights by score, and the greedy soup against a literal reading of the paper."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import manyhands
from manyhands.core.errors import SettingsError
from manyhands.core.samples import Control
from manyhands.core.strategy import RoundContext
from manyhands.data.dataset import Examples, make_dataset
from manyhands.merges.validated import soup_, validation_
from manyhands.teams.launch import launch
from manyhands.training.clock import PhaseClock
from manyhands.training.resolve import resolve
from manyhands.training.spec import RunSpec

VALIDATING = [
    "one-shot:merge=validation",
    "one-shot:merge=soup",
    "periodic:1epoch,merge=soup",
    "post-local:16,merge=validation",
    "swap:75%,merge=soup",
    "gradient@50% then one-shot:merge=soup",
]


def merged(merge_, vectors, score, dtype=np.float64):
    """Return every worker's parameters after the merge, where ``score`` tells the accuracy of any parameters."""
    vectors = np.array(vectors, dtype)
    size, stop = len(vectors), np.zeros(1, np.int64)

    def work(team):
        learner = SimpleNamespace(parameters=vectors[team.rank].copy())
        services = SimpleNamespace(validate=lambda: (0.0, score(learner.parameters)))
        merge_(RoundContext(team, learner, 1 + team.rank, 0.1, True, None, services))
        return learner.parameters

    clocks = [PhaseClock() for _ in range(size)]
    return launch("threads" if size > 1 else "solo", clocks, [Control(stop, np.zeros(1, np.int64))] * size, work)


def brute_soup(vectors, score):
    """Wortsman et al. 2022, algorithm 1, read aloud: the ingredients sorted by score, each tried once."""
    ingredients = []
    for each in sorted(vectors, key=score, reverse=True):
        tried = np.mean([*ingredients, each], axis=0)
        if not ingredients or score(tried) >= score(np.mean(ingredients, axis=0)):
            ingredients.append(each)
    return np.mean(ingredients, axis=0)


def around(target):
    """An accuracy that is higher the nearer the parameters are to a target."""
    return lambda vector: 1 / (1 + float(np.abs(vector - target).sum()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_are_accuracies(dtype):
    # Accuracies 0.25 and 0.75, whatever the examples: 0.25 * 4 + 0.75 * 8 = 7, 0.25 * -4 + 0.75 * 4 = 2
    def score(vector):
        return {4.0: 0.25, 8.0: 0.75}[float(vector[0])]

    for parameters in merged(validation_, [[4.0, -4.0], [8.0, 4.0]], score, dtype):
        assert parameters.tolist() == [7.0, 2.0]


def test_workers_who_know_nothing_count_alike():
    for parameters in merged(validation_, [[3.0], [9.0], [6.0]], lambda _vector: 0.0):
        np.testing.assert_allclose(parameters, [6.0])


def test_soup_by_hand():
    # The target is 10. Workers 4, 17, 13, 40 are 6, 7, 3, 30 away: the order is 13, 4, 17, 40.
    # 13 alone is 3 away; with 4, 8.5, 1.5 away: taken; with 17, 34 / 3 = 11.33, 1.33 away: taken; with 40, 18.5: not.
    for parameters in merged(soup_, [[4.0], [17.0], [13.0], [40.0]], around(10.0)):
        np.testing.assert_allclose(parameters, [34 / 3], rtol=1e-14)


def test_soup_leaves_out_one_in_the_middle():
    # The target is 10; 11, 12 and 7 are 1, 2 and 3 away. 11 alone is 1 away; with 12, 11.5, 1.5 away: not taken; with
    # 7 instead, 9, 1 away: taken, as that is no worse.
    for parameters in merged(soup_, [[7.0], [12.0], [11.0]], around(10.0)):
        assert parameters.tolist() == [9.0]


def test_of_equals_all_are_taken():
    # "does not fall" is enough.
    for parameters in merged(soup_, [[1.0], [2.0], [6.0]], lambda _vector: 0.5):
        assert parameters.tolist() == [3.0]


def test_the_best_may_stay_alone():
    # Only 5 itself is any good.
    for parameters in merged(soup_, [[1.0], [5.0], [6.0]], lambda vector: float(vector[0] == 5.0)):
        assert parameters.tolist() == [5.0]


@settings(max_examples=30, deadline=None)
@given(
    vectors=st.lists(st.tuples(*[st.integers(-50, 50)] * 2), min_size=1, max_size=5, unique=True),
    target=st.tuples(st.integers(-20, 20), st.integers(-20, 20)),
)
def test_soup_is_the_papers(vectors, target):
    # Of workers that score alike the lower rank comes first, in both.
    score = around(np.array(target))
    results = merged(soup_, vectors, score)
    expected = brute_soup([np.array(each, float) for each in vectors], score)
    for parameters in results:
        np.testing.assert_allclose(parameters, expected, rtol=1e-12, atol=1e-12)
        assert parameters.tobytes() == results[0].tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("merge_", [validation_, soup_])
def test_all_workers_end_with_the_same_bits(merge_, dtype):
    vectors = np.random.default_rng(2).normal(size=(5, 101))
    results = merged(merge_, vectors, around(vectors.mean(axis=0)), dtype)
    assert all(each.dtype == dtype and each.tobytes() == results[0].tobytes() for each in results)


# --- in runs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", VALIDATING)
def test_without_validation_rows_it_is_refused(blobs, strategy):
    with pytest.raises(SettingsError, match="validation rows"):
        resolve(RunSpec(strategy=strategy, workers=2, epochs=4, batch=20), blobs)
    with pytest.raises(SettingsError, match="validation rows"):
        manyhands.train(blobs, strategy=strategy, workers=2, epochs=4, batch=20)


@pytest.mark.parametrize("strategy", VALIDATING)
def test_with_validation_rows_it_runs(digits, strategy):
    train, test = (Examples(table.features, table.labels) for table in (digits.train, digits.test))
    held = make_dataset("digits", train, test, validation=100)
    result = manyhands.train(held, strategy=strategy, workers=3, epochs=8, hidden=(16,))
    assert result.plan.rows == digits.rows - 100
    assert result.accuracy > 0.3


def test_rows_to_look_at_are_set_aside_unasked():
    # A sixth of the 1,437 training rows of digits, 239, and none without need.
    asked = {"workers": 3, "epochs": 1, "hidden": ()}
    assert manyhands.train("digits", strategy="one-shot:merge=soup", **asked).plan.rows == 1437 - 239
    assert manyhands.train("digits", strategy="one-shot", **asked).plan.rows == 1437


def test_the_soup_of_a_run_scores_no_less_than_its_best_worker():
    # Workers from starts of their own cannot be averaged at all, so the soup is the best one, or little else.
    settings = {"workers": 3, "epochs": 12, "hidden": (16,), "validation": "auto"}
    mean = manyhands.train("digits", strategy="one-shot:starts=own", **settings)
    soup = manyhands.train("digits", strategy="one-shot:merge=soup,starts=own", **settings)
    assert soup.accuracy > mean.accuracy + 0.1
