"""Every field of a table reaches every copy of it; written over the fields, so that a new one is covered by itself."""

from dataclasses import MISSING, fields, replace
from types import SimpleNamespace

import numpy as np
import pytest

from manyhands.core.errors import DataError
from manyhands.core.samples import Samples
from manyhands.data.dataset import Dataset, Examples, make_dataset
from manyhands.data.resplit import head, resplit
from manyhands.data.scaling import Scaling
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.training.jobs import client
from manyhands.training.jobs.dataset_files import map_dataset, write_dataset
from manyhands.training.jobs.distributed_read import facts_of, scatter
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

FIELDS = [each.name for each in fields(Samples)]
PER_ROW = [each.name for each in fields(Samples) if each.metadata.get("per") == "sample"]
PER_FEATURE = [each.name for each in fields(Samples) if each.metadata.get("per") == "feature"]
WIDTH, OUTPUTS = 12, 3


def scaling_of(rng):
    return Scaling("by hand", **{name: rng.random(WIDTH) for name in PER_FEATURE})


def table_of(rng, scaling, rows, first_row=0):
    """A table whose fields are all there; arrays that this does not know have a number for each row."""
    arrays = {name: rng.random(rows) for name in PER_ROW}
    arrays |= {"features": rng.random((rows, WIDTH)), "targets": rng.random((rows, OUTPUTS))}
    arrays["labels"] = (np.arange(rows) % OUTPUTS).astype(np.int32)
    table = scaling.table(**arrays, first_row=first_row, sample_shape=(1, 4, 3))
    for each in fields(table):
        value = getattr(table, each.name)
        assert each.default is MISSING or value is not None, f"say above what {each.name} is in these tests"
    return table


@pytest.fixture
def dataset():
    rng = np.random.default_rng(4)
    scaling = scaling_of(rng)
    tables = [table_of(rng, scaling, rows) for rows in (30, 12, 9)]
    return Dataset("by hand", tables[0], tables[1], np.arange(OUTPUTS), scaling, validation=tables[2])


def assert_same(found, wanted, rows=slice(None), first_row=0):
    """Check every field of a copy against the table it has come from."""
    for name in FIELDS:
        one, other = getattr(found, name), getattr(wanted, name)
        if name in PER_ROW:
            other = other[rows]
        if name == "first_row":
            other = first_row
        np.testing.assert_array_equal(one, other, err_msg=name, strict=isinstance(other, np.ndarray))


def test_rows_are_taken_with_all_that_belongs_to_them():
    rng = np.random.default_rng(5)
    table = table_of(rng, scaling_of(rng), 20, first_row=100)
    for rows, first_row in (
        (slice(3, 9), 103),
        (slice(-4, None), 116),
        (slice(0), 100),
        (np.array([7, 2, 2]), 0),
        (slice(9, 2, -2), 0),
    ):
        assert_same(table.take(rows), table, rows, first_row)
    other = table.with_arrays({"labels": table.labels[::-1]})
    assert_same(replace(other, labels=table.labels), table, first_row=100)
    assert other.labels.tolist() == table.labels[::-1].tolist()


def test_first_rows(dataset):
    assert_same(head(dataset, 7).train, dataset.train, slice(7))
    assert_same(head(dataset, 7).test, dataset.test)


@pytest.mark.parametrize("validated", [False, True])
def test_random_splits(dataset, validated):
    given = dataset if validated else replace(dataset, validation=None)
    found, other = resplit(given, 2), dataset.validation if validated else dataset.test
    both = given.train.with_arrays(
        {name: np.concatenate([array, other.arrays()[name]]) for name, array in given.train.arrays().items()}
    )
    drawn = {"train": found.train, "other": found.validation if validated else found.test}
    seen = []
    for table in drawn.values():
        rows = [int(np.flatnonzero((both.features == row).all(axis=1))[0]) for row in table.features]
        assert_same(table, both, rows)
        seen += rows
    assert sorted(seen) == list(range(both.rows))
    assert seen[: given.train.rows] != list(range(given.train.rows))
    if validated:
        assert_same(found.test, dataset.test)


@pytest.mark.parametrize("validated", [False, True])
def test_files_of_a_job(dataset, tmp_path, validated):
    given = dataset if validated else replace(dataset, validation=None)
    write_dataset(given, tmp_path)
    taken = map_dataset(tmp_path)
    assert taken.tables.keys() == given.tables.keys()
    for part, table in taken.tables.items():
        assert_same(table, given.tables[part])


class Taped:
    """The processes of a job, one after the other: what rank 0 sends is kept for the others."""

    size = 2

    def __init__(self, rank, tape):
        self.rank, self._tape = rank, tape if rank == 0 else list(tape)

    def _pass_on(self, thing):
        if self.rank == 0:
            self._tape.append(thing)
        return thing if self.rank == 0 else self._tape.pop(0)

    def broadcast_text(self, text):
        return self._pass_on(text)

    def broadcast_(self, array, root=0):
        array[:] = self._pass_on(array.copy())

    def scatter(self, features, counts, share):
        begin = sum(counts[: self.rank])
        share[:] = self._pass_on(features)[begin : begin + len(share)]

    def barrier(self):
        pass


@pytest.mark.parametrize("sharding", ["global", "fixed"])
def test_what_rank_0_has_read(dataset, sharding):
    tape = []
    for rank in (0, 1):
        found = scatter(dataset if rank == 0 else None, Taped(rank, tape), sharding)
        begin, end = (rank * 15, rank * 15 + 15) if sharding == "fixed" else (0, 30)
        assert_same(found.train, dataset.train, slice(begin, end), begin)
        assert_same(found.test, dataset.test)
        assert_same(found.validation, dataset.validation)


@pytest.mark.parametrize("name", PER_ROW)
@pytest.mark.parametrize("part", ["train", "test", "validation"])
def test_data_sets_differ_if_any_array_does(dataset, part, name):
    table = dataset.tables[part]
    other = replace(dataset, **{part: table.with_arrays({name: table.arrays()[name][::-1].copy()})})
    plan = SimpleNamespace(to_json=lambda: {"network": {}})
    assert other.identity != dataset.identity
    assert facts_of(plan, other) != facts_of(plan, dataset)


def test_the_room_for_a_job_is_that_of_all_arrays(dataset, monkeypatch):
    needed = 2 * sum(array.nbytes for table in dataset.tables.values() for array in table.arrays().values()) + (
        16 << 20
    )
    monkeypatch.setattr(client.os, "access", lambda *_: True)
    for free, place in ((needed, None), (needed + 1, "/dev/shm")):
        monkeypatch.setattr(client.os, "statvfs", lambda _, free=free: SimpleNamespace(f_bavail=free, f_frsize=1))
        assert client._place_for(dataset) == place


def test_images_keep_their_shape_and_a_wrong_one_is_refused():
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 3), np.uint8)
    given = Examples(images, np.arange(40) % 2)
    for examples, shape in (
        (given, (1, 4, 3)),
        (replace(given, features=images.reshape(40, 12)), (12,)),
        (replace(given, features=images.reshape(40, 2, 2, 3)), (2, 2, 3)),
    ):
        found = make_dataset("images", examples, examples, validation=8)
        assert {table.sample_shape for table in found.tables.values()} == {shape}
    with pytest.raises(DataError, match="have 10 features"):
        replace(found.train, sample_shape=(2, 5))


def test_processes_train_on_targets_and_weights_as_threads_do(dataset):
    pytest.importorskip("mpi4py")
    given = replace(dataset, test=dataset.test.take(slice(0)))
    settings = MLPSettings(hidden=(4,), loss="squared_error")
    results = [
        run(
            resolve(
                RunSpec(strategy="periodic:1epoch", workers=2, team=team, network=settings, batch=10, epochs=3), given
            ),
            given,
        )
        for team in ("threads", "mpi")
    ]
    assert results[0].losses == results[1].losses
    assert results[0].model.learner.parameters.tobytes() == results[1].model.learner.parameters.tobytes()
