"""One typed door to Numba.

Only modules that hold compiled kernels import this one, and those are imported when training begins: Numba takes
longer to import than the rest of the package together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numba.extending

Function = TypeVar("Function", bound=Callable[..., object])

# Everything of fastmath that helps reductions to use vector registers, but not `nnan` and `ninf`: with those the
# compiler may delete the test for a non-finite loss.
_SAFE_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}


def compiled(function: Function) -> Function:
    """Compile ``function`` to machine code: no GIL, cached on disk, NumPy's rules for division by zero.

    The code is compiled at the first call with new argument types, then read from the cache. Where no folder for the
    cache can be written (a read-only installation without a home), it is compiled anew in each process.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": _SAFE_FASTMATH}
    try:
        result = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # "no locator available": nowhere to write the cache
        result = numba.njit(**options)(function)
    return cast(Function, result)


def overload(target: Function, *, inline: str = "never") -> Callable[[Callable[..., object]], object]:
    """Decorate the function that chooses an implementation of ``target`` by the types of its arguments."""
    return cast("Callable[[Callable[..., object]], object]", numba.extending.overload(target, inline=inline))


def intrinsic(function: Callable[..., object]) -> Callable[..., Any]:
    """Decorate a function that writes LLVM instructions itself."""
    return cast("Callable[..., Any]", numba.extending.intrinsic(function))
