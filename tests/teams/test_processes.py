"""Every collective in real processes, with the bits of threads: this file is started as a job, once per size."""

import contextlib
import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from manyhands.core.samples import Control
from manyhands.runtime.partition import part_of
from manyhands.teams import membership, mpi_environment, torch_environment
from manyhands.teams import mpi_world as worlds
from manyhands.teams.launch import launch
from manyhands.training.clock import PhaseClock

JOBS = [
    pytest.param(("mpi", 2), marks=pytest.mark.slow),
    ("mpi", 3),
    pytest.param(("mpi", 5), marks=pytest.mark.slow),
    ("torch", 3),
]
LENGTHS = [0, 1, 16, 1001]
DTYPES = [np.float32, np.float64]
WEIGHTS = {"alike": [1.0] * 5, "uneven": [3.0, 0.1, 7.25, 1e-3, 2.0], "whole": [103, 7, 1, 2000, 35]}
TEXTS = ["", "plain", "Größe 漢字 ✍", "", "a" * 3001]
PAUSE = 0.4


# What follows runs once in threads of this process and once in processes of their own.


def vector_of(rank, length, dtype, seed):
    """Of many magnitudes, so that another order of adding, or adding in single precision, shows in the bits."""
    rng = np.random.default_rng([seed, length, rank])
    return (rng.normal(size=length) * 10.0 ** rng.integers(-6, 7, length)).astype(dtype)


def collectives(team):
    """Go through the whole table; return the vectors afterwards and, as ``... sent``, the bytes each call counted."""
    found = {}

    def note(name, call, vector, *arguments):
        before = team.bytes_sent
        answer = call(vector, *arguments)
        found[name] = vector.copy()
        found[f"{name} sent"] = np.array(team.bytes_sent - before)
        return answer

    for dtype in DTYPES:
        for length in LENGTHS:
            place = f"{np.dtype(dtype).name} {length}"
            for name, weights in WEIGHTS.items():
                note(f"mean {name} {place}", team.mean_, vector_of(team.rank, length, dtype, 1), weights[team.rank])
            note(f"mean {place}", team.mean_, vector_of(team.rank, length, dtype, 2))
            lost = np.full(length, np.nan, dtype) if team.rank == 1 else vector_of(team.rank, length, dtype, 3)
            note(f"mean without one {place}", team.mean_, lost, 0 if team.rank == 1 else 2)
            note(f"sum {place}", team.sum_, vector_of(team.rank, length, dtype, 4))
            for root in range(team.size):
                note(f"broadcast {root} {place}", team.broadcast_, vector_of(team.rank, length, dtype, 5), root)
            vector = vector_of(team.rank, length, dtype, 6)
            note(f"all_gather {place}", team.all_gather_, vector)
            rows = note(f"gather {place}", team.gather, vector_of(team.rank, length, dtype, 7))
            if rows is not None:
                found[f"rows {place}"] = rows
    return found | rounds(team)


def rounds(team):
    """Hold many rounds on two vectors in turn, as strategies do: what one call has prepared must serve the next."""
    one, other = vector_of(team.rank, 1001, np.float32, 8), vector_of(team.rank, 1001, np.float32, 9)
    for number in range(6):
        team.mean_(one, 1 + team.rank)
        team.mean_(one if number % 2 else other)
        one += np.float32(team.rank)
        other *= np.float32(1.0 + team.rank)
    return {"rounds one": one, "rounds other": other}


def run_work(name, size, work):
    """Return what launch returns, and the clocks."""
    stop, clocks = np.zeros(1, np.int64), [PhaseClock() for _ in range(size)]
    return launch(name, clocks, [Control(stop, np.zeros(1, np.int64)) for _ in range(size)], work), clocks


# What follows runs in processes only.


def meet(team):
    """Come one after the other; note when each has come and gone, and how long it was charged for waiting."""
    team.barrier()
    charged = team.clock.seconds["communicate"]
    time.sleep(PAUSE * team.rank / (team.size - 1))
    came = time.monotonic()
    team.barrier()
    return came, time.monotonic(), team.clock.seconds["communicate"] - charged


def texts_and_arrays(world):
    """Return what World's own collectives give this process, as plain data."""
    mine = np.arange(12, dtype=np.uint8).reshape(4, 3) + 100 * (world.rank == 1)
    found = {
        "texts": world.all_gather_texts(TEXTS[world.rank]),
        "texts of nothing": world.all_gather_texts(""),
        "broadcast text": [
            world.broadcast_text(text if world.rank == 0 else "not heard", idle=index == 1)
            for index, text in enumerate(TEXTS)
        ],
    }
    for root in range(world.size):
        for array in (
            np.full((2, 3), world.rank, np.int32),
            np.full(5, world.rank % 2 == 1),
            np.array([f"é{world.rank}"]),
        ):
            world.broadcast_(array, root)
            found[f"broadcast {array.dtype.kind} {root}"] = array.tolist()
    nothing = np.zeros((0, 3), np.uint8)
    world.broadcast_(nothing)
    found["broadcast nothing"] = list(nothing.shape)
    world.broadcast_(mine, 1)
    found["broadcast bytes"] = mine.tolist()
    # The second process gets no row, and each of the others one more than the one before.
    rows = [0 if rank == 1 else rank + 1 for rank in range(world.size)]
    whole = np.arange(2.0 * sum(rows)).reshape(-1, 2)
    for name, array in (("table", whole), ("column", whole[:, 0].astype(np.int32))):
        share = np.full((rows[world.rank], *array.shape[1:]), -1, array.dtype)
        world.scatter(array if world.rank == 0 else None, rows, share)
        found[f"scatter {name}"] = share.tolist()
    # Letters: two from everyone to the next one, taken in their order.
    before = (world.rank - 1) % world.size
    world.barrier()
    for text in TEXTS[1:3]:
        world.send_text(f"{text} {world.rank}", (world.rank + 1) % world.size, 7)
    found["letters"] = [world.await_text(7) == f"{text} {before}" for text in TEXTS[1:3]]
    assert world.take_text(7) is None
    return found


def refuse_pickles():
    """Make every call of mpi4py fail that would send a pickle."""
    from mpi4py import MPI

    def refuse(*_arguments):
        raise AssertionError("a pickle was sent or received")

    MPI.pickle.__init__(refuse, refuse)
    with contextlib.suppress(AssertionError):
        MPI.COMM_SELF.bcast([1])
        MPI.COMM_SELF.sendrecv([1], 0)
        raise SystemExit("pickles were not refused")


def main(folder, name, beginner):
    """Be one process of the job; leave in the folder what was found."""
    if beginner == "program":
        from mpi4py import MPI  # begins MPI, as in a program that uses it for other things too
    world = membership.join()
    assert membership.joined() is world
    if name == "mpi":
        refuse_pickles()
    (found,), _ = run_work(name, world.size, collectives)
    ((came, gone, charged),), _ = run_work(name, world.size, meet)
    facts = {"came": came, "gone": gone, "charged": charged, "world": texts_and_arrays(world)}
    np.savez(folder / f"arrays-{world.rank}.npz", **found)
    if beginner == "program":
        world.leave()
        MPI.COMM_WORLD.Barrier()  # whoever has begun it goes on with it
    (folder / f"facts-{world.rank}.json").write_text(json.dumps(facts))


class Answers:
    """What the processes of one job, and as many threads, have found; one entry per worker."""

    def __init__(self, size, folder):
        self.size = size
        self.arrays = []
        for rank in range(size):
            with np.load(folder / f"arrays-{rank}.npz") as file:
                self.arrays.append(dict(file))
        self.facts = [json.loads((folder / f"facts-{rank}.json").read_text()) for rank in range(size)]
        self.threads, _ = run_work("threads", size, collectives)

    def same_bits(self, *beginnings):
        """Compare what begins so between processes and threads; return the names."""
        for processes, threads in zip(self.arrays, self.threads, strict=True):
            assert processes.keys() == threads.keys()
            for name in threads:
                if name.startswith(beginnings):
                    assert processes[name].dtype == threads[name].dtype, name
                    assert processes[name].shape == threads[name].shape, name
                    assert processes[name].tobytes() == threads[name].tobytes(), name
        return [name for name in self.threads[0] if name.startswith(beginnings) and not name.endswith("sent")]

    def world(self, name):
        """Return every process's answer from World."""
        return [facts["world"][name] for facts in self.facts]


def mpi_job(size, program):
    mpiexec, kind = mpi_environment.find_mpiexec(worlds.library())
    yield [*mpi_environment.job_command(mpiexec, kind, size), *program], mpi_environment.job_environment(kind)


def torch_job(size, program):
    store = Path(program[2]) / "store"
    yield from ((program, torch_environment.job_environment(rank, size, store)) for rank in range(size))


@pytest.fixture(scope="module", params=JOBS, ids=lambda job: f"{job[0]}-{job[1]}")
def answers(request, tmp_path_factory):
    """Start one job of this size; all tests look at what it left."""
    name, size = request.param
    if find_spec({"mpi": "mpi4py"}.get(name, name)) is None:
        pytest.skip(f"the team {name} needs what is not installed")
    folder = tmp_path_factory.mktemp("job")
    beginner = "program" if (name, size) == ("mpi", 3) else "manyhands"
    program = [sys.executable, __file__, str(folder), name, beginner]
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for command, environment in {"mpi": mpi_job, "torch": torch_job}[name](size, program)
    ]
    try:
        said = [process.communicate(timeout=90)[0] for process in processes]
    except BaseException:
        for process in processes:
            process.terminate()  # mpiexec then ends its processes; killed, it would leave them
            process.communicate(timeout=20)
        raise
    assert [process.returncode for process in processes] == [0] * len(processes), said
    assert set(said) == {""}
    return Answers(size, folder)


def test_means_have_the_bits_of_threads(answers):
    assert len(answers.same_bits("mean")) == len(DTYPES) * len(LENGTHS) * (len(WEIGHTS) + 2)


def test_a_mean_is_weighted(answers):
    weights = WEIGHTS["whole"][: answers.size]
    vectors = [vector_of(rank, 1001, np.float64, 1) for rank in range(answers.size)]
    for arrays in answers.arrays:
        np.testing.assert_allclose(arrays["mean whole float64 1001"], np.average(vectors, 0, weights), rtol=1e-9)


def test_a_process_of_weight_0_is_not_counted_even_if_it_holds_nan(answers):
    vectors = [vector_of(rank, 1001, np.float64, 3) for rank in range(answers.size) if rank != 1]
    for arrays in answers.arrays:
        np.testing.assert_allclose(arrays["mean without one float64 1001"], np.mean(vectors, 0), rtol=1e-9)


def test_sums_have_the_bits_of_threads_and_are_sums(answers):
    assert len(answers.same_bits("sum")) == len(DTYPES) * len(LENGTHS)
    total = np.zeros(1001)
    for rank in range(answers.size):
        total += vector_of(rank, 1001, np.float64, 4)  # in rank order: no rounding differs
    assert all(arrays["sum float64 1001"].tobytes() == total.tobytes() for arrays in answers.arrays)


def test_a_broadcast_copies_the_vector_of_any_root(answers):
    assert len(answers.same_bits("broadcast")) == len(DTYPES) * len(LENGTHS) * answers.size
    for root in range(answers.size):
        sent = vector_of(root, 1001, np.float32, 5).tobytes()
        assert all(arrays[f"broadcast {root} float32 1001"].tobytes() == sent for arrays in answers.arrays)


def test_all_gather_gives_everyone_the_part_of_each(answers):
    answers.same_bits("all_gather")
    parts = [vector_of(rank, 1001, np.float32, 6)[part_of(1001, answers.size, rank)] for rank in range(answers.size)]
    for arrays in answers.arrays:
        assert arrays["all_gather float32 1001"].tobytes() == np.concatenate(parts).tobytes()


def test_only_rank_0_gathers(answers):
    answers.same_bits("gather", "rows")
    expected = [vector_of(rank, 1001, np.float32, 7) for rank in range(answers.size)]
    assert answers.arrays[0]["rows float32 1001"].tobytes() == np.stack(expected).tobytes()
    assert not any(name.startswith("rows") for arrays in answers.arrays[1:] for name in arrays)


def test_many_rounds_on_two_vectors_in_turn_have_the_bits_of_threads(answers):
    assert len(answers.same_bits("rounds")) == 2


def test_bytes_sent_counts_one_vector_per_round_as_with_threads(answers):
    for arrays, threads in zip(answers.arrays, answers.threads, strict=True):
        for name in (name for name in threads if name.endswith(" sent")):
            assert arrays[name] == threads[name], name
    last = answers.arrays[-1]
    for name in ("mean", "sum", "all_gather", "gather"):
        assert last[f"{name} float32 1001 sent"] == 4004
    assert last[f"broadcast {answers.size - 1} float32 1001 sent"] == 4004
    assert last["broadcast 0 float32 1001 sent"] == 0


def test_nobody_passes_the_barrier_before_all_are_there(answers):
    came = [facts["came"] for facts in answers.facts]
    assert max(came) - min(came) > PAUSE / 2
    assert min(facts["gone"] for facts in answers.facts) >= max(came)


def test_waiting_is_charged_as_communication(answers):
    waited = [facts["gone"] - facts["came"] for facts in answers.facts]
    charged = [facts["charged"] for facts in answers.facts]
    assert charged == pytest.approx(waited, abs=0.05)
    assert charged[0] - charged[-1] > PAUSE / 2


def test_texts_are_shared_in_rank_order(answers):
    assert answers.world("texts") == [TEXTS[: answers.size]] * answers.size
    assert answers.world("texts of nothing") == [[""] * answers.size] * answers.size


def test_rank_0_tells_all(answers):
    assert answers.world("broadcast text") == [TEXTS] * answers.size


def test_arrays_of_any_dtype_are_broadcast(answers):
    for root in range(answers.size):
        assert answers.world(f"broadcast i {root}") == [[[root] * 3] * 2] * answers.size
        assert answers.world(f"broadcast b {root}") == [[root % 2 == 1] * 5] * answers.size
        assert answers.world(f"broadcast U {root}") == [[f"é{root}"]] * answers.size
    expected = (np.arange(12).reshape(4, 3) + 100).tolist()
    assert answers.world("broadcast bytes") == [expected] * answers.size
    assert answers.world("broadcast nothing") == [[0, 3]] * answers.size


def test_rows_are_scattered_whatever_their_shape_and_number(answers):
    rows = [0 if rank == 1 else rank + 1 for rank in range(answers.size)]
    ends = np.cumsum(rows)
    whole = np.arange(2.0 * sum(rows)).reshape(-1, 2)
    for name, array in (("table", whole), ("column", whole[:, 0].astype(int))):
        shares = [array[end - count : end].tolist() for end, count in zip(ends, rows, strict=True)]
        assert answers.world(f"scatter {name}") == shares


def test_letters_come_in_their_order(answers):
    assert answers.world("letters") == [[True, True]] * answers.size


def test_outside_of_any_job_a_process_is_alone(tmp_path):
    program = (
        "from manyhands.teams.mpi_world import join, joined\n"
        "assert joined() is None\n"
        "world = join()\n"
        "assert join() is world is joined()\n"
        "texts = world.all_gather_texts('é'), world.broadcast_text('ü')\n"
        "print(world.rank, world.size, world.watch, *texts, world.call_off(0, 'fails'))"
    )
    environment = mpi_environment.job_environment(mpi_environment.kind_of(worlds.library())) | {
        "PYTHONIOENCODING": "utf-8"
    }
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.stderr.decode() == ""
    assert done.stdout.decode() == f"0 1 None ['é'] ü False{os.linesep}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
