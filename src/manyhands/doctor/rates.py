"""Rates of arithmetic and copying on one core, measured in about a second.

``measured_rates`` measures in a process of its own (``python -m manyhands.doctor.rates``): kernels that were chosen by
a variable may use instructions that this CPU does not have.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from manyhands.doctor.child import answer_of

SHAPES = {"batch": (200, 80, 784), "large": (2048, 2048, 2048)}
"""m, n, k of C = A B: a batch of 200 images and the first layer of 784-75-10 (75 padded to 80), and a large product."""

_SECONDS = {"batch": 0.1, "large": 0.25}
"""The seconds to measure: enough for several large products, as the first one also gets its memory."""
_PATIENCE = 120.0
_COPIED_BYTES = 1 << 26  # more than most caches hold


def measured_rates() -> dict[str, Any]:
    """Return float32 operations per second of one core, and bytes per second of a copy.

    Returns
    -------
    dict
        ``peak``: multiply-adds in registers; ``private`` and ``numpy``: matrix products by shape, see `SHAPES`;
        ``copy``: bytes read and written per second.
    """
    return answer_of(["-m", "manyhands.doctor.rates"], _PATIENCE, "measures")


def measure() -> dict[str, Any]:
    """Return the rates that this process measures; see `measured_rates`."""
    from threadpoolctl import threadpool_limits

    from manyhands.doctor.peak import multiply_add_rate
    from manyhands.learners.mlp.blas import matrix_product_rate

    peak = multiply_add_rate(_SECONDS["batch"])
    private = {name: matrix_product_rate(*shape, _SECONDS[name]) for name, shape in SHAPES.items()}
    with threadpool_limits(1):
        numpys = {name: numpy_product_rate(*shape, _SECONDS[name]) for name, shape in SHAPES.items()}
    return {"peak": peak, "private": private, "numpy": numpys, "copy": copy_rate(_SECONDS["batch"])}


def numpy_product_rate(m: int, n: int, k: int, seconds: float) -> float:
    """Return the float32 operations per second of NumPy's matrix product, measured like `matrix_product_rate`."""
    import numpy as np

    a, b, c = np.full((m, k), 0.5, np.float32), np.full((k, n), 0.5, np.float32), np.zeros((m, n), np.float32)
    return 2 * m * n * k / _shortest(lambda: np.matmul(a, b, out=c), seconds)


def copy_rate(seconds: float) -> float:
    """Return the bytes per second that one core reads and writes when it copies 64 MiB."""
    import numpy as np

    source, target = np.ones(_COPIED_BYTES, np.uint8), np.zeros(_COPIED_BYTES, np.uint8)
    return 2 * _COPIED_BYTES / _shortest(lambda: np.copyto(target, source), seconds)


def _shortest(work: Callable[[], Any], seconds: float) -> float:
    """Return the shortest time that ``work`` took, repeated for about that many seconds and at least once."""
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


if __name__ == "__main__":
    print(json.dumps(measure()))
