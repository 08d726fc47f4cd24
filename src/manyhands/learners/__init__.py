"""Floor 1: models with their optimizers. One folder or file per learner."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from manyhands.core.choices import OTHER_LEARNERS, OTHER_SUMS, PYTORCH, SUMS
from manyhands.core.extras import require

if TYPE_CHECKING:
    from manyhands.core.learner import FitLearner, Learner, SumLearner
    from manyhands.learners.mlp.settings import MLPSettings
    from manyhands.learners.sums.settings import SumsSettings

    AnyLearner = Learner | FitLearner | SumLearner


def _mlp(*network: Any, **others: Any) -> Learner:
    from manyhands.learners.mlp.learner import MLP  # compiled code: only when training begins

    return MLP(*network, **others)


def _published(*network: Any, **others: Any) -> FitLearner:
    from manyhands.learners.sklearn_mlp import Published

    return Published(*network, **others)


def _pytorch(
    name: str, settings: Any, features: int, classes: int, *, sample_shape: Any = None, **others: Any
) -> Learner:
    require("torch")
    from manyhands.learners.torch.making import make
    from manyhands.learners.torch.settings import TorchSettings

    others.setdefault("torch", TorchSettings())
    return make(name, settings, sample_shape or (features,), classes, **others)


def _of_sums(
    name: str, network: MLPSettings, features: int, classes: int, *, sums: SumsSettings | None = None, **others: Any
) -> SumLearner:
    from manyhands.learners.sums.making import make
    from manyhands.learners.sums.settings import SumsSettings

    return make(name, SumsSettings() if sums is None else sums, features, classes, **others)


LEARNERS: dict[str, Callable[..., AnyLearner]] = {
    "mlp": _mlp,
    "published": _published,
    **{name: functools.partial(_of_sums, name) for name in SUMS},
    **{name: functools.partial(_pytorch, name) for name in PYTORCH},
}
"""The makers of all learners by name; their parameters are those of :func:`make_learner` behind the name."""


def register(name: str, maker: Callable[..., AnyLearner], *, sums: bool = False) -> None:
    """Add a learner, which ``learner=name`` then chooses in this process; its maker works like :func:`make_learner`.

    ``sums`` says that it is a `manyhands.core.learner.SumLearner`.
    """
    LEARNERS[name] = maker
    if sums and name not in OTHER_SUMS:
        OTHER_SUMS.append(name)
    if name not in OTHER_LEARNERS:
        OTHER_LEARNERS.append(name)


def make_learner(
    name: str,
    settings: MLPSettings,
    features: int,
    classes: int,
    *,
    rank: int = 0,
    seed: int = 0,
    **others: Any,
) -> AnyLearner:
    """Return a new learner of one of :data:`LEARNERS`, for worker ``rank``.

    ``seed`` is for what it draws by itself: ``published`` everything, others what dropout and augmentation need.
    ``others`` are for PyTorch's learners: ``sample_shape``, ``torch`` and ``module``, see
    `manyhands.learners.torch.making.make`; and for those that are made of sums: ``sums``, their settings. A network
    that is not possible is a SettingsError.
    """
    return LEARNERS[name](settings, features, classes, rank=rank, seed=seed, **others)
