"""What evaluation says of networks that are no good: probabilities that are no numbers."""

import numpy as np
import pytest

import manyhands
from manyhands.core.errors import DataError, DivergedError
from manyhands.core.randomness import generator
from manyhands.data.dataset import Dataset, Examples, make_dataset
from manyhands.learners import make_learner
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.training.evaluation import evaluate

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(200, 30))
LABELS = (ROWS[:, 0] > 0).astype(int) + (ROWS[:, 1] > 1)


def with_test_row(value: float) -> Dataset:
    test = ROWS.copy()
    test[7] = np.sign(test[7]) * value
    return make_dataset("some", Examples(ROWS, LABELS), Examples(test, LABELS))


@pytest.mark.parametrize("how", [{}, {"workers": 2, "strategy": "one-shot:merge=ensemble"}], ids=["one", "ensemble"])
def test_a_test_row_whose_probabilities_are_no_numbers_is_an_error(how):
    with pytest.raises(DataError, match=r"test row 8: the probabilities are not finite numbers \(1 such rows\)"):
        manyhands.train(with_test_row(3e38), hidden=(50,), epochs=2, batch=20, **how)


def test_if_it_is_no_larger_than_training_rows_the_network_has_diverged():
    dataset = with_test_row(1.0)
    learner = make_learner("mlp", MLPSettings((50,)), 30, 3)
    learner.initialize(generator(0, "init"))
    learner.parameters[:] = np.sign(learner.parameters) * 1e38
    with np.errstate(all="ignore"), pytest.raises(DivergedError, match="step 9"):
        evaluate(learner, dataset, 9)
