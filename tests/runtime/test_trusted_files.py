"""Files are read as they were written, or not at all; and never if somebody else may have written them."""

import contextlib
import errno
import os
import random
import socket
import stat
import time
from pathlib import Path

import pytest

from manyhands.runtime import trusted_files
from manyhands.runtime.trusted_files import TrustedFolder, UnusableFileError, UnusableFolderError

CONTENT = random.Random(1).randbytes(3000)
STRANGER = 12345


@pytest.fixture
def folder(tmp_path):
    """A folder inside a root of its own, with two files in it."""
    made = TrustedFolder(tmp_path / "root", "inner", "most")
    made.write("a", CONTENT)
    made.write("b", b"something else")
    return made


def give_away(path, monkeypatch):
    """Let a file or folder belong to somebody else, as far as this process can tell."""
    if os.geteuid() == 0:
        os.chown(path, STRANGER, STRANGER)
        return
    real = os.fstat

    def fstat(descriptor):
        facts = real(descriptor)
        values = list(facts)
        if facts.st_ino == path.stat().st_ino:
            values[stat.ST_UID] = STRANGER
        return os.stat_result(values)

    monkeypatch.setattr(trusted_files.os, "fstat", fstat)


def test_what_is_written_is_read(folder):
    assert (folder.read("a"), folder.read("b"), folder.read("c")) == (CONTENT, b"something else", None)
    assert sorted(each.name for each in folder.path.iterdir()) == ["a", "b"]
    assert folder.problem() is None


def test_nothing_is_made_by_reading(tmp_path):
    absent = TrustedFolder(tmp_path / "root", "inner")
    assert (absent.read("a"), absent.problem(), list(tmp_path.iterdir())) == (None, None, [])


def damages(whole, other):
    """Yield kinds of damage and what they make of a file's bytes, from a seed."""
    rng = random.Random(14)
    for number in range(200):
        position = rng.randrange(len(whole))
        yield (
            f"bit {number}",
            whole[:position] + bytes([whole[position] ^ 1 << rng.randrange(8)]) + whole[position + 1 :],
        )
    for length in (0, 1, 40, 71, 72, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(50))):
        yield f"cut to {length}", whole[:length]
    for more in (b"\0", b"x", whole, other):
        yield f"{len(more)} bytes appended", whole + more
    yield "another file", other
    yield "a pickle", b"cos\nsystem\n(S'true'\ntR."
    yield "zeros", bytes(len(whole))
    yield "a checksum of nothing", whole[:72]


def test_damaged_files_are_refused_and_can_be_written_anew(folder):
    path = folder.path / "a"
    tried = dict(damages(path.read_bytes(), (folder.path / "b").read_bytes()))
    assert len(tried) > 250
    for kind, content in tried.items():
        path.write_bytes(content)
        with pytest.raises(UnusableFileError, match="is damaged"):
            print(kind, folder.read("a"))
    folder.write("a", CONTENT)
    assert folder.read("a") == CONTENT


def test_a_file_holds_in_its_place_only(folder, tmp_path):
    other = TrustedFolder(tmp_path / "root", "inner", "other")
    other.write("a", b"of other sources")
    (folder.path / "a").write_bytes((other.path / "a").read_bytes())
    with pytest.raises(UnusableFileError, match="is damaged"):
        folder.read("a")


def bind(path):
    """Make a socket; its name must be short."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


STRANGE = {
    "a folder": lambda path: path.mkdir(),
    "a full folder": lambda path: (path / "x" / "y").mkdir(parents=True),
    "a pipe": os.mkfifo,
    "a socket": bind,
    "a symbolic link": lambda path: path.symlink_to(path.with_name("b")),
    "a symbolic link to nothing": lambda path: path.symlink_to("/nowhere"),
    "a symbolic link to itself": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("put", STRANGE.values(), ids=STRANGE)
def test_what_is_no_file_is_refused_at_once_and_replaced(folder, put):
    path = folder.path / "a"
    path.unlink()
    put(path)
    began = time.monotonic()
    with pytest.raises(UnusableFileError):
        folder.read("a")
    assert time.monotonic() - began < 30  # a pipe would be for ever
    folder.write("a", CONTENT)
    assert (folder.read("a"), folder.read("b")) == (CONTENT, b"something else")


def test_a_huge_file_is_refused_unread(folder):
    with open(folder.path / "a", "r+b") as file:
        file.truncate(1 << 42)
    with pytest.raises(UnusableFileError, match="is damaged"):
        folder.read("a")


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o622])
def test_a_file_that_others_can_write_is_refused(folder, mode):
    (folder.path / "a").chmod(mode)
    with pytest.raises(UnusableFileError, match="can be written by others"):
        folder.read("a")
    folder.write("a", CONTENT)
    assert folder.read("a") == CONTENT


def test_a_file_of_somebody_else_is_refused(folder, monkeypatch):
    give_away(folder.path / "a", monkeypatch)
    with pytest.raises(UnusableFileError, match=f"belongs to another user \\(number {STRANGER}\\)"):
        folder.read("a")


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757, 0o1777])
def test_a_folder_that_others_can_write_is_refused(folder, steps, mode):
    path = [folder.path, *folder.path.parents][steps]
    path.chmod(mode)
    for use in (lambda: folder.read("a"), lambda: folder.write("a", b"new")):
        with pytest.raises(UnusableFolderError, match=f"{path} can be written by others, .*: chmod go-w {path}$"):
            use()
    assert f"{path} can be written by others" in folder.problem()
    path.chmod(0o755)
    assert folder.read("a") == CONTENT


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_folder_of_somebody_else_is_refused(folder, steps, monkeypatch):
    path = [folder.path, *folder.path.parents][steps]
    give_away(path, monkeypatch)
    with pytest.raises(UnusableFolderError, match=f"{path} belongs to another user"):
        folder.read("a")


def test_a_file_of_root_is_as_good_as_ones_own(folder, monkeypatch):
    monkeypatch.setattr(trusted_files.os, "geteuid", lambda: STRANGER)
    if folder.path.stat().st_uid != 0:
        pytest.skip("nothing here belongs to root")
    assert folder.read("a") == CONTENT


def test_what_is_above_the_root_does_not_matter(folder, tmp_path):
    tmp_path.chmod(0o1777)
    assert folder.read("a") == CONTENT


def test_the_root_may_be_a_symbolic_link_and_nothing_inside(folder, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "root")
    assert TrustedFolder(tmp_path / "link", "inner", "most").read("a") == CONTENT
    (tmp_path / "root" / "inner" / "alias").symlink_to("most")
    with pytest.raises(UnusableFolderError, match="alias is a symbolic link: delete it"):
        TrustedFolder(tmp_path / "root", "inner", "alias").read("a")


NO_FOLDERS = {
    "a file": lambda root: root.write_text("x"),
    "below a file": lambda root: root.parent.write_text("x"),
    "a device": lambda root: root.symlink_to("/dev/null"),
}


@pytest.mark.parametrize("put", NO_FOLDERS.values(), ids=NO_FOLDERS)
def test_what_is_no_folder_is_said(tmp_path, put):
    root = tmp_path / "place" / "root"
    if put is not NO_FOLDERS["below a file"]:
        root.parent.mkdir()
    put(root)
    with pytest.raises(UnusableFolderError):
        TrustedFolder(root, "inner").write("a", CONTENT)


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 2100], ids=["name", "path"])
def test_a_name_too_long_is_said(tmp_path, name):
    for use in (
        lambda: TrustedFolder(tmp_path / name).write("a", b""),
        lambda: TrustedFolder(tmp_path / name).read("a"),
    ):
        with pytest.raises(UnusableFolderError, match="File name too long"):
            use()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mask", [0, 0o002, 0o022, 0o077])
def test_whatever_the_umask_nobody_else_can_write(tmp_path, mask):
    before = os.umask(mask)
    try:
        made = TrustedFolder(tmp_path / "not" / "yet", "inner")
        made.write("a", CONTENT)
    finally:
        os.umask(before)
    assert made.read("a") == CONTENT
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "not", made.path, made.path / "a")}
    assert modes == {"not": 0o755 & ~mask, "inner": 0o755 & ~mask, "a": 0o644 & ~mask}


@pytest.mark.parametrize("step", ["fsync", "replace", "open"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE])
def test_what_cannot_be_written_leaves_everything_as_it_was(folder, monkeypatch, step, number):
    real = os.open

    def fail(*arguments, **options):
        if step == "open" and not arguments[1] & os.O_CREAT:
            return real(*arguments, **options)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as change:
        change.setattr(trusted_files.os, step, fail)
        with pytest.raises(OSError, match=os.strerror(number)):
            folder.write("a", b"new")
    assert folder.read("a") == CONTENT
    assert sorted(each.name for each in folder.path.iterdir()) == ["a", "b"]


def test_what_killed_processes_have_left_is_swept_when_it_is_old(folder):
    for name in ("a.0.part", "a.1.part"):
        (folder.path / name).touch()
    os.utime(folder.path / "a.0.part", (0, 0))
    folder.write("a", CONTENT)
    assert sorted(each.name for each in folder.path.iterdir()) == ["a", "a.1.part", "b"]
