"""Compressed rounds: what becomes of numbers, and that rounding errors are sent later."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.core.errors import DivergedError
from manyhands.core.samples import Control
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.strategies.compression import BLOCK, CODECS, mean_, residuals_for
from manyhands.teams.launch import launch
from manyhands.training.clock import PhaseClock
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

NUMBERS = st.floats(-(2.0**100), 2.0**100, width=32)
VECTORS = st.lists(NUMBERS, max_size=20).map(lambda numbers: np.array(numbers, np.float32))


def together(size, work, team="threads"):
    stop = np.zeros(1, np.int64)
    controls = [Control(stop, np.zeros(1, np.int64)) for _ in range(size)]
    return launch(team, [PhaseClock() for _ in range(size)], controls, work)


def there_and_back(codec, values):
    return CODECS[codec].decode(CODECS[codec].encode(values))[: len(values)]


@settings(deadline=None)
@given(st.lists(st.floats(-60000, 60000, width=32), max_size=20))
def test_float16_rounds_to_11_bits(numbers):
    values = np.array(numbers, np.float32)
    # Half of the last place: 2^-11 of the number, or 2^-25 where numbers are subnormal.
    bound = np.maximum(np.abs(values.astype(float)) * 2**-11, 2**-25)
    assert (np.abs(there_and_back("float16", values).astype(float) - values) <= bound).all()


@settings(deadline=None)
@given(VECTORS)
def test_bfloat16_rounds_to_8_bits(values):
    bound = np.maximum(np.abs(values.astype(float)) * 2**-8, 2.0**-134)
    assert (np.abs(there_and_back("bfloat16", values).astype(float) - values) <= bound).all()


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50))
def test_bfloat16_is_the_nearest_ties_to_even(patterns):
    bits = np.array(patterns, np.uint32)
    found = CODECS["bfloat16"].encode(bits.view(np.float32)).astype(int)
    for pattern, got in zip(patterns, found, strict=True):
        sign, size = pattern >> 31 << 15, pattern & 0x7FFFFFFF
        if size > 0x7F800000:  # NaN stays NaN: all ones in the exponent, and something behind it
            assert got & 0x7FFF > 0x7F80
            continue
        # The order of floats of one sign is that of their patterns, and within two neighbours they are equally far
        # apart: nearest is nearest in whole numbers.
        below, rest = divmod(size, 0x10000)
        up = rest > 0x8000 or (rest == 0x8000 and below % 2 == 1)
        assert got == sign + below + up


@pytest.mark.parametrize(
    ("pattern", "rounded"),
    [
        (0x3F800000, 0x3F80),  # 1
        (0x3F808000, 0x3F80),  # half way between two: to the even one, below
        (0x3F818000, 0x3F82),  # and above
        (0x3F808001, 0x3F81),
        (0x80000000, 0x8000),  # -0
        (0x7F7FFFFF, 0x7F80),  # the largest float32 becomes infinite, as in PyTorch
        (0x7F800000, 0x7F80),  # inf
        (0xFF800000, 0xFF80),  # -inf
    ],
)
def test_bfloat16_by_hand(pattern, rounded):
    assert CODECS["bfloat16"].encode(np.array([pattern], np.uint32).view(np.float32)).tolist() == [rounded]


@pytest.mark.parametrize("pattern", [0x7F800001, 0x7FC00000, 0xFFFFFFFF])
def test_bfloat16_keeps_what_is_no_number(pattern):
    assert np.isnan(there_and_back("bfloat16", np.array([pattern], np.uint32).view(np.float32))).all()


def test_float16_becomes_infinite_beyond_its_range_without_a_warning():
    assert there_and_back("float16", np.array([7e4, -7e4, 65504], np.float32)).tolist() == [np.inf, -np.inf, 65504]


def test_int8_by_hand():
    # The largest magnitude is 254: the scale is 2, and numbers become multiples of it, ties to even ones.
    values = np.array([254, -254, 100, 101, 103, 0.9, -3], np.float32)
    encoded = CODECS["int8"].encode(values)
    assert encoded.shape == (1,)
    assert encoded.dtype.itemsize == 260
    assert encoded["scale"].tolist() == [2]
    assert encoded["values"][0, :7].tolist() == [127, -127, 50, 50, 52, 0, -2]  # 50.5, 51.5, 0.45 and -1.5
    assert there_and_back("int8", values).tolist() == [254, -254, 100, 100, 104, 0, -4]


@settings(deadline=None)
@given(st.integers(0, 3 * BLOCK), st.lists(st.floats(-30, 30), min_size=4, max_size=4), st.integers(0, 2**32 - 1))
def test_int8_errs_by_half_a_255th_of_the_blocks_range(length, magnitudes, seed):
    scales = np.repeat(10.0 ** np.array(magnitudes), BLOCK)[:length]
    values = (np.random.default_rng(seed).normal(size=length) * scales).astype(np.float32)
    error = np.abs(there_and_back("int8", values).astype(float) - values)
    assert len(CODECS["int8"].encode(values)) == -(-length // BLOCK)
    for begin in range(0, length, BLOCK):  # every block has a scale of its own; the last may be a part of one
        block = slice(begin, begin + BLOCK)
        assert error[block].max() <= np.abs(values[block]).max() / 254 * (1 + 1e-5)


def test_int8_blocks_do_not_disturb_each_other():
    values = np.full(BLOCK + 3, 1e-3, np.float32)
    values[5] = 1e6
    back = there_and_back("int8", values)
    np.testing.assert_allclose(back[BLOCK:], 1e-3, rtol=1e-6)
    assert back[4] == 0


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("values", [[], [0.0, 0.0], [0.0] * 300])
def test_nothing_stays_nothing(codec, values):
    assert there_and_back(codec, np.array(values, np.float32)).tolist() == values


@settings(deadline=None)
@given(st.sampled_from(sorted(CODECS)), VECTORS)
def test_what_has_been_rounded_is_not_rounded_again(codec, values):
    once = there_and_back(codec, np.clip(values, -6e4, 6e4))
    np.testing.assert_allclose(there_and_back(codec, once), once, rtol=1e-6)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("size", "length"), [(1, 300), (2, 0), (2, 6001), (3, 1), (3, 300), (5, 1), (5, 6001)])
def test_all_workers_get_the_same_bits_and_nearly_the_mean(codec, size, length):
    vectors = np.random.default_rng(length).normal(size=(size, length)).astype(np.float32)
    weights = np.arange(1.0, size + 1)

    def work(team):
        vector = vectors[team.rank].copy()
        mean_(team, vector, weights[team.rank], codec, residuals_for(team, vector, codec))
        return vector

    results = together(size, work)
    assert len({result.tobytes() for result in results}) == 1
    # Rounded twice. Numbers of a normal distribution stay below 5: float16 errs by 2^-9 at most (the place of 4 to 8 is
    # 2^-8), bfloat16 by 2^-6, int8 by 5/254 < 2^-5; and that twice.
    bound = 2 * {"float16": 2**-9, "bfloat16": 2**-6, "int8": 2**-5}[codec]
    assert np.abs(results[0] - weights @ vectors / weights.sum()).max(initial=0) <= bound


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_two_workers_by_hand(dtype):
    # Worker 0 brings (127, 0.25), worker 1 nothing, three quarters of it count: scale 1, so 127 and 0 are sent, and
    # 0.25 stays behind. The mean is (95.25, 0): scale 0.75, exactly 127 of it.
    def work(team):
        vector = np.array([127, 0.25] if team.rank == 0 else [0, 0], dtype)
        residuals = residuals_for(team, vector, "int8")
        mean_(team, vector, 3.0 if team.rank == 0 else 1.0, "int8", residuals)
        first, kept = vector.tolist(), residuals.vector.tolist()
        # Now nothing new: what was rounded off comes, as the largest number of its block, three quarters of it.
        vector[:] = 0
        mean_(team, vector, 3.0 if team.rank == 0 else 1.0, "int8", residuals)
        return first, kept, vector.tolist()

    (first, kept, second), (other, none, again) = together(2, work)
    assert first == other == [95.25, 0]
    assert (kept, none) == ([0, 0.25], [0, 0])
    assert second == again == pytest.approx([0, 0.1875])


@settings(deadline=None, max_examples=12)
@given(st.sampled_from(sorted(CODECS)), st.sampled_from([1, 2, 3]), st.integers(0, 2**32 - 1))
def test_over_many_rounds_all_that_was_sent_arrives(codec, size, seed):
    rounds, length = 30, 300
    sent = np.random.default_rng(seed).uniform(-0.9, 0.9, (rounds, size, length)).astype(np.float32)

    def work(team):
        arrived, residuals = np.zeros((rounds, length)), residuals_for(team, sent[0, 0], codec)
        for number in range(rounds):
            vector = sent[number, team.rank].copy()
            mean_(team, vector, 1.0, codec, residuals)
            arrived[number] = vector
        return arrived

    arrived = together(size, work)[0]
    off = np.abs((arrived - sent.mean(axis=1)).cumsum(axis=0)).max(axis=1)
    # Only the last rounding is missing, half a place at each end of the way; the numbers, with what was rounded off
    # before on top of them, are below 1. Without feedback errors of 30 rounds would add up, to 2 places and more.
    place = {"float16": 2**-11, "bfloat16": 2**-8, "int8": 1 / 127}[codec]
    assert off[0] > 0.2 * place
    assert off.max() <= 1.001 * place


def test_who_does_not_count_in_a_round_loses_nothing():
    # As in the first half of "by hand", 0.4 of worker 1 stays behind. In the second round it has no rows, and so no
    # weight: its vector is not counted. In the third, 0.4 must still come: half of it, the mean of two.
    def work(team):
        total, residuals = np.zeros(2), residuals_for(team, np.zeros(2, np.float32), "int8")
        for number in range(3):
            vector = np.array([127, 0.4] if (number, team.rank) == (0, 1) else [0, 0], np.float32)
            mean_(team, vector, 0.0 if (number, team.rank) == (1, 1) else 1.0, "int8", residuals)
            total += vector
        return total.tolist()

    assert together(2, work)[0] == pytest.approx([63.5, 0.2], abs=0.01)


@pytest.mark.parametrize("codec", CODECS)
def test_a_worker_of_weight_0_is_not_counted_nan_and_all(codec):
    def work(team):
        vector = np.full(300, np.nan if team.rank == 1 else 1.0, np.float32)
        mean_(team, vector, 0.0 if team.rank == 1 else 2.0, codec, residuals_for(team, vector, codec))
        return vector

    for result in together(3, work):
        np.testing.assert_allclose(result, 1, rtol=1e-6)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("huge", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_arrives_as_such_without_a_warning(codec, huge):
    def work(team):
        vector = np.ones(300, np.float32)
        vector[7] = huge if team.rank == 1 else 1.0
        mean_(team, vector, 1.0, codec, residuals_for(team, vector, codec))
        return vector

    for result in together(2, work):
        assert not np.isfinite(result[7])


@pytest.mark.parametrize("strategy", ["gradient:send=float16", "periodic:1,send=float16", "periodic:1,send=int8"])
def test_a_run_that_diverges_says_so(digits, strategy):
    wild = MLPSettings(hidden=(16,), optimizer="sgd", learning_rate=1e6)
    with pytest.raises(DivergedError):
        run(resolve(RunSpec(strategy=strategy, workers=2, epochs=3, network=wild), digits), digits)


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize(("codec", "share"), [("float16", 0.51), ("bfloat16", 0.51), ("int8", 0.27)])
def test_bytes_are_those_that_are_sent(codec, share, size):
    def work(team):
        vector = np.ones(6000, np.float32)
        mean_(team, vector, 1.0, codec, residuals_for(team, vector, codec))
        coded = team.bytes_sent
        team.mean_(vector)
        return coded / (team.bytes_sent - coded)

    # int8: ceil(6000 / 256) = 24 blocks of 260 bytes, and a weight of 8 bytes from each of n: 6240 + 8 n of 24000.
    ratios = together(size, work)
    assert max(ratios) <= share
    if codec == "int8":
        assert ratios == [pytest.approx((6240 + 8 * size) / 24000)] * size


def test_one_worker_sends_nothing(blobs):
    # DiLoCo has rounds even then.
    plan = resolve(RunSpec(strategy="diloco:1epoch,send=int8", team="solo", epochs=2, batch=25), blobs)
    result = run(plan, blobs)
    assert (result.rounds, result.bytes_sent) == (2, 0)


@pytest.mark.parametrize(
    "strategy", [f"{kind}send={codec}" for kind in ("gradient:", "periodic:4,") for codec in CODECS]
)
def test_training_hardly_notices(blobs, strategy):
    chosen = {"workers": 3, "epochs": 20, "batch": 25, "seed": 3}
    settings = MLPSettings(hidden=(12,), optimizer="sgd", learning_rate=0.05)
    full = run(
        resolve(RunSpec(strategy=strategy.partition("send=")[0].strip(":,"), network=settings, **chosen), blobs), blobs
    )
    fewer = run(resolve(RunSpec(strategy=strategy, network=settings, **chosen), blobs), blobs)
    assert fewer.rounds == full.rounds
    assert 0 < fewer.bytes_sent < full.bytes_sent * (5 if "int8" in strategy else 0.8)  # so small a net is one block
    difference = fewer.model.learner.parameters - full.model.learner.parameters
    assert 0 < np.abs(difference).max() < 0.02
