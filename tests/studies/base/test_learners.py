"""What checkpoints of studies know about PyTorch's learners."""

import pytest

torch = pytest.importorskip("torch")

from manyhands.core.errors import SettingsError  # noqa: E402
from manyhands.studies.compare.run import compare  # noqa: E402


def perceptron():
    torch.manual_seed(0)
    return torch.nn.Linear(7, 3)


def test_a_module_that_starts_from_other_parameters_does_not_resume(blobs, tmp_path):
    """Their class is the same, and so is the text that names it."""
    first, other = perceptron(), perceptron()
    with torch.no_grad():
        other.weight[0, 0] += 1
    how = {"epochs": 1, "seeds": 1, "workers": (1,), "checkpoint": tmp_path / "runs"}
    once = compare(blobs, module=first, **how)
    assert compare(blobs, module=perceptron(), **how).runs == once.runs
    with pytest.raises(SettingsError, match="module_start"):
        compare(blobs, module=other, **how)
