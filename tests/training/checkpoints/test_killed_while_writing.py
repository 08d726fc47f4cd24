"""Whenever a process is killed while it writes a checkpoint, there is one that can be read."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from manyhands import train
from manyhands.training.checkpoints.folder import CheckpointFolder
from manyhands.training.checkpoints.state import PARAMETERS, State

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
IDENTITY = {"settings": {}}


def states(number):
    return [State(0, 0, {"rank": rank}, {PARAMETERS: np.full(60_000, number, np.float32)}) for rank in range(2)]


def in_child(work):
    """Do something in a process of its own; return its end as `os.waitpid` gives it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def check(folder, least):
    """Check that the newest checkpoint is whole, and at least so new."""
    found = folder.newest()
    steps = int(found.path.stem.split("-")[1])
    assert steps >= least
    for state in found.states:
        np.testing.assert_array_equal(state.arrays[PARAMETERS], np.full(60_000, steps, np.float32))
    return steps


def test_at_every_call_of_the_system(tmp_path, caplog):
    """Killed at the first, second, ... call that opens, names, renames or removes a file, until there is no more."""
    folder = CheckpointFolder(tmp_path)
    for steps in (1, 2):
        folder.write(steps, IDENTITY, states(steps), keep=2)
    moments = 0
    while True:

        def write(moment=moments):
            calls = iter(range(1000))

            def hook(event, _arguments):
                if event in ("open", "os.link", "os.rename", "os.remove", "os.scandir") and next(calls) == moment:
                    os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(hook)
            folder.write(3, IDENTITY, states(3), keep=2)

        _, status = os.waitpid(in_child(write), 0)
        newest = check(folder, 2)
        if not os.WIFSIGNALED(status):
            break
        moments += 1
        if newest == 3:
            folder.files()[0].unlink()
        if len(folder.files()) < 2:
            folder.write(1, IDENTITY, states(1), keep=3)
    assert newest == 3
    assert moments >= 5
    assert "skipped" not in caplog.text


def test_at_fifty_moments(tmp_path, caplog):
    folder, rng, newest = CheckpointFolder(tmp_path), random.Random(0), 1
    folder.write(1, IDENTITY, states(1), keep=2)
    for _ in range(50):

        def write(first=newest + 1):
            for steps in range(first, first + 10_000):
                folder.write(steps, IDENTITY, states(steps), keep=2)

        child = in_child(write)
        time.sleep(rng.uniform(0.002, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        newest = check(folder, newest)
        assert len(folder.files()) <= 10  # killed before it could remove the oldest, now and then
    assert newest > 10
    assert "skipped" not in caplog.text  # not even one that is torn: files appear whole


@pytest.mark.slow
@pytest.mark.parametrize("team", ["threads", "mpi"])
def test_a_run_that_is_killed_again_and_again_comes_to_its_end(tmp_path, team):
    """And to the same bits as one that is left alone."""
    run = {"strategy": "periodic:4", "workers": 2, "epochs": 800, "hidden": (16,)}
    words = ["--data", "digits", "--strategy", "periodic:4", "--workers", "2", "--epochs", "800", "--hidden", "16"]
    program = [sys.executable, "-m", "manyhands", "train", "--team", team, "--out", str(tmp_path / "model.safetensors")]
    often = ["--every", "1epoch", "--checkpoint-cost", "100%", "--quiet"]
    command = [*program, *words, "--checkpoint", str(tmp_path / "run"), *often]
    rng, killed = random.Random(1), 0
    while True:
        started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        before = CheckpointFolder(tmp_path / "run").files()[:1]
        while CheckpointFolder(tmp_path / "run").files()[:1] == before and started.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        if killed < 5 and started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
        _, said = started.communicate()
        if started.returncode == 0:
            break
        killed += 1
        assert started.returncode == -signal.SIGKILL, said
        command = [*program, "--resume", str(tmp_path / "run"), *often]
    assert killed >= 3
    whole = train("digits", **run)
    from manyhands import load_model

    found = load_model(tmp_path / "model.safetensors").learner.parameters
    np.testing.assert_array_equal(found, whole.model.learner.parameters)
