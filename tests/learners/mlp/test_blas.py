import os
import subprocess
import sys

import numpy as np
import pytest

from manyhands.learners.mlp import blas
from manyhands.learners.mlp.blas import matrix_product
from manyhands.runtime.jit import compiled


@compiled
def multiply(transpose_a, transpose_b, m, n, k, a, at, pitch, b, bt, c, ct):
    matrix_product(transpose_a, transpose_b, m, n, k, a, at, pitch, b, bt, c, ct)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_product_equals_numpys(dtype, transpose_a, transpose_b):
    rng = np.random.default_rng(0)
    m, n, k = 7, 5, 11
    a = rng.normal(size=(k, m) if transpose_a else (m, k)).astype(dtype)
    b = rng.normal(size=(n, k) if transpose_b else (k, n)).astype(dtype)
    c = np.full(m * n + 3, 9, dtype)
    left, right = np.concatenate([[0], a.ravel()]).astype(dtype), np.concatenate([[0, 0], b.ravel()]).astype(dtype)
    multiply(transpose_a, transpose_b, m, n, k, left, 1, a.shape[1], right, 2, c, 3)
    expected = (a.T if transpose_a else a) @ (b.T if transpose_b else b)
    np.testing.assert_allclose(c[3:].reshape(m, n), expected, rtol=1e-5, atol=1e-5)
    assert c[:3].tolist() == [9, 9, 9]


def test_the_private_copy_has_one_thread():
    assert blas.description()["threads"] == 1


def core_type_with(**variables: str) -> str:
    code = "from manyhands.learners.mlp import blas; print(blas.description()['core_type'])"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS", "MANYHANDS"))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | variables, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_users_core_type_does_not_reach_the_private_copy():
    # The variable is meant for NumPy's and SciPy's copies; ours must not fall back to slow kernels because of it.
    assert core_type_with(OPENBLAS_CORETYPE="Prescott") == core_type_with()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="core types of x86")
def test_our_own_variable_chooses_the_core_type():
    assert core_type_with(MANYHANDS_BLAS_CORE="Nehalem") == "Nehalem"


def test_the_environment_is_left_as_it_was():
    code = (
        "import os; before = dict(os.environ); from manyhands.learners.mlp import blas; "
        "assert dict(os.environ) == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 5, 11)])
def test_rate_is_measured_even_in_no_time(shape):
    assert blas.matrix_product_rate(*shape, seconds=0) > 0


def test_our_own_variable_does_not_change_what_is_fastest(monkeypatch):
    fastest = blas.fastest_core_type()
    monkeypatch.setenv("MANYHANDS_BLAS_CORE", "Nehalem")
    assert (blas.best_core_type(), blas.fastest_core_type()) == ("Nehalem", fastest)
