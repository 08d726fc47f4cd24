"""The answer is honest: it says no more than the numbers do."""

import re

import pytest

from manyhands.reports.headline import PUBLISHED_QUESTION, QUESTION, SCALED_QUESTION, SWEEP_QUESTION, answer, answers
from manyhands.reports.schema import complete


def row(strategy, workers, speedup, verdict, *, delta=0.0, half=0.08, speed_half=0.1, more=None, crowded=False):
    return {
        "strategy": strategy,
        "workers": workers,
        "accuracy_mean": 0.938,
        "accuracy_ci95": [0.936, 0.94],
        "delta_pp": delta,
        "delta_ci95": [delta - half, delta + half],
        "train_s": 0.63 / speedup,
        "speedup": speedup,
        "speedup_ci95": [speedup - speed_half, speedup + speed_half],
        "verdict": verdict,
        "more_seeds": more,
        "oversubscribed": crowded,
    }


@pytest.fixture
def make(records):
    """Make a comparison of given rows."""

    def comparison(*rows, seeds=5, **changes):
        base = {**row("sequential", 1, 1.0, None), "delta_pp": None, "delta_ci95": None, "speedup_ci95": None}
        runs = [
            records.run(each["strategy"], each["workers"], seed, 0.938, 0.6)
            for each in (base, *rows)
            for seed in range(seeds)
        ]
        return {
            "schema": "manyhands.compare/1",
            "environment": records.environment(),
            "settings": {"margin": 0.25},
            "runs": runs,
            "summary": [base, *rows],
            **changes,
        }

    return comparison


class TestComparison:
    def test_yes(self, make):
        record = make(row("one-shot", 2, 1.85, "lower", delta=-0.89), row("periodic:1epoch", 2, 1.72, "same"))
        assert answer(record) == (
            QUESTION,
            "Yes: use periodic:1epoch with 2 workers. It trained 1.72 times as fast (1.62 to 1.82) as the sequential "
            "run and kept its accuracy (+0.00 points, -0.08 to +0.08). Five seeds; within 0.25 points counts as the "
            "same.",
        )

    def test_a_higher_accuracy_is_said(self, make):
        assert "and raised its accuracy (+0.50" in answer(make(row("gradient", 2, 1.5, "higher", delta=0.5)))[1]

    def test_workers_with_cores_of_their_own_are_preferred(self, make):
        record = make(row("gradient", 2, 1.4, "same"), row("gradient", 4, 1.9, "same", crowded=True))
        assert "gradient with 2 workers" in answer(record)[1]

    def test_too_few_cores_are_said(self, make):
        _, text = answer(make(row("gradient", 4, 1.9, "same", crowded=True)))
        assert text.startswith("Yes: use gradient with 4 workers.")
        assert text.endswith("More workers than the 2 cores: this time says nothing about more cores.")

    def test_no_with_what_was_lost(self, make):
        _, text = answer(make(row("one-shot", 2, 1.85, "lower", delta=-0.89), row("gradient", 2, 0.9, "same")))
        assert text.startswith("No: what was faster lost accuracy. The fastest, one-shot with 2 workers, trained 1.85")
        assert "and lost accuracy (-0.89 points" in text

    def test_no_when_nothing_was_faster(self, make):
        _, text = answer(make(row("gradient", 2, 0.9, "same"), row("one-shot", 2, 0.7, "lower", delta=-1)))
        assert text.startswith("No: nothing was faster than the sequential run. The fastest, gradient with 2 workers,")
        assert "trained 0.90 times as fast" in text

    def test_undecided_accuracy_tells_how_many_seeds_are_missing(self, make):
        _, text = answer(make(row("gradient", 2, 1.5, "undecided", delta=-0.1, half=0.4, more=12)))
        assert text.startswith("Undecided: gradient with 2 workers trained 1.50 times as fast")
        assert ", but whether it kept the accuracy is open (-0.10 points" in text
        assert text.endswith(" About 12 more seeds would tell.")

    @pytest.mark.parametrize("seeds", [1, 2])
    def test_fewer_than_three_seeds_promise_nothing(self, make, seeds):
        _, text = answer(make(row("gradient", 2, 1.5, "undecided", more=3 - seeds), seeds=seeds))
        assert text.endswith("Three seeds at least are needed for a verdict.")
        assert "would tell" not in text

    def test_a_margin_finer_than_a_test_sample_is_said(self, make):
        settings = {"margin": 0.25, "data": {"name": "x", "test_rows": 48, "train_rows": 100}}
        assert (
            "one of 48 test samples is 2.08 points"
            in answer(make(row("gradient", 2, 1.5, "same"), settings=settings))[1]
        )
        settings["data"]["test_rows"] = 10_000
        assert "Beware" not in answer(make(row("gradient", 2, 1.5, "same"), settings=settings))[1]

    def test_runs_that_came_to_nothing_are_no_evidence(self, make):
        record = make(row("gradient", 2, 1.5, "same"))
        for run in record["runs"]:
            run["problem"] = "the model has learned nothing" if run["strategy"] == "sequential" else None
        text = answer(record)[1]
        assert text == ("No answer: the sequential run itself has come to nothing. The model has learned nothing.")
        record["runs"][0]["problem"] = None
        for run in record["runs"]:
            run["problem"] = "the model has learned nothing" if run["strategy"] == "gradient" else None
        assert "In 5 of its runs the model has learned nothing." in answer(record)[1]

    def test_there_are_no_nested_parentheses(self, records):
        for record in (records.compare(), records.compare(seeds=1), records.w1(), records.w4(), records.published()):
            for _, text in answers(complete(record)):
                assert not re.search(r"\([^)]*\(", text)

    def test_one_more_seed_is_singular(self, make):
        assert "About 1 more seed would" in answer(make(row("gradient", 2, 1.5, "undecided", more=1)))[1]

    def test_undecided_speed(self, make):
        _, text = answer(make(row("gradient", 2, 1.05, "same")))
        assert text.startswith("Undecided: ")
        assert "It may be no faster at all." in text

    def test_one_seed_says_so(self, records):
        _, text = answer(records.compare(seeds=1))
        assert text.startswith("Undecided: ")
        assert "One seed;" in text
        assert text.endswith("Three seeds at least are needed for a verdict.")

    def test_no_parallel_rows(self, records):
        assert answer(records.compare(workers=(1,)))[1].startswith("No answer: no run with two or more workers")

    def test_nothing_finished(self, records, make):
        assert answer(records.nothing_finished()) == (QUESTION, "No answer: no run was finished.")
        assert answer(make(runs=[], summary=[]))[1] == "No answer: no run was finished."

    def test_interruption_is_said(self, make):
        assert "Interrupted: not all runs" in answer(make(row("gradient", 2, 1.5, "same"), interrupted=True))[1]

    def test_splits_are_named(self, records):
        assert "Eight random splits" in answer(records.w4())[1]


class TestScaled:
    def test_time_beside_rows(self, records):
        question, text = answer(records.compare(scaled=True))
        # Scaled speedup 1.9 of 2: twice the rows in 2 / 1.9 = 1.05 times the time.
        assert question == SCALED_QUESTION
        assert "with 2 workers trained on 2 times the samples in 1.05 times the sequential time" in text

    def test_not_measured(self, records):
        record = records.compare(scaled=True)
        for each in record["summary"]:
            each["scaled_speedup"] = None
        assert answer(record)[1].startswith("No answer")


class TestPublished:
    def test_faster_but_less_accurate(self, records):
        # 2.172 / 1.275 = 1.70; published 5.39 / 2.67 = 2.02
        assert answer(records.published()) == (
            PUBLISHED_QUESTION,
            "Faster, yes; same accuracy, no: 2 processes trained 1.70 times as fast as one, and the accuracy fell from "
            "88.01 to 85.02 %. Published: 2.02 times as fast, from 88.23 to 85.15 %.",
        )

    def test_accuracy_that_stayed(self, records):
        record = records.published()
        record["tables"]["table2"]["here"][1]["accuracy_pct"] = 87.9
        assert "same accuracy, yes" in answer(record)[1]
        assert "stayed at 87.90 %" in answer(record)[1]

    def test_one_process_only(self, records):
        record = records.published()
        record["tables"]["table2"]["here"] = record["tables"]["table2"]["here"][:1]
        assert answer(record)[1].startswith("No answer")


class TestSweep:
    def test_reason_follows(self, records):
        assert answer(records.sweep()) == (
            SWEEP_QUESTION,
            "50 hidden neurons, 50 epochs: the largest impact factor, 374.4 (93.61 % of the validation samples in "
            "0.250 s).",
        )

    def test_without_reason(self, records):
        record = records.sweep()
        record["best"]["reason"] = None
        assert "with an impact factor of 374.4" in answer(record)[1]

    def test_without_best(self, records):
        assert answer({**records.sweep(), "best": None})[1].startswith("No answer")

    def test_target_that_no_classifier_reaches(self, records):
        record = {**records.sweep(), "best": None}
        record["settings"]["target"] = 0.99
        assert answer(record)[1] == "None: no classifier reaches 99 %; the highest accuracy is 94.01 %."


def test_a_study_answers_all_its_questions(records):
    assert [question for question, _ in answers(complete(records.w1()))] == [
        QUESTION,
        PUBLISHED_QUESTION,
        SWEEP_QUESTION,
    ]
