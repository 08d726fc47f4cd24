"""What users set about PyTorch learners beside the optimizer. NumPy-free: the command line's help is made of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from manyhands.core.checks import positive_real, real, shortened, truth, whole
from manyhands.core.choices import AUGMENTATIONS, DEVICES, GATES, LANE_PLANS, NETWORKS, PRECISIONS
from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.settings import amount, check_settings, positive, setting
from manyhands.core.suggestions import choice_of
from manyhands.core.words import count
from manyhands.learners.mlp.settings import MLPSettings

OF_PERCEPTRONS = ("hidden", "activation", "l2", "loss", "weight_init", "bias_init", "dropout", "dtype")
"""Settings of multilayer perceptrons that a module has its own answer to."""
_LEAST_SIDE = {"cnn-small": 12, "cnn-fast": 12, "cnn-deep": 4, "resnet-small": 4}
"""Pixels that images need on each side: fewer, and nothing is left of them between the layers."""


def check_network(learner: str, settings: MLPSettings, shape: tuple[int, ...]) -> None:
    """Check that a learner of `manyhands.core.choices.PYTORCH` knows what is set, and takes samples of this shape.

    Raises
    ------
    SettingsError
        If a setting is one of multilayer perceptrons, which would be ignored; or if a network for images gets none.
    """
    usual = MLPSettings()
    for each in OF_PERCEPTRONS:
        value = getattr(settings, each)
        if value != getattr(usual, each):
            advice = f"; use {parameter('weight_decay')}" if each == "l2" else ""
            raise SettingsError(
                f"{parameter(each, value)} is a setting of the learner mlp; the learner {learner} has its own{advice}"
            )
    if learner in NETWORKS and len(shape) != 3:
        raise SettingsError(
            f"the learner {learner} needs images, and a sample has the shape {shape}; give rows of pixels a shape: "
            f"{parameter('shape', (1, 28, 28))}"
        )
    least = _LEAST_SIDE.get(learner, 1)
    if min(shape[1:], default=least) < least:
        raise SettingsError(
            f"the learner {learner} needs images of {least} x {least} pixels or more, not {shape[1]} x {shape[2]}"
        )


def augmentations(text: str) -> tuple[str, ...]:
    """Read ``shift,rotate`` or ``none``."""
    return () if text == "none" else tuple(text.split(","))


def _function(name: str, value: Any) -> Any:
    """Return a function."""
    if not callable(value):
        raise SettingsError(f"{name} must be a function, not {shortened(value)}")
    return value


def _threshold(name: str, value: Any) -> float:
    """Return a number from 0 to 1."""
    found = real(name, value)
    if not 0 <= found <= 1:
        raise SettingsError(f"{name} must lie between 0 and 1, not {shortened(value)}")
    return found


_COUNT = partial(whole, least=1, most=64)


def _from_zero(name: str, value: Any) -> float:
    """Return a number that is not negative."""
    found = real(name, value)
    if not 0 <= found < math.inf:
        raise SettingsError(f"{name} must be a number from 0 on, not {shortened(value)}")
    return found


@dataclass(frozen=True)
class TorchSettings:
    """What a user sets about a PyTorch learner; each field says what it is in its metadata.

    ``loss_function`` and ``parameter_groups`` can be set from Python only; a group has ``params``, and may have an
    ``lr`` or ``weight_decay`` of its own.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """

    precision: str = setting(
        "auto",
        "numbers of convolutions and matrix products: float32, or bfloat16 by autocast; auto takes bfloat16 for "
        "networks that come along where the CPU multiplies such numbers itself, as a study has found the accuracy the "
        "same",
        "pytorch",
        choices=PRECISIONS,
    )
    device: str = setting(
        "cpu", "where the network is trained; auto: on the GPU, if there is one", "pytorch", choices=DEVICES
    )
    augment: tuple[str, ...] = setting(
        (),
        f"change every batch of images at random: {', '.join(AUGMENTATIONS)}, separated by commas",
        "pytorch",
        metavar="A[,A...]",
        read=augmentations,
    )
    clip: float | None = setting(
        None, "scale gradients down to this Euclidean norm", "pytorch", metavar="C", read=amount, check=positive_real
    )
    speculative: float | None = setting(
        None,
        "go back beside going forward, from what was stored for the same labels; samples farther from it than this, "
        "from 0 (all) to 1 (none), are computed truly",
        "speculation",
        metavar="T",
        read=float,
        check=_threshold,
    )
    lanes: int = setting(
        2,
        "threads of each worker that share the work of a step",
        "speculation",
        metavar="L",
        read=positive,
        check=_COUNT,
    )
    lane_plan: str = setting(
        "balanced",
        "balanced: lanes share all weight gradients; plain: one goes forward and one back",
        "speculation",
        choices=LANE_PLANS,
    )
    micro_batches: int = setting(
        1,
        "parts of a batch that go through the network one after the other: lanes go back with what is done, while one "
        "goes forward with the next (with T = 0)",
        "speculation",
        metavar="M",
        read=positive,
        check=_COUNT,
    )
    gate: str = setting(
        "sample",
        "what is compared with T: total variation between a sample's class probabilities and the stored ones, its mean "
        "over the batch, or the largest part of a layer's ReLU masks that differs",
        "speculation",
        choices=GATES,
    )
    speculation_warmup: float = setting(
        0.0,
        "epochs without speculation at the beginning, whole or in part: 0.25",
        "speculation",
        metavar="E",
        read=float,
        check=_from_zero,
    )
    weight_prediction: bool = setting(
        False,
        "go forward with the weights plus their last update, as outcomes are used one step later (with T = 1)",
        "speculation",
        check=truth,
    )
    loss_function: Callable[[Any, Any], Any] | None = setting(
        None, "takes outputs and class numbers, returns the mean loss (default: cross-entropy)", "", check=_function
    )
    parameter_groups: Callable[[Any], Any] | None = setting(
        None, "takes the module, returns groups as torch.optim takes them", "", check=_function
    )

    @property
    def speculation(self) -> str:
        """What is set about speculation, in words."""
        beyond = [
            count(self.micro_batches, "micro-batch") if self.micro_batches > 1 else "",
            f"gate {self.gate}" if self.gate != "sample" else "",
            f"{self.speculation_warmup:g} epochs without" if self.speculation_warmup else "",
            "predicted weights" if self.weight_prediction else "",
        ]
        what = f"speculative {self.speculative:g}, {count(self.lanes, f'{self.lane_plan} lane')}"
        return ", ".join([what, *filter(None, beyond)])

    def changed(self, **settings: Any) -> TorchSettings:
        """Return other settings."""
        return replace(self, **settings)

    def __post_init__(self) -> None:
        given = self.augment if isinstance(self.augment, list | tuple) else (self.augment,)
        object.__setattr__(self, "augment", tuple(given))
        check_settings(self)
        for each in given:
            if each not in AUGMENTATIONS:
                raise SettingsError(
                    f"{parameter('augment')}: {shortened(each)} is unknown{choice_of(str(each), AUGMENTATIONS)}"
                )
