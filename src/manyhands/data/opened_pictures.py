"""Opening a picture with Pillow, such that what is wrong with it is an error which names it."""

from __future__ import annotations

import contextlib
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from manyhands.core.errors import DataError, FormatError, MissingDataError
from manyhands.runtime.atomic_files import home_hint


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a picture, and explain what is wrong with it, also where that is found inside the block.

    Raises
    ------
    MissingDataError, FormatError, DataError
        If it is not there; is none, damaged, truncated or far too large; may not be read.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                yield picture
    except DataError:
        raise
    except FileNotFoundError as error:
        raise MissingDataError(f"there is no such file{home_hint(path)}", path=path) from error
    except IsADirectoryError as error:
        raise FormatError("this is a folder; give the pictures in it one by one", path=path) from error
    except PermissionError as error:
        raise DataError(f"cannot be read ({error.strerror})", path=path) from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise FormatError(f"the picture is far too large ({error})", path=path) from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise FormatError(
            f"no picture, or a damaged or truncated one ({error}); replace or remove it", path=path
        ) from error
