"""Random changes of whole batches of images: what a hand or a camera might have done otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from manyhands.core.randomness import generator


class Augmentation:
    """The changes that one worker makes to its batches; each is drawn from (seed, worker, step).

    Parameters
    ----------
    names
        See `manyhands.core.choices.AUGMENTATIONS`.
    seed, rank
        Of the run, and of the worker.
    device
        Where the batches are.
    """

    def __init__(self, names: Sequence[str], seed: int, rank: int, device: torch.device) -> None:
        self._names = tuple(names)
        self._first = int(generator(seed, f"augmentation of worker {rank}").integers(2**62))
        self._generator = torch.Generator(device)

    def __call__(self, images: Tensor, step: int) -> Tensor:
        """Return changed images, shape (rows, channels, height, width)."""
        if not self._names:
            return images
        raise NotImplementedError
