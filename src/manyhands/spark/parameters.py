"""The parameters of Spark's estimators: those of `pyspark.ml`, and every setting of a run that a cluster can have."""

from __future__ import annotations

from dataclasses import MISSING
from typing import Any

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasFeaturesCol, HasLabelCol, HasPredictionCol, HasProbabilityCol

from manyhands.core.errors import SettingsError
from manyhands.core.settings import setting_fields
from manyhands.training.jobs.spark.driver import DEFAULT_RESTARTS
from manyhands.training.spec import RunSpec

_LEFT_OUT = ("team", "workers", "partition", "validation", "labels", "module", "pin", "convergence", "stop", "device")
"""Settings of a run that are none of an estimator: how workers talk, and what needs validation or test samples."""
SETTINGS = {
    each.name: known
    for each, known in setting_fields(RunSpec)
    if known.group not in ("", "speculation") and each.name not in _LEFT_OUT
}
"""The settings that are parameters, by name."""
_DEFAULTS = {each.name: each.default for each, _ in setting_fields(RunSpec) if each.default is not MISSING}


class ClassifierParams(HasFeaturesCol, HasLabelCol, HasPredictionCol, HasProbabilityCol):
    """Columns, number of workers, and the settings of `SETTINGS`, each a parameter of its name."""

    num_workers: Param[int] = Param(
        Params._dummy(), "num_workers", "tasks that train together, one for each slot", TypeConverters.toInt
    )
    max_restarts: Param[int] = Param(
        Params._dummy(), "max_restarts", "how often a stage that has lost a task is started again", TypeConverters.toInt
    )

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(num_workers=1, max_restarts=DEFAULT_RESTARTS)

    def spec(self) -> RunSpec:
        """Return the settings of a run; a SettingsError says which cannot be."""
        given = {each.name: self.getOrDefault(each) for each in self.params if self.isSet(each)}
        chosen = {name: _as_setting(value) for name, value in given.items() if name in SETTINGS}
        return RunSpec().changed(**chosen, workers=self.getOrDefault(self.num_workers))


def _as_setting(value: Any) -> Any:
    """Return a value as a run has it: JSON, in which parameters are saved, knows no tuples."""
    return tuple(value) if isinstance(value, list) else value


def _converter(name: str) -> Any:
    """Return what checks a parameter: a value that the run would refuse is refused when it is set."""

    def checked(value: Any) -> Any:
        try:
            RunSpec().changed(**{name: _as_setting(value)})
        except SettingsError as error:
            raise TypeError(str(error)) from None
        return list(value) if isinstance(value, tuple) else value

    return checked


for _name, _known in SETTINGS.items():
    _usual = _DEFAULTS[_name]
    _help = _known.help if _usual is None or "default:" in _known.help else f"{_known.help} (default: {_usual})"
    setattr(ClassifierParams, _name, Param(Params._dummy(), _name, _help, _converter(_name)))
