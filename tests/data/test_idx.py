"""IDX files: every valid one comes back as it was, every other one is refused with its name and byte."""

import gzip
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from manyhands.data.idx import read_idx
from manyhands.errors import DataError, FormatError, MissingDataError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
quick = settings(deadline=None, max_examples=100)


def header(code: int, *shape: int) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape)


def idx(array: NDArray[Any]) -> bytes:
    kind = array.dtype.str[1:]
    return header(CODES[kind], *array.shape) + array.astype(f">{kind}").tobytes()


VALID = idx(np.arange(24, dtype=np.int16).reshape(2, 3, 4))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file name for all, written anew each time."""
    return tmp_path_factory.mktemp("idx") / "some-idx3-ubyte"


def array_or_error(path: Path) -> NDArray[Any] | DataError:
    try:
        return read_idx(path)
    except DataError as error:
        return error


@st.composite
def valid_arrays(draw: st.DrawFn) -> NDArray[Any]:
    dtype = np.dtype(draw(st.sampled_from(sorted(CODES))))
    return draw(arrays.arrays(dtype, arrays.array_shapes(max_dims=4, max_side=5)))


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A valid file, perhaps compressed, with some bytes replaced, taken out or put in."""
    content = draw(st.sampled_from([VALID, gzip.compress(VALID, mtime=0), idx(np.zeros((0, 3), np.uint8))]))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=4)) + content[at + draw(st.integers(0, 4)) :]
    return content


@quick
@given(valid_arrays(), st.booleans())
def test_every_valid_array_comes_back(path, array, compressed):
    path.write_bytes(gzip.compress(idx(array)) if compressed else idx(array))
    back = read_idx(path)
    assert back.dtype == array.dtype  # so it has the machine's byte order
    np.testing.assert_array_equal(back, array)


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(lambda tail: b"\0\0\x08" + tail), damaged_files()))
def test_any_bytes_give_an_array_or_a_data_error(path, content):
    path.write_bytes(content)
    result = array_or_error(path)
    if isinstance(result, DataError):
        assert str(path) in str(result)
    elif content[:2] == b"\x1f\x8b":
        assert idx(result) == gzip.decompress(content)
    else:
        assert idx(result) == content


@quick
@given(st.integers(1, len(VALID) - 1))
def test_a_truncated_file_is_refused_at_its_last_byte(path, length):
    path.write_bytes(VALID[:length])
    with pytest.raises(FormatError) as caught:
        read_idx(path)
    assert (caught.value.path, caught.value.byte) == (path, length)


@quick
@given(st.binary(min_size=1, max_size=20))
def test_an_oversized_file_is_refused_at_the_first_byte_too_many(path, extra):
    path.write_bytes(VALID + extra)
    with pytest.raises(FormatError, match="goes on after") as caught:
        read_idx(path)
    assert (caught.value.path, caught.value.byte) == (path, len(VALID))


@pytest.mark.parametrize(
    ("content", "byte", "problem"),
    [
        (b"", 0, "the file is empty"),
        (b"\0\0\x08", 3, "ends inside the magic number"),
        (b"\0\0\x08\x03\0\0\0\1\0\0", 10, "ends inside the list of sizes"),
        (header(0x08, 2, 3) + b"12345", 17, "promises 18 bytes for shape (2, 3)"),
        (b"PK\x03\x04zipped", 0, "not an IDX file: it begins with 50 4b 03 04"),
        (header(0x0A, 1) + b"1", 0, "not an IDX file"),
        (header(0x08) + b"1", 0, "not an IDX file"),
        (header(0x08, *[1] * 9) + b"1", 0, "not an IDX file"),
        (gzip.compress(b""), 0, "the file is empty"),
        (gzip.compress(header(0x08, 2, 3) + b"12345"), 17, "promises 18 bytes"),
    ],
    ids=["empty", "magic", "sizes", "values", "zip", "type", "scalar", "nine-dimensional", "empty.gz", "values.gz"],
)
def test_the_message_names_file_byte_and_problem(tmp_path, content, byte, problem):
    path = tmp_path / "some-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}, byte {byte}: ")
    assert problem in str(caught.value)


def test_a_missing_file_is_missing_data(tmp_path):
    with pytest.raises(MissingDataError, match="none-idx1-ubyte: there is no such file"):
        read_idx(tmp_path / "none-idx1-ubyte")


def test_a_folder_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_idx(tmp_path)
    assert caught.value.path == tmp_path


def broken_gzips() -> dict[str, bytes]:
    whole = gzip.compress(VALID, mtime=0)
    return {
        "only the magic": whole[:2],
        "half": whole[: len(whole) // 2],
        "no checksum": whole[:-8],
        "wrong checksum": whole[:-8] + bytes(4) + whole[-4:],
        "wrong blocks": whole[:10] + b"\xff" * 20,
        "other bytes behind": whole + b"garbage",
    }


@pytest.mark.parametrize("damage", broken_gzips())
def test_a_broken_gzip_file_is_a_format_error(path, damage):
    path.write_bytes(broken_gzips()[damage])
    with pytest.raises(FormatError, match="broken gzip file") as caught:
        read_idx(path)
    assert caught.value.path == path


@pytest.mark.parametrize("name", ["images.gz", "images"])
@pytest.mark.parametrize("content", [VALID, gzip.compress(VALID)], ids=["plain", "gzip"])
def test_compression_is_seen_in_the_content_and_not_in_the_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert read_idx(tmp_path / name).shape == (2, 3, 4)


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_header_that_promises_too_much_reserves_nothing(path, compress):
    path.write_bytes(compress(header(0x0E, 2**32 - 1, 28, 28) + bytes(100)))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="truncated"):
            read_idx(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50e6


def test_no_rows_of_any_size_are_refused_or_empty(path):
    # No bytes are promised, yet NumPy has no array type for such a shape.
    path.write_bytes(header(0x08, 0, *[2**32 - 1] * 3))
    result = array_or_error(path)
    assert isinstance(result, FormatError) or result.size == 0
