"""What studies of networks say to learners without epochs; it imports little, as requests do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manyhands.core.errors import SettingsError

if TYPE_CHECKING:
    from manyhands.training.spec import RunSpec


def check_has_epochs(spec: RunSpec, study: str) -> None:
    """Raise SettingsError if a study of networks is asked for a learner that is made of sums."""
    if spec.needs.sums:
        raise SettingsError(
            f"{study} is about hidden layers, epochs and learning rates, and the learner {spec.learner} has none: "
            "compare numbers of workers with manyhands compare, and classifiers with manyhands study classifiers"
        )
