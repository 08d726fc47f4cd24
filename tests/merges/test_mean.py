"""The plain merges, in numbers worked out by hand; and what holds for all merges."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from manyhands.core.errors import SettingsError
from manyhands.core.samples import Control
from manyhands.core.strategy import RoundContext
from manyhands.merges import MERGES, ONCE, VALIDATING
from manyhands.merges.mean import examples_, mean_
from manyhands.strategies import parse_strategy
from manyhands.teams.launch import launch
from manyhands.training.clock import PhaseClock

VECTORS = [[0.0, 4.0], [4.0, -4.0], [12.0, 0.0]]
EXAMPLES = [1, 2, 5]


def merged(merge_, examples=EXAMPLES, dtype=np.float64):
    """Return every worker's parameters after the merge."""
    size, stop = len(examples), np.zeros(1, np.int64)

    def work(team):
        learner = SimpleNamespace(parameters=np.array(VECTORS[team.rank], dtype))
        merge_(RoundContext(team, learner, examples[team.rank], 0.1, True, None, None))
        return learner.parameters

    clocks = [PhaseClock() for _ in range(size)]
    return launch("threads" if size > 1 else "solo", clocks, [Control(stop, np.zeros(1, np.int64))] * size, work)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_by_examples(dtype):
    # (1 * 0 + 2 * 4 + 5 * 12) / 8 = 68 / 8, (1 * 4 - 2 * 4 + 5 * 0) / 8 = -4 / 8: powers of two, so exact
    for parameters in merged(examples_, dtype=dtype):
        assert parameters.dtype == dtype
        assert parameters.tolist() == [8.5, -0.5]


def test_a_worker_without_examples_does_not_count():
    # (3 * 0 + 1 * 12) / 4, (3 * 4 + 1 * 0) / 4
    assert [each.tolist() for each in merged(examples_, [3, 0, 1])] == [[3.0, 3.0]] * 3


def test_each_worker_alike():
    # (0 + 4 + 12) / 3, (4 - 4 + 0) / 3
    results = merged(mean_)
    for parameters in results:
        np.testing.assert_allclose(parameters, [16 / 3, 0], atol=1e-15)
        assert parameters.tobytes() == results[0].tobytes()


@pytest.mark.parametrize("merge_", [examples_, mean_])
def test_one_worker_keeps_its_own(merge_):
    assert merged(merge_, [7])[0].tolist() == VECTORS[0]


def test_every_merge_has_a_name_in_the_grammar():
    for merge in MERGES:
        strategy = parse_strategy(f"one-shot:merge={merge}")
        assert strategy.rules[0].options.merge == merge
        assert strategy.needs.uses_validation == (merge in VALIDATING)


def test_what_ends_a_run_goes_with_one_shot_alone():
    texts = ["periodic:1epoch,merge={}", "diloco:1epoch,merge={}", "slowmo:1epoch,merge={}", "swap:75%,merge={}"]
    texts += ["post-local:16,merge={}", "one-shot:merge={}@50% then gradient", "gradient@50% then one-shot:merge={}"]
    for text, merge in itertools.product(texts, ONCE):
        with pytest.raises(SettingsError, match=f"merge={merge}|no such merge"):
            parse_strategy(text.format(merge))
