"""A training of means, of which some workers are lost: mpiexec starts this file, or a test calls it for threads.

Every worker brings its first rank to each round. So a mean says who has taken part.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from manyhands.core.errors import WorkerLost
from manyhands.core.samples import Control
from manyhands.teams.job import among_survivors, surviving
from manyhands.teams.launch import launch
from manyhands.training.clock import PhaseClock

ROUNDS, LENGTH = 400, 20_000
PAUSE = 2e-4


class FailureError(Exception):
    """What a worker raises that leaves the others to it."""


def harm(how):
    """Let something happen to this process."""
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "hang":
        time.sleep(1000)


def trained(team, control, faults, plan):
    """Hold rounds, and go on among the survivors after each loss; return what is worth knowing."""
    first = team.rank
    there = list(range(team.size))
    fault = faults.get(first)
    log, number = [], 0
    if fault and fault["how"] in ("kill", "stop") and "after" in fault:
        threading.Thread(target=lambda: (time.sleep(fault["after"]), harm(fault["how"])), daemon=True).start()
    while True:
        try:
            while number < plan["rounds"]:
                control.progress[0] += 1
                if fault and fault.get("round") == number:
                    if fault["how"] == "fail":
                        raise FailureError("it has had enough")
                    harm(fault["how"])
                time.sleep(plan["pause"])
                vector = np.full(plan["length"], float(first))
                team.mean_(vector)
                assert np.array_equal(vector, np.full(plan["length"], vector[0]))
                wanted = np.mean(there)
                assert abs(vector[0] - wanted) < 1e-12, (vector[0], there)
                number += 1
                if control.stop[0]:
                    raise WorkerLost(-1)
            if team.agree():
                break
            number -= 1
        except WorkerLost:
            pass
        lost = team.regroup()
        log.append(lost)
        there = [each for rank, each in enumerate(there) if rank not in dict(lost)]
        assert there[team.rank] == first
        assert team.size == len(there)
        assert control.stop[0] == 0
        # Some have completed a round that others have not: all go on where the last one is.
        rounds = np.zeros(team.size)
        rounds[team.rank] = number
        try:
            team.sum_(rounds)
            number = int(rounds.min())
        except WorkerLost:
            number = max(number - 1, 0)
    return {"first": first, "rank": team.rank, "there": there, "lost": log}


def whole(team, size, faults, plan):
    """Run it as a training does; return the survivors' words."""
    control = [Control(np.zeros(1, np.int64), np.zeros(1, np.int64)) for _ in range(size)]
    clocks = [PhaseClock() for _ in range(size)]
    return launch(
        team,
        clocks,
        control,
        lambda one: trained(one, control[one.rank], faults, plan),
        survives=lambda error: isinstance(error, FailureError),
    )


def main(folder, size, faults, plan):
    """Be one process of the job."""
    from manyhands.teams.mpi_world import join

    world = join()
    Path(folder, f"pid-{world.rank}").write_text(str(os.getpid()))
    with surviving("mpi", True):
        (mine,) = whole("mpi", size, faults, plan)
        texts = among_survivors("mpi", lambda: world.all_gather_texts(json.dumps(mine)))
    if world.rank == 0:
        Path(folder, "said.json").write_text(json.dumps([json.loads(text) for text in texts]))


if __name__ == "__main__":
    size = int(sys.argv[2])
    faults = {int(rank): fault for rank, fault in json.loads(sys.argv[3]).items()}
    main(sys.argv[1], size, faults, {"rounds": ROUNDS, "length": LENGTH, "pause": PAUSE, **json.loads(sys.argv[4])})
