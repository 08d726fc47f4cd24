"""MNIST in memory and the command line, the same for all peers."""

from __future__ import annotations

import argparse
import gzip
import os
from pathlib import Path

import numpy as np


def arguments() -> argparse.Namespace:
    """Return the workload that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=6000, help="first training images, with those for validation")
    parser.add_argument("--validation", type=int, default=0, help="of these, the last ones are for validation")
    parser.add_argument("--hidden", type=lambda text: [int(width) for width in text.split(",")], default=[75])
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=75)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--until", type=float, help="end after an epoch with this accuracy on the validation images")
    return parser.parse_args()


def load(rows: int, validation: int = 0):
    """Return (images, labels) for training, validation and test: float32 from 0 to 1, and int64."""
    images, labels = _read("train-images-idx3-ubyte", 16), _read("train-labels-idx1-ubyte", 8)
    images, train = images.reshape(len(labels), -1), rows - validation
    test_labels = _read("t10k-labels-idx1-ubyte", 8)
    test_images = _read("t10k-images-idx3-ubyte", 16).reshape(len(test_labels), -1)
    return (
        (_scaled(images[:train]), labels[:train].astype(np.int64)),
        (_scaled(images[train:rows]), labels[train:rows].astype(np.int64)),
        (_scaled(test_images), test_labels.astype(np.int64)),
    )


def _read(name: str, header: int) -> np.ndarray:
    with gzip.open(Path(os.environ["MANYHANDS_DATA"]) / "mnist" / f"{name}.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


def _scaled(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(255)
