"""What is derived from finished runs, from runs written here: verdicts, laws, times to a target, scaled speedups."""

import json
import math

import pytest

from manyhands.core.errors import OutputError, SettingsError
from manyhands.records.seal import unsealed
from manyhands.records.statistics import ratio_interval, verdict
from manyhands.studies.compare.results import Comparison


def a_run(strategy, workers, seed, accuracy=0.9, train=1.0, **more):
    """A run as the study records it, with what the summary looks at."""
    seconds = {"train": train, "distribute": 0.25, "total": train + 0.5}
    return {
        "strategy": strategy,
        "workers": workers,
        "seed": seed,
        "accuracy": accuracy,
        "seconds": seconds,
        "rows": 100,
        **more,
    }


def with_differences(differences, **settings):
    """A comparison in which `gradient` differs from the sequential run by so many points, seed by seed."""
    runs = []
    for seed, points in enumerate(differences):
        runs += [a_run("sequential", 1, seed, 0.9 + seed / 100)]
        runs += [a_run("gradient", 2, seed, 0.9 + seed / 100 + points / 100)]
    return Comparison({"cores": 4}, settings, runs)


def with_speedups(speedups, cores=64, scaled=False):
    """A comparison of one seed with the given speedups of `gradient`, by numbers of workers."""
    runs = [a_run("sequential", 1, 0, train=12.0)]
    for workers, speedup in speedups.items():
        rows = 100 * workers if scaled else 100
        work = workers if scaled else 1  # the time of n times the work, done with that scaled speedup
        runs.append(a_run("gradient", workers, 0, train=12.0 * work / speedup, rows=rows))
    return Comparison({"cores": cores}, {"scaled": scaled}, runs)


class TestVerdict:
    @pytest.mark.parametrize(
        ("differences", "word"),
        [
            ([0.0, 0.02, -0.02], "same"),  # 0 +- 4.303 * 0.02 / sqrt(3) = 0.05
            ([-1.0, -1.02, -0.98], "lower"),
            ([1.0, 1.02, 0.98], "higher"),
            ([-1.0, 1.0, 0.0], "undecided"),
        ],
    )
    def test_it_is_that_of_the_paired_differences(self, differences, word):
        sequential, gradient = with_differences(differences).record()["summary"]
        assert gradient["verdict"] == word
        assert (gradient["more_seeds"] is None) == (word != "undecided")
        assert (sequential["verdict"], sequential["more_seeds"]) == (None, None)

    def test_its_margin_is_that_of_the_settings(self):
        words = [with_differences([-0.5, -0.52, -0.5], margin=margin).summary[1].verdict.word for margin in (0.4, 1.0)]
        assert words == ["lower", "same"]

    def test_a_margin_of_older_records_is_the_default(self):
        assert with_differences([0.0, 0.1]).summary[1].verdict.margin == 0.25

    def test_a_broken_margin_is_an_error_and_no_verdict(self):
        with pytest.raises(SettingsError, match="margin"):
            _ = with_differences([0.0, 0.1], margin=-1.0).summary

    def test_one_seed_is_undecided_and_three_are_the_fewest(self):
        row = with_differences([-3.0]).record()["summary"][1]
        assert (row["verdict"], row["more_seeds"]) == ("undecided", 2)
        assert (row["delta_ci95"], row["speedup_ci95"]) == (None, None)

    def test_only_seeds_with_a_sequential_run_count(self):
        comparison = with_differences([0.0, 0.01, -0.01])
        comparison.runs.append(a_run("gradient", 2, 9, 0.1))
        assert comparison.summary[1].verdict.word == "same"
        assert comparison.summary[1].seeds == 3

    def test_more_seeds_are_those_of_the_differences(self):
        row = with_differences([-0.2, 0.0, 0.2]).summary[1]
        assert row.verdict.more_seeds == 2  # worked out in test_statistics.py
        assert row.verdict.more_seeds == verdict([-0.2, 0.0, 0.2], 0.25).more_seeds


def test_speedup_has_the_interval_of_its_pairs():
    runs = []
    for seed, (alone, shared) in enumerate([(4.0, 2.0), (6.0, 2.0), (5.0, 2.0)]):
        runs += [a_run("sequential", 1, seed, train=alone), a_run("gradient", 2, seed, train=shared)]
    row = Comparison({"cores": 4}, {}, runs).record()["summary"][1]
    assert row["speedup"] == 2.5
    assert row["speedup_ci95"] == ratio_interval([4.0, 6.0, 5.0], [2.0] * 3) == [2, 3]


class TestTarget:
    def runs(self, times):
        runs = []
        for seed, (alone, shared) in enumerate(times):
            runs += [a_run("sequential", 1, seed, target_s=alone), a_run("gradient", 2, seed, target_s=shared)]
        return Comparison({"cores": 4}, {"target": 0.9}, runs).record()["summary"]

    def test_it_is_the_median_over_the_runs_that_reached_it(self):
        sequential, gradient = self.runs([(4.0, 1.0), (6.0, None), (5.0, 3.0)])
        assert (sequential["target_s"], sequential["target_reached"]) == (5, 3)
        assert (gradient["target_s"], gradient["target_reached"]) == (2, 2)

    def test_never_reached_is_no_time(self):
        _, gradient = self.runs([(4.0, None), (6.0, None)])
        assert (gradient["target_s"], gradient["target_reached"]) == (None, 0)

    def test_without_a_target_there_is_no_count(self):
        for row in with_differences([0.0, 0.1]).record()["summary"]:
            assert (row["target_s"], row["target_reached"]) == (None, None)


class TestScaled:
    def test_speedup_is_work_done_in_the_sequential_time(self):
        # 400 rows in 3 s against 100 rows in 2 s: 2 / 3 of the speed, 4 times the work
        runs = [a_run("sequential", 1, 0, train=2.0), a_run("gradient", 4, 0, train=3.0, rows=400)]
        sequential, row = Comparison({"cores": 4}, {"scaled": True}, runs).summary
        assert row.speedup == pytest.approx(2 / 3)
        assert row.scaled_speedup == pytest.approx(8 / 3)
        assert sequential.scaled_speedup == 1

    def test_other_data_are_no_ground_for_a_verdict(self):
        rows = with_speedups({2: 1.8}, scaled=True).record()["summary"]
        assert [(row["verdict"], row["more_seeds"]) for row in rows] == [(None, None)] * 2

    def test_else_there_is_none(self):
        assert [row.scaled_speedup for row in with_speedups({2: 1.8}).summary] == [None, None]


class TestLaws:
    def test_they_are_fitted_to_the_speedups_of_the_summary(self):
        # S = 1.6 with 2 and 2.0 with 4 workers: by hand in test_laws.py, s = 1/6, k = 1/24
        (law,) = with_speedups({1: 1.0, 2: 1.6, 4: 2.0}).laws
        assert (law["strategy"], law["workers"]) == ("gradient", [1, 2, 4])
        assert law["speedups"] == pytest.approx([1.0, 1.6, 2.0])
        assert (law["usl"]["contention"], law["usl"]["coherency"]) == pytest.approx((1 / 6, 1 / 24))
        assert law["usl"]["best_workers"] == pytest.approx(math.sqrt(20))
        assert law["usl"]["peak_speedup"] == pytest.approx(2.009, abs=5e-4)
        # (1/1.6 - 1/2) / 2 + (1/2 - 1/4) 3/4 = 1/16 + 3/16, over 1/4 + 9/16 = 13/16
        assert law["amdahl"]["serial_fraction"] == pytest.approx(4 / 13)
        assert law["gustafson"] is None
        assert law["oversubscribed"] is False

    def test_scaled_speedups_have_gustafsons_law_alone(self):
        # n - S = f (n - 1): 0.5 = f and 0.3 = 3f; f = (0.5 + 0.9) / 10
        (law,) = with_speedups({2: 1.5, 4: 3.7}, scaled=True).laws
        assert (law["amdahl"], law["usl"]) == (None, None)
        assert law["speedups"] == pytest.approx([1.5, 3.7])
        assert law["gustafson"] == {"serial_fraction": pytest.approx(0.14), "oversubscribed": False}

    def test_points_beyond_the_cores_are_left_out_where_others_suffice(self):
        crowded = with_speedups({2: 1.6, 4: 2.0, 8: 0.3}, cores=4).laws[0]
        fair = with_speedups({2: 1.6, 4: 2.0}, cores=4).laws[0]
        assert (crowded["amdahl"], crowded["usl"]) == (fair["amdahl"], fair["usl"])
        assert crowded["oversubscribed"] is False
        assert crowded["workers"] == [2, 4, 8]  # all are shown

    def test_they_are_used_and_said_to_be_where_nothing_else_is_there(self):
        (law,) = with_speedups({2: 1.6, 4: 2.0}, cores=2).laws
        assert law["amdahl"] == {"serial_fraction": pytest.approx(0.25), "oversubscribed": False}  # of n = 2 alone
        assert law["usl"]["oversubscribed"] is True
        assert law["usl"]["coherency"] == pytest.approx(1 / 24)
        assert law["oversubscribed"] is True

    def test_on_one_core_all_are_beyond(self):
        (law,) = with_speedups({1: 1.0, 2: 0.9, 4: 0.8}, cores=1).laws
        assert law["amdahl"]["oversubscribed"] is law["usl"]["oversubscribed"] is True

    def test_too_few_points_give_no_law(self):
        (alone,) = with_speedups({1: 1.0}).laws
        assert (alone["amdahl"], alone["usl"], alone["gustafson"], alone["oversubscribed"]) == (None, None, None, False)
        (one,) = with_speedups({1: 1.0, 2: 1.8}).laws
        assert one["amdahl"] is not None
        assert one["usl"] is None

    def test_one_point_beyond_the_cores_gives_no_law_of_two_unknowns(self):
        (law,) = with_speedups({4: 2.0}, cores=2).laws
        assert law["usl"] is None
        assert law["amdahl"]["oversubscribed"] is law["oversubscribed"] is True

    def test_more_than_linear_speedups_break_nothing(self):
        (law,) = with_speedups({2: 2.3, 4: 5.1, 6: 9.0}).laws
        assert law["amdahl"]["serial_fraction"] == 0
        assert (law["usl"]["contention"], law["usl"]["coherency"]) == (0, 0)
        assert (law["usl"]["best_workers"], law["usl"]["peak_speedup"]) == (None, None)

    def test_each_strategy_has_its_own_and_sequential_has_none(self):
        comparison = with_speedups({2: 1.6})
        comparison.runs.append(a_run("one-shot", 2, 0, train=6.0))
        assert [law["strategy"] for law in comparison.laws] == ["gradient", "one-shot"]
        assert comparison.laws[1]["amdahl"]["serial_fraction"] == 0  # 12 / 6

    def test_no_runs_have_no_laws(self):
        empty = Comparison({"cores": 1}, {})
        assert (empty.laws, empty.summary) == ([], [])


class TestSave:
    def test_the_file_is_what_record_returns_and_valid_json(self, tmp_path):
        comparison = with_speedups({2: 1.6, 4: 2.0})
        comparison.save(tmp_path / "result.json")

        def refuse(constant):
            raise AssertionError(f"{constant} is no JSON")

        text = (tmp_path / "result.json").read_text()
        assert unsealed(json.loads(text, parse_constant=refuse)) == json.loads(json.dumps(comparison.record()))
        assert text.endswith("}\n")

    def test_an_unfinished_record_has_everything_but_numbers(self, tmp_path):
        Comparison({"cores": 1}, {}, interrupted=True).save(tmp_path / "none.json")
        found = json.loads((tmp_path / "none.json").read_text())
        assert (found["runs"], found["summary"], found["laws"], found["interrupted"]) == ([], [], [], True)

    def test_a_file_that_cannot_be_written_is_a_typed_error(self, tmp_path):
        with pytest.raises(OutputError):
            with_speedups({2: 1.6}).save(tmp_path / "no" / "such" / "folder.json")
