"""What the compiled functions of trees take: tuples of arrays and numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

GINI, ENTROPY, SQUARED, POISSON = range(4)
CODES = 256
"""Codes of a feature: those of one byte."""
CHUNK = 4096
"""Rows that are looked at together: their codes, and what is made of them, stay in the first-level cache."""
NONE = CODES
"""A code that no row has."""
PROXY, FEATURE, CODE, THRESHOLD, PLACE = range(5)
"""Columns of what a search finds for a node."""
FOUND = 5


class Coded(NamedTuple):
    """All samples as codes: a larger code is a larger input."""

    codes: Any
    """uint8 (features, rows)."""
    low: Any
    """float32 (features, CODES): the smallest input that has the code."""
    high: Any
    """float32 (features, CODES): the largest; the same but for features that are binned."""
    common: Any
    """int32 (features,): a frequent code of each feature, which need not be counted, or NONE."""


class Members(NamedTuple):
    """The samples of all nodes, node by node, in ascending order in each; and room to divide a node."""

    rows: Any
    """uint32."""
    labels: Any
    """int32."""
    weights: Any
    """int32 or float64."""
    targets: Any
    """float64; of classifiers, empty."""
    spare_rows: Any
    spare_labels: Any
    spare_weights: Any
    spare_targets: Any


class Nodes(NamedTuple):
    """Nodes in the order in which they were made, level by level."""

    left: Any
    right: Any
    """int32: -1 for none."""
    feature: Any
    """int32."""
    threshold: Any
    impurity: Any
    improvement: Any
    count: Any
    """int64: samples."""
    weight: Any
    """float64: of these samples."""
    totals: Any
    """float64 (nodes, K): weight of each class, or the sum of weighted targets."""
    start: Any
    """int64: where the node's samples are in `Members`."""
    depth: Any
    """int32."""


class Node(NamedTuple):
    """An open node."""

    number: int
    begin: int
    samples: int
    weight: Any
    squares: Any
    """The sum of the squares of `totals`."""
    totals: Any
    """(K,), int64 or float64."""


class Rule(NamedTuple):
    """How nodes are split."""

    kind: int
    integral: bool
    """Whether weights are whole numbers: then sums are exact, whatever their order."""
    random: bool
    drawn: int
    """Features that are drawn for a node."""
    depth: int
    least_split: int
    least_rows: int
    least_weight: float
    least_decrease: float
    total: float
    """Weight of all samples."""
    key: Any
    """uint64: everything random is a hash of it."""
    order: Any
    """int32 (F,): the features in a random order; of equally good ones, the first in it is taken."""
    rank: Any
    """int32 (F,): the place of each feature in that order."""


class Work(NamedTuple):
    """Memory for one feature of one node."""

    keys: Any
    """int32 (CHUNK + 16,): code and place of each sample that has not the common code."""
    sorted: Any
    """int32 (CHUNK,): the keys, sorted."""
    counts: Any
    """int32 (CODES,): samples of each code. Zeros between two uses, as is `sums`."""
    sums: Any
    """(CODES * K,), dtype of the weights: weight of each class for each code; of targets, weights and sums."""
    groups: Any
    """int32 (CODES + 1,): the codes that occur, in ascending order."""
    ends: Any
    """int32 (CODES + 1,): how many samples have each of these or a smaller one."""
    moved: Any
    """(K,), int64 or float64."""
    logs: Any
    """float64: x log x of whole numbers, for entropy; else empty."""
    permutation: Any
    swaps: Any
    """int32 (features,)."""
