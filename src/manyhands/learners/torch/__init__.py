"""Learners whose network is a PyTorch module: any of the user's own, and convolutional networks that come along.

PyTorch is imported by the modules of this folder only, and only when such a learner is made: it is an extra.
"""

from __future__ import annotations

import importlib.util

from manyhands.core.errors import SettingsError


def require_torch() -> None:
    """Check that PyTorch is installed, without importing it.

    Raises
    ------
    SettingsError
        If it is not, with what to install.
    """
    if importlib.util.find_spec("torch") is None:
        raise SettingsError("this needs PyTorch, which is not installed: pip install 'manyhands[torch]'")
