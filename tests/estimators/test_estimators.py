"""What the estimators do beyond scikit-learn's: workers, strategies, precision, what is kept when things fail."""

import inspect
import json
import pickle
import re

import numpy as np
import pytest
from scipy import sparse
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from manyhands import MLPClassifier, MLPRegressor, from_sklearn
from manyhands.core.errors import DataError, DivergedError, OutOfMemoryError, SettingsError
from manyhands.core.randomness import generator
from manyhands.core.samples import Samples
from manyhands.estimators import rows as rows_module
from manyhands.estimators.forward import forward
from manyhands.learners import make_learner
from manyhands.learners.mlp.settings import ACTIVATIONS, OPTIMIZERS, MLPSettings
from manyhands.strategies import STRATEGIES, parse_strategy

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_digits(return_X_y=True)
X = X / 16
HELD, TRAIN = slice(1200, None), slice(1200)
X_IRIS, Y_IRIS = load_iris(return_X_y=True)


def small(**words):
    """A classifier that is quickly trained."""
    return MLPClassifier(**{"hidden_layer_sizes": (16,), "max_iter": 5, "random_state": 0, **words})


def arrays(estimator):
    return [*estimator.coefs_, *estimator.intercepts_]


def bits(estimator):
    return [each.tobytes() for each in arrays(estimator)]


def difference(one, other):
    return max(np.abs(a - b).max() for a, b in zip(arrays(one), arrays(other), strict=True))


class TestWorkers:
    @pytest.mark.parametrize("words", [{}, {"early_stopping": True}, {"solver": "sgd", "dropout": 0.2}])
    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_the_same_seed_gives_the_same_bits(self, number, words):
        one, other = (small(n_workers=number, **words).fit(X, Y) for _ in range(2))
        assert bits(one) == bits(other)
        assert one.loss_curve_ == other.loss_curve_
        assert one.n_workers_ == number
        assert bits(one) != bits(small(n_workers=number, random_state=1, **words).fit(X, Y))

    @pytest.mark.parametrize("words", [{}, {"early_stopping": True}, {"solver": "sgd", "learning_rate_init": 0.1}])
    @pytest.mark.parametrize("number", [2, 4])
    def test_their_number_changes_nothing_but_rounding(self, number, words):
        alone, together = (small(n_workers=n, max_iter=20, **words).fit(X, Y) for n in (1, number))
        assert difference(alone, together) < 1e-4
        assert together.n_iter_ == alone.n_iter_
        np.testing.assert_allclose(together.loss_curve_, alone.loss_curve_, rtol=1e-4)
        assert np.mean(together.predict(X) == alone.predict(X)) > 0.999
        if words.get("early_stopping"):
            np.testing.assert_allclose(together.validation_scores_, alone.validation_scores_, atol=0.006)

    @pytest.mark.parametrize("team", ["threads", "mpi"])
    def test_none_is_one(self, team):
        alone = small(team=team).fit(X, Y)
        assert alone.n_workers_ == 1
        assert bits(alone) == bits(small(n_workers=1).fit(X, Y))

    def test_minus_one_is_every_core(self, monkeypatch):
        monkeypatch.setattr("manyhands.estimators.workers.usable_cores", lambda: 3)
        assert small(n_workers=-1).fit(X, Y).n_workers_ == 3

    def test_a_batch_with_fewer_rows_has_fewer_workers(self):
        with pytest.warns(UserWarning, match="4 workers cannot share batches of 3 rows: 3 train"):
            assert small(n_workers=4, batch_size=3).fit(X[:9], Y[:9]).n_workers_ == 3
        with pytest.warns(UserWarning, match="2 workers cannot share batches of 1 row: 1 train"):
            assert small(n_workers=2).partial_fit(X[:1], Y[:1], classes=range(10)).n_workers_ == 1

    def test_mpi_without_mpiexec_says_how_to_start(self):
        with pytest.raises(SettingsError, match="start it with mpiexec -n 2, or use team='threads'"):
            small(team="mpi", n_workers=2).fit(X, Y)

    @pytest.mark.parametrize("wrong", [{"n_workers": 0}, {"n_workers": -2}, {"team": "solo"}, {"dtype": "float16"}])
    def test_values_that_cannot_be(self, wrong):
        with pytest.raises(ValueError, match=f"The {next(iter(wrong))!r} parameter of MLPClassifier must be"):
            small(**wrong).fit(X, Y)


class TestStrategies:
    @pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in ("sequential", "sums")])
    def test_all_of_them_learn(self, name):
        text = {"periodic": "periodic:1epoch", "slowmo": "slowmo:1epoch", "diloco": "diloco:1epoch"}.get(name, name)
        text = {"minibatch": "minibatch:2epochs", "easgd": "easgd:10"}.get(name, text)
        network = small(n_workers=2, strategy=text, max_iter=12, learning_rate_init=0.01).fit(X, Y)
        assert network.score(X, Y) > 0.8
        assert len(network.loss_curve_) == network.n_iter_ == 12

    def test_a_strategy_object_is_as_good_as_its_name(self):
        name = "periodic:3,state=mean"
        one, other = (small(n_workers=2, strategy=each).fit(X, Y) for each in (name, parse_strategy(name)))
        assert bits(one) == bits(other)
        assert bits(clone(other).fit(X, Y)) == bits(other)

    @pytest.mark.parametrize(
        ("strategy", "words"),
        [
            ("one-shot:merge=ensemble", "wider network"),
            ("one-shot:merge=soup", "evaluates on validation rows"),
            ("sequential", "one worker, not 2"),
            ("no-such", "no-such"),
            ("gradient@5epochs then periodic:1epoch", "take 5 epochs of 5"),
        ],
    )
    def test_those_that_cannot_be(self, strategy, words):
        with pytest.raises(SettingsError, match=words):
            small(n_workers=2, strategy=strategy).fit(X, Y)

    @pytest.mark.parametrize("strategy", ["one-shot", "hogwild", "periodic:7"])
    def test_early_stopping_needs_synchronized_parameters(self, strategy):
        with pytest.raises(SettingsError, match=r"early_stopping evaluates synchronized .* at the end only"):
            small(n_workers=2, strategy=strategy, early_stopping=True).fit(X, Y)

    def test_early_stopping_where_they_are_alike_now_and_then(self):
        network = small(n_workers=2, strategy="periodic:2epochs", early_stopping=True, max_iter=7).fit(X, Y)
        assert (len(network.loss_curve_), len(network.validation_scores_)) == (7, 4)

    def test_own_starts_are_for_the_beginning(self):
        words = {"n_workers": 2, "strategy": "periodic:1epoch,starts=own", "solver": "sgd", "warm_start": True}
        network = small(**words, max_iter=1).fit(X, Y)
        before = network.loss_
        assert network.fit(X, Y).loss_ < before

    def test_without_shuffling_minibatches_are_always_the_same(self):
        with pytest.raises(SettingsError, match="without shuffling"):
            small(n_workers=2, strategy="minibatch:2epochs", shuffle=False).fit(X, Y)


class TestGoingOn:
    @pytest.mark.parametrize("number", [1, 2])
    @pytest.mark.parametrize(
        "words",
        [
            {},
            {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5},
            {"dropout": 0.3, "solver": "nadam"},
            {"dtype": "float64"},
            {"shuffle": False},
        ],
        ids=str,
    )
    def test_calls_of_partial_fit_are_a_fit(self, number, words):
        words = {**words, "n_workers": number, "n_iter_no_change": np.inf}
        whole, steps = small(**words, max_iter=7), small(**words)
        for rows in (X, X.astype(np.float32)):
            whole.fit(rows, Y)
            steps = clone(steps)
            for _ in range(7):
                steps.partial_fit(rows, Y, classes=np.unique(Y))
            assert bits(steps) == bits(whole)
            assert steps.loss_curve_ == whole.loss_curve_
            assert steps.t_ == whole.t_
            assert steps.n_iter_ == 1

    def test_a_pickled_one_goes_on_where_it_was(self):
        network = small(n_workers=2).fit(X, Y)
        copy = pickle.loads(pickle.dumps(network))
        assert bits(network.partial_fit(X, Y)) == bits(copy.partial_fit(X, Y))
        np.testing.assert_array_equal(network.predict_proba(X), copy.predict_proba(X))

    def test_a_fit_forgets_the_last_one(self):
        network = small().fit(X_IRIS, Y_IRIS)
        assert bits(network.fit(X, Y)) == bits(small().fit(X, Y))
        assert len(network.loss_curve_) == 5

    def test_weights_that_are_changed_are_used(self):
        network, other = small().fit(X, Y), small(random_state=3).fit(X, Y)
        network.coefs_, network.intercepts_ = other.coefs_, other.intercepts_
        np.testing.assert_array_equal(network.predict_proba(X), other.predict_proba(X))
        network.coefs_[1][:] = 0
        network.intercepts_[1][:] = 0
        assert (network.predict_proba(X) == 0.1).all()
        assert network.partial_fit(X, Y).loss_curve_[-1] == pytest.approx(np.log(10), rel=0.05)

    def test_another_solver_begins_its_own_state(self):
        network = small().fit(X, Y)
        before = network.loss_
        for solver in (*OPTIMIZERS, "adam"):
            network.set_params(solver=solver)
            network.partial_fit(X, Y)
        assert network.loss_ < before

    def test_a_drawn_seed_is_kept_and_a_generator_gives_one_number(self):
        network = small(random_state=None, warm_start=True).fit(X, Y)
        seed = network._seed
        assert network.fit(X, Y)._seed == network.partial_fit(X, Y)._seed == seed
        one, other = np.random.RandomState(5), np.random.RandomState(5)
        assert bits(small(random_state=one).fit(X, Y)) == bits(small(random_state=other).fit(X, Y))
        assert bits(small(random_state=one).fit(X, Y)) != bits(small(random_state=np.random.RandomState(5)).fit(X, Y))

    def test_epochs_that_follow_have_orders_of_their_own(self):
        once, twice = small(max_iter=2), small(max_iter=1, warm_start=True)
        words = {"solver": "sgd", "momentum": 0}  # no state but the weights
        once.set_params(**words).fit(X, Y)
        twice.set_params(**words).fit(X, Y)
        assert bits(twice.fit(X, Y)) == bits(once)


class TestPrecision:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint8, np.int64, np.float16])
    def test_rows_of_any_kind(self, kind, dtype):
        rows = (16 * X).astype(kind)
        network = small(dtype=dtype, alpha=0).fit(rows, Y)
        expected = np.float32 if kind == np.float32 else np.float64
        assert {each.dtype for each in arrays(network)} == {np.dtype(expected)}
        assert network.predict_proba(rows).dtype == expected
        assert difference(network, small(dtype="float64", alpha=0).fit(16 * X, Y)) < 0.02

    def test_single_precision_shows_in_the_numbers(self):
        single, double = (small(dtype=dtype).fit(X, Y) for dtype in ("float32", "float64"))
        assert all((each == each.astype(np.float32)).all() for each in arrays(single))
        assert not any((each == each.astype(np.float32)).all() for each in arrays(double))

    def test_rows_that_cannot_be_written(self):
        for rows in (X, X.astype(np.float32), (16 * X).astype(np.uint8)):
            fixed = rows.copy()
            fixed.flags.writeable = False
            assert bits(small().fit(fixed, Y)) == bits(small().fit(rows, Y))

    @pytest.mark.parametrize("container", [sparse.csr_array, sparse.csc_matrix])
    @pytest.mark.parametrize("words", [{}, {"early_stopping": True}])
    def test_sparse_rows(self, container, words):
        thin, thick = (small(**words).fit(rows, Y) for rows in (container(X), X))
        assert bits(thin) == bits(thick)
        np.testing.assert_allclose(thin.predict_proba(container(X)), thick.predict_proba(X))

    def test_sparse_rows_that_do_not_fit_into_memory(self, monkeypatch):
        monkeypatch.setattr("manyhands.runtime.memory._SMALL", 0)
        size = X.shape[0] * X.shape[1] * 4
        monkeypatch.setattr("manyhands.runtime.memory.memory_room", lambda: (2 * size, "free"))
        small(max_iter=1).fit(sparse.csr_array(X), Y)
        monkeypatch.setattr("manyhands.runtime.memory.memory_room", lambda: (2 * size - 1, "free"))
        with pytest.raises(OutOfMemoryError, match=r"making .* sparse rows dense .* are free; use fewer rows"):
            small(max_iter=1).fit(sparse.csr_array(X), Y)

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    @pytest.mark.parametrize(
        ("loss", "out_activation"),
        [
            ("cross_entropy", "softmax"),
            ("binary_cross_entropy", "logistic"),
            ("squared_error", "identity"),
            ("poisson", "exp"),
        ],
    )
    def test_predictions_are_the_learner_s(self, activation, loss, out_activation):
        settings = MLPSettings((9, 6), activation=activation, loss=loss, dtype="float64", weight_init="normal:0.5")
        learner = make_learner("mlp", settings, 8, 3)
        learner.initialize(generator(1, "init"))
        blocks = learner.weights()
        coefs, intercepts = ([blocks[f"{name}.{layer}"] for layer in range(3)] for name in ("weights", "biases"))
        features = np.random.default_rng(0).normal(0, 2, (50, 8))
        table = Samples(features, np.zeros(50, np.int32), np.ones(8), np.zeros(8), np.zeros((50, 3)))
        found = forward(features, coefs, intercepts, activation, out_activation)
        np.testing.assert_allclose(found, learner.outputs(table), rtol=1e-6, atol=1e-7)


class TestSolvers:
    @pytest.mark.parametrize("solver", OPTIMIZERS)
    def test_all_of_them_learn(self, solver):
        rate = {"sgd": 0.5, "adadelta": 10.0, "lars": 2.0, "momentum": 0.1, "nesterov": 0.1}.get(solver, 0.02)
        words = {"solver": solver, "learning_rate_init": rate, "max_iter": 15, "epsilon": 1e-6}
        words["momentum"] = 0 if solver == "sgd" else 0.9
        assert small(**words).fit(X, Y).score(X, Y) > 0.88

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    def test_all_activations_learn(self, activation):
        network = small(activation=activation, learning_rate_init=0.01, max_iter=15).fit(X[TRAIN], Y[TRAIN])
        assert network.score(X[HELD], Y[HELD]) > 0.8

    def test_settings_of_ours_reach_the_learner(self):
        plain = small(solver="adamw").fit(X, Y)
        for words in (
            {"dropout": 0.5},
            {"weight_init": "he_normal"},
            {"bias_init": "zeros"},
            {"weight_decay": 0.5},
            {"alpha": 1.0},
            {"sharding": "fixed"},
        ):
            assert bits(small(solver="adamw", **words).fit(X, Y)) != bits(plain), words
        slow, fast = (small(solver="rmsprop", rho=rho).fit(X, Y) for rho in (0.99, 0.5))
        assert bits(slow) != bits(fast)
        assert (small(bias_init="constant:3", learning_rate_init=1e-9, max_iter=1).fit(X, Y).intercepts_[0] > 2.9).all()

    @pytest.mark.parametrize("wrong", [{"momentum": 1.0, "solver": "sgd"}, {"weight_init": "magic"}])
    def test_what_the_learner_refuses(self, wrong):
        with pytest.raises(SettingsError):
            small(**wrong).fit(X, Y)

    def test_lbfgs_is_scikit_learn_s(self):
        words = {"solver": "lbfgs", "max_iter": 30}
        ours = small(**words, n_workers=2).fit(X, Y)
        theirs = neural_network.MLPClassifier((16,), random_state=0, **words).fit(X, Y)
        assert bits(ours) == bits(theirs)
        assert (ours.n_workers_, ours.n_iter_, ours.loss_) == (1, 30, theirs.loss_)

    @pytest.mark.parametrize("wrong", [{"activation": "gelu"}, {"dropout": 0.1}, {"weight_init": "zeros"}])
    def test_what_lbfgs_refuses(self, wrong):
        with pytest.raises(SettingsError, match="lbfgs"):
            small(solver="lbfgs", **wrong).fit(X, Y)

    def test_lbfgs_before_and_after_others(self):
        network = small(warm_start=True, solver="lbfgs", max_iter=15).fit(X, Y)
        first = network.loss_
        network.set_params(solver="adam").partial_fit(X, Y)
        assert network.loss_ < 1.5 * first
        network.set_params(solver="lbfgs").fit(X, Y)
        assert network.loss_ < first
        assert not hasattr(network, "partial_fit")
        assert not hasattr(MLPRegressor(solver="lbfgs"), "partial_fit")


class TestWhenThingsGoWrong:
    @pytest.mark.parametrize("number", [1, 2])
    def test_divergence_is_scikit_learn_s_error(self, number):
        network = MLPRegressor(solver="sgd", learning_rate_init=10.0, n_workers=number, random_state=0)
        with pytest.raises(ValueError, match="Solver produced non-finite parameter weights") as caught:
            network.fit(100 * X, Y)
        assert isinstance(caught.value.__cause__, DivergedError)
        assert not hasattr(network, "coefs_")

    @pytest.mark.parametrize("number", [1, 2])
    def test_with_early_stopping_the_best_network_stays(self, number):
        words = {"solver": "sgd", "learning_rate_init": 10.0, "n_workers": number, "random_state": 0}
        network = MLPRegressor(**words, early_stopping=True).fit(100 * X, Y)
        assert np.isnan(network.validation_scores_[-1])
        assert np.isnan(network.loss_)
        assert len(network.validation_scores_) == network.n_iter_ == len(network.loss_curve_)
        assert np.isfinite(network.predict(X)).all()

    def test_early_stopping_restores_the_best(self):
        words = {"early_stopping": True, "solver": "sgd", "learning_rate_init": 0.9, "max_iter": 25, "alpha": 0.0}
        network = small(**words, hidden_layer_sizes=(4,)).fit(X, Y)
        best = int(np.argmax(network.validation_scores_))
        assert 0 < best < network.n_iter_ - 1
        again = small(**words, hidden_layer_sizes=(4,)).set_params(max_iter=best + 1).fit(X, Y)
        assert bits(again) == bits(network)
        assert network.best_validation_score_ == network.validation_scores_[best]

    def test_weights_below_nothing(self):
        with pytest.raises(DataError, match="below 0"):
            small().fit(X, Y, [*np.resize([1.0, -1.0], len(X) - 1), 0.0])


class TestExchange:
    @pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
    @pytest.mark.parametrize(
        "words", [{}, {"solver": "momentum"}, {"solver": "lamb"}, {"early_stopping": True}], ids=str
    )
    def test_there_and_back(self, kind, words):
        ours = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}[kind]
        network = ours(hidden_layer_sizes=(8,), max_iter=9, random_state=0, **words).fit(X_IRIS, Y_IRIS)
        theirs = network.to_sklearn()
        assert type(theirs) is getattr(neural_network, kind)
        back = from_sklearn(theirs, n_workers=2)
        assert type(back) is ours
        assert back.n_workers == 2
        for each in (theirs, back, ours.from_sklearn(theirs)):
            np.testing.assert_allclose(each.predict(X_IRIS), network.predict(X_IRIS), rtol=1e-12)
            assert each.score(X_IRIS, Y_IRIS) == pytest.approx(network.score(X_IRIS, Y_IRIS))
            assert each.loss_curve_ == network.loss_curve_
        theirs.coefs_[0][:] = 0
        assert network.coefs_[0].any()
        back.set_params(early_stopping=False, solver="sgd").partial_fit(X_IRIS, Y_IRIS)
        if not theirs.early_stopping:  # without, scikit-learn's cannot go on after it
            theirs.set_params(solver="sgd").partial_fit(X_IRIS, Y_IRIS)

    def test_what_scikit_learn_lacks(self):
        with pytest.raises(SettingsError, match="scikit-learn has no activation 'silu'"):
            small(activation="silu").fit(X, Y).to_sklearn()
        with pytest.raises(NotFittedError):
            small().to_sklearn()

    def test_what_is_no_network_of_its(self):
        with pytest.raises(SettingsError, match="not StandardScaler"):
            from_sklearn(StandardScaler())
        with pytest.raises(NotFittedError):
            from_sklearn(neural_network.MLPClassifier())
        theirs = neural_network.MLPRegressor(hidden_layer_sizes=(4,), max_iter=2).fit(X_IRIS, Y_IRIS)
        with pytest.raises(SettingsError, match="takes a fitted MLPClassifier, not MLPRegressor"):
            MLPClassifier.from_sklearn(theirs)

    def test_parameters_are_theirs_and_ours(self):
        for ours, theirs in (
            (MLPClassifier, neural_network.MLPClassifier),
            (MLPRegressor, neural_network.MLPRegressor),
        ):
            known = theirs().get_params()
            assert {name: ours().get_params()[name] for name in known} == known
            order = list(ours.__init__.__annotations__)
            documented = re.findall(r"^([a-z_0-9, ]+) : ", inspect.getdoc(ours), re.MULTILINE)
            named = [name for line in documented for name in line.split(", ")]
            assert [name for name in order if name not in (*named, "return")] == []
            assert json.dumps(known, default=str)

    def test_in_a_pipeline_and_a_search(self):
        search = GridSearchCV(
            make_pipeline(MinMaxScaler(), small(n_workers=2)), {"mlpclassifier__alpha": [1e-4, 100.0]}, cv=3
        ).fit(X, Y)
        assert search.best_params_ == {"mlpclassifier__alpha": 1e-4}


WORKERS = (1, 2, 4)


def folds(number, first):
    """Accuracies in percent on the first of ten folds of the digits: scikit-learn's, and ours by number of workers."""
    found = {each: [] for each in ("theirs", *WORKERS)}
    splits = StratifiedKFold(10, shuffle=True, random_state=0).split(X, Y)
    for fold, (train, test) in enumerate(splits):
        if fold < first:
            words = {"random_state": fold, "max_iter": number}
            estimators = {n: MLPClassifier(n_workers=n, **words) for n in WORKERS}
            for name, each in {"theirs": neural_network.MLPClassifier(**words), **estimators}.items():
                found[name].append(100 * each.fit(X[train], Y[train]).score(X[test], Y[test]))
    return {name: np.mean(each) for name, each in found.items()}


def test_accuracy_is_scikit_learn_s_on_two_folds():
    found = folds(40, 2)
    assert all(abs(found[n] - found["theirs"]) <= 1.0 for n in WORKERS), found


@pytest.mark.slow
def test_accuracy_is_scikit_learn_s_on_ten_folds():
    found = folds(200, 10)
    print(found)
    assert found["theirs"] > 97
    assert all(abs(found[n] - found["theirs"]) <= 0.5 for n in WORKERS), found


class TestFarFromZero:
    """Inputs that float32 would round to a few numbers."""

    FAR = 1.7e9 + 30 * X_IRIS

    @pytest.mark.parametrize(
        ("features", "targets", "doubles"),
        [
            (X_IRIS, Y_IRIS, False),
            (FAR, Y_IRIS, True),
            (FAR.astype(np.int64), Y_IRIS, True),
            (FAR.astype(np.float32), Y_IRIS, False),
            (1 + 1e-9 * X_IRIS, Y_IRIS, True),
            (1e-30 * X_IRIS, Y_IRIS, False),
            (1e-42 * X_IRIS, Y_IRIS, True),
            (X_IRIS, 1.7e9 + 30 * X_IRIS[:, 0], True),
            (X_IRIS, 17_000_000 + Y_IRIS, True),
            (sparse.csr_array(FAR), Y_IRIS, True),
            (sparse.csc_matrix(X_IRIS * (X_IRIS > 2)), Y_IRIS, False),
            (np.full((150, 2), 1.7e9), Y_IRIS, False),
            ((10 * X_IRIS).astype(np.uint8), Y_IRIS, False),
        ],
        ids=range(13),
    )
    def test_which_rows_need_doubles(self, features, targets, doubles):
        rows = rows_module.Rows(features, np.reshape(targets, (-1, 1)))
        assert rows_module.needs_doubles(rows) == doubles

    def test_a_fit_computes_in_double_precision_then(self):
        def fitted(**words):
            return small(max_iter=3, **words).fit(self.FAR, Y_IRIS)

        assert bits(fitted()) == bits(fitted(dtype="float64")) != bits(small(max_iter=3).fit(X_IRIS, Y_IRIS))

    def test_so_do_calls_of_partial_fit_from_then_on(self):
        one, other = small(), small(dtype="float64")
        for features in (self.FAR, X_IRIS):
            for each in (one, other):
                each.partial_fit(features, Y_IRIS, classes=[0, 1, 2])
        assert bits(one) == bits(other)

    def test_standardized_before_the_offset_does_not_matter(self):
        near, far = (
            make_pipeline(StandardScaler(), small(max_iter=50)).fit(each, Y_IRIS) for each in (X_IRIS, self.FAR)
        )
        assert near.score(X_IRIS, Y_IRIS) == far.score(self.FAR, Y_IRIS) > 0.6
