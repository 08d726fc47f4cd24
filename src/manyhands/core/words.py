"""English for messages and reports."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural if need be: ``1 epoch``, ``6,000 rows``, ``2 batches``."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """Return a noun's plural."""
    return f"{noun}es" if noun.endswith(("s", "tch")) else f"{noun}s"


def size(number: float) -> str:
    """Return a number of bytes with a unit: ``512 bytes``, ``1.2 KB``, ``3.4 MB`` (powers of 1,000)."""
    if number < 1000:
        return count(round(number), "byte")
    for unit in ("KB", "MB"):
        number /= 1000
        if number < 999.95:
            return f"{number:.1f} {unit}"
    return f"{number / 1000:,.1f} GB"
