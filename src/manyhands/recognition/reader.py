"""What reads single characters: a network, the characters that its outputs stand for, and its temperature."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.choices import ALPHABETS, NO_CHARACTER
from manyhands.core.errors import ModelFileError, SettingsError, shown
from manyhands.core.parameters import parameter
from manyhands.core.suggestions import choice_of
from manyhands.recognition.network import PADDING, Network, network_of, softmax
from manyhands.runtime.atomic_files import cache_folder
from manyhands.training.model_file import Form, read_file, write_file

DIGITS, LETTERS = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CHARACTERS = {"digits": DIGITS, "letters": LETTERS, "all": DIGITS + LETTERS}
"""What can be read, by the names of `manyhands.core.choices.ALPHABETS`."""
FORM = Form(
    "reader",
    "manyhands.reader/1",
    "manyhands read --model",
    frozenset({"format", "network", "characters", "temperature", "made", "sha256"}),
)


@dataclass(frozen=True)
class Reader:
    """A network that reads characters in MNIST's form.

    Attributes
    ----------
    network : Network
        Its weights.
    characters : str
        What its outputs stand for; `manyhands.core.choices.NO_CHARACTER` for what is none.
    temperature : float
        Logits are divided by it before softmax, so that probabilities are calibrated (Guo et al. 2017).
    kind : str
        Name of the network, see `manyhands.recognition.network.PADDING`.
    made : dict
        How it was trained: data, settings, accuracy, calibration.
    """

    network: Network
    characters: str
    temperature: float = 1.0
    kind: str = "cnn-fast"
    made: Mapping[str, Any] | None = None

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the network says of images of shape (rows, 28, 28), for `likely`."""
        return self.network.logits(images)

    def probabilities(self, images: NDArray[np.uint8], characters: str) -> NDArray[np.float32]:
        """Return the probabilities of images; see `likely`."""
        return self.likely(self.logits(images), characters)

    def likely(self, logits: NDArray[np.float32], characters: str) -> NDArray[np.float32]:
        """Return the probability of each of some characters, shape (rows, characters).

        Rows sum to 1, less the probability that it is none of them, if the network knows that.

        Parameters
        ----------
        logits : ndarray of shape (rows, outputs), float32
            Of images in MNIST's form, see `manyhands.data.normalized.normalized`.
        characters
            Those that it can be; the network knows all of them.
        """
        wanted = [*characters, *(each for each in self.characters if each == NO_CHARACTER)]
        at = [self.characters.index(each) for each in wanted]
        found = softmax(logits[:, at] / np.float32(self.temperature))
        return found[:, : len(characters)]

    def save(self, path: str | Path) -> None:
        """Write the reader to a file, weights as float16, which halves its size and changes no tenth of a percent."""
        layers = [(weights, biases) for weights, biases, _ in self.network.convolutions] + list(self.network.dense)
        tensors = {
            f"{number}.{name}": array.astype(np.float16)
            for number, pair in enumerate(layers)
            for name, array in zip(("weight", "bias"), pair, strict=True)
        }
        description = {
            "network": self.kind,
            "characters": self.characters,
            "temperature": repr(float(self.temperature)),
            "made": json.dumps(dict(self.made or {}), sort_keys=True),
        }
        write_file(path, description, tensors, FORM)


def load_reader(path: str | Path) -> Reader:
    """Return the reader in a file.

    Raises
    ------
    ModelFileError
        If it is missing, damaged, or no reader.
    """
    description, tensors = read_file(path, FORM)
    try:
        kind, characters = description["network"], description["characters"]
        temperature, made = float(description["temperature"]), json.loads(description["made"])
        network = network_of(tensors, PADDING[kind])
    except (KeyError, ValueError) as error:
        raise ModelFileError(f"{shown(path)}: a reader's description is damaged ({error})") from error
    if network.classes != len(characters) or len(set(characters)) != len(characters):
        raise ModelFileError(f"{shown(path)}: {network.classes} outputs for {len(characters)} characters")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ModelFileError(f"{shown(path)}: the temperature {temperature} is none")
    return Reader(network, characters, temperature, kind, made)


def file_of(alphabet: str) -> str:
    """Return the name of the file whose reader knows an alphabet: one for digits, one for everything."""
    return "digits.safetensors" if alphabet == "digits" else "all.safetensors"


def own_file(alphabet: str) -> Path:
    """Return where a reader that this user has trained is kept (``manyhands reader``)."""
    return cache_folder() / "readers" / file_of(alphabet)


def reader_for(alphabet: str, model: str | Path | None = None) -> Reader:
    """Return what reads an alphabet: the file that is given, else the user's own, else the one that comes along.

    Raises
    ------
    SettingsError
        If there is no such alphabet, or the reader does not know all of its characters.
    ModelFileError
        As :func:`load_reader`.
    """
    if alphabet not in ALPHABETS:
        given = parameter("alphabet", alphabet)
        raise SettingsError(f"{given}: there is no such alphabet{choice_of(str(alphabet), ALPHABETS)}")
    if model is None:
        own = own_file(alphabet)
        model = own if own.is_file() else Path(str(files("manyhands.recognition") / "readers" / file_of(alphabet)))
    reader = _loaded(Path(model), _stamp(Path(model)))
    unknown = [each for each in CHARACTERS[alphabet] if each not in reader.characters]
    if unknown:
        raise SettingsError(
            f"{shown(model)} reads {reader.characters}, and not {''.join(unknown)}: choose another "
            f"{parameter('alphabet')}, or train a reader for it (manyhands reader)"
        )
    return reader


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file does; None if it is not there, which reading it will say."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size


@cache
def _loaded(path: Path, _stamp: tuple[int, int] | None) -> Reader:
    return load_reader(path)
