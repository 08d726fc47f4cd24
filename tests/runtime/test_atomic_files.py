"""Files appear whole or not at all, whatever goes wrong; and where they go if they can be made again."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from manyhands.core.errors import OutputError
from manyhands.runtime.atomic_files import (
    atomic_writer,
    cache_folder,
    check_folder,
    check_writable,
    make_folder,
    make_output_folder,
    open_in_place,
    write_whole,
)

_NOBODY = 65534


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """Give up root's right to write everywhere, for which permission bits are nothing; a no-op for anybody else."""
    if os.geteuid() != 0:
        yield
        return
    if not hasattr(os, "setresuid"):
        pytest.skip("runs as root on a system without setresuid, so nothing is forbidden")
    os.setresuid(_NOBODY, _NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter; pytest's tmp_path is closed to all but its owner."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with ordinary_user():
            reachable = os.access(folder, os.X_OK)
        if not reachable:
            pytest.skip(f"an ordinary user cannot enter {folder.parent}")
        yield folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_write_whole_writes_the_bytes(tmp_path):
    write_whole(tmp_path / "a.bin", b"\x00new\xff")
    assert (tmp_path / "a.bin").read_bytes() == b"\x00new\xff"


def test_the_old_content_stands_until_the_block_ends(tmp_path):
    target = tmp_path / "a.txt"
    target.write_bytes(b"old")
    with atomic_writer(target) as file:
        file.write(b"new")
        file.flush()
        during = target.read_bytes()
    assert (during, target.read_bytes()) == (b"old", b"new")


def test_nothing_but_the_file_is_left(tmp_path):
    write_whole(tmp_path / "a.txt", b"new")
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_follows_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "a.txt", b"new")
        after = os.umask(mask)
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode
    assert after == mask  # asking for it means setting it for a moment


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(2), OutputError("inner")])
def test_an_error_in_the_block_leaves_the_old_file_and_comes_out_as_it_is(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_bytes(b"old")

    def write() -> None:
        with atomic_writer(target) as file:
            file.write(b"half of the new")
            raise error

    with pytest.raises(type(error)) as caught:
        write()
    assert caught.value is error
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a.txt"]


def test_a_failed_write_becomes_an_output_error_with_its_cause(tmp_path):
    cause = OSError(5, "Input/output error")
    with (
        pytest.raises(OutputError, match=r"cannot write .*a\.txt: Input/output error") as caught,
        atomic_writer(tmp_path / "a.txt"),
    ):
        raise cause
    assert caught.value.__cause__ is cause
    assert names(tmp_path) == []


def test_a_process_that_dies_while_writing_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_bytes(b"old")
    code = """
import os, sys
from manyhands.runtime.atomic_files import atomic_writer
with atomic_writer(sys.argv[1]) as file:
    file.write(b"half of the new")
    file.flush()
    os._exit(9)
"""
    assert run_python(code, target).returncode == 9
    assert target.read_bytes() == b"old"
    if sys.platform == "linux":  # the new file has no name before it is whole
        assert names(tmp_path) == ["a.txt"]


def test_without_unnamed_files_a_named_one_serves(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    with atomic_writer(tmp_path / "a.txt") as file:
        file.write(b"new")
        during = names(tmp_path)
    assert len(during) == 1
    assert during[0].endswith(".part")
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"new"


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    # The limit on the size of files makes write() fail as it does on a full disk.
    target = tmp_path / "a.txt"
    target.write_bytes(b"old")
    code = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from manyhands.core.errors import OutputError
from manyhands.runtime.atomic_files import write_whole
try:
    write_whole(sys.argv[1], bytes(1_000_000))
except OutputError as error:
    print(error)
"""
    run = run_python(code, target)
    assert (run.stdout, run.stderr) == (f"cannot write {target}: File too large\n", "")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a.txt"]


# What can never be written: (path below a folder that has the file "file" and the folder "folder").
IMPOSSIBLE = ["missing/a.txt", "file/a.txt", "folder", "n" * 300]


@pytest.fixture
def furnished(tmp_path: Path) -> Path:
    """A folder with one file and one folder in it."""
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", IMPOSSIBLE, ids=lambda name: name[:20])
def test_writing_what_cannot_be_written_is_an_output_error_that_names_it(furnished, name):
    with pytest.raises(OutputError) as caught:
        write_whole(furnished / name, b"new")
    assert str(furnished / name) in str(caught.value)
    assert names(furnished) == ["file", "folder"]


@pytest.mark.parametrize("name", IMPOSSIBLE, ids=lambda name: name[:20])
def test_checking_what_cannot_be_written_is_an_output_error_that_names_it(furnished, name):
    with pytest.raises(OutputError) as caught:
        check_writable(furnished / name)
    assert str(furnished / name) in str(caught.value)


def test_checking_changes_nothing(furnished):
    check_writable(furnished / "file")
    check_writable(furnished / "new.txt")
    assert names(furnished) == ["file", "folder"]
    assert (furnished / "file").read_bytes() == b"old"


@pytest.mark.parametrize("name", ["new.txt", "file", "n" * 255], ids=lambda name: name[:20])
def test_what_passes_the_check_can_be_written(furnished, name):
    check_writable(furnished / name)
    write_whole(furnished / name, b"new")
    assert (furnished / name).read_bytes() == b"new"


@pytest.mark.parametrize("act", [lambda path: write_whole(path, b"new"), check_writable], ids=["write", "check"])
@pytest.mark.parametrize("mode", [0o555, 0o000], ids=["read-only", "closed"])
def test_a_folder_without_permission_is_an_output_error(open_folder, mode, act):
    folder = open_folder / "locked"
    folder.mkdir()
    folder.chmod(mode)
    try:
        with ordinary_user(), pytest.raises(OutputError, match="ermission"):
            act(folder / "a.txt")
    finally:
        folder.chmod(0o755)
    assert names(folder) == []


# ---------------------------------------------------------------- modes


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
@pytest.mark.parametrize("unnamed", [True, False])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path, monkeypatch, mode, unnamed):
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    target = tmp_path / "a.txt"
    target.write_bytes(b"old")
    target.chmod(mode)
    write_whole(target, b"new")
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"new", mode)


@pytest.mark.parametrize("unnamed", [True, False])
def test_nobody_else_can_read_what_is_not_whole_yet(tmp_path, monkeypatch, unnamed):
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    with atomic_writer(tmp_path / "a.txt") as file:
        assert os.fstat(file.fileno()).st_mode & 0o777 == 0o600


def test_a_file_that_root_replaces_keeps_its_owner(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    target = tmp_path / "a.txt"
    target.write_bytes(b"old")
    target.chmod(0o600)
    os.chown(target, _NOBODY, _NOBODY)
    write_whole(target, b"new")
    assert (target.stat().st_uid, target.stat().st_gid, target.stat().st_mode & 0o777) == (_NOBODY, _NOBODY, 0o600)


def test_in_a_folder_such_as_tmp_a_file_of_another_user_is_refused_before_training(open_folder):
    if os.geteuid() != 0:
        pytest.skip("needs a file of another user")
    (open_folder / "a.txt").write_bytes(b"old")
    open_folder.chmod(0o1777)
    with ordinary_user(), pytest.raises(OutputError, match="belongs to another user"):
        check_writable(open_folder / "a.txt")


# ---------------------------------------------------------------- links


def act_in_place(path: Path) -> None:
    os.close(open_in_place(path, os.O_WRONLY))


ACTS = pytest.mark.parametrize(
    "act", [lambda path: write_whole(path, b"new"), check_writable, act_in_place], ids=["write", "check", "in place"]
)


@ACTS
@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing"])
@pytest.mark.parametrize("way", ["absolute", "upwards", "twice", "beside"])
def test_a_link_out_of_its_folder_is_refused_and_what_it_leads_to_is_as_it_was(tmp_path, act, there, way):
    mine, other = tmp_path / "mine", tmp_path / ("mine2" if way == "beside" else "other")
    mine.mkdir()
    other.mkdir()
    if there:
        (other / "secret").write_bytes(b"old")
    (mine / "second").symlink_to(other / "secret")
    ways = {"absolute": other / "secret", "upwards": "../other/secret", "twice": "second", "beside": other / "secret"}
    (mine / "a.txt").symlink_to(ways[way])
    with pytest.raises(OutputError, match="is a link that leads out of its folder, to ") as caught:
        act(mine / "a.txt")
    assert str(other / "secret") in str(caught.value)
    assert [path.read_bytes() for path in other.iterdir()] == ([b"old"] if there else [])
    assert (mine / "a.txt").is_symlink()


@pytest.mark.parametrize("link", ["a.txt", "b/../a.txt", "linked/a.txt"])
def test_a_link_within_its_folder_stays_one(tmp_path, link):
    mine = tmp_path / "mine"
    (mine / "b").mkdir(parents=True)
    (mine / "runs").mkdir()
    (mine / "a.txt").symlink_to("runs/3.txt")
    (mine / "linked").symlink_to(mine)  # the folder itself may be reached through links
    check_writable(mine / link)
    write_whole(mine / link, b"new")
    assert (mine / "a.txt").is_symlink()
    assert (mine / "runs" / "3.txt").read_bytes() == b"new"


@pytest.mark.parametrize(("name", "refused"), [("w1.png", True), ("numbers.csv", True), ("my notes", False)])
def test_a_folder_for_a_report_may_have_no_output_that_leads_out(tmp_path, name, refused):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=name) if refused else contextlib.nullcontext():
        check_folder(tmp_path / "report")


# ---------------------------------------------------------------- what is no file


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_never_replaced_by_one(tmp_path, kind):
    path = Path("/dev/full") if kind == "device" else tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    before = path.lstat()
    for act in (check_writable, lambda target: write_whole(target, b"new")):
        with pytest.raises(OutputError, match="it is a device or a pipe"):
            act(path)
    assert path.lstat()[:4] == before[:4]  # mode, inode, device


def test_a_pipe_that_nobody_reads_is_an_error_and_no_wait(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="nobody reads this pipe"):
        open_in_place(tmp_path / "pipe", os.O_WRONLY)


IMPOSSIBLE_NAMES = ["a\0b", "\ud800", "n" * 300, "n/" * 3000 + "a"]


@pytest.mark.parametrize("name", IMPOSSIBLE_NAMES, ids=["NUL", "surrogate", "long", "deep"])
@pytest.mark.parametrize(
    "act",
    [lambda path: write_whole(path, b"new"), check_writable, act_in_place, make_output_folder],
    ids=["write", "check", "in place", "folder"],
)
def test_a_path_that_no_file_can_have_is_an_output_error_that_can_be_printed(tmp_path, name, act):
    with pytest.raises(OutputError) as caught:
        act(tmp_path / name)
    assert all(each.isprintable() for each in str(caught.value))
    assert names(tmp_path) == []


@pytest.mark.parametrize("act", [lambda path: write_whole(path, b"new"), check_writable, make_output_folder])
def test_an_empty_path_is_an_output_error(tmp_path, monkeypatch, act):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="''"):
        act("")


@pytest.mark.parametrize("act", [check_writable, make_output_folder])
def test_a_tilde_is_explained_and_no_folder_of_that_name_is_made(tmp_path, monkeypatch, act):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="only a shell knows what ~ stands for"):
        act("~/results/a.txt")
    assert names(tmp_path) == []


def test_a_name_that_is_no_text_is_a_name(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    check_writable(path)
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


# ---------------------------------------------------------------- the cache


def test_the_cache_is_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("MANYHANDS_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


@pytest.mark.parametrize("value", [None, ""])
def test_the_cache_is_the_systems_unless_the_variable_is_set(monkeypatch, value):
    monkeypatch.delenv("MANYHANDS_CACHE", raising=False)
    if value is not None:
        monkeypatch.setenv("MANYHANDS_CACHE", value)
    assert cache_folder().is_absolute()
    assert cache_folder().name == "manyhands"


@pytest.mark.parametrize("home", [None, "", "/", "/nonexistent", "relative/home", "/dev/null", "x" * 5000])
@pytest.mark.parametrize("more", [{}, {"XDG_CACHE_HOME": "relative"}, {"XDG_CACHE_HOME": "/proc/none"}])
def test_the_cache_is_somewhere_whatever_the_home(monkeypatch, home, more):
    if os.geteuid() != 0:
        pytest.skip("only root can become a user whom nobody knows")
    monkeypatch.delenv("MANYHANDS_CACHE", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    for name, value in ({} if home is None else {"HOME": home}).items():
        monkeypatch.setenv(name, value)
    for name, value in more.items():
        monkeypatch.setenv(name, value)

    def unknown(_number):
        raise KeyError("no such user")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    with ordinary_user():
        assert cache_folder() == Path(tempfile.gettempdir(), f"manyhands-{_NOBODY}")


def test_a_file_in_the_place_of_the_cache_sends_it_to_the_temporary_files(monkeypatch, tmp_path):
    monkeypatch.delenv("MANYHANDS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    assert cache_folder() == Path(tempfile.gettempdir(), f"manyhands-{os.geteuid()}")


def test_a_chosen_cache_stays_where_it_is_when_the_process_moves(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MANYHANDS_CACHE", "my cache")
    assert cache_folder() == tmp_path / "my cache"


def test_folders_are_made_so_that_nobody_else_can_write(tmp_path):
    before = os.umask(0)
    try:
        make_folder(tmp_path / "a" / "b")
        make_folder(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b")] == [0o755, 0o755]


def test_an_error_about_another_file_names_that_too(tmp_path):
    with pytest.raises(OutputError) as caught, atomic_writer(tmp_path / "out"):
        (tmp_path / "lost").read_bytes()
    assert str(caught.value) == f"cannot write {tmp_path / 'out'}: No such file or directory ({tmp_path / 'lost'})"
