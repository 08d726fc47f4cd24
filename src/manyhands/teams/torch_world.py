"""The job of torch.distributed that this process is a member of: joining it, and its transfers over gloo.

Vectors live in host memory, so gloo carries them whatever the machines have. The process group is one of our own: the
default group of torch.distributed stays the user's.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from manyhands.core.errors import ManyhandsError, SettingsError
from manyhands.core.extras import require
from manyhands.runtime import signals
from manyhands.teams import torch_environment
from manyhands.teams.exit_hooks import leave_at_exit
from manyhands.teams.startup_watchdog import is_gone, is_stopped
from manyhands.teams.watchdog import chosen_patience
from manyhands.teams.world import Bytes, Transfer, World

_LOOK = timedelta(seconds=0.1)
_COMING_SECONDS = 300.0
"""Patience with processes that do not come: the program may do something else before it joins."""
_COMING_LOOK_SECONDS = 0.02
_BURIED_SECONDS = 1.0
"""So long the system may take to show that a process whose connection is closed has ended."""
_NOTICE = "notice"
_NEVER = timedelta(days=1000)
"""Lost workers are found by the watch, not by gloo's own limit of time."""


class TorchWorld(World):
    """The place of this process in a job of torch.distributed.

    Parameters
    ----------
    group
        A gloo process group of its own.
    store
        The store of the job.
    library
        Name and version of PyTorch.
    calm
        Seconds of patience with a worker that is not training.
    """

    job = "a torch job"

    def __init__(self, group: Any, store: Any, library: str, *, calm: float | None = None) -> None:
        super().__init__()
        import torch
        import torch.distributed

        self._tensor: Any = torch.from_numpy
        self._torch: Any = torch.distributed
        self._group, self._store, self.library = group, store, library
        self._posted: Counter[tuple[int, int, int]] = Counter()
        self._taken: Counter[tuple[int, int, int]] = Counter()
        self.rank, self.size = int(group.rank()), int(group.size())
        self.place = torch_environment.local_rank()
        self._here = self._processes_here()
        if self.size > 1:
            self.begin_watch(StoreMessages(store, self.rank, self.size, self._here, self.abort), calm)

    def _processes_here(self) -> dict[int, int]:
        """Return the process numbers of the job's workers on this machine, by rank; called by all."""
        here = f"{socket.gethostname()} {torch_environment.node()}"
        everyone = [json.loads(text) for text in self.all_gather_texts(json.dumps([here, os.getpid()]))]
        return {rank: pid for rank, (place, pid) in enumerate(everyone) if place == here}

    def start_all_to_all(
        self, sent: Bytes, counts: Sequence[int], received: Bytes, expected: Sequence[int]
    ) -> Transfer:
        """Send to each, and receive from each."""
        options = self._torch.AllToAllOptions()
        return self._group.alltoall_base(
            self._tensor(received), self._tensor(sent), list(expected), list(counts), options
        )

    def start_exchange(self, parts: Bytes, counts: Sequence[int], rows: Bytes) -> Transfer:
        """Send all parts: gloo copies the own one."""
        return self.start_all_to_all(parts, counts, rows, [counts[self.rank]] * self.size)

    def start_all_gather(self, parts: Bytes, counts: Sequence[int]) -> Transfer:
        """Send a copy of the own part to each: gloo's all-gather knows no parts of different length."""
        begin, mine = sum(counts[: self.rank]), counts[self.rank]
        copies = np.tile(parts[begin : begin + mine], self.size)
        return self.start_all_to_all(copies, [mine] * self.size, parts, counts)

    def start_broadcast(self, content: Bytes, root: int) -> Transfer:
        """Send or receive."""
        options = self._torch.BroadcastOptions()
        options.rootRank = root
        return self._group.broadcast([self._tensor(content)], options)

    def start_barrier(self) -> Transfer:
        """Begin to wait."""
        return self._group.barrier(self._torch.BarrierOptions())

    def send_text(self, text: str, to: int, tag: int) -> None:
        """Leave it in the store, under the next number."""
        key = tag, self.rank, to
        self._store.set(_name_of(key, self._posted[key]), text)
        self._posted[key] += 1

    def take_text(self, tag: int) -> tuple[int, str] | None:
        """Take the first one out of the store."""
        for source in range(self.size):
            key = tag, source, self.rank
            name = _name_of(key, self._taken[key])
            if self._store.check([name]):
                self._taken[key] += 1
                text = self._store.get(name).decode()
                self._store.delete_key(name)
                return source, text
        return None

    def complete(self, transfers: Sequence[Transfer], *, idle: bool) -> None:
        """Sleep until gloo's threads have done it: they wake this one."""
        for transfer in transfers:
            while not _is_done(transfer):
                self.check()

    def blamed(self, error: RuntimeError) -> tuple[int, str]:
        """Return the worker on this machine that has ended, if one has; gloo says only that a connection is closed."""
        end = time.monotonic() + _BURIED_SECONDS
        while time.monotonic() < end:
            for rank, pid in self._here.items():
                if rank != self.rank and is_gone(pid):
                    return rank, f"(process {pid}) has ended"
            self.check()
            time.sleep(_COMING_LOOK_SECONDS)
        return self.rank, f"cannot reach another one ({str(error).splitlines()[0]})"

    def abort(self, status: int) -> None:
        """End this process; whoever has started the job ends the others."""
        lost = None if self.watch is None else self.watch.lost
        pid = self._here.get(lost[0]) if lost is not None else None
        if pid is not None and is_stopped(pid) and not torch_environment.has_owner():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)  # torchrun would wait for it for half a minute
        os._exit(status)

    def is_over(self) -> bool:
        """Return False: the group is this package's own."""
        return False

    def end(self) -> None:
        """Keep the group until the process ends: the others may still receive what it has sent."""


def _name_of(key: tuple[int, int, int], number: int) -> str:
    """Return under which name a text lies in the store: its tag, sender, receiver and number."""
    return f"text {' '.join(map(str, key))} {number}"


def _is_done(transfer: Transfer) -> bool:
    """Wait a moment for a transfer; return whether it is done, and raise its error if it has failed."""
    try:
        transfer.wait(_LOOK)
    except RuntimeError:  # it has failed, or the time is over
        if not transfer.is_completed():
            return False
        transfer.wait()
    return True


class StoreMessages:
    """Beats and notices as entries of the job's store; see `manyhands.teams.watchdog.Messages`.

    Parameters
    ----------
    store
        A store of torch.distributed.
    rank, size
        This process, and the number of processes.
    here
        The process numbers of the job's workers on this machine, by rank.
    abort
        Ends the job with a status.
    """

    def __init__(self, store: Any, rank: int, size: int, here: dict[int, int], abort: Callable[[int], None]) -> None:
        self._store, self.rank, self.size = store, rank, size
        self._here, self.abort = here, abort
        self._next = (rank + 1) % size
        self._sent = self._seen = 0
        self._told = False

    def beat(self, silence: float) -> None:
        """Replace the own beat by the next."""
        self._sent += 1
        self._store.set(f"beat{self.rank}", f"{self._sent} {silence}")

    def last_beat(self) -> float | None:
        """Read the newest beat of the rank after this one."""
        name = f"beat{self._next}"
        if not self._store.check([name]):
            return None
        number, silence = self._store.get(name).split()
        if int(number) == self._seen:
            return None
        self._seen = int(number)
        return float(silence)

    def notify(self, rank: int, reason: str) -> None:
        """Leave a notice, unless there is one: the first one counts."""
        self._told = True
        with contextlib.suppress(RuntimeError):  # the store may be gone with the lost process
            self._store.compare_set(_NOTICE, "", json.dumps([rank, reason]))

    def notice(self) -> tuple[int, str] | None:
        """Read the notice, once."""
        if self._told or not self._store.check([_NOTICE]):
            return None
        self._told = True
        rank, reason = json.loads(self._store.get(_NOTICE))
        return int(rank), str(reason)

    def next_is_stopped(self) -> bool:
        """Return whether it is on this machine, and stopped."""
        return self._next in self._here and is_stopped(self._here[self._next])

    def flushed(self) -> bool:
        """Return True: what is set is in the store."""
        return True


_joined: TorchWorld | None = None


def join(*, calm: float | None = None, guard: bool = True) -> TorchWorld:
    """Return this process's place in its job of torch.distributed.

    ``calm`` is the patience with a worker that is not training, in seconds; a minute unless given. ``guard`` is for
    libraries whose start needs one. A SettingsError says if PyTorch is missing, a ManyhandsError if not all processes
    come.
    """
    global _joined
    if _joined is None:
        require("torch")
        _joined = _come_up(calm)
        leave_at_exit(_joined)
    return _joined


def joined() -> TorchWorld | None:
    """Return this process's place in its job if it has joined it."""
    return _joined


def _come_up(calm: float | None) -> TorchWorld:
    """Meet the other processes, and connect with them."""
    import torch
    import torch.distributed as dist

    if not dist.is_available() or not dist.is_gloo_available():
        raise SettingsError("this PyTorch was built without gloo, which the team torch needs: install another one")
    job = torch_environment.announced()
    assert job is not None
    patience = chosen_patience() or _COMING_SECONDS
    store = dist.PrefixStore(f"manyhands{torch_environment.attempt()}", _store(dist, job.size, patience))  # type: ignore[attr-defined]
    _meet(store, job.rank, job.size, patience)
    options = dist.ProcessGroupGloo._Options()  # type: ignore[attr-defined]
    options._devices, options._timeout = _devices(dist.ProcessGroupGloo), _NEVER
    group = dist.ProcessGroupGloo(store, job.rank, job.size, options)
    return TorchWorld(group, store, f"PyTorch {torch.__version__} (gloo)", calm=calm)


def _store(dist: Any, size: int, patience: float) -> Any:
    """Return the store of the job: torchrun's, or the file of a job of our own."""
    path = os.environ.get(torch_environment.STORE)
    if path is not None:
        return dist.FileStore(path, size)
    try:
        return next(iter(dist.rendezvous("env://", timeout=timedelta(seconds=patience))))[0]
    except (RuntimeError, ValueError) as error:
        raise SettingsError(f"there is no torchrun behind this process's variables: {error}") from error


def _devices(gloo: Any) -> list[Any]:
    """Return where gloo listens: where GLOO_SOCKET_IFNAME says, else on loopback if all are on this machine."""
    names = os.environ.get("GLOO_SOCKET_IFNAME", "").split(",")
    if any(names):
        return [gloo.create_device(interface=name) for name in names if name]
    if torch_environment.is_on_one_machine():
        return [gloo.create_device(hostname="127.0.0.1")]
    return [gloo.create_default_device()]


def _meet(store: Any, rank: int, size: int, patience: float) -> None:
    """Wait until all processes are here: gloo itself would wait in a call that Ctrl-C does not end."""
    names = [f"here{each}" for each in range(size)]
    store.set(names[rank], "")
    began = time.monotonic()
    while not store.check(names):
        if time.monotonic() - began > patience:
            missing = [str(each) for each, name in enumerate(names) if not store.check([name])]
            raise ManyhandsError(
                f"worker {', '.join(missing)} has not joined this torch job within {patience:.0f} s, and all its "
                "processes must: let each of them make the same calls, with the same team (MANYHANDS_HANG_TIMEOUT "
                "sets another patience)"
            )
        signals.check()
        time.sleep(_COMING_LOOK_SECONDS)
