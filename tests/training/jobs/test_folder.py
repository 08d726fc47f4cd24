"""Folders of jobs: nobody removes one whose owner lives, and everybody one whose owner is gone."""

import os
import subprocess
import sys

import pytest

from manyhands.core.errors import ManyhandsError
from manyhands.training.jobs import folder as jobfolder
from manyhands.training.jobs.folder import (
    lost_folder_explained,
    make_folder,
    owner_is_alive,
    remove_abandoned,
    temporary_folder,
)


def abandoned(place, *, text=None):
    """Make a folder whose owner is gone."""
    folder, lock = make_folder(str(place))
    (folder / "data").write_text("a lot")
    if text is not None:
        (folder / jobfolder.ALIVE).write_text(text)
    lock.close()
    return folder


def test_a_folder_is_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        folder, lock = make_folder(str(tmp_path))
        open(folder / "x", "w", opener=jobfolder.private).close()
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (folder, folder / "x", folder / jobfolder.ALIVE)]
    assert modes == [0o700, 0o600, 0o600]
    lock.close()


def test_only_what_has_no_owner_is_swept(tmp_path):
    alive, lock = make_folder(str(tmp_path))
    gone = abandoned(tmp_path)
    unfinished = tmp_path / f"{jobfolder.PREFIX}0"  # killed before it had a lock
    unfinished.mkdir()
    others = tmp_path / "something-else"
    others.mkdir()
    assert sorted(remove_abandoned(str(tmp_path))) == sorted([gone, unfinished])
    assert sorted(tmp_path.iterdir()) == sorted([alive, others])
    assert owner_is_alive(alive)
    lock.close()
    assert not owner_is_alive(alive)
    assert not alive.exists()


def test_another_machines_folder_is_left_alone(tmp_path):
    folder = abandoned(tmp_path, text="another-boot another-machine\n")
    assert remove_abandoned(str(tmp_path)) == []
    assert folder.exists()


@pytest.mark.parametrize("what", ["link", "file", "link as lock"])
def test_what_only_looks_like_a_folder_is_left_alone(tmp_path, what):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_text("keep")
    place = tmp_path / "place"
    place.mkdir()
    path = place / f"{jobfolder.PREFIX}x"
    if what == "link":
        path.symlink_to(precious)
    elif what == "file":
        path.write_text("")
    else:
        path.mkdir()
        (path / jobfolder.ALIVE).symlink_to(precious / "data")
    assert remove_abandoned(str(place)) == []
    assert (precious / "data").read_text() == "keep"


def test_a_folder_that_was_swept_before_it_had_its_lock_is_made_anew(tmp_path, monkeypatch):
    lock, locks = jobfolder._lock, []

    def late(folder):
        locks.append(folder)
        if len(locks) == 1:
            jobfolder._sweep_one(folder)
        return lock(folder)

    monkeypatch.setattr(jobfolder, "_lock", late)
    folder, held = make_folder(str(tmp_path))
    assert list(tmp_path.iterdir()) == [folder]
    assert owner_is_alive(folder)
    held.close()


def test_what_is_removed_with_its_block(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with temporary_folder() as folder:
        assert remove_abandoned() == []
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are found in /proc")  # noqa: PTH112
def test_sweeping_ends_what_still_runs(tmp_path):
    folder = abandoned(tmp_path)
    program = "import sys, time; print(flush=True); time.sleep(100)"
    words = [sys.executable, "-c", program, jobfolder.WORKER]
    with (
        subprocess.Popen([*words, str(folder)], stdout=subprocess.PIPE) as left,
        subprocess.Popen([*words, "elsewhere"], stdout=subprocess.PIPE) as other,
    ):
        for process in (left, other):
            process.stdout.readline()
        assert remove_abandoned(str(tmp_path)) == [folder]
        assert left.wait(10) == -9
        assert other.poll() is None
        other.kill()


def test_a_lost_folder_is_named_with_whose_it_was(tmp_path):
    folder = tmp_path / "job"
    with (
        pytest.raises(ManyhandsError, match=r"the temporary folder .*job of the job of 2 processes is gone"),
        lost_folder_explained(folder, "the job of 2 processes"),
    ):
        (folder / "result-0.json").read_text()
    folder.mkdir()
    with pytest.raises(FileNotFoundError), lost_folder_explained(folder, "the job"):  # another file is missing
        (folder / "result-0.json").read_text()
