"""The records of CIFAR files: every valid file comes back as it was, every other one is refused with its byte."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.core.errors import DataError, FormatError
from manyhands.data import cifar
from manyhands.data.cifar import CIFAR10, CIFAR100, NAMES_BYTES, Images, blocks_of, read_names

PLACE = Path("some.bin")
layouts = st.sampled_from([CIFAR10, CIFAR100])


def content(layout, images, seed=0):
    """Return the bytes of a file with random images, and the arrays that they are."""
    rng = np.random.default_rng(seed)
    most = [each.classes for each in layout.label_bytes]
    labels = rng.integers(0, most, (images, len(most)), np.uint8)
    pixels = rng.integers(0, 256, (images, 3, 32, 32), np.uint8)
    return np.hstack([labels, pixels.reshape(images, -1)]).tobytes(), pixels, labels


def read(layout, *files, rows=None, in_memory=False):
    images = Images(layout, rows)
    for file in files:
        images.add(blocks_of(memoryview(file) if in_memory else io.BytesIO(file), layout), PLACE)
    return images.arrays()


@settings(deadline=None, max_examples=40)
@given(layouts, st.integers(1, 9), st.integers(1, 9), st.none() | st.integers(1, 20), st.booleans(), st.integers(1, 4))
def test_every_valid_file_comes_back(layout, first, second, rows, in_memory, at_once):
    one, other = content(layout, first), content(layout, second, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cifar, "_IMAGES", at_once)
        pixels, labels = read(layout, one[0], other[0], rows=rows, in_memory=in_memory)
    np.testing.assert_array_equal(pixels, np.concatenate([one[1], other[1]])[:rows])
    np.testing.assert_array_equal(labels, np.concatenate([one[2], other[2]])[:rows])
    assert pixels.flags.writeable  # kernels are compiled for such


def arrays_or_error(layout, data):
    try:
        return read(layout, data)
    except FormatError as error:
        return error


@settings(deadline=None, max_examples=100)
@given(layouts, st.binary(max_size=40), st.integers(0, 7000), st.integers(0, 255))
def test_any_bytes_give_images_or_an_error(layout, head, length, fill):
    data = (head + bytes([fill]) * length)[:length]
    result = arrays_or_error(layout, data)
    if isinstance(result, FormatError):
        assert result.path == PLACE
        assert 0 <= result.byte <= len(data)
    else:
        pixels, labels = result
        assert np.hstack([labels, pixels.reshape(len(pixels), -1)]).tobytes() == data


@pytest.mark.parametrize(
    ("layout", "data", "byte", "problem"),
    [
        (CIFAR10, b"", 0, "the file is empty"),
        (CIFAR10, bytes(3073 + 5), 3078, "ends inside image 2: an image of CIFAR-10 has 3073 bytes$"),
        (CIFAR10, bytes(3073) + b"\x0a" + bytes(3072), 3073, "class label of image 2 is 10, and CIFAR-10 has 0 to 9$"),
        (CIFAR100, b"\x14" + bytes(3073), 0, "the coarse label of image 1 is 20, and CIFAR-100 has 0 to 19"),
        (CIFAR100, bytes(3075) + b"\x64" + bytes(3072), 3075, "the fine label of image 2 is 100, and CIFAR-100 has 0 "),
        # The other's, found by a label, and by the length.
        (CIFAR100, bytes(3073) + b"\x09\xff" + bytes(6144), 3074, r"its length is one of CIFAR-10 \(3 images"),
        (CIFAR100, bytes(2 * 3073), 6146, r"its length is one of CIFAR-10 .* files are called data_batch_1\.bin and"),
        (CIFAR10, bytes(2 * 3074), 6148, r"its length is one of CIFAR-100 .* called train\.bin and test\.bin"),
        # So many bytes are whole images of both.
        (
            CIFAR10,
            b"\x0b" + bytes(3073 * 3074 - 1),
            0,
            "its length, 9446402 bytes, is one of CIFAR-10 and of CIFAR-100",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_byte(layout, data, byte, problem):
    with pytest.raises(FormatError, match=problem) as caught:
        read(layout, data)
    assert (caught.value.path, caught.value.byte) == (PLACE, byte)


def test_images_that_are_not_kept_are_checked_all_the_same():
    data = content(CIFAR10, 3)[0][:-3073] + b"\xff" + bytes(3072)
    with pytest.raises(FormatError, match="image 3 is 255"):
        read(CIFAR10, data, rows=1)


@pytest.mark.parametrize("known", [True, False], ids=["length known", "packed"])
def test_more_than_memory_holds_is_refused_early(monkeypatch, known):
    monkeypatch.setattr(cifar, "memory_room", lambda: (10 * 3074, "free"))
    monkeypatch.setattr(cifar, "_IMAGES", 4)
    file = io.BytesIO(content(CIFAR100, 40)[0])
    with pytest.raises(DataError, match=r"need .* GB of memory, and 0\.00 GB are free; use fewer training rows"):
        Images(CIFAR100).add(blocks_of(file, CIFAR100), PLACE, 40 * 3074 if known else None)
    assert file.tell() <= (0 if known else 12 * 3074)
    file.seek(0)
    images = Images(CIFAR100, rows=10)  # the others are not held
    images.add(blocks_of(file, CIFAR100), PLACE)
    assert len(images.arrays()[0]) == 10


NAMES = "\n".join(map(str, range(10)))


@pytest.mark.parametrize(
    ("names", "line", "problem"),
    [
        (NAMES[:-2].encode(), 9, "there are 9 names for 10 classes"),
        (f"{NAMES}\nmore".encode(), 11, "there are 11 names"),
        (NAMES.replace("4", "").encode(), 5, "'' is no name"),
        (NAMES.replace("4", "3").encode(), 5, "'3' is no name of a class of its own"),
        (NAMES.encode("utf-16"), None, "no text"),
        (b"x" * NAMES_BYTES, None, "65536 bytes or more"),
        (b"", 0, "there are 0 names"),
    ],
)
def test_names_that_cannot_be(names, line, problem):
    with pytest.raises(FormatError, match=problem) as caught:
        read_names(names, CIFAR10.label_bytes[0], PLACE)
    assert (caught.value.path, caught.value.line) == (PLACE, line)


def test_names_may_end_with_blank_lines():
    assert read_names(f"{NAMES}\r\n\n".encode(), CIFAR10.label_bytes[0], PLACE).tolist() == list("0123456789")
