"""From scikit-learn's parameters to settings and schedules of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.learners.mlp.settings import MLPSettings
from manyhands.training.schedules import Epochs, RateSchedule

SGD_FAMILY = ("sgd", "momentum", "nesterov")
"""Those whose learning rate changes, if ``learning_rate`` says so."""


def optimizer_of(estimator: Any) -> str:
    """Return our name for an estimator's solver: scikit-learn's ``sgd`` is one of three."""
    if estimator.solver != "sgd" or not estimator.momentum:
        return str(estimator.solver)
    return "nesterov" if estimator.nesterovs_momentum else "momentum"


def settings_of(estimator: Any, hidden: tuple[int, ...], loss: str, rate: float, mean_weight: float) -> MLPSettings:
    """Return network and optimizer, with the learning rate as it is now.

    scikit-learn divides the penalty by the sum of the sample weights, this package by their number: hence
    ``mean_weight``.
    """
    return MLPSettings(
        hidden=hidden,
        activation=estimator.activation,
        optimizer=optimizer_of(estimator),
        learning_rate=rate,
        l2=float(estimator.alpha) / mean_weight,
        momentum=float(estimator.momentum),
        beta_1=float(estimator.beta_1),
        beta_2=float(estimator.beta_2),
        epsilon=float(estimator.epsilon),
        rho=estimator.rho,
        weight_decay=estimator.weight_decay,
        loss=loss,
        weight_init=estimator.weight_init,
        bias_init=estimator.bias_init,
        dropout=float(estimator.dropout),
        dtype=estimator.dtype,
    )


@dataclass(frozen=True)
class InverseScaling(RateSchedule):
    """scikit-learn's ``invscaling``: a new rate after every epoch, ``learning_rate_init / (t + 1)**power_t``.

    Attributes
    ----------
    power
        The exponent.
    seen, rows
        Rows seen before the run (t), and in each of its epochs.
    first, initial
        The rate of the first epoch, and the one that is divided.
    """

    power: float = 0.5
    seen: int = 0
    rows: int = 1
    first: float = 1.0
    initial: float = 1.0

    @property
    def name(self) -> str:
        """``"invscaling"``; no text makes it."""
        return "invscaling"

    def rate_after(self, epochs: int) -> float:
        """Return the rate when so many epochs are done."""
        if not epochs:
            return self.first
        return float(self.initial / (self.seen + epochs * self.rows + 1) ** self.power)

    def _after(self, at: Epochs, epochs: float, rising: float) -> NDArray[np.float64]:
        numbers = np.floor(at)
        rates = self.initial / (self.seen + numbers * self.rows + 1) ** self.power
        return np.asarray(np.where(numbers == 0, self.first, rates) / self.first)
