"""Numbers with their nouns."""

import pytest

from manyhands.core.words import count


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(1, "epoch", "1 epoch"), (5, "seed", "5 seeds"), (0, "round", "0 rounds"), (2, "process", "2 processes")],
)
def test_count(number, noun, text):
    assert count(number, noun) == text
