"""Starting this process's workers of a team, and ending all of them when one fails or the user says so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError, Suspended
from manyhands.core.samples import Control
from manyhands.core.team import Clock, Team
from manyhands.runtime import signals
from manyhands.runtime.affinity import pin
from manyhands.teams.agreement import together
from manyhands.teams.job import leads
from manyhands.teams.registry import SOLO, check_team, kind_of

Result = TypeVar("Result")
Work = Callable[[Team], Result]
Tick = Callable[[], None]

_TICK_SECONDS = 0.2
ASKED_SECONDS = 25.0
"""How long workers that are asked to end may take to write down where they are: Slurm kills after 30."""


def prepare(name: str, size: int, dtypes: Sequence[np.dtype[Any]], compile_learner: Callable[[], None]) -> None:
    """Compile what a run needs, so that no later clock sees it: the learner, and rounds on vectors of ``dtypes``.

    In an MPI job rank 0 does it first; the others then find it done.
    """

    def compile_all() -> None:
        compile_learner()
        if size > 1:
            module = kind_of(name).load()
            for dtype in dtypes:
                module.warm_up(dtype)

    with signals.insisted():
        if not kind_of(name).processes:
            compile_all()
            return
        first = leads(name)
        for turn in (first, not first):
            with together(name):
                if turn:
                    compile_all()


def launch(
    name: str,
    clocks: Sequence[Clock],
    controls: Sequence[Control],
    work: Work[Result],
    tick: Tick | None = None,
    *,
    pinned: bool = False,
    survives: Callable[[BaseException], bool] | None = None,
    asks: bool = False,
) -> list[Result]:
    """Run ``work(team)`` once per worker, all at the same time; return the results of this process, in rank order.

    Threads all belong to this process; of an MPI job, it is one worker itself. Even a single worker gets a thread of
    its own: the main thread stays free to receive Ctrl-C while compiled code runs for minutes.

    Parameters
    ----------
    name
        Of one of `manyhands.teams.registry.KINDS`.
    clocks, controls
        One per worker, of all workers; their number is the team's size. ``stop`` is set for this process's workers when
        one of them fails, or on Ctrl-C. It is never shared with other processes, which would take the failure for
        their own.
    tick
        Called about five times a second in the calling thread while the workers run.
    pinned
        Whether every worker is kept on one core.
    survives
        If given, the run goes on without a worker that has raised an error for which it returns True: the others see
        WorkerLost, and go on with `Team.regroup`. A process whose worker does so ends. A KeyboardInterrupt always ends
        all.
    asks
        Whether the workers end by themselves, with `Suspended`, soon after their cells ``ending`` are set: then they
        are asked to when the user interrupts them.

    Raises
    ------
    Exception
        The first error any worker raised (of a run that goes on: that ends it, or the first one if no worker is left),
        a WorkerLost if a worker in another process is gone, or KeyboardInterrupt on Ctrl-C: after all have ended.
    """
    kind = check_team(name, len(clocks))
    if len(clocks) == 1 and not kind.processes:
        kind = kind_of(SOLO)  # which needs no compiled code
    crew = kind.load().make_crew(clocks, controls)
    stops = [controls[team.rank].stop for team in crew.teams]
    results: dict[int, Result] = {}
    errors: list[BaseException] = []
    survived: list[BaseException] = []
    failing = threading.Lock()

    def goes_on(team: Team, error: BaseException) -> bool:
        if survives is None or errors or isinstance(error, KeyboardInterrupt) or not survives(error):
            return False
        return crew.let_go(team, error)

    def worker(number: int, team: Team) -> None:
        try:
            if pinned:
                pin(crew.place_of(team))
            results[number] = work(team)
        except BaseException as error:
            with failing:
                if goes_on(team, error):
                    survived.append(error)
                    return
                errors.append(error)
                if len(errors) == 1:  # the cause; what follows are the failures it causes
                    _set(stops)
                    crew.call_off(team.rank, error)
        finally:
            ended[number].set()

    # Not Thread.join: after a Ctrl-C in it, Python takes a running thread for one that has ended.
    ended = [threading.Event() for _ in crew.teams]
    threads = [
        threading.Thread(target=worker, args=(number, team), name=f"manyhands-worker-{team.rank}", daemon=True)
        for number, team in enumerate(crew.teams)
    ]
    try:
        begin(threads)
        _wait(ended, tick, crew.check)
    except BaseException as error:
        if asks and isinstance(error, KeyboardInterrupt):
            _set([control.ending for control in controls])
            if suspended := _own_end(ended, errors):
                crew.dismiss()
                raise type(error)(str(suspended)) from None
        _set(stops)
        crew.call_off(crew.teams[0].rank, error)
        for thread, end in zip(threads, ended, strict=True):
            if thread.ident is not None:
                end.wait(crew.join_seconds)
        raise
    crew.dismiss()
    if errors or not results:
        raise [*errors, *survived][0]
    return [results[number] for number in sorted(results)]


def begin(threads: Sequence[threading.Thread]) -> None:
    """Let all threads begin; a thread that the system refuses is a SettingsError."""
    for number, thread in enumerate(threads):
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            raise SettingsError(
                f"only {number} of {len(threads)} workers could begin, as this system lets a process have no more "
                f"threads (ulimit -u, ulimit -v, or pids.max of its cgroup): use at most {max(number // 2, 1)} workers"
            ) from error


def _own_end(ended: Sequence[threading.Event], errors: Sequence[BaseException]) -> Suspended | None:
    """Wait until workers that were asked to end have done so; return what they say, or None if they have not."""
    deadline = time.monotonic() + ASKED_SECONDS
    for each in ended:
        each.wait(max(deadline - time.monotonic(), 0.0))
    return next((error for error in errors if isinstance(error, Suspended)), None)


def _set(cells: Sequence[NDArray[np.int64]]) -> None:
    for cell in cells:
        cell[0] = 1


def _wait(ended: Sequence[threading.Event], tick: Tick | None, check: Callable[[], None]) -> None:
    """Wait for the ends of all workers, ticking meanwhile."""
    for each in ended:
        while not each.wait(_TICK_SECONDS):
            signals.check()
            check()
            if tick is not None:
                tick()
