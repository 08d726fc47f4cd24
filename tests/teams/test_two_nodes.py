"""MPI jobs over a network: two nodes with addresses of their own, and a host file."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from manyhands.training.loading import load_model

PATH = Path(__file__).parents[2] / "scripts" / "two_nodes.py"
SPEC = importlib.util.spec_from_file_location("two_nodes", PATH)
module = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(module)

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
    ours, theirs = (load_model(tmp_path / name).learner.weights() for name in ("mpi", "threads"))
    for name, block in theirs.items():
        np.testing.assert_array_equal(ours[name], block)


def test_the_bits_of_threads_under_torchrun_on_both(nodes, tmp_path):
    pytest.importorskip("torch")
    words = ["--data", "digits", "--epochs", "5", "--strategy", "periodic:1epoch"]
    before = nodes.sent(2)
    ends = nodes.torchrun(["-m", "manyhands", "train", *words, "--team", "torch", "--out", str(tmp_path / "torch")])
    assert [status for status, _, _ in ends] == [0, 0], ends
    assert nodes.sent(2) > before
    threads = [sys.executable, "-m", "manyhands", "train", *words, "--workers", "2", "--out", str(tmp_path / "threads")]
    subprocess.run(threads, check=True, capture_output=True)
    ours, theirs = (load_model(tmp_path / name).learner.weights() for name in ("torch", "threads"))
    for name, block in theirs.items():
        np.testing.assert_array_equal(ours[name], block)
