"""Fits with checkpoints: the same fit goes on bit for bit, another one is refused, and nothing is left at the end."""

import logging
from dataclasses import asdict, is_dataclass
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

from manyhands import MLPClassifier, MLPRegressor, TorchClassifier
from manyhands.core.errors import SettingsError
from manyhands.estimators import history

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Training interrupted by user"),
]
RNG = np.random.default_rng(3)
X = RNG.normal(size=(120, 5))
Y = np.digitize(X[:, 0] + X[:, 1] * X[:, 2], [-0.5, 0.5])
REAL = X[:, 0] * X[:, 1] + 0.1 * RNG.normal(size=120)
WEIGHTS = RNG.random(120) + 0.1
QUICK = {"hidden_layer_sizes": (6,), "batch_size": 20, "max_iter": 14, "n_iter_no_change": np.inf, "random_state": 0}
LAST = "checkpoint-{:012d}.safetensors"


class EarlyEndError(Exception):
    """What ends a fit that is to go on later."""


class Course:
    """Sees the epochs of fits on rank 0, and lets those after a number of epochs fail on all workers."""

    def __init__(self, monkeypatch):
        self.seen, self.fails_after, self.error = [], None, EarlyEndError
        after_epoch = history._WorkerHistory.after_epoch

        def watched(worker, run, epoch):
            if len(worker.history.losses) == self.fails_after:
                raise self.error
            ends = after_epoch(worker, run, epoch)
            if worker.rank == 0:
                self.seen.append(len(worker.history.losses))
            return ends

        monkeypatch.setattr(history._WorkerHistory, "after_epoch", watched)

    def fail(self, fit, epochs, error=EarlyEndError):
        """Let a fit fail after so many epochs."""
        self.seen, self.fails_after, self.error = [], epochs, error
        try:
            if error is KeyboardInterrupt:
                fit()
            else:
                with pytest.raises(error):
                    fit()
            assert self.seen[-1:] in ([], [epochs])  # none, if it has gone on just there
        finally:
            self.seen, self.fails_after = [], None


@pytest.fixture
def course(monkeypatch):
    return Course(monkeypatch)


def each(folder, **more):
    """Return the parameter for a checkpoint after every epoch."""
    return {"folder": folder, "every": "1epoch", "checkpoint_cost": 1, **more}


def plain(value):
    """Return what can be compared to the bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if is_dataclass(value):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if hasattr(value, "state_dict"):
        return {name: plain(tensor.numpy()) for name, tensor in value.state_dict().items()}
    return value.classes_.tolist() if hasattr(value, "classes_") else repr(value)


def fitted(model):
    """Return all fitted attributes, private ones included."""
    given = model.get_params(deep=False)
    return {name: plain(value) for name, value in vars(model).items() if name not in given}


def goes_on(course, make, epochs, tmp_path, data=(X, Y), error=EarlyEndError, folder="there", **words):
    """Check that a fit that has failed after so many epochs goes on as if it had not; return the folder."""
    whole = make().fit(*data, **words)
    model = make().set_params(checkpoint=each(tmp_path / folder))
    course.fail(lambda: clone(model).fit(*data, **words), epochs, error)
    assert list((tmp_path / folder).rglob("checkpoint-*"))
    again = model.fit(*data, **words)
    assert len(course.seen) < again.n_iter_
    assert fitted(again) == fitted(whole)
    assert not (tmp_path / folder).exists()
    return again


SGD = {"solver": "sgd", "learning_rate_init": 0.2}
FITS = {
    "plain": {},
    "early stopping": {"early_stopping": True},
    "patience": {"tol": 0.05, "n_iter_no_change": 2, "max_iter": 60, "learning_rate_init": 0.02},
    "invscaling": {**SGD, "learning_rate": "invscaling", "power_t": 0.3},
    "momentum, dropout": {"solver": "momentum", "dropout": 0.2},
}


@pytest.mark.parametrize("n_workers", [1, 2])
@pytest.mark.parametrize("name", FITS)
def test_a_repeated_fit_goes_on_bit_for_bit(name, n_workers, course, tmp_path):
    words = {**QUICK, **FITS[name], "n_workers": n_workers}
    goes_on(course, lambda: MLPClassifier(**words), 5, tmp_path, sample_weight=WEIGHTS)
    assert course.seen[0] == 6


@pytest.mark.parametrize("early", [False, True])
def test_workers_with_networks_of_their_own(early, course, tmp_path):
    words = {**QUICK, "n_workers": 2, "strategy": "periodic:2epochs", "early_stopping": early}
    goes_on(course, lambda: MLPClassifier(**words), 5, tmp_path)


@pytest.mark.parametrize("n_workers", [1, 2])
@pytest.mark.parametrize("early", [False, True])
def test_an_adaptive_rate_goes_through_all_of_its_runs(early, n_workers, course, tmp_path):
    adaptive = {**QUICK, **SGD, "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2, "max_iter": 60}
    words = {**adaptive, "early_stopping": early, "n_workers": n_workers}
    whole = MLPClassifier(**words).fit(X, Y)
    runs = round(-np.log(whole._optimizer.learning_rate / 0.2) / np.log(5)) + 1
    assert runs > 3
    goes_on(course, lambda: MLPClassifier(**words), whole.n_iter_ - 5, tmp_path)


def test_a_regressor_in_double_precision(course, tmp_path):
    words = {**QUICK, "dtype": "float64", "early_stopping": True}
    goes_on(course, lambda: MLPRegressor(**words), 6, tmp_path, (X, REAL))


@pytest.mark.parametrize("early", [False, True])
def test_a_warm_start_goes_on_from_the_same_network(early, course, tmp_path):
    def begun():
        model = MLPClassifier(**QUICK, warm_start=True, early_stopping=early).fit(X[:60], Y[:60])
        course.seen = []
        return model.set_params(checkpoint=each(tmp_path))

    whole = begun().set_params(checkpoint=None).fit(X, Y)
    model = begun()
    course.fail(lambda: model.fit(X, Y), 6)
    other = begun().set_params(early_stopping=False).partial_fit(X[:60], Y[:60])
    with pytest.raises(SettingsError, match="start='checksum"):
        other.set_params(early_stopping=early).fit(X, Y)
    other = begun()
    other.best_loss_ = other.best_validation_score_ = 0.125  # which decides when the fit ends
    with pytest.raises(SettingsError, match="history='checksum"):
        other.fit(X, Y)
    again = begun().fit(X, Y)
    assert course.seen == list(range(7, 15))
    assert fitted(again) == fitted(whole)


def test_ctrl_c_keeps_the_network_and_the_checkpoints(course, tmp_path):
    model = goes_on(course, lambda: MLPClassifier(**QUICK), 6, tmp_path, error=KeyboardInterrupt)
    assert model.n_iter_ == 14
    model.set_params(checkpoint=each(tmp_path))
    course.fail(lambda: model.fit(X, Y), 6, KeyboardInterrupt)
    assert (model.n_iter_, len(model.loss_curve_)) == (6, 6)
    course.fail(lambda: model.fit(X, Y), 9, KeyboardInterrupt)  # and again, further on
    assert (model.n_iter_, len(model.loss_curve_)) == (9, 9)
    assert fitted(model.fit(X, Y)) == fitted(MLPClassifier(**QUICK).fit(X, Y))


def test_ctrl_c_within_the_first_epoch_that_goes_on_keeps_the_network_of_the_checkpoint(course, tmp_path):
    model = MLPClassifier(**QUICK, checkpoint=each(tmp_path))
    course.fail(lambda: model.fit(X, Y), 6)
    state = {}

    def at_once(self, epoch, order, losses, counts=None):
        state.update(self.learner.state())
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("manyhands.training.worker_run.WorkerRun.close_epoch", at_once)
        model.fit(X, Y)
    assert model.n_iter_ == 6
    assert plain(model._optimizer.state) == plain(state)  # with the vectors of the optimizer


def test_ctrl_c_within_that_epoch_keeps_what_several_workers_had_in_common(course, tmp_path):
    model = MLPClassifier(**QUICK, n_workers=2, checkpoint=each(tmp_path))
    course.fail(lambda: model.fit(X, Y), 6)
    course.fail(lambda: model.fit(X, Y), 6, KeyboardInterrupt)
    assert (model.n_iter_, len(model.loss_curve_)) == (6, 6)
    common = MLPClassifier(**{**QUICK, "max_iter": 6}, n_workers=2).fit(X, Y)
    assert plain(model.coefs_) == plain(common.coefs_)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_module_of_pytorch(n_workers, course, tmp_path):
    nn = pytest.importorskip("torch.nn")

    def network(n_features, n_classes):
        layers = nn.Linear(n_features, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, n_classes)
        return nn.Sequential(*layers)

    def make(activation=nn.ReLU):
        words = {name: value for name, value in QUICK.items() if name != "hidden_layer_sizes"}
        words |= {"n_workers": n_workers, "early_stopping": True, "schedule": "cosine"}
        return TorchClassifier(network, **words)

    goes_on(course, make, 6, tmp_path)


def test_another_module_is_refused(course, tmp_path):
    nn = pytest.importorskip("torch.nn")

    def make(activation):
        def network(n_features, n_classes):
            return nn.Sequential(nn.Linear(n_features, 6), activation(), nn.Linear(6, n_classes))

        return TorchClassifier(network, max_iter=9, random_state=0, checkpoint=each(tmp_path))

    course.fail(lambda: make(nn.ReLU).fit(X, Y), 6)
    with pytest.raises(SettingsError, match="layers='checksum"):
        make(nn.Tanh).fit(X, Y)


OTHERS = {
    "alpha": (1.0, "l2="),
    "tol": (0.5, r"tol=0\.0001 \(now 0\.5\)"),
    "n_iter_no_change": (3, "n_iter_no_change=inf"),
    "early_stopping": (True, "no early_stopping"),
    "power_t": (0.2, r"power_t=0\.5 \(now 0\.2\)"),
    "learning_rate": ("constant", "schedule="),
    "learning_rate_init": (0.1, "learning_rate=0.2"),
    "max_iter": (15, r"epochs=14 \(now 15\)"),
    "random_state": (1, "seed=0"),
    "n_workers": (3, r"n_workers=2 \(now 3\)"),
    "strategy": ("periodic:1epoch", "strategy="),
    "hidden_layer_sizes": ((7,), "hidden="),
}


def test_another_fit_is_refused_and_removes_nothing(course, tmp_path):
    model = MLPClassifier(**QUICK, **SGD, learning_rate="invscaling", n_workers=2, checkpoint=each(tmp_path))
    course.fail(lambda: model.fit(X, Y), 5)
    before = sorted(tmp_path.iterdir())
    for name, (value, said) in OTHERS.items():
        with pytest.raises(SettingsError, match=f"checkpoint is of a run with .*{said}"):
            clone(model).set_params(**{name: value}).fit(X, Y)
    changed = X.copy()
    changed[7, 3] += 1e-3
    ones = np.tile([0.5, 1.5], 60)
    for rows, words in (((changed, Y), {}), ((X, np.roll(Y, 1)), {}), ((X, Y), {"sample_weight": ones})):
        with pytest.raises(SettingsError, match="the checkpoint is of a run on other data"):
            clone(model).fit(*rows, **words)
    assert sorted(tmp_path.iterdir()) == before
    clone(model).set_params(verbose=False, checkpoint={**each(tmp_path), "keep": 1}).fit(X, Y)


def test_validation_rows_are_part_of_the_data(course, tmp_path):
    model = MLPClassifier(**QUICK, early_stopping=True, checkpoint=each(tmp_path))
    course.fail(lambda: model.fit(X, Y), 5)
    for row in range(0, 120, 17):
        changed = X.copy()
        changed[row, 0] += 1e-3
        with pytest.raises(SettingsError, match="other data"):
            clone(model).fit(changed, Y)


def test_a_torn_newest_file_is_skipped_with_a_warning(course, tmp_path, caplog):
    model = MLPClassifier(**QUICK, checkpoint=each(tmp_path))
    course.fail(lambda: model.fit(X, Y), 6)
    newest = max(tmp_path.iterdir())
    newest.write_bytes(newest.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING, "manyhands"):
        model.fit(X, Y)
    assert any("a checkpoint is skipped" in each.message and newest.name in each.message for each in caplog.records)
    assert course.seen[0] == 6
    assert fitted(model) == fitted(MLPClassifier(**QUICK).fit(X, Y))


def test_so_many_are_kept_so_often(course, tmp_path):
    model = MLPClassifier(**QUICK, checkpoint=each(tmp_path, every="2epochs", keep=2))
    course.fail(lambda: model.fit(X, Y), 9)
    assert sorted(each.name for each in tmp_path.iterdir()) == [LAST.format(36), LAST.format(48)]


def test_other_files_in_the_folder_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    MLPClassifier(**QUICK, checkpoint=each(str(tmp_path))).fit(X, Y)
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("as_given", [str, Path, lambda path: {"folder": path}], ids=["text", "path", "mapping"])
def test_parameters_are_kept_as_given(as_given, tmp_path):
    given = as_given(tmp_path / "there")
    model = MLPClassifier(**QUICK, checkpoint=given)
    assert model.get_params()["checkpoint"] is given
    assert clone(model).get_params()["checkpoint"] == given
    model.fit(X, Y)
    assert model.get_params()["checkpoint"] is given
    model.save(tmp_path / "model.safetensors")
    assert MLPClassifier.load(tmp_path / "model.safetensors").checkpoint is None


WRONG = [
    ({"checkpoint": 5}, "'checkpoint' parameter of MLPClassifier must be"),
    ({"checkpoint": ""}, "checkpoint must name a folder"),
    ({"checkpoint": {}}, "must name a folder"),
    ({"checkpoint": {"folder": None}}, "must name a folder"),
    ({"checkpoint": {"folder": "there", "evry": "5s"}}, "did you mean 'every'"),
    ({"checkpoint": {"folder": "there", "every": "5 parsecs"}}, "no time between two checkpoints"),
    ({"checkpoint": {"folder": "there", "keep": 0}}, "keep"),
    ({"checkpoint": {"folder": "there", "checkpoint_cost": 0}}, "checkpoint_cost"),
    ({"checkpoint": "there", "random_state": None}, "random_state"),
    ({"checkpoint": "there", "random_state": np.random.RandomState(0)}, "random_state"),
    ({"checkpoint": "there", "solver": "lbfgs"}, "lbfgs"),
]


@pytest.mark.parametrize(("words", "said"), WRONG, ids=range(len(WRONG)))
def test_what_cannot_be_is_refused_in_fit(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=said):
        MLPClassifier(**{**QUICK, **words}).fit(X, Y)
    assert list(tmp_path.iterdir()) == []


def test_one_epoch_has_no_checkpoints(tmp_path):
    model = MLPClassifier(hidden_layer_sizes=(6,), checkpoint=each(tmp_path / "there"))  # nor needs it a seed
    model.partial_fit(X, Y, classes=[0, 1, 2])
    assert not (tmp_path / "there").exists()
