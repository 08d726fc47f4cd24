"""What a user can set about failures: checkpoints, going on from them, and what follows the loss of a worker."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from manyhands.core.cadence import Cadence
from manyhands.core.checks import positive_real, shortened, truth, whole
from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.settings import check_settings, positive, setting, setting_fields, share, whole_number

END, CONTINUE, RESTART = ON_LOSS = "end", "continue", "restart"


def _folder(name: str, value: Any) -> str:
    """Return the path of a folder as text."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise SettingsError(f"{name} must name a folder, not {shortened(value)}")
    return os.fsdecode(value)


def _cadence(_name: str, value: Any) -> str:
    """Return the canonical text of the time between two checkpoints."""
    return str(value if isinstance(value, Cadence) else Cadence.parse(str(value)))


@dataclass(frozen=True, kw_only=True)
class ReliabilitySettings:
    """What becomes of a run when something fails; each field says what it is in its metadata.

    Raises
    ------
    SettingsError
        If a value cannot be, or nothing would come of it.
    """

    checkpoint: str | None = setting(
        None,
        "write checkpoints into this folder, from which --resume goes on bit for bit",
        "reliability",
        metavar="DIR",
        check=_folder,
    )
    every: str = setting(
        "30s",
        "how often: 5epochs, 60s, 100rounds; less often where that would cost too much",
        "reliability",
        metavar="T",
        check=_cadence,
    )
    keep: int = setting(
        3,
        "how many checkpoints are kept; older ones are removed",
        "reliability",
        metavar="K",
        read=positive,
        check=partial(whole, least=1),
    )
    checkpoint_cost: float = setting(
        0.01,
        "the largest part of the training time that checkpoints may cost: where one would cost more, it waits",
        "reliability",
        metavar="C",
        read=share,
        check=positive_real,
    )
    resume: str | None = setting(
        None,
        "go on from the newest readable checkpoint in this folder, with its settings, and write the next ones there",
        "reliability",
        metavar="DIR",
        check=_folder,
    )
    on_loss: str = setting(
        END,
        "when a worker is lost: end with a message, continue without it (threads; mpi with mpiexec --with-ft ulfm), or "
        "restart from the last checkpoint",
        "reliability",
        metavar="A",
        choices=ON_LOSS,
    )
    max_restarts: int = setting(
        3,
        "with restart: how many times at most",
        "reliability",
        metavar="N",
        read=whole_number,
        check=partial(whole, least=0),
    )
    verify: bool = setting(
        False,
        "check after every round that all workers hold the same, finite parameters; rounds then leave compiled code",
        "reliability",
        check=truth,
    )

    attempt: int = 0
    """How many times the run has been started again by itself."""

    def __post_init__(self) -> None:
        check_settings(self)

    @cached_property
    def cadence(self) -> Cadence:
        """How often a checkpoint is due."""
        return Cadence.parse(self.every)

    @property
    def folder(self) -> str | None:
        """Where checkpoints are written; None: nowhere."""
        return self.checkpoint or self.resume

    @property
    def continues(self) -> bool:
        """Whether a run goes on without workers that are lost."""
        return self.on_loss == CONTINUE

    @property
    def restarts(self) -> bool:
        """Whether a run begins again from its last checkpoint when a worker is lost."""
        return self.on_loss == RESTART

    @property
    def needs_all_rows(self) -> bool:
        """Whether every process needs all rows: other teams may go on, or a worker may take over those of others."""
        return self.continues or self.folder is not None

    def check(self) -> None:
        """Check that no setting is without effect; it is a SettingsError otherwise."""
        usual = ReliabilitySettings()
        for name, needed, there in (
            ("every", ("checkpoint", "resume"), self.folder is not None or self.restarts),
            ("keep", ("checkpoint", "resume"), self.folder is not None),
            ("checkpoint_cost", ("checkpoint", "resume"), self.folder is not None or self.restarts),
            ("max_restarts", (), self.restarts),
        ):
            if getattr(self, name) != getattr(usual, name) and not there:
                other = " or ".join(map(parameter, needed)) or parameter("on_loss", RESTART)
                raise SettingsError(f"{parameter(name)} has no effect without {other}")

    def changed(self, **settings: Any) -> ReliabilitySettings:
        """Return these settings with others in their place."""
        return replace(self, **settings)


KEPT = ("every", "keep", "checkpoint_cost", "on_loss", "max_restarts", "verify")
"""What a run that is resumed takes over, if it is not given again."""
NAMES = tuple(each.name for each, _ in setting_fields(ReliabilitySettings))
"""Studies, which have journals instead, take none of these."""
