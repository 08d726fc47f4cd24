"""The catalog: from a name, a folder or two CSV files to a data set, or to a message that says what is missing."""

import functools
import gzip
import http.server
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from manyhands.core.errors import ChecksumError, DataError, DownloadError, MissingDataError, SettingsError
from manyhands.data import folder as folder_module
from manyhands.data.catalog import DataRequest, load, load_test
from manyhands.data.mnist import MNIST_FILES

PLAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
LETTERS = tuple("letters-" + name.replace("t10k", "test") for name in PLAIN)
DOTTED = tuple(name.replace("-idx", ".idx") for name in PLAIN)


def write_idx(path: Path, array: np.ndarray) -> None:
    code = {"u1": 0x08, "f4": 0x0D, "f8": 0x0E}[array.dtype.str[1:]]
    sizes = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    content = sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def fill(folder: Path, names: tuple[str, ...] = PLAIN, suffix: str = "") -> Path:
    """Write a data set of 6 + 3 images of 2 x 2, three classes, as four IDX files."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.arange(36, dtype=np.uint8).reshape(9, 2, 2)
    labels = np.array([4, 5, 6] * 3, np.uint8)
    for name, array in zip(names, (images[:6], labels[:6], images[6:], labels[6:]), strict=True):
        write_idx(folder / (name + suffix), array)
    return folder


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without data and without network; returns the folder that is its cache."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.delenv("MANYHANDS_DATA", raising=False)
    monkeypatch.setenv("MANYHANDS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MANYHANDS_MNIST_MIRRORS", f"http://127.0.0.1:{port}/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"


# ---------------------------------------------------------------- known names


def test_digits_are_split_80_20_and_every_class_alike(digits):
    assert (digits.name, digits.train.rows, digits.test.rows, digits.features) == ("digits", 1437, 360, 64)
    assert digits.classes.tolist() == list(range(10))
    whole = np.bincount(load_digits().target)
    np.testing.assert_allclose(np.bincount(digits.test.labels), whole / 5, atol=1)


def test_digits_lose_no_row(digits):
    parts = [np.column_stack([part.features, part.labels]) for part in (digits.train, digits.test)]
    source = np.column_stack(load_digits(return_X_y=True))
    assert sorted(np.vstack(parts).tolist()) == sorted(source.tolist())


def test_digits_are_always_the_same(digits):
    again = load(DataRequest("digits"))
    for part, other in ((digits.train, again.train), (digits.test, again.test)):
        np.testing.assert_array_equal(part.features, other.features)
        np.testing.assert_array_equal(part.labels, other.labels)
    # Another split would quietly change every figure that was published about it.
    assert digits.train.labels[:8].tolist() == [3, 9, 1, 3, 1, 9, 4, 4]


def test_digits_are_bytes_up_to_16(digits):
    assert digits.train.features.dtype == np.uint8
    assert digits.scaling.name == "x / 16"


def test_mnist_is_its_first_6000_images_unless_asked(mnist):
    assert (mnist.name, mnist.train.rows, mnist.test.rows, mnist.features) == ("mnist", 6000, 10000, 784)
    assert mnist.classes.tolist() == list(range(10))
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert (mnist.scaling.name, mnist.train.features.dtype) == ("x / 255", np.uint8)


@pytest.mark.usefixtures("data_folder")
def test_all_of_mnist_can_be_asked_for():
    assert load(DataRequest("mnist", train_size=60_000)).train.rows == 60_000


@pytest.mark.usefixtures("data_folder")
def test_letters_are_26_classes_numbered_from_1():
    letters = load(DataRequest("letters"))
    assert (letters.name, letters.train.rows, letters.test.rows, letters.features) == ("letters", 117_248, 10_400, 784)
    assert letters.classes.tolist() == list(range(1, 27))
    assert np.bincount(letters.test.labels).tolist() == [400] * 26


def test_auto_is_mnist_where_there_is_mnist(data_folder):
    auto = load(DataRequest())
    assert (auto.name, auto.train.rows, auto.note) == ("mnist", 6000, f"MNIST from {data_folder / 'mnist'}")


@pytest.mark.parametrize("data", [None, "", "empty"], ids=["unset", "blank", "empty folder"])
def test_auto_falls_back_to_digits_and_says_so(alone, monkeypatch, tmp_path, data):
    if data is not None:
        monkeypatch.setenv("MANYHANDS_DATA", data and str(tmp_path))
    found = load(DataRequest())
    assert found.name == "digits"
    assert "MNIST is neither in MANYHANDS_DATA nor could be downloaded" in found.note


def test_auto_falls_back_to_digits_where_the_cache_cannot_be_made(alone):
    alone.write_text("a file where the folder should be")
    assert load(DataRequest()).name == "digits"


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs a folder that root cannot write into either")
def test_auto_falls_back_to_digits_where_the_cache_cannot_be_written(alone):
    alone.mkdir()
    (alone / "mnist").symlink_to("/proc/self/task")
    assert load(DataRequest()).name == "digits"


def test_mnist_that_cannot_be_had_is_a_download_error_with_the_remedy(alone):
    with pytest.raises(DownloadError, match=r"could not be downloaded(.|\n)*127\.0\.0\.1(.|\n)*set MANYHANDS_DATA"):
        load(DataRequest("mnist"))


def test_mnist_in_the_data_folder_goes_before_the_cache(alone, monkeypatch, tmp_path):
    monkeypatch.setenv("MANYHANDS_DATA", str(tmp_path / "data"))
    own = fill(tmp_path / "data" / "mnist")
    found = load(DataRequest("mnist"))
    assert (found.name, found.train.rows, found.note) == ("mnist", 6, f"MNIST from {own}")


@pytest.mark.parametrize("name", ["mnist", "auto"])
def test_a_wrong_mnist_file_is_a_checksum_error_and_never_replaced_in_silence(alone, monkeypatch, tmp_path, name):
    monkeypatch.setenv("MANYHANDS_DATA", str(tmp_path / "data"))
    folder = fill(tmp_path / "data" / "mnist", suffix=".gz")
    with pytest.raises(ChecksumError, match="the published file's is 440fcabf73cc") as caught:
        load(DataRequest(name))
    assert caught.value.path == folder / "train-images-idx3-ubyte.gz"


@pytest.fixture
def mirror(data_folder: Path, monkeypatch: pytest.MonkeyPatch, alone: Path) -> Iterator[list[str]]:
    """A mirror of MNIST on this machine; gives the names asked for so far."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_request(self, *_: object) -> None:
            asked.append(self.path.lstrip("/"))

    handler = functools.partial(Handler, directory=data_folder / "mnist")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setenv("MANYHANDS_MNIST_MIRRORS", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.delenv("MANYHANDS_DATA", raising=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield asked
        server.shutdown()
        thread.join()


def test_mnist_is_downloaded_once_into_the_cache(alone, mirror):
    first = load(DataRequest("mnist"))
    assert mirror == list(MNIST_FILES)
    assert sorted(path.name for path in (alone / "mnist").iterdir()) == sorted(MNIST_FILES)
    assert load(DataRequest()).note == first.note == f"MNIST from {alone / 'mnist'}"
    assert len(mirror) == 4


@pytest.mark.parametrize("labels", ["plain", "wrong .gz", "link to a wrong .gz", "pipe"])
def test_of_the_cache_only_what_is_checked_is_used(alone, mirror, labels):
    right = load(DataRequest("mnist"))
    packed = alone / "mnist" / "train-labels-idx1-ubyte.gz"
    wrong = np.zeros(60_000, np.uint8)
    if labels == "plain":
        write_idx(packed.with_suffix(""), wrong)
        np.testing.assert_array_equal(load(DataRequest("mnist")).train.labels, right.train.labels)
        return
    packed.unlink()
    if labels == "wrong .gz":
        write_idx(packed, wrong)
    elif labels == "pipe":
        os.mkfifo(packed)
    else:
        write_idx(alone / "other.gz", wrong)
        packed.symlink_to(alone / "other.gz")
    with pytest.raises(DataError, match="delete") as caught:
        load(DataRequest("mnist"))
    assert caught.value.path == packed
    assert len(mirror) == 4


@pytest.mark.parametrize("what", ["folder", "file"])
def test_letters_in_the_cache_that_anybody_may_write_are_refused(alone, what):
    folder = fill(alone / "letters", LETTERS)
    path = folder if what == "folder" else folder / LETTERS[2]
    path.chmod(0o777)
    with pytest.raises(DataError, match="other users can write here") as caught:
        load(DataRequest("letters"))
    assert caught.value.path == path


def test_letters_are_found_in_the_cache_too(alone):
    fill(alone / "letters", LETTERS)
    assert load(DataRequest("letters")).train.rows == 6


def test_missing_letters_say_where_they_were_sought(alone, monkeypatch, tmp_path):
    monkeypatch.setenv("MANYHANDS_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match="cannot be downloaded") as caught:
        load(DataRequest("letters"))
    assert f"{tmp_path / 'letters'} nor in {alone / 'letters'}" in str(caught.value)


# ---------------------------------------------------------------- folders


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("names", [PLAIN, LETTERS, DOTTED], ids=["mnist", "letters", "dotted"])
def test_a_folder_of_four_idx_files_is_a_data_set(tmp_path, names, suffix):
    found = load(DataRequest(str(fill(tmp_path / "mine", names, suffix))))
    assert (found.name, found.train.rows, found.test.rows, found.features) == ("mine", 6, 3, 4)
    assert found.classes.tolist() == [4, 5, 6]
    assert found.train.features[1].tolist() == [4, 5, 6, 7]
    assert found.test.labels.tolist() == [0, 1, 2]


def test_other_files_and_the_same_file_plain_and_compressed_do_not_matter(tmp_path):
    fill(tmp_path)
    fill(tmp_path, suffix=".gz")
    (tmp_path / "README.md").write_text("about")
    assert load(DataRequest(str(tmp_path))).train.rows == 6


STRANGERS = (
    *(f"._{name}" for name in PLAIN),  # macOS, on other disks and in archives
    *(".DS_Store", "Thumbs.db", "desktop.ini", f".{PLAIN[0]}.swp", f"{PLAIN[0]}~", f"#{PLAIN[0]}#", f"{PLAIN[0]}.bak"),
    *(f"{PLAIN[0]}.gz.part", f"{PLAIN[1]}.crdownload", ".manyhands.1234.part", "emnist-letters-mapping.txt"),
)


def test_strangers_beside_the_files_do_not_matter(tmp_path):
    fill(tmp_path)
    for name in STRANGERS:
        (tmp_path / name).write_bytes(b"Mac OS X")
    for name in PLAIN:  # as in an archive of MNIST that goes around
        fill(tmp_path / name.replace("-idx", ".idx"))
    (tmp_path / f"letters-{PLAIN[0]}").symlink_to("nowhere")
    os.mkfifo(tmp_path / f"{PLAIN[1]}.gz")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / f"{PLAIN[2]}.gz"))
    assert load(DataRequest(str(tmp_path))).train.rows == 6


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkdir, "a folder"),
        (os.mkfifo, "no ordinary file"),
        (lambda path: path.symlink_to("nowhere"), "a link that leads nowhere"),
    ],
    ids=["folder", "pipe", "link"],
)
def test_what_has_the_name_and_is_no_file_is_named(tmp_path, make, kind):
    missing = fill(tmp_path) / PLAIN[1]
    missing.unlink()
    make(missing)
    with pytest.raises(MissingDataError, match=f"no IDX file for train labels; .*; {PLAIN[1]} is {kind}"):
        load(DataRequest(str(tmp_path)))


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("change", [str.upper, lambda name: f"emnist-balanced-{name.replace('t10k', 'test')}"])
def test_names_in_capitals_and_those_of_emnist_are_names(tmp_path, change, suffix):
    fill(tmp_path, suffix=suffix)
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / change(path.name))
    assert load(DataRequest(str(tmp_path))).train.rows == 6


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("level", [0, 9])
def test_plain_and_packed_that_differ_are_both_named(tmp_path, part, level):
    fill(tmp_path)
    fill(tmp_path, suffix=".gz")
    content = bytearray((tmp_path / PLAIN[part]).read_bytes())
    content[-1] ^= 1
    (tmp_path / f"{PLAIN[part]}.gz").write_bytes(gzip.compress(content, level))
    with pytest.raises(DataError, match=rf"both {PLAIN[part]} and {PLAIN[part]}\.gz could be .* they differ"):
        load(DataRequest(str(tmp_path)))


def test_plain_and_packed_in_several_pieces_are_the_same(tmp_path):
    content = (fill(tmp_path) / PLAIN[0]).read_bytes()
    (tmp_path / f"{PLAIN[0]}.gz").write_bytes(gzip.compress(content[:9]) + gzip.compress(content[9:]))
    assert load(DataRequest(str(tmp_path))).train.rows == 6


def test_counts_that_differ_are_found_before_anything_is_read(tmp_path, monkeypatch):
    fewer_labels(fill(tmp_path))
    monkeypatch.setattr(folder_module, "load_idx", None)
    with pytest.raises(DataError, match="there are 2 labels for 6 images in train-images"):
        load(DataRequest(str(tmp_path)))


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("rows", [2, 3, 6])
def test_the_first_rows_are_those_of_all(tmp_path, suffix, rows):
    whole = load(DataRequest(str(fill(tmp_path, suffix=suffix))))
    found = load(DataRequest(str(tmp_path), train_size=rows, scale="none")) if rows > 2 else None
    if found is None:
        with pytest.raises(DataError, match="test row 3 has the class '6'"):
            load(DataRequest(str(tmp_path), train_size=rows))
        return
    np.testing.assert_array_equal(found.train.features, whole.train.features[:rows])
    assert found.train.labels.tolist() == whole.train.labels[:rows].tolist()


def test_rows_for_validation_may_be_any(tmp_path):
    found = load(DataRequest(str(fill(tmp_path)), train_size=3, validation=3))
    assert found.validation is not None
    assert sorted([*found.train.features[:, 0], *found.validation.features[:, 0]]) == [0, 4, 8, 12, 16, 20]


@pytest.mark.parametrize("rows", [7, 0, -1])
def test_rows_that_are_not_there_are_said_with_how_many_are(tmp_path, rows):
    with pytest.raises(SettingsError, match=f"train_size={rows}: .* has 6 training rows"):
        load(DataRequest(str(fill(tmp_path)), train_size=rows))


@pytest.mark.parametrize(
    ("at", "what"), list(enumerate(["train images", "train labels", "test images", "test labels"]))
)
def test_the_one_missing_file_is_named(tmp_path, at, what):
    (fill(tmp_path) / PLAIN[at]).unlink()
    with pytest.raises(MissingDataError, match=f"no IDX file for {what}; expected") as caught:
        load(DataRequest(str(tmp_path)))
    assert caught.value.path == tmp_path


def test_two_candidates_are_both_named(tmp_path):
    fill(tmp_path)
    fill(tmp_path, LETTERS)
    with pytest.raises(DataError, match=r"letters-t.*-ubyte and t.*-ubyte could be the"):
        load(DataRequest(str(tmp_path)))


def test_prefixes_are_not_mixed(tmp_path):
    # Letters to train and digits to test are no data set, even where the class numbers overlap.
    fill(tmp_path, (*LETTERS[:2], *PLAIN[2:]))
    with pytest.raises(DataError):
        load(DataRequest(str(tmp_path)))


@pytest.mark.parametrize(
    "data",
    ["minst", "no/such/folder", "n" * 300, "", "a\0b", "\ud800", "~/none"],
    ids=["typo", "path", "long", "empty", "NUL", "surrogate", "tilde"],
)
def test_an_unknown_name_is_missing_data_that_names_the_nearest_or_all(data):
    hint = "did you mean 'mnist'" if data == "minst" else "choose one of auto, mnist, digits, letters"
    with pytest.raises(MissingDataError, match=hint):
        load(DataRequest(data))


def test_a_folder_whose_name_is_no_text_can_be_saved_in_a_model(tmp_path):
    found = load(DataRequest(str(fill(tmp_path / os.fsdecode(b"caf\xe9")))))
    assert found.name == r"caf\udce9"
    assert found.note.isprintable()


def test_a_folder_called_mnist_is_not_cut_to_6000_rows(tmp_path):
    rows = 6001
    folder = fill(tmp_path / "mnist")
    write_idx(folder / PLAIN[0], np.zeros((rows, 2, 2), np.uint8))
    write_idx(folder / PLAIN[1], (4 + np.arange(rows) % 3).astype(np.uint8))
    assert load(DataRequest(str(folder))).train.rows == rows


def fewer_labels(folder: Path) -> None:
    write_idx(folder / PLAIN[1], np.array([4, 5], np.uint8))


def flat_images(folder: Path) -> None:
    write_idx(folder / PLAIN[0], np.zeros(6, np.uint8))


def square_labels(folder: Path) -> None:
    write_idx(folder / PLAIN[1], np.zeros((6, 2), np.uint8))


def float_labels(folder: Path) -> None:
    write_idx(folder / PLAIN[1], np.zeros(6, np.float32))


def no_images(folder: Path) -> None:
    write_idx(folder / PLAIN[0], np.zeros((0, 2, 2), np.uint8))
    write_idx(folder / PLAIN[1], np.zeros(0, np.uint8))


def damaged_images(folder: Path) -> None:
    (folder / PLAIN[0]).write_bytes((folder / PLAIN[0]).read_bytes()[:-1])


def damaged_labels(folder: Path) -> None:
    (folder / PLAIN[1]).write_bytes((folder / PLAIN[1]).read_bytes() + b"?")


def strange_images(folder: Path) -> None:
    images = np.ones((6, 2, 2), np.float32)
    images[1, 1, 0] = np.nan
    write_idx(folder / PLAIN[0], images)


def huge_images(folder: Path) -> None:
    write_idx(folder / PLAIN[0], np.full((6, 2, 2), 1e300))


def other_images(folder: Path) -> None:
    write_idx(folder / PLAIN[2], np.zeros((3, 2, 3), np.uint8))


@pytest.mark.parametrize(
    ("spoil", "file", "problem"),
    [
        (fewer_labels, 1, "there are 2 labels for 6 images in train-images-idx3-ubyte"),
        (flat_images, 0, r"images need two or more dimensions, the file has shape \(6,\)"),
        (square_labels, 1, "labels are one dimension of whole numbers"),
        (float_labels, 1, "labels are one dimension of whole numbers"),
        (no_images, 0, "there are no examples"),
        (damaged_images, 0, "the file is truncated"),
        (damaged_labels, 1, "the file goes on after"),
        (strange_images, 0, "row 2, feature 3 is nan"),
        (huge_images, 0, "feature 1 has values beyond"),
        (other_images, 2, "the training rows have 4 features, the test rows 6"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_files_that_do_not_fit_together_are_named(tmp_path, spoil: Callable[[Path], None], file, problem):
    spoil(fill(tmp_path))
    with pytest.raises(DataError, match=problem) as caught:
        load(DataRequest(str(tmp_path)))
    assert caught.value.path == tmp_path / PLAIN[file]


# ---------------------------------------------------------------- CSV files


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "", "n" * 300, "~/none.csv", "/"])
def test_csv_paths_that_no_file_can_have_are_data_errors_that_can_be_printed(path):
    with pytest.raises(DataError) as caught:
        load(DataRequest(train_csv=path, test_csv=path))
    assert all(each.isprintable() for each in str(caught.value))


def csv(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_two_csv_files_are_a_data_set(tmp_path):
    train = csv(tmp_path / "train.csv", "x,y,label\n1,2,a\n3,4,b\n")
    test = csv(tmp_path / "test.csv", "x,y,label\n5,6,b\n")
    found = load(DataRequest(train_csv=train, test_csv=test, label_column="label"))
    assert (found.name, found.classes.tolist(), found.test.labels.tolist()) == ("train.csv", ["a", "b"], [1])
    assert found.note == f"CSV from {train} and {test}"


def test_numbers_in_one_file_and_words_in_the_other_are_all_words(tmp_path):
    train = csv(tmp_path / "train.csv", "9,0\nx,1\n10,2\n")
    test = csv(tmp_path / "test.csv", "10,0\n9,1\n")
    found = load(DataRequest(train_csv=train, test_csv=test))
    assert found.classes[found.test.labels].tolist() == ["10", "9"]


def test_a_class_only_the_test_file_has_names_the_file(tmp_path):
    train, test = csv(tmp_path / "train.csv", "1,0\n2,1\n"), csv(tmp_path / "test.csv", "1,0\n3,0\n")
    with pytest.raises(DataError, match=r"test\.csv: test row 2 has the class '3'"):
        load(DataRequest(train_csv=train, test_csv=test))


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (DataRequest(train_csv="a.csv"), "go together"),
        (DataRequest(test_csv="a.csv"), "go together"),
        (DataRequest("digits", train_csv="a.csv", test_csv="b.csv"), "either data, or csv, or"),
    ],
)
def test_requests_that_contradict_themselves_are_settings_errors(request_, problem):
    with pytest.raises(SettingsError, match=problem):
        load(request_)


# ---------------------------------------------------------------- test examples alone


def test_the_test_examples_of_csv_need_no_training_file(tmp_path):
    found = load_test(DataRequest(test_csv=csv(tmp_path / "test.csv", "7,1,2\n8,3,4\n")))
    assert (found.features.tolist(), found.labels.tolist()) == ([[1, 2], [3, 4]], [7, 8])


def test_the_test_examples_of_a_folder_keep_their_labels(tmp_path):
    assert load_test(DataRequest(str(fill(tmp_path)))).labels.tolist() == [4, 5, 6]
