"""The ledger: a run is there whole, or not at all, in memory and in the file alike."""

import json
import os
import signal

import pytest

from manyhands.studies.base.journal import Journal
from manyhands.studies.base.ledger import Ledger

STUDY = {"kind": "test"}


def anything(_key, record):
    if record["value"] < 0:
        raise ValueError


def test_what_was_added_is_found_now_and_later(tmp_path):
    with Ledger(tmp_path / "j", STUDY, anything) as ledger:
        ledger.add({"a": 1, "b": [1, 2]}, {"value": 5})
        assert ledger.get({"b": [1, 2], "a": 1}) == {"value": 5}
        assert ledger.get({"a": 1, "b": [1, 3]}) is None
        assert not ledger.is_earlier({"a": 1, "b": [1, 2]})
    with Ledger(tmp_path / "j", STUDY, anything) as ledger:
        assert ledger.get({"a": 1, "b": (1, 2)}) == {"value": 5}
        assert ledger.is_earlier({"a": 1, "b": (1, 2)})


def test_without_a_file():
    with Ledger(None, STUDY, anything) as ledger:
        ledger.add({"a": 1}, {"value": 5})
        assert ledger.get({"a": 1}) == {"value": 5}


def test_an_interruption_waits_until_the_run_is_collected(tmp_path):
    collected = []

    def collect():
        os.kill(os.getpid(), signal.SIGINT)
        collected.append(len((tmp_path / "j").read_text().splitlines()))

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Ledger(tmp_path / "j", STUDY, anything) as ledger, pytest.raises(KeyboardInterrupt):
            ledger.add({"a": 1}, {"value": 5}, collect)
    finally:
        signal.signal(signal.SIGINT, before)
    assert collected == [2]


@pytest.mark.parametrize(
    "line",
    ["{}", '{"a": 1, "record": {}}', '{"a": 1, "record": 5}', '{"record": null}', '{"a": 1, "record": {"value": -1}}'],
)
def test_a_line_that_is_no_run_is_named_and_left_out(tmp_path, line, notices):
    with Journal(tmp_path / "j", STUDY) as journal:
        journal.add(json.loads(line))
        journal.add({"a": 2, "record": {"value": 5}})
    with Ledger(tmp_path / "j", STUDY, anything) as ledger:
        assert (ledger.get({"a": 1}), ledger.get({"a": 2})) == (None, {"value": 5})
    assert any("line 2: damaged, or no piece of this study" in notice for notice in notices)
