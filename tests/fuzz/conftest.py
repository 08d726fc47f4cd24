"""What all fuzzers share: a campaign of numbered cases, each with a generator of its own, so that one can be repeated.

Every fuzzer has a short campaign, which is the same each time, and a slow one of ten times as many other cases. A
failure prints the seed and the number of its case: `MANYHANDS_FUZZ_SEED` and `MANYHANDS_FUZZ_CASE` repeat it.
"""

import os
import time
import traceback
import warnings
import zlib

import numpy as np
import pytest

from manyhands.core.errors import ManyhandsError

SEED = int(os.environ.get("MANYHANDS_FUZZ_SEED", "20261128"))
_LONGEST_SECONDS = 30.0
"""A single case lasts milliseconds: one that needs so long would hang a user's terminal."""
_MOST_SHOWN = 5


class Campaign:
    """Runs cases and gathers what is wrong with them."""

    def __init__(self, name, seed, times, only=None):
        self.name, self.seed, self.times, self.only = name, seed, times, only
        self.refused = self.accepted = 0
        self.failures = []

    def run(self, count, case, allowed=()):
        """Run ``case(rng)`` so many times; it asserts what must hold, and may raise a typed error.

        Parameters
        ----------
        count
            Number of cases of the short campaign.
        case
            Makes an input from a generator and tries it.
        allowed
            Errors that are right besides those of Manyhands, such as scikit-learn's own.
        """
        numbers = range(count * self.times) if self.only is None else [self.only]
        for number in numbers:
            self._try(number, case, allowed)
        shown = "\n\n".join(self.failures[:_MOST_SHOWN])
        assert not self.failures, f"{len(self.failures)} of {len(numbers)} cases failed (seed {self.seed}):\n{shown}"

    def _try(self, number, case, allowed):
        rng = np.random.default_rng([self.seed, zlib.crc32(self.name.encode()), number])
        began = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", RuntimeWarning)  # NumPy's overflows and NaNs are no answer
                case(rng)
            self.accepted += 1
        except (ManyhandsError, *allowed) as error:
            self.refused += 1
            if not str(error).strip():
                self.failures.append(f"case {number}: an error without a message: {error!r}")
        except Exception:  # what a user must never see
            self.failures.append(f"case {number}: {traceback.format_exc(limit=-6)}")
        if time.monotonic() - began > _LONGEST_SECONDS:
            self.failures.append(f"case {number}: took {time.monotonic() - began:.0f} s")


@pytest.fixture(params=[1, pytest.param(10, marks=[pytest.mark.slow, pytest.mark.timeout(900)])], ids=["short", "long"])
def campaign(request):
    """A campaign for its test."""
    only = os.environ.get("MANYHANDS_FUZZ_CASE")
    name = request.node.originalname + str(request.node.callspec.params.get("kind", ""))
    return Campaign(name, SEED + request.param, request.param, None if only is None else int(only))


def _mutated(rng, content):
    """Return bytes with a few random changes: flips, cuts, insertions, repetitions, foreign pieces."""
    content = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(0, len(content) + 1))
        end = min(place + int(rng.integers(1, 30)), len(content))
        kind = int(rng.integers(0, 7))
        if kind == 0 and content:
            content[min(place, len(content) - 1)] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            del content[place:]
        elif kind == 2:
            del content[place:end]
        elif kind == 3:
            content[place:place] = rng.bytes(int(rng.integers(1, 20)))
        elif kind == 4:
            content[place:place] = content[place:end]
        elif kind == 5:
            content[place:end] = b"\0" * (end - place)
        else:
            pieces = [
                b"\n",
                b"\r\n",
                b",",
                b'"',
                b"nan",
                b"-1e999",
                b"\xef\xbb\xbf",
                b"\xff\xfe",
                b"{",
                b"]",
                b" ",
                b"9" * 40,
            ]
            content[place:place] = pieces[int(rng.integers(0, len(pieces)))]
    return bytes(content)


@pytest.fixture(scope="session")
def mutated():
    """A function of a generator and bytes that returns changed bytes."""
    return _mutated


def _damaged(rng, content):
    """Return bytes with one flipped bit, mostly, or with larger changes."""
    if rng.random() >= 0.6:
        return _mutated(rng, content)
    changed = bytearray(content)
    changed[int(rng.integers(0, len(changed)))] ^= 1 << int(rng.integers(0, 8))
    return bytes(changed)


@pytest.fixture(scope="session")
def damaged():
    """A function of a generator and bytes that returns what a bad disk could make of them."""
    return _damaged
