"""The only place where random generators are made.

Everything random is a function of (seed, purpose, epoch) and of nothing else: not of the number of workers, not of
which worker draws, not of earlier draws. So the order of the samples is the same for every number of workers, and runs
are repeatable bit for bit.
"""

from __future__ import annotations

import zlib

import numpy as np

from manyhands.core.errors import SettingsError


def generator(seed: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    """Return the generator for one purpose in one epoch.

    Parameters
    ----------
    seed
        The run's seed, 0 or larger; a smaller one is a SettingsError.
    purpose
        A fixed word such as ``"order"`` or ``"init"``. Different purposes get independent streams.
    epoch
        Number of the epoch (or of the shard) that the numbers are for.
    """
    if seed < 0:
        raise SettingsError(f"the seed must be at least 0, not {seed}")
    # spawn_key keeps (seed, purpose, epoch) apart even for huge seeds, which adding them up would not.
    key = (zlib.crc32(purpose.encode()), epoch)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))
