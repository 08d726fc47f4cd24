"""What users set about learners that are made of sums. NumPy-free: the command line's help is made of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import partial
from numbers import Integral
from typing import Any

from manyhands.core.checks import positive_real, real, shortened, truth, whole
from manyhands.core.errors import SettingsError
from manyhands.core.settings import amount, check_settings, positive, setting

LDA_SOLVERS = ("svd", "lsqr", "eigen")
QDA_SOLVERS = ("svd", "eigen")
CRITERIA = ("gini", "entropy", "log_loss", "squared_error", "friedman_mse", "poisson")
"""Of impurity, as scikit-learn calls them: the first three for classes, the others for numbers."""
SPLITTERS = ("best", "random")
_WORDS = ("all", "sqrt", "log2")
_COUNT = partial(whole, least=1)


def _not_negative(name: str, value: Any) -> float:
    """Return a finite number from 0 on."""
    found = real(name, value)
    if not 0 <= found < math.inf:
        raise SettingsError(f"{name} must be a number from 0 on, not {shortened(value)}")
    return found


def _share(name: str, value: Any) -> float:
    """Return a number from 0 to 1."""
    if not 0 <= real(name, value) <= 1:
        raise SettingsError(f"{name} must be a number from 0 to 1, not {shortened(value)}")
    return float(value)


def _shrinkage(name: str, value: Any) -> float | str:
    """Return ``"auto"`` or a number from 0 to 1."""
    return value if isinstance(value, str) and value == "auto" else _share(name, value)


def _read_shrinkage(text: str) -> float | str:
    return text if text == "auto" else float(text)


def _max_features(name: str, value: Any) -> int | float | str:
    """Return a word, a share (a float) or a number (an int) of features."""
    if isinstance(value, str):
        if value not in _WORDS:
            raise SettingsError(f"{name} must be one of {', '.join(_WORDS)}, a share or a number, not {value!r}")
        return value
    if isinstance(value, Integral) and not isinstance(value, bool):
        return whole(name, value, least=1)
    if not 0 < real(name, value) <= 1:
        raise SettingsError(f"{name} must be a share of the features in (0, 1], not {shortened(value)}")
    return float(value)


def _read_max_features(text: str) -> int | float | str:
    if text in _WORDS:
        return text
    return positive(text) if text.isdigit() else amount(text)


@dataclass(frozen=True)
class SumsSettings:
    """What a user sets about a learner that is made of sums; the names are scikit-learn's.

    Each field says what it is in its metadata. What has no group can be set from Python only.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """

    var_smoothing: float = setting(
        1e-9,
        "gaussian-nb: this share of the largest variance is added to all of them",
        "classifiers",
        metavar="V",
        read=float,
        check=_not_negative,
    )
    alpha: float = setting(
        1.0,
        "multinomial-nb, bernoulli-nb: counts that are added to all (additive smoothing)",
        "classifiers",
        metavar="A",
        read=amount,
        check=positive_real,
    )
    lda_solver: str = setting("svd", "lda: how it is solved, as in scikit-learn", "classifiers", choices=LDA_SOLVERS)
    shrinkage: float | str | None = setting(
        None,
        "qda, and lda with lsqr or eigen: from 0 (covariances as they are) to 1 (diagonal), or auto (Ledoit-Wolf)",
        "classifiers",
        metavar="S",
        read=_read_shrinkage,
        check=_shrinkage,
    )
    reg_param: float = setting(
        0.0,
        "qda: from 0 (covariances as they are) to 1 (unit matrices)",
        "classifiers",
        metavar="R",
        read=float,
        check=_share,
    )
    max_depth: int | None = setting(
        None,
        "tree, forest: most splits above a leaf (default: until leaves are pure)",
        "classifiers",
        metavar="D",
        read=positive,
        check=_COUNT,
    )
    min_samples_leaf: int = setting(
        1, "tree, forest: fewest samples of a leaf", "classifiers", metavar="M", read=positive, check=_COUNT
    )
    criterion: str = setting("gini", "tree, forest: what a split makes smaller", "classifiers", choices=CRITERIA)
    n_estimators: int = setting(100, "forest: how many trees", "classifiers", metavar="T", read=positive, check=_COUNT)
    max_features: int | float | str | None = setting(
        None,
        "tree, forest: features looked at for a split: all, sqrt, log2, a share or a number (default: all; of a "
        "forest sqrt)",
        "classifiers",
        metavar="F",
        read=_read_max_features,
        check=_max_features,
    )
    binarize_at: float = setting(0.0, "bernoulli-nb: larger inputs count as 1", "", check=real)
    tol: float = setting(1e-4, "lda, qda: singular values that are smaller count as 0", "", check=_not_negative)
    qda_solver: str = setting("svd", "qda: how it is solved, as in scikit-learn", "", choices=QDA_SOLVERS)
    class_covariances: bool = setting(
        False, "lda: find one covariance for each class, whatever the solver", "", check=truth
    )
    priors: tuple[float, ...] | None = setting(None, "probability of each class (default: as in the samples)", "")
    splitter: str = setting("best", "tree: the best threshold of each feature, or one at random", "", choices=SPLITTERS)
    min_samples_split: int = setting(
        2, "tree, forest: fewest samples that are split", "", check=partial(whole, least=2)
    )
    min_weight_leaf: float = setting(0.0, "tree, forest: least weight of a leaf", "", check=_not_negative)
    min_impurity_decrease: float = setting(0.0, "tree, forest: least gain of a split", "", check=_not_negative)
    max_leaf_nodes: int | None = setting(
        None, "tree, forest: most leaves, the best splits first", "", check=partial(whole, least=2)
    )
    ccp_alpha: float = setting(
        0.0, "tree, forest: cost of a leaf (minimal cost-complexity pruning)", "", check=_not_negative
    )
    bootstrap: bool = setting(True, "forest: each tree has rows drawn with replacement", "", check=truth)
    max_samples: int | None = setting(None, "forest: how many rows are drawn for a tree", "", check=_COUNT)

    def __post_init__(self) -> None:
        if self.priors is not None:
            object.__setattr__(self, "priors", tuple(map(float, self.priors)))
        check_settings(self)

    def changed(self, **settings: Any) -> SumsSettings:
        """Return other settings."""
        return replace(self, **settings)


_TREES = ("tree", "forest")
_GRAMS = ("lda", "qda")
OF: dict[str, tuple[str, ...]] = {
    "var_smoothing": ("gaussian-nb",),
    "alpha": ("multinomial-nb", "bernoulli-nb", "categorical-nb"),
    "binarize_at": ("bernoulli-nb",),
    "lda_solver": ("lda",),
    "qda_solver": ("qda",),
    "shrinkage": _GRAMS,
    "reg_param": ("qda",),
    "class_covariances": ("lda",),
    "tol": _GRAMS,
    "priors": ("gaussian-nb", *_GRAMS),
    "n_estimators": ("forest",),
    "bootstrap": ("forest",),
    "max_samples": ("forest",),
    "splitter": ("tree",),
    **dict.fromkeys(("max_depth", "min_samples_leaf", "criterion", "max_features", "min_samples_split"), _TREES),
    **dict.fromkeys(("min_weight_leaf", "min_impurity_decrease", "max_leaf_nodes", "ccp_alpha"), _TREES),
}
"""The learners that know each setting."""


def own_settings(learner: str, settings: SumsSettings) -> dict[str, Any]:
    """Return the settings that a learner knows, by name."""
    return {each.name: getattr(settings, each.name) for each in fields(settings) if learner in OF[each.name]}


def settings_text(learner: str, settings: SumsSettings) -> str:
    """Return a learner's name and those of its settings that are not the default ones, in words."""
    usual = own_settings(learner, SumsSettings())
    own = [f"{name} {value}" for name, value in own_settings(learner, settings).items() if value != usual[name]]
    return ", ".join([learner, *own])
