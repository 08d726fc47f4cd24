"""Tasks side by side: each is done once, by who is free; one failure ends all. mpiexec starts this file for jobs."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from manyhands.core.errors import OutputError, SettingsError
from manyhands.studies.base.pool import check_pool, map_unordered
from manyhands.teams import job, mpi_environment
from manyhands.teams.job import on_rank_0

LIMIT = 15.0
"""Seconds within which a job must have ended after one of its tasks has failed."""


def delivered(tasks, work, workers, team="threads", stop=lambda: None):
    """Return the results in the order in which they came."""
    came = []
    map_unordered(team, workers, tasks, work, lambda *result: came.append(result), stop)
    return came


# ---------------------------------------------------------------- threads


class TestThreads:
    @pytest.mark.parametrize("workers", [1, 2, 3, 8, 50])
    def test_every_task_is_done_once(self, workers):
        tasks, done = list(range(23)), []

        def work(task):
            done.append(task)
            return f"<{task}>"

        came = delivered(tasks, work, workers)
        assert sorted(done) == tasks
        assert sorted(came) == [(task, f"<{task}>") for task in tasks]

    def test_no_task_is_no_work(self):
        assert delivered([], str, 3) == []

    def test_tasks_are_handed_out_in_their_order(self):
        tasks = [5, 0, 3, 1, 4]
        assert [task for task, _ in delivered(tasks, str, 1)] == tasks
        taken, both = [], threading.Barrier(2)

        def work(task):
            taken.append(task)
            both.wait(5)  # two tasks are under way at any time, and no third
            return ""

        delivered([3, 1, 2, 0], work, 2)
        assert {*taken[:2]} == {3, 1}
        assert {*taken[2:]} == {2, 0}

    def test_who_is_free_takes_the_next(self):
        """The first task lasts as long as all others together: with fixed shares of 3 it would wait for ever."""
        others = threading.Semaphore(0)

        def work(task):
            if task == 0:
                for _ in range(5):
                    assert others.acquire(timeout=10), "the others were held up"
            else:
                others.release()
            return threading.current_thread().name

        came = delivered(list(range(6)), work, 2)
        assert [task for task, _ in came] == [1, 2, 3, 4, 5, 0]
        assert len({name for task, name in came if task > 0}) == 1

    def test_no_more_threads_than_tasks_or_workers_and_none_is_left(self):
        before = threading.active_count()
        together = threading.Barrier(3)

        def work(_task):
            together.wait(5)
            count = threading.active_count() - before
            together.wait(5)
            return str(count)

        assert {count for _, count in delivered([0, 1, 2], work, 10)} == {"3"}
        assert {count for _, count in delivered(list(range(6)), work, 3)} == {"3"}
        assert threading.active_count() == before

    def test_results_are_delivered_one_at_a_time_in_the_calling_thread(self):
        threads, inside = set(), []

        def deliver(_task, _result):
            threads.add(threading.current_thread())
            inside.append(1)
            time.sleep(0.001)
            assert len(inside) == 1
            inside.pop()

        map_unordered("threads", 4, list(range(20)), str, deliver, lambda: None)
        assert threads == {threading.current_thread()}

    def test_results_are_delivered_while_others_are_busy(self):
        came = threading.Event()

        def work(task):
            assert task == 1 or came.wait(10), "the result was kept back"
            return ""

        map_unordered("threads", 2, [0, 1], work, lambda *_: came.set(), lambda: None)

    def test_the_first_error_is_raised_and_the_others_are_told_to_stop(self):
        stopped, began, both = threading.Event(), [], threading.Barrier(2)

        def work(task):
            began.append(task)
            both.wait(5)
            if task == 1:
                raise ArithmeticError("task 1 is over")
            assert stopped.wait(10), "nobody said stop"
            raise RuntimeError("because it was stopped")

        with pytest.raises(ArithmeticError, match="task 1 is over"):
            delivered(list(range(9)), work, 2, stop=stopped.set)
        assert sorted(began) == [0, 1]  # who was stopped takes no other
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("manyhands-session")]

    def test_what_is_finished_when_all_are_told_to_stop_is_delivered(self):
        stopped, both, came = threading.Event(), threading.Barrier(2), []

        def work(task):
            both.wait(5)
            if task == 0:
                raise ArithmeticError("task 0 is over")
            assert stopped.wait(10), "nobody said stop"
            return "in time"

        with pytest.raises(ArithmeticError, match="task 0 is over"):
            map_unordered("threads", 2, [0, 1], work, lambda *result: came.append(result), stopped.set)
        assert came == [(1, "in time")]

    def test_the_first_error_is_raised_even_if_a_late_result_cannot_be_delivered(self):
        stopped, both = threading.Event(), threading.Barrier(2)

        def work(task):
            both.wait(5)
            if task == 0:
                raise ArithmeticError("task 0 is over")
            assert stopped.wait(10), "nobody said stop"
            return "in time"

        def deliver(_task, _result):
            raise OutputError("the disk is full")

        with pytest.raises(ArithmeticError, match="task 0 is over"):
            map_unordered("threads", 2, [0, 1], work, deliver, stopped.set)

    def test_what_was_finished_before_the_error_is_delivered(self):
        def work(task):
            return str(1 // (3 - task))

        came = []
        with pytest.raises(ZeroDivisionError):
            map_unordered("threads", 1, list(range(6)), work, lambda task, _: came.append(task), lambda: None)
        assert came == [0, 1, 2]

    @pytest.mark.parametrize("error", [OutputError("the disk is full"), KeyboardInterrupt()])
    def test_an_error_of_deliver_ends_all(self, error):
        stopped, began = threading.Event(), []

        def work(task):
            began.append(task)
            assert task == 0 or stopped.wait(10), "nobody said stop"
            return ""

        def deliver(_task, _result):
            raise error

        with pytest.raises(type(error)):
            map_unordered("threads", 2, list(range(9)), work, deliver, stopped.set)
        assert len(began) <= 3  # 0, and one more of each worker

    def test_even_an_exit_in_a_task_is_an_error_and_no_hang(self):
        def work(_task):
            sys.exit("away")

        with pytest.raises(SystemExit, match="away"):
            delivered([0, 1], work, 2)

    def test_ctrl_c_stops_the_tasks_and_ends_at_once(self):
        program = (
            "import signal, threading, time\n"
            "from manyhands.studies.base.pool import map_unordered\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "stop = threading.Event()\n"
            "def work(task):\n"
            "    print(f'begin {task}\\n', end='', flush=True)\n"  # one piece: two threads print at once
            "    stop.wait(60)\n"
            "    return ''\n"
            "try:\n"
            "    map_unordered('threads', 2, range(9), work, lambda *result: None, stop.set)\n"
            "except KeyboardInterrupt:\n"
            "    print('interrupted', stop.is_set(), threading.active_count(), flush=True)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        try:
            assert sorted([process.stdout.readline(), process.stdout.readline()]) == ["begin 0\n", "begin 1\n"]
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            out, _ = process.communicate(timeout=20)
            assert time.monotonic() - began < 5
        finally:
            process.kill()
            process.wait()
        assert (out, process.returncode) == ("interrupted True 1\n", 0)


class TestCheck:
    @pytest.fixture(autouse=True)
    def outside_of_any_job(self, monkeypatch):
        for module in (job, mpi_environment):
            monkeypatch.setattr(module, "announced", lambda: None)

    def test_one_worker_unless_told_otherwise(self):
        assert check_pool("threads", None) == 1
        assert check_pool("threads", 3) == 3

    @pytest.mark.parametrize("workers", [0, -2])
    def test_at_least_one(self, workers):
        with pytest.raises(SettingsError, match=f"at least 1, not {workers}"):
            check_pool("threads", workers)

    @pytest.mark.parametrize(("workers", "size"), [(None, 2), (5, 5)])
    def test_mpi_without_mpiexec_says_how_to_start_it(self, workers, size):
        with pytest.raises(SettingsError, match=f"start them with mpiexec -n {size} .*, or leave team='mpi' out"):
            check_pool("mpi", workers)


# ---------------------------------------------------------------- in the processes of an MPI job


def note(folder, text):
    """Append a line in one go, whoever else does."""
    file = os.open(folder / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{text}\n".encode())
    os.close(file)


def in_job(folder, rank, tasks, work, deliver=None, stop=lambda: None):
    """Spread tasks over the job; note every delivery."""

    def keep(task, result):
        note(folder, f"deliver {rank} {task} {result}")

    def noted(task):
        note(folder, f"work {rank} {task}")
        return work(task)

    map_unordered("mpi", 3, tasks, noted, deliver or keep, stop)
    note(folder, f"end {rank}")


def all_parts(folder, rank):
    """Everything that ends well, one after the other: a job is slow to start."""
    in_job(folder / "many", rank, [*range(10, 30)], lambda task: f"{rank}:ü{task * task}")
    in_job(folder / "few", rank, [7], str)
    in_job(folder / "none", rank, [], str)
    in_job(folder / "long", rank, range(6), lambda task: "x" * 100_000 * task)
    # The first task, rank 0's or another's, lasts until all others are done.
    in_job(folder / "dynamic", rank, range(9), lambda task: wait_for_others(folder / "dynamic") if task == 0 else "")
    on_rank_0("mpi", lambda: note(folder / "first", f"rank {rank}") or time.sleep(0.5))
    note(folder / "first", f"end {rank}")
    for workers in (None, 3, 2):
        try:
            note(folder / "check", f"{rank} {check_pool('mpi', workers)}")
        except SettingsError as error:
            note(folder / "check", f"{rank} {error}")
    with contextlib.suppress(SettingsError):
        note(folder / "check", f"{rank} {check_pool('threads', None)} with threads")


def wait_for_others(folder):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if (folder / "notes").read_text().count("deliver") == 8:
            return "the last"
        time.sleep(0.01)
    return "held up"


def task_fails(folder, rank):
    """A task fails on rank 1, while the others are in the middle of long ones."""

    def work(_task):
        if rank == 1:
            until(lambda: (folder / "notes").read_text().count("work") == 3)
            note(folder, f"harm {time.time()}")
            raise ArithmeticError("the task is over")
        time.sleep(60)
        return ""

    in_job(folder, rank, range(9), work)


def task_fails_on_first(folder, rank):
    """The same on rank 0."""

    def work(_task):
        if rank == 0:
            until(lambda: (folder / "notes").read_text().count("work") == 3)
            note(folder, f"harm {time.time()}")
            raise ArithmeticError("the task is over")
        time.sleep(60)
        return ""

    in_job(folder, rank, range(9), work)


def deliver_fails(folder, rank):
    """A result cannot be kept while rank 0 is in the middle of a long task."""

    stopped = threading.Event()

    def work(_task):
        if rank == 0:
            stopped.wait(60)
        until(lambda: (folder / "notes").read_text().count("work 0") == 1)
        return ""

    def deliver(_task, _result):
        note(folder, f"harm {time.time()}")
        raise OutputError("cannot write the journal: the disk is full")

    in_job(folder, rank, range(9), work, deliver, stopped.set)


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


PARTS = {part.__name__: part for part in (all_parts, task_fails, task_fails_on_first, deliver_fails)}


def main(folder, part):
    """Be one process, and end as the command line does."""
    from manyhands.cli import jobs
    from manyhands.teams.mpi_world import join

    try:
        PARTS[part](folder, join().rank)
    except Exception as error:
        sys.exit(jobs.end_all("manyhands test", error, 1))


# ---------------------------------------------------------------- which are started here


def run_job(folder, part, size=3):
    """Run a part in so many processes; return status and what they have said."""
    from manyhands.teams import mpi_world

    mpiexec, kind = mpi_environment.find_mpiexec(mpi_world.library())
    job = subprocess.Popen(
        [*mpi_environment.job_command(mpiexec, kind, size), sys.executable, __file__, str(folder), part],
        env=mpi_environment.job_environment(kind),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said, _ = job.communicate(timeout=120)
    finally:
        if job.poll() is None:
            job.terminate()  # mpiexec then ends its processes; killed, it would leave them
            job.wait(20)
    return job.returncode, said, time.time()


def notes(folder):
    return [line.split(" ") for line in (folder / "notes").read_text().splitlines()]


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """What a job of three processes left that did everything that ends well."""
    pytest.importorskip("mpi4py")
    folder = tmp_path_factory.mktemp("pool")
    for name in ("many", "few", "none", "long", "dynamic", "first", "check"):
        (folder / name).mkdir()
    status, said, _ = run_job(folder, "all_parts")
    assert (status, said) == (0, "")
    return folder


class TestMpi:
    def test_every_task_is_done_once_and_delivered_on_rank_0(self, ended):
        lines = notes(ended / "many")
        done = {int(task): rank for what, rank, *task in lines if what == "work" for task in task}
        assert sum(line[0] == "work" for line in lines) == 20
        assert sorted(done) == [*range(10, 30)]
        came = [line[1:] for line in lines if line[0] == "deliver"]
        assert sorted(came) == [["0", str(task), f"{done[task]}:ü{task * task}"] for task in range(10, 30)]
        assert sorted(line[1] for line in lines if line[0] == "end") == ["0", "1", "2"]

    def test_nobody_goes_before_all_results_are_delivered(self, ended):
        order = [line[0] for line in notes(ended / "many")]
        assert "deliver" not in order[order.index("end") :]

    def test_fewer_tasks_than_processes(self, ended):
        lines = notes(ended / "few")
        assert sorted(line[0] for line in lines) == ["deliver", "end", "end", "end", "work"]
        assert ["deliver", "0", "7", "7"] in lines

    def test_no_task(self, ended):
        assert sorted(notes(ended / "none")) == [["end", "0"], ["end", "1"], ["end", "2"]]

    def test_results_of_any_length(self, ended):
        lengths = {line[2]: len(line[3]) for line in notes(ended / "long") if line[0] == "deliver"}
        assert lengths == {str(task): 100_000 * task for task in range(6)}

    def test_who_is_free_takes_the_next(self, ended):
        lines = notes(ended / "dynamic")
        assert [line[2:] for line in lines if line[0] == "deliver"][-1] == ["0", "the", "last"]

    def test_rank_0_does_something_alone_and_the_others_wait(self, ended):
        lines = notes(ended / "first")
        assert lines[0] == ["rank", "0"]
        assert sorted(lines[1:]) == [["end", "0"], ["end", "1"], ["end", "2"]]

    def test_the_job_says_how_many_workers_there_are(self, ended):
        lines = (ended / "check" / "notes").read_text().splitlines()
        wrong = (
            "this MPI job has 3 processes, but 2 workers were asked for; start it with mpiexec -n 2, or leave the "
            "number of workers out"
        )
        assert sorted(lines) == sorted(f"{rank} {found}" for rank in range(3) for found in ("3", "3", wrong))

    @pytest.mark.parametrize(
        ("part", "words"),
        [
            ("task_fails", "manyhands test: worker 1: the task is over"),
            ("task_fails_on_first", "manyhands test: the task is over"),
            ("deliver_fails", "manyhands test: cannot write the journal: the disk is full"),
        ],
    )
    def test_a_failure_ends_the_job_and_its_cause_is_said(self, tmp_path, part, words):
        pytest.importorskip("mpi4py")
        status, said, end = run_job(tmp_path, part)
        assert status != 0
        assert [line for line in said.splitlines() if line.startswith("manyhands")] == [words], said
        assert "Traceback" not in said
        [harm] = [float(line[1]) for line in notes(tmp_path) if line[0] == "harm"]
        assert end - harm < LIMIT


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
