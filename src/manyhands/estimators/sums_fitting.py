"""Fits of estimators that are made of sums over the rows: one run that makes the sums, through all workers."""

# ruff: noqa: N803, N806 - X is scikit-learn's name

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from manyhands.core.samples import Samples
from manyhands.data.dataset import Dataset
from manyhands.data.scaling import Scaling
from manyhands.estimators.consistency import Given, facts_of
from manyhands.estimators.constraints import OF_FITS
from manyhands.estimators.rows import dense
from manyhands.estimators.workers import check_place, with_rows, workers_and_team
from manyhands.learners.sums import exact, kernels
from manyhands.learners.sums.settings import SumsSettings
from manyhands.runtime.memory import check_memory, memory_errors_explained
from manyhands.teams.agreement import calling_off, together
from manyhands.teams.membership import join
from manyhands.teams.registry import kind_of
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

OF_SUMS: dict[str, Any] = {name: OF_FITS[name] for name in ("n_workers", "team")}
"""What scikit-learn's parameters do not have: the `_parameter_constraints` of these estimators have it, too."""
_USUAL = SumsSettings()


class FittedBySums:
    """The base of estimators that are scikit-learn's own but for their sums."""

    _sums_so_far: ClassVar[tuple[str, ...]] = ()
    """The attributes, arrays or lists of them, to which a call of ``partial_fit`` adds."""
    n_workers: int | str | None
    team: str
    n_workers_: int

    @contextlib.contextmanager
    def _all_or_none(self) -> Iterator[None]:
        """Do a fit in all processes of a job, or, if it fails in one of them, in none."""
        check_place(self.team)
        with memory_errors_explained("the fit"), together(self.team):
            yield

    def _facts(self) -> dict[str, str]:
        """Return parameters, as text, that are compared in another way than the others: none."""
        return {}

    def _weights(self) -> list[NDArray[Any]]:
        """Return the arrays that the next sums are added to."""
        found: list[NDArray[Any]] = []
        for name in self._sums_so_far:
            each = getattr(self, name, None)
            found.extend(each if isinstance(each, list) else [np.asarray(each)] if each is not None else [])
        return found


def trained(
    estimator: Any,
    learner: str,
    X: Any,
    y: NDArray[Any],
    weights: NDArray[Any] | None = None,
    *,
    classes: int,
    settings: SumsSettings = _USUAL,
    seed: int = 0,
) -> Any:
    """Return a learner with all that its passes have found in the rows, for scikit-learn's formulas to go on with.

    All processes of an MPI job call it with the same rows, inside of :meth:`FittedBySums._all_or_none`.

    Parameters
    ----------
    estimator
        Its ``n_workers`` and ``team`` are used, and its parameters compared between processes. It gets ``n_workers_``.
    learner
        One of `manyhands.core.choices.SUMS`.
    X
        Checked rows, dense. Bytes, float32 and float64 that lie row by row are used where they are; truth values count
        as bytes, and other numbers become float64.
    y
        The class number of each row or, without ``classes``, targets of shape (rows, outputs).
    weights
        Of the rows.
    classes
        How many there are; 0 for targets.
    settings
        Of the learner.
    seed
        Of what it draws.

    Returns
    -------
    manyhands.core.learner.SumLearner
        The model, the same in all processes.
    """
    number, team = workers_and_team(estimator.n_workers, estimator.team)
    with together(team) as step:
        step.bring(lambda: _facts_of(estimator, X, y, weights))
        number, team = with_rows(number, team, X.shape[0], "")
        dataset = _dataset(X, y, weights, classes)
        plan = resolve(RunSpec(learner=learner, workers=number, team=team, sums=settings, seed=seed), dataset)
    result = run(plan, dataset)
    estimator.n_workers_ = number
    return result.model.learner


def _facts_of(estimator: Any, X: Any, y: NDArray[Any], weights: NDArray[Any] | None) -> Any:
    """Return what must be the same in all processes."""
    return facts_of(estimator, "fit", Given(X, y, weights), getattr(estimator, "classes_", None), first=False)


def _dataset(X: Any, y: NDArray[Any], weights: NDArray[Any] | None, classes: int) -> Dataset:
    """Return the rows as the data set of a run."""
    if X.dtype == np.bool_:
        X = X.view(np.uint8)
    single = X.dtype.kind == "f" and X.dtype.itemsize <= 4
    width = X.shape[1]
    table = Samples(
        dense(X, "float32" if single else "float64"),
        np.ascontiguousarray(y, np.int32) if classes else np.zeros(len(y), np.int32),
        np.ones(width),
        np.zeros(width),
        None if classes else np.ascontiguousarray(y, np.float64),
        None if weights is None else np.array(weights, np.float64),
    )
    names = np.arange(classes or y.shape[1])
    return Dataset("fit", table, table.take(slice(0)), names, Scaling("none", table.scale, table.shift))


def sparse_sums(
    estimator: Any, X: Any, codes: NDArray[np.int32], weights: NDArray[np.float64] | None, *, classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weight of each class, shape (K,), and the sums of its rows, shape (K, F), of a CSR matrix.

    Each worker adds up consecutive rows. Products of values and weights are divided into parts of common units before,
    so that every sum is exact, and of the same bits for any number of workers. What is called, and compared, is as in
    :func:`trained`.
    """
    number, team = workers_and_team(estimator.n_workers, estimator.team)
    with together(team) as step:
        step.bring(lambda: _facts_of(estimator, X, codes, weights))
        number, team = with_rows(number, team, X.shape[0], "")
        size = 8 * (number + 1) * exact.LEVELS * classes * X.shape[1]
        check_memory(size, "the sums of all features", "use fewer features, or fewer workers")
        adding = _Adding(X, codes, np.ones(X.shape[0]) if weights is None else weights, classes)
        bounds = [rank * X.shape[0] // number for rank in range(number + 1)]
        shares = [slice(*pair) for pair in pairwise(bounds)]
    if kind_of(team).processes:
        with calling_off(team):
            world = join()
            pieces = world.all_gather_arrays(adding.sums_of(shares[world.rank]))
    else:
        with ThreadPoolExecutor(number) as pool:
            pieces = list(pool.map(adding.sums_of, shares))
    estimator.n_workers_ = number
    return adding.counts(), exact.total(np.sum(pieces, axis=0))


class _Adding:
    """How rows of a CSR matrix with class numbers and weights are added up, exactly."""

    def __init__(self, X: Any, codes: NDArray[np.int32], weights: NDArray[np.float64], classes: int) -> None:
        self._X, self._codes, self._weights, self._classes = X, codes, weights, classes
        heaviest = float(np.abs(weights).max(initial=0.0))
        largest = max(float(X.data.max(initial=0)), -float(X.data.min(initial=0)))
        self._of_weights = exact.Units(heaviest, len(weights))
        self._of_values = exact.Units(heaviest * largest, X.nnz)

    def counts(self) -> NDArray[np.float64]:
        """Return the weight of each class."""
        parts = self._of_weights.parts(self._weights)
        return np.asarray(np.sum([np.bincount(self._codes, part, self._classes) for part in parts], axis=0))

    def sums_of(self, share: slice) -> NDArray[np.float64]:
        """Return the sums of some rows, shape (LEVELS, K, F)."""
        pointers = self._X.indptr[share.start : share.stop + 1]
        mine = slice(pointers[0], pointers[-1])
        values = self._X.data[mine] * np.repeat(self._weights[share], np.diff(pointers))
        found = np.zeros((exact.LEVELS, self._classes, self._X.shape[1]))
        for into, part in zip(found, self._of_values.parts(values), strict=True):
            if part.any():  # of whole numbers, the first part is all
                kernels.add_sparse(part, self._X.indices[mine], pointers, self._codes[share], into)
        return found
