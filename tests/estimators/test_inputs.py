"""What the estimators are given, kind by kind, beside scikit-learn's own: the same shapes, dtypes and refusals."""

import numpy as np
import pytest
from scipy import sparse
from sklearn import neural_network

import manyhands
from manyhands import MLPClassifier, MLPRegressor, from_sklearn
from manyhands.core.errors import DataError, ManyhandsError, OutOfMemoryError, SettingsError

pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5))
LABELS = (X[:, :3] > 0).astype(int)
CLASSES = np.digitize(X[:, 0], [-0.5, 0.5])
COUNTS = RNG.poisson(2, 40).astype(float)
WAYS = {
    "fit": {},
    "partial_fit": {},
    "warm": {"warm_start": True},
    "lbfgs": {"solver": "lbfgs"},
    "early": {"early_stopping": True, "validation_fraction": 0.2},
}


def wide(container, matrix):
    """The matrix with 64-bit indices."""
    made = container(matrix)
    made.indices, made.indptr = made.indices.astype(np.int64), made.indptr.astype(np.int64)
    return made


def twice(matrix):
    """The matrix with every entry in two parts."""
    rows, columns = matrix.nonzero()
    return sparse.coo_array((np.ones(2 * len(rows)), (np.tile(rows, 2), np.tile(columns, 2))), shape=matrix.shape)


def with_zeros(matrix):
    """The matrix with zeros that are stored."""
    made = sparse.csr_matrix(matrix.astype(float))
    made.data[:4] = 0
    return made


CONTAINERS = {
    f"{name}_{form}": getattr(sparse, f"{name}_{form}")
    for name in ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")
    for form in ("matrix", "array")
}
INDICATORS = {
    **{name: container(LABELS) for name, container in CONTAINERS.items()},
    "wide csr": wide(sparse.csr_array, LABELS),
    "wide csc": wide(sparse.csc_matrix, LABELS),
    "twice": twice(LABELS),
    "stored zeros": with_zeros(LABELS),
    "bool": sparse.csr_matrix(LABELS.astype(bool)),
    "float32": sparse.csr_array(LABELS.astype(np.float32)),
    "two columns": sparse.csc_array(LABELS[:, :2]),
    "one column": sparse.csr_matrix(LABELS[:, :1]),
    "an empty column": sparse.csr_matrix(LABELS * [1, 0, 1]),
    "nothing": sparse.csr_matrix(LABELS * 0),
    "everything": sparse.csr_matrix(LABELS * 0 + 1),
    "no indicator": sparse.csr_matrix(np.c_[CLASSES, CLASSES]),
    "too few rows": sparse.csr_matrix(LABELS[:-1]),
    "dense": LABELS,
    "dense, bool": LABELS.astype(bool),
}
ROWS = {
    **{name: container(X) for name, container in CONTAINERS.items()},
    **{kind: np.abs(X).astype(kind) for kind in ("f2", "f4", "g", "O", "?", "i1", "u8", "c16")},
    "wide csr": wide(sparse.csr_matrix, X),
    "twice": twice(X > 0.5),
    "stored zeros": with_zeros(X * (X > 0)),
    "int csr": sparse.csr_array((X * 3).astype(int)),
    "bool csc": sparse.csc_array(X > 0),
    "empty": X[:0],
    "one axis": X[:, 0],
    "list": X.tolist(),
}
NUMBERS = {
    "column": X[:, :1],
    "columns": X[:, :2],
    "float16": X[:, 0].astype(np.float16),
    "objects": X[:, 0].astype(object),
    "whole": CLASSES,
    "bool": CLASSES > 0,
    "complex": X[:, 0] + 0j,
    "NaN": np.where(X[:, 0] > 1, np.nan, X[:, 0]),
    "none": None,
}


def described(value):
    return type(value), value.dtype, value.shape


def outcome(package, name, way, rows, targets):
    """Shapes, dtypes and values that tell two estimators apart, or the error's kind."""
    estimator = getattr(package, name)(hidden_layer_sizes=(4,), max_iter=2, random_state=0, **WAYS[way])
    try:
        if way == "partial_fit":
            known = {"classes": np.unique(CLASSES)} if name == "MLPClassifier" else {}
            estimator.partial_fit(rows, targets, **known).partial_fit(rows, targets)
        else:
            estimator.fit(rows, targets)
        if way == "warm":
            estimator.fit(rows, targets)
    except Exception as error:
        return {kind for kind in (ValueError, TypeError) if isinstance(error, kind)}
    found = [described(estimator.predict(rows)), [described(each) for each in estimator.coefs_]]
    if name == "MLPClassifier":
        found += [described(estimator.predict_proba(rows)), list(estimator.classes_)]
    return [*found, type(estimator.score(rows, targets)), estimator.n_outputs_, estimator.out_activation_]


@pytest.mark.parametrize("way", WAYS)
def test_indicators_of_any_kind(way):
    for name, labels in INDICATORS.items():
        ours, theirs = (outcome(p, "MLPClassifier", way, X, labels) for p in (manyhands, neural_network))
        assert ours == theirs, name


@pytest.mark.parametrize("way", ["fit", "partial_fit"])
@pytest.mark.parametrize(("kind", "targets"), [("MLPClassifier", CLASSES), ("MLPRegressor", COUNTS)])
def test_rows_of_any_kind(way, kind, targets):
    for name, rows in ROWS.items():
        ours, theirs = (outcome(p, kind, way, rows, targets) for p in (manyhands, neural_network))
        assert ours == theirs, name


@pytest.mark.parametrize("way", ["fit", "lbfgs"])
def test_numbers_of_any_kind(way):
    for name, targets in NUMBERS.items():
        ours, theirs = (outcome(p, "MLPRegressor", way, X, targets) for p in (manyhands, neural_network))
        assert ours == theirs, name


def test_sparse_labels_are_learned_as_dense_ones_and_go_there_and_back():
    words = {"hidden_layer_sizes": (8,), "max_iter": 60, "random_state": 0, "learning_rate_init": 0.05}
    thin, thick = (MLPClassifier(**words).fit(X, labels) for labels in (sparse.csc_array(LABELS), LABELS))
    assert (thin.predict(X).toarray() == thick.predict(X)).all()
    assert thin.score(X, sparse.csr_matrix(LABELS)) == thick.score(X, LABELS) > 0.8
    for other in (thin.to_sklearn(), from_sklearn(thin.to_sklearn())):
        assert (other.predict(X) != thin.predict(X)).nnz == 0


@pytest.mark.parametrize(
    "targets",
    [
        sparse.csr_matrix(X[:, :2]),
        X[:, 0].astype(str),
        CLASSES.astype("S"),
        CLASSES.astype("M8[D]"),
        CLASSES.astype("m8"),
    ],
    ids=["sparse", "text", "bytes", "dates", "spans"],
)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_what_is_no_number_is_refused(targets, solver):
    """scikit-learn stumbles over these somewhere, or trains on them by chance."""
    with pytest.raises(DataError, match=r"y (is sparse|must be numbers)"):
        MLPRegressor(max_iter=1, solver=solver).fit(X, targets)


@pytest.mark.parametrize("way", ["fit", "partial_fit", "lbfgs"])
def test_sparse_labels_of_one_dimension_are_refused(way):
    network = MLPClassifier(max_iter=1, solver="lbfgs" if way == "lbfgs" else "adam")
    labels = sparse.coo_array(np.arange(20) % 2)
    with pytest.raises(DataError, match="y is sparse and has one dimension"):
        network.partial_fit(np.eye(20), labels, classes=[0, 1]) if way == "partial_fit" else network.fit(
            np.eye(20), labels
        )


def test_rows_whose_probabilities_are_no_numbers_have_no_class():
    rows = np.random.default_rng(0).normal(size=(60, 20)).astype(np.float32)
    network = MLPClassifier(max_iter=1, random_state=0).fit(rows, np.arange(60) % 3)
    rows[4] = np.sign(rows[4]) * 3e38
    for predict in (network.predict, network.predict_proba, network.predict_log_proba):
        with pytest.raises(DataError, match=r"row 5: the probabilities are not finite numbers \(1 such rows\)"):
            predict(rows)


@pytest.mark.parametrize("size", [1e19, 1e25, 1e37])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_values_whose_products_float32_cannot_hold_are_computed_in_doubles(size, kind):
    rows = size * np.random.default_rng(0).normal(size=(60, 4))
    targets = rows[:, 0] > 0
    for estimator in (MLPClassifier, MLPRegressor):
        networks = [
            estimator(random_state=0, dtype=dtype, max_iter=2).fit(kind(rows), targets.astype(int))
            for dtype in ("float32", "float64")
        ]
        np.testing.assert_array_equal(networks[0].coefs_[0], networks[1].coefs_[0])


class TestPoisson:
    NEGATIVE = np.where(np.arange(40) == 7, -1e-9, COUNTS)
    SAID = r"out of the valid range of the loss 'poisson', which is for numbers from 0 on: -1"

    def make(self, **words):
        return MLPRegressor("poisson", (4,), max_iter=3, random_state=0, **words)

    @pytest.mark.parametrize("way", ["fit", "warm", "lbfgs", "early"])
    def test_negative_targets_are_refused(self, way):
        with pytest.raises(DataError, match=self.SAID):
            self.make(**WAYS[way]).fit(X, self.NEGATIVE)

    @pytest.mark.parametrize(
        "change", [list, np.ndarray.tolist, lambda y: y.astype(object), lambda y: np.c_[COUNTS, y]]
    )
    def test_whatever_they_are_in(self, change):
        with pytest.raises(DataError, match=self.SAID):
            self.make().fit(X, change(self.NEGATIVE))

    def test_in_later_parts_and_with_weights(self):
        network = self.make().partial_fit(X, COUNTS)
        before = network.coefs_[0].copy()
        with pytest.raises(DataError, match=self.SAID):
            network.partial_fit(X, self.NEGATIVE)
        assert (network.coefs_[0] == before).all()
        with pytest.raises(DataError, match=self.SAID):
            self.make().fit(X, self.NEGATIVE, sample_weight=(self.NEGATIVE >= 0).astype(float))

    def test_nothing_is_a_count(self):
        assert (self.make().fit(X, np.zeros(40)).predict(X) > 0).all()
        self.make().fit(X, np.full(40, -0.0))


class TestParameters:
    @pytest.mark.parametrize(
        "wrong",
        [
            *(
                {name: value}
                for name in ("hidden_layer_sizes", "batch_size", "max_iter", "n_iter_no_change", "max_fun", "n_workers")
                for value in (True, np.True_, 10.0, "10", 0, -2, float("nan"))
            ),
            *({"random_state": value} for value in (True, 2**32, 2**63, -1, 1.0)),
            *({name: value} for name in ("alpha", "tol", "learning_rate_init", "dropout") for value in (True, 10**400)),
            {"n_workers": 2**63},
            {"n_workers": 10**30},
        ],
        ids=str,
    )
    def test_what_is_no_number_of_that_kind(self, wrong):
        with pytest.raises(ValueError, match=f"The {next(iter(wrong))!r} parameter of MLPClassifier must be"):
            MLPClassifier(**wrong).fit(X, CLASSES)

    @pytest.mark.parametrize("solver", ["adam", "lbfgs"])
    @pytest.mark.parametrize(
        "sizes",
        [
            (True,),
            (np.True_, 5),
            [10.0],
            ("5",),
            (0,),
            (3, -1),
            ((3, 4),),
            [[3]],
            np.array([3.0]),
            np.array(5),
            {"a": 1},
            {3, 4},
            (None,),
            (float("nan"),),
            (2**63,),
            2**63,
            10**30,
            np.array([2**63], np.uint64),
        ],
        ids=str,
    )
    def test_sizes_that_are_none(self, sizes, solver):
        with pytest.raises(SettingsError, match="hidden_layer_sizes must be > 0"):
            MLPClassifier(sizes, solver=solver).fit(X, CLASSES)

    @pytest.mark.parametrize("solver", ["adam", "lbfgs"])
    @pytest.mark.parametrize("sizes", [10**12, (10**9,), (3, 10**12), 2**63 - 1, (10**6, 10**6)], ids=str)
    def test_networks_that_fit_into_no_memory(self, sizes, solver):
        with pytest.raises(
            OutOfMemoryError, match=r"a network of .* parameters.* would take .*; make the hidden layers"
        ):
            MLPClassifier(sizes, solver=solver).fit(X, CLASSES)

    @pytest.mark.parametrize("name", ["max_iter", "batch_size", "n_iter_no_change"])
    def test_numbers_that_mean_without_end_are_scikit_learn_s(self, name):
        words = {"max_iter": 2, "tol": 100.0, "n_iter_no_change": 1, name: 10**30}
        network = MLPClassifier((3,), random_state=0, **words).fit(X, CLASSES)
        assert 2 <= network.n_iter_ <= 4

    def test_a_crowd_of_workers_is_warned_of(self, monkeypatch):
        monkeypatch.setattr("manyhands.runtime.affinity.usable_cores", lambda: 2)
        with pytest.warns(UserWarning, match="9 workers have 2 usable cores here"):
            MLPClassifier((3,), max_iter=1, n_workers=9).fit(X, CLASSES)

    def test_predictions_that_fit_into_no_memory(self, monkeypatch):
        network = MLPClassifier((100,), max_iter=1).fit(X, CLASSES)
        monkeypatch.setattr("manyhands.runtime.memory._SMALL", 0)
        monkeypatch.setattr("manyhands.runtime.memory.memory_room", lambda: (1000, "free"))
        with pytest.raises(OutOfMemoryError, match="a prediction for 40 rows would take"):
            network.predict(X)

    def test_memory_that_runs_out_all_the_same(self, monkeypatch):
        def fail(*_args, **_words):
            raise MemoryError

        monkeypatch.setattr("manyhands.estimators.base.carry_out", fail)
        with pytest.raises(ManyhandsError, match="the fit has run out of memory"):
            MLPClassifier((3,), max_iter=1).fit(X, CLASSES)
