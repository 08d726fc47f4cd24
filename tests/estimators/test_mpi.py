"""Estimators in a real MPI job: every process ends with the same one. mpiexec starts this file."""

# ruff: noqa: N806 - X is scikit-learn's name

import json
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest

from manyhands.teams import mpi_environment

CASES = {
    "auto": {},
    "early": {"early_stopping": True},
    "gradient": {"strategy": "gradient"},
    "weighted": {"strategy": "gradient", "weighted": True},
    "weighted alone": {"team": "threads", "weighted": True},
    "drawn": {"random_state": None},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 1, "max_iter": 40},
    "alone": {"team": "threads"},
    "other": {"n_workers": 7},
    "told": {"verbose": True, "max_iter": 2},
}


def checksum(network):
    """Of all that is learned, the optimizer's state included."""
    total = 0
    for array in (*network.coefs_, *network.intercepts_, *dict(sorted(network._optimizer.state.items())).values()):
        total = zlib.crc32(np.ascontiguousarray(array).tobytes(), total)
    return total


def story(words):
    """Train, go on, and tell what has come of it."""
    from sklearn.datasets import load_digits

    from manyhands import MLPClassifier

    X, y = load_digits(return_X_y=True)
    X = X / 16
    words = dict(words)
    weights = np.random.default_rng(0).random(len(X)) if words.pop("weighted", False) else None
    network = MLPClassifier((16,), **{"team": "mpi", "random_state": 0, "max_iter": 12, **words})
    try:
        network.fit(X, y, weights)
    except ValueError as error:
        return str(error)
    found = [checksum(network), network.n_workers_, network.n_iter_, network.loss_curve_, network.score(X, y)]
    if not network.early_stopping:
        network.partial_fit(X, y)
        found += [checksum(network), network.loss_]
    return found


def main():
    from manyhands.teams.mpi_world import join

    warnings.simplefilter("ignore")
    told = json.dumps({name: story(words) for name, words in CASES.items()})
    everyone = join().all_gather_texts(told)
    if join().rank == 0:
        print("\nTOLD" + json.dumps([json.loads(each) for each in everyone]))


@pytest.fixture(scope="module", params=[pytest.param(2, marks=pytest.mark.slow), 3])
def job(request):
    pytest.importorskip("mpi4py")
    from manyhands.teams.mpi_world import library

    path, kind = mpi_environment.find_mpiexec(library())
    done = subprocess.run(
        [*mpi_environment.job_command(path, kind, request.param), sys.executable, __file__],
        env=mpi_environment.job_environment(kind),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = next(line for line in done.stdout.splitlines() if line.startswith("TOLD"))
    return request.param, json.loads(told.removeprefix("TOLD")), done.stdout


@pytest.mark.parametrize("case", [name for name in CASES if name != "other"])
def test_all_processes_have_the_same_network(job, case):
    size, everyone, _ = job
    assert len(everyone) == size
    assert all(each[case] == everyone[0][case] for each in everyone), everyone
    assert everyone[0][case][1] == (1 if "alone" in case else size)
    if case in ("auto", "early", "gradient", "drawn"):
        assert everyone[0][case][4] > 0.2  # of ten classes; one case starts anywhere


def test_gradients_give_what_one_worker_has(job):
    _, (first, *_), _ = job
    for one, many in (("alone", "gradient"), ("weighted alone", "weighted")):
        np.testing.assert_allclose(first[many][3], first[one][3], rtol=1e-4)
    assert first["auto"][0] not in (first["alone"][0], first["gradient"][0])


def test_another_number_than_the_job_has_is_refused(job):
    size, (first, *_), _ = job
    assert f"this MPI job has {size} processes, not 7; start it with mpiexec -n 7" in first["other"]


def test_one_process_speaks(job):
    _, _, out = job
    assert out.count("Iteration 2, loss") == 1


if __name__ == "__main__":
    main()
