"""What one process of a job says to the others about an error, and which errors all processes know of already."""

from __future__ import annotations

import contextlib

_SHARED = "_manyhands_shared"


def message_of(error: BaseException) -> str:
    """Return an error's message, with the type of those that are no sentence without it."""
    text = str(error)
    plain = isinstance(error, (ValueError, RuntimeError, OSError, Warning)) or type(error).__module__.startswith(
        "manyhands"
    )
    return text if text and plain else f"{type(error).__name__}: {text}" if text else type(error).__name__


def describe(error: BaseException) -> str:
    """Return a half-sentence with a process as its subject that says what has happened to it."""
    return "was interrupted" if isinstance(error, KeyboardInterrupt) else f"failed: {message_of(error)}"


def is_shared(error: BaseException) -> bool:
    """Return whether all processes of the job know of an error already, and have ended what they did."""
    return bool(getattr(error, _SHARED, False))


def mark_shared(error: BaseException, note: str | None = None) -> None:
    """Remember that all processes know of an error."""
    with contextlib.suppress(AttributeError):  # an exception without room for it is a very strange one
        setattr(error, _SHARED, True)
    if note is not None:
        error.add_note(note)
