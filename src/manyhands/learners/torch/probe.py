"""What is tried on a module before it is trained: a few samples go forward and back."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor, nn

from manyhands.core.errors import SettingsError
from manyhands.learners.torch.batches import Batches


def probe(module: nn.Module, batches: Batches) -> None:
    """Try a module on two samples, in training mode; its buffers change.

    Parameters
    ----------
    module
        A copy that is not needed any more.
    batches
        Of the training rows.

    Raises
    ------
    SettingsError
        If it does not take samples of this shape, returns no tensor of shape (rows, K) for all classes, or no trained
        parameter has an influence on it.
    """
    rows = np.arange(min(2, batches.samples.rows), dtype=np.int32)
    labels, shape = batches.labels(rows), batches.samples.sample_shape
    module.train()
    try:
        outputs = module(batches.inputs(rows))
    except Exception as error:
        raise SettingsError(
            f"the module does not take a batch of shape {(len(rows), *shape)} (samples, then the shape of one): {error}"
        ) from error
    classes = int(batches.samples.labels.max()) + 1
    _check_outputs(outputs, len(rows), classes)
    _check_backward(F.cross_entropy(outputs.float(), labels), module)


def _check_outputs(outputs: object, rows: int, classes: int) -> None:
    if not isinstance(outputs, Tensor):
        raise SettingsError(
            f"the module returns {type(outputs).__name__}, not a tensor of logits of shape (rows, classes): wrap it in "
            "a module that does"
        )
    if outputs.dim() != 2 or outputs.shape[0] != rows or outputs.shape[1] < classes:
        raise SettingsError(
            f"the module returns a tensor of shape {tuple(outputs.shape)} for {rows} samples of {classes} classes; "
            f"logits of shape ({rows}, {classes}) are needed"
        )
    if not outputs.is_floating_point():
        raise SettingsError(f"the module returns {outputs.dtype}; logits are real numbers")


def _check_backward(loss: Tensor, module: nn.Module) -> None:
    if not loss.requires_grad:
        raise SettingsError("no trained parameter has an influence on what the module returns")
    try:
        loss.backward()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise SettingsError(f"no gradient can be computed through the module: {error}") from error


def least_batch(module: nn.Module) -> int:
    """Return how many samples a batch must have at least: one, or two for statistics over the batch."""
    averaging = any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in module.modules())
    return 2 if averaging else 1
