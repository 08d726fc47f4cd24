"""Floor 1: models with their optimizers. One folder or file per learner."""

from __future__ import annotations

from manyhands.learners.mlp.network import MLPSettings
from manyhands.protocols import Learner

LEARNERS = ("mlp", "published")


def make_learner(
    name: str, settings: MLPSettings, features: int, classes: int, *, rank: int = 0, seed: int = 0
) -> Learner:
    """Return a new learner of one of :data:`LEARNERS`.

    Parameters
    ----------
    name
        Which.
    settings, features, classes
        Its network.
    rank
        The worker it belongs to, for messages.
    seed
        Of what it draws by itself: ``published`` everything, ``mlp`` its dropout.

    Raises
    ------
    SettingsError
        If the network is not possible.
    """
    if name == "published":
        from manyhands.learners.published import Published

        return Published(settings, features, classes, rank=rank, seed=seed)
    from manyhands.learners.mlp.learner import MLP  # compiled code: only when training begins

    return MLP(settings, features, classes, rank=rank, seed=seed)
