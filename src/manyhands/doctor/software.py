"""Libraries for linear algebra, thread settings, compiled code and packages."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

from manyhands.records.environment import thread_variables
from manyhands.runtime.atomic_files import cache_folder

PRIVATE_LIBRARY = "scipy_openblas32"

_KERNELS = "kernels"
"""The module of the training kernels; files of compiled code are named by module and function."""

# Package, the extra of pyproject.toml that brings it, what it is for.
OPTIONAL = (
    ("mpi4py", "mpi", "workers as processes, on one machine or several (--team mpi)"),
    ("matplotlib", "report", "reports with figures (--report)"),
    ("torch", "torch", "PyTorch modules and convolutional networks (--learner cnn-fast)"),
    ("pyspark", "spark", "training inside Apache Spark (--team spark)"),
    ("pyarrow", "parquet", "data sets in Parquet files"),
    ("PIL", "images", "folders of pictures, predictions of pictures, reading of photos (manyhands read)"),
    ("pypdfium2", "pdf", "reading of PDFs (manyhands read)"),
    ("starlette", "web", "the page in the browser (manyhands serve)"),
    ("tensorboard", "tensorboard", "live logs for TensorBoard (--tensorboard)"),
    ("onnx", "onnx", "models for other programs (manyhands export)"),
)


def linear_algebra() -> dict[str, Any]:
    """Return which kernels our private BLAS has chosen, and why, and which NumPy's BLAS has.

    Returns
    -------
    dict
        ``private``: library, version, core type, threads; ``asked``: the core type we asked it for, or None;
        ``fastest``: the one we would ask for without an override, or None; ``override``: MANYHANDS_BLAS_CORE, or None;
        ``numpy``: the copies that NumPy has loaded, each with library, version, architecture and threads.
    """
    import numpy  # noqa: F401 - loads its BLAS
    from threadpoolctl import threadpool_info

    copies = [
        {
            "library": each.get("internal_api", "unknown"),
            "version": each.get("version"),
            "architecture": each.get("architecture"),
            "threads": each.get("num_threads"),
        }
        for each in threadpool_info()
        if each.get("user_api") == "blas" and PRIVATE_LIBRARY not in str(each.get("filepath"))
    ]
    from manyhands.learners.mlp import blas

    return {
        "private": blas.description(),
        "asked": blas.best_core_type(),
        "fastest": blas.fastest_core_type(),
        "override": os.environ.get("MANYHANDS_BLAS_CORE"),
        "numpy": copies,
    }


def thread_settings() -> dict[str, Any]:
    """Return the variables about threads that are set in this shell."""
    return {"variables": thread_variables()}


def compiled_code() -> dict[str, Any]:
    """Return where compiled code is kept, whether there is any for these sources, and whether it can be written.

    Returns
    -------
    dict
        ``cache`` and ``folder`` for these sources; ``functions``: how many have code there; ``kernels``: whether those
        of training have; ``old_versions``: folders of other sources; ``writable``: whether code can be kept;
        ``refused``: why what is there is not used, or None.
    """
    from manyhands.runtime.jit import code_folder, kept_code

    folder, problem = code_folder(), kept_code().problem()
    others = [each for each in _folders_in(folder.parent) if each != folder]
    return {
        "cache": str(cache_folder()),
        "folder": str(folder),
        "functions": len({each.name.split("-")[0] for each in folder.glob("*.nbc")}),
        "kernels": any(folder.glob(f"{_KERNELS}.*.nbc")),
        "old_versions": len(others),
        "writable": problem is None and _writable(folder),
        "refused": problem,
    }


def _folders_in(folder: Path) -> list[Path]:
    try:
        return [each for each in folder.iterdir() if each.is_dir()]
    except OSError:
        return []


def _writable(folder: Path) -> bool:
    """Return whether files can be made in a folder, or the folder itself can, without leaving any behind."""
    try:
        if os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises for a name too long
            with tempfile.TemporaryFile(dir=folder):  # permissions are not enough: a disk may be full or read-only
                return True
        nearest = next(each for each in folder.parents if os.path.lexists(each))
        return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    except (OSError, StopIteration):
        return False


def optional_packages() -> list[dict[str, Any]]:
    """Return every optional package: its version or None, what brings it, and what it is for."""
    return [
        {"name": name, "version": version_of(name), "extra": extra, "purpose": purpose}
        for name, extra, purpose in OPTIONAL
    ]


def version_of(name: str) -> str | None:
    """Return the version of a package, "unknown" if it is there without saying, None if it is missing."""
    try:
        if importlib.util.find_spec(name) is None:
            return None
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
    except (ImportError, ValueError):  # some import hook forbids it
        return None
