"""Where on the machine the workers run, and how many threads the matrix products of each may use."""

from __future__ import annotations

from dataclasses import dataclass

from manyhands.cores import check_pinning
from manyhands.errors import SettingsError


@dataclass(frozen=True)
class Placement:
    """Where workers run; what they compute does not depend on it.

    Attributes
    ----------
    pin
        Whether every worker stays on a core of its own (workers take the allowed cores in turn).
    blas_threads
        Threads of the BLAS of each process: a second way to share the work, inside the matrix products of wide layers
        (over 1,024 neurons, or float64; others are products of our own, on one core).

    Raises
    ------
    SettingsError
        If there are fewer than 1 BLAS threads, or this system cannot pin, or both are asked for: all BLAS threads
        would share the worker's core.
    """

    pin: bool = False
    blas_threads: int = 1

    def __post_init__(self) -> None:
        if self.blas_threads < 1:
            raise SettingsError(f"the number of BLAS threads must be at least 1, not {self.blas_threads}")
        if self.pin:
            check_pinning()
        if self.pin and self.blas_threads > 1:
            raise SettingsError("a worker that is pinned to one core has no use for several BLAS threads; choose one")

    def __str__(self) -> str:
        parts = ["pinned to cores"] if self.pin else []
        return ", ".join(parts + ([f"{self.blas_threads} BLAS threads"] if self.blas_threads > 1 else []))
