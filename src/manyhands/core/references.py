"""Functions by name: ``package.module:function``, or ``file.py:function``, as text that another process can follow."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manyhands.core.errors import SettingsError


def reference_of(function: Callable[..., Any]) -> str:
    """Return the text by which another process on this machine finds a function or class.

    Raises
    ------
    SettingsError
        If none can: it is made inside another function, or typed in at a prompt.
    """
    name = getattr(function, "__qualname__", "<object>")
    if "<" in name or "." in name:
        raise SettingsError(
            f"other processes cannot import {name}: define the function that makes the module at the top of a file"
        )
    module = function.__module__
    if module != "__main__":
        return f"{module}:{name}"
    try:
        return f"{Path(inspect.getfile(function)).resolve()}:{name}"
    except (OSError, TypeError):
        raise SettingsError(f"other processes cannot import {name}: it was typed in, so put it into a file") from None


def check_reference(text: str) -> None:
    """Check that text has the form of a reference, without importing anything.

    Raises
    ------
    SettingsError
        If it has not.
    """
    place, _, name = text.rpartition(":")
    if not place or not name.isidentifier():
        raise SettingsError(
            f"{text!r} names no function: write package.module:function or file.py:function, of one that makes a module"
        )


def anchored(text: str) -> str:
    """Return a reference that stays the same when the process goes to another folder."""
    place, _, name = text.rpartition(":")
    return f"{Path(place).resolve()}:{name}" if place.endswith(".py") else text


def follow(text: str) -> Any:
    """Return what a reference names; its module is imported, or its file is executed as a module.

    Raises
    ------
    SettingsError
        If it cannot be.
    """
    check_reference(text)
    place, _, name = text.rpartition(":")
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        raise SettingsError(f"{place} cannot be imported ({type(error).__name__}: {error})") from error
    if not hasattr(module, name):
        raise SettingsError(f"{place} has no {name}")
    return getattr(module, name)


def _from_file(path: Path) -> Any:
    """Execute a file as a module, once."""
    name = f"manyhands_user_{abs(hash(str(path.resolve()))):x}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
