"""Packages that are extras of Manyhands: nothing needs them but what the user asks for."""

from __future__ import annotations

import importlib.util

from manyhands.core.errors import SettingsError

_EXTRAS = {
    "torch": ("PyTorch", "torch"),
    "onnx": ("onnx", "onnx"),
    "pyspark": ("PySpark", "spark"),
    "pyarrow": ("pyarrow", "parquet"),
    "PIL": ("Pillow", "images"),
}
"""What people call them, and the extra's name, by the name of the package."""


def require(package: str) -> None:
    """Check that the package of an extra is installed, without importing it.

    Raises
    ------
    SettingsError
        If it is not, with what to install.
    """
    if importlib.util.find_spec(package) is None:
        name, extra = _EXTRAS[package]
        raise SettingsError(f"this needs {name}, which is not installed: pip install 'manyhands[{extra}]'")
