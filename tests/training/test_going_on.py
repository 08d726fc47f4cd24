"""Runs that go on where others have ended, and what a stopping rule sees."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest

from manyhands.core.callbacks import EpochSummary
from manyhands.core.errors import SettingsError
from manyhands.core.samples import Control
from manyhands.data.sampler import BatchSampler
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.teams.launch import launch
from manyhands.training.clock import PhaseClock
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec
from manyhands.training.stopping import AccuracyStop, LossStop, Stop, UnchangedStop, mean_loss
from manyhands.training.tally import weights_of

ALIKE = [("sequential", 1), ("gradient", 2), ("gradient", 3)]


def planned(dataset, strategy="sequential", workers=1, network=None, **words):
    settings = MLPSettings((5,), **(network or {}))
    return resolve(
        RunSpec(strategy=strategy, workers=workers, network=settings, **{"epochs": 6, "batch": 20, **words}), dataset
    )


def learned(plan, dataset, start=None):
    return run(plan, dataset, start=start).model.learner.state()


@pytest.mark.parametrize(("strategy", "workers"), ALIKE)
@pytest.mark.parametrize("network", [{}, {"optimizer": "nesterov"}, {"dropout": 0.3}, {"dtype": "float64"}], ids=str)
@pytest.mark.parametrize("shuffle", [True, False])
def test_two_runs_are_one_long_one(blobs, strategy, workers, network, shuffle):
    words = {"strategy": strategy, "workers": workers, "network": network, "shuffle": shuffle}
    whole = learned(planned(blobs, **words), blobs)
    first = learned(planned(blobs, **words, epochs=2), blobs)
    both = learned(planned(blobs, **words, epochs=4, first_epoch=2), blobs, first)
    assert both.keys() == whole.keys()
    assert all(both[name].tobytes() == whole[name].tobytes() for name in whole)
    if shuffle:
        again = learned(planned(blobs, **words, epochs=4), blobs, first)
        assert again["parameters"].tobytes() != whole["parameters"].tobytes()


@pytest.mark.parametrize("strategy", ["one-shot", "periodic:1epoch,starts=own", "hogwild"])
def test_every_worker_begins_with_what_is_given(blobs, strategy):
    start = learned(planned(blobs), blobs)
    plan = planned(blobs, strategy, 3, epochs=1, network={"learning_rate": 1e-30, "l2": 0.0})
    found = learned(plan, blobs, start)
    np.testing.assert_allclose(found["parameters"], start["parameters"], rtol=1e-6)


def test_what_is_given_stays_as_it_is(blobs):
    start = learned(planned(blobs), blobs)
    before = {name: array.copy() for name, array in start.items()}
    learned(planned(blobs, "periodic:1epoch", 2), blobs, start)
    assert all((start[name] == before[name]).all() for name in before)


def test_a_job_of_its_own_begins_at_random(blobs):
    pytest.importorskip("mpi4py")
    start = learned(planned(blobs), blobs)
    with pytest.raises(SettingsError, match="begins at random"):
        run(planned(blobs, "gradient", 2, team="mpi"), blobs, start=start)


def test_without_test_rows_there_is_no_accuracy(blobs):
    nothing = replace(blobs.test, features=blobs.test.features[:0], labels=blobs.test.labels[:0])
    assert np.isnan(run(planned(blobs), replace(blobs, test=nothing)).accuracy)


def test_a_plan_tells_where_it_goes_on(blobs):
    plan = planned(blobs, "gradient", 2, first_epoch=7, shuffle=False)
    assert Plan.from_json(plan.to_json()) == plan
    assert (plan.describe()["first_epoch"], plan.describe()["shuffle"]) == (7, False)
    assert "from epoch 7, rows as stored" in str(plan)
    assert "epoch 0" not in str(planned(blobs))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"first_epoch": -1}, "must be at least 0, not -1"),
        ({"strategy": "minibatch:2epochs", "workers": 2, "shuffle": False}, "without shuffling"),
        ({"strategy": "one-shot", "workers": 2, "learner": "published", "batch": None, "shuffle": False}, "published"),
        ({"learner": "published", "batch": None, "first_epoch": 1}, "published"),
    ],
    ids=str,
)
def test_orders_that_cannot_be(blobs, words, message):
    with pytest.raises(SettingsError, match=message):
        planned(blobs, **words)


# What a rule sees.


@dataclass
class Noting(Stop):
    """A rule that notes what it sees, and ends the run after some epoch."""

    end: int = 99
    told: list = field(default_factory=list)
    name = "noting"

    def after_epoch(self, run, epoch):
        self.told.append((epoch.last, run.synchronized, epoch.examples, len(epoch.losses), epoch.weights))
        return len(self.told) >= self.end


def test_it_is_asked_after_every_epoch_and_told_which_is_the_last(blobs):
    rule = Noting()
    result = run(planned(blobs, stop=rule, epochs=4), blobs)
    assert [each[0] for each in rule.told] == [False, False, False, True]
    assert {each[1:] for each in rule.told} == {(True, 103, 6, None)}
    assert len(result.losses) == 4


def test_its_answer_after_the_last_does_not_matter(blobs):
    plain, ended = (run(planned(blobs, "periodic:1epoch", 1, stop=each, epochs=4), blobs) for each in (None, Noting(4)))
    assert (ended.rounds, ended.losses) == (plain.rounds, plain.losses)
    assert len(run(planned(blobs, stop=Noting(3), epochs=4), blobs).losses) == 3


@pytest.mark.parametrize("rule", [LossStop(), UnchangedStop(), AccuracyStop(0.5)])
def test_rules_of_ours_do_nothing_after_the_last(rule, blobs):
    # Without a team there are no collectives.
    learner = SimpleNamespace(parameters=np.zeros(3))
    run = SimpleNamespace(team=None, learner=learner, synchronized=True, validation=blobs.test)
    epoch = EpochSummary(1.0, 1, True, np.zeros(0), np.zeros(0, np.int32))
    assert rule.for_worker(run).after_epoch(run, epoch) is False


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_mean_loss_of_rows_with_weights_by_hand(workers):
    """Batches of 2 and 1 rows, losses 1, 3 and 5, weights 1, 3 and 9: (1 + 9) / 4 = 2.5 and 5; (2 * 2.5 + 5) / 3."""
    losses, weights = np.array([1.0, 3.0, 5.0]), np.array([1.0, 3.0, 9.0], np.float32)

    def work(team):
        # With more workers than rows in a batch, the third has none.
        place = min(team.rank, 1), min(team.size, 2)
        order = BatchSampler(3, 2, *place, "global", 0, shuffle=False).epoch(0)
        counts, own = weights_of(weights, order) * (team.rank < 2), np.zeros(2)
        for step in range(2):
            rows = order.rows[order.bounds[step] : order.bounds[step + 1]]
            own[step] = np.average(losses[rows], weights=weights[rows]) if len(rows) else 0
        return mean_loss(team, EpochSummary(0.0, 0, False, own, order.global_rows, counts))

    stop = np.zeros(1, np.int64)
    controls = [Control(stop, np.zeros(1, np.int64)) for _ in range(workers)]
    team = "threads" if workers > 1 else "solo"
    assert launch(team, [PhaseClock() for _ in range(workers)], controls, work) == pytest.approx([10 / 3] * workers)


def test_sums_of_weights_by_step():
    order = BatchSampler(10, 4, 1, 3, "global", 3).epochs(0, 2)
    weights = np.arange(10.0)
    expected = [weights[order.rows[a:b]].sum() for a, b in zip(order.bounds, order.bounds[1:], strict=False)]
    np.testing.assert_array_equal(weights_of(weights, order), expected)
    np.testing.assert_array_equal(weights_of(weights, order.part(2, 5)), expected[2:5])
