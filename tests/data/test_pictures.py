"""Folders of pictures by class: grey or in colours, upright, and the picture at fault by its name."""

import sys
from pathlib import Path

import numpy as np
import pytest

from manyhands.core.errors import DataError, FormatError, SettingsError
from manyhands.data.catalog import DataRequest, load

Image = pytest.importorskip("PIL.Image")


def draw(path: Path, value: int, mode: str = "L", size: tuple[int, int] = (5, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if len(mode) == 1 else (value,) * len(mode)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of ten grey pictures, each of its own brightness."""
    for number in range(20):
        draw(tmp_path / "shapes" / "ab"[number % 2] / f"{number:02}.png", number)
    return tmp_path / "shapes"


def test_a_folder_of_classes_is_divided(folder):
    found = load(DataRequest(str(folder), scale="none"))
    assert (found.name, found.train.rows, found.test.rows, found.train.sample_shape) == ("shapes", 16, 4, (1, 4, 5))
    assert found.classes.tolist() == ["a", "b"]
    np.testing.assert_array_equal(found.train.features[:, 0] % 2, found.train.labels)


def test_folders_train_and_test_are_the_two_parts(folder, tmp_path):
    for part, value in (("train", 1), ("test", 2)):
        for label in "37":
            draw(tmp_path / "parts" / part / label / "a.bmp", value)
    found = load(DataRequest(str(tmp_path / "parts"), scale="none"))
    assert found.classes.tolist() == [3, 7]  # numbers, as in any other file
    assert (found.train.features[0, 0], found.test.features[0, 0]) == (1, 2)


def test_one_of_two_parts_is_not_enough(folder):
    folder.rename(folder.parent / "train")
    with pytest.raises(DataError, match="there is a folder train/ but no test/"):
        load(DataRequest(str(folder.parent)))


def test_one_picture_in_colours_makes_all_of_them_have_three_channels(folder):
    draw(folder / "a" / "red.png", 9, "RGB")
    assert load(DataRequest(str(folder))).train.sample_shape == (3, 4, 5)


def test_a_camera_held_upright_is_turned(folder):
    path = folder / "a" / "00.png"
    picture = Image.new("L", (4, 5))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.putpixel((0, 4), 255)
    picture.save(path, exif=exif)
    found = load(DataRequest(str(folder), scale="none", test_size=2, seed=1))
    tables = np.concatenate([found.train.features, found.test.features])
    assert (tables == 255).any(axis=0).tolist() == [True] + [False] * 19  # below left has become above left


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "damaged or truncated"),
        (lambda path: path.write_text("no picture"), "damaged or truncated"),
        (lambda path: draw(path, 1, size=(4, 5)), "the picture has 4 x 5 pixels, .*00.png has 5 x 4"),
        (lambda path: draw(path, 1, "RGBA"), "transparent pixels"),
        (lambda path: draw(path, 1, "F"), "more than 8 bits"),
    ],
    ids=["truncated", "text", "size", "transparent", "floats"],
)
def test_the_picture_at_fault_is_named(folder, make, problem):
    path = folder / "b" / "07.png"
    if problem.startswith("more"):
        path = path.with_suffix(".tif")
    make(path)
    with pytest.raises(DataError, match=problem) as caught:
        load(DataRequest(str(folder)))
    assert caught.value.path == path


def test_a_picture_that_would_fill_the_memory_is_refused(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 15)
    with pytest.raises(FormatError, match="far too large"):
        load(DataRequest(str(folder)))


def test_what_is_left_out_is_said(folder, caplog):
    (folder / "a" / "notes.txt").write_text("about")
    (folder / "empty").mkdir()
    load(DataRequest(str(folder)))
    assert "no pictures in empty: left out" in caplog.text
    assert "1 file of other kinds in the folders of classes left out" in caplog.text


def test_a_missing_package_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(SettingsError, match=r"pip install pillow"):
        load(DataRequest(str(folder)))


def test_a_folder_of_neither_says_what_is_expected_and_names_its_tables(tmp_path):
    (tmp_path / "train.npz").write_text("1,2\n")
    with pytest.raises(DataError, match=r"pictures by class .*; it has train\.npz: give the path of a file"):
        load(DataRequest(str(tmp_path)))
