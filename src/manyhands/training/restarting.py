"""Starting a run again, from its last checkpoint, when a worker is lost."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from manyhands.core.errors import CorruptedError, ManyhandsError, OutputError, Suspended, WorkerLost
from manyhands.teams.job import is_member
from manyhands.teams.registry import kind_of
from manyhands.training.checkpoints.folder import CheckpointFolder
from manyhands.training.plan import Plan
from manyhands.training.result import TrainingResult


def restarted(plan: Plan, attempt: Callable[[Plan], TrainingResult]) -> TrainingResult:
    """Return the result of a run, begun again after the loss of a worker, as often as its plan says.

    A process that others have started cannot start them again: its job ends, and whoever started it may go on. Spark
    starts its tasks again itself.
    """
    reliability = plan.reliability
    if not reliability.restarts or is_member(plan.team) or kind_of(plan.team).reads is not None:
        return attempt(plan)
    with _folder(plan) as folder:
        incidents: list[dict[str, Any]] = []
        for number in range(reliability.max_restarts + 1):
            settings = reliability.changed(checkpoint=str(folder.path), attempt=reliability.attempt + number)
            try:
                result = attempt(replace(plan, reliability=settings))
                return replace(result, plan=plan, incidents=[*incidents, *result.incidents])
            except Exception as error:
                if number == reliability.max_restarts or not is_passing(error):
                    raise
                incidents.append(_incident(error, folder, number + 1, reliability.max_restarts))
                logging.getLogger("manyhands").warning("%s", incidents[-1]["text"])
    raise AssertionError


def is_passing(error: BaseException) -> bool:
    """Return whether an error may not come again: a worker lost, or an error that is none of ours."""
    return isinstance(error, WorkerLost | CorruptedError) or is_own(error)


def is_own(error: BaseException) -> bool:
    """Return whether an error is one worker's own: none of ours, which others would meet, too."""
    return isinstance(error, Exception) and not isinstance(error, ManyhandsError | MemoryError)


def _incident(error: BaseException, folder: CheckpointFolder, number: int, most: int) -> dict[str, Any]:
    """Return what has happened, as plain data."""
    newest = folder.files()
    place = f"from {newest[0].name}" if newest else "from the beginning: there is no checkpoint yet"
    said = str(error) if isinstance(error, ManyhandsError) else f"{type(error).__name__}: {error}"
    return {
        "kind": "restart",
        "number": number,
        "reason": said,
        "checkpoint": newest[0].name if newest else None,
        "text": f"{said}; starting again {place} (restart {number} of {most})",
    }


@contextlib.contextmanager
def _folder(plan: Plan) -> Iterator[CheckpointFolder]:
    """Yield the folder of the run's checkpoints: the user's, or one of its own that is removed with the block."""
    if plan.reliability.folder is not None:
        yield CheckpointFolder(plan.reliability.folder)
        return
    try:
        with tempfile.TemporaryDirectory(prefix="manyhands-checkpoints-") as place:
            yield CheckpointFolder(Path(place))
    except KeyboardInterrupt as error:  # its text, if any, says that the run can go on from this folder
        raise type(error)() from None
    except Suspended:
        raise Suspended("ended, as asked; without a folder for checkpoints it cannot go on") from None
    except OSError as error:
        raise OutputError(f"there is no place for checkpoints ({error.strerror or error}); name a folder") from error
