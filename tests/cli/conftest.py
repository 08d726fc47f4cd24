import numpy as np
import pytest

from manyhands.learners import make_learner
from manyhands.learners.mlp.network import MLPSettings
from manyhands.protocols import Table
from manyhands.teams import mpi, threads


@pytest.fixture(autouse=True, scope="session")
def _compiled():
    """Compile before anybody looks at what commands print: the first one that compiles says so."""
    for dtype in (np.uint8, np.float32):
        rows, labels = np.zeros((1, 3), dtype), np.zeros(1, np.int32)
        scale, shift = np.ones(3), np.zeros(3)
        make_learner("mlp", MLPSettings(), 3, 2).prepare(Table(rows, labels, scale, shift))
    for dtype in (np.float32, np.float64):
        threads.warm_up(np.dtype(dtype))
        mpi.warm_up(np.dtype(dtype))
