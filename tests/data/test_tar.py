"""Archives are read in memory; whatever one holds, the answer is its members or a typed error, soon."""

import gzip
import io
import tarfile
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.core.errors import DataError, FormatError, MissingDataError
from manyhands.data import tar
from manyhands.data.tar import read_members

OTHERS = [("inside/readme.html", b"not wanted"), ("inside/b.bin", b"B" * 700)]


def packed(*members, mode="w:gz", **more):
    """Return an archive of (name, content or TarInfo's type) pairs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, **more) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes) and len(content) == 1:
                info.type, info.linkname = content, "/etc/passwd"
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def wanted(name):
    return name.endswith(".bin")


def members_of(path):
    return read_members(path, wanted)


def members_or_error(path):
    try:
        return members_of(path)
    except DataError as error:
        return error


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("tar") / "some.tar.gz"


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_wanted_members_come_back(path, kind, mode):
    long = f"inside/{'n' * 90}/A.BIN"
    path.write_bytes(packed((long, b"A" * 512), *OTHERS, ("./inside", tarfile.DIRTYPE), mode=mode, format=kind))
    found = members_of(path)
    assert dict(found) == {"a.bin": (path / long, b"A" * 512), "b.bin": (path / "inside/b.bin", b"B" * 700)}
    assert found.state.path == path
    assert list(path.parent.iterdir()) == [path]  # nothing was unpacked to the disk


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([("/etc/a.bin", b"xx")], "'/etc/a.bin' leads out of the archive"),
        ([("inside/../../a.txt", b"xx")], "leads out"),
        ([("a.bin", tarfile.SYMTYPE)], "no ordinary file"),
        ([("a.bin", tarfile.LNKTYPE)], "no ordinary file"),
        ([("a.bin", tarfile.CHRTYPE)], "no ordinary file"),
        ([("a.bin", b"xx"), ("other/a.bin", b"yy")], "a.bin twice"),
        ([(f"{number}", b"xx") for number in range(1100)], "too many members"),
    ],
)
def test_strange_members_are_refused(path, members, problem):
    path.write_bytes(packed(*members))
    with pytest.raises(FormatError, match=problem) as caught:
        members_of(path)
    assert caught.value.byte is not None


def test_a_member_larger_than_memory_is_not_read(path, monkeypatch):
    path.write_bytes(packed(("a.bin", b"A" * 3000)))
    monkeypatch.setattr(tar, "memory_room", lambda: (5000, "free"))
    monkeypatch.setattr(tar, "read_up_to", None)
    with pytest.raises(DataError, match=r"a\.bin: 3000 bytes, read and sorted, need .* are free"):
        members_of(path)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_header_that_claims_much_memory_gets_none(path, kind):
    info = tarfile.TarInfo("long")
    info.type, info.size = kind, 1 << 27
    with gzip.open(path, "wb", 1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(64):
            file.write(bytes(1 << 21))
    tracemalloc.start()
    with pytest.raises(FormatError, match="headers of more than"):
        members_of(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


WHOLE = packed(("inside/a.bin", b"A" * 600), *OTHERS, mode="w")


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE)), st.binary(max_size=30)), max_size=4), st.integers(0, len(WHOLE)))
def test_any_bytes_give_members_or_an_error(path, changes, cut):
    data = bytearray(WHOLE)
    for at, new in changes:
        data[at : at + len(new)] = new
    path.write_bytes(data[:cut] if cut % 2 else data)
    result = members_or_error(path)
    assert str(path) in str(result) if isinstance(result, DataError) else all(map(wanted, result))


@pytest.mark.parametrize("cut", [1, 8, 60])
def test_a_damaged_or_shortened_gz_is_refused(path, cut):
    data = packed(*OTHERS)
    for damaged in (data[:-cut], data[: -cut - 1] + bytes([data[-cut - 1] ^ 0xFF]) + data[-cut:]):
        path.write_bytes(damaged)
        with pytest.raises(FormatError):
            members_of(path)


def test_what_stands_behind_the_archive_is_refused(path):
    path.write_bytes(WHOLE + bytes(1 << 20))
    with pytest.raises(FormatError, match="goes on after its last member"):
        members_of(path)


def test_a_missing_archive(tmp_path):
    with pytest.raises(MissingDataError, match="there is no such file"):
        members_of(tmp_path / "none.tar.gz")
