"""Steps of a job that all its processes complete, or none: each reports to the others how its own has ended.

A process that raised an error alone would leave the others waiting in their next collective. So whatever may fail
before, or between, collectives is done in a ``with together(team):`` block. At its end every process learns whether all
have completed it, and whether they bring the same: the same call, the same settings, the same data. If not, every
process raises an error, none waits for another any more, and the job can go on with something else.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from manyhands.core.errors import DataError, RankError, SettingsError, WorkerLost
from manyhands.teams.environment import in_job
from manyhands.teams.failures import describe, is_shared, mark_shared, message_of
from manyhands.teams.membership import join
from manyhands.teams.registry import find
from manyhands.teams.world import World

_MOST_SHOWN, _LONGEST_VALUE = 3, 80
CALL = "the call"
"""Name of the fact that comes first: what the user has called."""
_CHECKSUM = "checksum"


@dataclass(frozen=True)
class Facts:
    """What all processes must have in common: settings and data by name, as text.

    Of the data, checksums are compared last: an error mentions them only if nothing else differs. ``hint`` says what to
    do if the data differ.
    """

    settings: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    hint: str = "give every process the same rows in the same order"


class Step:
    """One block that all processes go through together."""

    def __init__(self, world: World | None) -> None:
        self.world = world
        self.facts = Facts()

    @property
    def joint(self) -> bool:
        """Whether several processes go through it."""
        return self.world is not None

    def bring(self, facts: Callable[[], Facts]) -> None:
        """Compare these facts with those of the other processes, if there are any, at the end of the block."""
        if self.joint:
            self.facts = facts()


@contextlib.contextmanager
def together(team: str | None = None) -> Iterator[Step]:
    """Do a block in all processes of a job, or, if it fails in one of them, in none.

    Outside of any job, and for a team whose workers are no processes, it is done as without this function.

    Parameters
    ----------
    team
        The team that the user has asked for; None if the processes have one already.

    Raises
    ------
    RankError
        If it has failed on another rank: of the same kind as there, with that rank's message.
    SettingsError, DataError
        If the processes bring different facts.
    WorkerLost
        If a process is gone.
    """
    world = _others(team)
    step = Step(world)
    if world is None:
        yield step
        return
    with calling_off(team):
        try:
            yield step
        except Exception as error:
            if not is_shared(error) and not _over(world, error):
                _exchange(world, Facts(), error)
                mark_shared(error, f"(on rank {world.rank} of {world.job} of {world.size})")
            raise
        _exchange(world, step.facts, None)


@contextlib.contextmanager
def calling_off(team: str | None = None) -> Iterator[None]:
    """Do a block; if it fails in this process and the others cannot know it, end the job for all."""
    try:
        yield
    except BaseException as error:
        world = _others(team)
        if world is not None and not is_shared(error):
            world.call_off(world.rank, describe(error))
        raise


def _others(team: str | None) -> World | None:
    """Return the job that this process is one of several in, unless the team has no processes.

    An unknown team is compared like everything else before it is refused: the others may have named another one.
    """
    kind = find(team)
    if not in_job() or (kind is not None and not kind.processes):
        return None
    world = join()
    return world if world.size > 1 else None


def _over(world: World, error: Exception) -> bool:
    """Return whether the whole job is ending anyway."""
    return isinstance(error, WorkerLost) or (world.watch is not None and world.watch.lost is not None)


def _exchange(world: World, facts: Facts, error: Exception | None) -> None:
    """Send all processes the outcome of a block; raise if it has failed on others, or if their facts differ."""
    mine: dict[str, Any] = {"settings": facts.settings, "data": facts.data}
    if error is not None:
        mine = {"kinds": RankError.kinds_of(error), "message": message_of(error)}
    everyone = [json.loads(text) for text in world.all_gather_texts(json.dumps(mine))]
    if error is not None:
        return
    failed = [rank for rank, outcome in enumerate(everyone) if "message" in outcome]
    found: Exception | None = None
    if failed:
        first = everyone[failed[0]]
        found = RankError.of(failed[0], first["message"], tuple(first["kinds"]))
    else:
        found = difference(everyone, facts.hint)
    if found is not None:
        mark_shared(found)
        raise found


def difference(everyone: Sequence[dict[str, dict[str, str]]], hint: str) -> SettingsError | DataError | None:
    """Return the error that says in what the processes differ; None if they do not.

    ``everyone`` has the ``settings`` and ``data`` of each process, by rank; see :class:`Facts`.
    """
    settings = _differing([each["settings"] for each in everyone])
    if settings and settings[0].startswith(CALL):
        settings = settings[:1]  # then nothing else can be compared
    if settings:
        return SettingsError(f"ranks differ: {_shown(settings)}; call it with the same arguments in every process")
    data = _differing([each["data"] for each in everyone])
    telling = [line for line in data if _CHECKSUM not in line] or data
    return DataError(f"ranks differ: {_shown(telling)}; {hint}") if data else None


def _differing(facts: Sequence[dict[str, str]]) -> list[str]:
    """Return a line for each fact that is not the same everywhere, in the order of the facts."""
    names = dict.fromkeys(name for each in facts for name in each)
    lines = []
    for name in names:
        ranks: dict[str, list[int]] = {}
        for rank, each in enumerate(facts):
            ranks.setdefault(each.get(name, "not there"), []).append(rank)
        if len(ranks) > 1:
            lines.append(
                f"{name} is " + _joined([f"{_short(value)} on {_named(some)}" for value, some in ranks.items()])
            )
    return lines


def _shown(lines: Sequence[str]) -> str:
    """Return the first lines as one, and how many more there are."""
    rest = len(lines) - _MOST_SHOWN
    return "; ".join(lines[:_MOST_SHOWN]) + (f"; and {rest} more" if rest > 0 else "")


def _named(ranks: Sequence[int]) -> str:
    """Return ``rank 1``, ``ranks 0 and 2``."""
    return f"rank{'s' if len(ranks) > 1 else ''} {_joined([str(rank) for rank in ranks])}"


def _joined(parts: Sequence[str]) -> str:
    """Return ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _short(value: str) -> str:
    """Return a value, or its beginning and a checksum of all of it: long ones may begin alike."""
    if len(value) <= _LONGEST_VALUE:
        return value
    return f"{value[:_LONGEST_VALUE]} ... (checksum {zlib.crc32(value.encode(errors='surrogatepass')):08x})"


def as_facts(record: dict[str, Any]) -> dict[str, str]:
    """Return plain data as facts: numbers that are equal have the same text, whatever their type."""
    return {name: as_text(value) for name, value in record.items()}


def as_text(value: Any) -> str:
    """Return one value as text; strategies and the like by their name."""
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(as_text, value))}{',' if len(value) == 1 else ''})"
    if isinstance(getattr(value, "name", None), str):
        return str(value.name)
    if type(value).__name__ in ("bool", "bool_") or isinstance(value, str):
        return str(value)
    if isinstance(value, Integral):
        return str(int(value))
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return str(value)
    return str(int(number)) if number.is_integer() else repr(number)
