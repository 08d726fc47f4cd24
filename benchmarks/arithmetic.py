"""How many operations training needs, counted on paper."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
from files import load_mnist
from workloads import ROWS


def operations(widths: tuple[int, ...]) -> int:
    """Return the useful operations of one row in one step: products only, a multiplication and an addition each.

    Forwards and for the gradient of the weights once per layer; for the deltas in every layer behind the first, as
    nobody needs the gradient of the inputs.
    """
    products = [inputs * outputs for inputs, outputs in itertools.pairwise(widths)]
    return 2 * (2 * sum(products) + sum(products[1:]))


@cache
def active_columns(batch: int) -> float:
    """Return the mean number of pixels that are not zero in all rows of a shuffled batch of the first 6,000 images."""
    inked = load_mnist().train.features[:ROWS] > 0
    order = np.random.default_rng(0).permutation(ROWS)
    whole = [order[at : at + batch] for at in range(0, ROWS - batch + 1, batch)]
    return float(np.mean([inked[rows].any(axis=0).sum() for rows in whole]))


def operations_done(widths: tuple[int, ...], batch: int) -> float:
    """Return the same without the products of pixels that are zero in the whole batch, which our kernels leave out."""
    pixels, first, *_ = widths
    return operations(widths) - 2 * 2 * (pixels - active_columns(batch)) * first
