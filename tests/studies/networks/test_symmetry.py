"""Neurons that read the same with the same weights count as one."""

import numpy as np

from manyhands.studies.networks.symmetry import distinct_neurons


def layers(*pairs):
    return {
        f"{kind}.{k}": np.array(block)
        for k, pair in enumerate(pairs)
        for kind, block in zip(("weights", "biases"), pair, strict=True)
    }


LAST = ([[1.0, 2.0]], [0.0, 0.0])


def test_columns_are_compared_with_their_biases():
    same, other = [1.0, 2.0, 3.0], [1.0, 2.0, 3.5]
    weights = np.array([same, same, other, same]).T
    assert distinct_neurons(layers((weights, [1.0, 1.0, 1.0, 2.0]), LAST)) == [3]


def test_a_thousandth_of_the_largest_is_no_difference():
    weights = [[100.0, 100.09, 100.2]]
    assert distinct_neurons(layers((weights, [0.0] * 3), LAST)) == [2]


def test_every_hidden_layer_and_not_the_last():
    random = np.random.default_rng(0).normal(size=(5, 6))
    assert distinct_neurons(layers((random, [0.0] * 6), (np.ones((6, 4)), [0.0] * 4), LAST)) == [6, 1]
    assert distinct_neurons(layers(LAST)) == []


def test_all_zero():
    assert distinct_neurons(layers((np.zeros((3, 4)), [0.0] * 4), LAST)) == [1]
