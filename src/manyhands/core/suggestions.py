"""What a user may have meant by a word that is none of those known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

_SYNONYMS = {
    "gpu": "cuda", "sigmoid": "logistic", "linear": "identity", "swish": "silu", "mse": "squared-error",
    "bce": "binary-cross-entropy", "processes": "mpi", "openmpi": "mpi", "ddp": "gradient", "allreduce": "gradient",
    "sync": "gradient", "local-sgd": "periodic", "fedavg": "periodic", "cifar": "cifar10",
    "emnist": "letters",
}  # fmt: skip
"""What others call some of our words."""
_ALIKE = 0.65
_LEAST_BEGINNING = 2


def nearest(word: Any, known: Iterable[str]) -> str | None:
    """Return the word among ``known`` that was probably meant, or None.

    It is one that others call so, or that differs in capitals, ``-`` and ``_`` only, or the only one that begins with
    ``word``, or the one whose letters are most alike.

    Examples
    --------
    >>> nearest("gradiant", ["sequential", "gradient"])
    'gradient'
    >>> nearest("--work", ["--workers", "--hidden"])
    '--workers'
    """
    plain = {_plain(each): each for each in known}
    wanted = _plain(word)
    if not wanted:
        return None
    if _SYNONYMS.get(wanted) in plain:
        return plain[_SYNONYMS[wanted]]
    if wanted in plain:
        return plain[wanted]
    beginning = [each for each in plain if each.startswith(wanted)]
    if len(beginning) == 1 and len(wanted) >= _LEAST_BEGINNING:
        return plain[beginning[0]]
    found = difflib.get_close_matches(wanted, plain, n=1, cutoff=_ALIKE)
    return plain[found[0]] if found else None


def did_you_mean(word: Any, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'gradient'?"`` for a message, or nothing if no known word is near."""
    found = nearest(word, known)
    return "" if found is None else f"; did you mean {found!r}?"


def choice_of(word: Any, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown word: what was probably meant, and all words that there are."""
    words = list(known)
    near = did_you_mean(word, words)
    return f"{near} Choose one of {', '.join(words)}" if near else f"; choose one of {', '.join(words)}"


def _plain(word: Any) -> str:
    """Return a word without what may differ; what is no text, such as a number for a name, has none."""
    if not isinstance(word, str):
        return ""
    return word.lower().replace("_", "-").lstrip("-")
