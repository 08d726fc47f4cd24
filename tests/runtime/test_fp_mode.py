"""Numbers too small for full precision count as zero in compiled code, and nowhere else."""

import platform
import threading

import numpy as np
import pytest

from manyhands.core.samples import Control, Order, Samples
from manyhands.learners.mlp.learner import MLP
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.runtime.fp_mode import flush_denormals, restore_denormals
from manyhands.runtime.jit import compiled

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="only there is the control register known"
)


@compiled
def multiply(a, b, out, flushing):
    before = 0
    if flushing:
        before = flush_denormals()
    for i in range(len(out)):
        out[i] = a[i] * b[i]
    if flushing:
        restore_denormals(before)


@compiled
def flush_for_good():
    return flush_denormals()


def product(a, b, dtype, flushing=True):
    out = np.ones(20, dtype)
    multiply(np.full(20, a, dtype), np.full(20, b, dtype), out, flushing)
    assert len({number.tobytes() for number in out}) == 1
    return out[0]


def denormals_in(vector):
    if vector.dtype.kind != "f":
        return 0
    return int(((vector != 0) & (np.abs(vector) < np.finfo(vector.dtype).tiny)).sum())


def numpy_makes_denormals():
    with np.errstate(under="ignore"):
        return bool(np.float32(1e-30) * np.float32(1e-10) != 0 and np.float64(1e-300) * np.float64(1e-10) != 0)


SMALL = {np.float32: (1e-30, 1e-10), np.float64: (1e-300, 1e-10)}


@pytest.mark.parametrize("dtype", SMALL)
def test_products_that_would_be_denormal_are_zero(dtype):
    assert product(*SMALL[dtype], dtype) == 0
    assert denormals_in(np.array([product(*SMALL[dtype], dtype, flushing=False)])) == 1


@pytest.mark.parametrize(("dtype", "tiny", "huge"), [(np.float32, 1e-40, 1e30), (np.float64, 1e-310, 1e300)])
def test_inputs_that_are_denormal_count_as_zero(dtype, tiny, huge):
    assert product(tiny, huge, dtype) == 0
    assert product(tiny, huge, dtype, flushing=False) == pytest.approx(tiny * huge, rel=1e-3)


@pytest.mark.parametrize("dtype", SMALL)
def test_other_numbers_are_what_they_were(dtype):
    tiny = np.finfo(dtype).tiny
    assert product(tiny, 1, dtype) == tiny
    assert product(0.1, 0.7, dtype) == dtype(0.1) * dtype(0.7)
    assert np.isinf(product(np.finfo(dtype).max, 2, dtype))
    assert np.isnan(product(np.nan, 0, dtype))


def test_after_compiled_code_the_same_thread_makes_denormals_again():
    assert product(*SMALL[np.float32], np.float32) == 0
    assert numpy_makes_denormals()
    assert 1e-300 * 1e-10 != 0
    assert product(*SMALL[np.float32], np.float32, flushing=False) != 0


def test_what_was_set_already_stays_set():
    found = []

    def work():
        flush_for_good()
        product(0.5, 0.5, np.float32)
        found.append(numpy_makes_denormals())

    in_a_thread(work)
    assert found == [False]


def test_other_threads_are_not_affected():
    flushed, looked, found = threading.Event(), threading.Event(), {}

    def work():
        flush_for_good()
        flushed.set()
        looked.wait(10)
        found["its own"] = numpy_makes_denormals()

    thread = threading.Thread(target=work)
    thread.start()
    assert flushed.wait(10)
    found["another"] = numpy_makes_denormals()
    looked.set()
    thread.join(10)
    assert found == {"its own": False, "another": True}


def in_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)


def train(settings, features, steps):
    """Train on batches of 5 rows; return the learner."""
    rows = len(features)
    table = Samples(features, (np.arange(rows) % 3).astype(np.int32), np.ones(6), np.zeros(6))
    learner = MLP(settings, 6, 3)
    learner.initialize(np.random.default_rng(0))
    order = Order(
        np.arange(5 * steps, dtype=np.int32) % rows,
        5 * np.arange(steps + 1, dtype=np.int64),
        np.full(steps, 5, np.int32),
    )
    control = Control(np.zeros(1, np.int64), np.zeros(1, np.int64))
    learner.run(table, order, np.full(steps, settings.learning_rate), control)
    return learner


@pytest.mark.parametrize("hidden", [(), (8,)])
def test_weights_that_only_a_penalty_moves_stop_before_they_are_denormal(hidden):
    features = np.random.default_rng(1).normal(size=(30, 6)).astype(np.float32)
    features[:, 2] = 0
    settings = MLPSettings(hidden, optimizer="momentum", learning_rate=0.05, l2=0.5)
    learner = train(settings, features, 4000)
    assert {name: denormals_in(vector) for name, vector in learner.state().items()} == {
        "parameters": 0,
        "buffers": 0,
        "steps_taken": 0,
        "velocity": 0,
    }
    weights = learner.weights()["weights.0"]
    # They stay where their steps would be denormal: each is by rate * decay = 1/200 of the weight.
    assert np.abs(weights[2]).max() < 1e-34
    assert (np.abs(weights[[0, 1, 3, 4, 5]]).max(axis=1) > 1e-6).all()
    # The same steps without the guard: what is left is denormal, for ever.
    weight, velocity = np.float32(0.3), np.float32(0)
    rate, decay, momentum = np.float32(0.05), np.float32(0.5 / 5), np.float32(0.9)
    with np.errstate(under="ignore"):
        for _ in range(4000):
            velocity = momentum * velocity - rate * (decay * weight)
            weight += velocity
    assert denormals_in(np.array([weight, velocity])) > 0


def test_moments_of_an_input_that_was_on_once_end_at_zero():
    features = np.random.default_rng(2).normal(size=(6000, 6)).astype(np.float32)
    features[5:, 2] = 0
    settings = MLPSettings((), learning_rate=0.05, l2=0)
    states = [train(settings, features, steps).state() for steps in (400, 1200)]
    assert [denormals_in(vector) for state in states for vector in state.values()] == [0] * 10
    # In 400 steps a first moment shrinks by 0.9^400 = 5e-19, in 1,200 by 1e-55.
    moments = [state["first_moment"][32:35] for state in states]  # the row of input 2, each 16 wide; 3 classes
    assert moments[0].all()
    assert not moments[1].any()
    moment = np.float32(0.01)
    with np.errstate(under="ignore"):
        for _ in range(1200):
            moment *= np.float32(0.9)
    assert denormals_in(np.array([moment])) == 1


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_training_as_usual_leaves_no_denormals(optimizer):
    features = np.random.default_rng(3).normal(size=(30, 6)).astype(np.float32)
    features[:, 4] = 0
    learner = train(MLPSettings((8,), optimizer=optimizer, learning_rate=0.05, l2=0.5), features, 400)
    assert all(denormals_in(vector) == 0 for vector in learner.state().values())
    assert numpy_makes_denormals()
