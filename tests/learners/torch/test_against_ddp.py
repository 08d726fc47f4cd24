"""Averaged gradients are those of PyTorch's DistributedDataParallel, which runs here in two processes."""

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from manyhands.data.sampler import BatchSampler  # noqa: E402
from manyhands.training.resolve import resolve  # noqa: E402
from manyhands.training.run import run  # noqa: E402
from manyhands.training.spec import RunSpec  # noqa: E402

BATCH, SEED, EPOCHS = 50, 3, 1
DDP = """
import sys, numpy as np, torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from manyhands.learners.torch.networks import maker

folder, rank = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
with np.load(f"{folder}/given.npz") as given:
    module = maker("cnn-small", (1, 28, 28), 10)()
    module.load_state_dict({name[7:]: torch.from_numpy(given[name]) for name in given if name.startswith("module.")})
    model = DistributedDataParallel(module)
    optimizer = torch.optim.Adam(model.parameters(), 0.001)
    inputs, labels, rows = torch.from_numpy(given["inputs"]), torch.from_numpy(given["labels"]), given[f"rows{rank}"]
    for part in rows.reshape(20, -1):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[part]), labels[part]).backward()
        optimizer.step()
np.savez(f"{folder}/found{rank}.npz", **{name: block.numpy() for name, block in module.state_dict().items()})
torch.distributed.destroy_process_group()  # its threads would outlive the program
"""


@pytest.mark.slow
def test_twenty_steps(mnist, tmp_path):
    how = {"learner": "cnn-small", "precision": "float32", "batch": BATCH, "epochs": EPOCHS, "seed": SEED}
    part = mnist.train.take(slice(1000))
    data = type(mnist)("part", part, mnist.test.take(slice(100)), mnist.classes, mnist.scaling)

    def trained(strategy, workers, **start):
        plan = resolve(RunSpec().changed(strategy=strategy, workers=workers, **how), data)
        return run(plan, data, **start).model.learner

    start = trained("sequential", 1)
    start.initialize(np.random.default_rng(0))
    state = start.state()
    orders = [BatchSampler(1000, BATCH, rank, 2, "global", SEED).epoch(0).rows for rank in range(2)]
    given = {"inputs": part.inputs().astype(np.float32).reshape(-1, 1, 28, 28), "labels": part.labels.astype(np.int64)}
    np.savez(tmp_path / "given.npz", **given, rows0=orders[0], rows1=orders[1], **start.weights())
    commands = [[sys.executable, "-c", DDP, str(tmp_path), str(rank)] for rank in range(2)]
    processes = [subprocess.Popen(command) for command in commands]
    shared, alone = trained("gradient", 2, start=state), trained("sequential", 1, start=state)
    assert [process.wait(120) for process in processes] == [0, 0]
    with np.load(tmp_path / "found0.npz") as theirs:
        for name in theirs:
            ours = shared.weights()[f"module.{name}"]
            np.testing.assert_allclose(ours, theirs[name], atol=1e-4)
            np.testing.assert_allclose(ours, alone.weights()[f"module.{name}"], atol=1e-4)
            assert np.abs(ours - np.load(tmp_path / "given.npz")[f"module.{name}"]).max() > 1e-3
