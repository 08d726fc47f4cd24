import numpy as np
import pytest

from manyhands.core.errors import OutOfMemoryError
from manyhands.runtime import memory
from manyhands.runtime.memory import aligned_zeros, check_memory, in_words, memory_errors_explained, peak_resident


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 17, 100_001])
def test_vectors_begin_at_a_cache_line_and_are_zero(dtype, size):
    vectors = [aligned_zeros(size, dtype) for _ in range(5)]
    for vector in vectors:
        assert vector.ctypes.data % 64 == 0
        assert vector.shape == (size,)
        assert vector.dtype == dtype
        assert not vector.any()
        assert vector.flags.c_contiguous
        assert vector.flags.writeable


def test_what_fits_is_let_pass_and_what_does_not_is_named(monkeypatch):
    monkeypatch.setattr(memory, "memory_room", lambda: (1 << 30, "free on this machine"))
    check_memory(1 << 30, "it", "use less")
    with pytest.raises(
        OutOfMemoryError, match=r"^it would take 3\.0 GiB, and 1\.0 GiB are free on this machine; use less$"
    ):
        check_memory(3 << 30, "it", "use less")


@pytest.mark.parametrize("room", [None, (0, "free")])
def test_what_is_small_or_where_nothing_is_known_is_let_pass(monkeypatch, room):
    monkeypatch.setattr(memory, "memory_room", lambda: room)
    check_memory(1 if room else 1 << 50, "it", "use less")


def test_the_peak_counts_what_is_gone_again():
    before = peak_resident()
    np.ones(32 << 17)  # 32 MiB
    after = peak_resident()
    assert after >= before > 1 << 20
    np.ones((after + (64 << 20)) // 8)
    assert peak_resident() >= after + (32 << 20)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1 << 20, "1.0 MiB"), (3 << 69, "1.5 ZiB"), (10**40, "1.0e+40 bytes")],
)
def test_sizes_in_words(size, text):
    assert in_words(size) == text
    assert in_words(10**4000)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 59.6 GiB"),
        ValueError("Maximum allowed dimension exceeded"),
        ValueError("array is too big; `arr.size * arr.dtype.itemsize` is larger than the maximum possible size."),
    ],
)
def test_errors_about_memory_become_one_kind(error):
    with (
        pytest.raises(OutOfMemoryError, match=r"^the fit has run out of memory") as caught,
        memory_errors_explained("the fit"),
    ):
        raise error
    assert caught.value.__cause__ is error
    assert isinstance(caught.value, MemoryError)


@pytest.mark.parametrize("error", [ImportError("failed to map"), OSError("no libllvmlite.so"), SystemError("nothing")])
@pytest.mark.parametrize("room", [1 << 20, 1 << 40])
def test_libraries_fail_in_ways_of_their_own_where_memory_is_scarce(monkeypatch, error, room):
    monkeypatch.setattr(memory, "memory_room", lambda: (room, "left of the limit of ulimit -v"))
    with pytest.raises(OutOfMemoryError if room == 1 << 20 else type(error)), memory_errors_explained("the run"):
        raise error


@pytest.mark.parametrize("error", [ValueError("other"), BrokenPipeError(32, "pipe"), OutOfMemoryError("said")])
def test_other_errors_stay(monkeypatch, error):
    monkeypatch.setattr(memory, "memory_room", lambda: (1, "free"))
    with pytest.raises(type(error)) as caught, memory_errors_explained("the run"):
        raise error
    assert caught.value is error


def test_memory_that_is_too_scarce_to_ask_about_it(monkeypatch):
    def fail():
        raise MemoryError

    monkeypatch.setattr(memory, "memory_room", fail)
    with pytest.raises(OutOfMemoryError, match=r"^the run has run out of memory"), memory_errors_explained("the run"):
        raise SystemError("error return without exception set")
