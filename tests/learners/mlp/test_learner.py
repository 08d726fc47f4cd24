"""The multilayer perceptron against numbers worked out by hand, numeric gradients and scikit-learn."""

import itertools
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from manyhands.core.errors import DivergedError, SettingsError
from manyhands.core.samples import Control, Order, Samples
from manyhands.learners.mlp.learner import MLP
from manyhands.learners.mlp.settings import ACTIVATIONS, MLPSettings


def table_of(features, labels, scale=None, shift=None) -> Samples:
    features = np.atleast_2d(features)
    count = features.shape[1]
    return Samples(
        features,
        np.asarray(labels, np.int32),
        np.ones(count) if scale is None else np.asarray(scale, np.float64),
        np.zeros(count) if shift is None else np.asarray(shift, np.float64),
    )


def order_of(*batches) -> Order:
    rows = np.array(list(itertools.chain(*batches)), np.int32)
    bounds = np.cumsum([0, *map(len, batches)]).astype(np.int64)
    return Order(rows, bounds, np.array([max(len(batch), 1) for batch in batches], np.int32))


def fresh_control() -> Control:
    return Control(np.zeros(1, np.int64), np.zeros(1, np.int64))


def take_steps(learner, table, order, rate=0.1):
    return learner.run(table, order, np.full(order.steps, rate), fresh_control()).losses


def random_table(rng, rows=40, features=6, classes=3, dtype=np.float64) -> Samples:
    return table_of(rng.normal(size=(rows, features)).astype(dtype), rng.integers(0, classes, rows))


def started(settings, features=6, classes=3, seed=0) -> MLP:
    learner = MLP(settings, features, classes)
    learner.initialize(np.random.default_rng(seed))
    return learner


# --- by hand -----------------------------------------------------------------------------------------------------


def hand_network(**changes) -> MLP:
    """2 inputs, 2 hidden relu units, 2 classes, with round numbers."""
    learner = MLP(MLPSettings(**{"hidden": (2,), "optimizer": "sgd", "l2": 0, "momentum": 0, **changes}), 2, 2)
    learner.load_weights(
        {
            "weights.0": np.array([[1.0, -1.0], [2.0, 0.5]]),
            "biases.0": np.array([0.5, 0.0]),
            "weights.1": np.array([[1.0, 0.0], [3.0, -1.0]]),
            "biases.1": np.array([0.0, 1.0]),
        }
    )
    return learner


def test_forward_by_hand():
    # x = (1, -0.5): Z1 = (1 - 1 + 0.5, -1 - 0.25) = (0.5, -1.25), A1 = (0.5, 0)
    # Z2 = (0.5 * 1 + 0, 0 + 1) = (0.5, 1); P = (1 / (1 + e^0.5), e^0.5 / (1 + e^0.5)) = (0.377541, 0.622459)
    probabilities = hand_network().predict_proba(table_of([[1.0, -0.5]], [0]))
    np.testing.assert_allclose(probabilities, [[0.377541, 0.622459]], atol=1e-6)


def test_loss_and_gradient_by_hand():
    # continued, y = 0: loss = -log 0.377541 = 0.974077; D2 = P - (1, 0) = (-0.622459, 0.622459)
    # dW2 = A1^T D2 = ((-0.311230, 0.311230), (0, 0)), db2 = D2
    # D1 = (D2 W2^T) * (1, 0): D2 . (1, 0) = -0.622459 for unit 0; unit 1 is off
    # dW1 = x^T D1 = ((-0.622459, 0), (0.311230, 0)), db1 = (-0.622459, 0)
    learner = hand_network(dtype="float64")
    out = np.zeros(learner.size)
    loss = learner.gradient(table_of([[1.0, -0.5]], [0]), order_of([0]), out)
    assert loss == pytest.approx(0.974077, abs=1e-6)
    layout = learner.layout
    np.testing.assert_allclose(layout.weights(out, 1), [[-0.311230, 0.311230], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(layout.biases(out, 1), [-0.622459, 0.622459], atol=1e-6)
    np.testing.assert_allclose(layout.weights(out, 0), [[-0.622459, 0], [0.311230, 0]], atol=1e-6)
    np.testing.assert_allclose(layout.biases(out, 0), [-0.622459, 0], atol=1e-6)


def test_momentum_and_nesterov_by_hand():
    # One parameter's way with gradient 1 twice, rate 0.1, momentum 0.9, from p = 0:
    # momentum:  v = -0.1, p = -0.1;          v = -0.19, p = -0.29
    # Nesterov:  v = -0.1, p += -0.09 - 0.1;  v = -0.19, p += -0.171 - 0.1  ->  -0.19, -0.461
    for optimizer, expected in (("momentum", [-0.1, -0.29]), ("nesterov", [-0.19, -0.461])):
        learner = MLP(MLPSettings((), optimizer=optimizer, l2=0, dtype="float64"), 1, 2)
        found = []
        for _ in range(2):
            learner.apply(np.ones(learner.size), 0.1, 1)
            found.append(learner.parameters[0])
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_adam_by_hand():
    # Gradient 2 then -1, rate 0.1: m = 0.2, v = 0.004: step 0.1 * sqrt(0.001)/0.1 * 0.2/(0.063246 + 1e-8) = 0.1
    # m = 0.18 - 0.1 = 0.08, v = 0.003996 + 0.001 = 0.004996; rate 0.1 sqrt(1 - 0.998001)/(1 - 0.81) = 0.0235317
    # step 0.0235317 * 0.08 / 0.0706824 = 0.0266337
    learner = MLP(MLPSettings((), l2=0, dtype="float64"), 1, 2)
    learner.apply(np.full(learner.size, 2.0), 0.1, 1)
    assert learner.parameters[0] == pytest.approx(-0.1, abs=1e-6)
    learner.apply(np.full(learner.size, -1.0), 0.1, 1)
    assert learner.parameters[0] == pytest.approx(-0.1266337, abs=1e-6)


def test_penalty_by_hand():
    # l2 = 3, weights sum of squares 1 + 1 + 4 + 0.25 + 1 + 0 + 9 + 1 = 17.25, global batch 4: 0.5 * 3 * 17.25 / 4
    # biases are not punished; the weight 2 moves by -0.1 * 3 * 2 / 4
    learner = hand_network(l2=3.0, dtype="float64")
    penalty = learner.apply(np.zeros(learner.size), 0.1, 4)
    assert penalty == pytest.approx(6.46875)
    assert learner.layout.weights(learner.parameters, 0)[1, 0] == pytest.approx(2 - 0.15)
    assert learner.layout.biases(learner.parameters, 0)[0] == 0.5


# --- against numeric gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(), (4,), (5, 3, 17)])
def test_gradient_equals_numeric_gradient(activation, hidden):
    rng = np.random.default_rng(1)
    table = random_table(rng, rows=9)
    learner = started(MLPSettings(hidden, activation, dtype="float64"))
    order = order_of(range(9))
    gradient, scratch = np.zeros(learner.size), np.zeros(learner.size)
    learner.gradient(table, order, gradient)
    for index in np.flatnonzero(gradient)[:: max(1, learner.size // 40)]:
        middle, step = learner.parameters[index], 1e-6
        losses = []
        for sign in (1, -1):
            learner.parameters[index] = middle + sign * step
            losses.append(learner.gradient(table, order, scratch))
        learner.parameters[index] = middle
        assert gradient[index] == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_padding_stays_zero(activation, dtype):
    rng = np.random.default_rng(2)
    learner = started(MLPSettings((5, 7), activation, dtype=dtype, l2=0.01))
    take_steps(learner, random_table(rng), order_of(range(20), range(20, 40), range(7)))
    real = sum(block.size for block in learner.weights().values())
    assert np.count_nonzero(learner.parameters) <= real
    kept = learner.weights()
    learner.load_weights(kept)  # zeroes all padding
    assert {name: block.tolist() for name, block in learner.weights().items()} == {
        name: block.tolist() for name, block in kept.items()
    }
    assert np.count_nonzero(learner.parameters) == sum(np.count_nonzero(block) for block in kept.values())


# --- against scikit-learn -----------------------------------------------------------------------------------------


def sklearn_losses(table, batches, settings, start) -> list[float]:
    """The loss of each step of scikit-learn's MLPClassifier from the same weights on the same batches."""
    inputs = (table.features * table.scale + table.shift).astype(settings.dtype)
    twin = MLPClassifier(
        settings.hidden,
        activation=settings.activation,
        solver="adam" if settings.optimizer == "adam" else "sgd",
        alpha=settings.l2,
        learning_rate_init=settings.learning_rate,
        momentum=0.0 if settings.optimizer == "sgd" else settings.momentum,
        nesterovs_momentum=settings.optimizer == "nesterov",
        batch_size=len(batches[0]),
        max_iter=1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        twin.fit(inputs, table.labels)
    for layer in range(len(settings.hidden) + 1):
        twin.coefs_[layer] = start[f"weights.{layer}"].copy()
        twin.intercepts_[layer] = start[f"biases.{layer}"].copy()
    del twin._optimizer  # so that partial_fit begins a new one, from these weights
    losses = []
    for batch in batches:
        twin.partial_fit(inputs[batch], table.labels[batch])
        losses.append(float(twin.loss_))
    return losses


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "momentum", "nesterov"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_equal_scikit_learns_over_50_steps(digits, activation, optimizer, dtype):
    settings = MLPSettings((20, 9), activation, optimizer, learning_rate=0.003, l2=0.01, dtype=dtype)
    rng = np.random.default_rng(3)
    batches = [rng.permutation(digits.train.rows)[:32] for _ in range(50)]
    learner = started(settings, digits.features, len(digits.classes))
    expected = sklearn_losses(digits.train, batches, settings, learner.weights())
    found = take_steps(learner, digits.train, order_of(*batches), rate=0.003)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


# --- what else the protocol promises ------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_gradient_then_apply_is_one_step_of_run(optimizer):
    rng = np.random.default_rng(4)
    table = random_table(rng, dtype=np.float32)
    batches = [range(20), range(20, 40), range(5, 25)]
    one, two = (started(MLPSettings((8,), optimizer=optimizer)) for _ in range(2))
    losses = take_steps(one, table, order_of(*batches))
    gradient = np.zeros(two.size, np.float32)
    for batch, loss in zip(batches, losses, strict=True):
        found = two.gradient(table, order_of(batch), gradient) + two.apply(gradient, 0.1, 20)
        assert found == pytest.approx(loss, rel=1e-6)
    assert one.parameters.tobytes() == two.parameters.tobytes()
    assert one.steps_taken == two.steps_taken == 3


def test_bytes_give_the_same_as_scaled_floats():
    rng = np.random.default_rng(5)
    stored = rng.integers(0, 256, (30, 6), dtype=np.uint8)
    labels = rng.integers(0, 3, 30)
    scale, shift = rng.uniform(0.001, 0.01, 6), rng.normal(size=6)
    as_bytes = started(MLPSettings((8,), dtype="float64"))
    as_floats = started(MLPSettings((8,), dtype="float64"))
    order = order_of(range(15), range(15, 30))
    losses = take_steps(as_bytes, table_of(stored, labels, scale, shift), order)
    expected = take_steps(as_floats, table_of(stored * scale + shift, labels), order)
    np.testing.assert_allclose(losses, expected, rtol=1e-12)


def test_state_goes_on_bit_for_bit():
    table = random_table(np.random.default_rng(6))
    whole, parts = started(MLPSettings((8,))), started(MLPSettings((8,)))
    take_steps(whole, table, order_of(range(20), range(20, 40), range(10)))
    take_steps(parts, table, order_of(range(20)))
    successor = MLP(MLPSettings((8,)), 6, 3)
    successor.load_state(parts.state())
    take_steps(successor, table, order_of(range(20, 40), range(10)))
    assert successor.parameters.tobytes() == whole.parameters.tobytes()


def test_bound_vector_is_used_in_place():
    learner = MLP(MLPSettings((8,)), 6, 3)
    mine = np.zeros(learner.size, np.float32)
    learner.bind(mine)
    learner.initialize(np.random.default_rng(0))
    assert learner.parameters is mine
    assert mine.any()


@pytest.mark.parametrize(
    "vector", [np.zeros(3, np.float32), np.zeros(400, np.float64), np.zeros(800, np.float32)[::2]], ids=str
)
def test_unfit_vectors_are_refused(vector):
    with pytest.raises(ValueError, match="contiguous"):
        MLP(MLPSettings((8,)), 6, 3).bind(vector)


@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_optimizer_state_is_visible_and_writable(optimizer):
    learner = started(MLPSettings((8,), optimizer=optimizer))
    take_steps(learner, random_table(np.random.default_rng(7)), order_of(range(20)))
    for vector in learner.optimizer_state.values():
        assert vector.shape == (learner.size,)
        assert vector.any()
        vector[:] = 0
    assert not any(vector.any() for vector in learner.optimizer_state.values())


def test_an_empty_batch_changes_nothing():
    learner = started(MLPSettings((8,)))
    before = learner.state()
    losses = take_steps(learner, random_table(np.random.default_rng(8)), order_of([]))
    assert losses.tolist() == [0]
    assert {name: value.tolist() for name, value in learner.state().items()} == {
        name: value.tolist() for name, value in before.items()
    }


def test_gradient_of_no_rows_is_zero():
    learner = started(MLPSettings((8,)))
    out = np.ones(learner.size, np.float32)
    assert learner.gradient(random_table(np.random.default_rng(8)), order_of([]), out) == 0
    assert not out.any()


def test_stop_ends_a_run_between_steps():
    learner = started(MLPSettings((8,)))
    control = fresh_control()
    control.stop[0] = 1
    order = order_of(range(20), range(20, 40))
    assert len(learner.run(random_table(np.random.default_rng(9)), order, np.full(2, 0.1), control).losses) == 0
    assert control.progress[0] == 0


def test_progress_counts_steps():
    control = fresh_control()
    order = order_of(range(20), range(20, 40))
    started(MLPSettings((8,))).run(random_table(np.random.default_rng(9)), order, np.full(2, 0.1), control)
    assert control.progress[0] == 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loss_that_is_not_finite_names_its_step(dtype):
    table = random_table(np.random.default_rng(10))
    learner = MLP(MLPSettings((8,), dtype=dtype), 6, 3, rank=2)
    learner.initialize(np.random.default_rng(0))
    poisoned = Samples(table.features.copy(), table.labels, table.scale, table.shift)
    poisoned.features[25, 3] = np.nan
    with pytest.raises(DivergedError, match="step 2 on worker 2") as caught:
        take_steps(learner, poisoned, order_of(range(20), range(20, 30), range(20)))
    assert caught.value.step == 2


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_rate_far_too_high_is_found_out(activation):
    table = random_table(np.random.default_rng(11), dtype=np.float32)
    learner = started(MLPSettings((8,), activation, "sgd", l2=0))
    with pytest.raises(DivergedError):
        take_steps(learner, table, order_of(*[range(20)] * 200), rate=1e30)


def test_probabilities_are_probabilities_in_any_number_of_rows():
    learner = started(MLPSettings((8,)))
    rng = np.random.default_rng(12)
    table = random_table(rng, rows=600)
    whole = learner.predict_proba(table)
    np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-6)
    few = Samples(table.features[250:260], table.labels[250:260], table.scale, table.shift)
    np.testing.assert_allclose(learner.predict_proba(few), whole[250:260], atol=1e-6)
    none = Samples(table.features[:0], table.labels[:0], table.scale, table.shift)
    assert learner.predict_proba(none).shape == (0, 3)


def test_huge_logits_stay_finite():
    learner = MLP(MLPSettings(()), 1, 2)
    learner.load_weights({"weights.0": np.array([[300.0, -300.0]]), "biases.0": np.zeros(2)})
    table = table_of(np.array([[1.0]]), [1])
    np.testing.assert_allclose(learner.predict_proba(table), [[1, 0]], atol=1e-30)
    assert learner.gradient(table, order_of([0]), np.zeros(learner.size, np.float32)) == pytest.approx(600)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(1, 40), st.integers(2, 20), st.lists(st.integers(1, 40), max_size=2))
def test_tiles_and_blas_agree_for_any_shape(rows, features, classes, hidden):
    rng = np.random.default_rng(rows)
    table = random_table(rng, rows, features, classes, np.float32)
    learner = started(MLPSettings(tuple(hidden), "tanh"), features, classes)
    gradients = []
    for tiled in (learner._adapter.network.tiled, False):
        learner._adapter.network = learner._adapter.network._replace(tiled=tiled)
        gradients.append(np.zeros(learner.size, np.float32))
        learner.gradient(table, order_of(range(rows)), gradients[-1])
    np.testing.assert_allclose(gradients[0], gradients[1], atol=2e-6)


def test_rows_outside_the_table_are_refused():
    learner = started(MLPSettings((8,)))
    table = random_table(np.random.default_rng(13))
    for row in (40, -1):
        with pytest.raises(IndexError, match=r"0\.\.39"):
            take_steps(learner, table, order_of([row]))


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
def test_labels_outside_the_classes_are_refused(labels):
    with pytest.raises(SettingsError, match=r"0\.\.2"):
        take_steps(started(MLPSettings((8,))), table_of(np.zeros((2, 6)), labels), order_of([0]))


def test_a_table_of_another_width_is_refused():
    with pytest.raises(SettingsError, match="6 features"):
        started(MLPSettings((8,))).predict_proba(table_of(np.zeros((2, 5)), [0, 0]))


def test_preparing_changes_nothing():
    learner = started(MLPSettings((8,)))
    before = learner.state()
    learner.prepare(random_table(np.random.default_rng(14)))
    assert {name: value.tolist() for name, value in learner.state().items()} == {
        name: value.tolist() for name, value in before.items()
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_are_scaled_in_double_precision_whatever_the_networks_dtype(dtype):
    z = np.random.default_rng(7).normal(size=(30, 4))
    labels = np.arange(30) % 3
    near = table_of(z, labels)
    center, unit = np.array([1.7e9, 0, -2.4e9, 1]), np.array([30, 1e-40, 100, 1e-9])
    far = replace(table_of(center + unit * z, labels, 1 / unit, np.full(4, 0.5)), center=center)
    np.testing.assert_allclose(far.inputs(), z + 0.5, atol=1e-6)
    learner = started(MLPSettings((8,), dtype=dtype), features=4)
    expected = learner.outputs(table_of(z + 0.5, labels))
    np.testing.assert_allclose(learner.outputs(far), expected, atol=1e-6)
    assert np.abs(learner.outputs(near) - expected).max() > 0.01


def test_bytes_have_no_center():
    table = replace(table_of(np.zeros((3, 4), np.uint8), [0, 1, 2]), center=np.ones(4))
    with pytest.raises(SettingsError, match="without a center"):
        started(MLPSettings((8,)), features=4).outputs(table)
