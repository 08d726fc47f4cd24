"""The folder of a run's checkpoints: names, rotation, and what is damaged."""

import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from manyhands.core.errors import OutputError, SettingsError
from manyhands.training.checkpoints import folder as checkpoint_folders
from manyhands.training.checkpoints.folder import CheckpointFolder
from manyhands.training.checkpoints.state import PARAMETERS, State

IDENTITY = {"settings": {"epochs": 3}}


def state(number=0.0, rank=0, common=()):
    vectors = {PARAMETERS: np.full(5, number, np.float32), "moment": np.full(5, 10.0 * rank + number, np.float32)}
    return State(1, 2, {"tally": {"steps": 7}, "best": float("inf")}, vectors, frozenset(common))


@pytest.fixture
def folder(tmp_path):
    found = CheckpointFolder(tmp_path / "run")
    found.make()
    return found


def names_in(path):
    """The names of all files in a folder."""
    return sorted(each.name for each in path.iterdir())


def assert_same(found, expected):
    assert [each.described() for each in found] == [each.described() for each in expected]
    for ours, theirs in zip(found, expected, strict=True):
        for name, array in theirs.arrays.items():
            np.testing.assert_array_equal(ours.arrays[name], array)
            assert ours.arrays[name].dtype == array.dtype


def test_states_come_back_as_they_were(folder):
    states = [state(1.5, rank) for rank in range(3)]
    path = folder.write(120, IDENTITY, states, keep=3)
    found = folder.newest()
    assert (path.name, found.path, found.identity) == ("checkpoint-000000000120.safetensors", path, IDENTITY)
    assert_same(found.states, states)


def test_what_all_have_in_common_is_kept_once(folder):
    apart = folder.write(1, IDENTITY, [state(0, rank) for rank in range(4)], keep=3).stat().st_size
    path = folder.write(2, IDENTITY, [state(0, rank, [PARAMETERS]) for rank in range(4)], keep=3)
    assert apart - path.stat().st_size > 3 * 5 * 4
    assert_same(folder.newest().states, [state(0, rank, [PARAMETERS]) for rank in range(4)])


@settings(max_examples=30, deadline=None)
@given(
    arrays=st.lists(
        st.sampled_from(["f4", "f8", "i8", "u1", "?"]).flatmap(
            lambda dtype: arrays(np.dtype(dtype), st.lists(st.integers(0, 4), max_size=3).map(tuple))
        ),
        max_size=4,
    ),
    numbers=st.lists(st.floats() | st.integers(), max_size=3),
)
def test_any_state_comes_back(tmp_path_factory, arrays, numbers):
    folder = CheckpointFolder(tmp_path_factory.mktemp("any"))
    states = [State(0, 0, {"numbers": numbers}, {f"each {i}": array for i, array in enumerate(arrays)})]
    folder.write(1, IDENTITY, states, keep=1)
    found = folder.newest().states[0]
    assert repr(found.facts) == repr({"numbers": numbers})
    for name, array in states[0].arrays.items():
        assert found.arrays[name].tobytes() == array.tobytes()
        assert (found.arrays[name].dtype, found.arrays[name].shape) == (array.dtype, array.shape)


def test_the_oldest_are_removed_and_other_files_left_alone(folder):
    (folder.path / "notes.txt").touch()
    (folder.path / "checkpoint-1.safetensors").touch()  # not a name of ours
    for steps in (5, 10, 1000000000000, 15):
        folder.write(steps, IDENTITY, [state()], keep=2)
    names = ["checkpoint-1000000000000.safetensors", "checkpoint-000000000015.safetensors"]
    assert [path.name for path in folder.files()] == names
    assert names_in(folder.path) == sorted(["notes.txt", "checkpoint-1.safetensors", *names])
    folder.remove()
    assert names_in(folder.path) == ["checkpoint-1.safetensors", "notes.txt"]


DAMAGES = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "no header": lambda content: content[:5],
    "one bit of the numbers": lambda content: content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
    "one bit of the description": lambda content: content.replace(b"steps", b"stepr"),
    "something else": lambda content: b"PK\x03\x04" + content,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_skipped_and_named(folder, damage, caplog):
    folder.write(5, IDENTITY, [state(1)], keep=9)
    path = folder.write(10, IDENTITY, [state(2)], keep=9)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    found = folder.newest()
    assert found.path.name == "checkpoint-000000000005.safetensors"
    assert "a checkpoint is skipped" in caplog.text
    assert path.name in caplog.text


def test_if_none_can_be_read_the_error_says_why(folder):
    folder.write(5, IDENTITY, [state()], keep=9).write_bytes(b"")
    with pytest.raises(
        SettingsError, match=r"none of the checkpoints in .*run can be read: .*05\.safetensors: damaged"
    ):
        folder.newest()


def test_a_model_is_no_checkpoint(folder, tmp_path):
    from manyhands import train

    train("digits", epochs=1).save(folder.path / "checkpoint-000000000009.safetensors")
    with pytest.raises(SettingsError, match="load_model reads it"):
        folder.newest()


def test_folders_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"it is a file; give a folder"):
        CheckpointFolder(tmp_path / "file").make()
    with pytest.raises(SettingsError, match=r"there is no folder .*nowhere"):
        CheckpointFolder(tmp_path / "nowhere").newest()
    with pytest.raises(SettingsError, match=r"there is no checkpoint in .*checkpoint-\*"):
        CheckpointFolder(tmp_path).newest()


def test_a_new_run_does_not_replace_those_of_another(folder):
    folder.check_new()
    folder.write(5, IDENTITY, [state()], keep=3)
    with pytest.raises(SettingsError, match=r"has 1 checkpoint of an earlier run: resume=.* goes on from the newest"):
        folder.check_new()


@pytest.fixture
def small_disk(tmp_path):
    """A disk with room for one checkpoint, not for two."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield place
    subprocess.run(["umount", place], check=True)


def test_on_a_full_disk_the_older_one_stays(small_disk):
    folder = CheckpointFolder(small_disk)
    large = State(0, 0, {}, {PARAMETERS: np.arange(12000, dtype=np.float32)})
    folder.write(5, IDENTITY, [large], keep=3)
    with pytest.raises(OutputError, match="No space left on device"):
        folder.write(10, IDENTITY, [large], keep=3)
    assert names_in(small_disk) == ["checkpoint-000000000005.safetensors"]
    assert_same(folder.newest().states, [large])


def test_a_file_is_no_folder(folder):
    path = folder.write(1, IDENTITY, [state()], keep=3)
    with pytest.raises(SettingsError, match=r"is a file: name the folder of the checkpoints"):
        CheckpointFolder(path).newest()


def test_one_run_at_a_time(folder, monkeypatch):
    monkeypatch.setattr(checkpoint_folders, "_PATIENCE", 0.2)
    folder.reserve()
    other = CheckpointFolder(folder.path)
    with pytest.raises(SettingsError, match=r"another run is writing checkpoints into .*: wait for its end, or name"):
        other.reserve()
    folder.release()
    other.reserve()
    other.release()


def test_a_folder_that_is_gone_is_nothing_to_reserve(folder):
    folder.path.rmdir()
    folder.reserve()
    folder.release()
