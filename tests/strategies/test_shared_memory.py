"""EASGD and Hogwild: workers that write to one vector without waiting for each other."""

import numpy as np
import pytest

from manyhands.core.errors import SettingsError
from manyhands.core.events import EpochEnded
from manyhands.core.samples import Control
from manyhands.core.strategy import RoundContext
from manyhands.learners.mlp.learner import MLP
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.strategies import parse_strategy
from manyhands.teams.launch import launch
from manyhands.training import making as running
from manyhands.training.clock import PhaseClock
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

SMALL = {"network": MLPSettings(hidden=(12,), learning_rate=0.01), "batch": 25, "seed": 3}


def together(size, work, team="threads"):
    stop = np.zeros(1, np.int64)
    return launch(team, [PhaseClock() for _ in range(size)], [Control(stop, np.zeros(1, np.int64))] * size, work)


def new_learner(value=0.0):
    learner = MLP(MLPSettings(hidden=(3,), dtype="float64"), 4, 2)
    learner.parameters[:] = value
    return learner


def context(team, learner, state, last=False):
    return RoundContext(team, learner, 10, 0.1, last, state, services=None)


def rule_of(text):
    return parse_strategy(text).rules[0]


@pytest.fixture
def learners(monkeypatch):
    """Each worker's learner in the last run, by rank."""
    found, make = {}, running.make_learner

    def remember(*arguments, rank=0, **others):
        found[rank] = make(*arguments, rank=rank, **others)
        return found[rank]

    monkeypatch.setattr(running, "make_learner", remember)
    return found


@pytest.mark.parametrize("team", ["solo", "threads"])
def test_easgd_with_one_worker_by_hand(team):
    # a = 0.9 / 1. The centre is 0 at first. x = 10: d = 9, x = 1, c = 9. x + 1 = 2: d = 0.9 * (2 - 9) = -6.3, x = 8.3,
    # c = 2.7. x + 1.7 = 10, and the last: d = 0.9 * 7.3 = 6.57, c = 9.27, which is the result.
    def work(team):
        rule, learner, found = rule_of("easgd:10"), new_learner(), []
        state = rule.begin_(team, learner)
        for moved, last in ((10, False), (1, False), (1.7, True)):
            learner.parameters[:] += moved
            rule.hold_round_(context(team, learner, state, last))
            found.append((set(np.round(learner.parameters, 12)), set(np.round(state.centre, 12))))
        return found

    (found,) = together(1, work, team)
    assert found == [({1.0}, {9.0}), ({8.3}, {2.7}), ({9.27}, {9.27})]


@pytest.mark.parametrize("strength", [0.9, 0.5])
def test_easgd_with_two_workers_one_after_the_other(strength):
    # For 0.9: a = 0.45. The centre is 0. x0 = 10: d = 4.5, x0 = 5.5, c = 4.5. Then x1 = 20: d = 0.45 * 15.5 = 6.975,
    # x1 = 13.025, c = 11.475. What all have together, 30, stays.
    # For 0.5: a = 0.25. x0 = 7.5, c = 2.5; d = 0.25 * 17.5 = 4.375, x1 = 15.625, c = 6.875.
    expected = {0.9: (5.5, 13.025, 11.475), 0.5: (7.5, 15.625, 6.875)}[strength]

    def work(team):
        rule, learner = rule_of(f"easgd:10,strength={strength}"), new_learner()
        state = rule.begin_(team, learner)
        learner.parameters[:] = 10 * (team.rank + 1)
        for rank in range(team.size):
            if rank == team.rank:
                rule.hold_round_(context(team, learner, state))
            team.barrier()
        centre = state.centre.copy()
        team.barrier()
        pulled = float(learner.parameters[0])
        rule.hold_round_(context(team, learner, state, last=True))
        return pulled, set(centre), learner.parameters.copy(), state.centre

    (x0, centre, first, shared), (x1, other, second, same) = together(2, work)
    assert (x0, x1) == pytest.approx(expected[:2])
    assert list(centre) == list(other) == [pytest.approx(expected[2])]
    assert np.shares_memory(shared, same)
    assert first.tobytes() == second.tobytes() == shared.tobytes()


def test_easgd_pulls_each_worker_by_its_formula_in_any_order():
    # Each worker's centre in a round is the one it meets; with a barrier between rounds the order alone is open. So
    # whatever it is, the sum of workers and centre stays what it was.
    def work(team):
        rule, learner = rule_of("easgd:10"), new_learner()
        state = rule.begin_(team, learner)
        learner.parameters[:] = team.rank
        for rank in np.random.default_rng(1).permutation(team.size):
            if rank == team.rank:
                rule.hold_round_(context(team, learner, state))
            team.barrier()
        total = learner.parameters.copy()
        team.sum_(total)
        return total + state.centre

    for total in together(4, work):
        np.testing.assert_allclose(total, 0 + 1 + 2 + 3)


@pytest.mark.parametrize("workers", [2, 4])
def test_the_centre_ends_in_everyone(blobs, learners, workers):
    result = run(resolve(RunSpec(strategy="easgd:7", workers=workers, epochs=6, **SMALL), blobs), blobs)
    assert len(learners) == workers
    assert {learner.parameters.tobytes() for learner in learners.values()} == {
        result.model.learner.parameters.tobytes()
    }
    # After 7, 14, 21, 28 and 30 steps.
    assert result.rounds == 5
    assert result.bytes_sent == 5 * result.model.learner.parameters.nbytes


def test_before_the_end_easgd_workers_are_not_alike(blobs, learners):
    apart = []

    def callback(event):
        if isinstance(event, EpochEnded) and event.rank == 1 and event.epoch < 6:
            apart.append(np.abs(learners[1].parameters - learners[0].parameters).max())

    run(resolve(RunSpec(strategy="easgd:1epoch", workers=2, epochs=6, **SMALL), blobs), blobs, callbacks=[callback])
    assert len(apart) == 5
    assert min(apart) > 0


def test_hogwild_is_one_vector_and_then_everyones_own():
    def work(team):
        rule, learner = rule_of("hogwild"), new_learner(5.0)
        own = learner.parameters
        state = rule.begin_(team, learner)
        common = learner.parameters
        for rank in range(team.size):  # taking turns, so that nothing is lost
            if rank == team.rank:
                learner.parameters += rank + 1
            team.barrier()
        seen = learner.parameters.copy()
        team.barrier()
        rule.hold_round_(context(team, learner, state, last=True))
        after = learner.parameters
        team.barrier()
        if team.rank == 0:
            learner.parameters[:] = -1  # no one else's any more
        team.barrier()
        return own, common, seen, after, learner.parameters.copy()

    results = together(3, work)
    for rank, (own, common, seen, after, end) in enumerate(results):
        assert common is results[0][0]  # that of rank 0
        assert after is own
        assert (seen == 5 + 1 + 2 + 3).all()
        assert (end == (-1 if rank == 0 else 11)).all()
    assert not np.shares_memory(results[1][3], results[2][3])


@pytest.mark.parametrize("workers", [2, 3])
def test_a_hogwild_run_trains_one_vector(blobs, learners, workers):
    addresses = {rank: set() for rank in range(workers)}

    def callback(event):
        if isinstance(event, EpochEnded) and event.epoch < 6:
            addresses[event.rank].add(learners[event.rank].parameters.ctypes.data)

    plan = resolve(RunSpec(strategy="hogwild", workers=workers, epochs=6, **SMALL), blobs)
    result = run(plan, blobs, callbacks=[callback])
    assert len(set.union(*addresses.values())) == 1
    assert len({learner.parameters.ctypes.data for learner in learners.values()}) == workers
    assert {learner.parameters.tobytes() for learner in learners.values()} == {
        result.model.learner.parameters.tobytes()
    }
    assert (result.rounds, result.steps, result.bytes_sent) == (1, 30, 0)


def test_hogwild_steps_are_shorter_the_more_take_them():
    found = {
        text: rule_of(f"hogwild{text}").rate_factors(np.arange(3), 4, 1.0, 5, 3).tolist()
        for text in ("", ":scale=linear")
    }
    assert found == {"": [1 / 2] * 3, ":scale=linear": [1 / 4] * 3}
    assert rule_of("hogwild:scale=none").rate_factors(np.arange(3), 4, 1.0, 5, 3).tolist() == [1] * 3


@pytest.mark.parametrize(
    "strategy", ["easgd:10", "hogwild", "gradient@20% then hogwild", "easgd:3@20% then periodic:1epoch"]
)
def test_processes_share_no_memory(blobs, strategy):
    with pytest.raises(SettingsError, match=r"share memory.*use team='threads'"):
        resolve(RunSpec(strategy=strategy, workers=2, team="mpi", epochs=10), blobs)
