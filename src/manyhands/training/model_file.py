"""The format of model files: safetensors and a description in texts, data only, with a checksum."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import ModelFileError, shown
from manyhands.runtime.atomic_files import home_hint, unusable, write_whole

_CHECKSUM = "sha256"


class Form(NamedTuple):
    """A kind of file.

    Attributes
    ----------
    what
        What it is, for messages.
    name
        Of the format, with its version.
    reader
        What reads such files, for messages.
    parts
        What a description may have: more may be damage, or change what the rest means.
    """

    what: str
    name: str
    reader: str
    parts: frozenset[str]


MODEL = Form(
    "model",
    "manyhands.model/1",
    "load_model",
    frozenset({
        *("format", "learner", "settings", "classes", "scaling", "name"),
        *("threshold", "columns", "shape", "origin", _CHECKSUM),  # not in every file
    }),
)  # fmt: skip
ESTIMATOR = Form(
    "estimator",
    "manyhands.estimator/1",
    "the method load of its estimator, such as MLPClassifier.load",
    frozenset({"format", "estimator", "parameters", "fitted", "classes", "names", "optimizer", _CHECKSUM}),
)


def write_file(
    path: str | Path, description: Mapping[str, str], tensors: Mapping[str, NDArray[Any]], form: Form = MODEL
) -> None:
    """Write a model file; it appears whole or not at all."""
    from safetensors.numpy import save

    described = {"format": form.name, **description}
    described[_CHECKSUM] = _checksum(described, tensors)
    write_whole(path, _in_one_order(save(dict(tensors), metadata=described)))


def read_file(path: str | Path, form: Form = MODEL) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Return the description and the arrays of a model file, which are those that were written.

    Raises
    ------
    ModelFileError
        If it is missing, damaged or not a model file; says what.
    """
    if problem := unusable(path):
        raise ModelFileError(f"{shown(path)}: this path cannot be used: {problem}")
    path = Path(path)
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - they never raise
        raise ModelFileError(f"{shown(path)}: it is no ordinary file; give the file of a model")
    description, tensors = _read(path)
    if (found := description.get("format")) != form.name:
        other = next((f"; {each.reader} reads it" for each in (MODEL, ESTIMATOR) if each.name == found), "")
        raise ModelFileError(f"{path}: not a manyhands {form.what} (format {found!r}){other}")
    if strange := sorted(set(description) - form.parts):
        raise ModelFileError(f"{path}: damaged, or written by a newer version (it has a part {strange[0][:40]!r})")
    if _CHECKSUM in description and description[_CHECKSUM] != _checksum(description, tensors):
        raise ModelFileError(f"{path}: damaged: its contents do not have the checksum that was written with them")
    return description, tensors


def _checksum(description: Mapping[str, str], tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return a digest of all that a model file says, whatever its order and spelling."""
    texts = {name: text for name, text in description.items() if name != _CHECKSUM}
    facts = {name: [block.dtype.str, block.shape] for name, block in tensors.items()}
    digest = hashlib.sha256(json.dumps([texts, facts], sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()


def _in_one_order(content: bytes) -> bytes:
    """Return a safetensors file with its header sorted: the library's own order changes from process to process."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    # Offsets count from the end of the header, so the tensors themselves may stay as they are.
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _read(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Return a safetensors file's description and arrays."""
    from safetensors import SafetensorError, safe_open

    try:
        if path.exists() and not path.is_file():  # to open a pipe would wait for ever
            raise ModelFileError(f"{path}: no model file but a folder, a device or a pipe")
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ModelFileError(f"{shown(path)}: there is no such file{home_hint(path)}") from error
    except ModelFileError:
        raise
    except (SafetensorError, OSError, TypeError, ValueError, AttributeError) as error:  # last: a type NumPy lacks
        raise ModelFileError(f"{path}: damaged or not a model file ({error})") from error
