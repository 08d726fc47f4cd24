"""Networks for pictures that come along; each is a plain ``torch.nn.Sequential`` made for the shape of the samples."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

Shape = tuple[int, ...]


def cnn_small(shape: Shape, classes: int) -> nn.Module:
    """Return a network of LeNet-5's size (LeCun et al. 1998), with ReLU and maxima: 62,000 parameters for MNIST."""
    return nn.Sequential(
        nn.Conv2d(shape[0], 6, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(_left(shape, (5, 2), (5, 0)) * 16, 120), nn.ReLU(),
        nn.Linear(120, 84), nn.ReLU(),
        nn.Linear(84, classes),
    )  # fmt: skip


def cnn_fast(shape: Shape, classes: int) -> nn.Module:
    """Return a network that needs one epoch of handwriting; pooling comes before ReLU, which then has less to do."""
    return nn.Sequential(
        nn.Conv2d(shape[0], 24, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(24, 32, 3), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(_left(shape, (5, 0), (3, 0)) * 32, 256), nn.ReLU(),
        nn.Linear(256, classes),
    )  # fmt: skip


def cnn_deep(shape: Shape, classes: int) -> nn.Module:
    """Return a plain stack of four convolutions and two dense layers, for colour pictures without BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(shape[0], 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(_left(shape, (3, 1), (3, 1)) * 64, 256), nn.ReLU(),
        nn.Linear(256, classes),
    )  # fmt: skip


def resnet_small(shape: Shape, classes: int) -> nn.Module:
    """Return a residual network with BatchNorm for small colour pictures (He et al. 2016): three stages of a block."""
    return nn.Sequential(
        _convolution(shape[0], 32), nn.ReLU(),
        Residual(32, 32), Residual(32, 64, stride=2), Residual(64, 128, stride=2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(128, classes),
    )  # fmt: skip


class Residual(nn.Module):
    """Two convolutions beside a shortcut.

    Parameters
    ----------
    inputs, outputs
        Channels.
    stride
        Of the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(_convolution(inputs, outputs, stride), nn.ReLU(), _convolution(outputs, outputs))
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else _convolution(inputs, outputs, stride, width=1)
        self.activation = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return relu(body(inputs) + shortcut(inputs))."""
        out: Tensor = self.activation(self.body(inputs) + self.shortcut(inputs))
        return out


def _convolution(inputs: int, outputs: int, stride: int = 1, width: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, width, stride=stride, padding=width // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def _left(shape: Shape, *layers: tuple[int, int]) -> int:
    """Return how many places are left of an image after convolutions (width, padding), each with pooling behind."""
    height, width = shape[1:]
    for kernel, padding in layers:
        height, width = ((side + 2 * padding - kernel + 1) // 2 for side in (height, width))
    return height * width


NETWORKS: dict[str, Callable[[Shape, int], nn.Module]] = {
    "cnn-small": cnn_small,
    "cnn-fast": cnn_fast,
    "cnn-deep": cnn_deep,
    "resnet-small": resnet_small,
}
"""The networks by the names that ``learner`` takes; see `manyhands.core.choices.NETWORKS`."""


def maker(name: str, shape: Shape, classes: int) -> Callable[[], nn.Module]:
    """Return a function that makes a network with random parameters; its samples are images that are large enough."""
    return lambda: NETWORKS[name](shape, classes)
