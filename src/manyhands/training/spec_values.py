"""The values of some settings of a run: checked, and brought into one form. NumPy-free, as `training.spec` is."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import partial
from os import PathLike, fspath
from typing import Any

from manyhands.core.checks import shortened, whole
from manyhands.core.errors import SettingsError
from manyhands.core.references import check_reference
from manyhands.core.settings import ALL

COUNT = partial(whole, least=1)


def check_module(name: str, value: Any) -> Any:
    """Return a module, a function that makes one, or text that names such a function."""
    if isinstance(value, str):
        check_reference(value)
    elif not callable(value):
        raise SettingsError(f"{name} must be a torch.nn.Module, or a function that makes one, not {shortened(value)}")
    return value


def check_workers(name: str, value: Any) -> int | str:
    """Return a number of workers from 1 on, or ``"all"``."""
    if isinstance(value, str):
        if value != ALL:
            raise SettingsError(f"{name} must be a whole number, or {ALL!r} for all usable cores, not {value!r}")
        return value
    return COUNT(name, value)


def check_count(name: str, value: Any) -> Any:
    """Return a number from 1 on, or ``all``."""
    return value if isinstance(value, str) and value == ALL else COUNT(name, value)


def named_or_given(data: Any) -> Any:
    """Return the name or path of data, or those that are given as a tuple of arrays."""
    from manyhands.data.arrays import FORMS, arrays_of

    if isinstance(data, str | PathLike):
        return fspath(data)
    if isinstance(data, tuple | list):
        return arrays_of(data)
    raise SettingsError(
        f"data is the name of a data set, a path, a Dataset, or one tuple of arrays, {FORMS}; not a "
        f"{type(data).__name__}"
    )


def plain(value: Any) -> Any:
    """Return a value of a spec as plain data: settings by their fields, objects by the text that names them."""
    if is_dataclass(value) and any("setting" in each.metadata for each in fields(value)):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return getattr(value, "name", value)
