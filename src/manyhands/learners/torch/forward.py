"""What is read from any module, a learner's or not: logits, class probabilities, blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from manyhands.core.samples import Samples
from manyhands.learners.torch.batches import Batches
from manyhands.learners.torch.devices import chosen_precision

_ROWS_AT_ONCE = 500
_PREFIX = "module."


def logits(module: nn.Module, inputs: Tensor, *, bfloat16: bool) -> Tensor:
    """Return the module's outputs for a batch in float32; with ``bfloat16`` it computes by autocast."""
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bfloat16):
        outputs: Tensor = module(inputs)
    return outputs.float()


def probabilities(module: nn.Module, batches: Batches, *, bfloat16: bool) -> NDArray[Any]:
    """Return class probabilities of all samples, shape (rows, K): softmax of the logits in evaluation mode."""
    module.eval()
    found, count = [], batches.samples.rows
    with torch.inference_mode():
        for begin in range(0, count, _ROWS_AT_ONCE):
            rows = np.arange(begin, min(begin + _ROWS_AT_ONCE, count), dtype=np.int32)
            found.append(logits(module, batches.inputs(rows), bfloat16=bfloat16).softmax(dim=1).cpu().numpy())
    return np.concatenate(found)


def blocks_of(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Return copies of all parameters and buffers: ``module.`` and their name in the module's ``state_dict``."""
    blocks = module.state_dict()
    return {f"{_PREFIX}{name}": block.detach().cpu().contiguous().numpy().copy() for name, block in blocks.items()}


def predict_rows(module: nn.Module, rows: NDArray[Any], shape: tuple[int, ...], precision: str) -> NDArray[Any]:
    """Return the class probabilities that a trained module finds, where it is, shape (rows, K).

    Parameters
    ----------
    module
        Any module; it is in evaluation mode then.
    rows : ndarray of shape (rows, features), float32 or uint8
        Unscaled samples.
    shape
        Of one sample.
    precision
        One of `manyhands.core.choices.PRECISIONS`.
    """
    device = next(module.parameters()).device
    features = rows.shape[1]
    samples = Samples(rows, np.zeros(len(rows), np.int32), np.ones(features), np.zeros(features), sample_shape=shape)
    bfloat16 = chosen_precision(precision, device) == "bfloat16"
    return probabilities(module, Batches(samples, device), bfloat16=bfloat16)
