"""What goes into files comes back, and what strangers write is refused."""

import numpy as np
import pytest

from manyhands.learners.sums.settings import SumsSettings
from manyhands.learners.sums.trees import codes, dividing, search
from manyhands.learners.sums.trees.forest import ForestLearner
from manyhands.learners.sums.trees.tree import TreeLearner


@pytest.mark.parametrize("kind", [TreeLearner, ForestLearner])
def test_weights_come_back(alone, grow, same_bits, digits, kind):
    rows, labels = digits
    table = alone.samples(rows, labels)
    learner = grow(kind, table, 10, n_estimators=3)[0]
    other = kind(SumsSettings(), 64, 10)
    other.load_weights(learner.weights())
    assert same_bits(learner, other)
    np.testing.assert_array_equal(learner.predict_proba(table), other.predict_proba(table))
    other = kind(SumsSettings(), 64, 10)
    other.load_state(learner.state())
    assert same_bits(learner, other)


def changed(name, index, value):
    """Return what writes a value into a block."""

    def change(blocks):
        blocks[name][index] = value

    return change


def without(name):
    return lambda blocks: blocks.pop(name)


def cast(name, dtype):
    return lambda blocks: blocks.update({name: blocks[name].astype(dtype)})


DAMAGES = [
    (changed("children_left", 0, 0), "behind its parent's"),
    (changed("children_right", 1, 1), "behind its parent's"),
    (changed("children_left", 0, 10**6), "not that of a node"),
    (changed("children_left", 0, -7), "behind its parent's"),
    (changed("children_left", 0, -1), "one child"),
    (changed("children_left", 0, 2), "exactly one parent"),
    (changed("feature", 0, 64), "none of the 64 features"),
    (changed("feature", 0, -1), "none of the 64 features"),
    (changed("threshold", 0, np.nan), "threshold"),
    (changed("value", 0, np.inf), "value"),
    (changed("n_node_samples", 0, 0), "no samples"),
    (changed("tree_sizes", 0, 3), "shape"),
    (changed("tree_sizes", 0, -3), "tree_sizes"),
    (changed("binned", 0, 2), "binned"),
    (without("feature"), "no feature"),
    (without("binned"), "binned"),
    (cast("threshold", np.float32), "float32"),
    (cast("children_left", np.int64), "int64"),
    (lambda blocks: blocks.update({name: array[:-1] for name, array in blocks.items() if name == "value"}), "shape"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGES, ids=[words for _, words in DAMAGES])
def test_damaged_weights_are_refused(alone, grow, digits, damage, words):
    rows, labels = digits
    blocks = grow(TreeLearner, alone.samples(rows, labels), 10, max_depth=4)[0].weights()
    damage(blocks)
    with pytest.raises(ValueError, match=words):
        TreeLearner(SumsSettings(), 64, 10).load_weights(blocks)


def test_a_forest_is_no_tree_and_other_classes_are_refused(alone, grow, digits):
    rows, labels = digits
    blocks = grow(ForestLearner, alone.samples(rows, labels), 10, n_estimators=2)[0].weights()
    with pytest.raises(ValueError, match="one tree"):
        TreeLearner(SumsSettings(), 64, 10).load_weights(blocks)
    with pytest.raises(ValueError, match="shape"):
        ForestLearner(SumsSettings(), 64, 11).load_weights(blocks)


KERNELS = [codes.find_codes, codes.transpose, dividing.plant, dividing.advance, dividing.depth_first, search.search]
FORMS = [(np.uint8, None), (np.float64, None), (np.float32, np.float64)]


@pytest.mark.parametrize("kind", [TreeLearner, ForestLearner])
@pytest.mark.parametrize(("dtype", "weights"), FORMS)
def test_after_prepare_nothing_is_compiled(alone, grow, digits, kind, dtype, weights):
    rows, labels = digits
    weights = None if weights is None else np.linspace(0.1, 1, len(rows), dtype=weights)
    table = alone.samples(rows.astype(dtype), labels, weights=weights)
    kind(SumsSettings(), 64, 10).prepare(table)
    before = [len(kernel.signatures) for kernel in KERNELS]
    learner = grow(kind, table, 10, 2, n_estimators=2)[0]
    learner.predict_proba(table)
    assert [len(kernel.signatures) for kernel in KERNELS] == before
