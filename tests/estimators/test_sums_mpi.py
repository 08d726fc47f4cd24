"""Estimators made of sums in a real MPI job: all processes have the bits of one worker, or raise. mpiexec starts it."""

# ruff: noqa: N803, N806 - X is scikit-learn's name

import json
import subprocess
import sys
import zlib

import numpy as np
import pytest

from manyhands.teams import mpi_environment

NAMES = ("BernoulliNB", "CategoricalNB", "GaussianNB", "MultinomialNB")
OTHERS = {
    "LinearDiscriminantAnalysis": {},
    "QuadraticDiscriminantAnalysis": {"solver": "eigen", "shrinkage": "auto"},
    "DecisionTreeClassifier": {"max_depth": 4, "random_state": None},
    "RandomForestClassifier": {"n_estimators": 5, "random_state": None},
}
"""Estimators without ``partial_fit``; without a seed, theirs come from rank 0."""
WORKERS = 3


def checksum(model):
    """Of what predictions are made of."""
    total = 0
    trees = getattr(model, "estimators_", [model] if hasattr(model, "tree_") else [])
    arrays = [array for each in trees for array in (each.tree_.threshold, each.tree_.value)]
    names = ("theta_", "var_", "class_count_", "feature_log_prob_", "coef_", "scalings_", "rotations_")
    for each in [arrays, *(getattr(model, name, []) for name in names)]:
        for array in each if isinstance(each, list) else [each]:
            total = zlib.crc32(np.ascontiguousarray(array).tobytes(), total)
    return total


def data():
    """Rows, labels and weights."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 500)
    return rng.poisson(2.0 + y[:, None], (500, 6)), y, rng.exponential(size=500)


def fitted(name, team, X, *others, **words):
    """Fit, add the rows once more, and tell what has come of it."""
    import manyhands

    model = getattr(manyhands, name)(team=team, **words)
    try:
        model.fit(X, *others)
        found = [checksum(model), model.n_workers_]
        if not hasattr(model, "partial_fit"):
            return found
        model.partial_fit(X, others[0], sample_weight=others[1])
    except ValueError as error:
        return f"{type(error).__name__}: {error}"
    return [*found, checksum(model)]


def story(rank):
    """All cases; some are different on rank 1."""
    from scipy.sparse import csr_matrix

    X, y, weights = data()
    kinds = {
        "bytes": (X.astype(np.uint8), None),
        "numbers": (X * 1.0, weights),
        "sparse": (csr_matrix(X * 0.1), weights),
    }
    told = {}
    for name in NAMES:
        for kind, (rows, given) in kinds.items():
            if kind != "sparse" or name in ("BernoulliNB", "MultinomialNB"):
                told[f"{name} {kind}"] = [fitted(name, team, rows, y, given) for team in ("mpi", "threads")]
    for name, words in OTHERS.items():
        seeded = {**words, "random_state": 3} if "random_state" in words else words
        told[f"{name} others"] = [fitted(name, team, X * 0.5, y, **seeded) for team in ("mpi", "threads")]
    told["without a seed"] = fitted("RandomForestClassifier", "mpi", X, y, n_estimators=3)
    told["one cannot be solved"] = fitted("QuadraticDiscriminantAnalysis", "mpi", X * (np.arange(6) < 5), y)
    other = X.copy()
    other[3, 2] += rank == 1
    told["other rows"] = fitted("MultinomialNB", "mpi", other, y, None)
    told["other sparse rows"] = fitted("MultinomialNB", "mpi", csr_matrix(other), y, None)
    told["other settings"] = fitted("GaussianNB", "mpi", X, y, None, var_smoothing=1e-9 * (1 + rank))
    told["one fails"] = fitted("MultinomialNB", "mpi", X * (1 - 2 * (rank == 1)), y, None)
    told["one fails early"] = fitted("GaussianNB", "mpi", X[: len(X) - (rank == 1)], y, None)
    told["another number"] = fitted("GaussianNB", "mpi", X, y, None, n_workers=7)
    told["afterwards"] = fitted("GaussianNB", "mpi", X * 1.0, y, weights)
    return told


def main():
    from manyhands.teams.mpi_world import join

    everyone = join().all_gather_texts(json.dumps(story(join().rank)))
    if join().rank == 0:
        print("\nTOLD" + json.dumps([json.loads(each) for each in everyone]))


@pytest.fixture(scope="module")
def job():
    pytest.importorskip("mpi4py")
    from manyhands.teams.mpi_world import library

    path, kind = mpi_environment.find_mpiexec(library())
    done = subprocess.run(
        [*mpi_environment.job_command(path, kind, WORKERS), sys.executable, __file__],
        env=mpi_environment.job_environment(kind),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = next(line for line in done.stdout.splitlines() if line.startswith("TOLD"))
    return json.loads(told.removeprefix("TOLD"))


def test_all_processes_have_the_bits_of_one_worker(job):
    cases = [name for name in job[0] if name.startswith(NAMES)]
    assert len(cases) == 10
    for case in cases:
        (first, size, second), (alone, one, added) = job[0][case]
        assert (size, one) == (WORKERS, 1), case
        assert (first, second) == (alone, added), case
        assert all(told[case] == job[0][case] for told in job), case


def test_those_without_partial_fit_have_them_too(job):
    cases = [name for name in job[0] if name.endswith(" others")]
    assert len(cases) == len(OTHERS)
    for case in cases:
        (bits, size), (alone, one) = job[0][case]
        assert (bits, size, one) == (alone, WORKERS, 1), case
    assert all(told == {**job[0], **{each: told[each] for each in told if each not in cases}} for told in job)
    assert len({tuple(told["without a seed"]) for told in job}) == 1
    assert all("is not full rank" in told["one cannot be solved"] for told in job), job


def test_what_differs_is_an_error_everywhere(job):
    assert all("DataError: ranks differ: the checksum of X" in told["other rows"] for told in job), job
    assert all(
        "same rows in the same order" in told["other rows"] and "sharded" not in told["other rows"] for told in job
    )
    assert all("DataError: ranks differ: the checksum of X" in told["other sparse rows"] for told in job)
    assert all("SettingsError: ranks differ: var_smoothing" in told["other settings"] for told in job)
    assert all("MPI job has 3 processes, not 7" in told["another number"] for told in job)


def test_where_one_process_fails_all_do_and_the_job_goes_on(job):
    assert all("Negative values in data" in told["one fails"] for told in job)
    assert all("inconsistent numbers of samples" in told["one fails early"] for told in job)
    assert all(told["afterwards"] == job[0]["GaussianNB numbers"][0] for told in job)


if __name__ == "__main__":
    main()
