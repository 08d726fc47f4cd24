"""What is known about a text before it is read: the pattern of a field, or a list of words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.recognition.reader import DIGITS, LETTERS

_SLOTS = {"d": DIGITS, "l": LETTERS, "x": DIGITS + LETTERS}
"""What stands for a digit, a letter, and either, in a pattern."""
_WORD_MARGIN = 2.5
"""A word of the list is taken if it is at most so much less probable, in natural logarithms for each character."""

Pattern = tuple[str, ...]
"""For each place the characters that it can be; a single one that no network reads, such as a hyphen, is itself."""


def parse_pattern(text: str) -> Pattern:
    """Return a pattern from ``dddd-dd``: d is a digit, l a letter, x either, and anything else itself.

    Raises
    ------
    SettingsError
        If it is empty, or has nothing to read in it.
    """
    pattern = tuple(_SLOTS.get(each, each) for each in text)
    if not any(len(slot) > 1 for slot in pattern):
        raise SettingsError(
            f"{parameter('pattern', text)} has nothing to read in it: d stands for a digit, l for a letter and x for "
            "either, as in dddd-dd"
        )
    return pattern


def check_words(words: Sequence[str], alphabet: str) -> tuple[str, ...]:
    """Return a list of words in upper case, each once.

    Raises
    ------
    SettingsError
        If there is none, or one has a character that is not in the alphabet.
    """
    if isinstance(words, str):
        raise SettingsError(f"{parameter('words')} is one text; give a list of words")
    found = tuple(dict.fromkeys(str(word).strip().upper() for word in words if str(word).strip()))
    if not found:
        raise SettingsError(f"{parameter('words')}: there is no word in the list")
    for word in found:
        strange = [each for each in word if each not in alphabet]
        if strange:
            raise SettingsError(
                f"{parameter('words')}: {word[:40]!r} has the character {strange[0]!r}, which is not read: {alphabet}"
            )
    return found


def fits(pattern: Pattern, count: int) -> bool:
    """Return whether so many characters fill a pattern, with or without what stands for itself."""
    return count in (len(pattern), len(_slots(pattern)))


def _slots(pattern: Pattern) -> list[int]:
    return [at for at, slot in enumerate(pattern) if len(slot) > 1]


def slots_for(pattern: Pattern, count: int) -> list[str]:
    """Return what each of so many characters can be; they must fit."""
    if count == len(pattern):
        return list(pattern)
    return [pattern[at] for at in _slots(pattern)]


def literals_before(pattern: Pattern, count: int) -> list[str]:
    """Return what stands before each of so many characters without being among them, such as a hyphen."""
    if count == len(pattern):
        return [""] * count
    found, waiting = [], ""
    for slot in pattern:
        if len(slot) > 1:
            found.append(waiting)
            waiting = ""
        else:
            waiting += slot
    return found


def nearest_word(logs: NDArray[np.float64], characters: str, words: Sequence[str]) -> str | None:
    """Return the most probable word of a list, if it is probable enough.

    Parameters
    ----------
    logs : ndarray of shape (length, characters)
        Natural logarithms of probabilities.
    characters
        What the columns stand for.
    words
        The list.
    """
    known = [word for word in words if len(word) == len(logs)]
    if not known:
        return None
    at = [[characters.index(each) for each in word] for word in known]
    sums = [float(logs[np.arange(len(logs)), places].sum()) for places in at]
    best = int(np.argmax(sums))
    lost = float(logs.max(axis=1).sum()) - sums[best]
    return known[best] if lost <= _WORD_MARGIN * len(logs) else None
