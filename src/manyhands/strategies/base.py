"""Rules whose rounds merge parameters: the options that all of them take, and what a round does with them."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar, TypeVar

import numpy as np

from manyhands import merges
from manyhands.core.errors import SettingsError
from manyhands.core.learner import Model
from manyhands.core.strategy import LocalRule, Needs, RoundContext
from manyhands.core.suggestions import choice_of
from manyhands.core.team import Team
from manyhands.core.types import Vector
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
    """What a round does; the arguments that all strategies with merges take.

    Attributes
    ----------
    merge
        One of `manyhands.merges.MERGES`.
    send
        How numbers are sent: ``"full"`` (as they are), or one of `manyhands.strategies.compression.CODECS`.
    state
        What becomes of the optimizer's vectors: each worker keeps its own, they are averaged, or reset to zero.
    buffers
        Whether buffers (BatchNorm statistics) are averaged in every round, or only in the last.
    starts
        Whether all workers start from the same random parameters, or each from its own.
    """

    merge: str = "examples"
    send: str = "full"
    state: str = "keep"
    buffers: str = "mean"
    starts: str = "same"

    def __post_init__(self) -> None:
        for name, choices in _OPTIONS.items():
            if getattr(self, name) not in choices:
                value = getattr(self, name)
                raise SettingsError(f"{name}={value}{choice_of(value, choices)}")
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


@dataclass(frozen=True)
class RoundState:
    """What a rule that needs to know where the last round ended keeps.

    Attributes
    ----------
    reference : ndarray of shape (size,)
        The parameters after the last round, which all workers have; compressed rounds send differences to them.
    residuals
        The rounding errors of compressed rounds; None if vectors are sent as they are.
    """

    reference: Vector
    residuals: compression.Residuals | None


State = TypeVar("State", bound="RoundState | None")


@dataclass(frozen=True)
class MergeRule(LocalRule[State]):
    """Local steps, and rounds that do what the options say; subclasses say when a round is due.

    Attributes
    ----------
    options
        What a round does.
    """

    options: RoundOptions = RoundOptions()
    once: ClassVar[bool] = False
    """Whether its only round ends the run, so that merges are possible that no training can continue from."""

    def __post_init__(self) -> None:
        if self.options.merge in merges.ONCE and not self.once:
            raise SettingsError(f"merge={self.options.merge} ends a run: it goes with one-shot only")

    @property
    def fusable(self) -> bool:
        """Whether all options that concern full vectors have their defaults."""
        return (self.options.merge, self.options.send, self.options.state) == ("examples", "full", "keep")

    @property
    def needs(self) -> Needs:
        """What the options need."""
        merge = self.options.merge
        return Needs(
            uses_validation=merge in merges.VALIDATING,
            revisits_rows=merge in merges.REVISITING,
            permutes_units=merge in merges.PERMUTING,
            builds_ensemble=merge == "ensemble",
            independent_init=self.options.starts == "own",
        )

    def hold_round_(self, context: RoundContext[State]) -> None:
        """Merge parameters and buffers, and do with the optimizer's state as the options say."""
        learner, state = context.learner, context.state
        self._merge_(context)
        self.outer_step_(context)
        if state is not None:
            state.reference[:] = learner.parameters
        if len(learner.buffers) and (self.options.buffers == "mean" or context.last):
            context.team.mean_(learner.buffers, context.examples)
        self._update_optimizer_(context)

    @abstractmethod
    def outer_step_(self, context: RoundContext[State]) -> None:
        """Replace the parameters, which are those of the merge, by those that all workers continue from."""

    def _merge_(self, context: RoundContext[State]) -> None:
        """Give all workers the same parameters."""
        state = context.state
        if state is None or state.residuals is None:
            merges.MERGES[self.options.merge](context)
            return
        parameters = context.learner.parameters
        parameters -= state.reference
        weight = context.examples if self.options.merge == "examples" else 1.0
        compression.mean_(context.team, parameters, weight, self.options.send, state.residuals)
        parameters += state.reference

    def _update_optimizer_(self, context: RoundContext[State]) -> None:
        """Keep, average or reset the optimizer's state."""
        learner = context.learner
        if self.options.state == "mean":
            average_state_(context.team, learner, context.examples)
        elif self.options.state == "reset":
            learner.steps_taken = 0  # Adam's bias correction counts from here on
            for vector in learner.optimizer_state.values():
                vector[:] = 0


@dataclass(frozen=True)
class DirectRule(MergeRule["RoundState | None"]):
    """A rule after whose merge the workers continue from the merged parameters."""

    def begin_(self, team: Team, learner: Model) -> RoundState | None:
        """Return what compressed rounds need; for full vectors there is no state."""
        residuals = compression.residuals_for(team, learner.parameters, self.options.send)
        return None if residuals is None else RoundState(learner.parameters.copy(), residuals)

    def outer_step_(self, context: RoundContext[RoundState | None]) -> None:
        """Leave the merged parameters."""


def average_state_(team: Team, learner: Model, weight: float = 1.0) -> None:
    """Give all workers the same optimizer state: the mean of its vectors, and the largest step count."""
    for vector in learner.optimizer_state.values():
        team.mean_(vector, weight)
    steps = np.zeros(team.size)
    steps[team.rank] = learner.steps_taken  # a worker without samples in a step has not counted it
    team.sum_(steps)
    learner.steps_taken = int(steps.max())
