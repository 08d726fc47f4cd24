"""The study of strategies: rates chosen on validation rows alone, no run done twice, and a table that fits."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

import manyhands.studies.strategies.run as module
from manyhands import merges
from manyhands.core.errors import DivergedError, ManyhandsError, SettingsError
from manyhands.data.catalog import DataRequest, load
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.runtime.terminal import Detail
from manyhands.strategies import STRATEGIES, parse_strategy
from manyhands.strategies.base import SENDS
from manyhands.studies.strategies import text as texts
from manyhands.studies.strategies.request import DEFAULT_STRATEGIES, StrategiesRequest
from manyhands.studies.strategies.run import StrategiesStudy
from manyhands.studies.strategies.text import strategies_markdown
from manyhands.training.api import train
from manyhands.training.spec import RunSpec

WHOLE = Detail(wide=True, explain=True)


def strategies_text(found):
    return texts.strategies_text(found, WHOLE)


NETWORK = MLPSettings(hidden=(8,))
SMALL = StrategiesRequest(
    strategies=("periodic:1epoch", "one-shot:merge=soup"),
    workers=(2,),
    rates=(1.0, 0.001, 0.1),
    seeds=2,
    spec=RunSpec(network=NETWORK, epochs=4, schedule="cosine"),
)
CASES = [("sequential", 1), ("periodic:1epoch", 2), ("one-shot:merge=soup", 2)]
RUNS = 3 * (3 + 2)
"""For each case, one run per rate and two that are reported."""
HEADER = "strategy n rate rounds KB sent samples accuracy % vs sequential verdict"


def words(request, case, rate, seed):
    """Return what makes `manyhands.train` do a run of a study."""
    strategy, workers = case
    given = {"strategy": strategy, "workers": workers, "learning_rate": rate, "seed": seed, "hidden": (8,)}
    return {**given, "epochs": request.spec.epochs, "schedule": request.spec.schedule}


def rates_of(outcome):
    """Return the learning rate of each case; all of its runs have the same."""
    found = {}
    for run in outcome.runs:
        found.setdefault((run["strategy"], run["workers"]), set()).add(run["learning_rate"])
    assert {len(rates) for rates in found.values()} == {1}
    return {case: rate for case, (rate,) in found.items()}


def timeless(runs):
    """Return runs without what is different every time."""
    return [{name: value for name, value in run.items() if name != "seconds"} for run in runs]


def entries(path):
    """Return the finished runs that a checkpoint has."""
    lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    for line in lines:
        del line["checksum"]
    return lines


@pytest.fixture(scope="module")
def mnist_like(rows):
    """Rows without content, as many as MNIST's first 6,000."""
    return replace(rows, name="mnist", all_rows=6000)


@pytest.fixture(scope="module")
def done(rows):
    """The study, finished."""
    return StrategiesStudy(rows, SMALL).run()


@pytest.fixture
def scores(monkeypatch):
    """Nothing is trained: the accuracy of a run is looked up here by strategy, rate and seed, 0.5 if it is missing."""
    table = {}

    def record(result):
        plan, _ = result
        rate = plan.network.learning_rate
        return {
            "strategy": plan.label,
            "workers": plan.workers,
            "seed": plan.seed,
            "accuracy": table.get((plan.label, rate, plan.seed), 0.5),
            "learning_rate": rate,
            "rounds": 2250 if plan.workers > 1 else 0,
            "bytes_sent": 573_750_000 if plan.workers > 1 else 0,
            "examples": 450_000 // plan.workers,
            "rows": plan.rows,
            "seconds": {"train": 1.0, "distribute": 0.0, "total": 1.0},
        }

    monkeypatch.setattr(module, "run", lambda plan, dataset: (plan, dataset))
    monkeypatch.setattr(module, "run_record", record)
    return table


class TestChoice:
    def test_the_rate_is_the_best_on_the_validation_rows(self, rows, done):
        """Everything trained again, and predictions counted here."""
        labels = rows.validation.labels
        for case in CASES:
            found = {}
            for rate in SMALL.rates:
                model = train(rows, **words(SMALL, case, rate, 1000)).model
                found[rate] = (model.learner.predict_proba(rows.validation).argmax(axis=1) == labels).mean()
            assert rates_of(done)[case] == max(found, key=found.get)
        # Four epochs at 0.001 are too few, and 1.0 is too much.
        assert rates_of(done) == dict.fromkeys(CASES, 0.1)

    def test_what_is_reported_is_an_ordinary_training_with_that_rate(self, rows, done):
        assert [(run["strategy"], run["workers"], run["seed"]) for run in done.runs] == [
            (*case, seed) for case in CASES for seed in (0, 1)
        ]
        for run in done.runs:
            result = train(rows, **words(SMALL, (run["strategy"], run["workers"]), 0.1, run["seed"]))
            assert (run["accuracy"], run["loss"], run["rounds"]) == (result.accuracy, result.losses[-1], result.rounds)
            assert (run["bytes_sent"], run["examples"]) == (result.bytes_sent, result.examples)
        assert done.interrupted is False

    @pytest.mark.parametrize("labels", ["shuffled", "flattering"])
    def test_test_rows_have_no_influence(self, rows, done, labels):
        """Worthless labels, and such as say that the network trained at 0.001 is never wrong."""
        wrong = np.random.default_rng(0).permutation(rows.test.labels)
        slow = words(SMALL, CASES[0], 0.001, 1000)
        if labels == "flattering":
            wrong = train(rows, **slow).model.learner.predict_proba(rows.test).argmax(axis=1).astype(np.int32)
        other = replace(rows, test=replace(rows.test, labels=wrong))
        if labels == "flattering":  # chosen on these, 0.001 would be it
            assert train(other, **slow).accuracy == 1
            assert train(other, **{**slow, "learning_rate": 0.1}).accuracy < 0.9
        outcome = StrategiesStudy(other, SMALL).run()
        assert rates_of(outcome) == rates_of(done)
        assert [run["accuracy"] for run in outcome.runs] != [run["accuracy"] for run in done.runs]
        assert [run["loss"] for run in outcome.runs] == [run["loss"] for run in done.runs]

    def test_runs_to_choose_by_see_validation_rows_for_test_rows_and_others_do_not(self, rows, scores, monkeypatch):
        seen = []
        monkeypatch.setattr(module, "run", lambda plan, dataset: seen.append((plan.seed, dataset)) or (plan, dataset))
        StrategiesStudy(rows, SMALL).run()
        assert len(seen) == RUNS
        for seed, dataset in seen:
            assert dataset.train is rows.train
            assert dataset.test is (rows.validation if seed >= 1000 else rows.test)

    def test_every_strategy_has_a_rate_of_its_own(self, rows, scores):
        best = {"sequential": 0.1, "periodic:1epoch": 0.001, "one-shot:merge=soup": 1.0}
        scores |= {(strategy, rate, 1000): 0.6 for strategy, rate in best.items()}
        found = rates_of(StrategiesStudy(rows, SMALL).run())
        assert {strategy: rate for (strategy, _), rate in found.items()} == best

    def test_every_number_of_workers_has_a_rate_of_its_own(self, rows, changed):
        """By real runs, as many as the rates."""
        request = changed(SMALL, strategies=("one-shot",), workers=(2, 5), rates=(0.01, 0.1), seeds=1)
        found = rates_of(StrategiesStudy(rows, request).run())
        tried = replace(rows, test=rows.validation)
        for case in (("sequential", 1), ("one-shot", 2), ("one-shot", 5)):
            low, high = (train(tried, **words(request, case, rate, 1000)).accuracy for rate in (0.01, 0.1))
            assert found[case] == (0.1 if high > low else 0.01)

    def test_the_mean_over_several_seeds_counts(self, rows, scores, changed):
        # Of one: 0.9, 0.56, 0.95. Of two: 0.55, 0.56, 0.475. Of three: 0.533, 0.56, 0.317.
        for rate, values in ((0.001, (0.9, 0.2, 0.5)), (0.1, (0.56,) * 3), (1.0, (0.95, 0, 0))):
            scores |= {("periodic:1epoch", rate, 1000 + seed): value for seed, value in enumerate(values)}
        for tuning, rate in ((1, 1.0), (2, 0.1), (3, 0.1)):
            assert rates_of(StrategiesStudy(rows, changed(SMALL, tuning=tuning)).run())[CASES[1]] == rate
        scores["periodic:1epoch", 0.001, 1002] = 0.6  # 1.7 / 3 = 0.567
        assert rates_of(StrategiesStudy(rows, changed(SMALL, tuning=3)).run())[CASES[1]] == 0.001

    def test_of_equals_the_smallest_is_chosen(self, rows, changed):
        """Such rates change no prediction at all."""
        request = changed(SMALL, rates=(3e-9, 1e-9, 2e-9), epochs=1, seeds=1)
        assert set(rates_of(StrategiesStudy(rows, request).run()).values()) == {1e-9}

    def test_seeds_that_are_reported_do_not_choose(self, rows, scores):
        scores |= {("periodic:1epoch", 1.0, seed): 1.0 for seed in range(2)}
        scores["periodic:1epoch", 0.1, 1000] = 0.51
        assert rates_of(StrategiesStudy(rows, SMALL).run())[CASES[1]] == 0.1

    def test_a_rate_that_diverges_is_not_chosen(self, rows, changed):
        for seed in (0, 1000):
            with pytest.raises(DivergedError):
                train(rows, **words(SMALL, CASES[0], 1e30, seed))
        outcome = StrategiesStudy(rows, changed(SMALL, rates=(1e30, 0.001))).run()
        assert rates_of(outcome) == dict.fromkeys(CASES, 0.001)
        assert len(outcome.runs) == 6

    def test_where_all_diverge_it_is_said(self, rows, tmp_path, changed):
        study = StrategiesStudy(rows, changed(SMALL, rates=(1e30,)), tmp_path / "checkpoint")
        with pytest.raises(ManyhandsError):
            study.run()
        assert (study.outcome.runs, study.text()) == ([], "No run was finished.")
        assert [entry["record"] for entry in entries(tmp_path / "checkpoint")] == [{"accuracy": 0.0}]

    def test_a_reported_run_that_diverges_is_named_and_not_tried_again(self, rows, tmp_path, monkeypatch):
        real = module.run

        def run(plan, dataset):
            if (plan.strategy.name, plan.seed) == ("periodic:1epoch", 1):
                raise DivergedError(7, 0, float("nan"))
            return real(plan, dataset)

        monkeypatch.setattr(module, "run", run)
        outcomes = [StrategiesStudy(rows, SMALL, tmp_path / "checkpoint").run() for _ in range(2)]
        lines = len(entries(tmp_path / "checkpoint"))
        for outcome in outcomes:
            assert [text.partition(",")[0] for text in outcome.diverged] == ["periodic:1epoch n=2"]
            assert [row.seeds for row in outcome.summary] == [2, 1, 2]
            assert "diverged: periodic:1epoch n=2" in strategies_text(outcome)
            assert outcome.record()["diverged"] == outcome.diverged
        assert lines == len(
            {(each["strategy"], each["rate"], each["seed"]) for each in entries(tmp_path / "checkpoint")}
        )


class TestWhatIsRun:
    def test_everything_has_its_place_in_the_default(self):
        """Every strategy, merge, way of sending and option is among the strategies."""
        text = " ".join(DEFAULT_STRATEGIES)
        assert {re.match(r"[a-z-]+", each)[0] for each in DEFAULT_STRATEGIES} == {*STRATEGIES} - {
            "sequential",
            "sums",  # of learners that have no other
        }
        assert [merge for merge in merges.MERGES if merge != "examples" and f"merge={merge}" not in text] == []
        assert [send for send in SENDS if send != "full" and f"send={send}" not in text] == []
        assert [word for word in ("state=mean", "state=reset", "starts=own", " then ") if word not in text] == []
        assert len({parse_strategy(each) for each in DEFAULT_STRATEGIES}) == len(DEFAULT_STRATEGIES)

    def test_the_default_is_possible(self, rows):
        """All of it is planned before the first run."""
        study = StrategiesStudy(rows, StrategiesRequest())
        assert study.outcome.settings["strategies"][0] == "sequential"
        assert len(study.outcome.settings["strategies"]) == 1 + len(DEFAULT_STRATEGIES)
        assert study.text() == "No run was finished."

    def test_progress_counts_runs(self, rows, scores):
        told = []
        StrategiesStudy(rows, SMALL).run(lambda *each: told.append(each))
        assert told[1::2] == [
            (f"{strategy} n={workers}", 5 * number + run, RUNS)
            for number, (strategy, workers) in enumerate(CASES)
            for run in range(1, 6)
        ]

    def test_what_is_asked_for_twice_runs_once(self, rows, scores, changed):
        request = changed(SMALL, strategies=("sequential", "gradient", "gradient"), workers=(2, 2, 1))
        outcome = StrategiesStudy(rows, request).run()
        assert [(run["strategy"], run["workers"], run["seed"]) for run in outcome.runs] == [
            (*case, seed) for case in (("sequential", 1), ("gradient", 2), ("gradient", 1)) for seed in (0, 1)
        ]

    def test_two_names_of_one_strategy_are_one_strategy(self, rows, scores, changed):
        """Else its runs would count twice, and its interval would be too small."""
        request = changed(SMALL, strategies=("periodic:5", "periodic:every=5"))
        outcome = StrategiesStudy(rows, request).run()
        assert [row.seeds for row in outcome.summary] == [2, 2]

    def test_strategies_in_the_settings_are_those_of_the_runs(self, rows, scores):
        outcome = StrategiesStudy(rows, StrategiesRequest()).run()
        assert outcome.settings["strategies"] == list(dict.fromkeys(run["strategy"] for run in outcome.runs))

    def test_settings_say_what_was_asked(self, done):
        settings = done.settings
        assert (settings["rates"], settings["tuning"], settings["seeds"], settings["seed"]) == (
            [1.0, 0.001, 0.1],
            1,
            2,
            0,
        )
        assert (settings["batch"], settings["epochs"], settings["schedule"]) == (200, 4, "cosine")
        assert (settings["workers"], settings["team"], settings["learner"]) == ([2], "threads", "mlp")
        assert (settings["data"]["train_rows"], settings["data"]["validation_rows"]) == (1198, 239)

    def test_the_file_is_strict_json(self, done, tmp_path):
        done.save(tmp_path / "f.json")
        record = json.loads((tmp_path / "f.json").read_text(), parse_constant=pytest.fail)
        assert (record["schema"], record["runs"]) == ("manyhands.strategies/1", json.loads(json.dumps(done.runs)))
        assert [row["strategy"] for row in record["summary"]] == [strategy for strategy, _ in CASES]


@pytest.mark.usefixtures("no_training")
class TestRefused:
    def test_data_without_validation_rows(self, digits, tmp_path):
        with pytest.raises(SettingsError, match="learning rates on validation rows, and the data set has none"):
            StrategiesStudy(digits, SMALL, tmp_path / "checkpoint")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"strategies": ("gradient", "telepathy")}, "unknown strategy 'telepathy'"),
            ({"strategies": ("gradient@4epochs then one-shot",)}, "would take 4 epochs of 4"),
            ({"strategies": ("easgd",), "team": "mpi"}, "easgd:10 needs workers that share memory"),
            ({"workers": (2, 201)}, "201 workers cannot share a global batch of 200"),
            ({"workers": ()}, "at least one number of workers from 1 on"),
            ({"workers": (0,)}, "at least one number of workers from 1 on"),
            ({"rates": ()}, "and one learning rate"),
            ({"rates": (-1.0,)}, "learning_rate must be a number above 0"),
            ({"schedule": "sine"}, "unknown schedule 'sine'"),
            ({"batch": 1199}, "between 1 and the 1198 training rows"),
            ({"epochs": 0}, "epochs must be"),
            ({"seeds": 0}, "at least one seed"),
            ({"tuning": 0}, "at least one seed"),
            ({"seed": -1}, "seed must be at least 0"),
            ({"seed": 999}, "seeds from 1000 on are those that learning rates are chosen with"),
            ({"margin": 0.0}, "margin"),
        ],
        ids=str,
    )
    def test_what_cannot_work_before_the_first_run(self, rows, tmp_path, changes, message, changed):
        with pytest.raises(SettingsError, match=re.escape(message)):
            StrategiesStudy(rows, changed(SMALL, **changes), tmp_path / "checkpoint")
        assert list(tmp_path.iterdir()) == []

    def test_the_last_seed_before_those_of_the_choice_is_possible(self, rows, changed):
        StrategiesStudy(rows, changed(SMALL, seed=998))


class TestCheckpoint:
    def test_what_is_finished_needs_no_runs(self, rows, done, tmp_path, carried_out):
        study = StrategiesStudy(rows, SMALL, tmp_path / "checkpoint")
        first = study.run()
        carried_out.clear()
        second = StrategiesStudy(rows, SMALL, tmp_path / "checkpoint").run()
        assert carried_out == []
        assert second.runs == json.loads(json.dumps(first.runs))  # with the times that were measured
        assert timeless(second.runs) == timeless(done.runs)
        assert (second.resumed, second.record()["resumed"]) == (True, True)

    def test_runs_that_diverged_are_remembered(self, rows, tmp_path, carried_out, changed):
        request = changed(SMALL, rates=(1e30, 0.001))
        outcome = StrategiesStudy(rows, request, tmp_path / "checkpoint").run()
        carried_out.clear()
        assert strategies_text(StrategiesStudy(rows, request, tmp_path / "checkpoint").run()) == strategies_text(
            outcome
        )
        assert carried_out == []

    def test_a_study_can_grow(self, rows, tmp_path, carried_out, changed):
        """Another strategy, rate and seed: only what is new is done, and the table is that of the whole."""
        StrategiesStudy(rows, changed(SMALL, rates=(0.001, 0.1), seeds=1), tmp_path / "checkpoint").run()
        carried_out.clear()
        request = changed(SMALL, strategies=(*SMALL.strategies, "gradient"))
        outcome = StrategiesStudy(rows, request, tmp_path / "checkpoint").run()
        old = [(plan.network.learning_rate, plan.seed) for plan in carried_out if plan.label != "gradient"]
        assert old == [(1.0, 1000), (0.1, 1)] * 3
        assert len(carried_out) == 2 * 3 + 5
        assert strategies_text(outcome) == strategies_text(StrategiesStudy(rows, request).run())

    def test_the_checkpoint_is_another_studys(self, rows, tmp_path, scores, changed):
        path = tmp_path / "checkpoint"
        StrategiesStudy(rows, SMALL, path).run()
        content = path.read_bytes()
        for changes, message in (
            ({"epochs": 5}, "epochs: 4 there, 5 now"),
            ({"batch": 100}, "batch: 200 there, 100 now"),
            ({"schedule": "constant"}, "schedule: cosine there, constant now"),
            ({"network": MLPSettings(hidden=(9,))}, "network hidden: [8] there, [9] now"),
        ):
            with pytest.raises(SettingsError, match=re.escape(f"a study with other settings ({message})")):
                StrategiesStudy(rows, changed(SMALL, **changes), path)
        fewer = load(DataRequest("digits", validation=100))
        with pytest.raises(SettingsError, match="data checksum"):
            StrategiesStudy(fewer, SMALL, path)
        assert path.read_bytes() == content

    @pytest.mark.parametrize(
        "changes",
        [
            {"accuracy": 4.13},
            {"accuracy": None},
            {"seconds": {"train": 0}},
            {"workers": 2},
            {"seed": 1},
            {"learning_rate": 0.5},
            {"rounds": 1.5},
            {"rows": 0},
        ],
        ids=str,
    )
    def test_a_run_is_believed_only_if_all_of_it_can_be(self, rows, done, changes):
        study, record = StrategiesStudy(rows, SMALL), json.loads(json.dumps(done.runs[0]))
        key = {"strategy": "sequential", "workers": 1, "rate": record["learning_rate"], "seed": 0}
        study.check(key, record)
        with pytest.raises((ValueError, KeyError, TypeError)):
            study.check(key, {**record, **changes})
        with pytest.raises((ValueError, KeyError, TypeError)):
            study.check({**key, "seed": 1000}, {})


class TestTable:
    @pytest.fixture(autouse=True)
    def wide(self, monkeypatch):
        """A terminal on which the table is in one piece."""
        monkeypatch.setenv("COLUMNS", "120")

    def test_a_line_for_every_strategy(self, rows, done):
        text = strategies_text(done).splitlines()
        assert text[0].split() == HEADER.split()
        assert set(text[1]) == {"-"}
        cells = [re.split(r"  +", line) for line in text[2:5]]
        # 64 * 16 + 16 + 16 * 16 + 16 = 1,312 numbers of 4 bytes (8 neurons and 10 classes are stored as 16) are sent
        # in a round: 5.2 KB. The soup gathers vectors and sends the result back.
        assert [line[:4] for line in cells] == [
            ["sequential", "1", "0.1", "0"],
            ["periodic:1epoch", "2", "0.1", "4"],
            ["one-shot:merge=soup", "2", "0.1", "1"],
        ]
        assert [line[4] for line in cells][:2] == ["0", "21"]
        assert [line[5] for line in cells] == ["1.000", "0.500", "0.500"]
        for line, row in zip(cells, done.summary, strict=True):
            assert line[6].split(" ±")[0] == f"{100 * row.accuracy.mean:.2f}"
        assert len(cells[0]) == 7
        assert [line[7].split(" ±")[0] for line in cells[1:]] == [f"{row.delta.mean:+.2f}" for row in done.summary[1:]]
        assert [line[8] for line in cells[1:]] == [row.verdict.word for row in done.summary[1:]]

    def test_differences_by_hand(self, rows, scores, changed):
        # 90, 91 and 92 deviate by 1; Student's t for two degrees of freedom is 4.3027: 4.3027 / sqrt(3) = 2.48 is half
        # of the interval. All differences are 3.
        for seed, score in enumerate((0.90, 0.92, 0.91)):
            for rate in SMALL.rates:
                scores["sequential", rate, seed] = score
                scores["periodic:1epoch", rate, seed] = score - 0.03
        outcome = StrategiesStudy(rows, changed(SMALL, seeds=3)).run()
        lines = [re.split(r"  +", line) for line in strategies_text(outcome).splitlines()[2:4]]
        assert lines[0][3:] == ["0", "0", "1.000", "91.00 ±2.48"]
        assert lines[1][3:] == ["2,250", "573,750", "0.500", "88.00 ±2.48", "-3.00 ±0.00", "lower"]

    def test_notes_say_what_was_measured(self, done):
        notes = " ".join(strategies_text(done).partition("\n\n")[2].split())
        assert "digits, 1,198 training, 239 validation and 360 test samples; hidden 8, adam" in notes
        assert "global batch 200, 4 epochs, schedule cosine; 2 seeds." in notes
        assert "the best of 1, 0.001, 0.1 on the validation samples, over 1 other seed, for every row" in notes
        assert "Interrupted" not in notes

    def test_markdown_has_the_same_cells(self, done):
        text, _, _ = strategies_text(done).partition("\n\n")
        table, _, notes = strategies_markdown(done).partition("\n\n")
        lines = table.splitlines()
        assert all(line.startswith("| ") and line.endswith(" |") for line in lines)
        cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
        assert {len(line) for line in cells} == {9}
        assert cells[1] == ["---", *["---:"] * 7, "---"]
        plain = text.splitlines()
        assert [" ".join(line).split() for line in [cells[0], *cells[2:]]] == [
            line.split() for line in [plain[0], *plain[2:]]
        ]
        assert notes.split() == strategies_text(done).partition("\n\n")[2].split()  # there the lines are filled
        assert notes.endswith("\n")

    @pytest.mark.parametrize("columns", [80, 120])
    def test_the_table_of_all_strategies_fits_the_terminal(self, scores, mnist_like, monkeypatch, columns):
        """With the numbers of MNIST."""
        scores |= {
            (parse_strategy(each).name, 0.001, 1): 0.45 for each in DEFAULT_STRATEGIES
        }  # so that there are intervals
        monkeypatch.setenv("COLUMNS", str(columns))
        outcome = StrategiesStudy(mnist_like, StrategiesRequest()).run()
        assert max(map(len, strategies_text(outcome).splitlines())) <= columns
