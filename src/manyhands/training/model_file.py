"""The format of model files: safetensors and a description in texts, data only, with a checksum."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import ModelFileError, shown
from manyhands.runtime.atomic_files import atomic_writer, home_hint, unusable

_CHECKSUM = "sha256"
_DTYPES = {
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
    "float32": "F32",
    "uint32": "U32",
    "int32": "I32",
    "float16": "F16",
    "uint16": "U16",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
"""What safetensors calls NumPy's dtypes, in the order in which it writes them."""


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
CHECKPOINT = Form(
    "checkpoint",
    "manyhands.checkpoint/1",
    "manyhands train --resume",
    frozenset({"format", "version", "identity", "workers", _CHECKSUM}),
)


def write_file(
    path: str | Path, description: Mapping[str, str], tensors: Mapping[str, NDArray[Any]], form: Form = MODEL
) -> None:
    """Write a model file; it appears whole or not at all.

    The same contents always give the same bytes, in the order in which the library of safetensors writes tensors. It
    copies all of them twice, which checkpoints, written beside the training, could not afford.
    """
    kept = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    described = {"format": form.name, **description}
    described[_CHECKSUM] = _checksum(described, kept)
    dtypes = list(_DTYPES)
    order = sorted(kept, key=lambda name: (dtypes.index(kept[name].dtype.name), name))
    with atomic_writer(path) as file:
        file.write(_header(described, kept, order))
        for name in order:
            file.write(_bytes_of(kept[name]))


def _header(described: Mapping[str, str], tensors: Mapping[str, NDArray[Any]], order: Sequence[str]) -> bytes:
    """Return the beginning of a safetensors file: names, dtypes, shapes and places, sorted."""
    ends = np.cumsum([tensors[name].nbytes for name in order], dtype=np.int64).tolist()
    places = {name: [begin, end] for name, begin, end in zip(order, [0, *ends], ends, strict=False)}
    header: dict[str, Any] = {
        name: {"dtype": _DTYPES[tensor.dtype.name], "shape": list(tensor.shape), "data_offsets": places[name]}
        for name, tensor in tensors.items()
    }
    text = json.dumps({"__metadata__": dict(described), **header}, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes_of(tensor: NDArray[Any]) -> memoryview:
    """Return the memory of a contiguous array."""
    return tensor.reshape(-1).view(np.uint8).data


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
        other = next((f"; {each.reader} reads it" for each in (MODEL, ESTIMATOR, CHECKPOINT) if each.name == found), "")
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
        digest.update(_bytes_of(np.asarray(tensors[name], order="C")))
    return digest.hexdigest()


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
