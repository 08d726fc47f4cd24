"""A record that was changed is refused, whatever has changed it."""

import json

import pytest

from manyhands.core.errors import FormatError
from manyhands.records.seal import sealed, unsealed, write_record

RECORD = {"schema": "manyhands.compare/1", "runs": [{"accuracy": 0.25, "seed": 1}], "name": "größer", "none": None}


def test_a_seal_is_taken_off_again_whatever_the_order_and_the_spaces(tmp_path):
    write_record(tmp_path / "r.json", RECORD)
    found = json.loads((tmp_path / "r.json").read_text())
    assert unsealed(found) == RECORD
    assert unsealed(json.loads(json.dumps(dict(reversed(found.items())), separators=(",", ":")))) == RECORD
    assert sealed(found) == found


def test_a_live_record_has_the_seal_of_its_file():
    live = {**RECORD, "runs": ({"accuracy": 0.25, "seed": 1},), 3: 4}
    assert sealed(live) == sealed({**RECORD, "3": 4})


def test_what_has_none_stays_as_it_is():
    for record in (RECORD, {}, [], None, 3):
        assert unsealed(record) == record


@pytest.mark.parametrize(
    "change", [{"runs": []}, {"new": 1}, {"checksum": None}, {"checksum": 3}, {"checksum": []}, {"none": 0}], ids=str
)
def test_what_was_changed_is_refused(change):
    with pytest.raises(FormatError, match="it was changed after it was written"):
        unsealed({**sealed(RECORD), **change})


@pytest.mark.parametrize("name", ["chgcksum", "Checksum", "c`ecksum", ""])
def test_a_seal_whose_name_is_damaged_is_still_one(name):
    record = sealed(RECORD)
    with pytest.raises(FormatError, match="it was changed after it was written, or is damaged"):
        unsealed({name if key == "checksum" else key: value for key, value in record.items()})
