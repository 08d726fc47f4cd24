"""The typed interface to Numba for all compiled code, and the folder for that code.

Only modules with compiled kernels import this one, when training begins: Numba takes longer to import than the rest of
the package together.

Compiled code is kept in the user's cache folder (MANYHANDS_CACHE moves it), in a folder named by a digest of all
sources that have compiled code. Numba itself would only notice changes in the file of the function that Python calls,
and go on using old code of functions in other files.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

from manyhands.core.errors import OutOfMemoryError, SettingsError
from manyhands.runtime.atomic_files import cache_folder
from manyhands.runtime.memory import memory_errors_explained
from manyhands.runtime.trusted_files import TrustedFolder

try:
    with memory_errors_explained("Numba, which compiles what trains,"):
        import numba
        import numba.extending
        from numba import types as types
        from numba.core import cgutils as cgutils
        from numba.core import event
except OutOfMemoryError:
    raise
except Exception as error:  # a NumPy that it does not know, or NUMBA_NUM_THREADS=0
    raise SettingsError(f"Numba, which compiles what trains, cannot be imported: {error}") from error

from manyhands.runtime.code_cache import cache_for


def _check_numba() -> None:
    """Raise SettingsError for variables that leave Numba without a compiler, or end the process inside of it."""
    if numba.config.DISABLE_JIT:
        raise SettingsError(
            "NUMBA_DISABLE_JIT is set, but what trains exists as compiled code only; unset it (in bash: "
            "unset NUMBA_DISABLE_JIT)"
        )
    features = os.environ.get("NUMBA_CPU_FEATURES", "")
    wrong = [each for each in features.split(",") if features and not each.startswith(("+", "-"))]
    if wrong:  # LLVM would abort
        raise SettingsError(
            f"NUMBA_CPU_FEATURES has {wrong[0]!r}; each feature begins with + or -, as in +avx2,-avx512f"
        )


_check_numba()


def _import_numpy_support() -> None:
    """Import Numba's support of NumPy functions without all of scipy.linalg, a fifth of a small run's start.

    Numba imports it only to see that SciPy's BLAS could be linked if somebody used `numpy.dot`; a stand-in is enough
    for that look, and who compiles such a function later still gets the real one.
    """
    names = ("scipy.linalg", "scipy.linalg.cython_blas")
    if names[0] in sys.modules or "numba.np.arraymath" in sys.modules:
        return
    sys.modules.update({name: ModuleType(name) for name in names})
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        for name in names:
            del sys.modules[name]


_import_numpy_support()

Function = TypeVar("Function", bound=Callable[..., object])

# Everything of fastmath that helps reductions to use vector registers, but not `nnan` and `ninf`: with those the
# compiler may delete the test for a non-finite loss.
_SAFE_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}

# No reference counts (`_nrt`): kernels allocate nothing, and compile a tenth faster.
_OPTIONS: dict[str, Any] = {"_nrt": False, "error_model": "numpy", "fastmath": _SAFE_FASTMATH}
# A wrapper would be another copy of all that is inlined, to be optimized like the first.
_INSIDE: dict[str, Any] = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_PACKAGE = Path(__file__).parents[1]
_SOURCES = ("runtime/*.py", "learners/**/*.py", "doctor/peak.py")
"""Files, below the package's folder, that hold compiled code or decide how it is compiled."""


def code_folder() -> Path:
    """Return the folder for compiled code of exactly these sources."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _SOURCES for path in _PACKAGE.glob(pattern)):
        digest.update(path.read_bytes())
    return cache_folder() / "compiled" / digest.hexdigest()[:16]


def kept_code() -> TrustedFolder:
    """Return the folder of the compiled code of exactly these sources, with its checks."""
    folder = code_folder()
    return TrustedFolder(folder.parents[1], *folder.parts[-2:])


_KEPT = kept_code()


def compiled(function: Function) -> Function:
    """Compile ``function`` to machine code: no GIL, cached on disk, NumPy's rules for division by zero.

    The code is compiled at the first call with new argument types, then read from the cache. Where it cannot be kept
    (a machine without a home, a full disk, a folder that others can write), it is compiled anew in each process.
    """
    dispatcher = numba.njit(nogil=True, no_cfunc_wrapper=True, **_OPTIONS)(function)
    cache = cache_for(function, _KEPT)
    if cache is not None:
        dispatcher._cache = cache
    return cast(Function, dispatcher)


class _Compilations(event.Listener):  # type: ignore[misc]
    """Says once that code is being compiled, and at the end of `gc_paused` how long that took.

    Parameters
    ----------
    say
        Takes what is said.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say, self._said = say, False
        self._depth, self._began, self._seconds = 0, 0.0, 0.0

    def on_start(self, _event: event.Event) -> None:
        """Say it at the first compilation."""
        if not self._said:
            self._said = True
            self._say("compiling kernels for this CPU (once per dtype, a few seconds, not included in any timing)")
        if self._depth == 0:
            self._began = time.perf_counter()
        self._depth += 1

    def on_end(self, _event: event.Event) -> None:
        """Count the time of compilations that are not part of others."""
        self._depth -= 1
        if self._depth == 0:
            self._seconds += time.perf_counter() - self._began

    def finish(self) -> None:
        """Say how long it took."""
        if self._seconds:
            self._say(f"compiling kernels for this CPU took {self._seconds:.1f} s")
        self._seconds = 0.0


_listening = [_Compilations(lambda text: logging.getLogger("manyhands").info(text))]
event.register("numba:compile", _listening[0])


@contextlib.contextmanager
def compilations_said(say: Callable[[str], object]) -> Iterator[None]:
    """Call ``say`` with a line when code is compiled in the block, and with one that has the time it took."""
    listener = _Compilations(say)
    event.register("numba:compile", listener)
    _listening.append(listener)
    try:
        yield
    finally:
        _listening.remove(listener)
        event.unregister("numba:compile", listener)


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Collect no garbage during the block, in which code is compiled: it takes a tenth of the time of that."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
        for each in _listening:
            each.finish()


def inlined(function: Function) -> Function:
    """Compile ``function`` as a part of the compiled functions that call it only.

    Only functions that Python calls are `compiled`; whatever they call is `inlined`. Compiled on its own, it would
    exist in differently optimized copies, and the process that compiled would get other bits than those that read the
    cache later.
    """
    return cast(Function, numba.njit(**_INSIDE, **_OPTIONS)(function))


def compiled_exactly(function: Function) -> Function:
    """Compile as `compiled` does, but round every operation as it is written: no reordering, no fused products.

    For comparisons of numbers that may be equal, which others compute in the same order: a last bit decides there.
    """
    dispatcher = numba.njit(nogil=True, no_cfunc_wrapper=True, **{**_OPTIONS, "fastmath": False})(function)
    cache = cache_for(function, _KEPT)
    if cache is not None:
        dispatcher._cache = cache
    return cast(Function, dispatcher)


def inlined_exactly(function: Function) -> Function:
    """Compile ``function`` as a part of those that are `compiled_exactly`."""
    return cast(Function, numba.njit(**_INSIDE, **{**_OPTIONS, "fastmath": False})(function))


def inline_ir(function: Function) -> Function:
    """Copy ``function`` into the compiled functions that call it, before anything is compiled.

    It saves the time of optimizing it apart and once more with its callers, and costs some for each place that calls
    it: for functions that are called in one place and call much.
    """
    return cast(Function, numba.njit(inline="always", **_OPTIONS)(function))


def overload(target: Function, *, splice: bool = False) -> Callable[[Callable[..., object]], object]:
    """Decorate the function that chooses an implementation of ``target`` by the types of its arguments.

    The chosen one is `inlined`, or `spliced`.
    """
    options = _OPTIONS if splice else {**_INSIDE, **_OPTIONS}
    return cast(
        "Callable[[Callable[..., object]], object]",
        # Not strict: it would compare annotations, which say types on one side and their descriptions on the other.
        numba.extending.overload(target, jit_options=options, strict=False, inline="always" if splice else "never"),
    )


def intrinsic(function: Callable[..., object]) -> Callable[..., Any]:
    """Decorate a function that writes LLVM instructions itself."""
    return cast("Callable[..., Any]", numba.extending.intrinsic(function))
