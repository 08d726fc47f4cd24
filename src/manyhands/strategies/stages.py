"""Strategies of several parts: composed ones, and two that have names of their own.

- ``gradient@20% then periodic:1epoch``: one part after the other.
- ``post-local:16``: gradients until the learning rate first drops, local steps from there on (Lin et al. 2018, arXiv
  1808.07217). If it never drops, half of the epochs each.
- ``swap:75%``: synchronous steps with batches n times as large, then each worker trains independently with small ones,
  and one mean at the end (Gupta, Serrano & DeCoste 2020, arXiv 2001.02312). In the paper every worker sees all samples
  in the second stage; here all workers together do, once an epoch, so that it costs what any other strategy does.
"""

from __future__ import annotations

from collections.abc import Sequence

from manyhands import merges
from manyhands.core.errors import SettingsError
from manyhands.core.lengths import Length, Period
from manyhands.core.strategy import Strategy
from manyhands.core.suggestions import choice_of
from manyhands.strategies.base import MergeRule, RoundOptions
from manyhands.strategies.gradient import SCALES, Gradient
from manyhands.strategies.one_shot import OneShot
from manyhands.strategies.periodic import Periodic


def compose(parts: Sequence[Strategy], lengths: Sequence[Length]) -> Strategy:
    """Return the strategy ``first@length then second@length then ... then last``.

    There are at least two parts, and lengths for all but the last. A part that makes sense only as the whole of a run
    is a SettingsError.
    """
    written = [f"{part.name}@{length}" for part, length in zip(parts[:-1], lengths, strict=True)]
    name = " then ".join([*written, parts[-1].name])
    for part in parts:
        if part.needs.one_worker_only:
            raise SettingsError(f"{part.name} is for one worker from beginning to end: it cannot be a part of {name}")
        for rule in part.rules:
            if isinstance(rule, MergeRule) and rule.options.merge in merges.ONCE:
                raise SettingsError(f"{name}: merge={rule.options.merge} goes with one-shot alone")
    if any(part.needs.independent_init for part in parts[1:]):
        raise SettingsError(f"{name}: only the first part can have starts=own")
    return Strategy(name, tuple(parts), tuple(lengths))


def post_local(every: str = "16", *, options: RoundOptions, after: str | None = None) -> Strategy:
    """Read ``16,after=50%``: gradients first, local steps later."""
    period = Period.parse(every, "post-local")
    first = None if after is None else Length.parse(after, "post-local:after")
    name = f"post-local:{period}{'' if first is None else f',after={first}'}{options}"
    _check_options(options, name)
    return Strategy(name, (Gradient(), Periodic(options, period)), (first,))


def swap(first: str = "75%", *, options: RoundOptions, scale: str = "sqrt") -> Strategy:
    """Read ``75%,scale=linear``: large batches together, then small ones independently."""
    if scale not in SCALES:
        raise SettingsError(f"swap:scale={scale}{choice_of(scale, SCALES)}")
    length = Length.parse(first, "swap")
    name = f"swap:{length}{'' if scale == 'sqrt' else f',scale={scale}'}{options}"
    _check_options(options, name)
    return Strategy(name, (Gradient(scale=scale, large_batch=True), OneShot(options)), (length,))


def _check_options(options: RoundOptions, name: str) -> None:
    """Check options for workers that have the same parameters before their local steps."""
    if options.merge in merges.ONCE or options.starts == "own":
        raise SettingsError(
            f"{name}: its workers have trained together, so no own starts, and no such merge: that is for one-shot"
        )
