"""Who is left out depends on a row, not on who has it: threads and jobs have the same bits."""

import numpy as np
import pytest

import manyhands
from manyhands.core.samples import Control, Order, Samples

WORDS = {"hidden": (12,), "dropout": 0.4, "epochs": 2, "batch": 24}


def test_a_share_of_its_own_table_has_the_masks_of_the_whole():
    from manyhands.learners.mlp.learner import MLP
    from manyhands.learners.mlp.settings import MLPSettings

    rng = np.random.default_rng(0)
    features, labels = rng.integers(0, 255, (40, 6)).astype(np.uint8), rng.integers(0, 3, 40).astype(np.int32)
    scale, shift = np.full(6, 1 / 255), np.zeros(6)
    whole, part = (
        Samples(features, labels, scale, shift),
        Samples(features[20:], labels[20:], scale, shift, first_row=20),
    )
    trained = []
    for table, first in ((whole, 20), (part, 0)):
        learner = MLP(MLPSettings((8,), dropout=0.5), 6, 3, seed=1)
        learner.initialize(np.random.default_rng(2))
        rows = np.arange(first, first + 20, dtype=np.int32)
        order = Order(np.tile(rows, 3), np.arange(0, 61, 20), np.full(3, 20, np.int32))
        learner.run(table, order, np.full(3, 0.1), Control(np.zeros(1, np.int64), np.zeros(1, np.int64)))
        trained.append(learner.parameters.copy())
    np.testing.assert_array_equal(*trained)


@pytest.mark.parametrize("strategy", [pytest.param("one-shot", marks=pytest.mark.slow), "gradient"])
def test_jobs_have_the_bits_of_threads(blobs, strategy):
    pytest.importorskip("mpi4py")
    found = [
        manyhands.train(blobs, strategy=strategy, workers=2, team=team, seed=3, **WORDS).model.learner.parameters
        for team in ("threads", "mpi")
    ]
    np.testing.assert_array_equal(*found)
