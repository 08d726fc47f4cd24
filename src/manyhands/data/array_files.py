"""NumPy's archives (.npz) of features and labels, for training and testing or as one table."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, FormatError, MissingDataError, shown
from manyhands.data.dataset import Examples
from manyhands.data.found import Found, read_timed
from manyhands.runtime.atomic_files import home_hint, readable

_PAIRS = (("x", "y"), ("images", "labels"), ("features", "labels"), ("data", "labels"), ("data", "target"))
"""Names of features and labels, in lower case; with ``train_`` or ``_train`` (``test``) those of one part."""
_FORMS = "x_train, y_train, x_test, y_test (as Keras), or X, y; features, labels; data, target (one table)"
_COLOURS = (1, 3, 4)

Arrays = tuple[str, str]


def read_npz(path: Path) -> Found:
    """Return the samples in a .npz file.

    Raises
    ------
    MissingDataError
        If there is no such file.
    FormatError
        If it is damaged, or has arrays of Python objects, which are never loaded.
    DataError
        If it has not the arrays of one of the known forms, or they do not fit.
    """
    return read_timed(shown(path.name), f"arrays from {shown(path)}", lambda: _read(path))


def refuse_npy(path: Path) -> DataError:
    """Return the error for a .npy file: it is one array, and nothing says which the others are."""
    return DataError(
        "a .npy file is one array; put features and labels into one file, with numpy.savez('data.npz', X=features, "
        "y=labels) or x_train=..., y_train=..., x_test=..., y_test=..., and give that",
        path=path,
    )


def _read(path: Path) -> tuple[Examples, Examples | None]:
    try:
        with open(readable(path), "rb") as file, np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise refuse_npy(path)
            train, test = _names(archive.files, path)
            return _examples(archive, train, path), None if test is None else _examples(archive, test, path)
    except FileNotFoundError as error:
        raise MissingDataError(f"there is no such file{home_hint(path)}", path=path) from error
    except DataError:
        raise
    except ValueError as error:
        if "allow_pickle" in str(error):
            problem = "an array has Python objects, which are never loaded; save numbers, and labels as str"
            raise FormatError(problem, path=path) from error
        raise FormatError(f"not a .npz file, or a damaged one ({error}); save it again", path=path) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, SyntaxError) as error:
        raise FormatError(f"not a .npz file, or a damaged one ({error}); save it again", path=path) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", path=path) from error


def _names(files: list[str], path: Path) -> tuple[Arrays, Arrays | None]:
    """Return the names of features and labels, for training and for testing."""
    known = {name.lower(): name for name in files}

    def pair(form: str) -> Arrays | None:
        found = [tuple(form.format(name) for name in names) for names in _PAIRS]
        there = [(known[one], known[other]) for one, other in found if one in known and other in known]
        return there[0] if len(there) == 1 else None

    for form in ("{}_%s", "%s_{}"):
        train, test = pair(form % "train"), pair(form % "test")
        if train is not None and test is not None:
            return train, test
    both = pair("{}")
    if both is None:
        has = ", ".join(sorted(map(shown, files))[:8]) or "nothing"
        raise DataError(f"the file has the arrays {has}; expected are {_FORMS}", path=path)
    return both, None


def _examples(archive: Any, names: Arrays, path: Path) -> Examples:
    features, labels = (np.asarray(archive[name]) for name in names)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if features.ndim == 1 or features.dtype.kind not in "buif":
        what = "one dimension" if features.ndim == 1 else f"the dtype {features.dtype}"
        raise DataError(f"the array {names[0]} has {what}; features are numbers of shape (rows, ...)", path=path)
    return Examples(channels_first(features), labels, path)


def channels_first(features: NDArray[Any]) -> NDArray[Any]:
    """Return images (rows, height, width, channels), as Keras and Pillow have them, with channels before height."""
    shape = features.shape
    if len(shape) == 4 and shape[3] in _COLOURS and shape[1] not in _COLOURS:
        return np.ascontiguousarray(features.transpose(0, 3, 1, 2))
    return features
