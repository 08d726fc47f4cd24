"""What the processes of an MPI job give to one fit: all the same, or each its own shard of the rows.

Nothing here is computed, and nothing sent, unless several processes fit together.
"""

# ruff: noqa: N806 - X is scikit-learn's name

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.utils.multiclass import unique_labels

from manyhands.core.errors import DataError
from manyhands.core.words import count
from manyhands.data.checksum import checksum_of
from manyhands.teams.agreement import Facts, as_facts, as_text, calling_off
from manyhands.teams.membership import join
from manyhands.teams.world import World

_FREE = ("random_state", "verbose", "n_workers", "team")
"""Parameters that are compared in another way, or may differ: only rank 0 speaks, and the workers are all processes."""
_HINT = "give every process the same rows in the same order"
_OR_SHARDED = f"{_HINT}, or set data='sharded' if each has rows of its own"


@dataclass(frozen=True)
class Given:
    """What one process gives to a fit, as far as it can be checked alone; ``weights`` are sample weights, or None."""

    X: Any
    y: Any
    weights: NDArray[Any] | None


def facts_of(estimator: Any, call: str, given: Given, classes: Any, *, first: bool) -> Facts:
    """Return what must be the same in all processes at the start of a fit.

    ``classes`` is what `partial_fit` was given, and ``first`` says whether the fit starts a new network.
    """
    own = estimator._facts()
    words = {name: each for name, each in estimator.get_params(deep=False).items() if name not in (*_FREE, *own)}
    seed = getattr(estimator, "random_state", 0)
    settings = {
        "the call": f"{type(estimator).__name__}.{call}",
        **own,
        "random_state": as_text(seed) if isinstance(seed, (int, np.integer)) else "not fixed",
        **as_facts(words),
        "classes": "not given" if classes is None else as_text(np.asarray(classes).tolist()),
        "the checksum of the network to go on with": "none" if first else f"{_checksum_of_state(estimator):08x}",
    }
    data = _facts_of_shard(estimator, given)
    hint = _OR_SHARDED if "data" in words else _HINT
    if getattr(estimator, "data", "whole") == "whole":
        data |= _facts_of_rows(estimator, given)
    return Facts(settings, data, hint)


def _facts_of_shard(estimator: Any, given: Given) -> dict[str, str]:
    """Return what even shards have in common."""
    columns = 1 if given.y.ndim == 1 else given.y.shape[1]
    return {
        "the number of features": str(given.X.shape[1]),
        "the list of feature names": as_text(getattr(estimator, "feature_names_in_", np.zeros(0)).tolist()),
        "X": "sparse" if sparse.issparse(given.X) else "dense",
        "y": f"{_kind_of(given.y)}, {count(columns, 'column')}",
        "sample_weight": "not given" if given.weights is None else "given",
    }


def _kind_of(y: Any) -> str:
    """Return what targets are, so that those of several processes can become one array."""
    if sparse.issparse(y):
        return "sparse"
    text = y.dtype.kind in "UST" or (y.dtype.hasobject and all(isinstance(value, str) for value in y.ravel()))
    return "text" if text else "objects" if y.dtype.hasobject else "numbers"


def _facts_of_rows(estimator: Any, given: Given) -> dict[str, str]:
    """Return what is the same where all processes have the same rows."""
    facts = {
        "the number of rows": str(given.X.shape[0]),
        "the dtype of X": str(given.X.dtype),
        "the dtype of y": given.y.dtype.kind,
    }
    if is_classifier(estimator):
        facts["the list of classes"] = as_text(unique_labels(given.y).tolist())
    for name, array in (("X", given.X), ("y", given.y), ("sample_weight", given.weights)):
        if array is not None:
            facts[f"the checksum of {name}"] = f"{_checksum(array):08x}"
    return facts


def _checksum(array: Any) -> int:
    """Return a checksum of an array or sparse matrix."""
    total = 0
    for part in _parts(array):
        total = checksum_of(part, total)
    return total


def _parts(array: Any) -> tuple[NDArray[Any], ...]:
    """Return the arrays that an array or sparse matrix consists of."""
    if not sparse.issparse(array):
        return (np.asarray(array),)
    rows = array.tocsr()
    return rows.data, rows.indices.astype(np.int64), rows.indptr.astype(np.int64)


def _checksum_of_state(estimator: Any) -> int:
    """Return a checksum of all that a fit goes on with."""
    kept = getattr(estimator, "_optimizer", None)
    state = {} if kept is None else {**kept.state, "rate": np.array([kept.learning_rate])}
    counters = [
        getattr(estimator, name, None) for name in ("_epochs", "_seed", "t_", "best_loss_", "_no_improvement_count")
    ]
    total = checksum_of(np.array(repr(counters)))
    for array in (*estimator._weights(), *dict(sorted(state.items())).values()):
        total = checksum_of(np.asarray(array), total)
    return total


def gather(given: Given) -> Given:
    """Return the rows of all processes, in rank order; called by all of them."""
    world = join()
    with calling_off():
        X, y = _gathered(world, given.X), _gathered(world, given.y)
        weights = None if given.weights is None else _gathered(world, given.weights)
    return replace(given, X=X, y=y, weights=weights)


def _gathered(world: World, array: Any) -> Any:
    """Return everybody's rows of an array or sparse matrix."""
    if not sparse.issparse(array):
        own = array.astype(np.str_) if array.dtype.kind == "T" else np.asarray(array)
        return np.concatenate(world.all_gather_arrays(own))
    parts = [world.all_gather_arrays(part) for part in _parts(array)]
    width = array.shape[1]
    return sparse.vstack(
        [
            sparse.csr_matrix((data, indices, pointers), (len(pointers) - 1, width))
            for data, indices, pointers in zip(*parts, strict=True)
        ],
        format="csr",
    )


def check_shard(given: Given) -> None:
    """Check that targets can be sent to other processes: text, numbers, or objects that are one of the two."""
    y = given.y
    if sparse.issparse(y) or not y.dtype.hasobject:
        return
    if not all(type(value) in (str, int, float, bool) for value in y.ravel()):
        raise DataError(
            "data='sharded' takes labels that are text or numbers; convert them first, as with y.astype(str)"
        )
