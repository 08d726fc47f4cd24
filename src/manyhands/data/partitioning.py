"""Fixed shares of the training rows: as stored, at random, or deliberately unlike each other.

All shares have the same size (up to one row): workers differ in the classes they see, not in how much they do.

- ``stored``: consecutive rows, as Todorov et al. 2021 scattered them.
- ``iid``: rows drawn at random.
- ``sorted``: consecutive rows after sorting by label, so that a worker sees few classes.
- ``dirichlet:0.3``: each worker's mixture of classes is drawn from a Dirichlet distribution around the data's own,
  concentration alpha = 0.3 (Hsu, Qi & Brown 2019, arXiv 1909.06335, sec. 2): the smaller, the more they differ.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError
from manyhands.core.randomness import generator
from manyhands.core.suggestions import choice_of

SHARES = ("stored", "iid", "sorted", "dirichlet")
EXAMPLES = "stored, iid, sorted, dirichlet:0.3"
_TEXT = re.compile(r"(stored|iid|sorted|dirichlet)(?::(.*))?", re.DOTALL)


@dataclass(frozen=True)
class Partition:
    """A division of the rows between workers: one of :data:`SHARES`, and the concentration of a Dirichlet one."""

    kind: str = "stored"
    alpha: float = 1.0

    @property
    def name(self) -> str:
        """The text that :func:`parse_partition` reads, such as ``"sorted"`` or ``"dirichlet:0.3"``."""
        alpha = np.format_float_positional(self.alpha, trim="-")
        return f"dirichlet:{alpha}" if self.kind == "dirichlet" else self.kind

    def divide(self, labels: NDArray[np.int32], workers: int, seed: int) -> list[NDArray[np.int64]]:
        """Return each worker's row numbers, given the class numbers of all training rows, shape (rows,)."""
        rows = len(labels)
        ends = [rank * rows // workers for rank in range(workers + 1)]
        if self.kind == "dirichlet":
            return self._draw(labels, np.diff(ends), seed)
        order = np.arange(rows)
        if self.kind == "sorted":
            order = np.argsort(labels, kind="stable")
        elif self.kind == "iid":
            order = generator(seed, "shares").permutation(rows)
        return [order[begin:end] for begin, end in itertools.pairwise(ends)]

    def _draw(self, labels: NDArray[np.int32], sizes: NDArray[np.int64], seed: int) -> list[NDArray[np.int64]]:
        """Draw one share after the other, each from its own mixture of the classes that have rows left."""
        rng = generator(seed, "shares")
        left = [rng.permutation(np.flatnonzero(labels == label)) for label in range(int(labels.max(initial=0)) + 1)]
        prior = np.array([len(rows) for rows in left], np.float64)
        prior /= prior.sum()
        shares = []
        for size in sizes:
            mixture = self._mixture(prior, rng)
            taken: list[NDArray[np.int64]] = []
            missing = int(size)
            while missing:
                there = np.array([len(rows) for rows in left])
                chances = np.where(there > 0, mixture, 0.0)
                if chances.sum() < 1e-9:  # its classes are used up: another mixture, of those that are left
                    mixture = chances = self._mixture(np.where(there > 0, prior, 0.0), rng)
                counts = np.minimum(rng.multinomial(missing, chances / chances.sum()), there)
                for label, count in enumerate(counts):
                    taken.append(left[label][:count])
                    left[label] = left[label][count:]
                missing -= int(counts.sum())
            shares.append(np.sort(np.concatenate(taken)) if taken else np.zeros(0, np.int64))
        return shares

    def _mixture(self, prior: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw the probabilities of all classes; those without a prior have 0."""
        mixture, present = np.zeros(len(prior)), prior > 0
        # Where all parameters underflow, one class has probability 1, as in the limit.
        drawn = rng.dirichlet(np.maximum(self.alpha * prior[present], 1e-12))
        if not np.isfinite(drawn).all() or drawn.sum() <= 0:
            drawn = rng.multinomial(1, prior[present] / prior[present].sum()).astype(np.float64)
        mixture[present] = drawn
        return mixture


def parse_partition(text: str) -> Partition:
    """Return the division that ``text`` names, or raise SettingsError."""
    match = _TEXT.fullmatch(text.strip())
    if match is None or (match[2] is not None and match[1] != "dirichlet"):
        raise SettingsError(f"unknown partition {text!r}{choice_of(text, EXAMPLES.split(', '))}")
    if match[1] != "dirichlet":
        return Partition(match[1])
    try:
        alpha = float(match[2] or "")
    except ValueError:
        alpha = 0.0
    if not 1e-6 <= alpha <= 1e6:
        raise SettingsError(f"partition {text!r}: alpha is a number from 1e-6 to 1e6, as in dirichlet:0.3")
    return Partition("dirichlet", alpha)
