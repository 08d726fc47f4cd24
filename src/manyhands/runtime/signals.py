"""SIGINT, SIGTERM and SIGHUP: what they end, when they are deferred, and how none of them gets lost."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from manyhands.core.errors import HungUp, Terminated

Handler = Callable[[int, FrameType | None], Any]

INTERRUPTED, TERMINATED, HUNG_UP = STATUSES = 130, 143, 129
"""Exit statuses, as shells know them: 128 and the number of the signal."""
_KINDS: dict[int, type[KeyboardInterrupt]] = {
    number: kind
    for name, kind in (("SIGINT", KeyboardInterrupt), ("SIGTERM", Terminated), ("SIGHUP", HungUp))
    if (number := getattr(signal, name, None)) is not None
}
_TWICE_SECONDS = 0.05
"""Programs that pass a signal on, or a shell and its terminal, send it twice at the same time; people need longer."""

at_once: list[Callable[[], None]] = []
"""Functions that end and remove, without waiting, all that must not outlive this process; for a second Ctrl-C."""

_heard: list[tuple[int, float]] = []
_waiting: list[float] = []
_again: list[bool] = []
_heeding = False


@contextlib.contextmanager
def heeded(*, to_the_end: bool = True) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP raise their kinds of KeyboardInterrupt, once; a second one ends the process.

    A signal that is ignored (by nohup, or by a shell that starts this process in the background) stays so. If the
    process ends with the block (``to_the_end``), a later signal ends it silently.
    """
    global _heeding
    _forget()
    _heeding = True
    before, hook = {number: signal.getsignal(number) for number in _KINDS}, sys.unraisablehook
    for number, present in before.items():
        if present is not signal.SIG_IGN:
            signal.signal(number, _hear)
    sys.unraisablehook = lambda args: _come_again() if _is_swallowed(args) else hook(args)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        _heeding = to_the_end
        if not to_the_end:
            _forget()
        for number, present in before.items():
            if present is not signal.SIG_IGN and present is not None:
                signal.signal(number, end_at_once if to_the_end else present)


def _forget() -> None:
    for memory in (_heard, _waiting, _again):
        memory.clear()


def heard() -> int | None:
    """Return the first signal that has asked this program to end; None if there was none."""
    return _heard[0][0] if _heard else None


def check() -> None:
    """Raise the exception of a signal again, if it was swallowed and this program goes on."""
    if (number := heard()) is not None:
        raise _KINDS[number]


@contextlib.contextmanager
def blamed() -> Iterator[None]:
    """Raise the exception of a signal for every failure of the block after it."""
    try:
        yield
    except Exception:
        check()
        raise


def say(text: str) -> None:
    """Print a line for the user, whose terminal may be gone."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def status_of(error: KeyboardInterrupt) -> int:
    """Return the exit status of a program that was ended so."""
    if isinstance(error, HungUp):
        return HUNG_UP
    return TERMINATED if isinstance(error, Terminated) else INTERRUPTED


def settle(status: int) -> int:
    """Return an exit status that this program is to have, even if Python has other plans.

    Python ends itself by SIGINT if Ctrl-C has come while some package ran Python code from C, though it was handled.
    """
    if status in STATUSES:
        import ctypes

        ctypes.pythonapi.PyRun_SimpleString(b"")  # to run something to its end makes it forget that
    return status


def end_at_once(number: int, _frame: FrameType | None = None) -> NoReturn:
    """End this process now, as a signal handler; nothing is left of what it has started."""
    for drop in reversed(at_once):
        with contextlib.suppress(Exception):
            drop()
    os._exit(128 + number)


def _is_swallowed(args: Any) -> bool:
    """Return whether Python is about to ignore the exception of a signal in a callback or in ``__del__``."""
    return bool(_heard) and issubclass(args.exc_type, KeyboardInterrupt)


def _come_again() -> None:
    """Send the first signal again, soon, outside of the code that has swallowed it."""

    def send() -> None:
        _again.append(True)
        signal.pthread_kill(threading.main_thread().ident or 0, _heard[0][0])

    timer = threading.Timer(_TWICE_SECONDS, send)
    timer.daemon = True
    timer.start()


def _hear(number: int, frame: FrameType | None) -> None:
    """Raise the exception of the first signal; the terminal and its shell may both send theirs."""
    if _again:
        _again.clear()
        raise _KINDS[number]
    if _insists(number):
        end_at_once(number, frame)
    _heard.append((number, time.monotonic()))
    if len(_heard) == 1:
        raise _KINDS[number]


def _insists(number: int) -> bool:
    """Return whether this program is asked to end for the second time."""
    moments = [moment for _, moment in _heard] or _waiting
    hangs_up = _KINDS.get(number) is HungUp
    return bool(moments) and not hangs_up and time.monotonic() - moments[0] > _TWICE_SECONDS


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Defer the Python handlers of SIGINT (Ctrl-C), SIGTERM and SIGHUP until the block has ended.

    For short steps that belong together, such as writing a record down and counting it. They run in the main thread
    only: in any other there is nothing to defer. On the command line, a second signal does not wait.
    """
    late: list[tuple[Handler, int, FrameType | None]] = []

    def put_off(handle: Handler, number: int, frame: FrameType | None) -> None:
        if _heeding and _insists(number):
            end_at_once(number)
        _waiting.append(time.monotonic())
        late.append((handle, number, frame))

    with _handled_by(put_off):
        yield
    for handle, number, frame in late:
        _waiting.clear()
        handle(number, frame)


@contextlib.contextmanager
def insisted() -> Iterator[None]:
    """Raise at the end of the block the exception of a signal that was swallowed in it.

    For importing and compiling: foreign code catches everything, and Python itself ignores (and prints, which is
    prevented here) what is raised in a callback. Other exceptions after a signal are taken for its consequences.
    """
    came: list[tuple[Handler, int, FrameType | None]] = []

    def note(handle: Handler, number: int, frame: FrameType | None) -> None:
        came.append((handle, number, frame))
        handle(number, frame)

    hook = sys.unraisablehook
    sys.unraisablehook = lambda args: None if came and issubclass(args.exc_type, KeyboardInterrupt) else hook(args)
    try:
        with _handled_by(note):
            yield
    except Exception:
        if not came:
            raise
    finally:
        sys.unraisablehook = hook
    if came:
        check()
        handle, number, frame = came[0]
        handle(number, frame)


@contextlib.contextmanager
def hangup_kept() -> Iterator[None]:
    """Restore the handler of SIGHUP after the block: Open MPI's library, once loaded, disables it."""
    yield
    number = getattr(signal, "SIGHUP", None)
    if number is None or threading.current_thread() is not threading.main_thread():
        return
    if (present := signal.getsignal(number)) is not None:
        signal.signal(number, present)


@contextlib.contextmanager
def _handled_by(handler: Callable[[Handler, int, FrameType | None], None]) -> Iterator[None]:
    """Call ``handler``, in the main thread, instead of Python's present handlers, each of which is passed to it."""
    before: dict[int, Handler] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: present for number in _KINDS if callable(present := signal.getsignal(number))}
    try:
        for number in before:
            signal.signal(number, lambda which, frame: handler(before[which], which, frame))
        yield
    finally:
        for number, present in before.items():
            signal.signal(number, present)
