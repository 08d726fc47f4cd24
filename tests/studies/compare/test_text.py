"""The printed table of a comparison: what it says, and that it fits the terminal."""

import pytest

from manyhands.runtime.terminal import Detail
from manyhands.studies.compare.request import DEFAULT_STRATEGIES
from manyhands.studies.compare.results import Comparison
from manyhands.studies.compare.text import comparison_table, laws_text


def make(rows, *, cores=4, interrupted=False, resumed=False, **settings):
    """A comparison from (strategy, workers, seed, accuracy, train seconds, total seconds, time to a target)."""
    runs = [
        {
            "strategy": strategy,
            "workers": workers,
            "seed": seed,
            "accuracy": accuracy,
            "seconds": {"train": train, "distribute": total - train, "total": total},
            "rows": 100 * workers if settings.get("scaled") else 100,
            "target_s": target[0] if target else None,
        }
        for strategy, workers, seed, accuracy, train, total, *target in rows
    ]
    return Comparison({"cores": cores}, settings, runs, interrupted=interrupted, resumed=resumed)


def whole(comparison):
    """All of it; what is left out where nobody asks for all is tested at the end, and in tests/cli/test_widths.py."""
    return comparison_table(comparison, Detail(wide=True, explain=True))


def cells(table, strategy):
    """The row of a strategy, its columns separated by single blanks."""
    return " ".join(next(line for line in table.splitlines() if line.startswith(strategy)).split())


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """A terminal on which a table is in one piece."""
    monkeypatch.setenv("COLUMNS", "120")


SMALL = make(
    [
        ("sequential", 1, 0, 0.90, 4.0, 5.0),
        ("one-shot", 2, 0, 0.89, 2.0, 3.0),
        ("sequential", 1, 1, 0.92, 6.0, 7.0),
        ("one-shot", 2, 1, 0.93, 2.0, 7.0),
    ]
)


def test_row_has_the_numbers_of_the_summary():
    # Intervals, speedup and impact are worked out in test_compare.py; 91 / 5 = 18.2
    expected = "one-shot 2 2.000 5.000 2.50 1.25 91.00 ±25.41 +0.00 ±12.71 undecided 45.5 18.2"
    assert cells(whole(SMALL), "one-shot") == expected


def test_sequential_has_no_difference_to_itself():
    # 91 / 5 = 18.2 and 91 / 6 = 15.2
    expected = "sequential 1 5.000 6.000 1.00 1.00 91.00 ±12.71 18.2 15.2"
    assert cells(whole(SMALL), "sequential") == expected


def test_one_seed_shows_no_interval():
    table = whole(make([("sequential", 1, 0, 0.9, 4.0, 5.0), ("gradient", 2, 0, 0.91, 2.0, 3.0)]))
    assert cells(table, "gradient") == "gradient 2 2.000 3.000 2.00 1.00 91.00 +1.00 undecided 45.5 30.3"
    assert "1 seed: medians" in table


@pytest.mark.parametrize(
    ("train", "total", "spread"),
    [
        pytest.param(0.002, 0.003, 0.06, id="digits: tiny times, wild accuracies, huge impact"),
        pytest.param(0.8, 1.2, 0.002, id="MNIST on this machine"),
        pytest.param(1843.2, 1901.7, 0.002, id="half an hour, as the published program takes"),
        pytest.param(12345.678, 12399.9, 0.002, id="hours"),
    ],
)
@pytest.mark.parametrize("columns", [80, 120])
def test_it_fits_the_terminal(train, total, spread, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    rows = [
        (strategy, workers, seed, 0.93 + spread * (-1) ** (seed + workers), train / 3, total)
        for strategy in DEFAULT_STRATEGIES
        for workers in ((1,) if strategy == "sequential" else (1, 2, 4, 6, 16))
        for seed in range(3)
    ]
    rows = [(*row[:4], train, row[5]) if row[0] == "sequential" else row for row in rows]
    text = whole(make(rows, cores=2, interrupted=True))
    assert max(map(len, text.splitlines())) <= columns
    assert text.count("\nperiodic:1epoch") == 5 * (2 if columns == 80 else 1) + 1  # and in the table of laws


def test_slow_runs_show_an_impact():
    # 90 / 1800 = 0.05 and 90 / 2000 = 0.045: one decimal would say 0.1 and 0.0
    *_, impact, with_communication = cells(
        whole(make([("sequential", 1, 0, 0.9, 1800.0, 2000.0)])), "sequential"
    ).split()
    assert (float(impact), float(with_communication)) == (0.05, 0.045)


def test_oversubscribed_rows_are_marked_and_explained():
    rows = [("sequential", 1, 0, 0.9, 4.0, 5.0), ("gradient", 2, 0, 0.9, 2.0, 3.0), ("gradient", 4, 0, 0.9, 2.0, 3.0)]
    table = whole(make(rows, cores=2))
    assert [line.split()[1] for line in table.splitlines() if line.startswith("gradient")][:2] == ["2", "4*"]
    assert "* more workers than the 2 usable cores" in table


def test_nothing_is_explained_that_is_not_there():
    table = whole(SMALL)
    assert "*" not in table
    assert "nterrupted" not in table


def test_one_core_is_not_called_cores():
    rows = [("sequential", 1, 0, 0.9, 4.0, 5.0), ("gradient", 2, 0, 0.9, 2.0, 3.0)]
    assert "1 usable cores" not in whole(make(rows, cores=1))


def test_a_resumed_comparison_says_that_its_times_come_from_two_sessions():
    rows = [("sequential", 1, 0, 0.9, 4.0, 5.0)]
    note = "Resumed from a checkpoint: times come from more than one session."
    assert note in whole(make(rows, resumed=True))
    assert note not in whole(make(rows))


def test_interrupted_comparison_says_so():
    table = whole(make([("sequential", 1, 0, 0.9, 4.0, 5.0)], interrupted=True))
    assert "Interrupted: only finished runs are counted." in table


def test_rows_of_fewer_seeds_do_not_claim_all():
    rows = [("sequential", 1, 0, 0.9, 4.0, 5.0), ("gradient", 2, 0, 0.9, 2.0, 3.0), ("sequential", 1, 1, 0.9, 4.0, 5.0)]
    assert "1 to 2 seeds: medians" in whole(make(rows, interrupted=True))  # gradient has one


def test_no_finished_run():
    assert whole(make([], interrupted=True)) == "No run was finished."


def two(differences, *, speedup=2.0, workers=2, **settings):
    """A comparison of `gradient` with the sequential run that differs from it by so many points, seed by seed."""
    rows = []
    for seed, points in enumerate(differences):
        rows += [("sequential", 1, seed, 0.9, 4.0, 5.0)]
        rows += [("gradient", workers, seed, 0.9 + points / 100, 4.0 / speedup, 3.0)]
    return make(rows, **settings)


class TestVerdicts:
    @pytest.mark.parametrize(
        ("differences", "word"),
        [
            ([0.0, 0.01, -0.01], "same"),
            ([-1.0, -1.01, -1.0], "lower"),
            ([1.0, 1.01, 1.0], "higher"),
            ([-1.0, 1.0], "undecided"),
        ],
    )
    def test_the_word_stands_beside_the_difference(self, differences, word):
        table = whole(two(differences))
        assert cells(table, "gradient").split()[-3] == word
        assert "same: interval within ±0.25 points (TOST); lower, higher: on one side of zero." in table

    def test_the_margin_is_the_one_asked_for(self):
        assert "within ±0.5 points" in whole(two([0.0, 0.01], margin=0.5))

    def test_what_is_open_is_told_with_what_would_settle_it(self):
        # two more seeds than three: worked out in test_statistics.py
        table = whole(two([-0.2, 0.0, 0.2]))
        assert "undecided: gradient n=2: about 2 more seeds would tell." in table

    def test_the_same_advice_for_several_is_given_once(self):
        rows = [("sequential", 1, 0, 0.9, 4.0, 5.0)] + [("gradient", n, 0, 0.9, 2.0, 3.0) for n in (2, 3)]
        table = whole(make(rows))
        assert "undecided: three seeds at least are needed for a verdict." in table
        assert table.count("three seeds") == 1

    def test_nothing_is_advised_where_all_is_settled(self):
        assert "undecided" not in whole(two([0.0, 0.01, -0.01]))

    def test_scaled_comparisons_have_none(self):
        table = whole(two([0.0, 0.01, -0.01], scaled=True))
        assert "same" not in table
        assert "TOST" not in table


class TestSplits:
    def test_they_are_not_called_seeds(self):
        table = whole(two([0.0, 0.01, 0.02], splits=3, data={"test_rows": 10, "train_rows": 40}))
        assert "3 random splits: medians" in table
        assert "paired by split." in table
        assert "95 % interval over splits." in table
        assert "3 seeds" not in table

    def test_one_is_not_called_splits(self):
        assert "1 random split: medians" in whole(two([0.0], splits=1, data={"test_rows": 10, "train_rows": 40}))

    def test_seeds_are_not_called_splits(self):
        table = whole(two([0.0, 0.01, 0.02], splits=None))
        assert "3 seeds: medians" in table
        assert "95 % interval over seeds." in table
        assert "split" not in table


class TestScaledSpeedups:
    def test_speedup_and_efficiency_are_the_scaled_ones_and_said_to_be(self):
        # 4 times the rows in the time of the sequential run: scaled speedup 4, efficiency 1
        table = whole(two([0.0, 0.0], workers=4, speedup=1.0, scaled=True))
        assert cells(table, "gradient").split()[4:6] == ["4.00", "1.00"]
        assert "speed-up: scaled, as n workers trained on n times the samples" in table

    def test_else_nothing_is_said(self):
        assert "scaled" not in whole(two([0.0, 0.0]))


class TestTarget:
    ROWS = (
        ("sequential", 1, 0, 0.9, 4.0, 5.0, 3.0),
        ("sequential", 1, 1, 0.9, 4.0, 5.0, 3.0),
        ("gradient", 2, 0, 0.9, 2.0, 3.0, 1.5),
        ("gradient", 2, 1, 0.9, 2.0, 3.0, None),
        ("one-shot", 2, 0, 0.9, 2.0, 3.0, None),
        ("one-shot", 2, 1, 0.9, 2.0, 3.0, None),
    )

    def test_times_to_it_stand_below_the_table(self):
        table = whole(make(self.ROWS, target=0.93))
        block = next(block for block in table.split("\n\n") if block.startswith("training time to"))
        title, _, _, *lines = block.splitlines()
        assert title == "training time to an accuracy of 93 % on the test samples (evaluations are not counted)"
        assert [" ".join(line.split()) for line in lines] == [
            "sequential 1 3.000 2 of 2",
            "gradient 2 1.500 1 of 2",
            "one-shot 2 never 0 of 2",
        ]

    def test_without_a_target_nothing_is_said(self):
        assert "training time to" not in whole(SMALL)

    def test_crowded_workers_are_marked_here_too(self):
        assert "gradient 2* 1.500 " in " ".join(whole(make(self.ROWS, target=0.93, cores=1)).split())


def law(**changes):
    """What `Comparison.laws` says of one strategy."""
    none = {"strategy": "gradient", "amdahl": None, "usl": None, "gustafson": None, "oversubscribed": False}
    return {**none, "workers": [2], "speedups": [1.5], **changes}


def usl(best, **changes):
    found = {"contention": 0.125, "coherency": 0.0125, "best_workers": best, "peak_speedup": 2.5}
    return {**found, "oversubscribed": False, **changes}


def cells_of(text):
    """What stands in the last row, behind the strategy."""
    return " ".join(text.splitlines()[-1].split()[1:])


class TestLaws:
    def test_they_stand_below_the_table(self):
        rows = [("sequential", 1, 0, 0.9, 4.0, 5.0)]
        rows += [("gradient", 2, 0, 0.9, 2.5, 3.0), ("gradient", 4, 0, 0.9, 2.0, 3.0)]
        table = whole(make(rows))
        block = next(block for block in table.split("\n\n") if block.startswith("how the speedup grows"))
        # S = 1.6 and 2.0, worked out in test_comparison.py: f = 4 / 13 = 0.31; s = 1/6, k = 1/24, best sqrt(20)
        assert block.splitlines()[-1].split() == ["gradient", "31", "%", "3.2", "0.17", "0.042", "4"]

    def test_none_are_mentioned_where_there_are_none(self):
        assert laws_text([]) == ""
        assert laws_text([law()]) == ""
        assert "how the speedup grows" not in whole(make([("sequential", 1, 0, 0.9, 4.0, 5.0)]))

    @pytest.mark.parametrize(
        ("fitted", "cells"),
        [
            ({"amdahl": {"serial_fraction": 0.25}}, "25 % 4.0"),
            ({"amdahl": {"serial_fraction": 0.0}}, "0 % no limit"),
            ({"amdahl": {"serial_fraction": 1.0}, "speedups": [0.9]}, "below 1"),
            ({"usl": usl(None)}, "0.12 0.013 no limit"),
            ({"usl": usl(0.4)}, "0.12 0.013 1"),
            ({"usl": usl(1.6)}, "0.12 0.013 2"),
            ({"gustafson": {"serial_fraction": 0.14}}, "14 %"),
        ],
    )
    def test_what_each_law_says(self, fitted, cells):
        fitted = {
            name: {"oversubscribed": False, **fit} if isinstance(fit, dict) else fit for name, fit in fitted.items()
        }
        assert cells_of(laws_text([law(**fitted)])) == cells

    def test_laws_from_crowded_workers_are_marked_one_by_one(self):
        amdahl = {"serial_fraction": 0.25, "oversubscribed": False}
        assert cells_of(laws_text([law(amdahl=amdahl, usl=usl(4.0, oversubscribed=True))])) == "25 % 4.0 0.12* 0.013* 4"


class TestBrief:
    def test_reading_is_in_no_impact(self):
        # 2 s of 5 are training, 1 s distributes, the rest reads: 90 / 3 = 30
        comparison = make([("sequential", 1, 0, 0.9, 2.0, 5.0)])
        comparison.runs[0]["seconds"]["distribute"] = 1.0
        assert cells(whole(comparison), "sequential").endswith("45.0 30.0")

    def test_one_worker_of_a_strategy_is_for_those_who_ask(self):
        rows = [("sequential", 1, 0, 0.9, 4.0, 5.0)]
        comparison = make(rows + [("gradient", n, 0, 0.9, 2.0, 3.0) for n in (1, 2)])
        brief = comparison_table(comparison)
        assert [line.split()[1] for line in brief.splitlines() if line.startswith("gradient")] == ["2"]
        assert "sequential" in brief

    def test_a_test_sample_that_is_more_than_the_margin_is_said(self):
        comparison = two([0.0, 0.0, 0.0], data={"test_rows": 48, "train_rows": 100})
        assert "Beware: one of 48 test samples is 2.08 points" in " ".join(comparison_table(comparison).split())
        fine = two([0.0, 0.0, 0.0], data={"test_rows": 400, "train_rows": 100})
        assert "Beware" not in comparison_table(fine)

    def test_runs_that_came_to_nothing_are_named(self):
        comparison = two([0.0, 0.0, 0.0])
        comparison.runs[1]["problem"] = "the model has learned nothing"
        assert "Warning: gradient n=2, 1 of 3 runs: the model has learned nothing" in comparison_table(comparison)

    def test_verdicts_have_colours_only_if_wanted(self):
        comparison = two([0.0, 0.0, 0.0])
        assert "\x1b[1;32msame\x1b[0m" in comparison_table(comparison, Detail(styled=True))
        assert "\x1b" not in comparison_table(comparison)
