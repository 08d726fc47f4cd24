"""The contract table for PyTorch modules: BatchNorm, dropout and a tied weight under every strategy, merge and team."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from manyhands.core.errors import SettingsError  # noqa: E402
from manyhands.training.resolve import resolve  # noqa: E402
from manyhands.training.run import run  # noqa: E402
from manyhands.training.spec import RunSpec  # noqa: E402

MODULES = Path(__file__).parents[1] / "learners/torch/modules.py"
EVERYTHING = f"{MODULES}:Everything"
BATCH, EPOCHS = 26, 3  # of 103 rows; the last batch has 25
BOTH = [
    "one-shot",
    "periodic:1epoch",
    "periodic:2",
    "gradient",
    "minibatch:5epochs",
    "post-local:2",
    "slowmo:1epoch",
    "diloco:1epoch",
    "swap:50%",
    "gradient:send=int8",
    "gradient@50% then periodic:1epoch",
    "periodic:2,send=float16",
    "periodic:2,send=bfloat16",
    "periodic:2,send=int8",
    "periodic:2,state=mean",
    "periodic:2,state=reset",
    "periodic:2,buffers=keep",
    "periodic:1epoch,merge=mean",
    "periodic:1epoch,merge=validation",
    "one-shot:merge=fisher",
    "one-shot:merge=soup",
    "one-shot:merge=bootstrap",
    "one-shot:merge=ensemble",
    "one-shot:starts=own",
]
"""What threads and processes do to the bit."""
ASYNCHRONOUS = ["easgd:2", "hogwild"]


def train(runner, strategy, team="threads", workers=3, **others):
    how = {"module": EVERYTHING, "precision": "float32", "batch": BATCH, "epochs": EPOCHS, "seed": 3, **others}
    spec = RunSpec().changed(strategy=strategy, team=team, workers=workers, learning_rate=0.01, **how)
    return runner.run(resolve(spec, runner.dataset))


def everything(result):
    learner = result.model.learner
    return {name: block.tobytes() for name, block in learner.weights().items() if "num_batches" not in name}


QUICK = ("periodic:1epoch", "gradient", "diloco:1epoch", "periodic:2,state=mean", "one-shot:merge=ensemble")


@pytest.mark.parametrize(
    "strategy", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in BOTH]
)
def test_threads_and_processes_end_with_the_same_bits(blobs_runner, strategy):
    threads, mpi = (train(blobs_runner, strategy, team) for team in ("threads", "mpi"))
    assert everything(threads) == everything(mpi)
    assert threads.losses == mpi.losses
    assert (threads.accuracy, threads.rounds, threads.steps) == (mpi.accuracy, mpi.rounds, mpi.steps)
    assert np.isfinite(threads.losses).all()


@pytest.mark.parametrize("strategy", ["periodic:1epoch", "gradient", *ASYNCHRONOUS])
def test_it_learns(blobs_runner, strategy):
    assert train(blobs_runner, strategy, epochs=40).accuracy > 0.9


def test_one_worker_is_sequential(blobs_runner):
    alone = train(blobs_runner, "sequential", workers=1)
    assert everything(alone) == everything(train(blobs_runner, "periodic:1epoch", workers=1))


def test_averaged_gradients_are_those_of_the_global_batch(blobs_runner):
    # Without statistics of batches and draws, which belong to each worker.
    how = {"module": f"{MODULES}:plain", "epochs": 5}
    alone, shared = (
        train(blobs_runner, strategy, workers=n, **how).model.learner.parameters
        for strategy, n in (("sequential", 1), ("gradient", 2))
    )
    np.testing.assert_allclose(shared, alone, atol=1e-5)


class TestRefused:
    def test_batches_too_small_for_statistics(self, blobs_runner):
        with pytest.raises(SettingsError, match=r"1 of a global batch of 3 samples \(the last of an epoch\)"):
            train(blobs_runner, "periodic:1epoch", batch=25, workers=2)

    def test_starts_of_their_own_for_a_module_that_exists(self, blobs):
        spec = importlib.util.spec_from_file_location("modules", MODULES)
        modules = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(modules)
        chosen = RunSpec().changed(module=modules.plain(), strategy="one-shot:starts=own", workers=2, batch=BATCH)
        with pytest.raises(SettingsError, match="one start only"):
            run(resolve(chosen, blobs), blobs)
        with pytest.raises(SettingsError, match="function that makes it"):
            run(resolve(replace(chosen, strategy="one-shot", team="mpi"), blobs), blobs)

    def test_units_that_cannot_be_matched(self, blobs_runner):
        with pytest.raises(SettingsError, match="rebasin"):
            train(blobs_runner, "one-shot:merge=rebasin")

    @pytest.mark.parametrize(
        ("setting", "words"),
        [({"hidden": (5,)}, "hidden"), ({"l2": 0.1}, "weight_decay"), ({"dtype": "float64"}, "dtype")],
    )
    def test_settings_of_other_learners(self, blobs_runner, setting, words):
        with pytest.raises(SettingsError, match=words):
            train(blobs_runner, "periodic:1epoch", **setting)

    def test_networks_for_images_without_any(self, blobs_runner):
        with pytest.raises(SettingsError, match="images"):
            train(blobs_runner, "periodic:1epoch", module=None, learner="cnn-fast")

    def test_a_module_beside_a_network(self):
        with pytest.raises(SettingsError, match="no other learner takes one"):
            RunSpec().changed(module=EVERYTHING, learner="cnn-fast")
        with pytest.raises(SettingsError, match="needs module"):
            RunSpec(learner="torch")

    def test_settings_of_pytorch_for_other_learners(self, blobs_runner):
        with pytest.raises(SettingsError, match=r"clip=1\.0 is for PyTorch's learners"):
            train(blobs_runner, "periodic:1epoch", module=None, precision="auto", clip=1.0)


def test_auto_averages_often_for_two_workers_and_leaves_the_rate_of_a_module_alone(blobs):
    how = {"module": EVERYTHING, "strategy": "auto", "epochs": 3, "workers": 2}
    plan = resolve(RunSpec().changed(**how), blobs)
    name = "diloco:20,rate=1,momentum=0.3"
    assert (plan.strategy.name, plan.batch, plan.schedule.name) == (name, 50, "linear:hold=25%")
    assert plan.network.learning_rate == 0.001
    assert resolve(RunSpec().changed(**{**how, "workers": 3}), blobs).strategy.name == "gradient"
