"""A private copy of OpenBLAS, of which compiled kernels call the matrix product.

Why not the BLAS of NumPy or SciPy: whoever imported those first has fixed its kernels and its number of threads. On
CPUs it does not know (or told so by OPENBLAS_CORETYPE, read once, when the library is loaded), OpenBLAS uses kernels
for older ones, at half the speed. A copy of our own obeys us and leaves the user's alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from manyhands.runtime.jit import overload, types

_AVX512 = ("avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl")
_ROW_MAJOR, _NO_TRANSPOSE, _TRANSPOSE, _UPPER = 101, 111, 112, 121
_FLOAT, _DOUBLE = ctypes.c_float, ctypes.c_double


def best_core_type() -> str | None:
    """Return the OpenBLAS core type to ask for on this CPU, or None to let OpenBLAS choose.

    MANYHANDS_BLAS_CORE overrides it. OPENBLAS_CORETYPE does not: it is set, where it is set, to calm the copies inside
    NumPy and SciPy. AVX-512 kernels are asked for only where the CPU has every part of AVX-512 that they use.
    """
    if "MANYHANDS_BLAS_CORE" in os.environ:
        return os.environ["MANYHANDS_BLAS_CORE"]
    return fastest_core_type()


def fastest_core_type() -> str | None:
    """Return what `best_core_type` is where no variable overrides it."""
    features = llvm.get_host_cpu_features()
    return "SkylakeX" if all(features.get(name, False) for name in _AVX512) else None


def _load() -> ctypes.CDLL:
    """Load the private copy: best core type, one thread (workers are the parallelism)."""
    with _environment(OPENBLAS_CORETYPE=best_core_type(), OPENBLAS_NUM_THREADS="1"):
        import scipy_openblas32  # importing it loads the library already, so not before the environment is set

        path = Path(scipy_openblas32.get_lib_dir()) / scipy_openblas32.get_library(fullname=True)
        library = ctypes.CDLL(str(path))
    library.scipy_openblas_set_num_threads(1)
    for name in ("sgemm", "dgemm"):
        address = ctypes.cast(getattr(library, f"scipy_cblas_{name}"), ctypes.c_void_p).value
        llvm.add_symbol(f"manyhands_{name}", address)
    return library


@contextlib.contextmanager
def _environment(**values: str | None) -> Iterator[None]:
    """Set environment variables (None: leave as is) for the length of a block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: value for name, value in values.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# Here and not in a function: the linker must know the symbols before any cached kernel that calls them is read.
_library = _load()


def description() -> dict[str, str | int]:
    """Return what is used: library, version, core type and threads."""
    config = _library.scipy_openblas_get_config
    core = _library.scipy_openblas_get_corename
    config.restype = core.restype = ctypes.c_char_p
    version = next((word for word in config().decode().split() if word[:1].isdigit()), "unknown")
    return {
        "library": "OpenBLAS (private copy)",
        "version": version,
        "core_type": core().decode(),
        "threads": int(_library.scipy_openblas_get_num_threads()),
    }


def matrix_product_rate(m: int, n: int, k: int, seconds: float = 0.1) -> float:
    """Return the float32 operations per second of one core in matrix products (m, k) (k, n) of the private copy.

    It measures for about so many seconds; the best of several products counts, and one is made in any case.
    """
    gemm = _library.scipy_cblas_sgemm
    size, real, place = ctypes.c_int, ctypes.c_float, ctypes.c_void_p
    gemm.argtypes = [size] * 6 + [real, place, size, place, size, real, place, size]
    gemm.restype = None
    a, b, c = np.full((m, k), 0.5, np.float32), np.full((k, n), 0.5, np.float32), np.zeros((m, n), np.float32)
    pointers = [each.ctypes.data for each in (a, b, c)]
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        began = time.perf_counter()
        gemm(
            *(_ROW_MAJOR, _NO_TRANSPOSE, _NO_TRANSPOSE, m, n, k),
            *(1.0, pointers[0], k, pointers[1], n, 0.0, pointers[2], n),
        )
        best = min(best, time.perf_counter() - began)
    return 2 * m * n * k / best


def gram(block: NDArray[Any], out: NDArray[Any]) -> None:
    """Write the upper triangle of block.T @ block, shapes (rows, k) and (k, k); both float32, or both float64.

    What is below the diagonal stays as it is. The interpreter's lock is free meanwhile.
    """
    single = block.dtype == np.float32
    syrk = _library.scipy_cblas_ssyrk if single else _library.scipy_cblas_dsyrk
    rows, width = block.shape
    syrk(
        *(_ROW_MAJOR, _UPPER, _TRANSPOSE, width, rows),
        *((_FLOAT if single else _DOUBLE)(1.0), ctypes.c_void_p(block.ctypes.data), block.strides[0] // block.itemsize),
        *((_FLOAT if single else _DOUBLE)(0.0), ctypes.c_void_p(out.ctypes.data), width),
    )


def _external(name: str, real: Any) -> Any:
    """Declare cblas_?gemm; pointers are passed as integers."""
    i, p = types.int32, types.uintp
    return types.ExternalFunction(name, types.void(i, i, i, i, i, i, real, p, i, p, i, real, p, i))


_SGEMM = _external("manyhands_sgemm", types.float32)
_DGEMM = _external("manyhands_dgemm", types.float64)


def matrix_product(
    transpose_a: bool,
    transpose_b: bool,
    m: int,
    n: int,
    k: int,
    a: Any,
    at: int,
    pitch: int,
    b: Any,
    bt: int,
    c: Any,
    ct: int,
) -> None:
    """C = op(A) op(B), for compiled code only; row-major blocks inside flat arrays.

    Parameters
    ----------
    transpose_a, transpose_b
        Whether op transposes: A is stored (k, m) then, B (n, k).
    m, n, k
        op(A) is (m, k), op(B) is (k, n), C is (m, n).
    a, b, c
        Flat contiguous arrays of one dtype, float32 or float64.
    at, bt, ct
        Where in them the matrices begin.
    pitch
        Elements from one stored row of A to the next.
    """
    raise NotImplementedError("matrix_product can be called from compiled code only")


@overload(matrix_product)
def _matrix_product(
    _transpose_a: Any, _transpose_b: Any, _m: Any, _n: Any, _k: Any, a: Any, *_others: Any
) -> Callable[..., None]:
    gemm = _SGEMM if a.dtype == types.float32 else _DGEMM
    width = 4 if a.dtype == types.float32 else 8

    def implementation(
        transpose_a: Any,
        transpose_b: Any,
        m: Any,
        n: Any,
        k: Any,
        a: Any,
        at: Any,
        pitch: Any,
        b: Any,
        bt: Any,
        c: Any,
        ct: Any,
    ) -> None:
        gemm(
            _ROW_MAJOR,
            _TRANSPOSE if transpose_a else _NO_TRANSPOSE,
            _TRANSPOSE if transpose_b else _NO_TRANSPOSE,
            m,
            n,
            k,
            1.0,
            a.ctypes.data + at * width,
            pitch,
            b.ctypes.data + bt * width,
            k if transpose_b else n,
            0.0,
            c.ctypes.data + ct * width,
            n,
        )

    return implementation
