"""How the readers are made that pages are read with: trained, calibrated on validation samples, tested once."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import numpy as np

from manyhands.core.choices import NO_CHARACTER
from manyhands.core.version import __version__
from manyhands.data.catalog import load
from manyhands.data.dataset import Dataset
from manyhands.evaluation.calibration import best_temperature, calibration_error
from manyhands.recognition.network import PADDING, network_of, softmax
from manyhands.recognition.reader import Reader
from manyhands.training.api import train
from manyhands.training.result import TrainingResult
from manyhands.training.spec import RunSpec

KIND = "cnn-fast"
DATA = {"digits": "mnist+glyphs+fragments", "all": "mnist+letters+glyphs+fragments"}
"""What the readers are trained with, by the alphabet that they read."""
VALIDATION = 5000
SETTINGS: dict[str, Any] = {
    "learner": KIND,
    "augment": ("handwriting",),
    "strategy": "periodic:1epoch",
    "batch": 200,
    "optimizer": "adam",
    "learning_rate": 0.002,
    "schedule": "cosine",
}
"""The same for both; `manyhands.train` explains them."""


def make_reader(
    alphabet: str,
    *,
    epochs: int = 20,
    workers: int = 1,
    seed: int = 0,
    train_size: int | None = None,
    progress: Callable[..., Any] | None = None,
) -> Reader:
    """Train and calibrate a reader.

    Parameters
    ----------
    alphabet
        ``"digits"``, or ``"all"`` for digits and letters.
    epochs, workers, seed
        Of the training; with several workers, networks are averaged once per epoch.
    train_size
        Samples to train with; by default all but those for validation.
    progress
        See `manyhands.train`.

    Raises
    ------
    DataError
        If the data are not there: MNIST is downloaded, letters are the user's (`MANYHANDS_DATA`).
    SettingsError
        If Pillow, with which characters are drawn, or PyTorch is not installed.
    """
    spec = RunSpec().changed(**SETTINGS, epochs=epochs, workers=workers, seed=seed)
    spec = spec.changed(validation=VALIDATION, train_size=train_size)
    dataset = load(spec.request(DATA[alphabet]))
    result = train(dataset, spec.changed(validation=None, train_size=None), progress=progress)
    return _calibrated(result, dataset, f"manyhands reader --alphabet {alphabet}", epochs, workers, seed)


def _calibrated(result: TrainingResult, dataset: Dataset, command: str, epochs: int, workers: int, seed: int) -> Reader:
    learner: Any = result.model.learner
    tensors = {name: tensor.detach().cpu().numpy() for name, tensor in learner.module.state_dict().items()}
    network = network_of(tensors, PADDING[KIND])
    held = dataset.validation
    assert held is not None
    logits = network.logits(held.features.reshape(-1, 28, 28))
    temperature = best_temperature(logits, held.labels)
    test = softmax(network.logits(dataset.test.features.reshape(-1, 28, 28)) / np.float32(temperature))
    classes = [str(each) for each in dataset.classes]
    made = {
        "command": f"{command} --epochs {epochs} --workers {workers} --seed {seed}",
        "data": dataset.name,
        "note": dataset.note.split(" from ")[0] if " from /" in dataset.note else dataset.note,
        "training_rows": dataset.rows,
        "validation_rows": held.rows,
        "test_rows": dataset.test.rows,
        "test_accuracy": float((test.argmax(axis=1) == dataset.test.labels).mean()),
        "validation_error_of_calibration": calibration_error(softmax(logits / np.float32(temperature)), held.labels),
        "validation_error_before": calibration_error(softmax(logits), held.labels),
        "versions": {"manyhands": __version__, "python": platform.python_version(), "numpy": np.__version__},
    }
    assert NO_CHARACTER in classes
    return Reader(network, "".join(classes), temperature, KIND, made)
