"""Ranks that fail alone, or give something else: mpiexec starts this file, and all cases run in one job, one by one."""

# ruff: noqa: N803, N806 - X is scikit-learn's name

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest

from manyhands.teams import mpi_environment

WORKERS = 3
MEMORY = "no memory for this"


def rows():
    from sklearn.datasets import load_iris

    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    return X[order], y[order]


class Case:
    """One fit, which rank 1 does in its own way."""

    def __init__(self, *, kind="MLPClassifier", call="fit", word=None, mine=None, ours=None, **words):
        self.kind, self.call, self.change, self.mine, self.ours, self.words = kind, call, word, mine, ours, words

    def run(self, rank):
        import manyhands

        words = {
            "team": "mpi",
            "max_iter": 3,
            "random_state": 0,
            **self.words,
            **(self.mine or {} if rank == 1 else {}),
        }
        X, y = rows()
        if self.kind == "MLPRegressor":
            y = y.astype(float)
        given = {"X": X, "y": y}
        if self.ours:
            given |= self.ours(X, y)
        if rank == 1 and self.change:
            given |= self.change(X, y)
        network = getattr(manyhands, self.kind)(**{"hidden_layer_sizes": (4,), **words})
        if self.call == "partial_fit" and self.kind == "MLPClassifier":
            given.setdefault("classes", [0, 1, 2])
        getattr(network, self.call)(**given)
        return network


def with_nan(X, y):
    X = X.copy()
    X[3, 1] = np.nan
    return {"X": X}


class Huge:
    """Stands in for rows that do not fit into memory."""

    shape, ndim, dtype = (150, 4), 2, np.dtype(float)

    def __len__(self):
        return 150

    def __array__(self, *_arguments, **_words):
        raise MemoryError(MEMORY)


class Raising:
    def __array__(self, *_arguments, **_words):
        raise KeyError("a listener of its own kind")


def weights(X, y):
    return {"sample_weight": np.ones(len(y))}


def heavier(X, y):
    return {"sample_weight": np.arange(1.0, len(y) + 1)}


def without_class(X, y):
    return {"X": X[y != 2], "y": y[y != 2]}


FAILING = {
    "NaN": (Case(word=with_nan), ValueError, "Input X contains NaN"),
    "NaN, regressor": (Case(kind="MLPRegressor", word=with_nan), ValueError, "Input X contains NaN"),
    "NaN, lbfgs": (Case(solver="lbfgs", word=with_nan), ValueError, "Input X contains NaN"),
    "NaN, partial_fit": (Case(call="partial_fit", word=with_nan), ValueError, "Input X contains NaN"),
    "NaN, sharded": (Case(data="sharded", word=with_nan), ValueError, "Input X contains NaN"),
    "no rows, sharded": (
        Case(data="sharded", word=lambda X, y: {"X": X[:0], "y": y[:0]}), ValueError, "Found array with 0 sample"
    ),
    "rows and labels": (Case(word=lambda X, y: {"y": y[:-1]}), ValueError, "inconsistent numbers of samples"),
    "text": (Case(word=lambda X, y: {"X": [["a"] * 4] * 150}), ValueError, "could not convert string"),
    "memory": (Case(word=lambda X, y: {"X": Huge()}), MemoryError, MEMORY),
    "an error of its own": (Case(word=lambda X, y: {"X": Raising()}), KeyError, "a listener of its own kind"),
    "unknown solver": (Case(mine={"solver": "adam2"}), ValueError, "'solver' parameter of MLPClassifier must be"),
    "n_workers": (Case(mine={"n_workers": 2}), ValueError, "this MPI job has 3 processes, not 2"),
    "n_workers 0": (Case(mine={"n_workers": 0}), ValueError, "'n_workers' parameter"),
    "unknown strategy": (Case(mine={"strategy": "sometimes"}), ValueError, "unknown strategy 'sometimes'"),
    "unknown team": (Case(mine={"team": "mpi2"}), ValueError, "'team' parameter"),
    "no neurons": (Case(mine={"hidden_layer_sizes": (0,)}), ValueError, "hidden_layer_sizes must be > 0"),
    "negative weight": (Case(ours=weights, word=lambda X, y: {"sample_weight": -np.ones(150)}), ValueError, "ranks"),
    "no classes": (
        Case(call="partial_fit", word=lambda X, y: {"classes": None}), ValueError, "classes must be passed on the first"
    ),
    "a warning as an error": (
        Case(word=lambda X, y: warnings.simplefilter("error") or {"y": y[:, None]}), Warning, "column-vector y"
    ),
}  # fmt: skip

DIFFERING = {
    "neurons": (
        Case(mine={"hidden_layer_sizes": (5,)}),
        "ranks differ: hidden_layer_sizes is (4,) on ranks 0 and 2 and (5,) on rank 1; ",
    ),
    "max_iter": (Case(mine={"max_iter": 4}), "ranks differ: max_iter is 3 on ranks 0 and 2 and 4 on rank 1; "),
    "strategy": (Case(mine={"strategy": "gradient"}), "strategy is auto on ranks 0 and 2 and gradient on rank 1"),
    "seed": (Case(mine={"random_state": 1}), "random_state is 0 on ranks 0 and 2 and 1 on rank 1"),
    "no seed": (Case(mine={"random_state": None}), "random_state is 0 on ranks 0 and 2 and not fixed on rank 1"),
    "dtype": (Case(mine={"dtype": "float64"}), "dtype is float32 on ranks 0 and 2 and float64 on rank 1"),
    "early stopping": (Case(mine={"early_stopping": True}), "early_stopping is False on ranks"),
    "data": (Case(mine={"data": "sharded"}), "data is whole on ranks 0 and 2 and sharded on rank 1"),
    "solver": (Case(mine={"solver": "lbfgs"}), "solver is adam on ranks 0 and 2 and lbfgs on rank 1"),
    "lbfgs": (Case(solver="lbfgs", mine={"max_iter": 4}), "max_iter is 3 on ranks 0 and 2 and 4 on rank 1"),
    "call": (
        Case(call="partial_fit", mine={"early_stopping": False, "shuffle": False}), "shuffle is True on ranks 0 and 2"
    ),
    "classes of partial_fit": (
        Case(call="partial_fit", word=lambda X, y: {"classes": [0, 1, 2, 3]}),
        "classes is (0, 1, 2) on ranks 0 and 2 and (0, 1, 2, 3) on rank 1",
    ),
    "rows": (
        Case(word=lambda X, y: {"X": X[:149], "y": y[:149]}),
        "the number of rows is 150 on ranks 0 and 2 and 149 on rank 1; give every process the same rows in the same "
        "order, or set data='sharded'",
    ),
    "a class": (Case(word=without_class), "the number of rows is 150 on ranks 0 and 2 and 100 on rank 1; the "),
    "labels": (Case(word=lambda X, y: {"y": y[::-1]}), "the checksum of y is"),
    "columns": (Case(word=lambda X, y: {"X": X[:, :3]}), "the number of features is 4 on ranks 0 and 2 and 3"),
    "one value": (Case(word=lambda X, y: {"X": np.where(np.arange(4) < 3, X, X + (y == 1)[:, None] * 1e-9)}), "the ch"),
    "order of rows": (Case(word=lambda X, y: {"X": X[::-1], "y": y[::-1]}), "the checksum of X is"),
    "order of columns": (Case(word=lambda X, y: {"X": X[:, ::-1]}), "the checksum of X is"),
    "dtype of rows": (Case(word=lambda X, y: {"X": X.astype(np.float32)}), "the dtype of X is float64 on"),
    "weights": (Case(word=weights), "sample_weight is not given on ranks 0 and 2 and given on rank 1"),
    "values of weights": (Case(ours=weights, word=heavier), "the checksum of sample_weight is"),
    "targets": (Case(kind="MLPRegressor", word=lambda X, y: {"y": y + 1e-9}), "the checksum of y is"),
    "lbfgs, rows": (Case(solver="lbfgs", word=lambda X, y: {"y": y[::-1]}), "the checksum of y is"),
    "sharded, columns": (Case(data="sharded", word=lambda X, y: {"X": X[:, :3]}), "the number of features is 4 on ra"),
    "sharded, kind of labels": (
        Case(data="sharded", word=lambda X, y: {"y": y.astype(str)}), "y is numbers, 1 column on ranks 0 and 2 and text"
    ),
}  # fmt: skip

SAME = {
    "a list": Case(mine={"hidden_layer_sizes": [4]}, word=lambda X, y: {"X": X.tolist(), "y": y.tolist()}),
    "another order of memory": Case(word=lambda X, y: {"X": np.asfortranarray(X)}),
    "no seed anywhere": Case(random_state=None),
    "a generator": Case(random_state=None, mine={"random_state": np.random.RandomState(7)}),
    "one speaks less": Case(mine={"verbose": False}),
    "numbers of NumPy": Case(mine={"alpha": np.float64(0.0001), "max_iter": np.int64(3), "n_workers": -1}),
}
"""What may differ: the same in other words."""


def outcome(work):
    """Return what comes of it, as plain data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = work()
        except Exception as error:
            kinds = [kind.__name__ for kind in type(error).__mro__]
            return {"error": str(error), "kinds": kinds}
    return digest(found)


def digest(network):
    arrays = [array.tolist() for array in (*network.coefs_, *network.intercepts_)]
    return {"arrays": arrays, "n_iter": network.n_iter_, "loss": list(getattr(network, "loss_curve_", [])),
            "classes": getattr(network, "classes_", np.zeros(0)).tolist()}  # fmt: skip


def going_on(rank):
    """Two fits, of which rank 1 skips the first, so that it begins the second with another network."""
    from manyhands import MLPClassifier

    X, y = rows()
    network = MLPClassifier((4,), team="mpi", max_iter=2, random_state=0, warm_start=True).fit(X, y)
    if rank == 1:
        network.coefs_[0] = network.coefs_[0] + 1
    return network.fit(X, y)


def searching(_rank):
    """A search over networks that all train together; scikit-learn keeps the errors of single fits."""
    from sklearn.model_selection import GridSearchCV

    from manyhands import MLPClassifier

    X, y = rows()
    network = MLPClassifier(team="mpi", max_iter=2, random_state=0)
    return GridSearchCV(network, {"hidden_layer_sizes": [(3,), (4,)]}, cv=2).fit(X, y).best_estimator_


def searching_side_by_side(_rank):
    from sklearn.model_selection import cross_val_score

    from manyhands import MLPClassifier

    network = MLPClassifier(team="mpi", max_iter=2, random_state=0)
    return cross_val_score(network, *rows(), cv=2, n_jobs=2, error_score="raise")


CUTS = (0, 20, 21, 150)
"""Shards of very different sizes; the second is a single row."""


def shard(rank, X):
    return X[CUTS[rank] : CUTS[rank + 1]]


def sharded(words, change=lambda X, y: (X, y, None)):
    """Return two ways to fit: on shards, and on all rows in all processes."""
    import manyhands

    words = dict(words)
    kind, call = getattr(manyhands, words.pop("kind", "MLPClassifier")), words.pop("call", "fit")

    def fit(rank, data):
        given = change(*rows())
        parts = [each if each is None or data == "whole" else shard(rank, each) for each in given]
        more = {"classes": [0, 1, 2]} if call == "partial_fit" and "Class" in kind.__name__ else {}
        network = kind(hidden_layer_sizes=(4,), team="mpi", data=data, **{"max_iter": 4, "random_state": 0, **words})
        return getattr(network, call)(parts[0], parts[1], sample_weight=parts[2], **more)

    return fit


def sorted_by_class(X, y):
    order = np.argsort(y, kind="stable")
    return X[order], y[order], None


def sparse_rows(X, y):
    from scipy import sparse

    return sparse.csr_matrix(X), y, None


SHARDED = {
    "plain": ({}, lambda X, y: (X, y, None)),
    "classes missing": ({}, sorted_by_class),
    "words": ({}, lambda X, y: (X, np.array(["a", "bee", "sea urchin"])[y], None)),
    "objects": ({}, lambda X, y: (X, np.array(["a", "bee", "sea urchin"], object)[y], None)),
    "weights": ({}, lambda X, y: (X, y, np.arange(1.0, 151))),
    "sparse": ({}, sparse_rows),
    "early stopping": ({"early_stopping": True}, lambda X, y: (X, y, None)),
    "gradient, fixed": ({"strategy": "gradient", "sharding": "fixed"}, lambda X, y: (X, y, None)),
    "regressor": ({"kind": "MLPRegressor"}, lambda X, y: (X, y * 1.0, None)),
    "several outputs": ({"kind": "MLPRegressor"}, lambda X, y: (X, np.stack([y, -y], 1) * 1.0, None)),
    "several labels": ({}, lambda X, y: (X, np.eye(3, dtype=int)[y], None)),
    "lbfgs": ({"solver": "lbfgs"}, lambda X, y: (X, y, None)),
    "partial_fit": ({"call": "partial_fit"}, sorted_by_class),
    "single precision": ({}, lambda X, y: (X.astype(np.float32), y, None)),
}  # fmt: skip


def main():
    from manyhands.teams.mpi_world import join

    rank = join().rank
    cases = {**{name: case for name, (case, *_) in FAILING.items()}, **SAME}
    cases |= {f"differing {name}": case for name, (case, _) in DIFFERING.items()}
    record = {}
    for name, case in cases.items():
        record[name] = outcome(lambda case=case: case.run(rank))
    for work in (going_on, searching, searching_side_by_side):
        record[work.__name__] = outcome(lambda work=work: work(rank))
    for name, (words, change) in SHARDED.items():
        for data in ("sharded", "whole"):
            record[f"{data} {name}"] = outcome(lambda c=change, w=words, d=data: sharded(w, c)(rank, d))
    everyone = join().all_gather_texts(json.dumps(record))
    if rank == 0:
        print("\nTOLD" + json.dumps([json.loads(each) for each in everyone]))


@pytest.fixture(scope="module")
def told():
    """What every process has met, case by case."""
    pytest.importorskip("mpi4py")
    from manyhands.teams.mpi_world import library

    path, kind = mpi_environment.find_mpiexec(library())
    done = subprocess.run(
        [*mpi_environment.job_command(path, kind, WORKERS), sys.executable, __file__],
        env=mpi_environment.job_environment(kind),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("TOLD"))
    return json.loads(line.removeprefix("TOLD"))


@pytest.mark.parametrize("name", FAILING)
def test_what_fails_on_one_rank_ends_all_with_its_message(told, name):
    _, kind, words = FAILING[name]
    for rank, record in enumerate(told):
        assert kind.__name__ in record[name]["kinds"], record[name]
        assert words in record[name]["error"]
        if rank != 1 and words != "ranks":
            assert record[name]["error"].startswith("rank 1: ")
            assert "RankError" in record[name]["kinds"]


@pytest.mark.parametrize("name", DIFFERING)
def test_what_differs_between_ranks_is_said_on_all(told, name):
    for record in told:
        found = record[f"differing {name}"]
        assert "ManyhandsError" in found["kinds"], found
        assert "ValueError" in found["kinds"]
        assert found["error"].startswith("ranks differ: ")
        assert DIFFERING[name][1] in found["error"]


@pytest.mark.parametrize("name", SAME)
def test_the_same_in_other_words_is_the_same(told, name):
    assert "arrays" in told[0][name], told[0][name]
    assert all(record[name] == told[0][name] for record in told)


def test_networks_to_go_on_with_must_be_the_same(told):
    assert all("the checksum of the network to go on with is" in record["going_on"]["error"] for record in told)


def test_a_search_trains_its_networks_with_all_processes(told):
    assert "arrays" in told[0]["searching"]
    assert all(record["searching"] == told[0]["searching"] for record in told)


def test_a_worker_of_joblib_is_no_process_of_the_job(told):
    for record in told:
        assert "SettingsError" in record["searching_side_by_side"]["kinds"]
        assert "set n_jobs=None" in record["searching_side_by_side"]["error"]


@pytest.mark.parametrize("name", SHARDED)
def test_a_fit_on_shards_is_the_fit_on_all_rows_in_rank_order(told, name):
    assert "arrays" in told[0][f"whole {name}"], told[0][f"whole {name}"]
    for record in told:
        assert record[f"sharded {name}"] == told[0][f"whole {name}"]


if __name__ == "__main__":
    main()
