"""How workers are divided between the levels of parallelism: ``data=2,node=2`` are four workers.

Workers along ``data`` have samples of their own (exemplar parallelism); those along one of the others hold one network
together, and see the same samples (node and weight parallelism: Pethick et al. 2003). NumPy-free: the command line's
help is made of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.suggestions import choice_of

DATA, NODE, WEIGHT, PAIRS = "data", "node", "weight", "pairs"
LEVELS = (NODE, WEIGHT, PAIRS)
"""The levels at which a network is divided."""
EXAMPLES = "data=2,node=2, node=2, weight=2, pairs=4"


@dataclass(frozen=True)
class Grid:
    """The places of all workers.

    Attributes
    ----------
    data : int or None
        How many groups of workers have samples of their own; None in what a user has given without it: see `filled`.
    level : {"node", "weight", "pairs"}
        At which level the workers of a group divide the network.
    parts : int
        How many workers a group has; 1 if every worker has a whole network.
    """

    data: int | None = 1
    level: str = NODE
    parts: int = 1

    @property
    def size(self) -> int:
        """Number of workers n."""
        return (self.data or 1) * self.parts

    @property
    def divides(self) -> bool:
        """Whether the network is divided."""
        return self.parts > 1

    @property
    def name(self) -> str:
        """Canonical text, e.g. ``"data=2,node=2"``."""
        groups = [] if self.data is None else [f"{DATA}={self.data}"]
        return ",".join([*groups, *([f"{self.level}={self.parts}"] if self.divides or not groups else [])])

    def filled(self, workers: int | None) -> Grid:
        """Return the grid for a number of workers, or the smallest there is; a SettingsError if it does not fit."""
        groups = self.data
        if groups is None:
            groups = 1 if workers is None else max(workers // self.parts, 1)
        found = replace(self, data=groups)
        if workers is not None and found.size != workers:
            raise SettingsError(
                f"{parameter('grid', self.name)} has places for {found.size} workers, and there are {workers}: the "
                "numbers of a grid multiply to the number of workers"
            )
        return found

    def place_of(self, rank: int) -> tuple[int, int]:
        """Return a worker's group, and its number in it: groups are consecutive ranks, which are near each other."""
        return rank // self.parts, rank % self.parts

    def group_of(self, rank: int) -> tuple[int, ...]:
        """Return the ranks of those that hold one network together with worker ``rank``."""
        first = rank // self.parts * self.parts
        return tuple(range(first, first + self.parts))

    def peers_of(self, rank: int) -> tuple[int, ...]:
        """Return the ranks of those that hold the same part of the network as worker ``rank``, one in each group."""
        return tuple(range(rank % self.parts, self.size, self.parts))

    def __str__(self) -> str:
        return self.name


def parse_grid(text: str) -> Grid:
    """Return the grid that a text names; a SettingsError says what is wrong."""
    found: dict[str, int] = {}
    where = parameter("grid", str(text))
    for piece in str(text).split(","):
        key, equals, value = (part.strip() for part in piece.partition("="))
        if key not in (DATA, *LEVELS):
            raise SettingsError(f"{where}: unknown level {key!r}{choice_of(key, (DATA, *LEVELS))}; such as {EXAMPLES}")
        if not equals or not re.fullmatch(r"[1-9][0-9]{0,5}", value):
            raise SettingsError(f"{where}: {key} needs a number of workers from 1 on; such as {EXAMPLES}")
        if key in found:
            raise SettingsError(f"{where}: {key} is given twice")
        found[key] = int(value)
    divided = [level for level in LEVELS if found.get(level, 1) > 1]
    if len(divided) > 1:
        raise SettingsError(
            f"{where}: a network is divided at one level, not at {' and '.join(divided)}; choose one of them, beside "
            "data"
        )
    level = divided[0] if divided else NODE
    return Grid(found.get(DATA), level, found.get(level, 1))
