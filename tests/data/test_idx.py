"""IDX files: every valid one comes back as it was, every other one is refused with its name and byte."""

import errno
import gzip
import hashlib
import io
import os
import struct
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from manyhands.core.errors import ChecksumError, DataError, FormatError, MissingDataError
from manyhands.data import idx as idx_module
from manyhands.data.download import Published
from manyhands.data.filestate import check_unchanged
from manyhands.data.idx import load_idx, read_idx, read_idx_shape, same_content

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
        (gzip.compress(b"", mtime=0), 0, "the file is empty"),
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


@pytest.mark.parametrize("name", ["a\0b", "\ud800", ""], ids=["NUL", "surrogate", "empty"])
@pytest.mark.parametrize("read", [read_idx, read_idx_shape])
def test_a_path_that_no_file_can_have_is_a_data_error_that_can_be_printed(name, read):
    with pytest.raises(DataError, match="this path cannot be used") as caught:
        read(name)
    assert all(each.isprintable() for each in str(caught.value))


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


# ---------------------------------------------------------------- read or mapped


def is_mapped(array: NDArray[Any]) -> bool:
    while isinstance(array.base, np.ndarray):
        if isinstance(array.base, np.memmap):
            return True
        array = array.base
    return False


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call files of any size large."""
    monkeypatch.setattr(idx_module, "_LARGE", 0)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("kind", ["u1", "i1"])
def test_of_large_files_several_processes_share_one_copy_and_cannot_write_into_the_file(path, kind):
    values = np.arange(24, dtype=kind).reshape(2, 3, 4)
    path.write_bytes(idx(values))
    array, state = load_idx(path, shared=True)
    assert is_mapped(array)
    assert state.mapped
    assert (type(array), array.dtype, array.flags.c_contiguous) == (np.ndarray, values.dtype, True)
    np.testing.assert_array_equal(array, values)
    array[0] = 1
    assert path.read_bytes() == idx(values)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    "content",
    [VALID, gzip.compress(VALID), gzip.compress(BYTES), idx(np.zeros((0, 3), np.uint8))],
    ids=["two bytes", "two bytes.gz", "bytes.gz", "nothing"],
)
def test_what_must_be_unpacked_or_swapped_is_read(path, content):
    path.write_bytes(content)
    assert not is_mapped(load_idx(path, shared=True).values)


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_read_is_nobody_elses_to_change(path, shared):
    """Not even to shorten, which for a mapped file ends the process."""
    path.write_bytes(BYTES)
    array, state = load_idx(path, shared=shared)
    path.write_bytes(b"")
    assert idx(array) == BYTES
    assert not state.mapped


@pytest.mark.parametrize("content", [BYTES, VALID, gzip.compress(BYTES)], ids=["bytes", "two bytes", "gzip"])
def test_of_a_file_that_is_changed_after_it_was_read_that_is_said_once(tmp_path, notices, content):
    path = tmp_path / "some-idx3-ubyte"
    path.write_bytes(content)
    state = load_idx(path).state
    check_unchanged([state])
    assert notices == []
    append(path)
    check_unchanged([state])
    check_unchanged([state])
    assert notices == [
        f"note: {path} was changed from {len(content)} to {len(content) + 4} bytes since it was read; what was read "
        "before is used"
    ]


def test_a_file_larger_than_half_of_the_memory_is_mapped(path, monkeypatch):
    with open(path, "wb") as file:  # 2 GB, of which the file system stores nothing
        file.write(header(0x08, 2**21, 1024))
        file.truncate(12 + 2**31)
    monkeypatch.setattr(idx_module, "memory_room", lambda: (2**31, "free"))
    tracemalloc.start()
    array = read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert array[-1, -1] == 0
    assert peak < 1e6


@pytest.mark.usefixtures("large")
def test_of_a_mapped_file_that_was_copied_a_change_is_said_and_no_error(path, caplog):
    path.write_bytes(BYTES)
    state = load_idx(path, shared=True).state
    assert state.mapped
    append(path)
    check_unchanged([state], copied=True)
    assert ["what was read before is used" in message for message in caplog.messages] == [True]


@pytest.mark.usefixtures("large")
def test_a_mapped_file_may_be_replaced_or_deleted(path):
    path.write_bytes(BYTES)
    array, state = load_idx(path, shared=True)
    other = path.with_name("other")
    other.write_bytes(VALID)
    other.replace(path)
    check_unchanged([state])
    path.unlink()
    check_unchanged([state])
    assert idx(array) == BYTES


def append(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"more")


def overwrite(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"?")
    os.utime(path, ns=(1, 1))  # two writes within one tick of the system's clock look alike


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    ("change", "how"),
    [(append, "from 40 to 44 bytes"), (overwrite, "at the same length"), (lambda path: os.truncate(path, 20), "to 20")],
    ids=["longer", "other values", "shorter"],
)
def test_a_mapped_file_that_is_changed_in_place_is_a_data_error(path, change, how):
    path.write_bytes(BYTES)
    state = load_idx(path, shared=True).state
    check_unchanged([state])
    change(path)
    with pytest.raises(DataError, match=f"changed while it was used .*{how}") as caught:
        check_unchanged([state])
    assert caught.value.path == path


def test_a_file_that_is_changed_while_it_is_read_is_a_data_error(path, monkeypatch):
    read = idx_module._read_at_once
    path.write_bytes(BYTES)
    monkeypatch.setattr(idx_module, "_read_at_once", lambda *arguments: (read(*arguments), append(path))[0])
    with pytest.raises(DataError, match="was changed while it was used"):
        read_idx(path)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("error", [OSError(errno.ENODEV, "no such device"), ValueError("mmap length is greater")])
def test_where_nothing_can_be_mapped_bytes_are_read(path, monkeypatch, error):
    def refuse(file, *_, **__):
        file.seek(0, os.SEEK_END)  # as memmap does
        raise error

    path.write_bytes(BYTES)
    monkeypatch.setattr(np, "memmap", refuse)
    assert idx(load_idx(path, shared=True).values) == BYTES


# ---------------------------------------------------------------- some rows only


@pytest.mark.parametrize("array", [np.arange(24, dtype=kind).reshape(6, 4) for kind in ("u1", "i2", "f4")], ids=str)
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("rows", [0, 1, 5, 6, 7, None])
def test_the_first_rows_are_those_of_the_whole_file(path, array, compress, rows):
    path.write_bytes(compress(idx(array)))
    np.testing.assert_array_equal(load_idx(path, rows=rows).values, array[:rows])


@pytest.mark.parametrize("damage", [*broken_gzips(), "more", "less"])
def test_what_is_wrong_behind_the_first_rows_is_found_too(path, damage):
    others = {"more": gzip.compress(VALID + b"!"), "less": gzip.compress(VALID[:-1])}
    path.write_bytes({**broken_gzips(), **others}[damage])
    with pytest.raises(FormatError):
        load_idx(path, rows=1)


def bomb(rows: int, beyond: int = 0, width: int = 1 << 20) -> bytes:
    """Return a .gz file of zeros, a thousandth as long: ``rows`` of ``width``, and some ``beyond`` its end."""
    with io.BytesIO() as target:
        with gzip.open(target, "wb", compresslevel=1) as file:
            file.write(header(0x08, rows, width))
            for _ in range(rows + beyond):
                file.write(bytes(width))
        return target.getvalue()


def peak_of(work: Callable[[], object]) -> float:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_of_many_rows_no_more_than_the_first_are_ever_held(path):
    path.write_bytes(bomb(200))
    assert peak_of(lambda: load_idx(path, rows=2)) < 90e6  # pieces of 16 MB, not 200


def test_what_goes_on_behind_its_end_is_not_unpacked(path):
    path.write_bytes(bomb(1, beyond=200))

    def read() -> None:
        with pytest.raises(FormatError, match="goes on after the 1048588 bytes"):
            read_idx(path)

    assert peak_of(read) < 30e6


def test_more_than_memory_can_hold_is_refused_before_it_is_read(path, monkeypatch):
    path.write_bytes(bomb(100))
    monkeypatch.setattr(idx_module, "memory_room", lambda: (50_000_000, "free"))
    monkeypatch.setattr(idx_module, "read_up_to", None)
    with pytest.raises(
        DataError, match=r"shape \(100, 1048576\) need 0\.10 GB of memory, and 0\.05 GB are free"
    ) as caught:
        read_idx(path)
    assert caught.value.path == path


def test_rows_that_memory_can_hold_are_read(path, monkeypatch):
    path.write_bytes(bomb(100))
    monkeypatch.setattr(idx_module, "memory_room", lambda: (50_000_000, "free"))
    assert load_idx(path, rows=10).values.shape == (10, 1 << 20)


# ---------------------------------------------------------------- the same content, and published files


@pytest.mark.parametrize(
    ("other", "same"), [(BYTES, True), (BYTES + b"!", False), (BYTES[:-1], False), (BYTES[:-1] + b"!", False)]
)
def test_packed_and_plain_are_compared_by_what_they_hold(tmp_path, other, same):
    (tmp_path / "a").write_bytes(BYTES)
    (tmp_path / "a.gz").write_bytes(gzip.compress(other))
    assert same_content(tmp_path / "a", tmp_path / "a.gz") == same


@pytest.mark.parametrize("content", [BYTES, gzip.compress(BYTES)], ids=["plain", "gzip"])
def test_a_published_file_is_checked_and_read_in_one(path, content):
    path.write_bytes(content)
    published = Published(hashlib.sha256(content).hexdigest(), len(content))
    assert idx(load_idx(path, published=published).values) == BYTES
    append(path)
    with pytest.raises(ChecksumError):
        load_idx(path, published=published)


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


@pytest.mark.parametrize("content", [b"", b"abc", VALID[:6], gzip.compress(VALID, mtime=0)[:12]])
def test_a_damaged_header_has_no_shape(path, content):
    path.write_bytes(content)
    with pytest.raises(FormatError):
        read_idx_shape(path)
