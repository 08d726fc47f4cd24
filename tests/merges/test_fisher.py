"""Fisher merge: the formula by hand, and the information against per-example gradients worked out with numpy."""

from types import SimpleNamespace

import numpy as np
import pytest

import manyhands
from manyhands.core.randomness import generator
from manyhands.core.samples import Control, Samples
from manyhands.core.strategy import RoundContext
from manyhands.data.partitioning import Partition
from manyhands.data.sampler import BatchSampler
from manyhands.learners.mlp.learner import MLP
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.merges.fisher import fisher_
from manyhands.strategies import parse_strategy
from manyhands.teams.launch import launch
from manyhands.teams.solo import Solo
from manyhands.training.clock import PhaseClock
from manyhands.training.merge_services import RunServices
from manyhands.training.plan import Plan
from manyhands.training.schedules import RateSchedule


def merged(vectors, informations, dtype=np.float64):
    """Return every worker's parameters after the merge, of workers with this much Fisher information."""
    size, stop = len(vectors), np.zeros(1, np.int64)

    def work(team):
        learner = SimpleNamespace(parameters=np.array(vectors[team.rank], dtype))
        services = SimpleNamespace(fisher=lambda: np.array(informations[team.rank], dtype))
        fisher_(RoundContext(team, learner, 10, 0.1, True, None, services))
        return learner.parameters

    return launch("threads", [PhaseClock() for _ in vectors], [Control(stop, np.zeros(1, np.int64))] * size, work)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_formula_by_hand(dtype):
    # first:  (1 * 2 + 3 * 6) / 4 = 5;             only the second worker knows anything: nearly 6
    # second: (2 * 0 + 2 * 4) / 4 = 2, as the mean; (5e-7 and 0 both count as 1e-6:) (1 + 9) / 2 = 5, as the mean
    vectors = [[2.0, 2.0, 0.0, 1.0], [6.0, 6.0, 4.0, 9.0]]
    informations = [[1.0, 0.0, 2.0, 5e-7], [3.0, 1.0, 2.0, 0.0]]
    results = merged(vectors, informations, dtype)
    # (1e-6 * 2 + 1 * 6) / (1 + 1e-6) = 6 - 4e-6 / 1.000001
    for parameters in results:
        np.testing.assert_allclose(parameters, [5, 6 - 4e-6, 2, 5], rtol=1e-6 if dtype == np.float32 else 1e-11)
        assert parameters.tobytes() == results[0].tobytes()


def test_the_floor_is_a_millionth():
    # Information 0 counts as 1e-6, 3e-6 as itself: (1 * 0 + 3 * 8) / 4
    for parameters in merged([[0.0], [8.0]], [[0.0], [3e-6]]):
        np.testing.assert_allclose(parameters, [6.0], rtol=1e-12)


def services_of(learner, table, seed=4, sharding="global", rank=0, size=1):
    batch = min(table.rows, 10)
    plan = Plan(
        network=learner.settings,
        strategy=parse_strategy("one-shot"),
        workers=size,
        batch=batch,
        epochs=1,
        sharding=sharding,
        schedule=RateSchedule(),
        stop=None,
        partition=Partition(),
        seed=seed,
        rows=table.rows,
    )
    schedule = BatchSampler(table.rows, batch, rank, size, sharding, seed)
    control = Control(np.zeros(1, np.int64), np.zeros(1, np.int64))
    team = Solo(PhaseClock())
    team.rank = rank
    return RunServices(plan, team, learner, table, schedule, control, None)


def network(rows=30, hidden=(4,), dtype="float64", activation="tanh", seed=0):
    rng = np.random.default_rng(seed)
    table = Samples(
        rng.integers(0, 256, (rows, 5), dtype=np.uint8),
        rng.integers(0, 3, rows).astype(np.int32),
        np.full(5, 1 / 128),
        np.full(5, -1.0),
    )
    learner = MLP(MLPSettings(hidden, activation=activation, l2=0.5, dtype=dtype), 5, 3)
    learner.initialize(rng)
    return learner, table


def gradients_of_all_classes(learner, table):
    """Return d log p(y | x) for every row and every class y, by layer, and p; with numpy alone.

    One hidden layer of tanh: d log p_y / dz2 = onehot(y) - p, and / dz1 = (onehot(y) - p) W2^T * (1 - h^2).
    """
    blocks = learner.weights()
    x = table.features * table.scale + table.shift
    h = np.tanh(x @ blocks["weights.0"] + blocks["biases.0"])
    z = h @ blocks["weights.1"] + blocks["biases.1"]
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    d2 = np.eye(3)[None, :, :] - p[:, None, :]  # (row, y, class)
    d1 = d2 @ blocks["weights.1"].T * (1 - h**2)[:, None, :]
    found = {
        "weights.0": x[:, None, :, None] * d1[:, :, None, :],
        "biases.0": d1,
        "weights.1": h[:, None, :, None] * d2[:, :, None, :],
        "biases.1": d2,
    }
    return found, p


def blocks_of(learner, vector):
    kinds = {"weights": learner.layout.weights, "biases": learner.layout.biases}
    return {f"{kind}.{layer}": view(vector, layer) for kind, view in kinds.items() for layer in range(2)}


def test_the_information_is_the_mean_squared_gradient_of_the_drawn_answer():
    learner, table = network()
    found = blocks_of(learner, services_of(learner, table).fisher())
    squares, p = gradients_of_all_classes(learner, table)
    # The same draws: one uniform number a row, in the order of the rows in epoch 0.
    rows = BatchSampler(30, 10, 0, 1, "global", 4).epoch(0).rows
    uniform = generator(4, "fisher of worker 0").random(30)
    drawn = [int(np.searchsorted(p[row].cumsum(), number)) for row, number in zip(rows, uniform, strict=True)]
    assert len(set(drawn)) == 3
    for name, block in found.items():
        expected = (squares[name][rows, drawn] ** 2).mean(axis=0)
        np.testing.assert_allclose(block, expected, rtol=1e-9, atol=1e-15)


def test_the_information_does_not_look_at_labels():
    # Those of the data would make it the "empirical" one, which is not what the paper has.
    learner, table = network()
    others = Samples(table.features, (table.labels + 1) % 3, table.scale, table.shift)
    one, other = (services_of(learner, each).fisher() for each in (table, others))
    assert one.tobytes() == other.tobytes()


def test_over_many_rows_the_information_is_the_expectation():
    # E_y[(d log p)^2] exactly, over 1,000 equal rows: the draws of a class y are binomial, and 6 standard errors of
    # sum_y share_y g_y^2 are less than 6 * sqrt(1/4 / 1000) * max_y g_y^2 * K = 0.285 of the largest g^2.
    learner, table = network(rows=1)
    squares, p = gradients_of_all_classes(learner, table)
    many = Samples(np.repeat(table.features, 1000, axis=0), np.zeros(1000, np.int32), table.scale, table.shift)
    for name, block in blocks_of(learner, services_of(learner, many).fisher()).items():
        expected = np.tensordot(p[0], squares[name][0] ** 2, 1)
        assert (np.abs(block - expected) < 0.285 * (squares[name][0] ** 2).max(axis=0) + 1e-15).all()


def test_a_thousand_rows_are_enough(monkeypatch):
    learner, table = network(rows=1203, dtype="float32")
    asked = []
    gradient = learner.gradient
    monkeypatch.setattr(learner, "gradient", lambda *given: (asked.append(given[1].examples), gradient(*given))[1])
    services_of(learner, table).fisher()
    assert asked == [1] * 1000


def test_the_rows_are_this_worker_s():
    learner, table = network(rows=40)
    shares = [np.arange(20), np.arange(20, 40)]
    changed = table.features.copy()
    changed[shares[0]] = 255 - changed[shares[0]]
    other = Samples(changed, table.labels, table.scale, table.shift)
    for rank, same in ((0, False), (1, True)):
        found = [services_of(learner, each, sharding="fixed", rank=rank, size=2).fisher() for each in (table, other)]
        assert (found[0].tobytes() == found[1].tobytes()) == same


def test_asking_changes_nothing_and_gives_the_same_again():
    learner, table = network(dtype="float32", activation="relu")
    before, services = learner.state(), services_of(learner, table)
    found = [services.fisher(), services.fisher()]
    assert found[0].tobytes() == found[1].tobytes()
    assert found[0].dtype == np.float32
    assert (found[0] >= 0).all()
    assert found[0].any()
    after = learner.state()
    assert all(after[name].tobytes() == value.tobytes() for name, value in before.items())


def test_padding_has_no_information_and_stays_zero():
    learner, table = network()
    real = np.zeros(learner.size, bool)
    for block in blocks_of(learner, real).values():
        block[:] = True
    assert not real.all()  # 4 units are stored as 16
    information = services_of(learner, table).fisher()
    assert not information[~real].any()
    for parameters in merged([learner.parameters, 2 * learner.parameters], [information, information]):
        assert not parameters[~real].any()


def test_a_run_is_repeatable_and_differs_from_the_mean():
    settings = {"workers": 2, "epochs": 5, "hidden": (16,)}
    fisher, again, mean = (
        manyhands.train("digits", strategy=f"one-shot:merge={merge}", **settings).model.learner.parameters
        for merge in ("fisher", "fisher", "examples")
    )
    assert fisher.tobytes() == again.tobytes()
    assert 1e-4 < np.abs(fisher - mean).max() < 1
