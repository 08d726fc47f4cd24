"""Events as plain data."""

import json
import math
from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from manyhands.core.events import EVENTS, EpochEnded, Measured, RoundHeld, StepTaken, as_record, from_record

COUNTS, NUMBERS = st.integers(0, 10**18), st.floats(allow_nan=False)


@given(
    st.one_of(
        st.builds(StepTaken, rank=COUNTS, step=COUNTS, loss=NUMBERS),
        st.builds(
            EpochEnded,
            rank=COUNTS,
            epoch=COUNTS,
            loss=NUMBERS,
            step=COUNTS,
            rounds=COUNTS,
            bytes_sent=COUNTS,
            train_s=NUMBERS,
        ),
        st.builds(RoundHeld, rank=COUNTS, number=COUNTS, step=COUNTS, loss=NUMBERS),
        st.builds(
            Measured,
            rank=COUNTS,
            step=COUNTS,
            epoch=NUMBERS,
            round=COUNTS,
            train_s=NUMBERS,
            loss=NUMBERS,
            accuracy=NUMBERS,
        ),
    )
)
def test_an_event_survives_a_line_of_json(event):
    line = json.dumps(as_record(event))
    assert "\n" not in line
    again = from_record(json.loads(line))
    assert (type(again), again) == (type(event), event)


def test_a_loss_that_is_no_number_survives_too():
    again = from_record(json.loads(json.dumps(as_record(RoundHeld(0, 1, 2, math.nan)))))
    assert math.isnan(again.loss)


def test_records_have_the_names_that_files_have():
    assert as_record(StepTaken(1, 2, 0.5)) == {"event": "step", "rank": 1, "step": 2, "loss": 0.5}
    assert as_record(EpochEnded(1, 2, 0.5, 10, 2, 96, 0.25)) == {
        "event": "epoch",
        "rank": 1,
        "epoch": 2,
        "loss": 0.5,
        "step": 10,
        "rounds": 2,
        "bytes_sent": 96,
        "train_s": 0.25,
    }
    assert as_record(RoundHeld(0, 3, 12, 0.25)) == {"event": "round", "rank": 0, "number": 3, "step": 12, "loss": 0.25}
    assert as_record(Measured(0, 5, 1.0, 1, 0.75, 2.0, 0.5)) == {
        "event": "measured",
        "rank": 0,
        "step": 5,
        "epoch": 1.0,
        "round": 1,
        "train_s": 0.75,
        "loss": 2.0,
        "accuracy": 0.5,
    }


def test_no_field_of_an_event_hides_its_name():
    """A record has the event's kind under ``event``; a field of that name would overwrite it."""
    assert all("event" not in [field.name for field in fields(kind)] for kind in EVENTS.values())
    assert len(set(EVENTS.values())) == len(EVENTS)


def test_reading_a_record_leaves_it_as_it_was():
    record = as_record(EpochEnded(1, 2, 0.5, 10, 2, 96, 0.25))
    from_record(record)
    assert record["event"] == "epoch"
