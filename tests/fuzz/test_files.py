"""Fuzzed files: what is read is what is there, or there is a typed error; never a crash, never another table."""

import csv
import gzip
import io
import json
import re
import struct

import numpy as np
import pytest

import manyhands
from manyhands.data.csv.reader import join_parts, read_csv
from manyhands.data.idx import read_idx
from manyhands.reports.write import read_record
from manyhands.studies.base.journal import Journal

DELIMITERS = (",", ";", "\t", "|", " ")
WORDS = ("cat", "dog", "7", "007", "+7", "a b", "x,y", 'say "so"', "größer", "-", "1.0", "1e3", "True", "=1+1")
NUMBERS = ("0", "255", "256", "-1", "3.5", "1e-3", "  4 ", "1e30", "+2", ".5", "1700000000.25", "16777217")
ODD = ("", "nan", "inf", "1e400", "0x10", "1_000", "²", "true", "--1", "1,5", "\0", "1.2.3", "\u0661")


def pick(rng, values):
    return values[int(rng.integers(0, len(values)))]


def table(rng):
    """Return a random table as text, and what its cells say: rows of words."""
    columns, count = int(rng.integers(1, 6)), int(rng.integers(0, 8))
    bytes_only, odd = rng.random() < 0.4, rng.random() < 0.2
    rows = []
    for _ in range(count):
        numbers = [str(rng.integers(0, 256)) if bytes_only else pick(rng, NUMBERS) for _ in range(columns)]
        if odd and rng.random() < 0.3:
            numbers[int(rng.integers(0, columns))] = pick(rng, ODD)
        rows.append([pick(rng, WORDS) if rng.random() < 0.5 else str(rng.integers(0, 10)), *numbers])
    if rng.random() < 0.4:
        rows.insert(0, ["label", *(f"x{i}" for i in range(columns))])
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=pick(rng, DELIMITERS), lineterminator=pick(rng, ("\n", "\r\n")))
    writer.writerows(rows)
    return buffer.getvalue().encode()


def cells_of(content, delimiter):
    """Return the rows of a CSV text as Python's own reader finds them; blank lines are no rows."""
    if delimiter == " ":  # any run of spaces and tabs
        lines = [re.findall(r'"(?:[^"]|"")*"|[^ \t]+', line) for line in re.split(r"\r\n|\r|\n", content)]
        return [[each[1:-1].replace('""', '"') if each[0] == '"' else each for each in line] for line in lines if line]
    return [row for row in csv.reader(io.StringIO(content, newline=""), delimiter=delimiter) if row]


def agrees(content, features, labels, label_at):
    """Tell whether features and labels are what the text says, in one of its delimiters, with or without a header."""
    text = content.decode("utf-8-sig", errors="surrogateescape")
    for delimiter in DELIMITERS:
        try:
            rows = cells_of(text, delimiter)
        except csv.Error:
            continue
        for skipped in (0, 1):
            if len(rows) - skipped == len(labels) and _same(rows[skipped:], features, labels, label_at):
                return True
    return False


def _same(rows, features, labels, label_at):
    for cells, values, label in zip(rows, features, labels, strict=True):
        if len(cells) != features.shape[1] + 1:
            return False
        word = cells[label_at].strip()
        numbers = [cell for at, cell in enumerate(cells) if at != label_at % len(cells)]
        try:
            if not np.allclose([float(cell) for cell in numbers], values.astype(float), rtol=1e-6):
                return False
            if str(label) != word and float(label) != float(word):
                return False
        except ValueError:
            return False
    return True


def test_csv(campaign, mutated, tmp_path):
    path = tmp_path / "table.csv"

    def case(rng):
        content = table(rng)
        if rng.random() < 0.5:
            content = mutated(rng, content)
        label_at = int(pick(rng, (0, 0, -1)))
        packed = rng.random() < 0.1
        path.write_bytes(gzip.compress(content) if packed else content)
        features, labels = read_csv(path, label_at)
        assert len(labels), "no rows, and no error"
        assert np.isfinite(features).all()
        assert agrees(content, features, labels, label_at), f"{content!r} was read as {features.tolist()}, {labels}"
        parts = [read_csv(path, label_at, part, 3) for part in range(3)]
        joined = join_parts(*zip(*parts, strict=True))
        assert joined[0].tobytes() == features.tobytes()
        assert joined[1].tolist() == labels.tolist()

    campaign.run(2200, case)
    assert campaign.accepted > 300
    assert campaign.refused > 300


def idx_content(rng):
    code, dtype = pick(rng, ((8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")))
    shape = tuple(int(size) for size in rng.integers(0, 5, int(rng.integers(1, 4))))
    values = rng.integers(0, 100, shape).astype(dtype)
    return struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape) + values.tobytes()


def test_idx(campaign, mutated, tmp_path):
    path = tmp_path / "file"
    types = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}

    def case(rng):
        content = idx_content(rng)
        if rng.random() < 0.6:
            content = mutated(rng, content)
        stored = gzip.compress(content) if rng.random() < 0.3 else content
        if stored is not content and rng.random() < 0.3:
            stored = mutated(rng, stored)
        path.write_bytes(stored)
        found = read_idx(path)
        whole = gzip.decompress(stored) if stored[:2] == b"\x1f\x8b" else stored
        _, code, dimensions = struct.unpack(">HBB", whole[:4])
        shape = struct.unpack(f">{dimensions}I", whole[4 : 4 + 4 * dimensions])
        expected = np.frombuffer(whole[4 + 4 * dimensions :], types[code]).reshape(shape)
        assert found.shape == shape
        assert np.array_equal(found, expected, equal_nan=True)

    campaign.run(1500, case)
    assert campaign.accepted > 200
    assert campaign.refused > 200


@pytest.fixture(scope="module")
def model(blobs):
    """A small trained model."""
    return manyhands.train(blobs, epochs=2, hidden=(3,), batch=20).model


def test_models(campaign, damaged, model, tmp_path):
    path, rows = tmp_path / "model.safetensors", np.arange(70, dtype=np.uint8).reshape(10, 7)
    model.save(path)
    content, expected = path.read_bytes(), model.predict_proba(rows)

    def case(rng):
        path.write_bytes(damaged(rng, content))
        loaded = manyhands.load_model(path)
        assert np.array_equal(loaded.predict_proba(rows), expected), "another model, without a word"
        assert loaded.classes.tolist() == model.classes.tolist()

    campaign.run(900, case)
    assert campaign.refused > 300


def test_journals(campaign, damaged, tmp_path):
    path = tmp_path / "journal"
    study = {"kind": "test", "seed": 0}
    pieces = [{"session": number, "accuracy": number / 7, "name": "größer\n"} for number in range(5)]
    with Journal(path, study) as journal:
        for piece in pieces:
            journal.add(piece)
    content = path.read_bytes()

    def case(rng):
        path.write_bytes(damaged(rng, content))
        with Journal(path, study) as journal:
            found = [json.dumps(entry) for entry in journal.entries]
        assert len(set(found)) == len(found), "a piece counts twice"
        assert all(json.loads(entry) in pieces for entry in found), f"invented: {found}"
        with Journal(path, study) as again:
            assert [json.dumps(entry) for entry in again.entries] == found

    campaign.run(800, case)


def test_records(campaign, damaged, blobs, tmp_path):
    """A changed record is refused, or says the same as before."""
    path = tmp_path / "results.json"
    study = manyhands.compare(
        blobs, strategies=["periodic:1epoch"], workers=[1], seeds=2, epochs=1, hidden=(2,), batch=20
    )
    study.save(path)
    content, record = path.read_bytes(), read_record(path)

    def case(rng):
        path.write_bytes(damaged(rng, content))
        found = read_record(path)  # in which the checksum's own name may be damaged: older files have none
        assert {name: found.get(name) for name in record} == record, "another record, without a word"

    campaign.run(500, case)
    assert campaign.refused > 200
