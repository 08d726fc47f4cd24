"""Events as plain data, and what listeners of a run hear."""

import json
import math
import threading
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.learners.mlp.settings import MLPSettings
from manyhands.training.events import EVENTS, EpochEnded, Measured, RoundHeld, as_record, from_record
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

COUNTS, NUMBERS = st.integers(0, 10**18), st.floats(allow_nan=False)


@given(
    st.one_of(
        st.builds(EpochEnded, rank=COUNTS, epoch=COUNTS, loss=NUMBERS),
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
    assert as_record(EpochEnded(1, 2, 0.5)) == {"event": "epoch", "rank": 1, "epoch": 2, "loss": 0.5}
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
    record = as_record(EpochEnded(1, 2, 0.5))
    from_record(record)
    assert record["event"] == "epoch"


@pytest.mark.parametrize(
    ("strategy", "workers", "expected"),
    [
        # 103 rows in batches of 25: 5 steps an epoch, two epochs.
        ("sequential", 1, [("epoch", 1), ("measured", 5), ("epoch", 2), ("measured", 10)]),
        ("one-shot", 2, [("epoch", 1), ("round", 10), ("measured", 10), ("epoch", 2)]),
        (
            "periodic:7",
            3,
            [("epoch", 1), ("round", 7), ("measured", 7), ("round", 10), ("measured", 10), ("epoch", 2)],
        ),
        (
            "gradient",
            2,
            [
                *[("round", step) for step in range(1, 6)],
                *[("epoch", 1), ("measured", 5)],
                *[("round", step) for step in range(6, 11)],
                *[("measured", 10), ("epoch", 2)],
            ],
        ),
    ],
)
def test_rank_0_tells_what_happens_in_its_order(blobs, strategy, workers, expected):
    heard, lock = [], threading.Lock()

    def listener(event):
        with lock:
            heard.append(event)

    settings = MLPSettings(hidden=(8,))
    plan = resolve(
        RunSpec(strategy=strategy, workers=workers, network=settings, batch=25, epochs=2, convergence=True), blobs
    )
    result = run(plan, blobs, listeners=[listener])
    names = {EpochEnded: ("epoch", "epoch"), RoundHeld: ("round", "step"), Measured: ("measured", "step")}
    told = [(names[type(event)][0], getattr(event, names[type(event)][1])) for event in heard if event.rank == 0]
    assert told == expected
    # What is measured is told by rank 0 alone, and is the result's curve.
    measured = [event for event in heard if isinstance(event, Measured)]
    assert [event.rank for event in measured] == [0] * len(measured)
    assert [{name: value for name, value in vars(event).items() if name != "rank"} for event in measured] == (
        result.curve
    )
    # Everybody else tells the same epochs and rounds.
    for rank in range(1, workers):
        mine = [event for event in heard if event.rank == rank]
        kinds = [(names[type(event)][0], getattr(event, names[type(event)][1])) for event in mine]
        assert kinds == [one for one in expected if one[0] != "measured"]


def test_the_loss_of_a_round_is_the_mean_since_the_last_one(blobs):
    # The rate is so small that the weights stay as they are: a round after every step tells the losses of single steps,
    # and what other rounds tell must be their means, be it across the end of an epoch (after step 5).
    settings = MLPSettings(hidden=(8,), optimizer="sgd", learning_rate=1e-9, l2=0.0, dtype="float64")

    def losses(strategy):
        heard = []
        plan = resolve(
            RunSpec(strategy=strategy, workers=2, network=settings, batch=25, epochs=2, sharding="global"), blobs
        )
        run(plan, blobs, listeners=[lambda event: heard.append(event) if event.rank == 0 else None])
        return [event.loss for event in heard if isinstance(event, RoundHeld)]

    single = losses("periodic:1")
    assert len(single) == 10
    assert losses("periodic:1epoch") == pytest.approx([sum(single[:5]) / 5, sum(single[5:]) / 5], abs=1e-6)
    assert losses("periodic:7") == pytest.approx([sum(single[:7]) / 7, sum(single[7:]) / 3], abs=1e-6)
    assert losses("one-shot") == pytest.approx([sum(single) / 10], abs=1e-6)
