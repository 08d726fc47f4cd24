"""Where a PyTorch learner computes, and in which precision."""

from __future__ import annotations

import torch

from manyhands.core.choices import NETWORKS
from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.runtime.hardware import multiplies_bfloat16


def chosen_device(wanted: str) -> torch.device:
    """Return the device that a user has chosen.

    Parameters
    ----------
    wanted
        ``"cpu"``, ``"cuda"`` or ``"auto"``: a GPU, if there is one.

    Raises
    ------
    SettingsError
        If there is no GPU.
    """
    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise SettingsError(
            f"{parameter('device', 'cuda')}: PyTorch finds no GPU here; use {parameter('device', 'cpu')}"
        )
    return torch.device("cuda" if found and wanted != "cpu" else "cpu")


def chosen_precision(wanted: str, device: torch.device, learner: str = "torch") -> str:
    """Return ``"float32"`` or ``"bfloat16"``: what a user has chosen, or what is faster and known to be as accurate.

    Parameters
    ----------
    wanted
        ``"float32"``, ``"bfloat16"`` or ``"auto"``; see docs/pytorch.md for the study behind ``auto``.
    device
        Where the network is.
    learner
        A network that comes along may compute in bfloat16, as the study was of those; other modules do so if asked.
    """
    if wanted != "auto":
        return wanted
    return "bfloat16" if learner in NETWORKS and device.type == "cpu" and multiplies_bfloat16() else "float32"
