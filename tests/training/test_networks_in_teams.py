"""Every activation, optimizer and loss with several workers: averaged gradients give the sequential result.

In double precision rounding is so small that any other difference would show: norms of LAMB and LARS taken over a
worker's part of a layer, masks that depend on who has a row, weights of rows that are averaged twice.
"""

import itertools

import numpy as np
import pytest

from manyhands.core.learner import Rounds
from manyhands.core.samples import Control, Order, Samples
from manyhands.learners.mlp.learner import MLP
from manyhands.learners.mlp.settings import ACTIVATIONS, LOSSES, OPTIMIZERS, MLPSettings
from manyhands.teams.launch import launch
from manyhands.training.clock import PhaseClock
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

EPOCHS, BATCH = 3, 25
"""Of the blobs' 103 rows: two workers have 13 and 12 of a batch, and 2 and 1 of the last one."""


def trained(blobs, strategy, workers=1, **network):
    settings = MLPSettings(**{"hidden": (20, 9), "dtype": "float64", **network})
    chosen = {"strategy": strategy, "workers": workers, "team": "threads" if workers > 1 else "solo"}
    plan = resolve(RunSpec(network=settings, batch=BATCH, epochs=EPOCHS, seed=3, **chosen), blobs)
    return run(plan, blobs)


def assert_alike(blobs, workers=2, **network):
    sequential, shared = trained(blobs, "sequential", **network), trained(blobs, "gradient", workers, **network)
    ours, expected = shared.model.learner.parameters, sequential.model.learner.parameters
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(shared.losses, sequential.losses, rtol=1e-9)
    return ours


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_two_workers_take_the_steps_of_one_with_every_optimizer(blobs, optimizer):
    assert_alike(blobs, activation="tanh", optimizer=optimizer, l2=0.01)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_two_workers_leave_out_the_neurons_that_one_leaves_out(blobs, activation):
    with_all = trained(blobs, "sequential", activation=activation).model.learner.parameters
    with_some = assert_alike(blobs, activation=activation, dropout=0.3)
    assert np.abs(with_some - with_all).max() > 1e-3


@pytest.mark.parametrize("optimizer", ["lamb", "lars", "nadam"])
def test_layers_that_several_workers_share_have_one_norm(blobs, optimizer):
    # Of three workers' thirds of the vector, both borders lie within weight matrices.
    assert_alike(blobs, workers=3, optimizer=optimizer, dropout=0.2, l2=0.01)


# --- what data sets of classes do not have: other targets, weights of rows ----------------------------------------


def table_of(loss) -> Samples:
    rng = np.random.default_rng(1)
    targets = {
        "cross_entropy": rng.dirichlet(np.ones(4), 60),
        "binary_cross_entropy": rng.integers(0, 2, (60, 4)).astype(float),
        "squared_error": rng.normal(size=(60, 4)),
        "poisson": rng.poisson(2.0, (60, 4)).astype(float),
    }[loss]
    features, labels = rng.integers(0, 256, (60, 7), np.uint8), np.zeros(60, np.int32)
    return Samples(features, labels, np.full(7, 0.015), np.full(7, -2.0), targets, rng.uniform(0.1, 3, 60))


def batches_of() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    batches = [rng.permutation(60)[:20] for _ in range(15)]
    return [*batches, batches[0][:1]]  # at the end one row, for one of the workers only


def share_of(batches, rank, size) -> Order:
    rows = [batch[rank * len(batch) // size : (rank + 1) * len(batch) // size] for batch in batches]
    bounds = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return Order(np.concatenate(rows).astype(np.int32), bounds, np.array([*map(len, batches)], np.int32))


def stepping(loss, size):
    """Return the parameters after some steps of so many workers, whose gradients are averaged inside each step."""
    table, batches = table_of(loss), batches_of()
    controls = [Control(np.zeros(1, np.int64), np.zeros(1, np.int64)) for _ in range(size)]

    def work(team):
        settings = MLPSettings((9,), "softplus", "adamw", loss=loss, dropout=0.2, dtype="float64")
        learner = MLP(settings, 7, 4, rank=team.rank, seed=6)
        learner.initialize(np.random.default_rng(0))
        order, rounds = share_of(batches, team.rank, team.size), None
        if team.size > 1:
            gradient = np.zeros(learner.size)
            meeting = team.shared_reduction(gradient, learner.parameters)
            rounds = Rounds(meeting, np.zeros(0, np.int64), gradient=gradient)
        learner.run(table, order, np.full(order.steps, 0.01), controls[team.rank], rounds)
        return learner.parameters

    return launch("threads", [PhaseClock() for _ in range(size)], controls, work)


@pytest.mark.parametrize("loss", LOSSES)
def test_two_workers_weigh_rows_as_one_does_with_every_loss(loss):
    (alone,), together = stepping(loss, 1), stepping(loss, 2)
    for ours in together:
        np.testing.assert_allclose(ours, alone, rtol=1e-9, atol=1e-11)


def test_the_shares_of_two_workers_are_the_batches_of_one():
    batches = batches_of()
    shares = [share_of(batches, rank, 2) for rank in range(2)]
    for step, batch in enumerate(batches):
        rows = [share.rows[slice(*itertools.islice(share.bounds, step, step + 2))] for share in shares]
        assert np.concatenate(rows).tolist() == batch.tolist()
