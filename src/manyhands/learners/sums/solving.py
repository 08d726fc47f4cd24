"""Linear discriminants from covariances: what scikit-learn's three solvers compute from the samples themselves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.linalg import lapack

from manyhands.learners.mlp.blas import gram
from manyhands.learners.sums import kernels

Matrix = NDArray[np.float64]
_CLEAR = 100.0
"""A rank counts as clear if the smallest eigenvalue that is none of rounding is so many times what counts as none."""
_ROUNDING = 1e-12
"""Of what is left of a correlation matrix; its variances are 1."""


class Solution(NamedTuple):
    """Linear discriminants.

    Attributes
    ----------
    coef, intercept : ndarray of shape (K, F) and (K,)
        Logarithms of unnormalized probabilities are ``(inputs - center) @ coef.T + intercept``.
    center : ndarray of shape (F,)
        The mean of all classes, without which large means would cancel.
    base : ndarray of shape (F,)
        What scikit-learn's ``coef_`` has more than ``coef``, the same for all classes.
    scalings : ndarray of shape (F, any)
        Directions of `transform`, the best first.
    ratio : ndarray of shape (any,)
        What share of the variance between classes each explains.
    """

    coef: Matrix
    intercept: NDArray[np.float64]
    center: NDArray[np.float64]
    base: NDArray[np.float64]
    scalings: Matrix
    ratio: NDArray[np.float64]


def svd(within: Matrix, means: Matrix, priors: NDArray[np.float64], rows: float, tol: float) -> Solution:
    """Return what scikit-learn's solver svd finds, from the covariance within classes.

    It takes the singular values of all standardized samples; their squares are the eigenvalues of the correlations.
    """
    center = priors @ means
    variances = np.diag(within)
    std = np.where(variances > 0, np.sqrt(np.maximum(variances, 0.0)), 1.0)
    classes = len(means)
    weights = np.sqrt(rows * priors * (1.0 if classes == 1 else 1.0 / (classes - 1)))
    between = (weights[:, None] * (means - center)) / std
    whitening = _whitening(within / std[:, None] / std, tol)
    _, values, directions = scipy.linalg.svd(whitening.project(between), full_matrices=False)
    rank = int((values > tol * values[0]).sum()) if len(values) else 0
    total = float((values * values).sum())
    scalings = whitening.back(directions[:rank].T) / std[:, None]
    projected = (means - center) @ scalings
    with np.errstate(divide="ignore", invalid="ignore"):
        intercept = -0.5 * (projected * projected).sum(axis=1) + np.log(priors)
        ratio = values * values / total
    return Solution(projected @ scalings.T, intercept, center, np.zeros_like(center), scalings, ratio)


class Whitening(NamedTuple):
    """A matrix T = F H of shape (features, rank) with T T' = the pseudo-inverse of correlations.

    Attributes
    ----------
    features : int
        How many there are.
    varying : ndarray of shape (any,), intp
        Those that vary; the other rows of T are 0.
    factor : ndarray of shape (varying, rank)
        F.
    cholesky : ndarray of shape (rank, rank) or None
        Lower triangle of the factor of the inverse of H; None for H = 1.
    """

    features: int
    varying: NDArray[np.intp]
    factor: Matrix
    cholesky: Matrix | None = None

    def project(self, rows: Matrix) -> Matrix:
        """Return rows T."""
        return self._solved((rows[:, self.varying] @ self.factor).T).T

    def back(self, directions: Matrix) -> Matrix:
        """Return T directions."""
        found = np.zeros((self.features, directions.shape[1]))
        found[self.varying] = self.factor @ self._solved(directions)
        return found

    def _solved(self, columns: Matrix) -> Matrix:
        if self.cholesky is None:
            return columns
        found: Matrix = scipy.linalg.cho_solve((self.cholesky, True), columns, check_finite=False)
        return found


def _whitening(correlations: Matrix, tol: float) -> Whitening:
    """Return the whitening of correlations that leaves out singular values up to ``tol``.

    The eigenvectors do it, at a price that would be a fifth of the whole training. Where the rank is clear, a pivoted
    Cholesky factor C = F F' does, too: the pseudo-inverse is F H^2 F' with H = (F' F)^-1, and the eigenvalues of F' F
    are those of C that are not 0. T is turned otherwise then, which changes no discriminant.
    """
    features, varying = len(correlations), np.flatnonzero(np.diag(correlations) > 0)
    inner = correlations[np.ix_(varying, varying)]
    if not len(varying):
        return Whitening(features, varying, inner)
    factored = _by_factor(inner, tol)
    return Whitening(features, varying, *((_by_eigenvectors(inner, tol),) if factored is None else factored))


def _by_factor(matrix: Matrix, tol: float) -> tuple[Matrix, Matrix] | None:
    """Return a pivoted Cholesky factor F, and the Cholesky factor of F' F; None if the rank is not clear."""
    least = tol * tol
    factor, pivots, rank, _ = lapack.dpstrf(matrix, tol=max(least / 10, _ROUNDING), lower=1)
    if rank == 0:
        return None
    rows, inner = np.empty((len(matrix), rank)), np.zeros((rank, rank))
    kernels.unpivoted(factor, pivots, rows)
    # What is left has no eigenvalue above its trace, so nothing that counts is left out.
    left = float((np.diag(matrix) - np.einsum("fr,fr->f", rows, rows)).sum())
    gram(rows, inner)
    cholesky, failed = lapack.dpotrf(inner.T, lower=1, overwrite_a=1)  # its lower triangle is what was written
    if failed or left > least:
        return None
    smallest, _ = lapack.dpocon(cholesky, 1.0, uplo="L")  # one over the norm of the inverse: a bound of eigenvalues
    return (rows, cholesky) if smallest > _CLEAR * max(least, _ROUNDING) else None


def _by_eigenvectors(matrix: Matrix, tol: float) -> Matrix:
    """Return the whitening from eigenvectors."""
    values, vectors = np.linalg.eigh(matrix)
    singular = np.sqrt(np.maximum(values, 0.0))
    # What rounding leaves of eigenvalues that are 0 is no direction, whatever the tolerance.
    kept = (singular > tol) & (values > len(matrix) * np.finfo(float).eps * values[-1])
    found: Matrix = vectors[:, kept] / singular[kept]
    return found


def lsqr(within: Matrix, means: Matrix, priors: NDArray[np.float64]) -> Solution:
    """Return what scikit-learn's solver lsqr finds, which has no directions."""
    center = priors @ means
    *coef, base = scipy.linalg.lstsq(within, np.vstack([means - center, center]).T)[0].T
    return _around(center, means, np.array(coef), base, priors, np.zeros((means.shape[1], 0)), np.zeros(0))


def eigen(within: Matrix, total: Matrix, means: Matrix, priors: NDArray[np.float64]) -> Solution:
    """Return what scikit-learn's solver eigen finds."""
    values, vectors = scipy.linalg.eigh(total - within, within)
    order = np.argsort(values)[::-1]
    scalings = vectors[:, order]
    center = priors @ means
    coef, base = (means - center) @ scalings @ scalings.T, center @ scalings @ scalings.T
    return _around(center, means, coef, base, priors, scalings, np.sort(values / values.sum())[::-1])


def _around(
    center: NDArray[np.float64],
    means: Matrix,
    coef: Matrix,
    base: NDArray[np.float64],
    priors: NDArray[np.float64],
    *directions: NDArray[np.float64],
) -> Solution:
    """Return a solution whose intercepts are for inputs less the center."""
    with np.errstate(divide="ignore"):
        intercept = -0.5 * np.einsum("kf,kf->k", means - center, coef) + np.log(priors)
    return Solution(coef, intercept, center, base, *directions)
