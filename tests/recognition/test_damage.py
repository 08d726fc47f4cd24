"""Damaged, odd and dangerous pictures: a typed error or a text, never a traceback, and no more memory than there is."""

import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import manyhands
from manyhands.core.errors import DataError, FormatError, MissingDataError, SettingsError

HERE = Path(__file__).parent
SPEC = importlib.util.spec_from_file_location("damage", HERE / "damage.py")
damage = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(damage)


def outcome(data: bytes) -> str:
    try:
        return str(manyhands.recognize(data))
    except DataError as error:
        return f"{type(error).__name__}: {error}"


def test_some_of_each_kind_end_as_a_text_or_a_typed_error():
    for name, data in itertools.chain(
        itertools.islice(damage.odd_pictures(), 0, None, 8), damage.bombs(), damage.no_pictures(), damage.damaged(24)
    ):
        assert isinstance(outcome(data), str), name


@pytest.mark.slow
def test_five_hundred_pictures_in_less_than_a_gigabyte():
    program = f"""
import resource, sys
sys.path.insert(0, {str(HERE)!r})
import itertools, damage, manyhands
from manyhands.core.errors import DataError
count = 0
for name, data in itertools.chain(damage.odd_pictures(), damage.bombs(), damage.no_pictures(), damage.damaged(400)):
    count += 1
    try:
        manyhands.recognize(data)
    except DataError:
        pass
assert count >= 500, count
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < 1024


BOMBS = dict(damage.bombs())


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_for_its_size_or_as_damaged(name):
    with pytest.raises(FormatError):
        manyhands.recognize(BOMBS[name])


def test_messages_say_what_and_where(tmp_path):
    empty, text = tmp_path / "empty.jpg", tmp_path / "text.jpg"
    empty.write_bytes(b"")
    text.write_text("no picture")
    for path, kind, words in (
        (empty, FormatError, "empty"),
        (text, FormatError, "no picture"),
        (tmp_path, FormatError, "folder"),
        (tmp_path / "none.jpg", MissingDataError, "no such file"),
        ("a\0b.jpg", MissingDataError, "path"),
    ):
        with pytest.raises(kind, match=words):
            manyhands.recognize(path)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 5), np.uint8),
        np.zeros((5, 5, 2), np.uint8),
        np.zeros(5, np.uint8),
        np.full((5, 5), np.nan),
        np.full((5, 5), 2.0),
        np.zeros((5, 5), np.int64),
        np.zeros((7000, 10_000), np.uint8),
    ],
)
def test_arrays_that_are_no_pictures(image):
    with pytest.raises(DataError):
        manyhands.recognize(image)


def test_what_is_no_picture_at_all_is_a_setting():
    with pytest.raises(SettingsError, match="int"):
        manyhands.recognize(3)


def test_an_exif_orientation_is_followed():
    picture = damage.good().convert("RGB")
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    page = manyhands.recognize(damage.encoded(picture, "JPEG", exif=exif.tobytes()))
    width, height = page.size
    assert height > width  # the picture itself is wide
