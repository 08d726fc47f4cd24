"""Packages that are extras of Manyhands: nothing needs them but what the user asks for."""

from __future__ import annotations

import importlib.util

from manyhands.core.errors import SettingsError

_EXTRAS = {"torch": "PyTorch", "onnx": "onnx"}
"""What people call them, by the name of package and extra."""


def require(extra: str) -> None:
    """Check that the package of an extra is installed, without importing it.

    Raises
    ------
    SettingsError
        If it is not, with what to install.
    """
    if importlib.util.find_spec(extra) is None:
        raise SettingsError(f"this needs {_EXTRAS[extra]}, which is not installed: pip install 'manyhands[{extra}]'")
