"""Convergence: what is measured on the way is right, where all workers are alike, and changes nothing else."""

import functools
import itertools
import math
import os
import time
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from manyhands.core.callbacks import EventFunction
from manyhands.core.errors import DivergedError
from manyhands.data.dataset import Examples, make_dataset
from manyhands.learners.mlp.learner import MLP
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.training.model import scores
from manyhands.training.resolve import resolve
from manyhands.training.result import TrainingResult
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

pytest.importorskip("mpi4py")

EPOCHS, BATCH = 4, 25
STEPS = {
    # 103 rows in batches of 25: four and a rest of three, so 5 steps an epoch and 20 in all.
    "sequential": [5, 10, 15, 20],
    "one-shot": [20],
    "periodic:1epoch": [5, 10, 15, 20],
    "periodic:2epochs": [10, 20],
    "periodic:3epochs": [15, 20],
    "periodic:7": [7, 14, 20],
    "gradient": [5, 10, 15, 20],
    "minibatch:5epochs": [5, 10, 15, 20],
}
"""After which steps each strategy has a point."""
CASES = [
    ("sequential", 1, "threads"), ("sequential", 1, "mpi"), ("one-shot", 1, "threads"), ("one-shot", 2, "mpi"),
    ("periodic:1epoch", 2, "threads"), ("periodic:1epoch", 4, "mpi"), ("periodic:2epochs", 4, "threads"),
    ("periodic:3epochs", 2, "threads"), ("periodic:7", 4, "threads"), ("periodic:7", 2, "mpi"),
    ("gradient", 4, "threads"), ("gradient", 2, "mpi"), ("minibatch:5epochs", 2, "threads"),
]  # fmt: skip
"""Every strategy, and every pair of number of workers and team."""


@pytest.fixture
def runner(blobs_runner):
    return blobs_runner


def plan_for(dataset, strategy, workers, team="threads", **changes):
    chosen = {"batch": BATCH, "epochs": EPOCHS, "seed": 3, "network": MLPSettings(hidden=(9,)), **changes}
    plan = resolve(RunSpec(strategy=strategy, workers=workers, team=team, **chosen), dataset)
    return replace(plan, team=team) if team == "mpi" else plan  # even a sequential run goes through a job


@functools.cache
def measured(runner, strategy, workers, team="threads", **changes):
    """A run with a curve, which several tests look at from different sides."""
    return runner.run(plan_for(runner.dataset, strategy, workers, team, convergence=True, **changes))


def bits(result):
    return result.model.learner.parameters.tobytes()


def timeless(curve):
    return [{name: value for name, value in point.items() if name != "train_s"} for point in curve]


def doubled(probabilities):
    """Return them in double precision, with sums of 1 there too, as scikit-learn demands."""
    wide = probabilities.astype(np.float64)
    return wide / wide.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("strategy", "workers", "team"), CASES)
def test_measuring_changes_nothing_but_the_curve(runner, strategy, workers, team):
    plain = runner.run(plan_for(runner.dataset, strategy, workers, team))
    with_curve = measured(runner, strategy, workers, team)
    assert bits(with_curve) == bits(plain)
    assert with_curve.losses == plain.losses
    assert (with_curve.accuracy, plain.curve) == (plain.accuracy, [])
    assert (with_curve.steps, with_curve.rounds, with_curve.examples, with_curve.bytes_sent) == (
        plain.steps,
        plain.rounds,
        plain.examples,
        plain.bytes_sent,
    )


@pytest.mark.parametrize(("strategy", "workers", "team"), CASES)
def test_points_are_where_all_workers_are_alike(runner, strategy, workers, team):
    result = measured(runner, strategy, workers, team)
    curve = result.curve
    steps = STEPS[strategy] if workers > 1 else STEPS["sequential"]  # one worker is alike after every epoch
    assert [point["step"] for point in curve] == steps
    assert [point["epoch"] for point in curve] == [step / 5 for step in steps]
    if workers == 1:
        rounds = [0] * len(steps)
    elif strategy == "gradient":
        rounds = steps
    else:
        rounds = list(range(1, len(steps) + 1))
    assert [point["round"] for point in curve] == rounds
    assert (curve[-1]["accuracy"], curve[-1]["round"]) == (result.accuracy, result.rounds)


@pytest.mark.parametrize(("strategy", "workers", "team"), CASES)
def test_time_goes_on_from_point_to_point_and_ends_with_the_training(runner, strategy, workers, team):
    result = measured(runner, strategy, workers, team)
    times = [0.0, *[point["train_s"] for point in result.curve]]
    assert all(before < after for before, after in itertools.pairwise(times))
    assert times[-1] <= result.seconds["train"]


@pytest.mark.parametrize(("strategy", "workers"), [case[:2] for case in CASES if case[2] == "mpi"])
def test_threads_and_mpi_have_the_same_curve(runner, strategy, workers):
    threads, mpi = (measured(runner, strategy, workers, team) for team in ("threads", "mpi"))
    assert mpi.plan.team == "mpi"
    assert timeless(mpi.curve) == timeless(threads.curve)


@pytest.mark.parametrize("team", ["threads", "mpi"])
@pytest.mark.parametrize("strategy", ["one-shot", "periodic:1epoch", "gradient"])
def test_one_epoch_has_one_point(runner, strategy, team):
    result = measured(runner, strategy, 2, team, epochs=1)
    assert [point["step"] for point in result.curve] == [5]
    assert result.curve[0]["accuracy"] == result.accuracy


@pytest.mark.parametrize("team", ["threads", "mpi"])
@pytest.mark.parametrize("strategy", ["periodic:1epoch", "periodic:7", "gradient"])
def test_a_share_may_be_empty_when_a_point_is_due(runner, strategy, team):
    # 103 rows in batches of 4: the last batch of an epoch has 3 rows for 4 workers; 26 steps an epoch.
    plain = runner.run(plan_for(runner.dataset, strategy, 4, team, batch=4, epochs=2))
    result = measured(runner, strategy, 4, team, batch=4, epochs=2)
    expected = {"periodic:1epoch": [26, 52], "periodic:7": [7, 14, 21, 28, 35, 42, 49, 52], "gradient": [26, 52]}
    assert [point["step"] for point in result.curve] == expected[strategy]
    assert bits(result) == bits(plain)
    assert result.curve[-1]["accuracy"] == result.accuracy


@pytest.mark.parametrize("strategy", ["sequential", "periodic:2epochs", "gradient"])
def test_a_point_is_what_a_run_that_ended_there_would_have(runner, strategy):
    """Loss and accuracy by scikit-learn, of the model of a shorter run with the same seed."""
    table = runner.dataset.test
    workers = 1 if strategy == "sequential" else 2
    for point, epochs in zip(measured(runner, strategy, workers).curve, STEPS[strategy], strict=True):
        shorter = runner.run(plan_for(runner.dataset, strategy, workers, epochs=epochs // 5))
        probabilities = shorter.model.learner.predict_proba(table)
        assert point["accuracy"] == accuracy_score(table.labels, probabilities.argmax(axis=1))
        assert point["loss"] == pytest.approx(log_loss(table.labels, doubled(probabilities)), rel=1e-6)


@pytest.mark.parametrize(("strategy", "workers"), [("sequential", 1), ("periodic:1epoch", 2), ("gradient", 2)])
def test_several_epochs_are_one_call_and_are_measured_as_if_each_were_one(blobs, monkeypatch, strategy, workers):
    calls, really = [], MLP.run
    monkeypatch.setattr(MLP, "run", lambda *given, **how: calls.append(1) or really(*given, **how))
    plan = plan_for(blobs, strategy, workers, convergence=True)
    at_once = run(plan, blobs)
    assert len(calls) == workers
    monkeypatch.setattr("manyhands.training.stepping._BYTES_KEPT", 3 * at_once.model.learner.parameters.nbytes)
    in_parts = run(plan, blobs)
    assert len(calls) == (1 + 2) * workers  # three epochs, and one
    monkeypatch.setattr(MLP, "keeps_snapshots", False)
    one_by_one = run(plan, blobs)
    assert len(calls) == (1 + 2 + EPOCHS) * workers
    for other in (in_parts, one_by_one):
        assert timeless(other.curve) == timeless(at_once.curve)
        assert bits(other) == bits(at_once)


def test_the_learner_published_has_one_point_at_its_end(digits):
    rows = digits.rows // 2 * 2
    even = replace(digits, train=replace(digits.train, features=digits.train.features[:rows]))
    even = replace(even, train=replace(even.train, labels=even.train.labels[:rows]))
    settings = MLPSettings(hidden=(8,), dtype="float64")
    for strategy, workers in (("sequential", 1), ("one-shot", 2)):
        plan = resolve(
            RunSpec(
                strategy=strategy, workers=workers, network=settings, learner="published", epochs=3, convergence=True
            ),
            even,
        )
        result, plain = run(plan, even), run(replace(plan, convergence=False), even)
        assert bits(result) == bits(plain)
        (point,) = result.curve
        assert (point["step"], point["round"]) == (result.steps, result.rounds)
        assert point["accuracy"] == result.accuracy
        assert 0 < point["train_s"] <= result.seconds["train"]


class TestScores:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_loss_and_accuracy_are_scikit_learns(self, dtype):
        rng = np.random.default_rng(0)
        probabilities = rng.dirichlet(np.ones(4), 200).astype(dtype)
        labels = rng.integers(0, 4, 200).astype(np.int32)
        loss, share = scores(probabilities, labels)
        assert loss == pytest.approx(log_loss(labels, doubled(probabilities), labels=range(4)), rel=1e-6)
        assert share == accuracy_score(labels, probabilities.argmax(axis=1))

    def test_by_hand(self):
        # Rows 1 and 2 are right with probabilities 1/2 and 1/4, row 3 is wrong with 1/8.
        probabilities = np.array([[0.5, 0.25, 0.25], [0.125, 0.625, 0.25], [0.125, 0.75, 0.125]])
        loss, share = scores(probabilities, np.array([0, 1, 0], np.int32))
        assert loss == pytest.approx(-(math.log(0.5) + math.log(0.625) + math.log(0.125)) / 3)
        assert share == pytest.approx(2 / 3)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_a_probability_of_zero_is_no_infinite_loss(self, dtype):
        loss, share = scores(np.array([[0, 1], [0, 1]], dtype), np.array([0, 1], np.int32))
        # Half of -log(eps): 7.97 in single and 18.02 in double precision.
        assert loss == pytest.approx(-math.log(np.finfo(dtype).eps) / 2)
        assert share == 0.5


class TestClocks:
    SLEEP = 0.25

    @pytest.mark.parametrize(
        ("strategy", "workers"),
        [
            pytest.param("sequential", 1, marks=pytest.mark.slow),
            pytest.param("periodic:1epoch", 2, marks=pytest.mark.slow),
            ("periodic:7", 2),
            ("gradient", 3),
        ],
    )
    def test_a_slow_evaluation_is_in_no_clock_of_the_training(self, blobs, monkeypatch, strategy, workers):
        plan = plan_for(blobs, strategy, workers, convergence=True)
        before = run(plan, blobs)
        self._slow_down(monkeypatch)
        after = run(plan, blobs)
        slept = self.SLEEP * (len(after.curve) + 1)  # and once after training
        for phase in ("train", "compute", "communicate", "merge"):
            assert after.seconds[phase] < before.seconds[phase] + slept / 10, phase
        assert slept <= after.seconds["evaluate"] < 1.5 * slept + 0.5
        assert after.curve[-1]["train_s"] <= after.seconds["train"]
        assert timeless(after.curve) == timeless(before.curve)

    def _slow_down(self, monkeypatch):
        predict = MLP.predict_proba

        def slow(learner, table):
            time.sleep(self.SLEEP if table.rows > 1 else 0)  # one row: it is only being compiled
            return predict(learner, table)

        monkeypatch.setattr(MLP, "predict_proba", slow)

    @pytest.fixture
    def slow_workers(self, tmp_path, monkeypatch):
        """Make evaluations slow in the processes of jobs that begin now."""

        def slow_down(seconds):
            (tmp_path / "sitecustomize.py").write_text(
                "import time\n"
                "from manyhands.learners.mlp.learner import MLP\n"
                "predict = MLP.predict_proba\n"
                "def slow(learner, table):\n"
                f"    time.sleep({seconds} if table.rows > 1 else 0)\n"  # one row: it is only being compiled
                "    return predict(learner, table)\n"
                "MLP.predict_proba = slow\n"
            )
            path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
            monkeypatch.setenv("PYTHONPATH", path)

        return slow_down

    @pytest.mark.parametrize("strategy", [pytest.param("periodic:1epoch", marks=pytest.mark.slow), "gradient"])
    def test_nor_in_those_of_an_mpi_job(self, runner, slow_workers, strategy):
        before = measured(runner, strategy, 2, "mpi")
        slow_workers(self.SLEEP)
        after = run(before.plan, runner.dataset)
        slept = self.SLEEP * (len(after.curve) + 1)
        for phase in ("train", "compute", "communicate", "merge"):
            assert after.seconds[phase] < before.seconds[phase] + slept / 10, phase
        assert slept <= after.seconds["evaluate"] < 1.5 * slept + 0.5
        assert timeless(after.curve) == timeless(before.curve)

    @pytest.mark.slow
    def test_an_evaluation_longer_than_any_step_is_no_hanging_worker(self, digits, slow_workers):
        """The watch gives a worker 100 of its mean steps, or 4 s: the first evaluation may well take longer."""
        slow_workers(5)
        # An epoch of 719 steps: enough to measure how fast steps are.
        plan = plan_for(digits, "periodic:1epoch", 2, "mpi", batch=2, epochs=1, convergence=True)
        assert run(plan, digits).seconds["evaluate"] > 10


class TestSecondsTo:
    CURVE = tuple(
        {"train_s": seconds, "accuracy": share} for seconds, share in [(0.1, 0.5), (0.2, 0.9), (0.3, 0.8), (0.4, 0.95)]
    )

    def result(self, curve):
        return TrainingResult(None, None, 0.95, 4, 4, 0, 0, {}, [], list(curve))

    @pytest.mark.parametrize(
        ("target", "seconds"), [(0.4, 0.1), (0.5, 0.1), (0.51, 0.2), (0.9, 0.2), (0.95, 0.4), (0.96, None)]
    )
    def test_the_first_time_counts(self, target, seconds):
        assert self.result(self.CURVE).seconds_to(target) == seconds

    def test_nothing_measured_is_never_reached(self):
        assert self.result([]).seconds_to(0.1) is None


class TestDivergence:
    @pytest.mark.parametrize(
        ("strategy", "workers", "team"),
        [("sequential", 1, "threads"), ("periodic:1epoch", 2, "threads"), ("gradient", 2, "mpi")],
    )
    def test_it_is_found_with_a_curve_too(self, blobs, strategy, workers, team):
        settings = MLPSettings(hidden=(8,), optimizer="sgd", learning_rate=1e20)
        with pytest.raises(DivergedError, match=r"step \d+ on worker \d"):
            run(plan_for(blobs, strategy, workers, team, network=settings, convergence=True), blobs)

    @pytest.mark.parametrize(("strategy", "workers"), [("sequential", 1), ("periodic:1epoch", 2), ("gradient", 2)])
    @pytest.mark.parametrize("rate", [1e37, 1e39])
    def test_nobody_is_told_of_numbers_that_are_none(self, blobs, strategy, workers, rate):
        """Two steps; the weights overflow in the second, or, as the rate itself is infinite in float32, at once."""
        settings = MLPSettings(hidden=(), optimizer="sgd", learning_rate=rate)
        heard = []
        plan = plan_for(blobs, strategy, workers, network=settings, epochs=2, batch=103, convergence=True)
        with pytest.raises(DivergedError):
            run(plan, blobs, callbacks=[EventFunction(heard.append, "round")])
        told = [value for event in heard for value in vars(event).values()]
        assert [value for value in told if not math.isfinite(value)] == []


def test_a_test_set_of_one_row(blobs):
    one = Examples(np.array([[1, 2, 3, 4, 5, 6, 7]], np.uint8), np.array([10]))
    rng = np.random.default_rng(0)
    train = Examples(rng.integers(0, 255, (30, 7)).astype(np.uint8), np.arange(30) % 3 * 10 + 10)
    result = run(plan_for(data := make_dataset("one", train, one), "periodic:1epoch", 2, convergence=True), data)
    assert {point["accuracy"] for point in result.curve} <= {0.0, 1.0}
