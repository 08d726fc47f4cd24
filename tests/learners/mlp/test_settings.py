import math

import numpy as np
import pytest

from manyhands.core.errors import SettingsError
from manyhands.learners.mlp.layout import Layout, initialize
from manyhands.learners.mlp.settings import MLPSettings, padded


@pytest.mark.parametrize(("width", "stored"), [(1, 16), (10, 16), (16, 16), (75, 80), (100, 112), (512, 512)])
def test_layers_are_stored_in_whole_registers(width, stored):
    assert padded(width) == stored


def test_layers_lie_one_behind_the_other():
    # 3 inputs, 5 hidden (stored 16), 2 classes (stored 16): W1 3*16, b1 16, W2 16*16, b2 16
    layout = Layout(3, (5,), 2)
    assert layout.weight_at.tolist() == [0, 64]
    assert layout.bias_at.tolist() == [48, 64 + 256]
    assert layout.size == 64 + 256 + 16


def test_views_write_into_the_vector():
    layout = Layout(3, (5,), 2)
    vector = np.zeros(layout.size, np.float32)
    layout.weights(vector, 1)[4, 1] = 7  # row 4, column 1 of a block with 16 columns
    layout.biases(vector, 0)[2] = 8
    assert vector[64 + 4 * 16 + 1] == 7
    assert vector[48 + 2] == 8
    assert layout.weights(vector, 1).shape == (5, 2)


@pytest.mark.parametrize(("activation", "factor"), [("relu", 6), ("logistic", 2)])
def test_start_is_glorots_uniform_distribution(activation, factor):
    layout = Layout(30, (50,), 4)
    vector = np.ones(layout.size)
    initialize(vector, layout, MLPSettings(activation=activation), np.random.default_rng(0))
    bound = math.sqrt(factor / 80)
    weights = layout.weights(vector, 0)
    assert 0.98 * bound < np.abs(weights).max() <= bound
    assert abs(weights.std() - bound / math.sqrt(3)) < 0.02 * bound
    assert 0 < np.abs(layout.biases(vector, 0)).max() <= bound


def test_padding_starts_as_zero():
    layout = Layout(3, (5,), 2)
    vector = np.ones(layout.size)
    initialize(vector, layout, MLPSettings(activation="relu"), np.random.default_rng(0))
    real = 3 * 5 + 5 + 5 * 2 + 2
    assert np.count_nonzero(vector) == real


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden": (0,)},
        {"hidden": (5, -1)},
        {"activation": "step"},
        {"optimizer": "lbfgs"},
        {"learning_rate": 0},
        {"learning_rate": math.nan},
        {"l2": -1},
        {"l2": math.inf},
        {"momentum": 1.0},
        {"beta_1": -0.1},
        {"beta_2": 1.0},
        {"epsilon": 0.0},
        {"dtype": "float16"},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SettingsError, match=str(next(iter(wrong)).split("_")[0])):
        MLPSettings(**wrong)
