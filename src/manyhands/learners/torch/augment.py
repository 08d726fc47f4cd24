"""Random changes of whole batches of images: what a hand or a camera might have done otherwise.

Shift, rotate, scale, shear and elastic move where each pixel is taken from, all in one bilinear resampling; flip and
crop copy pixels as they are; thickness makes bright strokes thicker or thinner, as another pen would. Handwriting is
all that changes hand and pen, and leaves flip and crop out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor

from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.randomness import generator

SHIFT_PIXELS = 2.0
ROTATION_DEGREES = 12.0
SCALE_FACTOR = 1.12
SHEAR = 0.3
"""Columns that a row may move for each row of distance from the middle."""
ELASTIC_PIXELS, ELASTIC_CELLS = 1.2, 4
"""How far points of a coarse grid move, and into how many cells it divides each side (after Simard et al. 2003)."""
CROP_PIXELS = 4
THICKENED, THINNED = 0.35, 0.2
"""Shares of the images whose strokes become thicker, and thinner."""
_RESAMPLING = {"shift", "rotate", "scale", "shear", "elastic"}
_HANDWRITING = {*_RESAMPLING, "thickness"}


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
        more = _HANDWRITING if "handwriting" in names else ()
        self._names = frozenset({*names, *more} - {"handwriting"})
        self._first = int(generator(seed, f"augmentation of worker {rank}").integers(2**62))
        self._generator, self._device = torch.Generator(device), device

    def __call__(self, images: Tensor, step: int) -> Tensor:
        """Return changed images.

        Parameters
        ----------
        images : Tensor of shape (rows, channels, height, width)
            Not changed themselves. Where nothing is known, behind an edge, there is 0.
        step
            The optimizer step that they are for.

        Raises
        ------
        SettingsError
            If these are no images.
        """
        if not self._names:
            return images
        if images.dim() != 4:
            raise SettingsError(
                f"{parameter('augment')} changes images, and a sample has the shape {tuple(images.shape[1:])}"
            )
        self._generator.manual_seed(self._first + step)
        if self._names & _RESAMPLING:
            images = F.grid_sample(images, self._sources(images), align_corners=False)
        if "thickness" in self._names:
            images = self._of_other_pens(images)
        if "crop" in self._names:
            images = self._cropped(images)
        if "flip" in self._names:
            mirrored = self._uniform(len(images), 1, 1, 1) < 0
            images = torch.where(mirrored, images.flip(3), images)
        return images.contiguous(memory_format=torch.channels_last)

    def _uniform(self, *shape: int) -> Tensor:
        """Return random numbers from -1 to 1."""
        return torch.rand(shape, generator=self._generator, device=self._device) * 2 - 1

    def _sources(self, images: Tensor) -> Tensor:
        """Return where pixels are taken from, (rows, height, width, 2), in halves of the image from its middle."""
        rows, _, height, width = images.shape
        sides = torch.tensor([width, height], device=self._device)
        angle, factor = torch.zeros(rows, device=self._device), torch.ones(rows, device=self._device)
        moved = torch.zeros(rows, 2, device=self._device)
        if "rotate" in self._names:
            angle = self._uniform(rows) * math.radians(ROTATION_DEGREES)
        if "scale" in self._names:
            factor = torch.exp(self._uniform(rows) * math.log(SCALE_FACTOR))
        if "shift" in self._names:
            moved = self._uniform(rows, 2) * SHIFT_PIXELS * 2 / sides
        cosine, sine = torch.cos(angle) / factor, torch.sin(angle) / factor
        turned = torch.stack([cosine, -sine * height / width, sine * width / height, cosine], dim=1).view(rows, 2, 2)
        if "shear" in self._names:
            turned[:, :, 1] += turned[:, :, 0] * (self._uniform(rows, 1) * SHEAR * height / width)
        grid = F.affine_grid(torch.cat([turned, moved[:, :, None]], dim=2), list(images.shape), align_corners=False)
        if "elastic" in self._names:
            coarse = self._uniform(rows, 2, ELASTIC_CELLS, ELASTIC_CELLS)
            field = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
            grid = grid + field.permute(0, 2, 3, 1) * ELASTIC_PIXELS * 2 / sides
        return grid

    def _of_other_pens(self, images: Tensor) -> Tensor:
        """Return images some of whose bright strokes are up to a pixel thicker or half of one thinner on each side."""
        drawn = self._uniform(len(images), 2, 1, 1, 1)
        chosen, much = (drawn[:, 0] + 1) / 2, (drawn[:, 1] + 1) / 2
        wider = F.max_pool2d(images, 3, stride=1, padding=1)
        narrower = -F.max_pool2d(-images, 3, stride=1, padding=1)
        thicker = images + much * (wider - images)
        # A stroke of one or two pixels would vanish: it loses half of its edges at most.
        thinner = images + 0.5 * much * (narrower - images)
        changed = torch.where(chosen < THICKENED, thicker, images)
        return torch.where(chosen > 1 - THINNED, thinner, changed)

    def _cropped(self, images: Tensor) -> Tensor:
        """Return images moved by whole pixels, up to :data:`CROP_PIXELS` on each axis."""
        rows, channels, height, width = images.shape
        most = CROP_PIXELS
        padded = F.pad(images, (most,) * 4)
        corner = torch.randint(0, 2 * most + 1, (rows, 2), generator=self._generator, device=self._device)
        down = (corner[:, :1] + torch.arange(height, device=self._device))[:, None, :, None]
        right = (corner[:, 1:] + torch.arange(width, device=self._device))[:, None, None, :]
        row = torch.arange(rows, device=self._device)[:, None, None, None]
        channel = torch.arange(channels, device=self._device)[None, :, None, None]
        return padded[row, channel, down, right]
