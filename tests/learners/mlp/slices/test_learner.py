"""Networks that several workers hold together do what whole ones do: losses, parameters, probabilities."""

import threading

import numpy as np
import pytest

from manyhands.core.choices import ACTIVATIONS, LOSSES, OPTIMIZERS
from manyhands.core.errors import DivergedError, WorkerLost
from manyhands.core.grid import LEVELS
from manyhands.core.randomness import generator
from manyhands.core.samples import Control, Order, Samples
from manyhands.learners.mlp.learner import MLP
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.learners.mlp.slices.learner import SlicedMLP
from manyhands.teams.threads import ThreadGroup, ThreadTeam
from manyhands.training.clock import PhaseClock

FEATURES, CLASSES, ROWS, BATCH, STEPS = 30, 5, 120, 24, 50


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    features = rng.integers(0, 256, (ROWS, FEATURES), np.uint8)
    features[:, ::4] = 0  # inactive inputs, some in every slice
    labels = (features[:, :9].sum(axis=1) // 300 % CLASSES).astype(np.int32)
    return Samples(features, labels, np.full(FEATURES, 1 / 128), np.zeros(FEATURES))


def order(steps=STEPS) -> Order:
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.permutation(ROWS)[:BATCH] for _ in range(steps)]).astype(np.int32)
    return Order(rows, np.arange(0, BATCH * steps + 1, BATCH), np.full(steps, BATCH, np.int32))


def control() -> Control:
    return Control(np.zeros(1, np.int64), np.zeros(1, np.int64))


def together(parts, work):
    """Let as many threads do the same work, each with its own team; return their results, or raise the first error."""
    group, results, errors = ThreadGroup(parts), [None] * parts, []

    def one(rank):
        try:
            results[rank] = work(ThreadTeam(group, rank, PhaseClock()))
        except BaseException as error:
            errors.append(error)
            group.call_off(rank)

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(parts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def sliced(settings, team, level) -> SlicedMLP:
    learner = SlicedMLP(settings, FEATURES, CLASSES, team=team, level=level, seed=7)
    learner.initialize(generator(0, "init"))
    return learner


def whole(settings) -> MLP:
    learner = MLP(settings, FEATURES, CLASSES, seed=7)
    learner.initialize(generator(0, "init"))
    return learner


def check_same(settings, table, level, parts, *, steps=STEPS, tolerance=1e-4):
    """Compare loss curves, and what was learned, with those of the undivided network."""
    one, rates = whole(settings), np.full(steps, settings.learning_rate)
    losses = one.run(table, order(steps), rates, control()).losses

    def work(team):
        learner = sliced(settings, team, level)
        found = learner.run(table, order(steps), rates, control()).losses
        return found, learner.whole().parameters, learner.outputs(table)

    results = together(parts, work)
    for found, parameters, outputs in results:
        assert np.abs(found - losses).max() < tolerance
        assert found.tobytes() == results[0][0].tobytes()
        assert parameters.tobytes() == results[0][1].tobytes()
        np.testing.assert_allclose(outputs, one.outputs(table), atol=1e-4)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("parts", [2, 3, 4])
def test_every_activation_with_dropout(table, activation, parts):
    level = LEVELS[(ACTIVATIONS.index(activation) + parts) % 3]
    settings = MLPSettings((17, 12), activation, dropout=0.1, l2=0.01, learning_rate=0.005)
    check_same(settings, table, level, parts)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("hidden", [(13,), (20, 9), (8, 9, 10), (12, 11, 10, 9)], ids=len)
def test_every_depth(table, level, hidden):
    check_same(MLPSettings(hidden, learning_rate=0.003), table, level, 3)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("level", LEVELS)
def test_every_optimizer(table, optimizer, level):
    # In double precision: where a gradient is nearly zero, optimizers that divide by its size make much of rounding.
    settings = MLPSettings((14, 9, 7), "tanh", optimizer, l2=0.1, dtype="float64")
    check_same(settings, table, level, 2, tolerance=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss(table, loss):
    targets = np.eye(CLASSES)[table.labels]
    aims = table.with_arrays({"targets": targets, "weights": np.linspace(0.5, 2, ROWS)})
    settings = MLPSettings((14, 9), "silu", loss=loss, learning_rate=0.002)
    check_same(settings, aims, "node", 2)


def test_a_network_without_hidden_layers(table):
    check_same(MLPSettings((), learning_rate=0.01), table, "weight", 4)


def test_layers_that_blas_multiplies(table):
    check_same(MLPSettings((1100, 1060)), table, "pairs", 2, steps=3)


@pytest.mark.parametrize("level", LEVELS)
def test_a_state_is_that_of_the_whole_network(table, level):
    settings = MLPSettings((14, 9), optimizer="adamw")
    one = whole(settings)
    rates = np.full(STEPS, 0.01)
    one.run(table, order(), rates, control())
    state = one.state()

    def work(team):
        learner = sliced(settings, team, level)
        learner.load_state(state)
        back, blocks = learner.state(), learner.weights()
        learner.load_weights(blocks)
        return back, learner.finished()

    for back, end in together(3, work):
        assert {name: array.tobytes() for name, array in back.items()} == {
            name: array.tobytes() for name, array in state.items()
        }
        assert end.parameters.tobytes() == one.parameters.tobytes()


@pytest.mark.parametrize("optimizer", ["adam", "lamb"])
def test_halves_of_steps_are_whole_ones(table, optimizer):
    settings, steps = MLPSettings((14, 9), optimizer=optimizer, l2=0.1), 6
    rates = np.full(steps, 0.01)

    def work(team):
        learner, halves = sliced(settings, team, "node"), sliced(settings, team, "node")
        losses, gradient = (
            learner.run(table, order(steps), rates, control()).losses,
            np.zeros(halves.size, halves.dtype),
        )
        for step in range(steps):
            found = halves.gradient(table, order(steps).part(step, step + 1), gradient)
            found += halves.apply(gradient, 0.01, BATCH)
            assert found == pytest.approx(losses[step], rel=1e-5)
        return halves.parameters.tobytes() == learner.parameters.tobytes()

    assert all(together(2, work))


def test_calls_may_have_batches_of_any_size(table):
    settings = MLPSettings((14, 9))
    rows = np.arange(40, dtype=np.int32)
    uneven = Order(rows, np.array([0, 3, 3, 40]), np.array([3, 1, 37], np.int32))
    one = whole(settings)
    losses = one.run(table, uneven, np.full(3, 0.01), control()).losses

    def work(team):
        learner = sliced(settings, team, "pairs")
        return learner.run(table, uneven, np.full(3, 0.01), control()).losses

    for found in together(2, work):
        np.testing.assert_allclose(found, losses, atol=1e-6)


def test_a_loss_that_is_not_finite_ends_all(table):
    settings = MLPSettings((14, 9), "identity", "sgd")

    def work(team):
        learner = sliced(settings, team, "node")
        with pytest.raises(DivergedError):
            learner.run(table, order(), np.full(STEPS, 1e30), control())
        return True

    assert all(together(3, work))


def test_a_worker_that_fails_leaves_nobody_waiting(table):
    def work(team):
        learner = sliced(MLPSettings((14, 9)), team, "node")
        if team.rank == 1:
            raise ZeroDivisionError
        with pytest.raises(WorkerLost):
            learner.run(table, order(), np.full(STEPS, 0.01), control())

    with pytest.raises(ZeroDivisionError):
        together(3, work)


def test_parts_are_smaller_than_the_whole(table):
    settings = MLPSettings((160, 160))

    def work(team):
        return sliced(settings, team, "node").size

    assert sum(together(2, work)) < 1.1 * whole(settings).size
