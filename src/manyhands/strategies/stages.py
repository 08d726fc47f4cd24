"""Strategies that follow each other: composed ones, and two that are known by names of their own.

- ``gradient@20% then periodic:1epoch``: as written.
- ``post-local:16``: gradients until the learning rate first drops, local steps from there on (Lin et al. 2018, arXiv
  1808.07217). Without such a drop, half of the epochs each.
- ``swap:75%``: synchronous steps with batches n times as large, then each worker alone with small ones, and one mean at
  the end (Gupta, Serrano & DeCoste 2020, arXiv 2001.02312). Theirs gave every worker all rows in the second stage; here
  all workers together go through them once an epoch, so that it costs what any other strategy does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from manyhands import merges
from manyhands.core.errors import SettingsError
from manyhands.core.learner import Learner
from manyhands.core.lengths import Length, Period
from manyhands.core.strategy import RoundContext, Stage, Strategy
from manyhands.core.team import Team
from manyhands.core.types import Sharding, Vector
from manyhands.strategies.base import LocalStrategy, OneStage, RoundOptions
from manyhands.strategies.gradient import SCALES, Gradient
from manyhands.strategies.one_shot import OneShot
from manyhands.strategies.periodic import Periodic

_TRAINED_TOGETHER = "its workers have trained together, so no own starts, and no such merge: that is for one-shot"


def _any(flag: str) -> Any:
    """Return a property that holds if it holds for any part."""
    return property(lambda strategy: any(getattr(part, flag) for part in strategy.parts), doc=f"`{flag}` of any part.")


class Staged(OneStage):
    """A strategy whose stages are other strategies, at least two; it is never asked for rounds itself.

    What it needs and does is what any of its parts needs and does.
    """

    parts: tuple[Strategy, ...]

    talks_inside_steps = _any("talks_inside_steps")
    alone = _any("alone")
    shared_memory = _any("shared_memory")
    validates = _any("validates")
    revisits_rows = _any("revisits_rows")
    side_by_side = _any("side_by_side")
    own_starts = _any("own_starts")

    @property
    def plain(self) -> bool:
        """Whether all parts are."""
        return all(part.plain for part in self.parts)

    @property
    def passes(self) -> int:  # type: ignore[override]
        """The most that any part makes."""
        return max(part.passes for part in self.parts)

    @property
    def sharding(self) -> Sharding:  # type: ignore[override]
        """Fixed if all parts have it so."""
        return "fixed" if all(part.sharding == "fixed" for part in self.parts) else "global"

    def next_round(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """Never called."""
        raise AssertionError("the stages hold the rounds")

    def begin_(self, team: Team, learner: Learner) -> dict[str, Vector]:
        """Never called."""
        raise AssertionError("the stages hold the rounds")

    def merge_gradient_(self, team: Team, gradient: Vector, examples: float, memory: dict[str, Vector]) -> None:
        """Never called."""
        raise AssertionError("the stages hold the rounds")

    def hold_round_(self, context: RoundContext) -> None:
        """Never called."""
        raise AssertionError("the stages hold the rounds")


@dataclass(frozen=True)
class Composed(Staged):
    """One strategy after the other.

    Attributes
    ----------
    parts
        The strategies, at least two.
    lengths
        Of all but the last.
    """

    parts: tuple[Strategy, ...]
    lengths: tuple[Length, ...]

    def __post_init__(self) -> None:
        alone = next((part.name for part in self.parts if not part.parallel), None)
        if alone is not None:
            raise SettingsError(f"{alone} is for one worker from beginning to end: it cannot be a part of {self.name}")
        for part in self.parts:
            if isinstance(part, LocalStrategy) and part.options.merge in merges.ONCE:
                raise SettingsError(f"{self.name}: merge={part.options.merge} goes with one-shot alone")
        if any(part.own_starts for part in self.parts[1:]):
            raise SettingsError(f"{self.name}: only the first part can have starts=own")

    @property
    def name(self) -> str:
        """As ``"gradient@20% then periodic:1epoch"``."""
        first = [f"{part.name}@{length}" for part, length in zip(self.parts[:-1], self.lengths, strict=True)]
        return " then ".join([*first, self.parts[-1].name])

    def stages(self, epochs: int, workers: int, first_decay: int | None) -> tuple[Stage, ...]:
        """Those of all parts, in whole epochs."""
        ends = _ends([length.epochs(epochs) for length in self.lengths], epochs, self.name)
        found: list[Stage] = []
        for part, begin, end in zip(self.parts, [0, *ends], [*ends, epochs], strict=True):
            decay = None if first_decay is None or not begin < first_decay < end else first_decay - begin
            found += part.stages(end - begin, workers, decay)
        return tuple(found)


def _ends(lengths: Sequence[float], epochs: int, name: str) -> list[int]:
    """Return after how many whole epochs each part but the last ends; every part lasts one at least.

    Raises
    ------
    SettingsError
        If there are too few epochs.
    """
    ends: list[int] = []
    total = 0.0
    for length in lengths:
        if length <= 0:
            raise SettingsError(f"{name}: a part of no length is no part; leave it out")
        total += length
        ends.append(max(round(total), (ends[-1] if ends else 0) + 1))
    if ends[-1] >= epochs:
        raise SettingsError(
            f"{name}: its first {len(lengths)} part{'s' if len(lengths) > 1 else ''} would take {ends[-1]} epochs of "
            f"{epochs}, and the last at least one; shorten them, or train longer"
        )
    return ends


@dataclass(frozen=True)
class PostLocal(Staged):
    """Gradients first, local steps later.

    Attributes
    ----------
    every, options
        Of the local steps.
    after
        How long gradients are averaged; None: until the learning rate first drops, or half of the epochs.
    """

    every: Period = Period(16, "step")
    after: Length | None = None
    options: RoundOptions = RoundOptions()

    def __post_init__(self) -> None:
        if self.options.merge in merges.ONCE or self.options.starts == "own":
            raise SettingsError(f"{self.name}: {_TRAINED_TOGETHER}")

    @classmethod
    def parse(cls, every: str = "16", *, options: RoundOptions, after: str | None = None) -> PostLocal:
        """Read ``16,after=50%``.

        Raises
        ------
        SettingsError
            If a value cannot be.
        """
        until = None if after is None else Length.parse(after, "post-local:after")
        return cls(Period.parse(every, "post-local"), until, options)

    @property
    def name(self) -> str:
        """As ``"post-local:16"`` or ``"post-local:16,after=25%"``."""
        return f"post-local:{self.every}{'' if self.after is None else f',after={self.after}'}{self.options}"

    @property
    def parts(self) -> tuple[Strategy, ...]:  # type: ignore[override]
        """Gradients, then local steps."""
        return Gradient(), Periodic(self.options, self.every)

    def stages(self, epochs: int, workers: int, first_decay: int | None) -> tuple[Stage, ...]:
        """Two."""
        drop = epochs / 2 if first_decay is None else first_decay
        end = _ends([drop if self.after is None else self.after.epochs(epochs)], epochs, self.name)[0]
        together, apart = self.parts
        return Stage(together, end), Stage(apart, epochs - end)


@dataclass(frozen=True)
class SWAP(Staged):
    """Large batches together, then small ones alone.

    Attributes
    ----------
    first
        How long the first stage is.
    scale
        How the learning rate of large batches grows, see `manyhands.strategies.gradient`.
    options
        Of the one round at the end.
    """

    first: Length = Length(75, "%")
    scale: str = "sqrt"
    options: RoundOptions = RoundOptions()

    def __post_init__(self) -> None:
        if self.options.merge in merges.ONCE or self.options.starts == "own":
            raise SettingsError(f"{self.name}: {_TRAINED_TOGETHER}")

    @classmethod
    def parse(cls, first: str = "75%", *, options: RoundOptions, scale: str = "sqrt") -> SWAP:
        """Read ``75%,scale=linear``.

        Raises
        ------
        SettingsError
            If a value cannot be.
        """
        if scale not in SCALES:
            raise SettingsError(f"swap:scale={scale}: choose one of {', '.join(SCALES)}")
        return cls(Length.parse(first, "swap"), scale, options)

    @property
    def name(self) -> str:
        """As ``"swap:75%"`` or ``"swap:75%,scale=linear"``."""
        return f"swap:{self.first}{'' if self.scale == 'sqrt' else f',scale={self.scale}'}{self.options}"

    @property
    def parts(self) -> tuple[Strategy, ...]:  # type: ignore[override]
        """Gradients of large batches, then local steps to the end."""
        return Gradient(scale=self.scale), OneShot(self.options)

    def stages(self, epochs: int, workers: int, first_decay: int | None) -> tuple[Stage, ...]:
        """Two."""
        end = _ends([self.first.epochs(epochs)], epochs, self.name)[0]
        together, apart = self.parts
        return Stage(together, end, batch_factor=workers), Stage(apart, epochs - end)
