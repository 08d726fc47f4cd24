"""Jobs over a network: two nodes with addresses of their own, under mpiexec with a host file, torchrun and Slurm."""

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from manyhands.training.loading import load_model

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
module, slurm_nodes = importlib.import_module("two_nodes"), importlib.import_module("slurm_nodes")
sys.path.pop(0)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(module.reason_not_to() is not None, reason=str(module.reason_not_to())),
]


@pytest.fixture(scope="module")
def nodes():
    with module.two_nodes("100mbit") as found:
        yield found


@pytest.mark.parametrize("strategy", ["gradient", "periodic:1epoch"])
def test_the_bits_of_threads_over_a_wire(nodes, strategy, tmp_path):
    words = [sys.executable, "-m", "manyhands", "train", "--data", "digits", "--epochs", "5", "--strategy", strategy]
    before = nodes.sent(1)
    path = tmp_path / "run.json"
    nodes.mpiexec([*words, "--team", "mpi", "--out", str(tmp_path / "mpi"), "--json", str(path)], timeout=100)
    assert nodes.sent(1) - before > json.loads(path.read_text())["bytes_sent"]  # it went over the wire
    subprocess.run([*words, "--workers", "2", "--out", str(tmp_path / "threads")], check=True, capture_output=True)
    same_weights(tmp_path / "mpi", tmp_path / "threads")


def same_weights(ours, theirs):
    for name, block in load_model(theirs).learner.weights().items():
        np.testing.assert_array_equal(load_model(ours).learner.weights()[name], block)


def test_the_bits_of_threads_under_torchrun_on_both(nodes, tmp_path):
    pytest.importorskip("torch")
    words = ["--data", "digits", "--epochs", "5", "--strategy", "periodic:1epoch"]
    before = nodes.sent(2)
    ends = nodes.torchrun(["-m", "manyhands", "train", *words, "--team", "torch", "--out", str(tmp_path / "torch")])
    assert [status for status, _, _ in ends] == [0, 0], ends
    assert nodes.sent(2) > before
    threads = [sys.executable, "-m", "manyhands", "train", *words, "--workers", "2", "--out", str(tmp_path / "threads")]
    subprocess.run(threads, check=True, capture_output=True)
    same_weights(tmp_path / "torch", tmp_path / "threads")


@pytest.fixture(scope="module")
def cluster(nodes):
    reason = slurm_nodes.reason_not_to()
    if reason is not None:
        pytest.skip(reason)
    with slurm_nodes.slurm(nodes) as found:
        yield found


def test_the_bits_of_threads_under_slurm_on_both(nodes, cluster, tmp_path):
    words = [sys.executable, "-m", "manyhands", "train", "--data", "digits", "--epochs", "5"]
    words += ["--strategy", "periodic:1epoch"]
    before = nodes.sent(2)
    cluster.srun([*words, "--team", "mpi", "--out", str(tmp_path / "slurm")], timeout=100)
    assert nodes.sent(2) > before
    subprocess.run([*words, "--workers", "2", "--out", str(tmp_path / "threads")], check=True, capture_output=True)
    same_weights(tmp_path / "slurm", tmp_path / "threads")


def test_what_is_refused_under_slurm_is_said_once(cluster):
    words = [sys.executable, "-m", "manyhands", "train", "--data", "digits", "--team", "mpi", "--epochs", "none"]
    ended = cluster.srun(words, "--kill-on-bad-exit=1", timeout=100, check=False)
    assert ended.returncode  # 2 of the task that said it, or 143 of the one that Slurm ended
    assert ended.stderr.count("is not a whole number") == 1


def test_the_example_for_slurm(cluster, tmp_path):
    example = Path(__file__).parents[2] / "examples" / "slurm.sh"
    cluster.sbatch(example, tmp_path, timeout=100)
    (said,) = tmp_path.glob("manyhands-*.txt")
    assert "accuracy" in said.read_text()
    assert load_model(tmp_path / "model.safetensors").classes.tolist() == list(range(10))


def test_the_example_for_slurm_that_goes_on_after_the_end_of_its_time(cluster, tmp_path, monkeypatch):
    """Slurm's signal before the end, the script's requeue, and the bits of a run that nobody has ended."""
    example = Path(__file__).parents[2] / "examples" / "slurm_requeue.sh"
    monkeypatch.setenv("EPOCHS", "6000")
    monkeypatch.setenv("EVERY", "1s")
    job = cluster.submit(example, tmp_path)
    wait_until(lambda: list(tmp_path.glob("run-*/checkpoint-*")))
    cluster.command("scancel", "--signal=TERM", job)  # what --signal=TERM@60 does, a minute before the end
    wait_until(lambda: "PENDING" in cluster.command("squeue", "--noheader", "-o", "%T"))
    time.sleep(12)  # Slurm itself waits for two minutes: its nodes need some seconds until a step may begin again
    cluster.command("scontrol", "update", f"JobId={job}", "StartTime=now")
    wait_until(lambda: not cluster.command("squeue", "--noheader"), seconds=150)
    said = (tmp_path / f"manyhands-{job}.txt").read_text()
    assert "as asked; --resume run-" in " ".join(said.split())
    assert said.count("going on from") >= 1
    words = ["--data", "digits", "--strategy", "periodic:1epoch", "--epochs", "6000", "--workers", "2"]
    threads = [sys.executable, "-m", "manyhands", "train", *words, "--out", str(tmp_path / "threads")]
    subprocess.run(threads, check=True, capture_output=True)
    same_weights(tmp_path / "model.safetensors", tmp_path / "threads")


def wait_until(what, seconds=90):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.3)
