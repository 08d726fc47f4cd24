"""What the team mpi needs: mpi4py, its MPI library, the mpiexec that belongs to it; and Slurm."""

from __future__ import annotations

import os
import shutil
from typing import Any

from manyhands.core.errors import SettingsError
from manyhands.doctor.child import ChildFailedError, answer_of
from manyhands.doctor.software import version_of
from manyhands.teams.mpi_environment import NoVersionError, announced, find_mpiexec, first_line
from manyhands.teams.mpi_environment import version_of as version_text

_PATIENCE = 30.0

# In a process of its own: loading an MPI library has side effects, and one that does not fit may end the process.
# Neither MPI_Init nor MPI_Finalize is called.
_QUESTION = """
import json
from mpi4py import rc
rc.initialize = rc.finalize = False
from mpi4py import MPI
print(json.dumps({"library": MPI.Get_library_version().strip("\\0 \\n")}))
"""


def message_passing() -> dict[str, Any]:
    """Return what there is of MPI.

    Returns
    -------
    dict
        ``mpi4py``: its version, or None; ``library``: the version text of the MPI that it uses, or None;
        ``library_problem``: why that is not known, or None; ``mpiexec`` and ``mpiexec_version``: the program that
        belongs to it, or None; ``mpiexec_problem``: what is wrong with it and what to do, or None; ``slurm``: see
        `slurm`; ``launcher``: who has started this process as one of a job, or None.
    """
    version, library, problem = version_of("mpi4py"), None, None
    if version is not None:
        try:
            library = answer_of(["-c", _QUESTION], _PATIENCE, "loads it")["library"]
        except ChildFailedError as error:
            problem = str(error)
    launched = announced()
    return {
        "mpi4py": version,
        "library": library,
        "library_problem": problem,
        **_mpiexec(library or ""),
        "slurm": slurm(),
        "launcher": None if launched is None else launched.launcher,
    }


def _mpiexec(library: str) -> dict[str, Any]:
    """Return the mpiexec that the team mpi would use."""
    try:
        path, _ = find_mpiexec(library)
        version = first_line(version_text(path))
    except (SettingsError, NoVersionError) as error:
        return {"mpiexec": None, "mpiexec_version": None, "mpiexec_problem": str(error)}
    return {"mpiexec": str(path), "mpiexec_version": version, "mpiexec_problem": None}


def slurm() -> dict[str, str | None]:
    """Return the Slurm job that this process is in (``job``, ``tasks``, ``cores_per_task``), and where ``srun`` is."""
    return {
        "job": os.environ.get("SLURM_JOB_ID"),
        "tasks": os.environ.get("SLURM_NTASKS"),
        "cores_per_task": os.environ.get("SLURM_CPUS_PER_TASK"),
        "srun": shutil.which("srun"),
    }
