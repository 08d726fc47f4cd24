"""What a run is given: settings as text or as values, and targets that its loss can be computed for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from manyhands.core.checks import shortened
from manyhands.core.errors import DataError, SettingsError
from manyhands.data.dataset import Dataset

Value = TypeVar("Value")

_RANGES: dict[str, tuple[float, float]] = {
    "cross_entropy": (0.0, 1.0),
    "binary_cross_entropy": (0.0, 1.0),
    "poisson": (0.0, np.inf),
}
"""The least and the largest target of losses that have limits."""


def read(parse: Callable[[str], Value], value: str | Value, part: str, what: str) -> Value:
    """Return what text names, or the value itself if it is no text.

    Parameters
    ----------
    parse
        Reads text.
    value
        Text, or the object that it names.
    part
        An attribute that such an object has, whatever its type; a value without it is a SettingsError.
    what
        Its name in the message.
    """
    if isinstance(value, str):
        return parse(value)
    if not hasattr(value, part):
        raise SettingsError(f"{what} must be text that names one, not {shortened(value)}")
    return value


def check_targets(dataset: Dataset, loss: str) -> None:
    """Check that the loss is defined for all targets; if not, a DataError names the first that is wrong."""
    for table, where in ((dataset.train, "training"), (dataset.validation, "validation"), (dataset.test, "test")):
        if table is not None and table.targets is not None:
            check_range(table.targets, loss, where)


def check_range(targets: NDArray[Any], loss: str, where: str = "") -> None:
    """Check targets of shape (rows,) or (rows, outputs); see `check_targets`."""
    least, largest = _RANGES.get(loss, (-np.inf, np.inf))
    wrong = ~(np.isfinite(targets) & (targets >= least) & (targets <= largest))
    if not wrong.any():
        return
    place = np.argwhere(wrong)[0]
    value = targets[tuple(place)]
    needed = "finite numbers" if least == -np.inf else f"numbers from {least:g} {'on' if largest == np.inf else 'to 1'}"
    raise DataError(
        f"some targets are out of the valid range of the loss {loss}, which needs {needed}: "
        f"{where}{' ' if where else ''}row {place[0] + 1} has {value} (as {targets.dtype})"
    )
