"""CIFAR-10 and CIFAR-100 as a user has them: in folders, packed or not, and in the published archives."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from manyhands.core.errors import DataError, FormatError, MissingDataError, SettingsError
from manyhands.data import cifar_files, tar
from manyhands.data.catalog import DataRequest, load, load_test, way_of_reading
from manyhands.data.cifar import CIFAR10, CIFAR100

TEN = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
HUNDRED = ["train.bin", "test.bin"]
KINDS = {"cifar10": (CIFAR10, TEN, 4), "cifar100": (CIFAR100, HUNDRED, 300)}


def content(layout, images, seed=0):
    """Return the bytes of a file with random images."""
    rng = np.random.default_rng(seed)
    most = [each.classes for each in layout.label_bytes]
    parts = rng.integers(0, most, (images, len(most)), np.uint8), rng.integers(0, 256, (images, 3072), np.uint8)
    return np.hstack(parts).tobytes()


def contents(kind):
    """Return the files of a data set by name, as bytes: the same classes in training and test."""
    layout, names, images = KINDS[kind]
    first = content(layout, images)
    files = {name: first if name in HUNDRED else content(layout, images, place % 5) for place, name in enumerate(names)}
    for label in layout.label_bytes:
        files[label.names_file] = "\n".join(f"{label.kind} {number:02}" for number in range(label.classes)).encode()
    return files


def fill(folder, files, *, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        is_packed = packed and name.endswith(".bin")
        (folder / f"{name}{'.gz' * is_packed}").write_bytes(gzip.compress(data, 1) if is_packed else data)
    return folder


def archive(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name in sorted(files, reverse=True):  # the published ones are in no order either
            info = tarfile.TarInfo(f"some-folder/{name}")
            info.size = len(files[name])
            tar.addfile(info, io.BytesIO(files[name]))
    return path


def same(one, other):
    for part in ("train", "test"):
        for name, array in getattr(one, part).arrays().items():
            np.testing.assert_array_equal(array, getattr(other, part).arrays()[name])
    np.testing.assert_array_equal(one.classes, other.classes)


@pytest.mark.parametrize("kind", KINDS)
def test_folders_and_archives_hold_the_same(kind, tmp_path):
    layout, names, images = KINDS[kind]
    files = contents(kind)
    plain = load(DataRequest(str(fill(tmp_path / "plain", files))))
    assert (plain.train.sample_shape, plain.train.features.dtype) == ((3, 32, 32), np.uint8)
    assert plain.train.rows == images * len(layout.train)
    raw = b"".join(files[name] for name in names[:-1])
    rows = np.frombuffer(raw, np.uint8).reshape(-1, layout.record)
    np.testing.assert_array_equal(plain.train.features, rows[:, -3072:])
    last = layout.label_bytes[-1]
    np.testing.assert_array_equal(
        plain.classes[plain.train.labels], [f"{last.kind} {label:02}" for label in rows[:, len(layout.label_bytes) - 1]]
    )
    title = layout.title.lower()
    for other in (
        fill(tmp_path / "packed", files, packed=True),
        archive(tmp_path / "some.tar.gz", files),
        archive(tmp_path / "folder" / f"{title}-binary.tar.gz", files).parent,
    ):
        same(plain, load(DataRequest(str(other))))
    assert way_of_reading(DataRequest(str(tmp_path / "plain"))) == "whole"  # rank 0 reads for all


def test_labels_of_both_kinds_with_and_without_names(tmp_path):
    files = contents("cifar100")
    fill(tmp_path / "named", files)
    fill(tmp_path / "numbers", {name: files[name] for name in HUNDRED})
    for labels, place in (("coarse", 0), ("fine", 1), (None, 1)):
        codes = np.frombuffer(files["train.bin"], np.uint8).reshape(-1, 3074)[:, place]
        named = load(DataRequest(str(tmp_path / "named"), labels=labels))
        numbers = load(DataRequest(str(tmp_path / "numbers"), labels=labels))
        np.testing.assert_array_equal(numbers.classes[numbers.train.labels], codes)
        assert named.classes[named.train.labels[0]] == f"{labels or 'fine'} {codes[0]:02}"
        assert f"{labels or 'fine'} labels" in named.note


def test_the_real_ones_are_found_by_name(data_folder):
    found = load(DataRequest("cifar100", train_size=2000, validation=100))
    assert (found.name, found.train.rows, found.test.rows) == ("cifar100", 2000, 5000)
    assert (len(found.classes), found.classes[:3].tolist()) == (100, ["apple", "aquarium_fish", "baby"])
    assert (
        load_test(DataRequest("cifar100", labels="coarse")).labels[0]
        in (data_folder / "cifar100" / "coarse_label_names.txt").read_text()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_means_its_own_data_set(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("MANYHANDS_DATA", str(tmp_path))
    monkeypatch.setenv("MANYHANDS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MissingDataError, match=rf"'{kind}' is not in .* nor in .* cannot be downloaded"):
        load(DataRequest(kind))
    other = next(each for each in KINDS if each != kind)
    fill(tmp_path / kind, contents(other))
    with pytest.raises(DataError, match=f"files of {KINDS[other][0].title}, not of {KINDS[kind][0].title}"):
        load(DataRequest(kind))
    fill(tmp_path / other, contents(other))
    assert load(DataRequest(other)).name == other


@pytest.mark.parametrize(
    ("kind", "change", "error", "problem"),
    [
        ("cifar10", {"data_batch_3.bin": None}, MissingDataError, r"data_batch_3\.bin of CIFAR-10 missing"),
        ("cifar100", {"test.bin": None}, MissingDataError, r"test\.bin of CIFAR-100 missing"),
        ("cifar100", {"test_batch.bin": b"x"}, DataError, "files of both CIFAR-10 and CIFAR-100"),
        ("cifar100", {"train-10.bin": b"x"}, DataError, r"both train-10\.bin and train\.bin could be the file train"),
        ("cifar100", {"train.bin.gz": b"x"}, DataError, "and they differ"),
        ("cifar100", {"train.bin": b""}, FormatError, r"train\.bin, byte 0: the file is empty"),
        ("cifar100", {"test.bin": gzip.compress(bytes(3074))[:-9]}, FormatError, r"test\.bin: broken gzip"),
        ("cifar100", {"train.bin": content(CIFAR10, 30)}, FormatError, r"train\.bin, byte .* one of CIFAR-10 \(30"),
        (
            "cifar100",
            {"fine_label_names.txt": b"one"},
            FormatError,
            r"fine_label_names\.txt, line 1: there are 1 names",
        ),
    ],
)
def test_what_is_wrong_is_found_in_folders_and_archives(kind, change, error, problem, tmp_path):
    files = {name: data for name, data in {**contents(kind), **change}.items() if data is not None}
    folder = fill(tmp_path / "files", files)
    with pytest.raises(error, match=problem):
        load(DataRequest(str(folder)))
    if "could be" not in problem and "gzip" not in problem and "differ" not in problem:
        with pytest.raises(error, match=problem):
            load(DataRequest(str(archive(tmp_path / "a.tar.gz", files))))


def test_a_kind_of_labels_is_refused_where_there_is_one_only(tmp_path):
    fill(tmp_path / "ten", contents("cifar10"))
    (tmp_path / "t.csv").write_text("0,1\n1,2\n")
    csv = tmp_path / "t.csv"
    for request in (
        DataRequest("digits", labels="fine"),
        DataRequest(str(tmp_path / "ten"), labels="coarse"),
        DataRequest(train_csv=csv, test_csv=csv, labels="fine"),
    ):
        with pytest.raises(SettingsError, match="only CIFAR-100 has coarse and fine labels"):
            load(request)
    with pytest.raises(SettingsError, match="unknown labels 'rough'; choose one of fine, coarse"):
        DataRequest("cifar100", labels="rough")


def test_two_archives_are_ambiguous_and_files_go_before_them(tmp_path):
    for kind in KINDS:
        archive(tmp_path / f"{KINDS[kind][0].title.lower()}-binary.tar.gz", contents(kind))
    with pytest.raises(DataError, match=r"both cifar-10-binary\.tar\.gz and cifar-100-binary\.tar\.gz could be meant"):
        load(DataRequest(str(tmp_path)))
    assert load(DataRequest(str(fill(tmp_path, contents("cifar10"))))).note.startswith("CIFAR-10 from")


@pytest.mark.parametrize("where", ["folder", "archive"])
def test_a_file_that_changes_while_it_is_read_is_refused(where, tmp_path, monkeypatch):
    files = contents("cifar100")
    path = fill(tmp_path / "files", files) if where == "folder" else archive(tmp_path / "a.tar.gz", files)
    module, name = (cifar_files, "blocks_of") if where == "folder" else (tar, "read_up_to")
    read = getattr(module, name)

    def write_meanwhile(*arguments):
        os.utime(path / "train.bin" if where == "folder" else path, ns=(1, 1))
        return read(*arguments)

    monkeypatch.setattr(module, name, write_meanwhile)
    with pytest.raises(DataError, match="changed while it was used"):
        load(DataRequest(str(path)))


def test_a_change_afterwards_is_noticed(tmp_path, notices):
    found = load(DataRequest(str(fill(tmp_path / "f", contents("cifar100")))))
    (tmp_path / "f" / "train.bin").write_bytes(b"")
    found.check_unchanged()
    assert any("train.bin was changed" in each for each in notices)


def test_a_folder_of_idx_files_stays_one(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"")
    (tmp_path / "test.bin").write_bytes(b"x")
    assert not cifar_files.is_cifar(tmp_path)
    with pytest.raises(MissingDataError, match="no IDX file for"):
        load(DataRequest(str(tmp_path)))
    assert not cifar_files.is_cifar(Path("n" * 5000))
