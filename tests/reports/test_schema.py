"""What counts as a record, and what is made of damaged ones."""

import copy
import json
import random

import pytest

from manyhands.core.errors import FormatError, ManyhandsError, MissingDataError, OutOfMemoryError
from manyhands.records.fields import ADVICE
from manyhands.records.seal import write_record
from manyhands.reports.schema import complete, parts
from manyhands.reports.write import read_record


def test_completing_twice_changes_nothing(records):
    for record in (records.w1(), records.w4(), records.nothing_finished()):
        once = complete(record)
        assert complete(once) == once


def test_the_record_itself_is_left_alone(records):
    record = records.compare(seeds=2)
    before = copy.deepcopy(record)
    complete(record)
    assert record == before


def test_unknown_fields_are_kept(records):
    assert complete({**records.sweep(), "later": 1})["later"] == 1


def test_parts_of_a_study(records):
    inside = parts(complete(records.w1()))
    assert inside.sweep["table"]
    assert inside.compare["summary"]
    assert inside.published["tables"]


def test_a_plain_record_is_its_only_part(records):
    inside = parts(complete(records.compare(seeds=1)))
    assert (inside.sweep, inside.published) == (None, None)
    assert inside.compare["summary"]


def test_a_part_without_environment_has_the_study_s(records):
    record = records.w1(seeds=1)
    del record["compare"]["environment"]
    assert parts(complete(record)).compare["environment"] == complete(record)["environment"]


def test_rows_that_were_compared_need_a_verdict(records):
    assert {row["verdict"] for row in complete(records.compare(scaled=True))["summary"]} == {None}
    record = records.compare()
    record["summary"][2]["verdict"] = None
    with pytest.raises(FormatError, match=r"^summary\[2\]\.verdict is missing"):
        complete(record)


class TestReading:
    def test_record_is_as_it_was_written(self, records, tmp_path):
        path = tmp_path / "results.json"
        path.write_text(json.dumps(records.w4()))
        assert read_record(path) == records.w4()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "not JSON"),
            (b'{"schema": "manyhands.compare/1", "ru', "not JSON"),
            (b"\xff\xfe\x00", "not JSON"),
            (b"[" * 100_000, "not JSON"),
            (b"[1, 2]", "a record is a JSON object, not a list"),
            (b"null", "not null"),
            (b"{}", "no schema"),
            (b'{"schema": 3}', "no schema"),
            (b'{"schema": "manyhands.model/1"}', "'manyhands.model/1'"),
            (b'{"schema": "manyhands.compare/1"}', "runs is missing"),
            (b'{"schema": "manyhands.compare/1", "runs": [], "summary": {}}', "summary must be a list"),
            (b'{"schema": "manyhands.compare/1", "runs": [3], "summary": []}', "runs[0] must be an object, not 3"),
            (b'{"schema": "manyhands.sweep/1", "table": [{"hidden": ["a"]}]}', "table[0].hidden[0] must be a number"),
            (b'{"schema": "manyhands.published/1"}', "tables is missing"),
            (b'{"schema": "manyhands.study/1"}', "at least one of sweep"),
            (b'{"schema": "manyhands.study/1", "compare": 1}', "compare must be an object, not 1"),
        ],
    )
    def test_damage_is_named_with_the_file(self, tmp_path, content, message):
        path = tmp_path / "broken.json"
        path.write_bytes(content)
        with pytest.raises(FormatError) as caught:
            read_record(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert message in str(caught.value)
        assert any(advice in str(caught.value) for advice in (ADVICE, "give the JSON file", "must be one of"))

    @pytest.mark.parametrize("name", ["missing.json", ".", "file/below", "a\0b", "x" * 3000])
    def test_what_cannot_be_read(self, tmp_path, name):
        (tmp_path / "file").write_text("")
        with pytest.raises(MissingDataError):
            read_record(f"{tmp_path}/{name}")

    def test_flipped_bits_are_refused_or_change_nothing(self, records, tmp_path, notices):
        """Some hundred: none is ever taken for a result."""
        record = records.compare(seeds=2, workers=(2,), strategies={"gradient": (0, 0.1)}, curves=True)
        path, chance = tmp_path / "r.json", random.Random(4)
        write_record(path, record)
        content = path.read_bytes()
        for _ in range(400):
            changed = bytearray(content)
            changed[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            path.write_bytes(changed)
            try:
                found = read_record(path)
            except FormatError:
                continue
            assert found == record
        assert notices == []  # none was taken for a file of an older version, without a checksum

    def test_a_file_that_memory_cannot_hold_is_named_and_never_read(self, tmp_path):
        path = tmp_path / "r.json"
        with open(path, "wb") as file:
            file.truncate(1 << 42)  # without any block on the disk
        with pytest.raises(OutOfMemoryError, match=r"the record .*r\.json would take"):
            read_record(path)

    def test_without_a_checksum_it_says_so(self, records, tmp_path, notices):
        path = tmp_path / "r.json"
        write_record(path, records.w4())
        read_record(path)
        assert notices == []
        path.write_text(json.dumps(records.w4()))
        read_record(path)
        assert [f"{path} has no checksum" in notice for notice in notices] == [True]

    @pytest.mark.parametrize(
        ("where", "value"),
        [
            (("runs", 0, "accuracy"), 4.13),
            (("runs", 0, "seconds", "train"), -1),
            (("runs", 0, "curve", 0, "accuracy"), 1.5),
            (("summary", 0, "accuracy_mean"), 7.12),
            (("summary", 1, "delta_pp"), 101),
            (("summary", 1, "accuracy_ci95"), [0.95, 0.94]),
            (("summary", 1, "verdict"), "sane"),
            (("settings", "target"), 93),
        ],
        ids=str,
    )
    def test_without_a_checksum_numbers_must_be_possible(self, records, where, value):
        record = records.compare(seeds=2, curves=True)
        inner = record
        for key in where[:-1]:
            inner = inner[key]
        inner[where[-1]] = value
        with pytest.raises(FormatError):
            complete(record)

    def test_without_a_checksum_accuracies_of_sweeps_must_be_possible(self, records):
        for name, value in (("accuracy_pct", 413.0), ("test_pct", -0.1)):
            record = records.sweep(hidden=(50,), epochs=(10,))
            record["table"][0][name] = value
            with pytest.raises(FormatError, match=rf"table\[0\]\.{name} must be"):
                complete(record)

    @pytest.mark.parametrize("value", [10**400, -1, "fast", True, [1], {}, float("nan"), float("inf"), 1e300])
    def test_a_number_that_is_none(self, records, value):
        record = records.compare(seeds=1)
        record["summary"][1]["train_s"] = value
        with pytest.raises(FormatError, match=r"summary\[1\]\.train_s"):
            complete(record)

    def test_a_needless_number_that_is_not_finite_counts_as_missing(self, records):
        record = records.compare(seeds=1)
        record["summary"][1]["impact"] = float("nan")
        assert complete(record)["summary"][1]["impact"] is None

    def test_workers_are_whole_and_positive(self, records):
        for value in (0, 1.5):
            record = records.compare(seeds=1)
            record["summary"][1]["workers"] = value
            with pytest.raises(ManyhandsError, match="workers must be"):
                complete(record)
