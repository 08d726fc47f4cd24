"""What a report says beside the two findings of Alowaisheq & Dhami."""

import pytest

from manyhands.reports.alowaisheq import COMPARABLE_QUESTION, FASTER_QUESTION, race_of
from manyhands.reports.headline import answers
from manyhands.reports.schema import complete, parts


def course(*points):
    return [{"epoch": epoch, "train_s": seconds, "accuracy": accuracy} for epoch, seconds, accuracy in points]


@pytest.fixture
def race(records):
    """Return the race of runs with two workers, each given as (its curve, the sequential curve)."""

    def found(*pairs):
        runs = []
        for seed, (ours, theirs) in enumerate(pairs):
            for strategy, workers, curve in (("sequential", 1, theirs), ("minibatch:5epochs", 2, ours)):
                runs.append({**records.run(strategy, workers, seed, 0.9, 1.0), "curve": curve})
        return race_of({"runs": runs}, {"strategy": "minibatch:5epochs", "workers": 2})

    return found


SEQUENTIAL = course((1, 1.0, 0.80), (2, 2.0, 0.895), (4, 4.0, 0.90))


def test_what_counts_is_a_point_below_the_sequential_end(race):
    found = race((course((1, 0.5, 0.5), (3, 1.5, 0.8901), (4, 2.0, 0.92)), SEQUENTIAL))
    assert (found.epochs, found.seconds, found.interval) == (1.5, 0.75, None)


def test_the_interval_decides_what_is_sooner(race):
    fast, slow = (course((2, seconds, 0.9)) for seconds in (1.0, 3.0))
    assert race(*[(fast, SEQUENTIAL)] * 5).word == "sooner"
    assert race(*[(slow, SEQUENTIAL)] * 5).word == "later"
    assert race(*[(fast, SEQUENTIAL), (slow, SEQUENTIAL)] * 3).word == "undecided"


def test_splits_on_which_it_did_not_get_there_are_counted(race):
    assert race((course((4, 1.0, 0.88)), SEQUENTIAL), (SEQUENTIAL, SEQUENTIAL)).missed == 1


def test_runs_without_a_course_are_no_race(race):
    assert race(([], SEQUENTIAL)) is None


def test_the_report_of_the_study_has_both_findings(records):
    found = dict(answers(complete(records.w4())))
    assert "minibatch:5epochs with 2 workers needed " in found[FASTER_QUESTION]
    assert "(medians of 8 random splits)" in found[FASTER_QUESTION]
    compare = parts(complete(records.w4())).compare
    row = next(row for row in compare["summary"] if row["strategy"] == "minibatch:5epochs" and row["workers"] == 2)
    assert f"with 2 workers {row['delta_pp']:+.2f} points" in found[COMPARABLE_QUESTION]


def test_other_records_have_none(records):
    assert len(answers(complete(records.compare(seeds=2, workers=(2,))))) == 1
