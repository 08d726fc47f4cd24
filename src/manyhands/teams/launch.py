"""Starting the workers of a team on this machine, and ending all of them when one fails or the user says so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from manyhands.errors import SettingsError
from manyhands.protocols import Clock, Team
from manyhands.teams.solo import Solo

TEAMS = ("solo", "threads")

Result = TypeVar("Result")
Work = Callable[[Team], Result]
Tick = Callable[[], None]

_TICK_SECONDS = 0.2


def check_team(name: str, size: int) -> None:
    """Check that there is a team ``name`` for ``size`` workers.

    Raises
    ------
    SettingsError
        If the team is unknown or cannot have that size.
    """
    if name not in TEAMS:
        raise SettingsError(f"unknown team {name!r}; choose one of {', '.join(TEAMS)}")
    if size < 1 or (name == "solo" and size != 1):
        raise SettingsError(f"a team {name!r} of {size} workers is not possible")


def prepare(size: int, dtype: np.dtype[Any]) -> None:
    """Compile what a team of this size needs for vectors of ``dtype``, so that no later clock sees it."""
    if size > 1:
        from manyhands.teams.threads import warm_up

        warm_up(dtype)


def launch(
    name: str,
    clocks: Sequence[Clock],
    work: Work[Result],
    stop: NDArray[np.int64],
    tick: Tick | None = None,
) -> list[Result]:
    """Run ``work(team)`` once per worker, all at the same time; return the results in rank order.

    Even a single worker gets a thread of its own: the main thread stays free to receive Ctrl-C while compiled code
    runs for minutes.

    Parameters
    ----------
    name
        One of :data:`TEAMS`.
    clocks
        One per worker; their number is the team's size.
    work
        What every worker does.
    stop
        The cell of `manyhands.protocols.Control` that all workers look at; set when one fails or on Ctrl-C.
    tick
        Called about five times a second in the calling thread while the workers run.

    Raises
    ------
    Exception
        The first error any worker raised, after all have ended.
    KeyboardInterrupt
        On Ctrl-C, after all have ended.
    """
    size = len(clocks)
    check_team(name, size)
    teams, call_off = _make_teams(name, clocks)
    results: dict[int, Result] = {}
    errors: list[BaseException] = []
    failing = threading.Lock()

    def worker(team: Team) -> None:
        try:
            results[team.rank] = work(team)
        except BaseException as error:
            with failing:
                errors.append(error)
                if len(errors) == 1:  # the cause; what follows are the failures it causes
                    stop[0] = 1
                    call_off(team.rank)

    threads = [
        threading.Thread(target=worker, args=(team,), name=f"manyhands-worker-{team.rank}", daemon=True)
        for team in teams
    ]
    try:
        for thread in threads:
            thread.start()
        _wait(threads, tick)
    except BaseException:
        stop[0] = 1
        call_off(0)
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        raise
    if errors:
        raise errors[0]
    return [results[rank] for rank in range(size)]


def _make_teams(name: str, clocks: Sequence[Clock]) -> tuple[list[Team], Callable[[int], None]]:
    """Return every worker's team, and the way to call it off."""
    if len(clocks) == 1:
        return [Solo(clocks[0])], lambda _rank: None
    from manyhands.teams.threads import Room, ThreadTeam  # compiled code: only when it is needed

    room = Room(len(clocks))
    return [ThreadTeam(room, rank, clock) for rank, clock in enumerate(clocks)], room.call_off


def _wait(threads: Sequence[threading.Thread], tick: Tick | None) -> None:
    """Wait for all threads, ticking meanwhile."""
    for thread in threads:
        if tick is None:
            thread.join()
        while thread.is_alive():
            thread.join(_TICK_SECONDS)
            if tick is not None:
                tick()
