"""The examination of a machine: all sections of facts, then the advice that follows from them."""

from __future__ import annotations

import platform
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from manyhands.core.errors import ManyhandsError
from manyhands.core.version import __version__
from manyhands.doctor import datasets, hardware, mpi, rates, software
from manyhands.doctor.advice import advice_for
from manyhands.records.environment import versions
from manyhands.runtime.hardware import load, memory

SCHEMA = "manyhands.doctor/1"


def examine(*, quick: bool = False) -> dict[str, Any]:
    """Return what is found on this machine, as plain data.

    Parameters
    ----------
    quick
        Whether to leave out the rates, which take about a second.

    Returns
    -------
    dict
        One entry per section, and ``advice``: a list of ``topic``, ``text`` and ``command`` (or None). A section that
        could not be examined holds only ``problem``: a text. ``rates`` is None if it was left out.
    """
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "manyhands": __version__,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        # The load comes first: what the examination does itself is not other work.
        "load": tried(load),
        "processor": tried(hardware.processor),
        "cores": tried(hardware.cores),
        "memory": tried(memory),
        "blas": tried(software.linear_algebra),
        "threads": tried(software.thread_settings),
        # Before the rates are measured: that needs a little compiled code itself.
        "compiled": tried(software.compiled_code),
        "rates": None if quick else tried(rates.measured_rates),
        "mpi": tried(mpi.message_passing),
        "data": tried(datasets.data_sets),
        "versions": tried(versions),
        "packages": tried(software.optional_packages),
    }
    record["advice"] = advice_for(record)
    return record


def tried(section: Callable[[], Any]) -> Any:
    """Return what a section finds, or its ``problem``: whatever is broken on a machine, the others are still wanted."""
    try:
        return section()
    except ManyhandsError as error:
        return {"problem": str(error)}
    except Exception as error:
        return {"problem": f"{type(error).__name__}: {error}".splitlines()[0]}
