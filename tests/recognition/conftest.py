"""Held-back characters for synthetic pages: MNIST's test samples, or those of scikit-learn's digits."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from manyhands.data.catalog import DataRequest, load_test
from manyhands.recognition.synthetic import PageSettings, SyntheticPage, make_page


@cache
def characters(data: str) -> tuple[np.ndarray, list[str]]:
    """Return upright images of 28 x 28 pixels and what they are."""
    test = load_test(DataRequest(data))
    images = test.features.transpose(0, 2, 1) if test.is_transposed else test.features
    first = ord("A") - 1 if data == "letters" else ord("0")
    return images, [chr(first + int(label)) for label in test.labels]


def needed(name: str) -> Path:
    """Return the folder of real data, or skip the test."""
    folder = os.environ.get("MANYHANDS_DATA")
    if not folder or not (Path(folder) / name).is_dir():
        pytest.skip(f"MANYHANDS_DATA has no {name}")
    return Path(folder) / name


@pytest.fixture
def photos() -> Path:
    """The folder of real photos."""
    return needed("photos")


@pytest.fixture
def page_of() -> Callable[..., SyntheticPage]:
    """Make a synthetic page of held-back digits, or of letters."""

    def make(seed: int = 0, data: str = "mnist", **settings: object) -> SyntheticPage:
        needed(data)
        return make_page(*characters(data), PageSettings(**settings), seed)

    return make
