"""A cache of Numba's compiled code on disk, with a file for each compiled function and types of arguments.

It replaces Numba's own cache, in which a damaged file ends every process that reads it, and which runs the code of
whoever can write into it, because it is pickle. Here every file is checked first (`manyhands.runtime.trusted_files`).
Faults of the cache cost time, never a run: there is one warning, and code is compiled anew.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import logging
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import config
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from manyhands.runtime.trusted_files import TrustedFolder, UnusableFileError, UnusableFolderError

# Numba's settings (NUMBA_OPT and so on) that change machine code: code compiled with others is other code.
_SHAPING = (
    "BOUNDSCHECK",
    "DEBUGINFO_DEFAULT",
    "DISABLE_INTEL_SVML",
    "ENABLE_AVX",
    "EXTEND_VARIABLE_LIFETIMES",
    "LLVM_REFPRUNE_FLAGS",
    "LLVM_REFPRUNE_PASS",
    "LOOP_VECTORIZE",
    "OPT",
    "SLP_VECTORIZE",
    "USING_SVML",
)
_said: set[str] = set()


def say_once(subject: str, message: str) -> None:
    """Warn the user, unless this process has done so about the same subject."""
    if subject not in _said:
        _said.add(subject)
        logging.getLogger("manyhands").warning(message)


class CodeCache:
    """The cache of one function, for Numba (the interface of `numba.core.caching._Cache`).

    ``source`` is the digest of the file of the function.
    """

    def __init__(self, function: Callable[..., object], source: str, folder: TrustedFolder) -> None:
        self._function, self._source, self._folder = function, source, folder

    @property
    def cache_path(self) -> str:
        """Where code is kept."""
        return str(self._folder.path)

    def load_overload(self, signature: Any, target: Any) -> CompileResult | None:
        """Return the code for these types of arguments; None if it must be compiled."""
        target.refresh()
        key = self._key(signature, target.codegen())
        name = self._name(key)
        content = self._read(name)
        if content is None:
            return None
        try:
            found, reduced = pickle.loads(content)  # nobody else can have written it
            return CompileResult._rebuild(target, *reduced) if found == key else None
        except Exception as error:  # whatever it is, compiling anew helps
            self._distrust(name, f"cannot be used ({type(error).__name__}: {error})")
            return None

    def save_overload(self, signature: Any, result: CompileResult) -> None:
        """Keep the code for these types of arguments, if it can be kept."""
        if result.library.has_dynamic_globals or any(not each.can_cache for each in result.lifted):
            return  # it knows addresses of this process
        key = self._key(signature, result.codegen)
        try:
            self._folder.write(self._name(key), dumps((key, result._reduce())))
        except UnusableFolderError as error:
            self._without(str(error))
        except OSError as error:
            self._without(f"it cannot be written into {self._folder.path} ({error.strerror or error})")

    def flush(self) -> None:
        """Do nothing: code that is out of date is never found."""

    def _read(self, name: str) -> bytes | None:
        try:
            return self._folder.read(name)
        except UnusableFileError as error:
            self._distrust(name, str(error))
        except UnusableFolderError as error:
            self._without(str(error))
        return None

    def _distrust(self, name: str, why: str) -> None:
        path = self._folder.path / name
        say_once(str(path), f"the compiled code in {path} {why}; it is compiled anew")

    def _without(self, why: str) -> None:
        say_once(
            "without",
            f"compiled code is not kept, and every process compiles for itself: {why}; "
            "MANYHANDS_CACHE can name another folder",
        )

    def _key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        """Return all that the code depends on: types, CPU, the function and its file, versions and settings."""
        code = self._function.__code__
        cells = tuple(cell.cell_contents for cell in self._function.__closure__ or ())
        function = (code.co_filename, code.co_firstlineno, self._function.__qualname__, _sha256(code.co_code))
        settings = tuple(str(getattr(config, name, None)) for name in _SHAPING)
        versions = (sys.version, numba.__version__, llvmlite.__version__)
        return signature, codegen.magic_tuple(), function, self._source, _sha256(dumps(cells)), versions, settings

    def _name(self, key: tuple[Any, ...]) -> str:
        """Return a file name with the name of the function, which differs for different keys."""
        module = Path(self._function.__code__.co_filename).stem
        function = self._function.__qualname__.replace("<", "").replace(">", "")
        readable = f"{module}.{function}-{self._function.__code__.co_firstlineno}"[:100]
        return f"{readable}.{sys.implementation.cache_tag}.{_sha256(repr(key).encode())[:24]}.nbc"


def cache_for(function: Callable[..., object], folder: TrustedFolder) -> CodeCache | None:
    """Return the cache for a function; None if its source is no file, so that changes would not be noticed."""
    try:
        return CodeCache(function, _digest_of(inspect.getfile(function)), folder)
    except (OSError, TypeError):
        return None


@functools.cache
def _digest_of(path: str) -> str:
    return _sha256(Path(path).read_bytes())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
