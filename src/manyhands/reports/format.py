"""Numbers and names as text, for sentences, tables and legends."""

from __future__ import annotations

from collections.abc import Sequence

from manyhands.core.words import count


def seconds(value: float | None) -> str:
    """Return seconds: milliseconds below 100 s, then four digits."""
    if value is None:
        return ""
    return f"{value:.3f}" if value < 100 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def decimal(value: float | None, places: int = 2) -> str:
    """Return a number with fixed decimals; nothing for None."""
    return "" if value is None else f"{value:.{places}f}"


def signed(value: float | None, places: int = 2) -> str:
    """Return a difference with its sign; what rounds to zero is +0.00."""
    return "" if value is None else f"{round(value, places) + 0.0:+.{places}f}"


def impact(value: float | None) -> str:
    """Return an impact factor: one decimal, but three digits for slow runs, whose impact is small."""
    if value is None:
        return ""
    return f"{value:#.3g}" if value < 1 else f"{value:,.1f}" if value < 1e4 else f"{value:,.0f}"


def span(interval: Sequence[float] | None, places: int = 2, *, sign: bool = False) -> str:
    """Return an interval, as in ``1.61 to 1.80``; nothing for None."""
    if interval is None:
        return ""
    low, high = ((signed if sign else decimal)(end, places) for end in interval)
    return f"{low} to {high}"


def layers(hidden: Sequence[int]) -> str:
    """Return the widths of hidden layers, as in ``512-128``."""
    return "-".join(map(str, hidden)) or "none"


def network_name(hidden: Sequence[int], architecture: str | None) -> str:
    """Return the name of a network's architecture if it has one, else the widths of its hidden layers."""
    return architecture or layers(hidden)


def classifier(hidden: Sequence[int], architecture: str | None) -> str:
    """Return what a sentence calls a network, as in ``75 hidden``, ``no hidden layer`` or ``cnn-fast``."""
    return architecture or (f"{layers(hidden)} hidden" if hidden else "no hidden layer")


def trained(classifier: str, epochs: int) -> str:
    """Return a classifier with its epochs, as in ``75 hidden, 40 epochs``; one that has none (0) by itself."""
    return f"{classifier}, {count(epochs, 'epoch')}" if epochs else classifier


def listed(items: Sequence[str]) -> str:
    """Return items as a list in a sentence."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def first_capital(text: str) -> str:
    """Return the text with a capital first letter, the others as they are."""
    return text[:1].upper() + text[1:]
