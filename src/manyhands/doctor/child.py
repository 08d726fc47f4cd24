"""Functions in a process of their own, which may hang or end by an instruction that the CPU does not have."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from manyhands.core.errors import ManyhandsError


class ChildFailedError(ManyhandsError):
    """The other process gave no answer; the message says why."""


def answer_of(arguments: Sequence[str], seconds: float, task: str) -> dict[str, Any]:
    """Run this Python with ``arguments``; return the JSON object in the last line that it prints.

    Raises
    ------
    ChildFailedError
        If it cannot be started, takes longer than ``seconds``, fails, or prints something else: "the process that
        ``task`` ...".
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", *arguments],  # nothing is imported from the folder somebody happens to be in
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        printed = error.stderr.decode(errors="replace") if isinstance(error.stderr, bytes) else error.stderr or ""
        said = f"; it said: {line}" if (line := _last_line(printed)) else ""
        raise ChildFailedError(f"the process that {task} gave no answer within {seconds:g} s{said}") from error
    except OSError as error:
        raise ChildFailedError(f"the process that {task} could not be started ({error.strerror or error})") from error
    if done.returncode < 0:
        said = f"; it said: {line}" if (line := _last_line(done.stderr)) else ""
        raise ChildFailedError(f"the process that {task} was ended by {_signal_name(-done.returncode)}{said}")
    if done.returncode > 0:
        raise ChildFailedError(
            f"the process that {task} failed: {_last_line(done.stderr) or f'status {done.returncode}'}"
        )
    try:
        answer: dict[str, Any] = json.loads(_last_line(done.stdout))
    except ValueError as error:
        line = _last_line(done.stdout) or _last_line(done.stderr) or "nothing"
        raise ChildFailedError(f"the process that {task} printed something else than was asked for: {line}") from error
    return answer


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
