"""Every optimizer: steps in two halves, and runs that go on from a saved state, have the bits of one run."""

import numpy as np
import pytest

from manyhands.core.samples import Control, Order, Samples
from manyhands.learners.mlp.learner import MLP
from manyhands.learners.mlp.settings import OPTIMIZERS, MLPSettings

STEPS, BATCH, RATE = 6, 16, 0.01


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    features, labels = rng.integers(0, 256, (40, 6), np.uint8), rng.integers(0, 3, 40).astype(np.int32)
    return Samples(features, labels, np.full(6, 0.015), np.full(6, -2.0))


def order() -> Order:
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.permutation(40)[:BATCH] for _ in range(STEPS)]).astype(np.int32)
    return Order(rows, np.arange(0, BATCH * STEPS + 1, BATCH), np.full(STEPS, BATCH, np.int32))


def network(optimizer, dtype) -> MLP:
    """With layers larger than the pieces in which whole steps are taken, and with dropout, which counts steps."""
    settings = MLPSettings((300, 40), "gelu", optimizer, dropout=0.25, l2=0.1, dtype=dtype)
    learner = MLP(settings, 6, 3, seed=7)
    learner.initialize(np.random.default_rng(2))
    return learner


def walk(learner, table, first, last):
    control = Control(np.zeros(1, np.int64), np.zeros(1, np.int64))
    return learner.run(table, order().part(first, last), np.full(last - first, RATE), control).losses


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_halves_of_steps_have_the_bits_of_whole_ones(table, optimizer, dtype):
    whole, halves = network(optimizer, dtype), network(optimizer, dtype)
    losses, gradient = walk(whole, table, 0, STEPS), np.zeros(halves.size, dtype)
    for step in range(STEPS):
        found = halves.gradient(table, order().part(step, step + 1), gradient) + halves.apply(gradient, RATE, BATCH)
        assert found == pytest.approx(losses[step], rel=1e-5)
    assert halves.parameters.tobytes() == whole.parameters.tobytes()
    assert {name: vector.tobytes() for name, vector in halves.optimizer_state.items()} == {
        name: vector.tobytes() for name, vector in whole.optimizer_state.items()
    }


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_saved_state_goes_on_bit_for_bit(table, optimizer, dtype):
    whole, successor = (network(optimizer, dtype) for _ in range(2))
    walk(whole, table, 0, STEPS)
    for step in range(STEPS):  # saved after every step
        begun = successor
        walk(begun, table, step, step + 1)
        successor = MLP(begun.settings, 6, 3, seed=7)
        successor.load_state(begun.state())
    assert successor.parameters.tobytes() == whole.parameters.tobytes()
