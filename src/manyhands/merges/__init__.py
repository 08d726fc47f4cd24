"""Floor 2: how parameter vectors become one. One file per kind of merge.

A merge is a function ``merge_(context)`` (`manyhands.core.strategy.RoundContext`) that ends with the same parameters
on all workers.
"""

from __future__ import annotations

from collections.abc import Callable

from manyhands.core.strategy import RoundContext
from manyhands.merges.bootstrap import bootstrap_
from manyhands.merges.ensemble import ensemble_
from manyhands.merges.fisher import fisher_
from manyhands.merges.mean import examples_, mean_
from manyhands.merges.rebasin import rebasin_
from manyhands.merges.validated import soup_, validation_

MERGES: dict[str, Callable[[RoundContext], None]] = {
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
"""Those that look at validation rows."""

REVISITING = ("fisher", "bootstrap")
"""Those that compute on training rows again."""

ONCE = ("bootstrap", "ensemble")
"""Those that end a run: they make no sense in a round that training goes on after."""
