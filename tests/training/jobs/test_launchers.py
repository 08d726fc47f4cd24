"""Jobs of torch.distributed of our own: the bits of threads, one job for many runs, and an end whatever is done to it.

That jobs of the other kind end well is tested with their client; here is what is different if each process is started
by itself, and gloo carries the messages.
"""

import os
import signal
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import manyhands
from manyhands.core.errors import DivergedError, SettingsError, WorkerLost
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.training.jobs.client import Job
from manyhands.training.jobs.folder import processes
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
STRATEGIES = ["gradient", "periodic:1epoch", "periodic:5,send=int8", "one-shot:merge=rebasin,starts=own"]
FOREVER = 10**7
SOON = 30.0
"""Seconds within which a job has ended, on a busy machine; it takes about five."""


def plan_for(dataset, team, workers, **changes):
    chosen = {"strategy": "gradient", "network": MLPSettings(hidden=(8,)), "epochs": 3, "batch": 20, **changes}
    return resolve(RunSpec(workers=workers, team=team, **chosen), dataset)


def assert_same_bits(job, dataset, workers, strategy):
    """Compare a run of the job with one of threads."""
    found = job.run(plan_for(dataset, "torch", workers, strategy=strategy))
    expected = run(plan_for(dataset, "threads", workers, strategy=strategy), dataset)
    assert found.model.learner.parameters.tobytes() == expected.model.learner.parameters.tobytes(), strategy
    assert (found.losses, found.accuracy, found.bytes_sent) == (
        expected.losses,
        expected.accuracy,
        expected.bytes_sent,
    ), strategy


@needs_torch
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")
@pytest.mark.parametrize(
    ("workers", "how", "words"),
    [
        (2, signal.SIGKILL, r"^worker 1 was killed by signal 9 \(SIGKILL\)$"),
        pytest.param(
            *(3, signal.SIGSTOP, r"^worker 1 (has shown no sign of life|\(process \d+\) has been stopped) for \d"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["killed", "stopped"],
)
def test_a_job_has_the_bits_of_threads_until_a_worker_is_lost(blobs, workers, how, words, monkeypatch):
    monkeypatch.setenv("MANYHANDS_HANG_TIMEOUT", "3")
    done = []

    def harm(steps):
        if not done and steps > 3:
            os.kill(job.launcher.pids[1], how)
            done.append(time.monotonic())
        assert not done or time.monotonic() - done[0] < SOON, "the job does not end"

    with Job(workers, blobs, "torch") as job:
        assert len(job.launcher.pids) == workers
        for strategy in STRATEGIES:
            assert_same_bits(job, blobs, workers, strategy)
        with pytest.raises(WorkerLost, match=words):
            job.run(plan_for(blobs, "torch", workers, epochs=FOREVER), harm)
        assert done
        assert not job.folder.exists()
        assert processes(job.folder) == []


@needs_torch
@pytest.mark.slow
def test_errors_of_workers_come_back_as_they_are_and_a_good_end_leaves_nothing(blobs):
    network = MLPSettings(hidden=(8,), learning_rate=1e30, optimizer="sgd")
    with pytest.raises(DivergedError, match=r"at step \d+ on worker [01]: "), Job(2, blobs, "torch") as job:
        job.run(plan_for(blobs, "torch", 2, network=network, epochs=50))
    assert not job.folder.exists()
    result = manyhands.train(blobs, team="torch", workers=2, strategy="one-shot", hidden=(8,), epochs=2)
    assert np.isfinite(result.model.learner.parameters).all()


def test_without_pytorch_one_sentence_says_what_to_install(blobs, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"^this needs PyTorch, which is not installed: pip install torch$"):
        manyhands.train(blobs, team="torch", workers=2, strategy="one-shot")
