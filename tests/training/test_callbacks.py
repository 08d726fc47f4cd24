"""Callbacks: called as finely as they ask for, in order, and no finer; none of them changes a bit."""

import threading

import numpy as np
import pytest

from manyhands.core.callbacks import Callback, EventFunction, WorkerCallback
from manyhands.core.events import EpochEnded, Measured, RoundHeld, StepTaken
from manyhands.learners.mlp.learner import MLP
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.training.loop import Loop
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

NAMES = {StepTaken: "step", RoundHeld: "round", EpochEnded: "epoch", Measured: "measured"}


def plan_for(dataset, strategy, workers=2, **changes):
    """103 rows in batches of 25: 5 steps an epoch, two epochs."""
    chosen = {"network": MLPSettings(hidden=(8,)), "batch": 25, "epochs": 2, **changes}
    return resolve(RunSpec(strategy=strategy, workers=workers, **chosen), dataset)


def bits(result):
    return result.model.learner.parameters.tobytes()


def events_of(plan, dataset, granularity):
    """Run a plan; return its result and the events of each worker."""
    heard, lock = {rank: [] for rank in range(plan.workers)}, threading.Lock()

    def note(event):
        with lock:
            heard[event.rank].append(event)

    return run(plan, dataset, callbacks=[EventFunction(note, granularity)]), heard


def named(events):
    return [(NAMES[type(event)], event.epoch if isinstance(event, EpochEnded) else event.step) for event in events]


EVERY_STEP = [("step", step) for step in range(1, 11)]


@pytest.mark.parametrize(
    ("strategy", "workers", "granularity", "expected"),
    [
        ("sequential", 1, "epoch", [("epoch", 1), ("measured", 5), ("epoch", 2), ("measured", 10)]),
        (
            "sequential", 1, "step",
            [*EVERY_STEP[:5], ("epoch", 1), ("measured", 5), *EVERY_STEP[5:], ("epoch", 2), ("measured", 10)],
        ),
        ("one-shot", 2, "round", [("epoch", 1), ("round", 10), ("measured", 10), ("epoch", 2)]),
        ("one-shot", 2, "epoch", [("epoch", 1), ("measured", 10), ("epoch", 2)]),
        ("periodic:7", 3, "epoch", [("epoch", 1), ("measured", 7), ("measured", 10), ("epoch", 2)]),
        (
            "periodic:7", 3, "round",
            [("epoch", 1), ("round", 7), ("measured", 7), ("round", 10), ("measured", 10), ("epoch", 2)],
        ),
        ("gradient", 2, "epoch", [("epoch", 1), ("measured", 5), ("epoch", 2), ("measured", 10)]),
        (
            "gradient", 2, "step",
            [each for step in range(1, 11) for each in [
                ("round", step), ("step", step), *([("epoch", step // 5), ("measured", step)] if step % 5 == 0 else [])
            ]],
        ),
    ],
)  # fmt: skip
def test_every_worker_reports_what_happens_in_its_order(blobs, strategy, workers, granularity, expected):
    result, heard = events_of(plan_for(blobs, strategy, workers, convergence=True), blobs, granularity)
    assert named(heard[0]) == expected
    measured = [event for event in heard[0] if isinstance(event, Measured)]
    assert [{name: value for name, value in vars(event).items() if name != "rank"} for event in measured] == (
        result.curve
    )
    for rank in range(1, workers):
        assert named(heard[rank]) == [one for one in expected if one[0] != "measured"]


def test_who_asks_for_the_end_gets_the_result_and_no_event(blobs):
    class Last(Callback):
        granularity, heard = "end", []

        def notify(self, event):
            self.heard.append(event)

        def end(self, result):
            self.heard.append(result)

    last = Last()
    result = run(plan_for(blobs, "periodic:1"), blobs, callbacks=[last, lambda event: None])
    assert last.heard == [result]


@pytest.fixture
def by_rounds(monkeypatch):
    """The epochs in which rounds are held one by one, outside of compiled code."""
    found, usual = [], Loop._by_rounds

    def spied(loop, epoch, start, stop):
        found.append(epoch)
        usual(loop, epoch, start, stop)

    monkeypatch.setattr(Loop, "_by_rounds", spied)
    return found


COARSE = [
    ("periodic:1epoch", "epoch"), ("periodic:1epoch", "round"), ("periodic:7", "epoch"), ("periodic:7", "end"),
    ("gradient", "epoch"), ("gradient@50% then periodic:2", "epoch"), ("minibatch:5epochs", "epoch"),
]  # fmt: skip


@pytest.mark.parametrize(("strategy", "granularity"), COARSE)
def test_coarse_callbacks_leave_rounds_in_compiled_code(blobs, by_rounds, strategy, granularity):
    """And the epochs report what those rounds have come to."""
    plan = plan_for(blobs, strategy, epochs=4)
    free = run(plan, blobs)
    result, heard = events_of(plan, blobs, granularity)
    assert by_rounds == []
    assert (bits(result), result.losses, result.rounds, result.bytes_sent) == (
        bits(free),
        free.losses,
        free.rounds,
        free.bytes_sent,
    )
    epochs = [event for event in heard[0] if isinstance(event, EpochEnded)]
    if granularity != "end":
        assert [event.step for event in epochs] == [5, 10, 15, 20]
        assert (epochs[-1].rounds, epochs[-1].bytes_sent) == (result.rounds, result.bytes_sent)
        counts = [(event.rounds, event.bytes_sent, event.train_s) for event in epochs]
        assert counts == sorted(counts)
        assert 0 < counts[0][2] < counts[-1][2] <= result.seconds["train"]


@pytest.mark.parametrize("strategy", ["periodic:1epoch", "gradient"])
def test_measuring_at_the_ends_of_epochs_leaves_rounds_in_compiled_code(blobs, by_rounds, strategy):
    plan = plan_for(blobs, strategy, convergence=True, stop="loss:0,patience=9")
    assert len(run(plan, blobs).curve) == 2
    assert by_rounds == []


@pytest.mark.parametrize(
    ("strategy", "granularity", "epochs"),
    [("periodic:7", "round", [1]), ("gradient", "round", [0, 1]), ("periodic:1epoch", "step", [0, 1])],
)
def test_fine_callbacks_are_called_between_rounds_and_change_no_bit(blobs, by_rounds, strategy, granularity, epochs):
    """Only epochs within which somebody is to be called leave compiled code: periodic:7 has no round in the first."""
    plan = plan_for(blobs, strategy)
    free = run(plan, blobs)
    result, heard = events_of(plan, blobs, granularity)
    assert sorted(by_rounds) == sorted(2 * epochs)  # of two workers
    assert (bits(result), result.losses, result.rounds) == (bits(free), free.losses, free.rounds)
    assert [event.number for event in heard[0] if isinstance(event, RoundHeld)] == list(range(1, result.rounds + 1))


def test_the_loss_of_a_round_is_the_mean_since_the_last_one(blobs):
    # The rate is so small that the weights stay as they are: a round after every step reports the losses of single
    # steps, and those of other rounds must be their means, be it across the end of an epoch (after step 5).
    network = MLPSettings(hidden=(8,), optimizer="sgd", learning_rate=1e-9, l2=0.0, dtype="float64")

    def losses(strategy):
        _, heard = events_of(plan_for(blobs, strategy, network=network, sharding="global"), blobs, "round")
        return [event.loss for event in heard[0] if isinstance(event, RoundHeld)]

    single = losses("periodic:1")
    assert len(single) == 10
    assert losses("periodic:1epoch") == pytest.approx([sum(single[:5]) / 5, sum(single[5:]) / 5], abs=1e-6)
    assert losses("periodic:7") == pytest.approx([sum(single[:7]) / 7, sum(single[7:]) / 3], abs=1e-6)
    assert losses("one-shot") == pytest.approx([sum(single) / 10], abs=1e-6)


class Following(WorkerCallback):
    """Notes what it sees in one worker's run, and ends it after some epoch."""

    def __init__(self, granularity, last=99):
        self.granularity, self.last, self.found = granularity, last, {}

    def for_worker(self, run):
        mine = Following(self.granularity, self.last)
        self.found[run.team.rank] = mine
        mine.found = [("begin", run.step, 0.0)]
        return mine

    def note(self, what, run):
        total = np.full(1, 1.0)
        run.team.sum_(total)  # hooks may be collectives
        assert total[0] == run.team.size
        self.found.append((what, run.step, run.synchronized))

    def after_round(self, run):
        self.note("round", run)

    def after_epoch(self, run, epoch):
        self.note("epoch", run)
        return epoch.loss > 0 and run.step >= 5 * self.last

    def after_training(self, run):
        self.note("end", run)


@pytest.mark.parametrize(
    ("strategy", "granularity", "last", "expected"),
    [
        ("one-shot", "epoch", 99, [("epoch", 5, False), ("epoch", 10, True), ("end", 10, True)]),
        ("one-shot", "round", 1, [("epoch", 5, False), ("round", 5, True), ("end", 5, True)]),
        (
            "periodic:7", "round", 99,
            [("epoch", 5, False), ("round", 7, True), ("round", 10, True), ("epoch", 10, True), ("end", 10, True)],
        ),
        ("gradient", "epoch", 1, [("epoch", 5, True), ("end", 5, True)]),
    ],
)  # fmt: skip
def test_callbacks_inside_workers_see_the_run_and_may_end_it(blobs, strategy, granularity, last, expected):
    following = Following(granularity, last)
    result = run(plan_for(blobs, strategy), blobs, callbacks=[following])
    assert result.steps == expected[-1][1]
    assert [following.found[rank].found for rank in (0, 1)] == [[("begin", 0, 0.0), *expected]] * 2


def test_a_function_is_a_callback_for_epochs(blobs, by_rounds):
    heard = []
    run(plan_for(blobs, "gradient"), blobs, callbacks=[heard.append])
    assert {type(event) for event in heard} == {EpochEnded}
    assert by_rounds == []


def test_learners_that_hold_no_rounds_are_called_between_them(blobs, by_rounds, monkeypatch):
    monkeypatch.setattr(MLP, "holds_rounds", False)
    result, heard = events_of(plan_for(blobs, "gradient"), blobs, "epoch")
    assert sorted(by_rounds) == [0, 0, 1, 1]
    assert heard[0][-1].rounds == result.rounds == 10


@pytest.mark.parametrize(("strategy", "rounds"), [("periodic:1epoch", 1), ("gradient", 5), ("one-shot", 0)])
def test_whoever_only_receives_epochs_leaves_several_of_them_in_one_call(blobs, monkeypatch, strategy, rounds):
    calls, really = [], MLP.run
    monkeypatch.setattr(MLP, "run", lambda *given, **how: calls.append(1) or really(*given, **how))
    result, heard = events_of(plan_for(blobs, strategy, epochs=4), blobs, "epoch")
    assert len(calls) == 2  # one for each worker
    epochs = heard[0]
    last = [*[rounds * n for n in range(1, 4)], result.rounds]  # one-shot: only at the end
    assert [(event.step, event.rounds) for event in epochs] == [(5 * n, last[n - 1]) for n in range(1, 5)]
    sent = result.bytes_sent // result.rounds
    assert [event.bytes_sent for event in epochs] == [sent * held for held in last]
    assert sorted(event.train_s for event in epochs) == [event.train_s for event in epochs]
