"""Estimators in files: what comes back predicts the same to the bit and trains on, whatever its labels are."""

import datetime
import json
import pickle

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from manyhands import MLPClassifier, MLPRegressor, TorchClassifier, load_model, train
from manyhands.core.errors import DataError, ModelFileError, SettingsError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(8)
X = RNG.normal(size=(80, 5))
NUMBERS = np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5])
WORDS = np.array(["a", "bb", "ccc"])[NUMBERS]
QUICK = {"hidden_layer_sizes": (6, 3), "max_iter": 8, "tol": 0.5, "random_state": 0}


def saved(model, tmp_path):
    path = tmp_path / "estimator.safetensors"
    model.save(path)
    return type(model).load(path)


LABELS = {
    "int64": NUMBERS,
    "uint8": NUMBERS.astype(np.uint8),
    "bool": NUMBERS > 0,
    "float": NUMBERS * 1.0,
    "str": WORDS,
    "objects": WORDS.astype(object),
    "several": np.stack([NUMBERS > 0, NUMBERS > 1], axis=1).astype(int),
    "several, sparse": sparse.csr_matrix(np.stack([NUMBERS > 0, NUMBERS > 1], axis=1).astype(int)),
}


class TestClassifier:
    @pytest.mark.parametrize("name", LABELS)
    def test_predictions_and_classes_are_the_same(self, name, tmp_path):
        model = MLPClassifier(**QUICK).fit(X, LABELS[name])
        loaded = saved(model, tmp_path)
        assert loaded.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()
        here, there = loaded.predict(X), model.predict(X)
        assert type(here) is type(there)
        assert here.dtype == there.dtype
        assert (here != there).sum() == 0
        assert (loaded.classes_.dtype, loaded.classes_.tolist()) == (model.classes_.dtype, model.classes_.tolist())
        assert set(map(type, loaded.classes_.tolist())) == set(map(type, model.classes_.tolist()))

    @pytest.mark.parametrize("early", [False, True], ids=["", "early stopping"])
    def test_every_fitted_attribute_and_parameter_is_the_same(self, early, tmp_path):
        model = MLPClassifier(**QUICK, early_stopping=early, n_iter_no_change=np.inf, n_workers=2).fit(X, WORDS)
        loaded = saved(model, tmp_path)
        assert loaded.get_params() == model.get_params()
        assert set(vars(loaded)) == set(vars(model))
        for name, value in vars(model).items():
            if name not in ("_optimizer", "_best", "_label_binarizer"):
                np.testing.assert_equal(getattr(loaded, name), value, err_msg=name)

    def test_training_goes_on_as_if_nothing_had_been(self, tmp_path):
        model = MLPClassifier(**QUICK).partial_fit(X, WORDS, classes=np.unique(WORDS))
        loaded = saved(model, tmp_path)
        for each in (model, loaded):
            each.partial_fit(X[::2], WORDS[::2])
        assert loaded.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()

    def test_as_a_pickle(self, tmp_path):
        model = MLPClassifier(**QUICK).fit(X, WORDS)
        assert pickle.dumps(saved(model, tmp_path).coefs_) == pickle.dumps(model.coefs_)
        assert clone(saved(model, tmp_path)).get_params() == model.get_params()

    def test_names_of_columns(self, tmp_path):
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame(X, columns=list("abcde"))
        loaded = saved(MLPClassifier(**QUICK).fit(frame, WORDS), tmp_path)
        assert loaded.feature_names_in_.tolist() == list("abcde")
        with pytest.raises(ValueError, match="feature names should match"):
            loaded.predict(frame[list("edcba")])

    def test_parameters_may_differ(self, tmp_path):
        model = MLPClassifier(**QUICK).fit(X, WORDS)
        model.save(tmp_path / "m")
        loaded = MLPClassifier.load(tmp_path / "m", n_workers=2, strategy="gradient")
        assert (loaded.n_workers, loaded.strategy, loaded.max_iter) == (2, "gradient", 8)

    def test_subclass_of_the_user(self, tmp_path):
        class Mine(MLPClassifier):
            pass

        loaded = saved(Mine(**QUICK).fit(X, WORDS), tmp_path)
        assert type(loaded) is Mine
        assert make_pipeline(StandardScaler(), loaded)[-1].score(X, WORDS) >= 0

    def test_what_cannot_be_saved_says_what_to_do(self, tmp_path):
        with pytest.raises(NotFittedError):
            MLPClassifier().save(tmp_path / "m")
        model = MLPClassifier(**{**QUICK, "random_state": np.random.RandomState(0)}).fit(X, WORDS)
        with pytest.raises(SettingsError, match=r"random_state is a RandomState.*set_params\(random_state=...\)"):
            model.save(tmp_path / "m")
        model.set_params(random_state=None)
        model.classes_ = np.array([datetime.date(2020, 1, day) for day in (1, 2, 3)], dtype=object)
        with pytest.raises(DataError, match=r"type date.*or pickle the estimator"):
            model.save(tmp_path / "m")
        assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_regressor(solver, outputs, tmp_path):
    targets = X[:, 0] if outputs == 1 else X[:, :2]
    model = MLPRegressor(**{**QUICK, "solver": solver, "random_state": 1}).fit(X, targets)
    loaded = saved(model, tmp_path)
    assert loaded.predict(X).tobytes() == model.predict(X).tobytes()
    assert loaded.score(X, targets) == model.score(X, targets)


class TestTorch:
    @staticmethod
    def network(n_features, n_classes):
        from torch import nn

        return nn.Sequential(nn.Linear(n_features, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, n_classes))

    def test_module_is_given_again(self, tmp_path):
        pytest.importorskip("torch")
        model = TorchClassifier(self.network, max_iter=3, tol=0.5, random_state=0).fit(X, WORDS)
        model.save(tmp_path / "m")
        loaded = TorchClassifier.load(tmp_path / "m", module=self.network)
        assert loaded.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()
        assert loaded.predict(X).tolist() == model.predict(X).tolist()
        from_module = TorchClassifier.load(tmp_path / "m", module=self.network(5, 3))
        assert from_module.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()
        with pytest.raises(ModelFileError, match=r"module is code.*load\(path, module=...\)"):
            TorchClassifier.load(tmp_path / "m")
        with pytest.raises(ModelFileError, match="the module is another one"):
            TorchClassifier.load(tmp_path / "m", module=self.network(5, 4))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A good file, which no test may change."""
    path = tmp_path_factory.mktemp("good") / "m"
    MLPClassifier(**QUICK).fit(X, WORDS).save(path)
    return path


class TestFiles:
    def test_of_another_kind(self, path, tmp_path):
        with pytest.raises(ModelFileError, match=r"fitted MLPClassifier, not a MLPRegressor; use MLPClassifier.load"):
            MLPRegressor.load(path)
        with pytest.raises(ModelFileError, match=r"not a manyhands model.*such as MLPClassifier.load"):
            load_model(path)
        train((X, WORDS), epochs=1, hidden=(2,)).save(tmp_path / "model")
        with pytest.raises(ModelFileError, match=r"not a manyhands estimator.*load_model reads it"):
            MLPClassifier.load(tmp_path / "model")
        with pytest.raises(ModelFileError, match="no such file"):
            MLPClassifier.load(tmp_path / "gone")

    @pytest.mark.parametrize("place", [5, 300, -20])
    def test_damage_is_noticed(self, place, path, tmp_path):
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        (tmp_path / "damaged").write_bytes(content)
        with pytest.raises(ModelFileError, match="damaged"):
            MLPClassifier.load(tmp_path / "damaged")

    @pytest.mark.parametrize(
        ("texts", "tensors"),
        [
            ({"parameters": json.dumps({"solver": "newton"})}, {}),
            ({"parameters": json.dumps({"no_such": 1})}, {}),
            ({"parameters": "[]"}, {}),
            ({"parameters": "[" * 100_000}, {}),
            ({"fitted": json.dumps({"fit": 1})}, {}),
            ({"fitted": json.dumps({"n_features_in_": 5})}, {}),
            ({"classes": json.dumps({"kind": "int", "labels": [1, 1, 2], "objects": False})}, {}),
            ({"estimator": "BaseEstimator"}, {}),
            ({}, {"coefs.1": np.zeros((6, 4), np.float64)}),
            ({}, {"coefs.1": None}),
        ],
        ids=lambda changes: str(changes)[:40],
    )
    def test_contradictions_are_noticed(self, texts, tensors, path, tmp_path):
        with safe_open(path, framework="numpy") as file:
            kept = {name: text for name, text in file.metadata().items() if name != "sha256"}
        blocks = {**load_tensors(path.read_bytes()), **tensors}
        changed = {name: block for name, block in blocks.items() if block is not None}
        (tmp_path / "changed").write_bytes(save_tensors(changed, metadata={**kept, **texts}))
        with pytest.raises(ModelFileError, match="changed: "):
            MLPClassifier.load(tmp_path / "changed")
