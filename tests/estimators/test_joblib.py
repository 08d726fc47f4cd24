"""Inside joblib's workers a fit has no more threads than its place allows, with real processes and threads."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info

from manyhands import MLPClassifier
from manyhands.estimators import workers

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc"),
]

X, Y = load_digits(return_X_y=True)
X = np.tile(X / 16, (4, 1))
Y = np.resize(Y, len(X))

LONG = {"hidden_layer_sizes": (1024, 1024), "max_iter": 5, "n_workers": 2, "strategy": "one-shot"}
"""Two workers that are busy all the time."""


def processes(root):
    """This process and all it has started, directly or not."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def running(root):
    """The threads of the process tree that run or could."""
    found = set()
    for process in processes(root):
        for path in Path(f"/proc/{process}/task").glob("*/stat"):
            try:
                if path.read_text().rpartition(")")[2].split()[0] == "R":
                    found.add(int(path.parent.name))
            except OSError:
                continue
    return found - {threading.get_native_id()}


class Busy:
    """How many threads are busy, many times a second: those that were running in three looks in a row."""

    def __enter__(self):
        self.found, self._end = [], threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_failure):
        self._end.set()
        self._thread.join()

    def _watch(self):
        looks = []
        while not self._end.wait(0.02):
            looks = [*looks[-2:], running(os.getpid())]
            self.found.append(len(set.intersection(*looks)) if len(looks) == 3 else 0)

    def share(self, number):
        """How often more than so many were busy, as a share."""
        return np.mean(np.array(self.found) > number)


def fitted(n_workers, epochs=60, **words):
    return MLPClassifier((64,), n_workers=n_workers, max_iter=epochs, random_state=0, tol=0, **words).fit(X, Y)


def workers_of(n_workers):
    return fitted(n_workers, 1).n_workers_


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_workers_of_joblib_have_one_worker_each_if_the_cores_are_all_theirs(backend):
    jobs = os.cpu_count() or 1
    with parallel_config(backend, n_jobs=max(jobs, 2)):
        assert Parallel()(delayed(workers_of)(each) for each in (2, -1)) == [1, 1]


def test_processes_with_more_threads_have_more_workers():
    with parallel_config("loky", n_jobs=2, inner_max_num_threads=2):
        assert Parallel()(delayed(workers_of)(each) for each in (1, 2, 3)) == [1, 2, 2]


def test_one_job_is_no_reason_for_fewer_workers():
    assert Parallel(n_jobs=1)(delayed(workers_of)(each) for each in (1, 2)) == [1, 2]
    assert workers_of(3) == 3


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_search_with_two_jobs_keeps_two_threads_busy(backend):
    with parallel_config(backend, n_jobs=2), Busy() as busy:
        network = MLPClassifier(**LONG, random_state=0)
        search = GridSearchCV(network, {"alpha": [1e-4]}, cv=2, refit=False).fit(X, Y)
    assert busy.share(0) > 0.2
    assert busy.share(2) < 0.25, busy.found  # predictions of the threads are those of BLAS, as scikit-learn's
    assert (search.cv_results_["mean_test_score"] > 0.9).all()


def unlimited():
    """A fit that does not know where it is."""
    workers._threads_of_joblib = lambda: None
    return MLPClassifier(**LONG).fit(X, Y).n_workers_


@pytest.mark.slow
def test_without_limits_it_would_be_four():
    with parallel_config("loky", n_jobs=2), Busy() as busy:
        assert Parallel()(delayed(unlimited)() for _ in range(2)) == [2, 2]
    get_reusable_executor().shutdown(wait=True)  # those processes are spoilt
    assert busy.share(2) > 0.4, busy.found


def test_two_fits_at_once_restore_the_threads_of_blas():
    before = {each["filepath"]: each["num_threads"] for each in threadpool_info()}
    alone = fitted(1, 3)
    found = Parallel(n_jobs=3, backend="threading")(delayed(fitted)(1, epochs) for epochs in (3, 12, 5, 3, 9, 3))
    after = {each["filepath"]: each["num_threads"] for each in threadpool_info()}
    assert {path: after[path] for path in before} == before
    assert all((one == other).all() for one, other in zip(found[0].coefs_, alone.coefs_, strict=True))
