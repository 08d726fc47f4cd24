"""One typed door to Numba, and where compiled code is kept.

Only modules that hold compiled kernels import this one, and those are imported when training begins: Numba takes
longer to import than the rest of the package together.

Compiled code is kept in the user's cache folder (MANYHANDS_CACHE moves it), in a folder named by a digest of all
sources that have compiled code. Numba itself would only notice a change in the file of the function that Python calls,
and go on using old code of what that function calls in other files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numba.extending

from manyhands.files import cache_folder

Function = TypeVar("Function", bound=Callable[..., object])

# Everything of fastmath that helps reductions to use vector registers, but not `nnan` and `ninf`: with those the
# compiler may delete the test for a non-finite loss.
_SAFE_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": _SAFE_FASTMATH}
_PACKAGE = Path(__file__).parent


def code_folder() -> Path:
    """Return the folder for compiled code of exactly these sources."""
    digest = hashlib.sha256()
    for path in sorted([*_PACKAGE.glob("learners/**/*.py"), _PACKAGE / "synchronization.py", Path(__file__)]):
        digest.update(path.read_bytes())
    return cache_folder() / "compiled" / digest.hexdigest()[:16]


_CODE_FOLDER = str(code_folder())


def compiled(function: Function) -> Function:
    """Compile ``function`` to machine code: no GIL, cached on disk, NumPy's rules for division by zero.

    The code is compiled at the first call with new argument types, then read from the cache. Where the cache's folder
    cannot be written (a machine without a home), it is compiled anew in each process.
    """
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = _CODE_FOLDER  # read when the decorator runs
    try:
        result = numba.njit(cache=True, nogil=True, **_OPTIONS)(function)
    except (RuntimeError, OSError):  # nowhere to write
        result = numba.njit(nogil=True, **_OPTIONS)(function)
    finally:
        numba.config.CACHE_DIR = before
    return cast(Function, result)


def inlined(function: Function) -> Function:
    """Compile ``function`` as a part of the compiled functions that call it, and of nothing else.

    Only functions that Python calls are `compiled`; whatever they call is `inlined`. Were it compiled on its own, the
    linker could take one of several, differently optimized copies, and the process that compiled would get other bits
    than those that read the cache later.
    """
    return cast(Function, numba.njit(forceinline=True, **_OPTIONS)(function))


def overload(target: Function) -> Callable[[Callable[..., object]], object]:
    """Decorate the function that chooses an implementation of ``target`` by the types of its arguments; `inlined`."""
    return cast("Callable[[Callable[..., object]], object]", numba.extending.overload(target, inline="always"))


def intrinsic(function: Callable[..., object]) -> Callable[..., Any]:
    """Decorate a function that writes LLVM instructions itself."""
    return cast("Callable[..., Any]", numba.extending.intrinsic(function))
