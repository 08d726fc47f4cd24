"""SlowMo and DiLoCo against their formulas, computed here with numpy alone."""

import numpy as np
import pytest

from manyhands.core.samples import Control
from manyhands.core.strategy import RoundContext
from manyhands.learners.mlp.learner import MLP
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.strategies import parse_strategy
from manyhands.teams.launch import launch
from manyhands.training.clock import PhaseClock
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

ROUNDS = 5
RATES = [0.1, 0.1, 0.05, 0.05, 0.01]  # the learning rate may change from round to round
EXAMPLES = [30, 10, 20, 40, 25, 5, 15, 35]  # and workers may have seen more or fewer
SMALL = {"network": MLPSettings(hidden=(12,), learning_rate=0.01), "batch": 25, "epochs": 6, "seed": 3}


def together(size, work):
    stop = np.zeros(1, np.int64)
    return launch("threads", [PhaseClock() for _ in range(size)], [Control(stop, np.zeros(1, np.int64))] * size, work)


def learner_for(dtype):
    """4 inputs, 3 hidden units, 2 classes: 4 * 3 + 3 + 3 * 2 + 2 = 23 parameters."""
    learner = MLP(MLPSettings(hidden=(3,), dtype=dtype), 4, 2)
    assert learner.layout.real_widths.tolist() == [4, 3, 2]
    return learner


def wanderings(size, length):
    """What every worker's parameters change by between rounds, shape (rounds, size, length)."""
    return np.random.default_rng(7).normal(size=(ROUNDS, size, length))


def held(text, size, dtype="float64", rounds=ROUNDS):
    """Return the parameters of all workers after each round, shape (size, rounds, length)."""

    def work(team):
        learner, rule = learner_for(dtype), parse_strategy(text).rules[0]
        learner.parameters[:] = np.linspace(-1, 1, learner.size)
        state = rule.begin_(team, learner)
        found = []
        for number in range(rounds):
            learner.parameters[:] += wanderings(size, learner.size)[number, team.rank].astype(dtype)
            examples, rate, last = EXAMPLES[team.rank], RATES[number], number == rounds - 1
            rule.hold_round_(RoundContext(team, learner, examples, rate, last, state, services=None))
            found.append(learner.parameters.copy())
        return found

    return np.array(together(size, work))


def mean(vectors, weighted):
    weights = np.array(EXAMPLES[: len(vectors)] if weighted else [1] * len(vectors), float)
    return weights @ vectors / weights.sum()


def slowmo(size, length, beta, alpha, weighted=True):
    """Wang et al. 2019, algorithm 1: u <- b u + (x0 - mean) / lr; x <- x0 - a lr u."""
    x, u, found = np.linspace(-1, 1, length), np.zeros(length), []
    for number, rate in enumerate(RATES):
        x0, average = x, mean(x + wanderings(size, length)[number], weighted)
        u = beta * u + (x0 - average) / rate
        x = x0 - alpha * rate * u
        found.append(x)
    return np.array(found)


def diloco(size, length, rate, momentum, weighted=True):
    """Douillard et al. 2023: D = x0 - mean; m <- 0.9 m + D; x <- x0 - 0.7 (D + 0.9 m)."""
    x, m, found = np.linspace(-1, 1, length), np.zeros(length), []
    for number in range(ROUNDS):
        moved = x - mean(x + wanderings(size, length)[number], weighted)
        m = momentum * m + moved
        x = x - rate * (moved + momentum * m)
        found.append(x)
    return np.array(found)


@pytest.mark.parametrize(
    ("text", "size", "beta", "alpha"),
    [
        ("slowmo:3,beta=0.5", 1, 0.5, 1),
        ("slowmo:3,beta=0.5", 2, 0.5, 1),
        ("slowmo:3,beta=0.7,alpha=0.9", 3, 0.7, 0.9),
        ("slowmo:3,alpha=0.5", 2, 0.0, 0.5),
        ("slowmo:3", 3, 0.0, 1),
        ("slowmo:3", 4, 0.2, 1),
        ("slowmo:3", 8, 0.5, 1),
    ],
)
def test_slowmo_is_its_formula(text, size, beta, alpha):
    found = held(text, size)
    expected = slowmo(size, found.shape[2], beta, alpha)
    for worker in found:
        np.testing.assert_allclose(worker, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("text", "size", "rate", "momentum"),
    [
        ("diloco:3", 1, 0.7, 0.9),
        ("diloco:3", 2, 0.7, 0.9),
        ("diloco:3,rate=0.4,momentum=0.5", 3, 0.4, 0.5),
        ("diloco:3,rate=1,momentum=0", 5, 1, 0),
    ],
)
def test_diloco_is_its_formula(text, size, rate, momentum):
    found = held(text, size)
    expected = diloco(size, found.shape[2], rate, momentum)
    for worker in found:
        np.testing.assert_allclose(worker, expected, rtol=1e-10, atol=1e-10)


def test_two_rounds_by_hand():
    # One parameter as good as all: D is x0 - mean, in both rounds -1 (the workers move by 0 and 2).
    # SlowMo, b = 0.5, lr = 0.1: u = -10, x = 1; u = -5 - 10 = -15, x = 1 + 0.1 * 15 = 2.5.
    # DiLoCo, rate 0.7, mu = 0.9: m = -1, x = 0.7 * 1.9 = 1.33; m = -1.9, x = 1.33 + 0.7 * (1 + 1.71) = 3.227.
    def work(team, text):
        learner, rule = learner_for("float64"), parse_strategy(text).rules[0]
        learner.parameters[:] = 0
        state, found = rule.begin_(team, learner), []
        for _ in range(2):
            learner.parameters[:] += 2 * team.rank
            rule.hold_round_(RoundContext(team, learner, 7, 0.1, False, state, services=None))
            found.append(float(learner.parameters[0]))
        return found

    for text, expected in {"slowmo:3,beta=0.5": [1, 2.5], "diloco:3": [1.33, 3.227]}.items():
        for found in together(2, lambda team, text=text: work(team, text)):
            assert found == pytest.approx(expected)


@pytest.mark.parametrize("text", ["slowmo:3,beta=0.5", "diloco:3"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", ["", ",merge=mean", ",send=int8"])
def test_all_workers_have_the_same_bits_after_every_round(text, dtype, options):
    found = held(text + options, 3, dtype)
    assert all(worker.tobytes() == found[0].tobytes() for worker in found)


@pytest.mark.parametrize(("text", "formula"), [("slowmo:3,beta=0.5", slowmo), ("diloco:3", diloco)])
def test_options_of_the_round_hold_for_its_mean(text, formula):
    settings = {slowmo: (0.5, 1), diloco: (0.7, 0.9)}[formula]
    alike = held(f"{text},merge=mean", 3)
    expected = formula(3, alike.shape[2], *settings, weighted=False)
    np.testing.assert_allclose(alike[0], expected, rtol=1e-10, atol=1e-10)
    # In 16 bits the same, roughly: differences of up to about 3 err by 2^-11 * 4, each round.
    sent = held(f"{text},merge=mean,send=float16", 3)
    assert 0 < np.abs(sent[0] - expected).max() < 0.05


@pytest.mark.parametrize(("text", "part"), [("slowmo:3,beta=0,alpha=0.5", 0.5), ("periodic:3", 1)])
def test_differences_are_sent_from_where_the_last_round_has_led(text, part):
    # A large first round: the mean is 1000, and SlowMo's outer step goes to half of it. Then workers move by 0.001.
    # Counted from there, that is a small number in 16 bits; counted from elsewhere, it would be lost among hundreds.
    def work(team):
        learner, rule = learner_for("float64"), parse_strategy(f"{text},send=float16").rules[0]
        learner.parameters[:] = 0
        state, found = rule.begin_(team, learner), []
        for moved in (1000, 0.001):
            learner.parameters[:] += moved
            rule.hold_round_(RoundContext(team, learner, 7, 0.1, False, state, services=None))
            found.append(float(learner.parameters[0]))
        return found

    for first, second in together(2, work):
        assert first == part * 1000
        assert second == pytest.approx(part * 1000.001, abs=1e-6)


def test_without_momentum_slowmo_is_the_mean_to_the_bit():
    for dtype in ("float32", "float64"):
        plain = held("periodic:3", 3, dtype)
        assert held("slowmo:3,beta=0,alpha=1", 3, dtype).tobytes() == plain.tobytes()
        assert held("slowmo:3", 3, dtype).tobytes() == plain.tobytes()
    assert held("slowmo:3", 4, "float32").tobytes() != held("periodic:3", 4, "float32").tobytes()


def test_default_betas_are_those_of_the_paper():
    chosen = {workers: parse_strategy("slowmo").rules[0].beta_for(workers) for workers in (1, 3, 4, 7, 8, 15, 16, 100)}
    assert chosen == {1: 0, 3: 0, 4: 0.2, 7: 0.2, 8: 0.5, 15: 0.5, 16: 0.6, 100: 0.6}
    assert parse_strategy("slowmo:1epoch,beta=0").rules[0].beta_for(16) == 0
    assert parse_strategy("slowmo:1epoch,beta=0.3").rules[0].beta_for(2) == 0.3


def test_a_rate_of_0_moves_nothing():
    # A schedule may end there; (x0 - mean) / 0 would be no number.
    def work(team):
        learner, rule = learner_for("float32"), parse_strategy("slowmo:3,beta=0.5").rules[0]
        state = rule.begin_(team, learner)
        rule.hold_round_(RoundContext(team, learner, 1, 0.0, True, state, services=None))
        return learner.parameters.copy()

    assert all((found == 0).all() for found in together(2, work))


def test_a_strategy_has_no_state_of_its_own():
    # State belongs to one run: a second run with the same strategy gives the same result.
    strategy = parse_strategy("slowmo:3,beta=0.5")
    assert strategy == parse_strategy("slowmo:3,beta=0.5")
    assert hash(strategy) == hash(parse_strategy("slowmo:3,beta=0.5"))
    assert held("slowmo:3,beta=0.5", 2).tobytes() == held("slowmo:3,beta=0.5", 2).tobytes()


def trained(blobs, strategy, workers, **changes):
    result = run(resolve(RunSpec(strategy=strategy, workers=workers, **{**SMALL, **changes}), blobs), blobs)
    return result.model.learner.parameters


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_with_slowmo_of_no_momentum_is_periodic_to_the_bit(blobs, workers):
    for strategy in ("slowmo:7", "slowmo:7,beta=0", "slowmo:7,alpha=1"):
        found = trained(blobs, strategy, workers)
        assert found.tobytes() == trained(blobs, "periodic:7", workers).tobytes()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_with_diloco_of_rate_1_is_periodic_up_to_rounding(blobs, workers):
    double = {"network": MLPSettings(hidden=(12,), dtype="float64")}
    found = trained(blobs, "diloco:7,rate=1,momentum=0", workers, **double)
    np.testing.assert_allclose(found, trained(blobs, "periodic:7", workers, **double), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("strategy", ["slowmo:7,beta=0.5", "diloco:7", "slowmo:7,alpha=0.5"])
def test_one_worker_takes_outer_steps_too(blobs, strategy):
    result = run(resolve(RunSpec(strategy=strategy, workers=1, **SMALL), blobs), blobs)
    assert result.rounds == 5  # after 7, 14, 21, 28 and, the last, 30 steps
    assert result.model.learner.parameters.tobytes() != trained(blobs, "sequential", 1).tobytes()
