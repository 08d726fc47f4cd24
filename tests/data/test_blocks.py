"""Blocks cover all rows once, and are the same blocks however many workers divide them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.core.samples import BLOCK_ROWS
from manyhands.data.blocks import blocks_of


def pieces(order):
    return [order.rows[start:end].tolist() for start, end in zip(order.bounds, order.bounds[1:], strict=False)]


@given(rows=st.integers(1, 5000), size=st.integers(1, 9), classes=st.integers(0, 7), seed=st.integers(0, 9))
def test_the_blocks_of_n_workers_are_those_of_one(rows, size, classes, seed):
    labels = np.random.default_rng(seed).integers(0, classes, rows).astype(np.int32) if classes else None
    alone = pieces(blocks_of(rows, 0, 1, labels))
    shared = [blocks_of(rows, rank, size, labels) for rank in range(size)]
    assert [piece for order in shared for piece in pieces(order)] == alone
    assert sorted(row for piece in alone for row in piece) == list(range(rows))
    assert all(0 < len(piece) <= BLOCK_ROWS for piece in alone)
    if labels is not None:
        assert all(len(set(labels[piece])) == 1 for piece in alone)


@pytest.mark.parametrize("rows", [6_000, 60_000, 1_000_000])
@pytest.mark.parametrize("size", [2, 3, 4, 6])
def test_workers_have_nearly_the_same_number_of_rows(rows, size):
    counts = [blocks_of(rows, rank, size).examples for rank in range(size)]
    assert max(counts) <= 1.1 * rows / size
