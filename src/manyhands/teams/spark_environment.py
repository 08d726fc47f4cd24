"""The job of Spark tasks that this process is a worker of, as the task that has started it says."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from manyhands.teams.mpi_environment import Announcement, outside_of_jobs

JOB = "MANYHANDS_SPARK_JOB"
"""Variable with the worker's place; the job's secret is not in it."""


@dataclass(frozen=True)
class Place:
    """A worker's place among the others.

    Attributes
    ----------
    rank
        Its number.
    addresses
        Host and port of each worker, by rank; hosts are what Spark calls the machines of its executors.
    listening
        Descriptor of the socket that this worker is called on; the task keeps the port for it.
    secret
        Descriptor of a pipe from which the job's secret can be read, once.
    """

    rank: int
    addresses: Sequence[tuple[str, int]]
    listening: int
    secret: int

    @property
    def size(self) -> int:
        """Number of workers."""
        return len(self.addresses)


def place() -> Place | None:
    """Return this process's place; None if no Spark task has started it."""
    text = os.environ.get(JOB)
    if text is None:
        return None
    described = json.loads(text)
    return Place(**{**described, "addresses": [(host, port) for host, port in described["addresses"]]})


def announced() -> Announcement | None:
    """Return what is said about this process; None if it is in no such job."""
    found = place()
    return None if found is None else Announcement(found.rank, found.size, "Spark")


def environment_of(worker: Place) -> dict[str, str]:
    """Return the environment for a worker's process."""
    return outside_of_jobs() | {JOB: json.dumps(asdict(worker))}
