"""What a speculative learner remembers, as two arrays of bytes: outcomes of batches, and what it has counted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyhands.learners.torch.speculative.facts import Facts
from manyhands.learners.torch.speculative.gate import Outcome

CONTENT, PLACES = "memory", "memory_places"
_COUNTS = ("hits", "misses", "unseen", "by_epoch", "seconds", "clean", "steps_per_epoch", "_steps")


def packed(stored: Mapping[bytes, Outcome], facts: Facts) -> dict[str, NDArray[np.uint8]]:
    """Return outcomes and counts as bytes, and a description of where each tensor is in them."""
    pieces: list[NDArray[Any]] = []

    def place(tensor: Tensor) -> list[Any]:
        array = np.ascontiguousarray(tensor.detach().cpu().numpy())
        pieces.append(array.reshape(-1).view(np.uint8))
        return [array.dtype.str, list(array.shape)]

    outcomes = [
        {
            "saved": [[place(each) for each in layer] for layer in outcome.saved],
            "others": [place(each) for each in (outcome.probabilities, outcome.labels, outcome.losses)],
        }
        for outcome in stored.values()
    ]
    counts = {name: getattr(facts, name) for name in _COUNTS}
    described = {
        "outcomes": outcomes,
        "counts": {**counts, "busy": facts.busy.tolist(), "distances": facts.distances.tolist()},
    }
    content = np.concatenate(pieces) if pieces else np.zeros(0, np.uint8)
    return {CONTENT: content, PLACES: np.frombuffer(json.dumps(described).encode(), np.uint8).copy()}


def unpacked(arrays: Mapping[str, NDArray[Any]], facts: Facts) -> dict[bytes, Outcome]:
    """Return the outcomes that :func:`packed` has put into arrays, by their labels, and give ``facts`` their counts."""
    described, content, at = json.loads(arrays[PLACES].tobytes()), arrays[CONTENT], 0

    def take(place: list[Any]) -> Tensor:
        nonlocal at
        dtype, shape = np.dtype(place[0]), place[1]
        end = at + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        array, at = np.array(content[at:end]).view(dtype).reshape(shape), end
        return torch.from_numpy(array)

    stored = {}
    for each in described["outcomes"]:
        saved = [tuple(take(place) for place in layer) for layer in each["saved"]]
        probabilities, labels, losses = (take(place) for place in each["others"])
        stored[labels.numpy().tobytes()] = Outcome(saved, probabilities, labels, losses)
    for name, value in described["counts"].items():
        setattr(facts, name, np.array(value) if name in ("busy", "distances") else value)
    return stored
