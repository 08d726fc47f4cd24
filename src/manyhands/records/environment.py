"""The machine and the versions that a measurement was made with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from manyhands.core.version import __version__
from manyhands.core.words import count
from manyhands.runtime.affinity import usable_cores
from manyhands.runtime.hardware import cpu_model

_PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "scikit-learn", "scipy-openblas32")
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "MANYHANDS_BLAS_CORE",
)


def describe_environment() -> dict[str, Any]:
    """Return hardware, versions, thread settings and command as plain data."""
    from manyhands.learners.mlp.blas import description

    return {
        "manyhands": __version__,
        "command": command_line(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": versions(),
        "blas": description(),
        "threads": "one BLAS/OpenMP thread per worker (pinned)",
        "variables": thread_variables(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide about numbers and times."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def thread_variables() -> dict[str, str]:
    """Return the variables about threads and kernels of BLAS that are set."""
    return {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ}


def command_line() -> str:
    """Return the command line as it can be typed again."""
    program = Path(sys.argv[0])
    name = "manyhands" if program.name == "__main__.py" else program.name
    return shlex.join([name, *sys.argv[1:]])


def headline(environment: dict[str, Any]) -> str:
    """Return the environment in one line of text."""
    blas = environment["blas"]
    return (
        f"{environment['cpu']}, {count(environment['cores'], 'usable core')}; "
        f"BLAS/OpenMP threads pinned to 1 per worker; {blas['library']} {blas['version']} {blas['core_type']}; "
        f"manyhands {environment['manyhands']}, Python {environment['python']}, "
        f"numpy {environment['packages']['numpy']}, numba {environment['packages']['numba']}"
    )
