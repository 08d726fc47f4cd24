"""What cannot be summed as it stands: elements of any size, exchanged between the workers of every team."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.core.errors import SettingsError
from manyhands.core.samples import Control
from manyhands.runtime.partition import part_of
from manyhands.teams import mpi_environment
from manyhands.teams.launch import launch
from manyhands.training.clock import PhaseClock

TEAMS = [("solo", 1), ("threads", 1), ("threads", 2), ("threads", 3), ("threads", 7)]
LENGTHS = [0, 1, 5, 64, 1001]
BLOCKS = np.dtype([("scale", "<f4"), ("values", "i1", (256,))])
PACKED = np.dtype([("flag", "u1"), ("number", "<f8"), ("pair", "<i2", (2,))])  # 13 bytes, and nothing aligned
DTYPES = {
    "1": np.dtype("u1"),
    "2": np.dtype("f2"),
    "4": np.dtype("f4"),
    "8": np.dtype("f8"),
    "260": BLOCKS,
    "13": PACKED,
}
SIZE = 3


def test_element_sizes_are_as_said():
    assert {name: dtype.itemsize for name, dtype in DTYPES.items()} == {name: int(name) for name in DTYPES}


# What follows runs in threads of this process, and some of it in processes of their own.


def together(name, size, work):
    controls = [Control(np.zeros(1, np.int64), np.zeros(1, np.int64)) for _ in range(size)]
    return launch(name, [PhaseClock() for _ in range(size)], controls, work)


def made(rank, dtype, length):
    """Return a vector of random bytes, NaNs and all: whatever is copied right is the same to the byte."""
    content = np.random.default_rng([rank, dtype.itemsize, length]).bytes(length * dtype.itemsize)
    return np.frombuffer(content, dtype, length).copy()


def exchange_all(team):
    """Go through all element sizes and lengths; return what came as bytes, and all else that can be asked."""
    found = {}
    for name, dtype in DTYPES.items():
        for length in LENGTHS:
            vector, sent = made(team.rank, dtype, length), team.bytes_sent
            part, rows = team.exchange(vector)
            place = f"{name} {length}"
            found[f"{place} facts"] = np.array([part.start, part.stop, team.bytes_sent - sent, *rows.shape])
            found[f"{place} rows"] = np.frombuffer(rows.tobytes(), np.uint8)
            found[f"{place} kept"] = np.frombuffer(vector.tobytes(), np.uint8)
            assert rows.dtype == dtype
            sent = team.bytes_sent
            if len(rows[0]):
                vector[part] = rows[-1]  # everyone's part becomes the last worker's
            team.all_gather_(vector)
            found[f"{place} gathered"] = np.frombuffer(vector.tobytes(), np.uint8)
            found[f"{place} gathered sent"] = np.array(team.bytes_sent - sent)
    return found


def main(folder):
    """Be one process of the job; leave in the folder what was found."""
    (found,) = together("mpi", SIZE, exchange_all)
    refused = together("mpi", SIZE, refusal)
    np.savez(folder / f"found-{worker()}.npz", **found, refused=np.array(refused))


def worker():
    from manyhands.teams.mpi_world import join

    return join().rank


def refusal(team):
    with pytest.raises(SettingsError) as caught:
        team.shared_vector(np.zeros(4))
    return str(caught.value)


# What follows are the tests.


def pairs_of(team):
    """Every element size with every length is some team's, and every team meets each size and each length."""
    return [
        (dtype, length)
        for row, dtype in enumerate(DTYPES.values())
        for column, length in enumerate(LENGTHS)
        if (row + column) % len(TEAMS) == TEAMS.index(team)
    ]


@pytest.mark.parametrize("team", TEAMS)
def test_each_worker_gets_everyones_elements_of_its_part(team):
    name, size = team
    for dtype, length in pairs_of(team):
        vectors = [made(rank, dtype, length) for rank in range(size)]
        answers = together(name, size, lambda team, vectors=vectors: team.exchange(vectors[team.rank]))
        covered = [index for part, _ in answers for index in range(part.start, part.stop)]
        assert covered == list(range(length))
        for rank, (part, rows) in enumerate(answers):
            assert part == part_of(length, size, rank, dtype.itemsize)
            assert rows.dtype == dtype
            assert rows.shape == (size, part.stop - part.start)
            for row, vector in zip(rows, vectors, strict=True):
                assert row.tobytes() == vector[part].tobytes()
        for rank, vector in enumerate(vectors):  # nothing was written into
            assert vector.tobytes() == made(rank, dtype, length).tobytes()


@pytest.mark.parametrize(("name", "size"), TEAMS)
def test_what_was_exchanged_is_a_copy(name, size):
    def work(team):
        vector = np.full(100, team.rank, np.float32)
        _, rows = team.exchange(vector)
        vector[:] = -1
        team.barrier()
        return rows

    for rows in together(name, size, work):
        assert (rows == np.arange(size)[:, None]).all()


@pytest.mark.parametrize(("name", "size"), TEAMS)
def test_parts_of_any_elements_are_gathered(name, size):
    vectors = [made(rank, PACKED, 37) for rank in range(size)]

    def work(team):
        vector = vectors[team.rank].copy()
        team.all_gather_(vector)
        return vector

    expected = vectors[0].copy()
    for rank in range(size):
        part = part_of(37, size, rank, PACKED.itemsize)
        expected[part] = vectors[rank][part]
    for vector in together(name, size, work):
        assert vector.tobytes() == expected.tobytes()


@pytest.mark.parametrize(("name", "size"), [team for team in TEAMS if team[1] > 1])
def test_an_exchange_sends_the_vector_once(name, size):
    def work(team):
        counts = []
        for dtype in DTYPES.values():
            before = team.bytes_sent
            team.exchange(np.zeros(10, dtype))
            counts.append(team.bytes_sent - before)
        return counts

    assert together(name, size, work) == [[10, 20, 40, 80, 2600, 130]] * size


@pytest.mark.parametrize("name", ["solo", "threads"])
def test_one_worker_sends_nothing(name):
    assert together(name, 1, lambda team: (team.exchange(np.zeros(10)), team.bytes_sent)[1]) == [0]


@pytest.mark.parametrize(("name", "size"), TEAMS)
def test_a_shared_vector_is_rank_0s_own(name, size):
    vectors = [made(rank, PACKED, 21) for rank in range(size)]

    def work(team):
        sent = team.bytes_sent
        return team.shared_vector(vectors[team.rank]), team.bytes_sent - sent

    for shared, sent in together(name, size, work):
        assert shared is vectors[0]
        assert sent == 0


def test_what_one_writes_into_a_shared_vector_all_see():
    def work(team):
        shared = team.shared_vector(np.full(team.size, -1.0))
        shared[team.rank] = team.rank
        team.barrier()
        return shared.tolist()

    assert together("threads", 4, work) == [[0, 1, 2, 3]] * 4


def test_two_shared_vectors_are_two():
    def work(team):
        one, other = team.shared_vector(np.zeros(3)), team.shared_vector(np.zeros(3))
        team.sum_(np.ones(3))
        return one, other

    answers = together("threads", 3, work)
    assert len({id(one) for one, _ in answers}) == len({id(other) for _, other in answers}) == 1
    assert answers[0][0] is not answers[0][1]


@given(st.integers(0, 5000), st.integers(1, 40), st.integers(1, 300))
def test_parts_cover_vectors_of_any_elements_once_in_order(length, size, itemsize):
    parts = [part_of(length, size, rank, itemsize) for rank in range(size)]
    assert [index for part in parts for index in range(part.start, part.stop)] == list(range(length))


@given(st.integers(0, 5000), st.integers(1, 40), st.sampled_from([1, 2, 4, 8, 16, 32, 64]))
def test_parts_are_cut_at_cache_lines(length, size, itemsize):
    starts = [part_of(length, size, rank, itemsize).start for rank in range(size)]
    assert all(start * itemsize % 64 == 0 or start == length for start in starts)


@given(st.integers(0, 5000), st.integers(1, 40), st.integers(1, 300))
def test_parts_are_as_equal_as_cache_lines_allow(length, size, itemsize):
    # In lines: the difference is one at most, and another line may be cut off at the end.
    parts = [part_of(length, size, rank, itemsize) for rank in range(size)]
    lengths = [part.stop - part.start for part in parts]
    line = max(1, 64 // itemsize)
    assert max(lengths) - min(lengths) < 2 * line
    if itemsize > 32:  # one element a line
        assert max(lengths) - min(lengths) <= 1


def test_parts_by_hand():
    # 40 numbers of 4 bytes are 2.5 lines of 16: of 3 lines the first of 2 workers gets one. Of 8 bytes: 5 lines of 8,
    # of which it gets 2. Bytes: all in one line, which is the second's. Elements of 260 bytes are cut anywhere.
    parts = {itemsize: part_of(40, 2, 0, itemsize) for itemsize in (1, 4, 8, 260)}
    assert parts == {1: slice(0, 0), 4: slice(0, 16), 8: slice(0, 16), 260: slice(0, 20)}
    assert part_of(40, 2, 0) == part_of(40, 2, 0, 4)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What three real processes found, and three threads."""
    pytest.importorskip("mpi4py")
    from manyhands.teams import mpi_world

    folder = tmp_path_factory.mktemp("job")
    mpiexec, kind = mpi_environment.find_mpiexec(mpi_world.library())
    job = subprocess.run(
        [*mpi_environment.job_command(mpiexec, kind, SIZE), sys.executable, __file__, str(folder)],
        env=mpi_environment.job_environment(kind),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (job.returncode, job.stderr, job.stdout) == (0, "", "")
    processes = [dict(np.load(folder / f"found-{rank}.npz")) for rank in range(SIZE)]
    return processes, together("threads", SIZE, exchange_all)


def test_processes_exchange_what_threads_do(found):
    for processes, threads in zip(*found, strict=True):
        assert processes.keys() - {"refused"} == threads.keys()
        assert len(threads) == 5 * len(DTYPES) * len(LENGTHS)
        for name, array in threads.items():
            assert array.tobytes() == processes[name].tobytes(), name


def test_an_exchange_and_a_gathering_make_all_vectors_one(found):
    for name, dtype in DTYPES.items():
        last = made(SIZE - 1, dtype, 1001).tobytes()
        for worker_found in (*found[0], *found[1]):
            assert worker_found[f"{name} 1001 gathered"].tobytes() == last


def test_processes_have_no_memory_to_share(found):
    for processes in found[0]:
        assert "no memory in common" in str(processes["refused"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
