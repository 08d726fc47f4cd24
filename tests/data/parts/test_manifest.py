"""Manifests come back as they were written; what is no longer so is named before anything is trained."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.core.errors import ChecksumError, DataError, FormatError, MissingDataError
from manyhands.data.catalog import DataRequest, load
from manyhands.data.parts import manifest as module
from manyhands.data.parts.manifest import MANIFEST, Manifest, PartFiles, read_manifest
from manyhands.data.parts.sharding import shard
from manyhands.data.scaling import Summary

NUMBERS = st.integers(0, 2**32 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def manifests(draw):
    features, classes = draw(st.integers(1, 5)), draw(st.integers(2, 5))
    vectors = [np.array(draw(st.lists(FLOATS, min_size=features, max_size=features))) for _ in range(4)]
    parts = tuple(
        PartFiles(f"train-{number}-x.npy", f"train-{number}-y.npy", draw(st.integers(1, 99)), *draw(
            st.tuples(st.tuples(NUMBERS, NUMBERS), st.tuples(NUMBERS, NUMBERS))
        ), tuple(draw(st.lists(st.integers(0, 99), min_size=classes, max_size=classes))))
        for number in range(draw(st.integers(1, 3)))
    )  # fmt: skip
    labels = draw(
        st.sampled_from([np.arange(classes), np.array([f"é{n}" for n in range(classes)]), np.arange(classes) / 2])
    )
    return Manifest(
        *(draw(st.text(max_size=9)), draw(st.sampled_from(["uint8", "float32", "float64"]))),
        *((features,), labels, Summary(*vectors, draw(st.booleans())), parts, (), draw(st.integers(0, 9))),
        *(
            draw(st.sampled_from([None, tuple(f"c{n}" for n in range(features))])),
            draw(st.sampled_from([None, "y"])),
            None,
        ),
    )


@settings(max_examples=60, deadline=None)
@given(written=manifests())
def test_a_manifest_comes_back_from_json(written):
    described = json.loads(written.text())
    found = Manifest.from_json(described)
    assert found.to_json() == described
    assert all((a == b).all() for a, b in zip(found.summary[:4], written.summary[:4], strict=True))
    with pytest.raises(ValueError, match="checksum"):
        Manifest.from_json({**described, "seed": written.seed + 1})


@pytest.fixture
def folder(dataset, tmp_path):
    shard(dataset, tmp_path / "parts", 4)
    return tmp_path / "parts"


def damage(path, how):
    """Do something to a part."""
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(content[:-5])
    elif how == "changed":
        path.write_bytes(content[:-5] + bytes(5 * [7]))
    elif how == "another shape":
        np.save(path, np.zeros((len(np.load(path)) // 2, 24), np.uint8))
    else:
        raise ValueError(how)


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("missing", MissingDataError, "not there"),
        ("truncated", FormatError, "the manifest says"),
        ("changed", ChecksumError, "was changed since it was written"),
        ("another shape", DataError, "labels for train-00002|features"),
    ],
)
@pytest.mark.parametrize("part", ["train-00002-features.npy", "test-00000-labels.npy"])
def test_a_part_that_is_not_as_it_was_is_named(folder, part, how, kind, words):
    if how == "another shape" and "labels" in part:
        pytest.skip("labels have one dimension")
    damage(folder / part, how)
    with pytest.raises(kind, match=f"{part}.*({words})|labels for {part}|for 125 rows in {part}"):
        load(DataRequest(str(folder)))


def test_a_changed_part_is_found_although_others_were_verified_before(folder, monkeypatch):
    load(DataRequest(str(folder)))
    verified = []
    monkeypatch.setattr(module, "_verify", lambda path, _: verified.append(path))
    load(DataRequest(str(folder)))
    assert verified == []  # remembered
    monkeypatch.undo()
    path = folder / "train-00000-features.npy"
    damage(path, "changed")
    with pytest.raises(ChecksumError, match=r"train-00000-features\.npy"):
        load(DataRequest(str(folder)))


def test_a_damaged_manifest_is_named(folder):
    path = folder / MANIFEST
    content = path.read_text()
    for wrong in (content[:-20], content.replace('"seed": 0', '"seed": 1'), content.replace("parts/1", "parts/9")):
        path.write_text(wrong)
        with pytest.raises(FormatError, match=r"manifest\.json: .*make the parts again"):
            load(DataRequest(str(folder)))
    for wrong in ("[]", "\xff", "", None):
        path.unlink() if wrong is None else path.write_text(wrong)
        with pytest.raises(DataError, match=r"parts that manyhands data shard .*make them again"):
            load(DataRequest(str(folder)))


def test_a_manifest_names_no_files_of_other_folders(folder):
    described = read_manifest(folder).to_json()
    described["train"][0]["features"] = "../secret.npy"
    described["checksum"] = module._digest({name: value for name, value in described.items() if name != "checksum"})
    with pytest.raises(ValueError, match="no name of a part"):
        Manifest.from_json(described)
