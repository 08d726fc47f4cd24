"""From a run's settings to a PyTorch learner."""

from __future__ import annotations

from typing import Any

from manyhands.core.choices import NETWORKS
from manyhands.core.references import follow
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.learners.torch import networks
from manyhands.learners.torch.learner import TorchLearner
from manyhands.learners.torch.optimizers import TorchOptimizer
from manyhands.learners.torch.settings import TorchSettings, check_network
from manyhands.learners.torch.speculative.learner import SpeculativeLearner


def make(
    name: str,
    settings: MLPSettings,
    shape: tuple[int, ...],
    classes: int,
    *,
    torch: TorchSettings,
    module: Any = None,
    rank: int = 0,
    seed: int = 0,
) -> TorchLearner:
    """Return a learner of one of `manyhands.core.choices.PYTORCH`.

    Parameters
    ----------
    name
        Which; ``torch`` for ``module``.
    settings
        Its optimizer; what else they say must be the defaults.
    shape, classes
        Shape of one sample, and number of classes K.
    torch
        What else the user has set.
    module
        A module, a function that makes one, or text that names such a function.
    rank, seed
        See `manyhands.learners.make_learner`.

    Raises
    ------
    SettingsError
        If the module, or a setting, cannot be.
    """
    check_network(name, settings, shape)
    source = networks.maker(name, shape, classes) if name in NETWORKS else module
    source = follow(source) if isinstance(source, str) else source
    optimizer = TorchOptimizer.of(settings, torch.parameter_groups)
    if torch.speculative is not None:
        return SpeculativeLearner(source, optimizer, settings=torch, rank=rank, seed=seed)
    loss = torch.loss_function or "cross_entropy"
    return TorchLearner(source, optimizer, loss, settings=torch, rank=rank, seed=seed)
