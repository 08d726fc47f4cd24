"""The comparison: what it runs, what it records, and that its numbers follow from its runs."""

import json
import statistics
from dataclasses import replace

import pytest

from manyhands.core.errors import DataError, ManyhandsError, SettingsError
from manyhands.data.resplit import head, resplit
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.records.laws import fit_amdahl, fit_scalability
from manyhands.records.seal import unsealed
from manyhands.records.statistics import DEFAULT_MARGIN, ratio_interval, verdict
from manyhands.studies.compare import run as module
from manyhands.studies.compare.request import CompareRequest
from manyhands.studies.compare.results import SCHEMA, Comparison
from manyhands.studies.compare.run import CompareStudy, compare, load_scaled
from manyhands.training.run import run as train
from manyhands.training.spec import RunSpec

SECONDS = {"startup", "read", "distribute", "compute", "communicate", "merge", "evaluate", "train", "total"}
NUMBER, INTERVAL = (int, float), (list, type(None))
RUN = {
    "strategy": str,
    "resolved": str,
    "batch": int,
    "learning_rate": float,
    "schedule": str,
    "workers": int,
    "team": str,
    "learner": str,
    "sharding": str,
    "seed": int,
    "accuracy": float,
    "steps": int,
    "rounds": int,
    "bytes_sent": int,
    "examples": int,
    "loss": float,
    "seconds": dict,
    "rows": int,
    "split": (int, type(None)),
    "target_s": (float, type(None)),
    "curve": (list, type(None)),
    "problem": (str, type(None)),
}
SUMMARY = {
    "strategy": str,
    "workers": int,
    "accuracy_mean": float,
    "accuracy_ci95": INTERVAL,
    "delta_pp": (float, type(None)),
    "delta_ci95": INTERVAL,
    "train_s": float,
    "total_s": float,
    "speedup": float,
    "speedup_ci95": INTERVAL,
    "efficiency": float,
    "impact": float,
    "impact_with_communication": float,
    "oversubscribed": bool,
    "verdict": (str, type(None)),
    "more_seeds": (int, type(None)),
    "target_s": (float, type(None)),
    "target_reached": (int, type(None)),
    "target_speedup": (float, type(None)),
    "scaled_speedup": (float, type(None)),
}
LAW = {
    "strategy": str,
    "workers": list,
    "speedups": list,
    "amdahl": (dict, type(None)),
    "usl": (dict, type(None)),
    "gustafson": (dict, type(None)),
    "oversubscribed": bool,
}
STRATEGIES = ("one-shot", "periodic:1epoch", "periodic:5", "gradient")
WORKERS = (1, 2, 3)
SEEDS, SEED, EPOCHS, BATCH, ROWS = 3, 7, 4, 20, 103
READ = 0.25  # seconds that reading the data took
STEPS = 6 * EPOCHS  # 103 rows are five batches of 20 and one of 3


def small(blobs, **changes):
    options = {
        "strategies": STRATEGIES,
        "workers": WORKERS,
        "batch": BATCH,
        "epochs": EPOCHS,
        "seeds": SEEDS,
        "seed": SEED,
        "hidden": (6,),
    }
    return compare(blobs, **{**options, **changes})


@pytest.fixture(scope="module")
def comparison(blobs):
    return small(replace(blobs, seconds=READ))


@pytest.fixture(scope="module")
def record(comparison, tmp_path_factory):
    """The JSON file, read back."""
    path = tmp_path_factory.mktemp("compare") / "result.json"
    comparison.save(path)
    return unsealed(json.loads(path.read_text()))


@pytest.fixture(scope="module")
def groups(record):
    """Each summary row with its runs and the sequential runs of the same seeds."""
    cases = {}
    for run in record["runs"]:
        cases.setdefault((run["strategy"], run["workers"]), []).append(run)
    sequential = cases["sequential", 1]
    return [(row, cases[row["strategy"], row["workers"]], sequential) for row in record["summary"]]


def run_record(strategy, workers, seed, accuracy, train, total):
    """A run as the study records it, with only what the summary looks at."""
    return {
        "strategy": strategy,
        "workers": workers,
        "seed": seed,
        "accuracy": accuracy,
        "seconds": {"train": train, "distribute": total - train, "total": total},
    }


def assert_types(found, wanted):
    assert found.keys() == wanted.keys()
    for name, kind in wanted.items():
        assert isinstance(found[name], kind), name
        assert isinstance(found[name], bool) == (kind is bool), name  # bool is an int to isinstance


class TestRecord:
    def test_top_level(self, record):
        kinds = {"schema": str, "environment": dict, "settings": dict, "interrupted": bool, "runs": list}
        assert_types(record, {**kinds, "summary": list, "laws": list})
        assert record["schema"] == SCHEMA == "manyhands.compare/1"
        assert record["interrupted"] is False

    def test_settings_say_which_data(self, record):
        data = record["settings"]["data"]
        assert (data["name"], data["train_rows"], data["test_rows"]) == ("blobs", 103, 60)
        assert (data["features"], data["classes"]) == (7, 3)

    def test_settings_say_what_was_asked(self, record):
        settings = record["settings"]
        assert settings["strategies"] == ["sequential", *STRATEGIES]
        assert settings["workers"] == list(WORKERS)
        assert (settings["batch"], settings["epochs"]) == (BATCH, EPOCHS)
        assert (settings["seeds"], settings["seed"]) == (SEEDS, SEED)
        assert settings["network"]["hidden"] == [6]
        assert (settings["splits"], settings["target"], settings["margin"], settings["scaled"]) == (
            None,
            None,
            DEFAULT_MARGIN,
            False,
        )

    def test_runs_have_the_documented_fields(self, record):
        for run in record["runs"]:
            assert_types(run, RUN)
            assert 0 <= run["accuracy"] <= 1
            assert (run["rows"], run["split"], run["target_s"], run["curve"]) == (ROWS, None, None, None)

    def test_laws_have_the_documented_fields(self, record):
        assert [law["strategy"] for law in record["laws"]] == list(STRATEGIES)
        for law in record["laws"]:
            assert_types(law, LAW)
            assert law["amdahl"].keys() == {"serial_fraction", "oversubscribed"}
            assert law["usl"].keys() == {
                "contention",
                "coherency",
                "best_workers",
                "peak_speedup",
                "oversubscribed",
            }
            assert law["gustafson"] is None

    def test_seconds_have_all_nine_phases(self, record):
        for run in record["runs"]:
            assert run["seconds"].keys() == SECONDS
            assert all(isinstance(value, float) and value >= 0 for value in run["seconds"].values())

    def test_summary_has_the_documented_fields(self, record):
        for row in record["summary"]:
            assert_types(row, SUMMARY)

    def test_intervals_lie_around_their_means(self, record):
        for row in record["summary"]:
            low, high = row["accuracy_ci95"]
            assert low <= row["accuracy_mean"] <= high
            if row["delta_pp"] is not None:
                assert row["delta_ci95"][0] <= row["delta_pp"] <= row["delta_ci95"][1]

    def test_one_seed_has_nulls_for_intervals(self, blobs):
        rows = small(blobs, seeds=1, strategies=["gradient"], workers=[2]).record()["summary"]
        assert [row["accuracy_ci95"] for row in rows] == [None, None]
        assert [row["delta_ci95"] for row in rows] == [None, None]
        assert isinstance(rows[1]["delta_pp"], float)

    def test_sequential_has_null_for_its_difference_to_itself(self, record):
        first = record["summary"][0]
        assert (first["strategy"], first["delta_pp"], first["delta_ci95"]) == ("sequential", None, None)

    def test_file_is_what_record_returns(self, comparison, record):
        assert json.loads(json.dumps(comparison.record())) == record


class TestRuns:
    def test_grid_is_complete_and_each_seed_begins_with_sequential(self, record):
        cases = [("sequential", 1)] + [(strategy, workers) for strategy in STRATEGIES for workers in WORKERS]
        expected = [(strategy, workers, seed) for seed in (7, 8, 9) for strategy, workers in cases]
        assert [(run["strategy"], run["workers"], run["seed"]) for run in record["runs"]] == expected

    def test_sequential_runs_alone_and_others_in_threads(self, record):
        assert {(run["strategy"] == "sequential", run["team"]) for run in record["runs"]} == {
            (True, "solo"),
            (False, "threads"),
        }

    def test_sequential_alone_has_one_run_per_seed(self, blobs):
        runs = small(blobs, strategies=["sequential"]).runs
        assert [(run["strategy"], run["workers"]) for run in runs] == [("sequential", 1)] * SEEDS

    def test_what_is_asked_for_twice_runs_once(self, blobs):
        request = CompareRequest(
            ("periodic:5", "periodic:every=5"), (2, 2), seeds=1, spec=RunSpec(batch=BATCH, epochs=1)
        )
        plans = CompareStudy(blobs, request).plans
        assert [(plan.strategy.name, plan.workers) for plan in plans] == [("sequential", 1), ("periodic:5", 2)]

    def test_every_worker_takes_all_steps(self, record):
        assert {run["steps"] for run in record["runs"]} == {STEPS}

    def test_examples_are_shared_between_the_workers(self, record):
        for run in record["runs"]:
            share = ROWS * EPOCHS / run["workers"]
            # The largest share; each batch may round up by less than one row.
            assert share <= run["examples"] < share + STEPS
        assert {run["examples"] for run in record["runs"] if run["workers"] == 1} == {ROWS * EPOCHS}

    def test_rounds_are_those_of_the_strategy(self, record):
        expected = {"sequential": 0, "one-shot": 1, "periodic:1epoch": EPOCHS, "periodic:5": 5, "gradient": STEPS}
        for run in record["runs"]:  # periodic:5 has 4 rounds in 20 steps and one at the end
            assert run["rounds"] == (expected[run["strategy"]] if run["workers"] > 1 else 0), run["strategy"]

    def test_only_rounds_send_bytes(self, record):
        for run in record["runs"]:
            assert (run["bytes_sent"] > 0) == (run["rounds"] > 0)
        one_shot, periodic = (
            next(run["bytes_sent"] for run in record["runs"] if (run["strategy"], run["workers"]) == (name, 2))
            for name in ("one-shot", "periodic:1epoch")
        )
        assert periodic == EPOCHS * one_shot

    def test_one_worker_is_the_sequential_run(self, record):
        exact = {run["seed"]: run["accuracy"] for run in record["runs"] if run["strategy"] == "sequential"}
        for run in record["runs"]:
            if run["workers"] == 1 and run["sharding"] == "global":
                assert run["accuracy"] == exact[run["seed"]]

    def test_total_is_read_and_distribute_and_train(self, record):
        for run in record["runs"]:
            seconds = run["seconds"]
            assert seconds["read"] == READ
            assert seconds["total"] == pytest.approx(seconds["read"] + seconds["distribute"] + seconds["train"])

    def test_training_contains_its_phases(self, record):
        for run in record["runs"]:
            seconds = run["seconds"]
            assert max(seconds["compute"], seconds["communicate"], seconds["merge"]) <= seconds["train"]
            assert seconds["compute"] > 0
            if run["workers"] == 1:
                assert seconds["communicate"] == seconds["merge"] == 0

    def test_same_seeds_give_the_same_results(self, blobs, record):
        def numbers(runs):
            return [(run["accuracy"], run["loss"]) for run in runs]

        assert numbers(small(blobs).runs) == numbers(record["runs"])

    def test_other_seeds_give_other_results(self, record):
        losses = [run["loss"] for run in record["runs"] if run["strategy"] == "sequential"]
        assert len(set(losses)) == SEEDS


class TestSummary:
    def test_one_row_per_case(self, record):
        assert len(record["summary"]) == 1 + len(STRATEGIES) * len(WORKERS)

    def test_accuracy_is_the_mean_of_the_runs(self, groups):
        for row, runs, _ in groups:
            assert row["accuracy_mean"] == pytest.approx(statistics.fmean(run["accuracy"] for run in runs))

    def test_difference_is_paired_by_seed(self, groups):
        for row, runs, sequential in groups[1:]:
            differences = [
                100 * (run["accuracy"] - other["accuracy"]) for run, other in zip(runs, sequential, strict=True)
            ]
            assert row["delta_pp"] == pytest.approx(statistics.fmean(differences))
            # t(2) = 4.30265
            half = 4.30265 * statistics.stdev(differences) / 3**0.5
            assert row["delta_ci95"] == pytest.approx([row["delta_pp"] - half, row["delta_pp"] + half], rel=1e-4)

    def test_times_are_medians(self, groups):
        for row, runs, _ in groups:
            assert row["train_s"] == statistics.median(run["seconds"]["train"] for run in runs)
            assert row["total_s"] == statistics.median(run["seconds"]["total"] for run in runs)

    def test_speedup_and_efficiency_follow_from_training_times(self, groups):
        for row, runs, sequential in groups:
            ratios = [
                other["seconds"]["train"] / run["seconds"]["train"] for run, other in zip(runs, sequential, strict=True)
            ]
            assert row["speedup"] == pytest.approx(statistics.median(ratios))
            assert row["efficiency"] == pytest.approx(row["speedup"] / row["workers"])

    def test_speedup_has_the_interval_of_its_pairs(self, groups):
        for row, runs, sequential in groups:
            times, alone = ([run["seconds"]["train"] for run in some] for some in (runs, sequential))
            assert row["speedup_ci95"] == ratio_interval(alone, times)
            assert row["speedup_ci95"][0] <= row["speedup"] <= row["speedup_ci95"][1]

    def test_verdict_follows_from_the_runs(self, groups):
        assert (groups[0][0]["verdict"], groups[0][0]["more_seeds"]) == (None, None)
        for row, runs, sequential in groups[1:]:
            points = [
                100 * run["accuracy"] - 100 * other["accuracy"] for run, other in zip(runs, sequential, strict=True)
            ]
            expected = verdict(points, DEFAULT_MARGIN)
            assert (row["verdict"], row["more_seeds"]) == (expected.word, expected.more_seeds)

    def test_one_worker_on_global_shares_is_called_the_same(self, record):
        # It is the sequential run to the bit: differences of 0, which no margin is too small for.
        words = {row["strategy"]: row["verdict"] for row in record["summary"] if row["workers"] == 1}
        assert (words["periodic:1epoch"], words["periodic:5"]) == ("same", "same")

    def test_laws_follow_from_the_speedups(self, comparison, record):
        cores = comparison.environment["cores"]
        for law in record["laws"]:
            rows = [row for row in record["summary"] if row["strategy"] == law["strategy"]]
            assert law["workers"] == [row["workers"] for row in rows] == list(WORKERS)
            assert law["speedups"] == [row["speedup"] for row in rows]
            fair = [row for row in rows if row["workers"] <= cores]
            few = fair if cores >= 2 else rows
            amdahl = fit_amdahl([row["workers"] for row in few], [row["speedup"] for row in few])
            assert law["amdahl"]["serial_fraction"] == amdahl.serial_fraction
            enough = fair if cores >= 3 else rows
            usl = fit_scalability([row["workers"] for row in enough], [row["speedup"] for row in enough])
            assert (law["usl"]["contention"], law["usl"]["coherency"]) == (usl.contention, usl.coherency)
            assert law["usl"]["oversubscribed"] is (cores < 3)

    def test_impact_is_percent_over_seconds(self, groups):
        for row, runs, _ in groups:
            percent = 100 * row["accuracy_mean"]
            communicated = statistics.median(
                run["seconds"]["distribute"] + run["seconds"]["train"] for run in runs
            )  # reading is not in it, as in Table III
            assert row["impact"] == pytest.approx(percent / row["train_s"])
            assert row["impact_with_communication"] == pytest.approx(percent / communicated)

    def test_numbers_worked_out_by_hand(self):
        runs = [
            run_record("sequential", 1, 0, 0.90, 4.0, 5.0),
            run_record("one-shot", 2, 0, 0.89, 2.0, 3.0),
            run_record("sequential", 1, 1, 0.92, 6.0, 7.0),
            run_record("one-shot", 2, 1, 0.93, 2.0, 5.0),
        ]
        row = Comparison({"cores": 2}, {}, runs).record()["summary"][1]
        assert row["accuracy_mean"] == pytest.approx(0.91)
        # Deviations of 0.02 from the mean: s / sqrt(2) = 0.02; t(1) = 12.706
        assert row["accuracy_ci95"] == pytest.approx([0.91 - 0.25412, 0.91 + 0.25412], abs=1e-5)
        # Differences -1 and +1 points: s / sqrt(2) = 1
        assert row["delta_pp"] == pytest.approx(0)
        assert row["delta_ci95"] == pytest.approx([-12.706, 12.706], abs=5e-4)
        assert (row["train_s"], row["total_s"]) == (2, 4)
        assert row["speedup"] == 2.5  # median of 4 / 2 and 6 / 2
        assert row["efficiency"] == 1.25
        assert row["impact"] == pytest.approx(91 / 2)
        assert row["impact_with_communication"] == pytest.approx(91 / 4)
        assert row["oversubscribed"] is False

    @pytest.mark.parametrize(("cores", "marks"), [(1, [False, True]), (2, [False, False]), (8, [False, False])])
    def test_more_workers_than_cores_are_oversubscribed(self, cores, marks):
        runs = [run_record("sequential", 1, 0, 0.9, 4.0, 5.0), run_record("gradient", 2, 0, 0.9, 2.0, 3.0)]
        assert [row.oversubscribed for row in Comparison({"cores": cores}, {}, runs).summary] == marks

    def test_seeds_that_were_not_reached_are_left_out(self):
        runs = [
            run_record("sequential", 1, 0, 0.90, 4.0, 5.0),
            run_record("gradient", 2, 0, 0.91, 2.0, 3.0),
            run_record("sequential", 1, 1, 0.80, 6.0, 7.0),
            run_record("gradient", 2, 2, 0.10, 2.0, 3.0),  # nothing to compare it with
        ]
        sequential, gradient = Comparison({"cores": 2}, {}, runs, interrupted=True).summary
        assert sequential.accuracy.mean == pytest.approx(0.85)
        assert gradient.delta.mean == pytest.approx(1)  # against its own seed, not against the mean
        assert gradient.speedup == 2


class TestStudy:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"workers": [1, 21]}, "21 workers cannot share a global batch of 20"),
            ({"workers": [0]}, "workers must be at least 1, not 0"),
            ({"workers": [2, -1]}, "workers must be at least 1, not -1"),
            ({"splits": 0}, "splits must be at least 1, not 0"),
            ({"splits": 2, "seed": -1}, "seed must be at least 0"),
            ({"margin": 0}, "margin of equivalence must be a positive number"),
            ({"margin": float("nan")}, "margin of equivalence must be a positive number"),
            ({"target": 0}, "accuracy above 0 and up to 1, such as 0.93, not 0"),
            ({"target": 93}, "accuracy above 0 and up to 1, such as 0.93, not 93"),
            ({"target": float("nan")}, "accuracy above 0 and up to 1, such as 0.93, not nan"),
            ({"scaled": True, "workers": [1, 104]}, "103 training rows are too few to give each of 104 workers one"),
            ({"scaled": True, "workers": [6]}, "between 1 and the 17 training rows, not 20"),
            ({"workers": []}, "at least one number of workers"),
            ({"batch": 104}, "between 1 and the 103 training rows"),
            ({"epochs": 0}, "epochs must be at least 1"),
            ({"seeds": 0}, "seeds must be at least 1"),
            ({"seed": -1}, "seed must be at least 0"),
            ({"strategies": ["gradient", "telepathy"]}, "unknown strategy 'telepathy'"),
            ({"strategies": ["periodic:0"]}, "periodic:0"),
            ({"team": "pigeons"}, "unknown team 'pigeons'"),
            ({"sharding": "broken"}, "unknown sharding 'broken'"),
            ({"hidden": (0,)}, "at least one neuron"),
            ({"learning_rate": float("nan")}, "learning_rate"),
        ],
    )
    def test_what_cannot_work_fails_before_any_run(self, blobs, monkeypatch, changes, words):
        monkeypatch.setattr(module.Runner, "run", lambda *_args, **_options: pytest.fail("a run was started"))
        with pytest.raises(SettingsError, match=words):
            small(blobs, **changes)

    def test_too_many_rows_fail_before_any_run(self, monkeypatch):
        monkeypatch.setattr(module.Runner, "run", lambda *_args, **_options: pytest.fail("a run was started"))
        with pytest.raises(ManyhandsError, match="train_size=1438: digits has 1437"):
            compare("digits", train_size=1438)

    def test_progress_counts_the_steps_of_all_runs(self, blobs):
        seen = []
        study = CompareStudy(blobs, CompareRequest(("gradient",), (2,), seeds=1, spec=RunSpec(batch=BATCH, epochs=2)))
        study.run(lambda *each: seen.append(each))
        assert (seen[0], seen[-1]) == (("sequential n=1 seed 0", 0, 24), ("gradient n=2 seed 0", 24, 24))
        assert ("sequential n=1 seed 0", 12, 24) in seen
        assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


class TestCheckpoint:
    REQUEST = CompareRequest(("gradient", "one-shot"), (1, 2), seeds=2, spec=RunSpec(batch=BATCH, epochs=1))

    @pytest.mark.parametrize("changes", [{}, {"splits": 2}], ids=["seeds", "splits"])
    def test_it_goes_on_with_the_times_that_were_measured_and_says_so(
        self, blobs, monkeypatch, tmp_path, changes, changed
    ):
        started, real_run = [], module.Runner.run

        def stop_at_fourth(runner, plan, *args, **options):
            if len(started) == 3:
                raise KeyboardInterrupt
            started.append((plan.label, plan.workers, plan.seed))
            return real_run(runner, plan, *args, **options)

        request = changed(self.REQUEST, **changes)
        monkeypatch.setattr(module.Runner, "run", stop_at_fourth)
        study = CompareStudy(blobs, request, tmp_path / "c")
        with pytest.raises(KeyboardInterrupt):
            study.run()
        kept, first = json.loads(json.dumps(study.outcome.runs)), list(started)
        assert ("resumed" in study.outcome.record(), len(kept)) == (False, 3)
        started[:] = [None] * 4  # it does not stop again
        again = CompareStudy(blobs, request, tmp_path / "c")
        outcome = again.run()
        assert [*first, *started[4:]] == [(plan.label, plan.workers, plan.seed) for plan in again.plans]
        assert outcome.runs[:3] == kept
        assert (outcome.record()["resumed"], outcome.interrupted) == (True, False)
        whole = CompareStudy(blobs, request).run()
        names = ("strategy", "workers", "seed", "split", "accuracy", "loss")
        assert [[run[name] for name in names] for run in outcome.runs] == [
            [run[name] for name in names] for run in whole.runs
        ]
        more = replace(request, workers=(1, 2, 3), **{name: number + 1 for name, number in changes.items()})
        assert CompareStudy(blobs, more, tmp_path / "c").run().resumed

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"epochs": 2}, "epochs: 1 there, 2 now"),
            ({"batch": 5}, "batch: "),
            ({"network": MLPSettings(hidden=(9,))}, "network hidden: "),
            ({"sharding": "fixed"}, "sharding: None there, fixed now"),
            ({"convergence": True}, "convergence: False there, True now"),
            ({"target": 0.5}, "convergence: False there, True now"),
            ({"schedule": "cosine"}, "schedule: constant there, cosine now"),
            ({"scaled": True}, "scaled: None there, 2 now"),
            ({"blas_threads": 2}, "blas_threads: 1 there, 2 now"),
        ],
        ids=str,
    )
    def test_runs_of_other_settings_are_refused(self, blobs, monkeypatch, tmp_path, changes, words, changed):
        study = CompareStudy(blobs, changed(self.REQUEST, seeds=1, strategies=("sequential",)), tmp_path / "c")
        study.run()
        monkeypatch.setattr(module.Runner, "run", lambda *_args, **_options: pytest.fail("a run was started"))
        with pytest.raises(SettingsError, match=words):
            CompareStudy(blobs, changed(self.REQUEST, **changes), tmp_path / "c")

    def test_from_python(self, blobs, tmp_path):
        assert small(blobs, seeds=1, checkpoint=tmp_path / "c").resumed is False
        assert small(blobs, seeds=1, checkpoint=tmp_path / "c").resumed is True


@pytest.fixture
def used(monkeypatch):
    """Every run with the data set it was carried out on: (plan, data set, result)."""
    seen = []
    real_run = module.Runner.run

    def noted(runner, plan, *args, **options):
        seen.append((plan, runner.dataset, real_run(runner, plan, *args, **options)))
        return seen[-1][2]

    monkeypatch.setattr(module.Runner, "run", noted)
    return seen


def rows_of(table):
    return sorted(map(tuple, table.features.tolist()))


SPLITS = {"strategies": ["gradient", "one-shot"], "workers": [2, 3], "epochs": 2, "splits": 3}


class TestSplits:
    def test_each_seed_has_its_own_rows_and_all_strategies_the_same(self, blobs, used):
        small(blobs, **SPLITS)
        tested = {}
        for plan, data, _ in used:
            tested.setdefault(plan.seed, set()).add(data.test.features.tobytes() + data.train.features.tobytes())
        assert sorted(tested) == [7, 8, 9]
        assert [len(each) for each in tested.values()] == [1, 1, 1]
        assert len(set.union(*tested.values())) == 3
        assert blobs.test.features.tobytes() not in {data.test.features.tobytes() for _, data, _ in used}

    def test_rows_are_those_of_the_data_set_drawn_anew(self, blobs, used):
        small(blobs, **SPLITS)
        everything = sorted(rows_of(blobs.train) + rows_of(blobs.test))
        for _, data, _ in used:
            assert sorted(rows_of(data.train) + rows_of(data.test)) == everything

    def test_a_run_is_that_of_its_plan_on_the_split_of_its_seed(self, blobs, used):
        found = small(blobs, **SPLITS)
        for (plan, _, _), record in zip(used, found.runs, strict=True):
            assert record["split"] == record["seed"] == plan.seed
            assert record["accuracy"] == train(plan, resplit(blobs, plan.seed)).accuracy

    def test_they_stand_for_seeds(self, blobs):
        found = small(blobs, **{**SPLITS, "splits": 2, "seeds": 9})
        settings = found.record()["settings"]
        assert (settings["splits"], settings["seeds"]) == (2, 2)
        assert [row.seeds for row in found.summary] == [2] * 5

    def test_without_them_all_seeds_have_the_same_rows(self, blobs, used):
        small(blobs, **{**SPLITS, "splits": None})
        assert {id(data) for _, data, _ in used} == {id(blobs)}

    def test_a_class_that_cannot_be_divided_is_an_error_before_any_run(self, blobs, used):
        labels = blobs.train.labels.copy()
        labels[labels == 2] = 0
        labels[0] = 2
        test = replace(blobs.test, labels=blobs.test.labels % 2)
        with pytest.raises(DataError, match="cannot be divided"):
            small(replace(blobs, train=replace(blobs.train, labels=labels), test=test), **SPLITS)
        assert used == []


SCALED = {"strategies": ["gradient", "one-shot"], "workers": [1, 2, 4], "epochs": 2, "scaled": True}


class TestScaled:
    def test_n_workers_train_on_n_times_the_rows(self, blobs, used):
        found = small(blobs, **SCALED)
        for (plan, data, _), record in zip(used, found.runs, strict=True):
            assert record["rows"] == plan.rows == data.rows == 25 * plan.workers  # 103 // 4 for each
            assert data.train.features.tobytes() == blobs.train.features[: data.rows].tobytes()
            assert data.test is blobs.test

    def test_a_run_is_that_of_its_plan_on_those_rows(self, blobs, used):
        found = small(blobs, **SCALED)
        for (plan, _, _), record in zip(used, found.runs, strict=True):
            assert record["accuracy"] == train(plan, head(blobs, plan.rows)).accuracy

    def test_speedup_is_the_ratio_of_times_times_the_ratio_of_rows(self, blobs):
        for row in small(blobs, **SCALED).summary:
            assert row.scaled_speedup == pytest.approx(row.speedup * row.workers)

    def test_accuracies_on_more_rows_get_no_verdict(self, blobs):
        rows = small(blobs, **SCALED).record()["summary"]
        assert {(row["verdict"], row["more_seeds"]) for row in rows} == {(None, None)}

    def test_gustafson_is_the_only_law(self, blobs):
        for law in small(blobs, **SCALED).laws:
            assert (law["amdahl"], law["usl"]) == (None, None)
            assert 0 <= law["gustafson"]["serial_fraction"] <= 1

    def test_the_global_batch_is_one_for_all(self, blobs):
        # 17 rows for each of 6 workers: 200 rows a batch, the default, is more than one worker has.
        study = CompareStudy(blobs, CompareRequest(("gradient",), (1, 6), seeds=1, scaled=True, spec=RunSpec(epochs=1)))
        assert len({plan.batch for plan in study.plans}) == 1

    def test_with_splits_each_has_its_own_first_rows(self, blobs, used):
        small(blobs, **SCALED, splits=2)
        for plan, data, _ in used:
            drawn = resplit(blobs, plan.seed)
            assert data.train.features.tobytes() == drawn.train.features[: 25 * plan.workers].tobytes()

    def test_a_named_number_of_rows_is_that_of_one_worker(self):
        found = load_scaled(module.DataRequest("digits", train_size=300), (1, 2, 4))
        assert found.rows == 1200
        assert load_scaled(module.DataRequest("digits", train_size=300), (1,)).rows == 300

    def test_too_few_rows_are_told_with_their_number(self):
        with pytest.raises(SettingsError, match="digits has 1437 training rows"):
            load_scaled(module.DataRequest("digits", train_size=400), (1, 2, 4))


MEASURED = {"strategies": ["gradient", "periodic:1epoch"], "workers": [2], "epochs": 8, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def measured(blobs):
    return small(blobs, **MEASURED, target=0.6)


class TestConvergence:
    def test_it_does_not_change_what_is_trained(self, blobs, used):
        small(blobs, **MEASURED)
        small(blobs, **MEASURED, convergence=True)
        half = len(used) // 2
        for (_, _, plain), (plan, _, watched) in zip(used[:half], used[half:], strict=True):
            assert plan.convergence
            assert watched.model.learner.parameters.tobytes() == plain.model.learner.parameters.tobytes()
            assert (watched.losses, watched.accuracy) == (plain.losses, plain.accuracy)

    def test_every_run_has_a_curve_that_ends_at_its_accuracy(self, measured):
        for run in measured.runs:
            assert run["curve"][-1]["accuracy"] == run["accuracy"]
            seconds = [point["train_s"] for point in run["curve"]]
            assert seconds == sorted(seconds)
            assert seconds[-1] <= run["seconds"]["train"] * 1.001 + 1e-3

    def test_time_to_the_target_is_that_of_the_first_point_of_the_curve_there(self, measured):
        times = []
        for run in measured.runs:
            points = [point["train_s"] for point in run["curve"] if point["accuracy"] >= 0.6]
            assert run["target_s"] == (points[0] if points else None)
            times.append(run["target_s"])
        assert any(time is not None for time in times)

    def test_a_higher_target_takes_no_less_time(self, measured, used, blobs):
        small(blobs, **MEASURED, target=0.6)
        for _, _, result in used:
            times = [result.seconds_to(target / 20) for target in range(1, 21)]
            reached = [time for time in times if time is not None]
            assert reached == sorted(reached)
            assert times[len(reached) :] == [None] * (20 - len(reached))  # what is missed stays missed

    def test_summary_counts_who_reached_it(self, measured):
        for row in measured.summary:
            times = [
                run["target_s"]
                for run in measured.runs
                if (run["strategy"], run["workers"]) == (row.strategy, row.workers) and run["target_s"] is not None
            ]
            assert row.target_reached == len(times)
            assert row.target_s == (statistics.median(times) if times else None)

    def test_a_target_that_nobody_reaches(self, blobs):
        # After one epoch of learning nothing, on a third of the rows in each of three classes
        found = small(blobs, **{**MEASURED, "epochs": 1, "learning_rate": 1e-9}, target=1.0)
        assert {run["target_s"] for run in found.runs} == {None}
        assert {(row.target_s, row.target_reached) for row in found.summary} == {(None, 0)}
        json.dumps(found.record(), allow_nan=False)

    def test_convergence_alone_has_curves_and_no_target(self, blobs):
        found = small(blobs, **MEASURED, convergence=True)
        assert all(run["curve"] and run["target_s"] is None for run in found.runs)
        assert {(row.target_s, row.target_reached) for row in found.summary} == {(None, None)}


def test_margin_reaches_verdicts_and_record(blobs):
    found = small(blobs, strategies=["one-shot"], workers=[3], margin=99.0, seeds=3)
    assert found.record()["settings"]["margin"] == 99
    assert found.summary[1].verdict == verdict([0.0, 0.0, 0.0], 99.0)  # nothing is larger than 99 points


def test_minibatch_is_compared_like_any_other(blobs):
    found = small(blobs, strategies=["minibatch", "minibatch:5epochs"], workers=[2], seeds=1)
    assert [(row.strategy, row.workers) for row in found.summary] == [("sequential", 1), ("minibatch:5epochs", 2)]
    assert (found.runs[1]["rounds"], found.runs[1]["sharding"]) == (EPOCHS, "fixed")


def test_real_handwriting(mnist):
    """MNIST's first 6,000 images, few epochs: workers change the work of each, not the accuracy."""
    found = compare(mnist, strategies=["periodic:1epoch", "gradient"], workers=[2], epochs=6, seeds=1)
    facts = found.record()["settings"]["data"]
    assert (facts["train_rows"], facts["test_rows"], facts["features"], facts["classes"]) == (6000, 10000, 784, 10)
    sequential, *others = found.summary
    assert sequential.accuracy.mean > 0.9
    for row in others:
        assert abs(row.delta.mean) < 1
    assert [run["examples"] for run in found.runs] == [36000, 18000, 18000]


def test_random_splits_have_no_validation_rows():
    with pytest.raises(SettingsError, match="give seeds"):
        compare("digits", strategies=["one-shot:merge=soup"], workers=[2], splits=2)
