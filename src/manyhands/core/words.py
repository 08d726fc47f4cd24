"""English for messages and reports."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural if need be: ``1 epoch``, ``2 epochs``, ``2 batches``."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural(noun)}"


def plural(noun: str) -> str:
    """Return a noun's plural."""
    return f"{noun}es" if noun.endswith(("s", "tch")) else f"{noun}s"
