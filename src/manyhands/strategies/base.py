"""What strategies have in common: one stage, no rounds inside steps, and what a round does unless told otherwise."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from manyhands import merges
from manyhands.core.errors import SettingsError
from manyhands.core.learner import Learner
from manyhands.core.strategy import RoundContext, Stage
from manyhands.core.team import Team
from manyhands.core.types import Sharding, Vector
from manyhands.strategies import compression

SENDS = ("full", *compression.CODECS)
_OPTIONS = {
    "merge": tuple(merges.MERGES),
    "send": SENDS,
    "state": ("keep", "mean", "reset"),
    "buffers": ("mean", "keep"),
    "starts": ("same", "own"),
}
_MEANS = ("examples", "mean")


@dataclass(frozen=True)
class RoundOptions:
    """What a round of a local strategy does; the arguments that all of them take.

    Attributes
    ----------
    merge
        One of `manyhands.merges.MERGES`.
    send
        What numbers are sent as: ``"full"`` (as they are), or one of `manyhands.strategies.compression.CODECS`.
    state
        What becomes of the optimizer's vectors: each worker keeps its own, they are averaged, or reset to zero.
    buffers
        What is averaged but not trained (BatchNorm statistics): averaged in every round, or only in the last.
    starts
        Whether all workers begin with the same random network or each with its own.
    """

    merge: str = "examples"
    send: str = "full"
    state: str = "keep"
    buffers: str = "mean"
    starts: str = "same"

    def __post_init__(self) -> None:
        for name, choices in _OPTIONS.items():
            if getattr(self, name) not in choices:
                raise SettingsError(f"{name}={getattr(self, name)}: choose one of {', '.join(choices)}")
        if self.merge == "bootstrap" and self.starts == "own":
            raise SettingsError("merge=bootstrap corrects trainings from one start: it does not go with starts=own")
        if self.send != "full" and (self.merge not in _MEANS or self.starts == "own"):
            raise SettingsError(
                f"send={self.send} sends differences to the last mean, which only merge={' or merge='.join(_MEANS)} "
                "from one start can use"
            )

    def __str__(self) -> str:
        changed = [each for each in fields(self) if getattr(self, each.name) != each.default]
        return "".join(f",{each.name}={getattr(self, each.name)}" for each in changed)


OPTION_NAMES = tuple(each.name for each in fields(RoundOptions))


class OneStage:
    """What strategies are unless they say otherwise: one stage, at the rates of the schedule."""

    parallel: ClassVar[bool] = True
    sharding: ClassVar[Sharding] = "global"
    alone: bool = False
    shared_memory: ClassVar[bool] = False
    validates: bool = False
    revisits_rows: bool = False
    own_starts: bool = False
    side_by_side: bool = False
    passes: int = 1

    def stages(self, epochs: int, workers: int, first_decay: int | None) -> tuple[Stage, ...]:
        """One."""
        return (Stage(self, epochs),)  # type: ignore[arg-type]  # subclasses are whole strategies

    def rate_factors(
        self, at: NDArray[np.int64], workers: int, growth: float, steps_per_epoch: int, steps: int
    ) -> NDArray[np.float64]:
        """1."""
        return np.ones(len(at))


@dataclass(frozen=True)
class LocalStrategy(OneStage):
    """Workers train alone between rounds; subclasses say when a round is due.

    Attributes
    ----------
    options
        What a round does.
    """

    options: RoundOptions = RoundOptions()
    talks_inside_steps: ClassVar[bool] = False
    once: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.options.merge in merges.ONCE and not self.once:
            raise SettingsError(f"merge={self.options.merge} ends a run: it goes with one-shot only")

    def check_plain_options(self) -> None:
        """Refuse options: for strategies that hold no rounds of that kind."""
        if self.options != RoundOptions():
            raise SettingsError(f"these workers hold no rounds that could have arguments ({self.options})")

    @property
    def plain(self) -> bool:
        """Whether a round is the mean, by examples, and nothing else."""
        return (self.options.merge, self.options.send, self.options.state) == ("examples", "full", "keep")

    @property
    def validates(self) -> bool:  # type: ignore[override]
        """Whether its merge looks at validation rows."""
        return self.options.merge in merges.VALIDATING

    @property
    def revisits_rows(self) -> bool:  # type: ignore[override]
        """Whether its merge computes on training rows again."""
        return self.options.merge in merges.REVISITING

    @property
    def own_starts(self) -> bool:  # type: ignore[override]
        """Whether every worker has a random start of its own."""
        return self.options.starts == "own"

    @property
    def side_by_side(self) -> bool:  # type: ignore[override]
        """Whether the workers' networks are not merged but joined."""
        return self.options.merge == "ensemble"

    def begin_(self, team: Team, learner: Learner) -> dict[str, Vector]:
        """Remember where compressed differences count from."""
        return {} if self.options.send == "full" else {"base": learner.parameters.copy()}

    def merge_gradient_(self, team: Team, gradient: Vector, examples: float, memory: dict[str, Vector]) -> None:
        """Never called, as no step talks."""
        raise AssertionError("a local strategy holds no rounds inside steps")

    def hold_round_(self, context: RoundContext) -> None:
        """Merge parameters and buffers, and do with the optimizer's state as the options say."""
        self._merge_(context)
        if len(context.learner.buffers) and (self.options.buffers == "mean" or context.last):
            context.team.mean_(context.learner.buffers, context.examples)
        self._settle_state_(context)

    def _merge_(self, context: RoundContext) -> None:
        """Make the parameters one."""
        if self.options.send == "full":
            merges.MERGES[self.options.merge](context)
            return
        parameters, base = context.learner.parameters, context.memory["base"]
        parameters -= base
        weight = context.examples if self.options.merge == "examples" else 1.0
        compression.mean_(context.team, parameters, weight, self.options.send, context.memory)
        parameters += base
        base[:] = parameters

    def _settle_state_(self, context: RoundContext) -> None:
        """Keep, average or reset the optimizer's state."""
        learner = context.learner
        if self.options.state == "mean":
            average_state_(context.team, learner, context.examples)
        elif self.options.state == "reset":
            learner.steps_taken = 0  # Adam's bias correction counts from here on
            for vector in learner.optimizer_state.values():
                vector[:] = 0


def average_state_(team: Team, learner: Learner, weight: float = 1.0) -> None:
    """Give all workers the same optimizer state: the mean of its vectors, and the largest step count."""
    for vector in learner.optimizer_state.values():
        team.mean_(vector, weight)
    steps = np.zeros(team.size)
    steps[team.rank] = learner.steps_taken  # who had no rows in a step has not taken it
    team.sum_(steps)
    learner.steps_taken = int(steps.max())
