"""Binary inputs from the request to the accuracy: the same as thresholding by hand, wherever the data come from."""

import dataclasses
import struct

import numpy as np
import pytest

import manyhands
from manyhands.core.errors import DataError, SettingsError
from manyhands.data.catalog import DataRequest, load, load_test
from manyhands.data.dataset import Examples, make_dataset
from manyhands.data.resplit import resplit
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.training.jobs.dataset_files import map_dataset, write_dataset
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

SMALL = {"hidden": (6,), "epochs": 5}


def pictures(rows, dtype=np.uint8):
    rng = np.random.default_rng(rows)
    labels = np.arange(rows) % 3
    images = rng.integers(0, 200, (rows, 4, 3)) + 25 * labels[:, None, None]
    return Examples(images.astype(dtype), np.array(["x", "y", "z"])[labels])


def by_hand(examples, threshold):
    return Examples((examples.features >= threshold).astype(np.uint8), examples.labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("validation", [None, 20])
def test_equality_with_thresholding_by_hand(dtype, validation):
    train, test = pictures(100, dtype), pictures(40, dtype)
    one = make_dataset("p", train, test, binarize=120, validation=validation)
    two = make_dataset("p", by_hand(train, 120), by_hand(test, 120), scale="none", validation=validation)
    for name in ("train", "test", "validation"):
        ours, theirs = getattr(one, name), getattr(two, name)
        if theirs is None:
            assert ours is None
            continue
        assert ours.features.dtype == np.uint8
        for field in dataclasses.fields(theirs):
            np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name), err_msg=field.name)
    first, second = manyhands.train(one, **SMALL), manyhands.train(two, **SMALL)
    assert first.losses == second.losses
    np.testing.assert_array_equal(first.model.learner.parameters, second.model.learner.parameters)
    np.testing.assert_array_equal(
        first.model.predict_proba(test.features), second.model.predict_proba(by_hand(test, 120).features)
    )
    assert first.accuracy == first.model.accuracy(test)
    assert one.describe()["scaling"] == "x >= 120"


def test_default_of_digits():
    dataset = load(DataRequest("digits", binarize="auto"))
    raw = load(DataRequest("digits", scale="none"))
    assert (dataset.scaling.name, dataset.scaling.threshold) == ("x >= 8", 8)
    np.testing.assert_array_equal(dataset.train.features, raw.train.features >= 8)
    assert set(np.unique(dataset.train.features)) == {0, 1}


def test_default_of_mnist(data_folder):
    dataset = load(DataRequest("mnist", train_size=500, binarize="auto"))
    assert (dataset.scaling.name, dataset.rows) == ("x >= 128", 500)


def test_default_comes_from_the_rows_that_are_used():
    train = Examples(np.array([[0, 10], [2, 8], [0, 200]], np.uint8), np.array([0, 1, 1]))
    assert make_dataset("p", train, train, train_size=2, binarize="auto").scaling.threshold == 5


def test_a_random_split_keeps_the_threshold():
    train, test = pictures(90), pictures(30)
    dataset = resplit(make_dataset("p", train, test, binarize=100), 3)
    assert dataset.scaling.threshold == 100
    raw = np.concatenate([by_hand(train, 100).features, by_hand(test, 100).features]).reshape(120, -1)
    assert dataset.train.features.sum() + dataset.test.features.sum() == raw.sum()


def test_a_data_set_that_went_through_a_folder(tmp_path):
    dataset = make_dataset("p", pictures(90), pictures(30), binarize=0.1 + 99)
    write_dataset(dataset, tmp_path)
    taken = map_dataset(tmp_path)
    assert taken.scaling.threshold == dataset.scaling.threshold == 99.1
    assert taken.identity == dataset.identity


def test_numbers_of_csv_files(tmp_path):
    for part, rows in (("train", 90), ("test", 30)):
        lines = [
            f"{label},{','.join(f'{x / 7:.4f}' for x in row.ravel())}"
            for row, label in zip(*(getattr(pictures(rows), name) for name in ("features", "labels")), strict=True)
        ]
        (tmp_path / f"{part}.csv").write_text("\n".join(lines) + "\n")
    request = DataRequest(train_csv=tmp_path / "train.csv", test_csv=tmp_path / "test.csv", binarize=16)
    dataset = load(request)
    raw = load(dataclasses.replace(request, binarize=None, scale="none"))
    np.testing.assert_array_equal(dataset.train.features, raw.train.features >= 16)
    result = manyhands.train(dataset, **SMALL)
    result.save(tmp_path / "m")
    loaded = manyhands.load_model(tmp_path / "m")
    assert loaded.accuracy(load_test(request)) == result.accuracy


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_model_takes_raw_values_of_any_size(dtype):
    """A threshold compares them as they are: they need not be numbers of the network's dtype."""
    rng = np.random.default_rng(0)
    examples = Examples(np.where(rng.random((60, 5)) < 0.5, -1e200, 1e200), np.arange(60) % 2)
    result = manyhands.train(make_dataset("p", examples, examples, binarize=0), dtype=dtype, **SMALL)
    assert result.model.accuracy(examples) == result.accuracy
    with pytest.raises(DataError, match="not finite"):
        result.model.predict(np.full((1, 5), np.nan))


def test_processes_of_mpi_get_the_threshold():
    pytest.importorskip("mpi4py")
    dataset = load(DataRequest("digits", binarize=9))
    results = [
        run(
            resolve(
                RunSpec(strategy="gradient", workers=2, team=team, network=MLPSettings(hidden=(6,)), epochs=3), dataset
            ),
            dataset,
        )
        for team in ("threads", "mpi")
    ]
    np.testing.assert_array_equal(*(result.model.learner.parameters for result in results))
    assert results[1].model.scaling.threshold == 9
    assert results[1].model.accuracy(load_test(DataRequest("digits"))) == results[0].accuracy


def test_compare():
    found = manyhands.compare("digits", binarize=5, strategies=["gradient"], workers=[2], seeds=1, epochs=1)
    assert found.settings["data"]["scaling"] == "x >= 5"


class TestRefusals:
    @pytest.mark.parametrize("threshold", [float("nan"), float("-inf"), "half", True])
    def test_thresholds(self, threshold):
        with pytest.raises(SettingsError, match="finite number"):
            DataRequest("digits", binarize=threshold)
        with pytest.raises(SettingsError, match="finite number"):
            make_dataset("p", pictures(9), pictures(9), binarize=threshold)

    def test_another_scaling(self):
        with pytest.raises(SettingsError, match="do not go together"):
            DataRequest("digits", scale="standard", binarize=3)

    def test_nothing_above_it(self):
        with pytest.raises(DataError, match="with the threshold 17 all inputs would be 0"):
            load(DataRequest("digits", binarize=17))

    def test_what_is_published_has_raw_pixels(self):
        pytest.importorskip("mpi4py")
        from manyhands.studies.replications.todorov2021 import PublishedRequest, PublishedStudy

        with pytest.raises(SettingsError, match="leave binarize out"):
            PublishedStudy(PublishedRequest(DataRequest("digits", binarize=3)))


def test_idx_files(tmp_path):
    for part, rows in (("train", 60), ("t10k", 30)):
        examples = pictures(rows)
        codes = np.searchsorted(["x", "y", "z"], examples.labels).astype(np.uint8)
        for what, array in (("images-idx3", examples.features), ("labels-idx1", codes)):
            header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
            (tmp_path / f"{part}-{what}-ubyte").write_bytes(header + array.tobytes())
    dataset = load(DataRequest(str(tmp_path), binarize=100))
    np.testing.assert_array_equal(dataset.train.features, pictures(60).features.reshape(60, -1) >= 100)
    assert dataset.train.features.flags.c_contiguous
