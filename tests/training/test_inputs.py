"""Inputs that lie far from zero: the same training as without the offset, and a word where that cannot be."""

import numpy as np
import pytest

import manyhands
from manyhands.core.errors import DataError
from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Dataset, Examples, make_dataset
from manyhands.data.precision import say_once
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.training.inputs import check_inputs
from manyhands.training.loading import load_model
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

Z = np.random.default_rng(1).normal(size=(400, 3))
LABELS = (Z[:, 0] > 0) * 1 + (Z[:, 1] > 0)
PLACES = {
    "time stamps": (1.7e9, 30),
    "Julian dates": (2460000.5, 0.01),
    "frequencies": (2.4e9, 100),
    "near one": (1, 1e-9),
    "tiny": (0, 1e-30),
    "huge": (1e45, 1e40),
    "mixed": (np.array([1.7e9, 0, -1e25]), np.array([30, 1e-40, 1e15])),
}


def dataset_of(features, rows: int = 300, **how) -> Dataset:
    parts = [Examples(features[part], LABELS[part]) for part in (slice(rows), slice(rows, None))]
    return make_dataset("far", *parts, **how)


def trained(dataset: Dataset, **how):
    return manyhands.train(dataset, **{"hidden": (20,), "epochs": 50, "batch": 20, **how})


@pytest.fixture(scope="module")
def near():
    result = trained(dataset_of(Z))
    assert result.accuracy > 0.85
    return result


@pytest.mark.parametrize("place", PLACES)
def test_arrays_far_from_zero_give_the_same_network(near, place, tmp_path):
    offset, unit = PLACES[place]
    features = offset + unit * Z
    found = trained(dataset_of(features))
    np.testing.assert_allclose(found.model.learner.parameters, near.model.learner.parameters, atol=1e-3)
    assert found.accuracy == near.accuracy
    found.model.save(tmp_path / "model")
    loaded, test = load_model(tmp_path / "model"), Examples(features[300:], LABELS[300:])
    assert loaded.accuracy(test) == near.accuracy
    assert loaded.predict(features.tolist()).tolist() == near.model.predict(Z).tolist()


@pytest.mark.parametrize("place", ["time stamps", "mixed"])
def test_so_do_csv_files(near, place, tmp_path):
    offset, unit = PLACES[place]
    files = [tmp_path / "train.csv", tmp_path / "test.csv"]
    for file, part in zip(files, (slice(300), slice(300, None)), strict=True):
        rows = zip(LABELS[part].tolist(), (offset + unit * Z[part]).tolist(), strict=True)
        file.write_text("".join(f"{label},{','.join(map(str, row))}\n" for label, row in rows))
    dataset = load(DataRequest(train_csv=files[0], test_csv=files[1]))
    assert dataset.train.features.dtype == np.float64
    assert trained(dataset).accuracy == near.accuracy


def test_so_do_processes():
    pytest.importorskip("mpi4py")
    dataset = dataset_of(1.7e9 + 30 * Z, validation=50)
    plans = [
        resolve(
            RunSpec(strategy="periodic:1epoch", workers=2, team=team, epochs=3, network=MLPSettings((8,)), seed=1),
            dataset,
        )
        for team in ("threads", "mpi")
    ]
    results = [run(plan, dataset) for plan in plans]
    assert len({result.model.learner.parameters.tobytes() for result in results}) == 1
    assert len({result.accuracy for result in results}) == 1


@pytest.mark.parametrize(
    "how", [{"learner": "published", "batch": None}, {"strategy": "one-shot:merge=ensemble", "workers": 2}]
)
def test_so_do_other_learners(how):
    results = [trained(dataset_of(features), **how) for features in (Z, 1.7e9 + 30 * Z)]
    assert results[0].accuracy == results[1].accuracy > 0.6


def test_a_threshold_is_compared_with_doubles():
    near, far = (dataset_of(offset + 30 * Z, binarize=offset + 3.0) for offset in (0, 1.7e9))
    np.testing.assert_array_equal(near.train.features, far.train.features)
    assert near.train.features.mean() == pytest.approx(0.46, abs=0.03)


class TestWhatCannotBe:
    def test_all_values_of_a_feature_are_one_in_the_networks_dtype(self):
        dataset = dataset_of(np.stack([Z[:, 0], 1.7e9 + Z[:, 1]], axis=1), scale="none")
        with pytest.raises(DataError, match=r"all values of feature 2, from 1699999.*, are one in float32; standard"):
            resolve(RunSpec(), dataset)
        check_inputs(dataset, "float64")

    @pytest.mark.parametrize(("unit", "told"), [(300, True), (1e6, False)])
    @pytest.mark.parametrize("scale", ["none", "255"])
    def test_much_of_what_tells_them_apart_is_lost(self, caplog, unit, told, scale):
        say_once.cache_clear()
        dataset = dataset_of(1.7e9 + unit * Z, scale=scale)
        for _ in range(2):
            check_inputs(dataset, "float32")
        check_inputs(dataset, "float64")
        said = [record.getMessage() for record in caplog.records]
        assert sum("float32 loses much" in text for text in said) == told
        assert sum("networks hardly learn from inputs of up to" in text for text in said) == len(said) - told == 1

    @pytest.mark.parametrize("scale", ["none", "255"])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_inputs_whose_products_are_no_numbers(self, scale, dtype):
        dataset = dataset_of((1e22 * Z).astype(dtype), scale=scale)
        with pytest.raises(
            DataError, match=r"inputs of up to \S+ are too large: products .* float32 numbers; standard"
        ):
            check_inputs(dataset, "float32")
        check_inputs(dataset, "float64")
        check_inputs(dataset_of((1e22 * Z).astype(dtype)), "float32")

    @pytest.mark.parametrize("scale", ["none", "standard"])
    def test_an_input_beyond_the_networks_dtype(self, scale):
        features = Z.copy()
        features[-1, 1] = 1e60  # of the test rows
        with pytest.raises(DataError, match="an input is no finite float32 number"):
            resolve(RunSpec(), dataset_of(features, scale=scale))
        resolve(RunSpec(network=MLPSettings(dtype="float64")), dataset_of(features, scale=scale))

    def test_a_feature_that_varies_by_less_than_numbers_can_say(self):
        with pytest.raises(DataError, match="varies so little"):
            resolve(RunSpec(), dataset_of(1e-310 * Z))

    def test_a_value_to_predict_beyond_the_networks_dtype(self, near):
        with pytest.raises(DataError, match="not finite float32"):
            near.model.predict(np.full((1, 3), 1e60))
