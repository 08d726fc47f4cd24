"""How networks start: the grammar, what is drawn measured, and what becomes of neurons that start alike."""

import contextlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neural_network import MLPClassifier

from manyhands.core.errors import SettingsError
from manyhands.core.samples import Control, Order, Samples
from manyhands.learners.mlp.initialization import INITIALIZATIONS, parse_initialization
from manyhands.learners.mlp.layout import Layout, initialize
from manyhands.learners.mlp.learner import MLP
from manyhands.learners.mlp.settings import MLPSettings

TAKE_A_VALUE = {"constant": -0.5, "uniform": 0.2, "normal": 0.3, "orthogonal": 1.5}
PLAIN = [kind for kind in INITIALIZATIONS if kind not in TAKE_A_VALUE]
INPUTS, OUTPUTS = 300, 200
"""Of a matrix so large that its measured variance is within 2 % of the true one (5 standard deviations)."""
VARIANCES = {
    "auto": 2 / (INPUTS + OUTPUTS),
    "uniform": 0.05**2 / 3,
    "uniform:0.2": 0.2**2 / 3,
    "normal": 0.05**2,
    "normal:0.3": 0.3**2,
    "glorot_uniform": 2 / (INPUTS + OUTPUTS),
    "glorot_normal": 2 / (INPUTS + OUTPUTS),
    "xavier_uniform": 2 / (INPUTS + OUTPUTS),
    "xavier_normal": 2 / (INPUTS + OUTPUTS),
    "he_uniform": 2 / INPUTS,
    "he_normal": 2 / INPUTS,
    "lecun_uniform": 1 / INPUTS,
    "lecun_normal": 1 / INPUTS,
}


def blocks_of(layout, seed=0, **chosen):
    """The layers' weights and biases as a seed starts them."""
    vector = np.ones(layout.size)
    initialize(vector, layout, MLPSettings(**chosen), np.random.default_rng(seed))
    layers = range(layout.layers)
    return [layout.weights(vector, layer) for layer in layers], [layout.biases(vector, layer) for layer in layers]


# --- the grammar --------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(["weight_init", "bias_init"]),
    st.sampled_from(PLAIN) | st.builds("{}:{!r}".format, st.sampled_from(list(TAKE_A_VALUE)), st.floats(0, 1e6)),
)
def test_a_name_is_read_as_what_it_names(where, text):
    if where == "bias_init" and text.startswith("orthogonal"):
        return
    named = parse_initialization(where, text)
    assert parse_initialization(where, named.name).name == named.name
    # The name keeps six digits. Settings keep the name, so what is drawn is always what the name says.
    assert getattr(MLPSettings(**{where: text}), where) == named.name
    if named.value is not None:
        assert parse_initialization(where, named.name).value == pytest.approx(float(text.partition(":")[2]), rel=1e-5)


@given(
    st.sampled_from(["weight_init", "bias_init"]),
    st.text(max_size=20)
    | st.builds("{}:{}".format, st.sampled_from([*INITIALIZATIONS, "xavier_normal", ""]), st.text(max_size=8))
    | st.builds("{}:{}".format, st.sampled_from(list(TAKE_A_VALUE)), st.floats().map(str)),
)
def test_any_text_is_a_start_or_a_settings_error(where, text):
    with contextlib.suppress(SettingsError):
        start = parse_initialization(where, text)
        drawn = start.draw((4, 3) if where == "weight_init" else (3,), 4, 3, "relu", np.random.default_rng(0))
        assert np.isfinite(drawn).all()


@pytest.mark.parametrize("text", ["normal:-0.0", "uniform:-0.0"])
def test_a_width_of_minus_zero_is_no_width_or_refused(text):
    # NumPy refuses it, and only when the run has begun.
    with contextlib.suppress(SettingsError):
        drawn = parse_initialization("weight_init", text).draw((4, 3), 4, 3, "relu", np.random.default_rng(0))
        assert not drawn.any()


@pytest.mark.parametrize("where", ["weight_init", "bias_init"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "random",
        "zeros:1",
        "ones:",
        "auto:2",
        "he_normal:0.1",
        "constant:",
        "constant:x",
        "constant:nan",
        "constant:inf",
        "constant:1e300",
        "uniform:-1",
        "normal:-0.1",
        "uniform:0.1:0.2",
        "Normal",
        None,
        3,
    ],
)
def test_a_start_that_does_not_exist_is_refused_where_it_stands(where, text):
    with pytest.raises(SettingsError, match=where):
        MLPSettings(**{where: text})


def test_biases_are_no_matrix_and_cannot_be_orthogonal():
    with pytest.raises(SettingsError, match="biases are no matrix"):
        MLPSettings(bias_init="orthogonal")


@pytest.mark.parametrize(("text", "name"), [("xavier_uniform", "glorot_uniform"), (" normal ", "normal:0.05")])
def test_other_spellings_have_one_name(text, name):
    assert MLPSettings(weight_init=text).weight_init == name


# --- what is drawn ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "variance"), VARIANCES.items())
def test_weights_and_biases_have_the_variance_they_are_named_for(text, variance):
    # Biases are too few to measure in a network, so they are drawn directly; they look at the same F_in and F_out.
    (weights,), _ = blocks_of(Layout(INPUTS, (), OUTPUTS), weight_init=text)
    start = parse_initialization("bias_init", text)
    biases = start.draw((60_000,), INPUTS, OUTPUTS, "relu", np.random.default_rng(1))
    for drawn in (weights, biases):
        assert drawn.var() == pytest.approx(variance, rel=0.02)
        assert abs(drawn.mean()) < 5 * np.sqrt(variance / drawn.size)
        # A uniform distribution ends at sqrt(3) standard deviations; 60,000 normal numbers go beyond 4.
        reach = np.abs(drawn).max() / np.sqrt(variance)
        assert reach > 3.5 if "normal" in text else 1.72 < reach <= np.sqrt(3)


def test_logistic_neurons_start_smaller_in_the_automatic_way_only():
    (weights,), (biases,) = blocks_of(Layout(INPUTS, (), OUTPUTS), activation="logistic")
    bound = np.sqrt(2 / (INPUTS + OUTPUTS))
    assert 0.99 * bound < np.abs(weights).max() <= bound
    assert 0.9 * bound < np.abs(biases).max() <= bound
    (chosen,), _ = blocks_of(Layout(INPUTS, (), OUTPUTS), activation="logistic", weight_init="glorot_uniform")
    assert np.abs(chosen).max() > 1.7 * bound


@pytest.mark.parametrize(("text", "value"), [("zeros", 0), ("ones", 1), ("constant", 0.01), ("constant:-0.5", -0.5)])
def test_constants_fill_weights_or_biases_and_nothing_else(text, value):
    layout = Layout(5, (7, 3), 2)
    weights, biases = blocks_of(layout, weight_init=text, bias_init="normal")
    assert all((block == value).all() for block in weights)
    assert all(np.unique(block).size == block.size for block in biases)
    weights, biases = blocks_of(layout, weight_init="normal", bias_init=text)
    assert all(np.unique(block).size == block.size for block in weights)
    assert all((block == value).all() for block in biases)


@pytest.mark.parametrize(("inputs", "outputs"), [(60, 60), (90, 40), (40, 90), (1, 30), (30, 2)])
@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_orthogonal_matrices_turn_and_do_not_stretch(inputs, outputs, gain):
    (weights,), _ = blocks_of(Layout(inputs, (), outputs), weight_init=f"orthogonal:{gain}")
    narrow = weights if inputs >= outputs else weights.T
    np.testing.assert_allclose(narrow.T @ narrow, gain**2 * np.eye(min(inputs, outputs)), atol=1e-12)


def test_orthogonal_matrices_prefer_no_direction():
    # LAPACK's QR alone makes the first element negative, always (Mezzadri 2007). Evenly drawn, the elements of an
    # orthogonal matrix of order d have mean 0 and variance 1 / d; 2,000 of them err by less than 5 / sqrt(2000 d).
    draw = parse_initialization("weight_init", "orthogonal").draw
    rng = np.random.default_rng(0)
    many = np.array([draw((6, 6), 6, 6, "relu", rng) for _ in range(2000)])
    assert np.abs(many.mean(axis=0)).max() < 5 / np.sqrt(2000 * 6)
    np.testing.assert_allclose(many.var(axis=0), 1 / 6, rtol=0.2)


def test_weights_and_biases_are_drawn_apart():
    # Same distribution, one generator: no number is used twice, and weights tell nothing about biases. (The mean
    # product of 2,000 independent pairs has a standard deviation of 1 / sqrt(2000).)
    layout = Layout(40, (2000,), 50)
    weights, biases = blocks_of(layout, weight_init="normal:1", bias_init="normal:1")
    everything = np.concatenate([block.ravel() for block in (*weights, *biases)])
    assert np.unique(everything).size == everything.size
    for line in (*weights[0], *weights[1].T):
        assert abs(np.mean(line * biases[0])) < 5 / np.sqrt(2000)


def test_a_start_for_biases_leaves_the_kind_of_the_weights():
    layout = Layout(INPUTS, (OUTPUTS,), 100)
    for bias_init in ("zeros", "normal:3", "auto"):
        weights, _ = blocks_of(layout, weight_init="he_normal", bias_init=bias_init)
        for block in weights:
            assert block.var() == pytest.approx(2 / len(block), rel=0.05)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "gelu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_automatic_start_has_the_bits_of_scikit_learns_rule(activation, dtype):
    # scikit-learn's own code draws from our generator. It keeps a bound for logistic neurons; it has no GELU, which
    # starts like all others.
    twin = MLPClassifier(activation=activation if activation != "gelu" else "relu")
    twin._random_state = np.random.default_rng(4)
    learner = MLP(MLPSettings((20, 9), activation, dtype=dtype), 13, 3)
    learner.initialize(np.random.default_rng(4))
    blocks = learner.weights()
    for layer, (inputs, outputs) in enumerate(itertools.pairwise((13, 20, 9, 3))):
        weights, biases = twin._init_coef(inputs, outputs, np.dtype(dtype))
        assert blocks[f"weights.{layer}"].tobytes() == weights.tobytes()
        assert blocks[f"biases.{layer}"].tobytes() == biases.tobytes()


# --- what becomes of it -------------------------------------------------------------------------------------------


def trained(steps=30, **chosen):
    """A network of 6 inputs, hidden layers of 5 and 4, and 3 classes after some steps on random rows."""
    rng = np.random.default_rng(2)
    table = Samples(rng.normal(size=(40, 6)), rng.integers(0, 3, 40).astype(np.int32), np.ones(6), np.zeros(6))
    learner = MLP(MLPSettings((5, 4), "tanh", "momentum", dtype="float64", **chosen), 6, 3)
    learner.initialize(np.random.default_rng(3))
    start = learner.weights()
    rows = np.concatenate([rng.permutation(40)[:20] for _ in range(steps)]).astype(np.int32)
    order = Order(rows, np.arange(0, 20 * steps + 1, 20), np.full(steps, 20, np.int32))
    control = Control(np.zeros(1, np.int64), np.zeros(1, np.int64))
    losses = learner.run(table, order, np.full(steps, 0.1), control).losses
    return start, learner.weights(), losses


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from(["zeros", "ones", "constant:0.3"]),
    st.sampled_from(["zeros", "ones", "constant:0.3"]),
)
def test_neurons_that_start_alike_stay_alike(weight_init, bias_init):
    # Two neurons of a hidden layer with the same weights and bias have the same activation a in every row; if what
    # reads them weighs them alike, too, they have the same delta d = (sum over k of w_k d_k) f'(a). So their gradients
    # are equal: those of the weights in (inputs times d), of the bias (d), and of the weights out (a times d_k). Equal
    # numbers minus equal numbers are equal: by induction they never part, and the layer learns as one neuron.
    start, end, losses = trained(weight_init=weight_init, bias_init=bias_init)
    for layer in range(2):
        alike = end[f"weights.{layer}"].T, end[f"biases.{layer}"], end[f"weights.{layer + 1}"]
        for neurons in alike:  # one line for each neuron of the layer
            np.testing.assert_allclose(neurons, np.broadcast_to(neurons[0], neurons.shape), rtol=0, atol=1e-12)
    # It does learn, if only the biases of the outputs (which are zeros' only way).
    assert any((end[name] != start[name]).any() for name in end)
    assert losses[-1] < losses[0] or weight_init != "zeros"


def test_neurons_that_start_apart_stay_apart():
    # The same measure on the automatic start: what the test above finds is no property of the data.
    _, end, _ = trained()
    for layer in range(2):
        assert np.ptp(end[f"weights.{layer}"], axis=1).min() > 0.01


def test_a_random_bias_alone_lets_neurons_part():
    _, end, _ = trained(weight_init="ones", bias_init="uniform:0.5")
    assert np.ptp(end["weights.0"], axis=1).max() > 1e-3
