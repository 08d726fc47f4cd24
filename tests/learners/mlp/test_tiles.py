import numpy as np
import pytest

from manyhands.compiling import compiled
from manyhands.learners.mlp import tiles


@compiled
def multiply(transpose, m, n, k, a, at, pitch, b, bt, c, ct):
    tiles.tiled_product(transpose, m, n, k, a, at, pitch, b, bt, c, ct)


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
