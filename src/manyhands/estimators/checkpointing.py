"""Checkpoints of a fit: what a user can ask for, the folder of each of its runs, and their end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from manyhands.core.checks import shortened
from manyhands.core.errors import SettingsError
from manyhands.core.suggestions import choice_of
from manyhands.teams.job import leads
from manyhands.training.checkpoints.folder import CheckpointFolder
from manyhands.training.reliability import ReliabilitySettings

_FOLDER = "folder"
_OTHERS = ("every", "keep", "checkpoint_cost")


class FitCheckpoints:
    """Where the runs of one fit write their checkpoints.

    A fit with an adaptive learning rate is several runs: the first uses the folder itself, and each of the others one
    in it. What a finished run has written stays until the fit has ended, so that the same fit goes through it quickly.

    Parameters
    ----------
    asked
        The parameter ``checkpoint`` of an estimator; None: no checkpoints.
    """

    def __init__(self, asked: Any) -> None:
        self._settings = ReliabilitySettings() if asked is None else _settings_of(asked)

    def of_run(self, number: int) -> ReliabilitySettings:
        """Return the settings of a run, which goes on from what is in its folder, if anything is."""
        if self._settings.checkpoint is None:
            return self._settings
        return self._settings.changed(checkpoint=str(self._place(number)), attempt=1)

    def remove(self, runs: int, team: str) -> None:
        """Remove the checkpoints of so many runs, and their folders if nothing else is in them."""
        if self._settings.checkpoint is None or not leads(team):
            return
        for number in reversed(range(max(runs, 1))):
            CheckpointFolder(self._place(number)).remove()

    def _place(self, number: int) -> Path:
        """Return the folder of a run."""
        folder = Path(str(self._settings.checkpoint))
        return folder / f"run-{number}" if number else folder


def check(estimator: Any, *, incremental: bool) -> None:
    """Check the parameter ``checkpoint``, and that a repeated fit would be the same; one epoch has no checkpoints.

    Raises
    ------
    SettingsError
        If it is none, or every fit would draw other random numbers.
    """
    if estimator.checkpoint is None:
        return
    _settings_of(estimator.checkpoint)
    if not incremental and not isinstance(estimator.random_state, (int, np.integer)):
        raise SettingsError(
            "checkpoint: a repeated fit would draw other random numbers, and could not go on from a checkpoint; give "
            "random_state=an int"
        )


def _settings_of(asked: Any) -> ReliabilitySettings:
    """Return what a folder, or a mapping with one, asks for."""
    if not isinstance(asked, Mapping):
        return ReliabilitySettings(checkpoint=asked)
    for name in asked:
        if name not in (_FOLDER, *_OTHERS):
            raise SettingsError(f"checkpoint has no {shortened(name)}{choice_of(name, (_FOLDER, *_OTHERS))}")
    if not isinstance(asked.get(_FOLDER), str | os.PathLike):
        raise SettingsError(
            f"checkpoint, a mapping, must name a folder: {{'{_FOLDER}': DIR}}, not {shortened(asked.get(_FOLDER))}"
        )
    return ReliabilitySettings(checkpoint=asked[_FOLDER], **{name: asked[name] for name in asked if name != _FOLDER})
