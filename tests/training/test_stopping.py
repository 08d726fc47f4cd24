"""Early stopping: it counts as scikit-learn does, all workers decide together, and it leaves the merged model."""

import contextlib
import itertools
import subprocess
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

import manyhands
from manyhands.core.callbacks import EpochSummary, EventFunction
from manyhands.core.errors import SettingsError
from manyhands.core.events import EpochEnded, RoundHeld
from manyhands.core.samples import Control, Samples
from manyhands.data.catalog import DataRequest, load
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.teams.launch import launch
from manyhands.teams.solo import Solo
from manyhands.training.clock import PhaseClock
from manyhands.training.loop import Loop
from manyhands.training.model import accuracy
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec
from manyhands.training.stopping import EXAMPLES, STOPS, AccuracyStop, LossStop, UnchangedStop, parse_stop

NOTHING = np.zeros(3)


def at(team, parameters, **others):
    """A run as a rule sees it."""
    return SimpleNamespace(team=team, learner=SimpleNamespace(parameters=parameters), **others)


def epoch_of(loss=1.0, examples=1, *, last=False):
    return EpochSummary(loss, examples, last, np.zeros(0), np.zeros(0, np.int32))


def ended_after(rule, losses, examples=1):
    """Return after how many epochs of these losses a single worker stops; None if it does not."""
    run = at(Solo(PhaseClock()), NOTHING)
    watch = rule.for_worker(run)
    return next((n for n, loss in enumerate(losses, 1) if watch.after_epoch(run, epoch_of(loss, examples))), None)


# The loss.

BY_HAND = [
    # Never falls after the first epoch: a first failure in epoch 2, and with patience 2 the third one ends the run.
    (LossStop(0.0, 2), [1, 2, 2, 2, 2], 4),
    (LossStop(0.0, 0), [1, 2], 2),
    # Staying the same is no failure if tol is 0 (1 > 1 - 0 is false), and one if it is larger.
    (LossStop(0.0, 0), [1, 1, 1, 1], None),
    (LossStop(0.125, 0), [1, 1], 2),
    # Falling by tol exactly counts as falling; by less does not, though the best loss is the lower one from then on:
    # 1 - 0.75 = 0.25 is enough; 0.75 - 0.625 is a failure, and so is 0.5: it is 0.125 below 0.625, not 0.25 below 0.75.
    (LossStop(0.25, 1), [1, 0.75, 0.625, 0.5], 4),
    (LossStop(0.25, 1), [1, 0.75, 0.625, 0.375, 0.375], None),
    # One success takes all failures back: 3, 3 fail, 1 does not, 2, 2, 2 fail.
    (LossStop(0.0, 2), [2, 3, 3, 1, 2, 2, 2], 7),
    # The best is the best of all, not the last: 3 after 5 is no success.
    (LossStop(0.0, 1), [2, 5, 3], 3),
    (LossStop(0.0, 10), [1] + [2] * 10, None),
    (LossStop(0.0, 10), [1] + [2] * 11, 12),
]


@pytest.mark.parametrize(("rule", "losses", "epochs"), BY_HAND)
def test_epochs_are_counted_as_by_hand(rule, losses, epochs):
    assert ended_after(rule, losses) == epochs


def count_as_scikit_learn(losses, tol, n_iter_no_change):
    """As `MLPClassifier._update_no_improvement_count` and the loop around it, for training losses."""
    best, count = np.inf, 0
    for number, loss in enumerate(losses, 1):
        if loss > best - tol:
            count += 1
        else:
            count = 0
        best = min(best, loss)
        if count > n_iter_no_change:
            return number
    return None


# Multiples of 1/64: all sums and products with them are exact.
exact = st.integers(0, 256).map(lambda number: number / 64)


@given(st.lists(exact, max_size=60), exact, st.integers(0, 6), st.integers(1, 9))
def test_it_counts_as_scikit_learn_does(losses, tol, patience, examples):
    assert ended_after(LossStop(tol, patience), losses, examples) == count_as_scikit_learn(losses, tol, patience)


class Scripted(MLPClassifier):
    """Gets its losses from a list, one batch an epoch."""

    script = ()

    def _backprop(self, *arguments, **named):
        _, *gradients = super()._backprop(*arguments, **named)
        return self.left.pop(0), *gradients

    def epochs(self):
        self.left = list(self.script)
        with (
            pytest.warns(ConvergenceWarning) if count_as_scikit_learn(*self.rule) is None else contextlib.nullcontext()
        ):
            self.fit(np.arange(8.0)[:, None], np.arange(8) % 2)
        return self.n_iter_


@settings(deadline=None, max_examples=40)
@given(st.lists(exact, min_size=1, max_size=25), st.sampled_from([0.0, 1 / 64, 0.5]), st.integers(1, 4))
def test_scikit_learn_itself_stops_after_the_same_epoch(losses, tol, patience):
    network = Scripted((1,), batch_size=8, tol=tol, n_iter_no_change=patience, max_iter=len(losses))
    network.script, network.rule = losses, (losses, tol, patience)
    assert network.epochs() == (ended_after(LossStop(tol, patience), losses, 8) or len(losses))


@pytest.mark.parametrize(("tol", "patience"), [(1e-4, 10), (0.01, 1), (0.05, 3)])
def test_on_the_losses_of_a_real_training_too(blobs, tol, patience):
    network = MLPClassifier(
        (8,), tol=tol, n_iter_no_change=patience, max_iter=3000, learning_rate_init=0.05, random_state=1
    )
    network.fit(blobs.train.features / 255, blobs.train.labels)
    assert patience + 1 < network.n_iter_ < 3000
    assert ended_after(LossStop(tol, patience), network.loss_curve_) == network.n_iter_


# The weights.


def test_weights_that_do_not_change_by_hand():
    # Changes of at most: 0.5, 0.25 (down), 0.125. Only the last does not exceed a tol of 0.125; 0.25 is enough for two.
    steps = [np.array(each) for each in ([0, 0.5, 0], [0.125, 0.25, 0], [0.25, 0.25, -0.125], [0.25, 0.25, -0.125])]
    for tol, expected in ((0.0, 4), (0.124, 4), (0.125, 3), (0.25, 2), (0.5, 1)):
        team = Solo(PhaseClock())
        watch = UnchangedStop(tol).for_worker(at(team, np.zeros(3)))
        answers = [watch.after_epoch(at(team, weights), epoch_of()) for weights in steps]
        assert answers.index(True) + 1 == expected, tol


def test_the_watched_weights_may_be_one_vector_that_changes():
    weights = np.zeros(3)
    run = at(Solo(PhaseClock()), weights)
    watch = UnchangedStop().for_worker(run)
    weights[1] = 1
    assert not watch.after_epoch(run, epoch_of())
    weights[1] = 2
    assert not watch.after_epoch(run, epoch_of())
    assert watch.after_epoch(run, epoch_of())


@pytest.mark.parametrize("rule", [LossStop(0.0, 2), UnchangedStop()])
def test_a_rule_goes_on_from_its_state(rule):
    run = at(Solo(PhaseClock()), np.zeros(3))

    def answers(watch, losses):
        return [watch.after_epoch(run, epoch_of(loss)) for loss in losses]

    whole, first, second = (rule.for_worker(at(run.team, np.ones(3))) for _ in range(3))
    expected = answers(whole, [2, 3, 3, 3])
    assert True in expected
    begun = answers(first, [2, 3])
    second.load_state(first.state())
    assert begun + answers(second, [3, 3]) == expected


# All workers together.


def decide(rule, epochs):
    """Return what each worker of a team of threads answers after each epoch; ``epochs[e][r]`` is its report."""
    size = len(epochs[0])

    def work(team):
        watch = rule.for_worker(at(team, np.zeros(2)))
        reports = [each[team.rank] for each in epochs]
        return [watch.after_epoch(at(team, weights), epoch_of(*others)) for weights, *others in reports]

    controls = [Control(np.zeros(1, np.int64), np.zeros(1, np.int64)) for _ in range(size)]
    return launch("threads", [PhaseClock() for _ in range(size)], controls, work)


def losses_of(*epochs, examples=(1, 1)):
    return [[(NOTHING, loss, count) for loss, count in zip(each, examples, strict=True)] for each in epochs]


def test_one_worker_whose_loss_does_not_fall_stops_nobody():
    # Worker 0 alone would stop after epoch 2; the mean goes 3, 2, 1.5, 1.
    epochs = losses_of((1, 5), (1.5, 2.5), (1.5, 1.5), (1.5, 0.5))
    assert decide(LossStop(0.25, 0), epochs) == [[False] * 4] * 2


def test_all_workers_stop_after_the_same_epoch_even_those_whose_loss_falls():
    # Worker 1's falls all the time; the mean goes 3, 2, 2.5.
    epochs = losses_of((1, 5), (1.5, 2.5), (3, 2))
    assert decide(LossStop(0.25, 0), epochs) == [[False, False, True]] * 2


def test_a_loss_counts_by_its_examples():
    # (3 * 1 + 1 * 5) / 4 = 2, then (3 * 1.5 + 1 * 3) / 4 = 1.875: it falls by 0.125. Counted alike, 3 and 2.25.
    epochs = losses_of((1, 5), (1.5, 3), examples=(3, 1))
    assert decide(LossStop(0.125, 0), epochs) == [[False, False]] * 2
    assert decide(LossStop(0.126, 0), epochs) == [[False, True]] * 2


def test_a_worker_without_examples_does_not_count():
    epochs = losses_of((2, 0), (1, 0), (1, 0), examples=(5, 0))
    assert decide(LossStop(0.5, 0), epochs) == [[False, False, True]] * 2


def test_weights_that_change_on_one_worker_keep_all_going():
    still, moved, further = np.zeros(2), np.array([0, 1.0]), np.array([0, 2.0])
    epochs = [[(still, 1.0, 1), (moved, 1.0, 1)], [(still, 1.0, 1), (further, 1.0, 1)]]
    epochs += [[(moved, 1.0, 1), (further, 1.0, 1)], [(moved, 1.0, 1), (further, 1.0, 1)]]
    assert decide(UnchangedStop(), epochs) == [[False, False, False, True]] * 2


# Whole runs.

SURVIVE = """
import numpy as np
from manyhands.data.dataset import Examples, make_dataset
from manyhands.training.resolve import resolve
from manyhands.training.spec import RunSpec
from manyhands.training.run import run

rows = Examples(np.random.default_rng(0).integers(0, 256, (103, 7)).astype(np.uint8), np.arange(103) % 3)
dataset = make_dataset("noise", rows, rows)
for strategy in ("periodic:7", "gradient"):
    spec = RunSpec(strategy=strategy, workers=2, epochs=4, batch=25, stop="loss")
    run(resolve(spec, dataset), dataset)
"""


@pytest.fixture(scope="module")
def survives():
    """Rounds in the kernel know the workers' vectors by their addresses: a wrong one would end pytest itself."""
    done = subprocess.run([sys.executable, "-c", SURVIVE], capture_output=True, timeout=200, check=False)
    assert done.returncode == 0, f"a run with a stopping rule ended with status {done.returncode}: {done.stderr!r}"


SAME_BITS = [
    ("sequential", 1),
    ("one-shot", 3),
    ("periodic:7", 2),
    ("periodic:1epoch", 2),
    ("periodic:2epoch", 3),
    ("gradient", 2),
    ("gradient:send=int8", 2),
    ("minibatch:2epochs", 2),
    ("slowmo:2epoch,beta=0.5", 2),
    ("diloco:7", 2),
    ("periodic:7,send=float16", 2),
    ("gradient@2epochs then periodic:2epoch", 2),
]
NO_TWO_ALIKE = [("easgd:7", 2), ("hogwild", 2), ("hogwild@2epochs then easgd:5", 3)]
EPOCHS = 40


def plan_for(dataset, strategy, workers, **changes):
    chosen = {"network": MLPSettings(hidden=(8,)), "epochs": EPOCHS, "batch": 25, "seed": 3, **changes}
    return resolve(RunSpec(strategy=strategy, workers=workers, **chosen), dataset)


def bits(result):
    return result.model.learner.parameters.tobytes()


def taking_turns(cases, *rules):
    """Return the cases, each with the next of the rules."""
    return [(*case, rule) for case, rule in zip(cases, itertools.cycle(rules), strict=False)]


# The loss of these runs always falls by less than 0.2 an epoch: the first one is no failure, the next three are.
EARLY, RUN = "loss:0.2,patience=2", 4


@pytest.mark.parametrize(("strategy", "workers"), SAME_BITS)
def test_a_run_that_stops_early_is_the_run_of_so_many_epochs(blobs, survives, strategy, workers):
    """Its last round has been held: it ends with the bits of a run that was to end there."""
    early = run(plan_for(blobs, strategy, workers, stop=EARLY), blobs)
    planned = run(plan_for(blobs, strategy, workers, epochs=RUN), blobs)
    assert len(early.losses) == RUN
    assert early.steps == 5 * RUN  # 103 rows in batches of 25: four and a rest
    assert (early.steps, early.examples, early.rounds) == (planned.steps, planned.examples, planned.rounds)
    assert early.losses == planned.losses
    assert bits(early) == bits(planned)
    assert early.accuracy == planned.accuracy


@pytest.mark.parametrize("first", ["gradient", "periodic:7", "slowmo:2epoch,beta=0.5"])
def test_a_run_that_stops_in_its_first_part_never_comes_to_the_second(blobs, survives, first):
    early = run(plan_for(blobs, f"{first}@20epochs then one-shot", 2, stop=EARLY), blobs)
    planned = run(plan_for(blobs, first, 2, epochs=RUN, sharding=early.plan.sharding), blobs)
    assert len(early.losses) == RUN
    assert (bits(early), early.rounds) == (bits(planned), planned.rounds)


def test_processes_stop_where_threads_do(blobs_runner, survives):
    for strategy in ("one-shot", "periodic:7", "gradient"):
        threads, mpi = (
            blobs_runner.run(plan_for(blobs_runner.dataset, strategy, 2, team=team, stop=EARLY))
            for team in ("threads", "mpi")
        )
        assert len(mpi.losses) == RUN
        assert (bits(mpi), mpi.losses, mpi.rounds) == (bits(threads), threads.losses, threads.rounds)
        assert mpi.bytes_sent == threads.bytes_sent


@pytest.mark.parametrize(("strategy", "workers"), SAME_BITS)
def test_stopping_early_gives_the_same_bits_twice_and_with_callbacks(blobs, survives, strategy, workers):
    plan = plan_for(blobs, strategy, workers, stop=EARLY)
    once, again, heard = (
        run(plan, blobs),
        run(plan, blobs),
        run(plan, blobs, callbacks=[EventFunction(lambda event: None, "step")]),
    )
    for other in (again, heard):
        assert bits(other) == bits(once)
        assert (other.losses, other.rounds, other.steps) == (once.losses, once.rounds, once.steps)
        assert (other.examples, other.bytes_sent) == (once.examples, once.bytes_sent)


@pytest.mark.parametrize(("strategy", "workers", "rule"), taking_turns(SAME_BITS, "loss:0,patience=1000", "unchanged"))
def test_a_rule_that_never_applies_changes_no_bit(blobs, survives, strategy, workers, rule):
    ruled, free = (run(plan_for(blobs, strategy, workers, stop=stop, epochs=22), blobs) for stop in (rule, None))
    assert bits(ruled) == bits(free)
    assert (ruled.losses, ruled.rounds, ruled.steps) == (free.losses, free.rounds, free.steps)
    assert len(ruled.losses) == 22


@pytest.fixture
def vectors(monkeypatch):
    """What each worker's learner holds at the end of a run, by rank."""
    found = {}

    class Spied(Loop):
        def run(self):
            tally = super().run()
            found[self.team.rank] = self.learner.parameters.copy()
            return tally

    monkeypatch.setattr("manyhands.training.run.Loop", Spied)
    return found


@pytest.mark.parametrize(
    ("strategy", "workers", "rule"), taking_turns(SAME_BITS + NO_TWO_ALIKE, EARLY, "unchanged:1e9")
)
def test_after_an_early_stop_all_workers_hold_the_merged_model(blobs, survives, vectors, strategy, workers, rule):
    result = run(plan_for(blobs, strategy, workers, stop=rule), blobs)
    assert len(result.losses) < 10
    assert sorted(vectors) == list(range(workers))
    assert {vector.tobytes() for vector in vectors.values()} == {bits(result)}
    assert result.rounds > 0 or workers == 1


def test_a_worker_of_one_shot_has_gone_its_own_way_before_that(blobs, survives, vectors):
    """What the test before would see without the last round."""
    heard = []
    run(plan_for(blobs, "one-shot", 2, stop=EARLY), blobs, callbacks=[EventFunction(heard.append, "round")])
    rounds = [event for event in heard if isinstance(event, RoundHeld)]
    assert sorted((event.rank, event.number, event.step) for event in rounds) == [(0, 1, 5 * RUN), (1, 1, 5 * RUN)]


def test_an_early_stop_where_a_round_has_just_been_held_holds_no_other(blobs, survives):
    # After 4 epochs of 5 steps: rounds after 5, 10, 15, 20; after 10, 20; after 7, 14 and the last, 20.
    held = {
        strategy: run(plan_for(blobs, strategy, 2, stop=EARLY), blobs).rounds
        for strategy in ("periodic:1epoch", "periodic:2epoch", "periodic:7", "periodic:3epoch", "gradient", "one-shot")
    }
    assert held == {
        "periodic:1epoch": 4,
        "periodic:2epoch": 2,
        "periodic:7": 3,
        "periodic:3epoch": 2,
        "gradient": 20,
        "one-shot": 1,
    }


@pytest.mark.parametrize("merge", ["mean", "fisher", "rebasin", "bootstrap"])
def test_what_a_merge_asks_for_is_of_so_many_epochs(blobs, survives, merge):
    """The second training of merge=bootstrap, too, is as long as the first."""
    early = run(plan_for(blobs, f"one-shot:merge={merge}", 2, stop=EARLY), blobs)
    planned = run(plan_for(blobs, f"one-shot:merge={merge}", 2, epochs=RUN), blobs)
    assert (early.steps, early.examples) == (planned.steps, planned.examples)
    assert bits(early) == bits(planned)


def test_the_ensemble_of_an_early_stop_is_that_of_so_many_epochs(blobs, survives):
    early = run(plan_for(blobs, "one-shot:merge=ensemble", 3, stop=EARLY), blobs)
    planned = run(plan_for(blobs, "one-shot:merge=ensemble", 3, epochs=RUN), blobs)
    assert early.model.settings.hidden == (24,)
    assert bits(early) == bits(planned)


def test_all_workers_stop_together_where_each_alone_would_not(blobs, survives):
    """Every worker has a class of its own, not all as easy: the losses of all together say what none of theirs says."""
    heard, lock, rule = {0: [], 1: [], 2: []}, threading.Lock(), LossStop(0.02, 1)

    def listener(event):
        if isinstance(event, EpochEnded):
            with lock:
                heard[event.rank].append(event.loss)

    network = MLPSettings(hidden=(4,), learning_rate=0.01)
    plan = plan_for(blobs, "one-shot", 3, stop=rule, partition="sorted", network=network)
    result = run(plan, blobs, callbacks=[listener])
    assert len(result.losses) < EPOCHS
    assert count_as_scikit_learn(result.losses, 0.02, 1) == len(result.losses)
    assert {len(losses) for losses in heard.values()} == {len(result.losses)}
    alone = [count_as_scikit_learn(losses, 0.02, 1) for losses in heard.values()]
    assert any(epochs is not None and epochs < len(result.losses) for epochs in alone), alone
    assert any(epochs is None for epochs in alone), alone
    # Shares of 34, 34 and 35 rows.
    mean = np.average([heard[rank] for rank in range(3)], axis=0, weights=[34, 34, 35])
    np.testing.assert_allclose(result.losses, mean, rtol=1e-12)


def test_a_sequential_run_stops_too(blobs):
    result = run(plan_for(blobs, "sequential", 1, stop=EARLY), blobs)
    assert (len(result.losses), result.steps, result.rounds) == (RUN, 20, 0)
    assert count_as_scikit_learn(result.losses, 0.2, 2) == RUN
    assert str(result.plan).count("40 epochs at most (stop loss:0.2,patience=2)") == 1


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_weights_that_do_not_move_end_the_run_after_one_epoch_whatever_n_is(blobs, survives, workers):
    """Steps of a millionth: no weight moves by 0.01 in the first epoch, on no worker."""
    settings = MLPSettings(hidden=(8,), learning_rate=1e-6)
    plan = plan_for(blobs, "periodic:1epoch", workers, stop="unchanged:0.01", network=settings)
    assert len(run(plan, blobs).losses) == 1


def test_own_starts_are_where_weights_begin(blobs, survives):
    settings = MLPSettings(hidden=(8,), learning_rate=1e-6)
    plan = plan_for(blobs, "one-shot:starts=own", 2, stop="unchanged:0.01", network=settings)
    assert len(run(plan, blobs).losses) == 1


def test_weights_that_move_do_not(blobs):
    # Adam's first steps are as long as the learning rate, 0.001 each, whatever the gradient is.
    assert len(run(plan_for(blobs, "sequential", 1, stop="unchanged:0.0005", epochs=3), blobs).losses) == 3


def test_an_early_stop_is_measured(blobs, survives):
    result = run(plan_for(blobs, "periodic:3epoch", 2, stop=EARLY, convergence=True), blobs)
    assert [(point["step"], point["epoch"]) for point in result.curve] == [(15, 3), (20, 4)]
    assert result.curve[-1]["accuracy"] == result.accuracy


def test_gradient_stops_after_the_epoch_in_which_sequential_does(blobs, survives):
    settings = MLPSettings(hidden=(8,), dtype="float64")
    epochs = {
        len(run(plan_for(blobs, strategy, n, stop="loss:0.02,patience=1", network=settings), blobs).losses)
        for strategy, n in (("sequential", 1), ("gradient", 2), ("gradient", 3))
    }
    assert len(epochs) == 1
    assert 3 <= epochs.pop() < EPOCHS


# What is written.


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("loss", LossStop()),
        ("loss:0.0001,patience=10", LossStop(1e-4, 10)),
        ("loss:tol=0.5", LossStop(0.5, 10)),
        (" loss : 1e-3 , patience = 5 ", None),
        ("loss:1e-3 , patience = 5", LossStop(1e-3, 5)),
        ("loss:patience=0,tol=0", LossStop(0.0, 0)),
        ("unchanged", UnchangedStop()),
        ("unchanged:0", UnchangedStop(0.0)),
        ("unchanged:1e-6", UnchangedStop(1e-6)),
        ("unchanged:tol=2", UnchangedStop(2.0)),
    ],
)
def test_text_becomes_a_rule(text, rule):
    if rule is None:  # names have no spaces at their ends
        with pytest.raises(SettingsError, match="unknown stop"):
            parse_stop(text)
    else:
        assert parse_stop(text) == rule
        assert parse_stop(rule.name) == rule


@given(st.integers(0, 99_999), st.integers(-12, 6), st.integers(0, 10**6))
def test_names_parse_back(digits, exponent, patience):
    tol = float(f"{digits}e{exponent}")
    for rule in (LossStop(tol, patience), UnchangedStop(tol)):
        assert parse_stop(rule.name) == rule


@pytest.mark.parametrize("text", ["loss:0.00012345678", "unchanged:0.3333333333"])
def test_names_keep_every_digit(text):
    assert parse_stop(parse_stop(text).name) == parse_stop(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "never",
        "loss:",
        "loss:-1",
        "loss:nan",
        "loss:inf",
        "loss:small",
        "loss:0.1,10",
        "loss:patience=-1",
        "loss:patience=1.5",
        "loss:patience=ten",
        "loss:patience=²",
        "loss:patience=" + "9" * 5000,
        "loss:epochs=3",
        "loss:0.1,tol=0.1",
        "unchanged:-1",
        "unchanged:0,patience=3",
        "unchanged:often",
    ],
)
def test_mistakes_are_named(text):
    with pytest.raises(SettingsError, match=r"stop.*(examples: (loss|unchanged)|number|accuracy above 0)"):
        parse_stop(text)


values = st.one_of(st.text(max_size=9), st.text(st.characters(categories=["Nd", "No"]), min_size=1, max_size=3))
templates = st.sampled_from(["{}", "{}:{}", "loss:{}", "loss:patience={}", "loss:{},patience={}", "unchanged:tol={}"])


@given(templates, values, values)
def test_any_text_gives_a_rule_or_a_typed_error(template, one, other):
    with contextlib.suppress(SettingsError):
        assert parse_stop(template.format(one, other)).name


def test_every_rule_is_among_the_examples():
    assert [name for name in STOPS if name not in EXAMPLES] == []
    for text in EXAMPLES.split(", "):
        assert parse_stop(text)


# The accuracy.


@pytest.fixture(scope="module")
def split():
    """Digits of which a sixth of the training rows are for validation."""
    return load(DataRequest("digits", validation="auto"))


def accuracies(dataset, strategy, workers, epochs, **changes):
    """Return the validation accuracy of whole runs of 1, 2, ... epochs."""
    results = [
        run(plan_for_accuracy(dataset, strategy, workers, None, epochs=n, **changes), dataset)
        for n in range(1, epochs + 1)
    ]
    return [
        accuracy(each.model.learner.predict_proba(dataset.validation), dataset.validation.labels) for each in results
    ]


def plan_for_accuracy(dataset, strategy, workers, stop, epochs=30, **changes):
    network = MLPSettings(hidden=(16,), learning_rate=0.003)
    return resolve(
        RunSpec(strategy=strategy, workers=workers, stop=stop, epochs=epochs, network=network, batch=100, **changes),
        dataset,
    )


@pytest.mark.parametrize(
    ("text", "least", "name"),
    [
        ("accuracy:98.2%", 0.982, "accuracy:98.2%"),
        ("accuracy:0.95", 0.95, "accuracy:95%"),
        ("accuracy:95 %", 0.95, "accuracy:95%"),
        ("accuracy:1", 1.0, "accuracy:100%"),
        ("accuracy:100%", 1.0, "accuracy:100%"),
        ("accuracy:1%", 0.01, "accuracy:1%"),
        ("accuracy:least=0.5", 0.5, "accuracy:50%"),
    ],
)
def test_an_accuracy_is_a_share_or_a_percentage(text, least, name):
    rule = parse_stop(text)
    assert rule == AccuracyStop(pytest.approx(least, rel=1e-15))
    assert rule.name == name
    assert parse_stop(name).name == name
    assert rule.validates
    assert [LossStop().validates, UnchangedStop().validates] == [False, False]


@given(st.integers(1, 100_000), st.sampled_from([1, 10, 1000]), st.booleans())
def test_names_of_accuracies_parse_back(number, parts, percent):
    rule = parse_stop(f"accuracy:{number / (1000 * parts)}%" if percent else f"accuracy:{number / (100_000 * parts)}")
    assert parse_stop(rule.name) == rule
    assert parse_stop(rule.name).name == rule.name


@pytest.mark.parametrize("text", ["accuracy:0.123456789012345", "accuracy:99.99999999999%", "accuracy:1e-12"])
def test_names_of_accuracies_keep_every_digit(text):
    rule = parse_stop(text)
    assert parse_stop(rule.name) == rule


@pytest.mark.parametrize(
    "text",
    ["0", "0%", "2", "1.0001", "100.5%", "-0.5", "-5%", "abc", "abc%", "%", "", "nan", "inf", "nan%", "95,patience=1"],
)
def test_accuracies_that_cannot_be_are_refused(text):
    with pytest.raises(SettingsError, match=r"stop.*accuracy"):
        parse_stop(f"accuracy:{text}")


def test_an_accuracy_has_no_default():
    with pytest.raises(SettingsError, match="stop 'accuracy'"):
        parse_stop("accuracy")


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("strategy", ["gradient", "periodic:1epoch"])
def test_it_stops_after_the_first_epoch_that_is_good_enough(split, strategy, workers):
    result = run(plan_for_accuracy(split, strategy, workers, "accuracy:85%"), split)
    found = accuracies(split, strategy, workers, len(result.losses))
    assert 2 <= len(found) < 30
    assert [each >= 0.85 for each in found] == [False] * (len(found) - 1) + [True]
    validation = split.validation
    assert found[-1] == accuracy(result.model.learner.predict_proba(validation), validation.labels)
    planned = run(plan_for_accuracy(split, strategy, workers, None, epochs=len(found)), split)
    assert (bits(result), result.losses, result.rounds) == (bits(planned), planned.losses, planned.rounds)


def test_a_sequential_run_stops_when_it_is_good_enough(split):
    result = run(plan_for_accuracy(split, "sequential", 1, "accuracy:0.85"), split)
    found = accuracies(split, "sequential", 1, len(result.losses))
    assert [each >= 0.85 for each in found] == [False] * (len(found) - 1) + [True]


@pytest.mark.parametrize(("strategy", "period"), [("periodic:2epochs", 2), ("periodic:3epochs", 3)])
def test_it_looks_only_when_all_workers_are_alike(split, strategy, period):
    """After the epochs in between there is no network of all workers to look at."""
    result = run(plan_for_accuracy(split, strategy, 2, "accuracy:85%"), split)
    epochs = len(result.losses)
    assert epochs % period == 0
    assert epochs < 30
    assert result.rounds == epochs // period
    found = accuracies(split, strategy, 2, epochs)[period - 1 :: period]
    assert [each >= 0.85 for each in found] == [False] * (len(found) - 1) + [True]


@pytest.mark.parametrize("strategy", ["one-shot", "periodic:7", "hogwild", "easgd:10"])
def test_workers_that_synchronize_at_the_end_only_are_refused(split, strategy):
    """12 steps an epoch: rounds after 7, 14, 21, 28, 35 steps and the last."""
    with pytest.raises(SettingsError, match="synchronize at the end only"):
        plan_for_accuracy(split, strategy, 2, "accuracy:1%", epochs=3)


@pytest.mark.parametrize(("strategy", "workers"), [("periodic:4", 2), ("gradient", 2), ("one-shot", 1)])
def test_who_is_alike_at_some_epochs_end_is_not(split, strategy, workers):
    assert len(run(plan_for_accuracy(split, strategy, workers, "accuracy:1%", epochs=3), split).losses) < 3


def test_one_that_is_never_reached_changes_no_bit(split):
    for strategy, workers in (("gradient", 2), ("periodic:1epoch", 3)):
        ruled, free = (
            run(plan_for_accuracy(split, strategy, workers, stop, epochs=4), split) for stop in ("accuracy:100%", None)
        )
        assert (bits(ruled), ruled.losses, ruled.rounds) == (bits(free), free.losses, free.rounds)


def test_callbacks_do_not_change_where_it_stops(split):
    for strategy in ("gradient", "periodic:1epoch", "periodic:3epochs"):
        plan = plan_for_accuracy(split, strategy, 2, "accuracy:85%")
        silent, heard = run(plan, split), run(plan, split, callbacks=[EventFunction(lambda event: None, "step")])
        assert (bits(silent), silent.losses) == (bits(heard), heard.losses)


def test_an_accuracy_that_is_there_at_once_ends_the_run_after_one_epoch(split):
    for strategy, workers in (("sequential", 1), ("gradient", 2), ("periodic:1epoch", 2)):
        assert len(run(plan_for_accuracy(split, strategy, workers, "accuracy:1%"), split).losses) == 1


def test_fewer_validation_rows_than_workers_are_enough(split):
    few, whole = slice(2, 4), split.validation
    dataset = replace(split, validation=replace(whole, features=whole.features[few], labels=whole.labels[few]))
    result = run(plan_for_accuracy(dataset, "gradient", 3, "accuracy:100%"), dataset)
    found = accuracies(dataset, "gradient", 3, len(result.losses))
    assert 1 <= len(found) < 30
    assert [each == 1 for each in found] == [False] * (len(found) - 1) + [True]


def test_validation_rows_are_set_aside_unasked(split):
    result = manyhands.train(
        "digits", stop="accuracy:80%", validation="auto", workers=2, strategy="periodic:1epoch", epochs=40
    )
    assert len(result.losses) < 40
    assert accuracy(result.model.learner.predict_proba(split.validation), split.validation.labels) >= 0.8
    unasked = manyhands.train("digits", stop="accuracy:80%", workers=2, strategy="periodic:1epoch", epochs=40)
    assert bits(unasked) == bits(result)
    assert result.plan.rows == split.rows


def test_without_validation_rows_it_is_refused(digits):
    with pytest.raises(SettingsError, match=r"stop accuracy:98\.2% evaluates on validation rows.*validation='auto'"):
        resolve(RunSpec(strategy="gradient", workers=2, stop="accuracy:98.2%"), digits)
    assert resolve(RunSpec(strategy="gradient", workers=2, stop="loss"), digits).stop == LossStop()


def test_test_rows_are_never_looked_at(split):
    """Whatever they are, it stops where it stops; and where only they are good enough, it does not."""
    test, validation = split.test, split.validation
    rng = np.random.default_rng(0)
    wrong = Samples(rng.permutation(test.features), rng.permutation(test.labels), test.scale, test.shift)
    for strategy in ("gradient", "periodic:1epoch"):
        plan = plan_for_accuracy(split, strategy, 2, "accuracy:85%")
        usual, other = run(plan, split), run(plan, replace(split, test=wrong))
        assert bits(usual) == bits(other)
        assert other.accuracy < 0.5 < usual.accuracy
        unlearnable = replace(split, validation=replace(validation, labels=rng.permutation(validation.labels)))
        assert len(run(plan, unlearnable).losses) == 30


def test_its_plan_can_be_described(split):
    plan = plan_for_accuracy(split, "gradient", 2, "accuracy:98.2%")
    assert type(plan).from_json(plan.to_json()) == plan
    assert "stop accuracy:98.2%" in str(plan)


def test_each_worker_tries_its_part_of_the_validation_rows(split):
    """Worker 0 has the first half, the others' parts follow; all get the sum."""
    rows = split.validation.rows
    tried = {}

    class Learner:
        def __init__(self, rank):
            self.rank = rank

        def predict_proba(self, table):
            tried[self.rank] = table.labels
            answers = np.eye(10)[table.labels]
            return answers if self.rank else answers[:, ::-1]  # worker 0 is always wrong: 9 - d is never d

    def work(team):
        run = SimpleNamespace(team=team, learner=Learner(team.rank), synchronized=True, validation=split.validation)
        answers = [AccuracyStop(least).after_epoch(run, epoch_of()) for least in (0.3, 0.66, 0.68)]
        others = [{"synchronized": False}, {"validation": None}]
        unlike = [SimpleNamespace(**{**vars(run), **changes}) for changes in others]
        return answers, [AccuracyStop(0.01).after_epoch(each, epoch_of()) for each in unlike]

    controls = [Control(np.zeros(1, np.int64), np.zeros(1, np.int64)) for _ in range(3)]
    found = launch("threads", [PhaseClock() for _ in range(3)], controls, work)
    assert found == [([True, True, False], [False, False])] * 3
    assert np.concatenate([tried[rank] for rank in range(3)]).tolist() == split.validation.labels.tolist()
    assert {len(part) for part in tried.values()} <= {rows // 3, rows // 3 + 1}
