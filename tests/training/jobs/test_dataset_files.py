"""A data set that went through a folder is the same data set, and its rows were mapped, not copied."""

import mmap

import numpy as np
import pytest

from manyhands.core.errors import OutputError
from manyhands.data.dataset import Examples, make_dataset
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.training.jobs.dataset_files import map_dataset, write_dataset
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec


def bytes_and_numbers():
    rng = np.random.default_rng(1)
    labels = np.arange(50) % 4
    return Examples(rng.integers(0, 256, (50, 4, 3), dtype=np.uint8), labels), {"scale": "auto"}


def floats_and_words():
    rng = np.random.default_rng(2)
    labels = np.array(["hen", "a longer word, with a comma", "ä"])[np.arange(40) % 3]
    return Examples(rng.normal(size=(40, 5)).astype(np.float32), labels), {"scale": "standard"}


def doubles_and_negative_numbers():
    rng = np.random.default_rng(3)
    return Examples(rng.normal(size=(30, 2)) * 1e200, np.array([-7, 2**40])[np.arange(30) % 2]), {"scale": "none"}


KINDS = [bytes_and_numbers, floats_and_words, doubles_and_negative_numbers]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def dataset(request):
    examples, how = request.param()
    test = Examples(examples.features[:20], examples.labels[:20])
    return make_dataset("pets", examples, test, note="of our own", seconds=1.25, **how)


def assert_same(got, wanted):
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted)


def memory_of(array):
    """Return the object that an array's memory belongs to in the end."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array


def test_everything_arrives_as_it_was(dataset, tmp_path):
    write_dataset(dataset, tmp_path)
    taken = map_dataset(tmp_path)
    for part in ("train", "test"):
        for name in ("features", "labels", "scale", "shift"):
            assert_same(getattr(getattr(taken, part), name), getattr(getattr(dataset, part), name))
    assert_same(taken.classes, dataset.classes)
    assert_same(taken.scaling.scale, dataset.scaling.scale)
    assert_same(taken.scaling.shift, dataset.scaling.shift)
    for found in (taken.scaling, taken.train, taken.test):
        np.testing.assert_equal(found.center, dataset.scaling.center)
    assert taken.scaling.name == dataset.scaling.name
    for name in ("name", "note", "seconds", "first_row", "all_rows", "rows", "features"):
        assert getattr(taken, name) == getattr(dataset, name)
    assert taken.describe() == dataset.describe()


def test_rows_are_mapped_and_what_is_written_stays_here(dataset, tmp_path):
    write_dataset(dataset, tmp_path)
    taken, other = map_dataset(tmp_path), map_dataset(tmp_path)
    for one in (taken.train.features, taken.test.features):
        assert isinstance(memory_of(one), mmap.mmap)
        assert type(one) is np.ndarray  # not a memmap: what is computed from it would be one, too
    taken.train.features[:] = 0  # kernels are compiled for arrays that could be written to
    assert_same(other.train.features, dataset.train.features)
    assert_same(map_dataset(tmp_path).train.features, dataset.train.features)


@pytest.mark.parametrize("dataset", KINDS[:2], indirect=True)
def test_training_on_it_gives_the_same_bits(dataset, tmp_path):
    write_dataset(dataset, tmp_path)
    results = [
        run(resolve(RunSpec(network=MLPSettings(hidden=(4,)), epochs=2, batch=10), one), one)
        for one in (dataset, map_dataset(tmp_path))
    ]
    assert results[0].model.learner.parameters.tobytes() == results[1].model.learner.parameters.tobytes()
    assert results[0].accuracy == results[1].accuracy


def test_handing_over_is_timed(dataset, tmp_path, monkeypatch):
    """Of the training rows: the test rows are for the evaluation, which no clock of the training counts."""
    ticks = iter([10.0, 13.0, 20.0, 20.5])
    monkeypatch.setattr("manyhands.training.jobs.dataset_files.time.perf_counter", lambda: next(ticks))
    write_dataset(dataset, tmp_path)
    assert map_dataset(tmp_path).distributed == 3.0 + 0.5


def test_a_folder_that_is_not_there(dataset, tmp_path):
    with pytest.raises(OutputError, match=r"cannot hand the data over through .*missing: No such file"):
        write_dataset(dataset, tmp_path / "missing")


def test_nothing_in_the_folder_is_ever_executed(dataset, tmp_path):
    write_dataset(dataset, tmp_path)
    np.save(tmp_path / "classes.npy", np.array([print], object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        map_dataset(tmp_path)
