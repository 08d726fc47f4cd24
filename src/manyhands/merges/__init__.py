"""Floor 2: how the parameters of all workers become those of one model. One file per kind of merge.

A merge is a function ``merge_(context)`` (`manyhands.core.strategy.RoundContext`) that ends with the same parameters
on all workers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from manyhands.core.strategy import RoundContext
from manyhands.merges.bootstrap import bootstrap_
from manyhands.merges.ensemble import ensemble_
from manyhands.merges.fisher import fisher_
from manyhands.merges.mean import examples_, mean_
from manyhands.merges.rebasin import rebasin_
from manyhands.merges.validated import soup_, validation_

MERGES: dict[str, Callable[[RoundContext[Any]], None]] = {
    "examples": examples_,
    "mean": mean_,
    "validation": validation_,
    "fisher": fisher_,
    "soup": soup_,
    "bootstrap": bootstrap_,
    "rebasin": rebasin_,
    "ensemble": ensemble_,
}
"""Every merge by name."""

VALIDATING = ("validation", "soup")
"""Merges that evaluate on validation samples."""

REVISITING = ("fisher", "bootstrap")
"""Merges that compute on training samples again."""

PERMUTING = ("rebasin",)
"""Merges that bring hidden units into one order."""

ONCE = ("bootstrap", "ensemble")
"""Merges that end a run: no training can continue from their result."""
