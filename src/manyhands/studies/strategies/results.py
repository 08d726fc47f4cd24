"""The results of the study of strategies, and their record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from manyhands.studies.compare.results import Comparison

SCHEMA = "manyhands.strategies/1"


@dataclass
class StrategiesComparison(Comparison):
    """A comparison of accuracies alone, as runs were not timed side by side; ``diverged`` runs are in no mean."""

    diverged: list[str] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """Return everything as the JSON file has it, without what would compare times."""
        timed = ("speedup", "speedup_ci95", "efficiency", "impact", "impact_with_communication", "scaled_speedup")
        whole = super().record()
        summary = [{name: value for name, value in row.items() if name not in timed} for row in whole["summary"]]
        return {**whole, "schema": SCHEMA, "summary": summary, "laws": [], "diverged": self.diverged}
