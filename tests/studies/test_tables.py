"""The printed table: what it says, and that it fits a terminal of 100 columns."""

import pytest

from manyhands.studies.compare import DEFAULT_STRATEGIES
from manyhands.studies.comparison import Comparison
from manyhands.studies.tables import comparison_table


def make(rows, *, cores=4, interrupted=False):
    """A comparison from (strategy, workers, seed, accuracy, train seconds, total seconds)."""
    runs = [
        {
            "strategy": strategy,
            "workers": workers,
            "seed": seed,
            "accuracy": accuracy,
            "seconds": {"train": train, "total": total},
        }
        for strategy, workers, seed, accuracy, train, total in rows
    ]
    return Comparison({"cores": cores}, {}, runs, interrupted)


def cells(table, strategy):
    """The row of a strategy, its columns separated by single blanks."""
    return " ".join(next(line for line in table.splitlines() if line.startswith(strategy)).split())


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
    expected = "one-shot 2 2.000 5.000 2.50 1.25 91.00 ±25.41 +0.00 ±12.71 45.5 18.2"
    assert cells(comparison_table(SMALL), "one-shot") == expected


def test_sequential_has_no_difference_to_itself():
    # 91 / 5 = 18.2 and 91 / 6 = 15.2
    expected = "sequential 1 5.000 6.000 1.00 1.00 91.00 ±12.71 18.2 15.2"
    assert cells(comparison_table(SMALL), "sequential") == expected


def test_one_seed_shows_no_interval():
    table = comparison_table(make([("sequential", 1, 0, 0.9, 4.0, 5.0), ("gradient", 2, 0, 0.91, 2.0, 3.0)]))
    assert cells(table, "gradient") == "gradient 2 2.000 3.000 2.00 1.00 91.00 +1.00 45.5 30.3"
    assert "over 1 seed;" in table


@pytest.mark.parametrize(
    ("train", "total", "spread"),
    [
        pytest.param(0.002, 0.003, 0.06, id="digits: tiny times, wild accuracies, huge impact"),
        pytest.param(0.8, 1.2, 0.002, id="MNIST on this machine"),
        pytest.param(1843.2, 1901.7, 0.002, id="half an hour, as the published program takes"),
        pytest.param(12345.678, 12399.9, 0.002, id="hours"),
    ],
)
def test_table_fits_100_columns(train, total, spread):
    rows = [
        (strategy, workers, seed, 0.93 + spread * (-1) ** (seed + workers), train / 3, total)
        for strategy in DEFAULT_STRATEGIES
        for workers in ((1,) if strategy == "sequential" else (1, 2, 4, 6, 16))
        for seed in range(3)
    ]
    rows = [(*row[:4], train, row[5]) if row[0] == "sequential" else row for row in rows]
    table, _, _ = comparison_table(make(rows, cores=2, interrupted=True)).partition("\n\n")
    assert max(map(len, table.splitlines())) <= 100


def test_slow_runs_show_an_impact():
    # 90 / 1800 = 0.05 and 90 / 2000 = 0.045: one decimal would say 0.1 and 0.0
    *_, impact, with_communication = cells(
        comparison_table(make([("sequential", 1, 0, 0.9, 1800.0, 2000.0)])), "sequential"
    ).split()
    assert (float(impact), float(with_communication)) == (0.05, 0.045)


def test_notes_fit_100_columns():
    table = comparison_table(make([("sequential", 1, seed, 0.9, 4.0, 5.0) for seed in range(10)], interrupted=True))
    oversubscribed = comparison_table(make([("sequential", 1, 0, 0.9, 4.0, 5.0)], cores=0))
    for line in f"{table}\n{oversubscribed}".splitlines():
        assert len(line) <= 100, line


def test_columns_are_aligned():
    head, _, _ = comparison_table(SMALL).partition("\n\n")
    top, units, rule, *rows = head.splitlines()
    assert set(rule) == {"-"}
    assert len({len(line) for line in (top, units, rule, *rows)}) == 1  # the last column ends every line


def test_oversubscribed_rows_are_marked_and_explained():
    rows = [("sequential", 1, 0, 0.9, 4.0, 5.0), ("gradient", 2, 0, 0.9, 2.0, 3.0), ("gradient", 4, 0, 0.9, 2.0, 3.0)]
    table = comparison_table(make(rows, cores=2))
    assert [line.split()[1] for line in table.splitlines() if line.startswith("gradient")] == ["2", "4*"]
    assert "* more workers than the 2 usable cores" in table


def test_nothing_is_explained_that_is_not_there():
    table = comparison_table(SMALL)
    assert "*" not in table
    assert "nterrupted" not in table


def test_one_core_is_not_called_cores():
    rows = [("sequential", 1, 0, 0.9, 4.0, 5.0), ("gradient", 2, 0, 0.9, 2.0, 3.0)]
    assert "1 usable cores" not in comparison_table(make(rows, cores=1))


def test_interrupted_comparison_says_so():
    table = comparison_table(make([("sequential", 1, 0, 0.9, 4.0, 5.0)], interrupted=True))
    assert "Interrupted: only finished runs are counted." in table


def test_rows_of_fewer_seeds_do_not_claim_all():
    rows = [("sequential", 1, 0, 0.9, 4.0, 5.0), ("gradient", 2, 0, 0.9, 2.0, 3.0), ("sequential", 1, 1, 0.9, 4.0, 5.0)]
    assert "over 2 seeds" not in comparison_table(make(rows, interrupted=True))  # gradient has one


def test_no_finished_run():
    assert comparison_table(make([], interrupted=True)) == "No run was finished."
