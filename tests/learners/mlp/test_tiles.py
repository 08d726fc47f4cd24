import numpy as np
import pytest

from manyhands.learners.mlp import tiles
from manyhands.runtime.jit import compiled


@compiled
def forward(rows, terms, n, a, at, pitch, b, bt, c, ct):
    tiles.forward_product(rows, terms, len(terms), n, a, at, pitch, b, bt, c, ct)


@compiled
def backward_with(k, numbers, first, last, n, a, at, pitch, b, bt, c, ct, listed, packed):
    tiles.backward_product(k, numbers, first, last, n, a, at, pitch, b, bt, c, ct, listed, True, packed)


def backward(k, numbers, first, last, n, a, at, pitch, b, bt, c, ct, listed=True):
    packed = np.zeros(k * (n + tiles.HEIGHTS), np.float32)
    backward_with(k, numbers, first, last, n, a, at, pitch, b, bt, c, ct, listed, packed)


def multiply(transpose, m, n, k, a, at, pitch, b, bt, c, ct):
    """Leave nothing out."""
    if transpose:
        backward(k, np.arange(m), 0, m, n, a, at, pitch, b, bt, c, ct)
    else:
        forward(m, np.arange(k), n, a, at, pitch, b, bt, c, ct)


pytestmark = pytest.mark.skipif(not tiles.available(), reason="this CPU has no AVX-512")


# Every tile (1..5 vectors wide, and several blocks of them) with rows that fill tiles and rows that are left over.
@pytest.mark.parametrize("n", [16, 32, 48, 64, 80, 96, 112, 272])
@pytest.mark.parametrize("m", [1, 4, 5, 12, 29])
@pytest.mark.parametrize("transpose", [False, True])
def test_product_equals_numpys(m, n, transpose):
    rng = np.random.default_rng(m * n)
    k = 13
    a = rng.normal(size=(k, m) if transpose else (m, k)).astype(np.float32)
    b = rng.normal(size=(k, n)).astype(np.float32)
    c = np.full(m * n + 5, 9, np.float32)
    multiply(transpose, m, n, k, np.r_[np.float32(0), a.ravel()], 1, a.shape[1], b.ravel(), 0, c, 3)
    np.testing.assert_allclose(c[3:-2].reshape(m, n), (a.T if transpose else a) @ b, rtol=1e-5, atol=1e-5)
    assert c[:3].tolist() == [9, 9, 9]
    assert c[-2:].tolist() == [9, 9]


def test_a_single_step_of_k():
    a, b, c = np.array([2, 3], np.float32), np.arange(16, dtype=np.float32), np.zeros(32, np.float32)
    multiply(False, 2, 16, 1, a, 0, 1, b, 0, c, 0)
    assert c.tolist() == [*(2 * b).tolist(), *(3 * b).tolist()]


def test_a_part_of_a_wider_matrix():
    rng = np.random.default_rng(0)
    a, b, c = (
        rng.normal(size=(9, 7)).astype(np.float32),
        rng.normal(size=(9, 16)).astype(np.float32),
        np.zeros(48, "f4"),
    )
    multiply(True, 3, 16, 9, a.ravel(), 2, 7, b.ravel(), 0, c, 0)
    np.testing.assert_allclose(c.reshape(3, 16), a[:, 2:5].T @ b, rtol=1e-5, atol=1e-6)


def test_nan_is_passed_on():
    a, b, c = np.array([np.nan], np.float32), np.ones(16, np.float32), np.zeros(16, np.float32)
    multiply(False, 1, 16, 1, a, 0, 1, b, 0, c, 0)
    assert np.isnan(c).all()


@pytest.mark.parametrize("n", [16, 80, 96])
def test_only_listed_terms_are_summed(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=(7, 20)).astype(np.float32), rng.normal(size=(20, n)).astype(np.float32)
    terms, c = np.array([0, 3, 4, 19]), np.zeros(7 * n, np.float32)
    a[:, 5], b[6] = np.nan, np.nan  # not listed, hence not looked at
    forward(7, terms, n, a.ravel(), 0, 20, b.ravel(), 0, c, 0)
    np.testing.assert_allclose(c.reshape(7, n), a[:, terms] @ b[terms], rtol=1e-5, atol=1e-5)


def test_no_terms_make_zero():
    c = np.full(32, 5, np.float32)
    forward(2, np.zeros(0, np.int64), 16, np.ones(4, np.float32), 0, 2, np.ones(32, np.float32), 0, c, 0)
    assert not c.any()


@pytest.mark.parametrize("n", [16, 80, 96])
def test_only_listed_rows_are_written(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=(9, 20)).astype(np.float32), rng.normal(size=(9, n)).astype(np.float32)
    numbers, c = np.array([1, 2, 3, 5, 8, 9, 12, 13, 17, 19]), np.full(20 * n, 9, np.float32)
    backward(9, numbers, 1, 9, n, a.ravel(), 0, 20, b.ravel(), 0, c, 0)
    c = c.reshape(20, n)
    np.testing.assert_allclose(c[numbers[1:9]], a[:, numbers[1:9]].T @ b, rtol=1e-5, atol=1e-5)
    assert (np.delete(c, numbers[1:9], axis=0) == 9).all()


@pytest.mark.parametrize("listed", [False, True])
def test_matrices_that_are_copied_to_where_they_lie_together(listed):
    rng, k, m, n = np.random.default_rng(2), 7, 130, tiles.WIDEST + 48
    a, b = rng.normal(size=(k, m)).astype(np.float32), rng.normal(size=(k, n)).astype(np.float32)
    c = np.zeros(m * n, np.float32)
    numbers = np.flatnonzero(rng.random(m) < 0.5) if listed else np.arange(m)
    backward(k, numbers, 0, len(numbers), n, a.ravel(), 0, m, b.ravel(), 0, c, 0, listed)
    found, wanted = c.reshape(m, n), a.T @ b
    np.testing.assert_allclose(found[numbers], wanted[numbers], rtol=1e-5, atol=1e-5)
    assert not np.delete(found, numbers, axis=0).any()
