"""The strategy of Alowaisheq & Dhami: a mini-batch drawn, gone through several times, averaged, and the next one."""

from dataclasses import replace

import numpy as np
import pytest

from manyhands.core.strategy import Needs
from manyhands.data.sampler import BatchSampler
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.strategies import parse_strategy
from manyhands.strategies.minibatch import Minibatch
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

SMALL = {"network": MLPSettings(hidden=(12,), learning_rate=0.01), "batch": 25, "seed": 3}


def parameters(result):
    return result.model.learner.parameters.tobytes()


def test_five_epochs_on_fixed_shares_are_the_papers():
    assert parse_strategy("minibatch").rules == (Minibatch(),)
    assert Minibatch().needs == Needs(fixed_shards=True, passes=5)


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("sharding", ["fixed", "global"])
def test_it_trains_at_the_cost_of_any_other(blobs, workers, sharding):
    # 103 rows in batches of 25 are 5 steps an epoch
    plan = resolve(RunSpec(strategy="minibatch:5epochs", workers=workers, epochs=60, sharding=sharding, **SMALL), blobs)
    other = resolve(RunSpec(strategy="periodic:1epoch", workers=workers, epochs=60, sharding=sharding, **SMALL), blobs)
    found, reference = run(plan, blobs), run(other, blobs)
    assert found.accuracy > 0.9
    assert (found.steps, found.rounds) == (300, 60)
    assert (found.steps, found.rounds, found.examples) == (reference.steps, reference.rounds, reference.examples)


def test_one_pass_is_periodic_averaging_after_each_epoch(blobs):
    once = resolve(RunSpec(strategy="minibatch:1epoch", workers=3, epochs=4, **SMALL), blobs)
    periodic = resolve(RunSpec(strategy="periodic:1epoch", workers=3, epochs=4, sharding="fixed", **SMALL), blobs)
    assert parameters(run(once, blobs)) == parameters(run(periodic, blobs))


def test_more_passes_give_other_parameters(blobs):
    found = {
        parameters(run(resolve(RunSpec(strategy=name, workers=2, epochs=4, **SMALL), blobs), blobs))
        for name in ("minibatch:1", "minibatch:2", "minibatch:5")
    }
    assert len(found) == 3


def test_one_worker_trains_on_mini_batches_too(blobs):
    alone = run(resolve(RunSpec(strategy="minibatch:5epochs", workers=1, epochs=4, **SMALL), blobs), blobs)
    sequential = run(resolve(RunSpec(strategy="sequential", epochs=4, **SMALL), blobs), blobs)
    assert alone.steps == sequential.steps
    assert parameters(alone) != parameters(sequential)
    assert np.isfinite(alone.losses).all()


def test_rows_that_are_not_drawn_have_no_influence(blobs):
    # One epoch, one worker: of 103 rows ceil(103 / 5) = 21 are drawn. Others may be anything.
    plan = resolve(RunSpec(strategy="minibatch:5epochs", workers=1, epochs=1, **SMALL), blobs)
    drawn = set(BatchSampler(103, 25, 0, 1, "fixed", 3, passes=5).epoch(0).rows.tolist())
    assert len(drawn) == 21
    others = [row for row in range(103) if row not in drawn]
    features = blobs.train.features.copy()
    features[others] = 255 - features[others]
    changed = replace(blobs, train=replace(blobs.train, features=features))
    assert parameters(run(plan, blobs)) == parameters(run(plan, changed))
