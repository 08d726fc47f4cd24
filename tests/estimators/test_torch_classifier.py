"""`TorchClassifier`: PyTorch modules in the place of scikit-learn's classifiers. mpiexec starts this file, too."""

# ruff: noqa: N803 - X is scikit-learn's name

import json
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from manyhands import TorchClassifier  # noqa: E402
from manyhands.teams import mpi_environment  # noqa: E402

X, Y = load_digits(return_X_y=True)
X, Y = (X / 16)[:600], Y[:600]
QUICK = {
    "learning_rate": 0.01, "batch_size": 50, "max_iter": 4, "n_iter_no_change": np.inf, "random_state": 0,
    "precision": "float32",
}  # fmt: skip


def network(n_features, n_classes):
    return nn.Sequential(nn.Linear(n_features, 30), nn.ReLU(), nn.Linear(30, n_classes))


class Network(nn.Sequential):
    """The same as a class: functions have addresses in their names, which differ between processes of pytest."""

    def __init__(self, n_features, n_classes):
        super().__init__(*network(n_features, n_classes))


def everything(n_features, n_classes):
    return nn.Sequential(
        nn.Linear(n_features, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Dropout(0.1), nn.Linear(30, n_classes)
    )


def convolution(sample_shape, n_classes):
    channels, height, width = sample_shape
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * (height - 2) * (width - 2), n_classes)
    )


def fitted(module=network, X=X, Y=Y, **words):
    return TorchClassifier(module, **{**QUICK, **words}).fit(X, Y)


def blocks(model):
    return {name: each.numpy().tobytes() for name, each in model.module_.state_dict().items()}


def first_weights(model):
    return model.module_[0].weight.detach().numpy()


EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "rows that stand twice are in other batches than rows that count "
    "twice, as with MLPClassifier",
    "check_methods_sample_order_invariance": "the last bit of a product in single precision depends on a row's place",
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [TorchClassifier(Network, learning_rate=0.01)], expected_failed_checks=lambda estimator: EXPECTED
)
def test_the_checks_for_estimators(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:.* workers cannot share batches:UserWarning")
@parametrize_with_checks(
    [TorchClassifier(Network, learning_rate=0.01, n_workers=2)], expected_failed_checks=lambda estimator: EXPECTED
)
def test_the_checks_with_two_workers(estimator, check):
    check(estimator)


class TestModules:
    def test_a_module_is_copied_and_is_where_training_starts(self):
        torch.manual_seed(5)
        own = network(64, 10)
        before = {name: each.clone() for name, each in own.state_dict().items()}
        model = TorchClassifier(own, **QUICK)
        assert blocks(clone(model).fit(X, Y)) == blocks(model.fit(X, Y))
        assert all(torch.equal(each, before[name]) for name, each in own.state_dict().items())
        still = fitted(own, learning_rate=1e-30)
        np.testing.assert_array_equal(first_weights(still), before["0.weight"].numpy())

    def test_random_state_decides_the_start_of_a_function_s(self):
        one, same, other = (blocks(fitted(learning_rate=1e-30, random_state=seed)) for seed in (1, 1, 2))
        assert one == same != other

    def test_a_function_gets_what_it_asks_for(self):
        asked = []

        def nothing():
            return network(64, 10)

        def some(width=8, *, n_classes, **others):
            asked.append((width, n_classes, others))
            return network(64, n_classes)

        fitted(nothing)
        fitted(some)
        assert set(map(str, asked)) == {"(8, 10, {})"}

    def test_the_trained_module_may_be_changed(self):
        model = fitted(max_iter=20)
        with torch.no_grad():
            for each in model.module_.parameters():
                each.zero_()
        np.testing.assert_allclose(model.predict_proba(X[:3]), 0.1, rtol=1e-6)
        assert model.set_params(learning_rate=1e-30).partial_fit(X, Y).loss_ == pytest.approx(np.log(10), rel=1e-5)

    def test_a_module_for_other_classes_is_refused(self):
        with pytest.raises(ValueError, match="the module returns 12 logits for a row, and there are 10 classes"):
            fitted(network(64, 12))

    def test_without_pytorch_one_sentence_says_what_to_install(self, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ValueError, match=r"needs PyTorch, which is not installed: pip install torch$"):
            fitted()

    def test_it_is_not_imported_before_it_is_needed(self):
        code = "import sys; from manyhands import TorchClassifier; print('torch' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"


class TestSamples:
    def test_images_of_any_form_are_the_same(self):
        images = X.reshape(-1, 8, 8).astype(np.float32)
        flat = fitted(convolution, X, sample_shape=(1, 8, 8))
        for rows in (images, images[:, None], list(images)):
            model = fitted(convolution, rows)
            assert (model.sample_shape_, model.n_features_in_) == ((1, 8, 8), 64)
            assert blocks(model) == blocks(flat)
            assert (model.predict_proba(rows) == flat.predict_proba(X)).all()
        with pytest.raises(ValueError, match=r"samples of shape \(4, 16\)"):
            flat.predict(X.reshape(-1, 4, 16))

    def test_bytes_reach_the_module_as_they_are(self):
        stored = np.round(X * 16).astype(np.uint8)
        assert blocks(fitted(X=stored)) == blocks(fitted(X=stored.astype(float))) != blocks(fitted())

    @pytest.mark.parametrize(
        ("rows", "words", "message"),
        [
            (sparse.csr_matrix(X), {}, "dense data is required"),
            (np.where(X > 0.9, 1e300, X), {}, "infinity or a value too large"),
            (X, {"sample_shape": (1, 7, 9)}, r"sample_shape=\(1, 7, 9\) does not fit X"),
            (X.reshape(-1, 8, 8), {"sample_shape": (2, 32)}, r"whose samples have shape \(8, 8\)"),
            (X, {"sample_shape": (1, "8")}, "sample_shape must be whole numbers"),
        ],
    )
    def test_what_cannot_be_trained_on(self, rows, words, message):
        with pytest.raises((ValueError, TypeError), match=message):
            fitted(X=rows, **words)

    @pytest.mark.parametrize("kind", [str, object, bool, float])
    def test_labels_of_any_kind(self, kind):
        labels = np.array([f"digit {digit}" for digit in Y], object) if kind is object else Y.astype(kind)
        model = fitted(Y=labels, max_iter=8)
        assert model.classes_.tolist() == np.unique(labels).tolist()
        assert model.score(X, labels) > 0.8

    @pytest.mark.parametrize(
        ("labels", "message"), [(np.eye(10)[Y], r"not several labels"), (0 * Y, "there is one class, .*0")]
    )
    def test_labels_that_cannot_be(self, labels, message):
        with pytest.raises(ValueError, match=message):
            fitted(Y=labels)


class TestTraining:
    def test_calls_of_partial_fit_are_a_fit(self):
        whole = fitted(everything, max_iter=3)
        parts = TorchClassifier(everything, **QUICK)
        for _ in range(3):
            parts.partial_fit(X, Y, classes=np.arange(10))
        assert blocks(parts) == blocks(whole)
        assert parts.loss_curve_ == whole.loss_curve_

    def test_weights_count(self):
        weights = (Y < 5).astype(float)
        model = TorchClassifier(network, **{**QUICK, "max_iter": 10}).fit(X, Y, weights)
        assert set(model.predict(X)) <= set(range(5))
        with pytest.raises(ValueError, match="a loss_function would not know of it"):
            model.set_params(loss_function=nn.functional.cross_entropy).fit(X, Y, weights)

    @pytest.mark.parametrize("n_workers", [1, 2])
    def test_early_stopping_keeps_the_best(self, n_workers):
        """Statistics of BatchNorm included; two workers have averaged theirs."""
        words = {"early_stopping": True, "learning_rate": 0.2, "n_iter_no_change": 2, "max_iter": 30}
        model = fitted(everything, n_workers=n_workers, **words)
        assert len(model.validation_scores_) == model.n_iter_ < 30
        assert model.best_validation_score_ == max(model.validation_scores_)
        until = int(np.argmax(model.validation_scores_)) + 1
        assert until < model.n_iter_  # on some processors the last score is as good as the first best one
        again = fitted(everything, n_workers=n_workers, **{**words, "max_iter": until, "n_iter_no_change": np.inf})
        assert blocks_but_counters(again) == blocks_but_counters(model)

    def test_warnings_are_for_training_that_a_rule_could_have_ended(self):
        with pytest.warns(ConvergenceWarning):
            fitted(n_iter_no_change=2)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fitted(n_iter_no_change=4)
            fitted(n_iter_no_change=2, schedule="cosine")

    @pytest.mark.parametrize("words", [{"early_stopping": True}, {"schedule": "cosine"}])
    def test_one_epoch_is_not_enough(self, words):
        with pytest.raises(ValueError, match="partial_fit does not support"):
            TorchClassifier(network, **words).partial_fit(X, Y, classes=range(10))

    def test_settings_of_pytorch_arrive(self):
        def groups(module):
            return [{"params": module[0].parameters(), "lr": 1e-30}, {"params": module[2].parameters()}]

        start, model = fitted(learning_rate=1e-30), fitted(parameter_groups=groups, clip=1.0, schedule="one-cycle")
        np.testing.assert_array_equal(first_weights(model), first_weights(start))
        assert blocks(model)["2.weight"] != blocks(start)["2.weight"]
        with pytest.raises(ValueError, match="augment"):
            fitted(augment=("melt",))

    def test_two_workers_take_the_steps_of_one(self):
        one, two, again = (fitted(n_workers=n, max_iter=2) for n in (1, 2, 2))
        assert blocks(two) == blocks(again)
        np.testing.assert_allclose(two.loss_curve_, one.loss_curve_, rtol=1e-4)
        assert fitted(everything, n_workers=2, strategy="periodic:1epoch", max_iter=15).score(X, Y) > 0.9

    def test_warm_start_goes_on(self):
        model = fitted(warm_start=True)
        assert model.fit(X, Y).loss_curve_[4] < model.loss_curve_[0] / 2
        with pytest.raises(ValueError, match="same classes as in the previous call"):
            model.fit(X[Y < 9], Y[Y < 9])


def blocks_but_counters(model):
    return {name: each for name, each in blocks(model).items() if "num_batches" not in name}


class TestInScikitLearn:
    def test_pipelines_searches_and_pickles(self):
        model = make_pipeline(StandardScaler(), TorchClassifier(network, **QUICK))
        search = GridSearchCV(model, {"torchclassifier__learning_rate": [1e-30, 0.01]}, cv=2).fit(X, Y)
        assert search.best_params_ == {"torchclassifier__learning_rate": 0.01}
        again = pickle.loads(pickle.dumps(search.best_estimator_))
        assert (again.predict_log_proba(X) == search.predict_log_proba(X)).all()
        further = [each[-1].partial_fit(X, Y) for each in (again, search.best_estimator_)]
        assert blocks(further[0]) == blocks(further[1])

    def test_before_a_fit_there_is_nothing_to_predict_with(self):
        with pytest.raises(NotFittedError):
            TorchClassifier(network).predict(X)


def main():
    from manyhands.teams.mpi_world import join

    warnings.simplefilter("ignore")
    model = fitted(everything, team="mpi", early_stopping=True, max_iter=12)
    rank = join().rank
    try:
        fitted(everything if rank else network, team="mpi")
    except ValueError as error:
        refused = str(error)
    found = [str(sorted(blocks(model).items())), model.n_workers_, model.validation_scores_, refused]
    everyone = join().all_gather_texts(json.dumps(found))
    if rank == 0:
        print("\nTOLD" + json.dumps([json.loads(each) for each in everyone]))


@pytest.mark.slow
def test_processes_have_the_same_module():
    pytest.importorskip("mpi4py")
    from manyhands.teams.mpi_world import library

    path, kind = mpi_environment.find_mpiexec(library())
    done = subprocess.run(
        [*mpi_environment.job_command(path, kind, 2), sys.executable, __file__],
        env=mpi_environment.job_environment(kind),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = next(line for line in done.stdout.splitlines() if line.startswith("TOLD"))
    first, second = json.loads(told.removeprefix("TOLD"))
    assert first == second
    assert first[1] == 2
    assert max(first[2]) > 0.8
    assert "ranks differ: module is" in first[3]


if __name__ == "__main__":
    main()
