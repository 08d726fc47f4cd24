"""A program that ends by an error in one process: mpiexec starts this file, and the others are waiting for that one."""

import subprocess
import sys
import time

import pytest

from manyhands.teams import mpi_environment

LIMIT = 100
"""Seconds after which a job that has not ended hangs."""


def before_joining():
    """The program has begun MPI by itself; one of its processes comes no further."""
    from mpi4py import MPI

    from manyhands.teams.exit_hooks import report_uncaught_errors
    from manyhands.teams.mpi_world import join

    report_uncaught_errors()  # as importing an estimator does
    if MPI.COMM_WORLD.Get_rank() == 1:
        raise ZeroDivisionError("a fault of the program")
    join()


def between():
    """The others wait in a collective."""
    from manyhands.teams.mpi_world import join

    world = join()
    world.barrier()
    if world.rank == 1:
        raise ZeroDivisionError("a fault of the program")
    world.barrier()


def after_an_error_of_all():
    """All have met the same; a handler stands where the program ends."""
    from manyhands.teams.agreement import together
    from manyhands.teams.mpi_world import join

    with together("mpi"):
        if join().rank == 1:
            raise ZeroDivisionError("a fault of one rank")


def without_beginning():
    """One process ends well, and the others begin MPI, which takes all."""
    from manyhands.teams.mpi_environment import announced
    from manyhands.teams.mpi_world import join

    if announced().rank != 1:
        time.sleep(3)  # MPI's own launcher notices it only if the others have begun
        join()


def without_joining():
    """The program has begun MPI by itself; one of its processes has nothing to train."""
    from mpi4py import MPI

    from manyhands.teams.exit_hooks import report_uncaught_errors
    from manyhands.teams.mpi_world import join

    report_uncaught_errors()  # as importing an estimator does
    if MPI.COMM_WORLD.Get_rank() != 1:
        join()


def forking():
    """A fork of one process ends, well and by an error, as Python programs do; the job goes on."""
    import os

    from manyhands.teams.exit_hooks import report_uncaught_errors
    from manyhands.teams.mpi_world import join

    world = join()
    report_uncaught_errors()
    for ends_well in (True, False):
        if world.rank == 1:
            child = os.fork()
            if not child and ends_well:
                sys.exit()
            if not child:
                raise ZeroDivisionError("a fault of a fork")
            os.waitpid(child, 0)
        world.barrier()
    if world.rank == 0:
        print("the job goes on")


LEAVING = (without_beginning, without_joining)
WAITING = (between, after_an_error_of_all)
PARTS = {part.__name__: part for part in (before_joining, forking, *LEAVING, *WAITING)}


@pytest.fixture(scope="module")
def ended():
    """Status and words of the jobs, which run side by side."""
    pytest.importorskip("mpi4py")
    from manyhands.teams.mpi_world import library

    path, kind = mpi_environment.find_mpiexec(library())
    jobs = {
        name: subprocess.Popen(
            [*mpi_environment.job_command(path, kind, 3 if part in WAITING else 2), sys.executable, __file__, name],
            env=mpi_environment.job_environment(kind),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for name, part in PARTS.items()
    }
    try:
        said = {name: job.communicate(timeout=LIMIT)[0] for name, job in jobs.items()}
        return {name: (job.returncode, said[name]) for name, job in jobs.items()}
    finally:
        for job in jobs.values():
            job.terminate()  # mpiexec then ends its processes; killed, it would leave them
            job.wait(20)


def test_a_process_that_ends_before_it_has_joined_ends_the_job(ended):
    status, said = ended["before_joining"]
    assert status != 0
    assert "ZeroDivisionError: a fault of the program" in said


@pytest.mark.parametrize("part", [part.__name__ for part in LEAVING])
def test_a_process_that_ends_well_before_it_has_joined_ends_the_job(ended, part):
    status, said = ended[part]
    assert status != 0
    assert said.count("manyhands: worker 1 has ended without joining this MPI job") == 1


def test_the_end_of_a_fork_is_none_of_the_jobs_affairs(ended):
    status, said = ended["forking"]
    assert status == 0
    assert "the job goes on" in said


def test_those_who_wait_are_told_what_has_ended_the_other(ended):
    status, said = ended["between"]
    assert status != 0
    assert "\nZeroDivisionError: a fault of the program" in said
    assert said.count("WorkerLost: worker 1 failed: ZeroDivisionError: a fault of the program") == 2


def test_an_error_of_all_is_raised_by_all_and_nobody_is_called_off(ended):
    status, said = ended["after_an_error_of_all"]
    assert status == 1
    assert said.count("RankError: rank 1: ZeroDivisionError: a fault of one rank") == 2
    assert "(on rank 1 of an MPI job of 3)" in said
    assert "MPI_ABORT" not in said


if __name__ == "__main__":
    PARTS[sys.argv[1]]()
