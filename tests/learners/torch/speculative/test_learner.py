"""Speculative training is what the papers' slow forms are, whatever the number of lanes."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from manyhands.core.errors import SettingsError  # noqa: E402
from manyhands.core.samples import Control  # noqa: E402
from manyhands.data.aligned import AlignedSampler  # noqa: E402
from manyhands.learners.torch.learner import TorchLearner  # noqa: E402
from manyhands.learners.torch.settings import TorchSettings  # noqa: E402
from manyhands.learners.torch.speculative.ceilings import ceiling  # noqa: E402
from manyhands.learners.torch.speculative.learner import SpeculativeLearner  # noqa: E402
from manyhands.training.resolve import resolve  # noqa: E402
from manyhands.training.run import run  # noqa: E402
from manyhands.training.spec import RunSpec  # noqa: E402
from manyhands.training.thread_pools import blas_limited  # noqa: E402

from .reference import Reference, in_batches, network, per_example  # noqa: E402

STEPS, RATE = 50, 0.001


def learner_of(module, threshold, **settings):
    how = TorchSettings(speculative=threshold, precision="float32", **settings)
    with blas_limited(1):
        return SpeculativeLearner(module, settings=how)


def trained(learner, samples, batch, steps=STEPS):
    """Return the learner after some steps, and the rows of each."""
    sampler = AlignedSampler(samples.labels, batch, 0, 1, seed=1)
    order = sampler.epochs(0, -(-steps // sampler.steps_per_epoch)).part(0, steps)
    with blas_limited(1):  # as in a run
        learner.run(samples, order, np.full(steps, RATE), Control(np.zeros(1, np.int64), np.zeros(1, np.int64)))
    return learner, [order.rows[order.bounds[step] : order.bounds[step + 1]] for step in range(steps)]


def assert_equal(learner, reference, tolerance=1e-5):
    for name, theirs in reference.blocks().items():
        np.testing.assert_allclose(learner.weights()[f"module.{name}"], theirs, atol=tolerance)


@pytest.fixture(scope="module")
def images(digits):
    return torch.from_numpy(digits.train.inputs().astype(np.float32).reshape(-1, 1, 8, 8))


class TestAgainstReferences:
    @pytest.mark.parametrize("micro_batches", [1, 3])
    def test_threshold_0_is_ordinary_training(self, digits, micro_batches):
        speculative, _ = trained(learner_of(network(), 0.0, micro_batches=micro_batches), digits.train, 20)
        ordinary, _ = trained(TorchLearner(network(), settings=TorchSettings(precision="float32")), digits.train, 20)
        np.testing.assert_allclose(speculative.parameters, ordinary.parameters, atol=1e-5)
        assert np.abs(ordinary.parameters - TorchLearner(network()).parameters).max() > 1e-2

    def test_threshold_1_is_one_step_delayed(self, digits, images):
        learner, batches = trained(learner_of(network(), 1.0), digits.train, 20)
        reference = Reference(network(), RATE)
        hits = in_batches(reference, images, digits.train.labels, batches, 1.0)
        assert_equal(learner, reference)
        assert learner.facts.hits == hits == 20 * (STEPS - 1)

    @pytest.mark.parametrize("threshold", [0.005, 0.01, 0.02])
    def test_misses_are_computed_truly(self, digits, images, threshold):
        """A few misses are exchanged for their true parts; many are computed anew with the hits."""
        learner, batches = trained(learner_of(network(), threshold), digits.train, 20)
        reference = Reference(network(), RATE)
        hits = in_batches(reference, images, digits.train.labels, batches, threshold)
        assert_equal(learner, reference)
        assert learner.facts.hits == hits
        assert 0 < hits < 20 * (STEPS - 1)

    def test_predicted_weights_are_those_of_the_step_that_uses_them(self, digits, images):
        """Where the last update is repeated exactly, outcomes are not delayed at all."""
        learner, batches = trained(learner_of(network(), 1.0, weight_prediction=True), digits.train, 20)
        reference = Reference(network(), RATE)
        in_batches(reference, images, digits.train.labels, batches, 1.0, predicts=True)
        assert_equal(learner, reference)

    def test_batches_of_one_are_the_published_form(self, digits, images):
        """One outcome is stored for each label; ten batches of one are a period."""
        learner, batches = trained(learner_of(network(), 0.3), digits.train, 1, steps=200)
        reference = Reference(network(), RATE)
        hits = per_example(reference, images, digits.train.labels, np.concatenate(batches), 0.3)
        assert_equal(learner, reference)
        assert learner.facts.hits == hits > 0


class TestLanes:
    @pytest.mark.parametrize(("lanes", "plan"), [(2, "plain"), (2, "balanced"), (3, "balanced")])
    @pytest.mark.parametrize("threshold", [0.1, 1.0])
    def test_same_bits(self, digits, lanes, plan, threshold):
        one, _ = trained(learner_of(network(), threshold, lanes=1), digits.train, 20)
        more, _ = trained(learner_of(network(), threshold, lanes=lanes, lane_plan=plan), digits.train, 20)
        np.testing.assert_array_equal(one.parameters, more.parameters)
        facts = more.report()["speculation"]
        assert facts["hits"] == one.facts.hits
        assert min(facts["busy_s"][:2]) > 0  # a third may find no work
        assert {each["lane"] for each in facts["timeline"]} <= set(range(lanes))
        assert 0 < facts["ceiling"] <= 1 - 1 / lanes

    @pytest.mark.parametrize(("lanes", "plan"), [(2, "plain"), (2, "balanced"), (4, "balanced")])
    def test_same_bits_of_micro_batches(self, digits, lanes, plan):
        """Weight gradients are summed in the order of the micro-batches, whoever computes them."""
        one, _ = trained(learner_of(network(), 0.0, lanes=1, micro_batches=5), digits.train, 20)
        more, _ = trained(learner_of(network(), 0.0, lanes=lanes, lane_plan=plan, micro_batches=5), digits.train, 20)
        np.testing.assert_array_equal(one.parameters, more.parameters)
        assert min(more.facts.busy[:2]) > 0
        assert more.report()["speculation"]["ceiling"] > 0.1

    def test_more_micro_batches_than_samples(self, digits):
        few, _ = trained(learner_of(network(), 0.0, micro_batches=10), digits.train, 10)
        many, _ = trained(learner_of(network(), 0.0, micro_batches=64), digits.train, 10)
        np.testing.assert_array_equal(few.parameters, many.parameters)

    def test_an_error_in_a_lane_is_raised(self, digits, monkeypatch):
        learner, _ = trained(learner_of(network(), 1.0), digits.train, 20, steps=2)
        monkeypatch.setattr(learner._layers[2], "weight_gradient", lambda *_a, **_k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            trained(learner, digits.train, 20, steps=2)

    def test_ceilings_by_hand(self):
        costs = {"forward": 2.0, "input gradient": 3.0, "weight gradient": 3.0}
        assert ceiling(costs, 1, balanced=True) == ceiling({}, 2, balanced=True) == 0
        assert ceiling(costs, 2, balanced=False) == 1 - 6 / 8
        assert ceiling(costs, 2, balanced=True) == 1 - 4 / 8
        assert ceiling(costs, 4, balanced=True) == 1 - 3 / 8  # the chain of input gradients
        assert ceiling(costs, 2, balanced=True, speculates=False) == 1 - (2 + 3) / 8
        assert ceiling(costs, 2, balanced=False, speculates=False) == 0
        assert ceiling(costs, 2, balanced=True, speculates=False, micro_batches=2) == 1 - (8 + 1) / 2 / 8
        assert ceiling(costs, 2, balanced=False, speculates=False, micro_batches=2) == 1 - (1 + 6) / 8
        assert ceiling(costs, 8, balanced=True, speculates=False, micro_batches=4) == 1 - (2 + 3 / 4) / 8


class TestGate:
    def test_warm_up_speculates_on_nothing(self, digits):
        learner, _ = trained(learner_of(network(), 1.0, speculation_warmup=1), digits.train, 100, steps=30)
        per_epoch = -(-digits.train.rows // 100)
        assert learner.facts.unseen == 100 * per_epoch
        assert learner.report()["speculation"]["hit_rate_by_epoch"][:2] == [0.0, 1.0]

    @pytest.mark.parametrize(("gate", "threshold"), [("batch", 0.005), ("layer", 0.1)])
    def test_other_distances(self, digits, gate, threshold):
        learner, _ = trained(learner_of(network(), threshold, gate=gate), digits.train, 20)
        assert learner.facts.hits + learner.facts.misses == 20 * (STEPS - 1)
        assert learner.facts.misses > 0
        if gate == "batch":
            assert learner.facts.hits % 20 == 0

    def test_distances_are_counted(self, digits):
        learner, _ = trained(learner_of(network(), 0.25), digits.train, 20)
        distances = learner.report()["speculation"]["distances"]
        up_to = distances["up_to"].index(0.25) + 1
        assert sum(distances["samples"][:up_to]) == learner.facts.hits
        assert sum(distances["samples"]) == learner.facts.hits + learner.facts.misses


def with_statistics():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(144, 10)
    )


class TestWholeRuns:
    @pytest.mark.parametrize("module", [network, with_statistics])
    def test_it_learns(self, digits, module):
        how = {"module": module, "speculative": 1.0, "epochs": 10, "batch": 50, "learning_rate": 0.003}
        result = run(resolve(RunSpec().changed(**how), digits), digits)
        assert result.accuracy > 0.9
        assert result.reports[0]["speculation"]["hit_rate"] > 0.95
        assert run(resolve(RunSpec().changed(**how), digits), digits).accuracy == result.accuracy

    @pytest.mark.parametrize("strategy", ["gradient", "periodic:5"])
    @pytest.mark.parametrize("team", ["threads", pytest.param("mpi", marks=pytest.mark.slow)])
    def test_workers_have_lanes_each(self, digits, strategy, team):
        named = f"{Path(__file__).with_name('reference.py')}:network"  # processes import it by its file
        how = {"module": named, "speculative": 0.5, "epochs": 5, "batch": 50, "learning_rate": 0.003}
        plan = resolve(RunSpec().changed(**how, strategy=strategy, workers=2, team=team), digits)
        result = run(plan, digits)
        assert result.accuracy > 0.8
        assert len(result.reports) == 2
        assert all(each["speculation"]["hits"] > 0 for each in result.reports)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"speculative": 1.5}, "must lie between 0 and 1"),
            ({"lanes": 3, "speculative": None}, "is about speculation"),
            ({"precision": "bfloat16"}, "float32"),
            ({"pin": True}, "need a core each"),
            ({"sharding": "fixed"}, "fixed shards"),
            ({"speculative": 0.5, "weight_prediction": True}, "needs speculative=1"),
            ({"micro_batches": 2}, "needs speculative=0"),
            ({"micro_batches": 2, "speculative": 0, "module": with_statistics}, "leave micro_batches out"),
            ({"strategy": "one-shot", "workers": 2}, "fixed shards"),
            ({"module": with_statistics, "speculative": 0.5}, "use gate='batch'"),
            ({"learner": "resnet-small", "module": None}, "Residual"),
            ({"module": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softplus())}, "Softplus"),
            ({"loss_function": nn.functional.cross_entropy}, "mean cross-entropy"),
            ({"gate": "layer", "module": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10))}, "no ReLU"),
        ],
    )
    def test_what_cannot_be_is_refused(self, digits, changes, words):
        how = {"module": network, "speculative": 1.0, "epochs": 1} | changes
        with pytest.raises(SettingsError, match=words):
            run(resolve(RunSpec().changed(**how), digits), digits)
