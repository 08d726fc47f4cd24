"""Inputs that are zero in a whole batch take part in no product, and nothing but time changes by that."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.core.samples import Control, Order, Samples
from manyhands.learners.mlp.learner import MLP
from manyhands.learners.mlp.settings import MLPSettings

HIDDEN = [(), (20,), (20, 30), (1100,)]
CLASSES = 4


def order_of(*batches) -> Order:
    rows = np.concatenate([np.asarray(batch, np.int32) for batch in batches])
    bounds = np.cumsum([0, *map(len, batches)]).astype(np.int64)
    return Order(rows, bounds, np.array([max(len(batch), 1) for batch in batches], np.int32))


def table_of(features, rng, scale=None, shift=None) -> Samples:
    rows, count = features.shape
    return Samples(
        features,
        rng.integers(0, CLASSES, rows).astype(np.int32),
        rng.uniform(0.5, 1.5, count) / (255 if features.dtype == np.uint8 else 1) if scale is None else scale,
        np.zeros(count) if shift is None else shift,
    )


def sparse(rng, dtype, rows=40, count=50, share=0.4):
    """Return features of which some columns are zero, and which these are."""
    if dtype == "uint8":
        features = rng.integers(0, 256, (rows, count)).astype(np.uint8)
    else:
        features = rng.normal(size=(rows, count)).astype(dtype)
    features[rng.random(features.shape) < 0.3] = 0
    zero = rng.random(count) < share
    features[:, zero] = 0
    return features, zero


def started(hidden, activation="relu", count=50, seed=0, **changes) -> MLP:
    learner = MLP(MLPSettings(hidden, activation, **changes), count, CLASSES)
    learner.initialize(np.random.default_rng(seed))
    rng = np.random.default_rng(seed + 1)
    for layer in range(learner.layout.layers):
        biases = learner.layout.biases(learner.parameters, layer)
        biases[:] = rng.normal(0, 0.3, len(biases))
    return learner


def reference(learner, table, batch):
    """Return probabilities, loss and the gradient's blocks, in double precision, with all inputs."""
    blocks = {name: block.astype(np.float64) for name, block in learner.weights().items()}
    last = learner.layout.layers - 1
    relu = learner.settings.activation == "relu"
    values = [table.features[batch].astype(np.float64) * table.scale + table.shift]
    for layer in range(last + 1):
        z = values[-1] @ blocks[f"weights.{layer}"] + blocks[f"biases.{layer}"]
        if layer < last:
            z = np.maximum(z, 0) if relu else np.tanh(z)
        values.append(z)
    logits = values.pop()
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    own = table.labels[batch]
    loss = -np.log(probabilities[np.arange(len(own)), own]).mean()
    delta = (probabilities - np.eye(CLASSES)[own]) / len(own)
    gradient = {}
    for layer in range(last, -1, -1):
        gradient[f"weights.{layer}"] = values[layer].T @ delta
        gradient[f"biases.{layer}"] = delta.sum(axis=0)
        slope = (values[layer] > 0) if relu else 1 - values[layer] ** 2
        delta = (delta @ blocks[f"weights.{layer}"].T) * slope
    return probabilities, loss, gradient


def compare(learner, table, batch):
    """Compare loss, gradient and probabilities of a batch with the reference; return the gradient."""
    out = np.full(learner.size, 7, learner.dtype)
    loss = learner.gradient(table, order_of(batch), out)
    probabilities, expected_loss, expected = reference(learner, table, batch)
    assert loss == pytest.approx(expected_loss, rel=1e-4)
    for layer in range(learner.layout.layers):
        for name, found in (
            (f"weights.{layer}", learner.layout.weights(out, layer)),
            (f"biases.{layer}", learner.layout.biases(out, layer)),
        ):
            # Sums of opposite addends are smaller than their rounding in single precision.
            smallest = max(1e-4 * np.abs(expected[name]).max(), 1e-7)
            np.testing.assert_allclose(found, expected[name], rtol=1e-4, atol=smallest, err_msg=name)
    part = Samples(table.features[batch], table.labels[batch], table.scale, table.shift)
    np.testing.assert_allclose(learner.predict_proba(part), probabilities, rtol=1e-4, atol=1e-6)
    return out


def rows_of_first_layer(learner, vector):
    """Return the first layer's weights, padding included."""
    count, width = learner.layout.widths[:2]
    return vector[: count * width].reshape(count, width)


# Against NumPy.


@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_gradients_and_predictions_are_numpys(hidden, activation, dtype):
    rng = np.random.default_rng(HIDDEN.index(hidden))
    features, zero = sparse(rng, dtype)
    learner = started(hidden, activation)
    gradient = compare(learner, table_of(features, rng), np.arange(3, 36))
    rows = rows_of_first_layer(learner, gradient)
    assert not rows[zero].any()
    assert rows[~zero].any(axis=1).all()


@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
def test_in_double_precision_too(hidden):
    rng = np.random.default_rng(5)
    features, zero = sparse(rng, "float64")
    learner = started(hidden, "tanh", dtype="float64")
    assert not rows_of_first_layer(learner, compare(learner, table_of(features, rng), np.arange(40)))[zero].any()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.booleans(), min_size=1, max_size=150),
    st.integers(1, 40),
    st.sampled_from(["uint8", "float32", "float64"]),
    st.sampled_from([(), (1,), (20, 30), (70,)]),
)
def test_whichever_inputs_are_zero(zero, rows, dtype, hidden):
    rng = np.random.default_rng(rows)
    features, _ = sparse(rng, dtype, rows, len(zero), 0)
    features[:, zero] = 0
    learner = started(hidden, "tanh", len(zero))
    gradient = compare(learner, table_of(features, rng), np.arange(rows))
    assert not rows_of_first_layer(learner, gradient)[(features == 0).all(axis=0)].any()


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_an_input_is_active_if_a_single_row_of_the_batch_has_it(dtype):
    rng = np.random.default_rng(6)
    features = np.zeros((40, 50), dtype)
    features[17, 23] = 1
    learner, table = started((20,)), table_of(features, rng)
    for batch, active in ((np.arange(40), [23]), (np.arange(17), []), (np.arange(18), [23]), ([39, 17], [23])):
        rows = rows_of_first_layer(learner, compare(learner, table, batch))
        assert np.flatnonzero(rows.any(axis=1)).tolist() == active


@pytest.mark.parametrize("count", [1, 15, 16, 17, 63, 64, 65, 129])
def test_any_number_of_inputs_of_which_one_is_active(count):
    rng = np.random.default_rng(count)
    for place in {0, count // 2, count - 1}:
        features = np.zeros((9, count), np.uint8)
        features[:, place] = rng.integers(1, 256, 9)
        learner = started((20,), "tanh", count)
        rows = rows_of_first_layer(learner, compare(learner, table_of(features, rng), np.arange(9)))
        assert np.flatnonzero(rows.any(axis=1)).tolist() == [place]


@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_a_batch_that_is_all_zeros_works(hidden, dtype):
    rng = np.random.default_rng(7)
    features, _ = sparse(rng, dtype)
    features[:20] = 0
    learner, table = started(hidden, "tanh"), table_of(features, rng)
    for batch in (np.arange(20), np.arange(40), np.arange(20), [3]):
        gradient = compare(learner, table, batch)
        assert rows_of_first_layer(learner, gradient).any() == (len(batch) == 40)
    assert np.isfinite(take_steps(learner, table, order_of(range(20), range(40), range(20)))).all()


@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_a_zero_that_is_shifted_is_an_input_like_any_other(hidden, dtype):
    rng = np.random.default_rng(8)
    features, zero = sparse(rng, dtype)
    shift = np.where(rng.random(50) < 0.5, rng.normal(size=50), 0)
    assert (zero & (shift != 0)).any()
    assert (zero & (shift == 0)).any()
    learner = started(hidden, "tanh")
    gradient = compare(learner, table_of(features, rng, shift=shift), np.arange(40))
    active = rows_of_first_layer(learner, gradient).any(axis=1)
    assert active.tolist() == (~zero | (shift != 0)).tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_minus_zero_is_zero_and_what_is_not_a_number_is_found_out(dtype):
    rng = np.random.default_rng(9)
    features, _ = sparse(rng, dtype)
    features[:, 4] = -0.0
    learner, table = started((20,)), table_of(features, rng)
    assert not rows_of_first_layer(learner, compare(learner, table, np.arange(40)))[4].any()
    features[39, 4] = np.nan
    out = np.zeros(learner.size, np.float32)
    assert np.isnan(learner.gradient(table, order_of(range(40)), out))
    assert np.isfinite(learner.gradient(table, order_of(range(39)), out))


# In parts and in one go.


def take_steps(learner, table, order, rate=0.01):
    control = Control(np.zeros(1, np.int64), np.zeros(1, np.int64))
    return learner.run(table, order, np.full(order.steps, rate), control).losses


def batches_of_changing_inputs(rng, dtype, count):
    """Return a table in which other inputs are zero in each batch of 10 rows, and 30 such batches."""
    features, _ = sparse(rng, dtype, 60, count, 0.2)
    for begin in range(0, 60, 10):
        features[begin : begin + 10, rng.random(count) < 0.5] = 0
    batches = [np.arange(10) + 10 * (step % 6) for step in range(28)]
    return table_of(features, rng), [*batches, np.arange(60), np.arange(3)]


@pytest.mark.parametrize("l2", [0, 0.01])
@pytest.mark.parametrize("hidden", [*HIDDEN, (1000,)], ids=str)
@pytest.mark.parametrize(
    ("dtype", "count", "optimizer"),
    [("uint8", 300, "adam"), ("uint8", 50, "sgd"), ("float32", 50, "adam"), ("float64", 50, "sgd")],
)
def test_steps_in_parts_have_the_bits_of_a_run(hidden, optimizer, dtype, count, l2):
    rng = np.random.default_rng(10)
    table, batches = batches_of_changing_inputs(rng, dtype, count)
    whole, parts = (started(hidden, "relu", count, optimizer=optimizer, l2=l2) for _ in range(2))
    losses = take_steps(whole, table, order_of(*batches))
    gradient, found = np.zeros(parts.size, np.float32), []
    for batch in batches:
        loss = parts.gradient(table, order_of(batch), gradient)
        found.append(loss + parts.apply(gradient, 0.01, len(batch)))
    assert parts.parameters.tobytes() == whole.parameters.tobytes()
    # The penalty, from which nothing is computed, is summed up in other pieces, each in single precision.
    np.testing.assert_allclose(found, losses, rtol=0 if l2 == 0 else 1e-5)


def test_a_run_is_that_of_the_inputs_that_are_left():
    """Zero columns between the others change no bit of them, nor do they move themselves."""
    rng = np.random.default_rng(11)
    features, _ = sparse(rng, "float32", 60, 40, 0)
    places = np.sort(rng.choice(90, 40, replace=False))
    wide = np.zeros((60, 90), np.float32)
    wide[:, places] = features
    few, many = started((20,), count=40, l2=0), started((20,), count=90, l2=0)
    blocks, others = few.weights(), many.weights()
    still = others["weights.0"].copy()
    others = {**blocks, "weights.0": others["weights.0"]}
    others["weights.0"][places] = blocks["weights.0"]
    many.load_weights(others)
    scale, labels = rng.uniform(0.5, 1.5, 90), rng.integers(0, CLASSES, 60).astype(np.int32)
    order = order_of(*[range(20), range(20, 40), range(40, 60)] * 5)
    one = take_steps(few, Samples(features, labels, scale[places], np.zeros(40)), order)
    two = take_steps(many, Samples(wide, labels, scale, np.zeros(90)), order)
    np.testing.assert_allclose(one, two, rtol=1e-5)
    np.testing.assert_allclose(few.weights()["weights.0"], many.weights()["weights.0"][places], atol=1e-4)
    idle = np.setdiff1d(np.arange(90), places)
    assert (many.weights()["weights.0"][idle] == still[idle]).all()


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_predictions_with_inputs_that_only_some_batches_have(dtype):
    """Rows are predicted 256 at a time: the first of them are zero in all columns but one."""
    rng = np.random.default_rng(12)
    features, _ = sparse(rng, dtype, 600)
    features[:256, 1:] = 0
    learner, table = started((20, 30), "tanh"), table_of(features, rng)
    expected, _, _ = reference(learner, table, np.arange(600))
    np.testing.assert_allclose(learner.predict_proba(table), expected, rtol=1e-4, atol=1e-6)
