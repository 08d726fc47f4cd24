"""The order in which position i of every batch has the same label."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.data.aligned import AlignedSampler

SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=8)


def labels_of(sizes):
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int32)


def batches_of(sampler, epochs):
    return np.concatenate([sampler.epoch(number).rows.reshape(sampler.steps_per_epoch, -1) for number in range(epochs)])


@given(sizes=SIZES, data=st.data())
def test_positions_keep_their_labels(sizes, data):
    """Batches that are smaller than the number of classes are parts of a period."""
    labels = labels_of(sizes)
    batch = data.draw(st.integers(1, len(labels)))
    sampler = AlignedSampler(labels, batch, 0, 1, seed=3)
    found = labels[batches_of(sampler, 3)]
    period = -(-len(sizes) // batch)
    for phase in range(period):
        assert (found[phase::period] == found[phase]).all()
    if len(found) >= period:
        assert set(found[:period].ravel()) == set(range(len(sizes)))


@given(sizes=SIZES, data=st.data())
def test_samples_of_a_class_are_used_equally_often(sizes, data):
    labels = labels_of(sizes)
    batch = data.draw(st.integers(1, len(labels)))
    rows = batches_of(AlignedSampler(labels, batch, 0, 1, seed=3), 4)
    uses = np.bincount(rows.ravel(), minlength=len(labels))
    for each in range(len(sizes)):
        assert np.ptp(uses[labels == each]) <= 1


@given(sizes=SIZES, data=st.data())
def test_workers_share_the_batches(sizes, data):
    labels = labels_of(sizes)
    batch = data.draw(st.integers(1, len(labels)))
    size = data.draw(st.integers(1, batch))
    alone = AlignedSampler(labels, batch, 0, 1, seed=3).epoch(1)
    parts = [AlignedSampler(labels, batch, rank, size, seed=3).epoch(1) for rank in range(size)]
    steps = alone.steps
    together = np.concatenate([part.rows.reshape(steps, -1) for part in parts], axis=1)
    np.testing.assert_array_equal(together, alone.rows.reshape(steps, batch))
    assert all((part.global_rows == batch).all() for part in parts)


def test_equal_classes_are_used_once_an_epoch():
    labels = np.repeat(np.arange(10), 20).astype(np.int32)
    sampler = AlignedSampler(labels, 50, 0, 1, seed=0)
    for number in range(3):
        assert (np.bincount(sampler.epoch(number).rows, minlength=200) == 1).all()
    assert (np.bincount(labels[sampler.epoch(0).rows[:50]]) == 5).all()


def test_it_is_a_function_of_seed_and_epoch():
    labels = labels_of([30, 40, 50])

    def rows(seed, number, first=0):
        return AlignedSampler(labels, 12, 0, 1, seed, first).epoch(number).rows

    np.testing.assert_array_equal(rows(1, 2), rows(1, 2))
    np.testing.assert_array_equal(rows(1, 0, first=2), rows(1, 2))
    assert (rows(1, 2) != rows(2, 2)).any()
    assert (rows(1, 2) != rows(1, 3)).any()


@pytest.mark.parametrize(("batch", "epochs"), [(12, 1), (7, 2)])
def test_classes_in_proportion(batch, epochs):
    labels = labels_of([100, 200, 300])
    found = labels[batches_of(AlignedSampler(labels, batch, 0, 1, seed=0), epochs)]
    wanted = batch * np.array([1, 2, 3]) / 6
    assert (np.abs(np.bincount(found[0]) - wanted) < 1).all()
