"""Each layer taken apart has the outputs and gradients of PyTorch's own."""

import copy

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from manyhands.learners.torch.speculative.lanes import Backward, Lane  # noqa: E402
from manyhands.learners.torch.speculative.layers import layers_of, multiply_adds  # noqa: E402

IMAGES, ROWS = (6, 4, 9, 9), (6, 20)
CASES = [
    (nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2, dilation=1), IMAGES),
    (nn.Conv2d(4, 5, 3, bias=False), IMAGES),
    (nn.Linear(20, 7), ROWS),
    (nn.Linear(20, 7, bias=False), ROWS),
    (nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), IMAGES),
    (nn.AvgPool2d(2), IMAGES),
    (nn.AdaptiveAvgPool2d(2), IMAGES),
    (nn.ReLU(), IMAGES),
    (nn.Tanh(), ROWS),
    (nn.Sigmoid(), ROWS),
    (nn.LeakyReLU(0.2), ROWS),
    (nn.SiLU(), ROWS),
    (nn.GELU(approximate="tanh"), ROWS),
    (nn.Flatten(), IMAGES),
    (nn.BatchNorm2d(4), IMAGES),
    (nn.BatchNorm1d(20), ROWS),
    (nn.Dropout(0.3), ROWS),
    (nn.Sequential(nn.Tanh(), nn.ReLU(), nn.Sequential(nn.Linear(20, 5)), nn.Identity()), ROWS),
]


@pytest.mark.parametrize(("module", "shape"), CASES, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("channels_last", [False, True])
def test_outputs_and_gradients(module, shape, channels_last):
    torch.manual_seed(0)
    inputs = torch.randn(shape)
    if channels_last and len(shape) == 4:
        inputs = inputs.to(memory_format=torch.channels_last)
    before = nn.Sequential(nn.Conv2d(4, 4, 1) if len(shape) == 4 else nn.Linear(20, 20))  # so that gradients go through
    stack = nn.Sequential(before, module)
    theirs = copy.deepcopy(stack).train()
    torch.manual_seed(1)
    outputs = theirs(inputs)
    gradient = torch.randn(outputs.shape)
    outputs.backward(gradient)
    for each in stack.parameters():
        each.grad = torch.full_like(each, 7.0)  # is overwritten
    layers, saved, x = layers_of(stack), [], inputs.clone(memory_format=torch.preserve_format)
    torch.manual_seed(1)
    with torch.no_grad():
        for layer in layers:
            x, kept = layer.forward(x)
            saved.append(kept)
        torch.testing.assert_close(x, outputs.detach())
        for add in (False, True):
            backward = Backward(layers, add=add, shared=False)
            backward.add(saved, gradient.clone())
            backward.catch_up(Lane(0))
            for ours, other in zip(stack.parameters(), theirs.parameters(), strict=True):
                torch.testing.assert_close(ours.grad, other.grad * (2 if add else 1), atol=1e-5, rtol=1e-5)
    for ours, other in zip(stack.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(ours, other)


def test_multiply_adds_by_hand():
    stack = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(48, 5))
    counts = multiply_adds(layers_of(stack), torch.zeros(1, 1, 8, 8))
    first, second, dense = 2 * 36 * 9, 3 * 16 * 18, 48 * 5
    assert counts == {
        "forward": first + second + dense,
        "input gradient": second + dense,  # nobody needs that of the images
        "weight gradient": first + second + dense,
    }
