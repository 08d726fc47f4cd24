"""IDX files: every valid one comes back as it was, every other one is refused with its name and byte."""

import errno
import gzip
import os
import struct
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from manyhands.data.idx import read_idx, read_idx_shape
from manyhands.errors import DataError, FormatError, MissingDataError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
quick = settings(deadline=None, max_examples=100)


def header(code: int, *shape: int) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape)


def idx(array: NDArray[Any]) -> bytes:
    kind = array.dtype.str[1:]
    return header(CODES[kind], *array.shape) + array.astype(f">{kind}").tobytes()


VALID = idx(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
BYTES = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


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
@given(st.sampled_from([VALID, BYTES]), st.integers(1, len(BYTES) - 1))
def test_a_truncated_file_is_refused_at_its_last_byte(path, valid, length):
    path.write_bytes(valid[:length])
    with pytest.raises(FormatError) as caught:
        read_idx(path)
    assert (caught.value.path, caught.value.byte) == (path, length)


@quick
@given(st.sampled_from([VALID, BYTES]), st.binary(min_size=1, max_size=20))
def test_an_oversized_file_is_refused_at_the_first_byte_too_many(path, valid, extra):
    path.write_bytes(valid + extra)
    with pytest.raises(FormatError, match="goes on after") as caught:
        read_idx(path)
    assert (caught.value.path, caught.value.byte) == (path, len(valid))


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


# ---------------------------------------------------------------- mapped, not read


def is_mapped(array: NDArray[Any]) -> bool:
    return isinstance(array.base, np.memmap)


@pytest.mark.parametrize("kind", ["u1", "i1"])
def test_bytes_of_a_plain_file_are_mapped_and_the_file_cannot_be_written_through_them(path, kind):
    values = np.arange(24, dtype=kind).reshape(2, 3, 4)
    path.write_bytes(idx(values))
    array = read_idx(path)
    assert is_mapped(array)
    assert (type(array), array.dtype, array.flags.c_contiguous) == (np.ndarray, values.dtype, True)
    np.testing.assert_array_equal(array, values)
    array[0] = 1
    assert path.read_bytes() == idx(values)


@pytest.mark.parametrize(
    "content",
    [VALID, gzip.compress(VALID), gzip.compress(BYTES), idx(np.zeros((0, 3), np.uint8))],
    ids=["two bytes", "two bytes.gz", "bytes.gz", "nothing"],
)
def test_what_must_be_unpacked_or_swapped_is_read(path, content):
    path.write_bytes(content)
    assert not is_mapped(read_idx(path))


def test_a_mapped_file_takes_no_memory_until_it_is_looked_at(path):
    with open(path, "wb") as file:  # 2 GB, of which the file system stores nothing
        file.write(header(0x08, 2**21, 1024))
        file.truncate(12 + 2**31)
    tracemalloc.start()
    array = read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert array[-1, -1] == 0
    assert peak < 1e6


def test_a_mapped_file_may_be_replaced(path):
    path.write_bytes(BYTES)
    array = read_idx(path)
    other = path.with_name("other")
    other.write_bytes(VALID)
    other.replace(path)
    assert idx(array) == BYTES


@pytest.mark.parametrize("error", [OSError(errno.ENODEV, "no such device"), ValueError("mmap length is greater")])
def test_where_nothing_can_be_mapped_bytes_are_read(path, monkeypatch, error):
    def refuse(file, *_, **__):
        file.seek(0, os.SEEK_END)  # as memmap does
        raise error

    path.write_bytes(BYTES)
    monkeypatch.setattr(np, "memmap", refuse)
    assert idx(read_idx(path)) == BYTES


@pytest.mark.parametrize("content", [VALID, BYTES, gzip.compress(BYTES)], ids=["two bytes", "bytes", "gzip"])
def test_a_pipe_is_read(tmp_path, content):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,), daemon=True)
    writer.start()
    array = read_idx(pipe)
    writer.join()
    assert idx(array) == (VALID if content == VALID else BYTES)


@pytest.mark.parametrize("compressed", [False, True])
def test_the_shape_is_known_without_reading_the_values(path, compressed):
    content = header(0x08, 60_000, 28, 28)  # and no values at all
    path.write_bytes(gzip.compress(content) if compressed else content)
    assert read_idx_shape(path) == ((60_000, 28, 28), not compressed)


@pytest.mark.parametrize("content", [b"", b"abc", VALID[:6], gzip.compress(VALID)[:12]])
def test_a_damaged_header_has_no_shape(path, content):
    path.write_bytes(content)
    with pytest.raises(FormatError):
        read_idx_shape(path)
