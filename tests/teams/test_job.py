"""Which process of a job this is: what the launcher's variables say, and what follows for each kind of team."""

import pytest

from manyhands.core.errors import SettingsError
from manyhands.teams import environment, job
from manyhands.teams.mpi_environment import outside_of_jobs


@pytest.fixture
def started(monkeypatch):
    """Set what a launcher says of a process; no such job exists, so nothing here may ask MPI."""

    def announce(rank, size):
        for name, value in (("PMI_RANK", rank), ("PMI_SIZE", size)):
            monkeypatch.setenv(name, str(value))

    for name in ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    return announce


def test_a_process_of_its_own(started):
    assert job.job_size() is None
    assert job.is_first_process()
    for team in ("solo", "threads", "mpi", "torch"):
        assert not job.is_member(team)
        assert job.leads(team)
        assert job.needs_job(team) == (team in ("mpi", "torch"))
        job.check_can_start_jobs(team)
        job.check_started_once(team)


def test_a_member_of_a_job(started):
    started(1, 2)
    assert not job.is_first_process()
    assert [job.is_member(team) for team in ("solo", "threads", "mpi")] == [False, False, True]
    assert not job.needs_job("mpi")
    assert job.leads("threads")  # each process has a team of its own


@pytest.mark.parametrize("team", ["solo", "threads", "mpi"])
def test_of_several_processes_none_starts_jobs(started, team):
    started(0, 2)
    with pytest.raises(SettingsError, match="starts MPI jobs of its own"):
        job.check_can_start_jobs(team)


def test_a_job_of_one_starts_jobs_for_threads_only(started):
    started(0, 1)
    job.check_can_start_jobs("threads")
    with pytest.raises(SettingsError, match="starts MPI jobs of its own"):
        job.check_can_start_jobs("mpi")


def test_several_processes_do_not_all_train_the_same_team_of_threads(started):
    started(0, 2)
    with pytest.raises(SettingsError, match=r"2 processes have been started .* the same with the team threads"):
        job.check_started_once("threads")
    for team in ("solo", "mpi"):
        job.check_started_once(team)


def test_without_processes_nothing_is_exchanged(started):
    calls, arrays = [], {"one": [1.0]}
    started(1, 2)
    job.on_rank_0("threads", lambda: calls.append(1))
    job.broadcast_arrays("threads", arrays)
    assert (calls, arrays) == ([1], {"one": [1.0]})
    assert job.from_rank_0("threads", 7) == 7
    assert job.all_gather_texts("threads", ["a", "b"]) == ["a", "b"]


def test_torchrun_makes_a_member_of_a_torch_job_also_under_srun(started, monkeypatch):
    started(1, 4)
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "RANK": 2, "WORLD_SIZE": 3}.items():
        monkeypatch.setenv(name, str(value))
    told = environment.announced()
    assert (told.rank, told.size, told.launcher) == (2, 3, "torchrun")
    assert [job.is_member(team) for team in ("solo", "threads", "mpi", "torch")] == [False, False, False, True]
    with pytest.raises(SettingsError, match=r"starts torch jobs of its own, .* start it without torchrun"):
        job.check_can_start_jobs("torch")
    with pytest.raises(SettingsError, match=r"3 processes, but 2 workers .* torchrun --nproc-per-node 2, or leave"):
        job.check_size(3, 2)
    job.check_size(3, None)
    assert not any(name.startswith("TORCHELASTIC") for name in outside_of_jobs())


@pytest.mark.parametrize(("name", "value"), [("RANK", ""), ("WORLD_SIZE", "many")])
def test_variables_that_say_no_place_are_no_job(started, monkeypatch, name, value):
    for each, number in {"TORCHELASTIC_RUN_ID": "none", "RANK": 0, "WORLD_SIZE": 2}.items():
        monkeypatch.setenv(each, str(number))
    monkeypatch.setenv(name, value)
    assert not environment.in_job()
