"""The sweep: the same accuracies whoever carries it out, choices without the test rows, and no session done twice."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

import manyhands.studies.sweep.run as module
from manyhands.core.errors import DataError, ManyhandsError, SettingsError
from manyhands.data.catalog import DataRequest, load
from manyhands.data.resplit import resplit
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.records.runs import SECONDS
from manyhands.records.seal import unsealed
from manyhands.runtime.terminal import Detail
from manyhands.studies.sweep import text as texts
from manyhands.studies.sweep.request import SweepRequest
from manyhands.studies.sweep.run import SweepStudy, load_for_sweep, sweep
from manyhands.teams import mpi_environment
from manyhands.training.api import train
from manyhands.training.run import run
from manyhands.training.spec import RunSpec


def sweep_text(found):
    return texts.sweep_text(found, Detail(wide=True, explain=True))


GRID = {"hidden": (4, (8, 6), 12), "epochs": (3, 12), "runs": 2}
SESSIONS = 3 * 2 * 2
REQUEST = SweepRequest(((4,), (8, 6), (12,)), (3, 12), 2)
RESULTS = ("hidden", "epochs", "seed", "split", "accuracy", "validation_accuracy", "epochs_run", "loss", "retimed_s")
COMMAND = ["sweep", "--data", "digits", "--hidden", "4,8-6,12", "--epochs", "3,12", "--runs", "2", "--quiet"]
"""The grid, for the command line."""
LONGER = ["sweep", "--data", "digits", "--hidden", "40,80", "--epochs", "100,150", "--quiet"]
"""Sessions of some hundredths of a second."""


def results(sessions):
    """Return all of the sessions but what is measured."""
    return [{name: record[name] for name in RESULTS} for record in json.loads(json.dumps(sessions))]


@pytest.fixture(scope="module")
def rows():
    """Digits with validation rows carved from the training set."""
    return load_for_sweep(DataRequest("digits"))


@pytest.fixture(scope="module")
def alone(rows):
    """The sweep, one session after the other."""
    return sweep(rows, **GRID)


class TestResults:
    def test_sessions_are_in_the_order_of_table_i(self, alone):
        assert [(tuple(record["hidden"]), record["epochs"], record["seed"]) for record in alone.runs] == [
            (hidden, epochs, seed) for hidden in ((4,), (8, 6), (12,)) for epochs in (3, 12) for seed in (0, 1)
        ]
        assert [(row.name, row.epochs, row.runs) for row in alone.table] == [
            (hidden, epochs, 2) for hidden in ("4", "8-6", "12") for epochs in (3, 12)
        ]
        assert (alone.interrupted, alone.settings["workers"]) == (False, 1)

    def test_a_session_is_an_ordinary_training(self, alone, rows):
        scored = replace(rows, test=rows.validation)
        for number in (0, 6, 11):
            record = alone.sessions[number]
            settings = {"hidden": record["hidden"], "epochs": record["epochs"], "seed": record["seed"]}
            assert train(scored, **settings).accuracy == record["validation_accuracy"]
            assert train(rows, **settings).accuracy == record["accuracy"]
            assert train(rows, **settings).losses[-1] == record["loss"]
            assert record["epochs_run"] == record["epochs"]

    def test_the_table_is_the_median_of_times_and_the_mean_of_accuracies(self, alone):
        for row, number in zip(alone.table, range(0, SESSIONS, 2), strict=True):
            pair = alone.runs[number : number + 2]
            assert row.time_s == sum(record["seconds"]["train"] for record in pair) / 2
            assert row.accuracy_pct.mean == pytest.approx(sum(50 * record["validation_accuracy"] for record in pair))
            assert row.test_pct == pytest.approx(sum(50 * record["accuracy"] for record in pair))
            assert row.impact == pytest.approx(row.accuracy_pct.mean / row.time_s)
            low, high = row.accuracy_pct.interval
            # Student's t for one degree of freedom is 12.706; the deviation of two is their distance / sqrt(2).
            distance = 100 * abs(pair[0]["validation_accuracy"] - pair[1]["validation_accuracy"])
            assert high - low == pytest.approx(12.706 * distance, rel=1e-3)

    @pytest.mark.parametrize("workers", [2, 5])
    def test_threads_give_the_same_to_the_last_digit(self, alone, rows, workers):
        threads = sweep(rows, **GRID, workers=workers)
        assert results(threads.runs) == results(alone.runs)
        assert {record["side_by_side"] for record in threads.runs} == {workers}

    def test_more_workers_than_sessions(self, rows):
        found = sweep(rows, hidden=(4,), epochs=(2,), runs=2, workers=50)
        assert (len(found.runs), found.runs[0]["side_by_side"]) == (2, 2)
        assert sweep(rows, hidden=(4,), epochs=(2,), runs=1, workers=50).runs[0]["side_by_side"] == 1

    def test_an_mpi_job_gives_the_same_to_the_last_digit(self, alone, tmp_path):
        path = tmp_path / "mpi.json"
        assert mpiexec(2, [*COMMAND, "--json", path]) == 0
        record = json.loads(path.read_text())
        assert results(record["sessions"]) == results(alone.runs)
        assert (record["settings"]["workers"], record["settings"]["team"]) == (2, "mpi")
        assert {each["side_by_side"] for each in record["sessions"]} == {2}
        assert all(row["time_falsified"] for row in record["table"])

    def test_the_longest_go_first_and_the_table_keeps_its_order(self, rows, tmp_path):
        sweep(rows, hidden=(4, 40), epochs=(2, 9), runs=1, checkpoint=tmp_path / "checkpoint")
        lines = [json.loads(line) for line in (tmp_path / "checkpoint").read_text().splitlines()[1:]]
        # 64-4-10: 296 weights, 64-40-10: 2,960; times epochs: 592, 2,664, 5,920, 26,640.
        assert [(line["hidden"], line["epochs"]) for line in lines] == [([40], 9), ([40], 2), ([4], 9), ([4], 2)]

    def test_equal_networks_and_epochs_are_done_once(self, rows):
        found = sweep(rows, hidden=(4, (4,), 8), epochs=(2, 2), runs=1)
        assert [(row.name, row.epochs) for row in found.table] == [("4", 2), ("8", 2)]

    def test_a_network_without_hidden_layer(self, rows):
        found = sweep(rows, hidden=((),), epochs=(2,), runs=1)
        assert found.table[0].name == "none"
        assert found.runs[0]["accuracy"] == train(rows, hidden=(), epochs=2).accuracy

    def test_the_first_seed_can_be_another(self, rows, alone):
        found = sweep(rows, hidden=(4,), epochs=(3,), runs=2, seed=1)
        assert [record["seed"] for record in found.runs] == [1, 2]
        assert results(found.runs)[0] == results(alone.runs)[1]

    def test_progress_counts_sessions(self, rows):
        told = []
        request = SweepRequest(((4,),), (2,), 3, workers=2)
        SweepStudy(rows, request).run(lambda _what, *counts: told.append(counts))
        assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]

    def test_the_file_is_strict_json_with_the_same_numbers(self, alone, tmp_path):
        alone.save(tmp_path / "sweep.json")
        record = json.loads((tmp_path / "sweep.json").read_text(), parse_constant=pytest.fail)
        assert record["schema"] == "manyhands.sweep/1"
        assert unsealed(record) == json.loads(json.dumps(alone.record()))
        assert record["best"]["hidden"] == list(alone.best.hidden)


class TestChoice:
    def test_is_made_on_validation_rows(self, alone):
        assert alone.settings["chosen_on"] == "validation"
        assert alone.settings["data"]["validation_rows"] == 239  # a sixth of 1,437
        assert "chosen on validation samples, which are training samples held out" in " ".join(
            sweep_text(alone).split()
        )

    def test_test_rows_have_no_influence(self, alone, rows):
        """Permuted labels make the test rows worthless, and change nothing but the accuracy on them."""
        labels = np.random.default_rng(0).permutation(rows.test.labels)
        other = sweep(replace(rows, test=replace(rows.test, labels=labels)), **GRID, min_accuracy=0.3)
        same = sweep(rows, **GRID, min_accuracy=0.3)
        for record, twin in zip(results(other.runs), results(same.runs), strict=True):
            assert record.pop("accuracy") != twin.pop("accuracy")
            assert record == twin
        assert [row.accuracy_pct for row in other.table] == [row.accuracy_pct for row in same.table]
        able = [[row.name for row in each.table if row.accuracy_pct.mean >= 30] for each in (other, same)]
        assert able[0] == able[1] != []
        assert max(row.test_pct for row in other.table) < 20  # chosen by these, there would be none
        assert other.best.name in able[0]

    def test_validation_rows_are_not_trained_on(self, rows):
        """Labels of validation rows may be anything: loss and test accuracy stay the same."""
        labels = (rows.validation.labels + 1) % 10
        other = replace(rows, validation=replace(rows.validation, labels=labels))
        grid = {"hidden": (32,), "epochs": (30,), "runs": 1}
        one, two = (sweep(each, **grid).runs[0] for each in (rows, other))
        assert (one["accuracy"], one["loss"]) == (two["accuracy"], two["loss"])
        assert one["validation_accuracy"] > 0.7 > 0.1 > two["validation_accuracy"]

    def test_carved_rows_are_the_training_set_and_leave_it(self, rows, digits):
        def keys(table):
            return sorted(
                row.tobytes() + bytes([label]) for row, label in zip(table.features, table.labels, strict=True)
            )

        assert sorted(keys(rows.train) + keys(rows.validation)) == keys(digits.train)
        assert (rows.train.rows, rows.validation.rows) == (1198, 239)
        assert keys(rows.test) == keys(digits.test)

    def test_weights_scale_the_impact_and_keep_the_order(self, rows, tmp_path):
        """The same sessions (of one checkpoint) under other weights."""
        path = tmp_path / "checkpoint"
        plain = sweep(rows, **GRID, checkpoint=path)
        scaled = sweep(rows, **GRID, checkpoint=path, s1=3.0, s2=0.5)
        for one, other in zip(plain.table, scaled.table, strict=True):
            assert other.impact == pytest.approx(6 * one.impact)
            assert (other.time_s, other.accuracy_pct) == (one.time_s, one.accuracy_pct)

        def order(found):
            return sorted(range(6), key=lambda number: found.table[number].impact)

        assert order(plain) == order(scaled)
        assert plain.best.name == scaled.best.name
        assert plain.best.impact == max(row.impact for row in plain.table)

    @pytest.mark.parametrize("weights", [{"s2": 5e-324}, {"s1": 1e308}, {"s1": 5e-324}])
    def test_weights_beyond_all_measure_are_refused_or_keep_the_order(self, rows, weights):
        try:
            found = sweep(rows, hidden=(4,), epochs=(2, 20), runs=1, **weights)
        except SettingsError:
            return
        impacts = [row.impact for row in found.table]
        assert all(0 < impact < float("inf") for impact in impacts)
        assert impacts[0] != impacts[1]

    def test_a_least_accuracy_chooses_the_fastest_that_is_able(self, rows, tmp_path):
        path = tmp_path / "checkpoint"
        shares = sorted(row.accuracy_pct.mean for row in sweep(rows, **GRID, checkpoint=path).table)
        for share in shares[:-1]:
            found = sweep(rows, **GRID, checkpoint=path, min_accuracy=share / 100 + 1e-6)
            able = [row for row in found.table if row.accuracy_pct.mean > share + 1e-5]
            assert found.best.time_s == min(row.time_s for row in able)
            assert found.best.accuracy_pct.mean > share
            assert "the fastest with at least " in found.reason
            assert found.record()["best"]["tradeoff"] == "target"

    def test_a_least_accuracy_that_none_reaches(self, rows):
        found = sweep(rows, hidden=(4,), epochs=(2,), runs=1, min_accuracy=1.0)
        highest = 100 * found.runs[0]["validation_accuracy"]
        assert found.best is None
        assert found.record()["best"] is None
        sentence = f"no classifier reaches 100 % on the validation samples; the highest is {highest:.2f} %"
        assert found.reason == sentence
        assert f"best: {sentence} " in " ".join(sweep_text(found).split())
        assert " <\n" not in sweep_text(found)


class TestSideBySide:
    GRID = {"hidden": (4, 8), "epochs": (3,), "runs": 3}  # noqa: RUF012 - never changed

    def test_times_are_marked(self, rows):
        found = sweep(rows, **self.GRID, workers=2)
        assert all(row.time_falsified for row in found.table)
        text = sweep_text(found)
        assert text.count("~ ") >= 3  # one in each row, and the note
        assert "~ measured while up to 2 sessions ran side by side" in text
        assert [record["retimed_s"] for record in found.runs] == [None] * 6

    def test_of_sessions_that_ran_alone_they_are_not(self, alone):
        assert not any(row.time_falsified for row in alone.table)
        assert "~" not in sweep_text(alone)

    @pytest.mark.parametrize(
        ("retime", "again"), [(0, [0, 1, 2, 3, 4, 5]), (1, [0, 3]), (2, [0, 1, 3, 4]), (9, range(6))]
    )
    def test_timed_again_alone_they_are_not_marked(self, rows, retime, again):
        found = sweep(rows, **self.GRID, workers=2, retime=retime)
        assert [number for number, record in found.sessions.items() if record["retimed_s"] is not None] != []
        timed = {number: record["retimed_s"] for number, record in enumerate(found.runs) if record["retimed_s"]}
        assert sorted(timed) == list(again)
        assert not any(row.time_falsified for row in found.table)
        assert "~" not in sweep_text(found)
        for first, row in zip((0, 3), found.table, strict=True):
            assert row.time_s == np.median([timed[number] for number in timed if first <= number < first + 3])
        before = sweep(rows, **self.GRID)
        kept = [name for name in RESULTS if name != "retimed_s"]
        assert [[record[name] for name in kept] for record in found.runs] == [
            [record[name] for name in kept] for record in before.runs
        ]

    def test_what_ran_alone_is_not_timed_again(self, rows):
        assert [record["retimed_s"] for record in sweep(rows, **self.GRID, retime=0).runs] == [None] * 6


class TestSplits:
    GRID = {"hidden": (8,), "epochs": (3, 12), "splits": 3}  # noqa: RUF012 - never changed

    @pytest.mark.parametrize("workers", [1, 2])
    def test_each_is_another_division_with_a_seed_of_its_own(self, rows, workers):
        found = sweep(rows, **self.GRID, workers=workers)
        assert [(record["epochs"], record["seed"], record["split"]) for record in found.runs] == [
            (epochs, number, number) for epochs in (3, 12) for number in range(3)
        ]
        for record in found.runs:  # whoever carries it out: that split, from that seed
            part = resplit(rows, record["split"])
            expected = train(part, hidden=(8,), epochs=record["epochs"], seed=record["seed"])
            assert record["accuracy"] == expected.accuracy
            assert record["loss"] == expected.losses[-1]
        assert found.settings["runs"] == found.settings["splits"] == 3
        assert "3 random splits" in sweep_text(found)

    def test_parts_keep_their_sizes_and_the_test_rows_stay_out_of_it(self, rows):
        parts = [resplit(rows, number) for number in range(3)]
        for part in parts:
            assert (part.train.rows, part.validation.rows, part.test.rows) == (1198, 239, 360)
        assert len({part.validation.features.tobytes() for part in parts}) == 3
        assert {part.test.features.tobytes() for part in parts} == {rows.test.features.tobytes()}

    def test_a_later_seed_begins_with_a_later_split(self, rows):
        found = sweep(rows, hidden=(4,), epochs=(2,), splits=2, seed=5)
        assert [(record["seed"], record["split"]) for record in found.runs] == [(5, 5), (6, 6)]


class TestPublished:
    """As Todorov et al. 2021 did it: MLPClassifier, raw pixels, test rows."""

    @staticmethod
    def direct(raw, hidden, epochs, seed):
        """Return accuracy on the test rows and epochs of scikit-learn alone."""
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier = MLPClassifier(hidden_layer_sizes=hidden, max_iter=epochs, random_state=seed)
            classifier.fit(raw.train.features.astype(np.float64), raw.train.labels)
        return classifier.score(raw.test.features.astype(np.float64), raw.test.labels), classifier

    @pytest.mark.parametrize("workers", [1, 2])
    def test_is_scikit_learn_to_the_last_digit(self, workers):
        raw = load(DataRequest("digits", scale="none"))
        found = sweep("digits", hidden=(4, (8, 6)), epochs=(3, 8), runs=2, published=True, workers=workers)
        assert found.settings["chosen_on"] == "test"
        assert found.settings["data"]["scaling"] == "none"
        assert found.settings["learner"] == "published"
        for record in found.runs:
            score, classifier = self.direct(raw, tuple(record["hidden"]), record["epochs"], record["seed"])
            assert record["accuracy"] == score
            assert record["loss"] == pytest.approx(classifier.loss_, rel=1e-12)
            assert record["epochs_run"] == classifier.n_iter_
            assert record["validation_accuracy"] is None
        text = sweep_text(found)
        assert "chosen on the test samples" in " ".join(text.split())
        assert "validation" not in text

    def test_it_says_how_many_epochs_it_took_when_it_stops_early(self):
        """64-40-10 on digits: the loss has stopped falling long before 1,000 epochs."""
        found = sweep("digits", hidden=(40,), epochs=(1000,), runs=1, published=True)
        raw = load(DataRequest("digits", scale="none"))
        score, classifier = self.direct(raw, (40,), 1000, 0)
        assert classifier.n_iter_ < 500
        assert (found.runs[0]["accuracy"], found.runs[0]["epochs_run"]) == (score, classifier.n_iter_)

    def test_rows_that_are_given_must_be_raw(self, rows):
        """Scaled pixels, or choices on validation rows, are not what was published."""
        with pytest.raises(SettingsError):
            sweep(rows, hidden=(4,), epochs=(2,), runs=1, published=True)

    @pytest.mark.slow
    def test_on_mnist(self, data_folder):
        raw = load(DataRequest("mnist", scale="none"))
        assert raw.train.rows == 6000
        found = sweep("mnist", hidden=(50,), epochs=(50,), runs=2, published=True)
        assert [record["accuracy"] for record in found.runs] == [
            self.direct(raw, (50,), 50, seed)[0] for seed in (0, 1)
        ]


class TestRefused:
    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"hidden": ()}, "at least one network"),
            ({"epochs": ()}, "at least one network, one number of epochs"),
            ({"runs": 0}, "one run"),
            ({"splits": 0}, "one run"),
            ({"hidden": (0,)}, "hidden"),
            ({"hidden": (4, -1)}, "hidden"),
            ({"epochs": (3, 0)}, "epoch"),
            ({"workers": 0}, "at least 1, not 0"),
            ({"s1": 0.0}, "s1 weighs the impact factor: it must be a positive number.*, not 0"),
            ({"s1": -1.0}, "positive number.*, not -1"),
            ({"s2": float("nan")}, "s2 .* positive number.*, not nan"),
            ({"s2": float("inf")}, "positive number.*, not inf"),
            ({"min_accuracy": 93.0}, r"up to 1, such as 0\.93, not 93"),
            ({"min_accuracy": 0.0}, "above 0"),
            ({"min_accuracy": float("nan")}, "not nan"),
            ({"retime": -1}, r"must be 0 \(all\) or more, not -1"),
            ({"seed": -1}, "seed"),
            ({"batch": 0}, "batch"),
            ({"team": "mpi"}, "mpiexec -n 2"),
            ({"team": "pigeons"}, "pigeons"),
        ],
    )
    def test_before_any_session_starts(self, rows, monkeypatch, tmp_path, settings, words):
        monkeypatch.setattr(module, "run", lambda *_, **__: pytest.fail("a session was started"))
        with pytest.raises(SettingsError, match=words):
            sweep(rows, **{"hidden": (4,), "epochs": (2,), "runs": 1, **settings}, checkpoint=tmp_path / "checkpoint")
        assert not (tmp_path / "checkpoint").exists()

    def test_rows_that_cannot_be_divided(self):
        from manyhands import make_dataset
        from manyhands.data.dataset import Examples

        single = Examples(np.eye(3), np.array([0, 1, 2]))  # class 2 has no other row
        few = make_dataset("few", single, Examples(np.eye(3), np.array([0, 1, 1])))
        with pytest.raises((DataError, SettingsError), match="cannot be divided"):
            sweep(few, hidden=(2,), epochs=(1,), splits=2)

    def test_a_session_that_diverges_ends_the_sweep_and_says_why(self, rows):
        study = SweepStudy(
            rows, SweepRequest(((4,),), (2,), 4, workers=2, spec=RunSpec(network=MLPSettings(learning_rate=1e30)))
        )
        with pytest.raises(ManyhandsError, match=r"hidden 4, 2 epochs, seed [0-3]: .* training diverged"):
            study.run()
        assert study.outcome.interrupted


class TestGoingOn:
    def test_a_finished_sweep_is_not_done_again(self, rows, alone, tmp_path, monkeypatch):
        path = tmp_path / "checkpoint"
        first = sweep(rows, **GRID, checkpoint=path)
        before = path.read_bytes()
        monkeypatch.setattr(module, "run", lambda *_, **__: pytest.fail("a session was done again"))
        second = sweep(rows, **GRID, checkpoint=path)
        assert json.loads(json.dumps(second.runs)) == json.loads(json.dumps(first.runs))
        assert results(second.runs) == results(alone.runs)
        assert path.read_bytes() == before

    @pytest.mark.parametrize(("kept", "workers"), [(0, 2), (5, 1), (11, 2)])
    def test_only_what_is_missing_is_done(self, rows, alone, tmp_path, monkeypatch, kept, workers):
        path = tmp_path / "checkpoint"
        first = sweep(rows, **GRID, workers=3, checkpoint=path)
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[: 1 + kept]) + lines[1 + kept][:40])  # killed while it wrote the next
        done, real = [], run

        def counted(plan, *arguments, **options):
            done.append((plan.network.hidden, plan.epochs, plan.seed))
            return real(plan, *arguments, **options)

        monkeypatch.setattr(module, "run", counted)
        second = sweep(rows, **GRID, workers=workers, checkpoint=path)
        assert results(second.runs) == results(alone.runs)
        keys = [(each["hidden"], each["epochs"], each["seed"]) for each in map(json.loads, lines[1 : 1 + kept])]
        place = {(*each.hidden,): 4 * number for number, each in enumerate(alone.table[::2])}
        numbers = [place[(*hidden,)] + 2 * (epochs == 12) + seed for hidden, epochs, seed in keys]
        missing = [record for number, record in enumerate(alone.runs) if number not in numbers]
        assert sorted(done) == sorted((tuple(each["hidden"]), each["epochs"], each["seed"]) for each in missing)
        for number in numbers:
            assert second.sessions[number]["seconds"] == first.sessions[number]["seconds"]
            assert second.sessions[number]["side_by_side"] == 3
        # The last one, if it is alone, runs alone.
        rest = {record["side_by_side"] for number, record in second.sessions.items() if number not in numbers}
        assert rest == {min(workers, SESSIONS - kept)}
        assert path.read_bytes().startswith(b"".join(lines[: 1 + kept]))
        assert path.read_bytes().count(b"\n") == 1 + SESSIONS

    def test_what_was_timed_again_is_not_a_third_time(self, rows, tmp_path, monkeypatch):
        path = tmp_path / "checkpoint"
        first = sweep(rows, **GRID, workers=2, retime=1, checkpoint=path)
        lines = path.read_bytes().splitlines(keepends=True)
        assert [b'"retimed": true' in line for line in lines] == [False] * 13 + [True] * 6
        path.write_bytes(b"".join(lines[:-2]))  # two of six are missing
        done, real = [], run

        def counted(plan, *arguments, **options):
            done.append(plan.network.hidden)
            return real(plan, *arguments, **options)

        monkeypatch.setattr(module, "run", counted)
        second = sweep(rows, **GRID, workers=2, retime=1, checkpoint=path)
        assert done == [(12,), (12,)]
        again = [[record["retimed_s"] for record in found.runs] for found in (first, second)]
        assert again[0][:8] == again[1][:8]
        assert all(second.runs[number]["retimed_s"] for number in (8, 10))

    def test_sessions_of_another_number_of_workers_and_other_weights_are_the_same(self, rows, tmp_path, monkeypatch):
        path = tmp_path / "checkpoint"
        sweep(rows, **GRID, checkpoint=path)
        monkeypatch.setattr(module, "run", lambda *_, **__: pytest.fail("a session was done again"))
        sweep(rows, **GRID, checkpoint=path, workers=2, s1=2.0, min_accuracy=0.5)

    def test_a_sweep_can_grow(self, rows, alone, tmp_path, monkeypatch):
        """Other networks, epochs and seeds: only what is new is done."""
        path, done, real = tmp_path / "checkpoint", [], run
        sweep(rows, hidden=(4, 20), epochs=(12, 2), runs=1, checkpoint=path)

        def counted(plan, *arguments, **options):
            done.append((plan.network.hidden, plan.epochs, plan.seed))
            return real(plan, *arguments, **options)

        monkeypatch.setattr(module, "run", counted)
        found = sweep(rows, **GRID, checkpoint=path)
        assert ((4,), 12, 0) not in done
        assert len(done) == SESSIONS - 1
        assert results(found.runs) == results(alone.runs)
        assert found.resumed

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"batch": 100}, "batch: 200 there, 100 now"),
            ({"learning_rate": 0.01}, r"network learning_rate: 0.001 there, 0.01 now"),
        ],
    )
    def test_sessions_of_other_settings_are_not(self, rows, full, change, words):
        with pytest.raises(SettingsError, match=words):
            sweep(rows, **{**GRID, **change}, checkpoint=full)

    def test_sessions_of_other_data_are_not(self, rows, full):
        features = rows.train.features.copy()
        features[700, 20] ^= 1
        other = replace(rows, train=replace(rows.train, features=features))
        with pytest.raises(SettingsError, match="data checksum: "):
            sweep(other, **GRID, checkpoint=full)

    @pytest.mark.parametrize(
        "changes",
        [
            {"hidden": [5]},
            {"hidden": 4},
            {"epochs": 2.5},
            {"seed": 7},
            {"split": 0},
            {"accuracy": 4.13},
            {"accuracy": None},
            {"accuracy": "0.9"},
            {"validation_accuracy": 7.12},
            {"validation_accuracy": None},
            {"epochs_run": 10**6},
            {"epochs_run": 0},
            {"loss": "small"},
            {"seconds": {}},
            {"seconds": [1, 2]},
            {"seconds": {**dict.fromkeys(SECONDS, 1.0), "train": 0}},
            {"seconds": {**dict.fromkeys(SECONDS, 1.0), "merge": -1e-9}},
            {"seconds": {**dict.fromkeys(SECONDS, 1.0), "total": 1e300}},
            {"side_by_side": 0},
            {"retimed_s": 3.0},
        ],
        ids=str,
    )
    def test_a_session_is_believed_only_if_all_of_it_can_be(self, rows, alone, changes):
        study, record = SweepStudy(rows, REQUEST), json.loads(json.dumps(alone.sessions[0]))
        key = {"hidden": [4], "epochs": 3, "seed": 0, "split": None}
        study.check(key, record)
        with pytest.raises((ValueError, KeyError, TypeError)):
            study.check(key, {**record, **changes})
        with pytest.raises((ValueError, KeyError, TypeError)):
            study.check({"hidden": [4]}, record)

    @pytest.mark.parametrize("seconds", [-1.0, True, None])
    def test_and_a_second_time_too(self, rows, seconds):
        key = {"hidden": [4], "epochs": 3, "seed": 0, "split": None, "retimed": True}
        SweepStudy(rows, REQUEST).check(key, {"train_s": 1.0})
        with pytest.raises((ValueError, TypeError)):
            SweepStudy(rows, REQUEST).check(key, {"train_s": seconds})


@pytest.fixture(scope="module")
def full(rows, tmp_path_factory):
    """The checkpoint of a finished sweep; a refused one does not change it."""
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint"
    sweep(rows, **GRID, checkpoint=path)
    before = path.read_bytes()
    yield path
    assert path.read_bytes() == before


class TestStop:
    def test_ctrl_c_keeps_what_is_finished(self, rows, alone, tmp_path):
        path = tmp_path / "checkpoint"

        def progress(_what, done, _whole):
            if done == 2:
                raise KeyboardInterrupt

        study = SweepStudy(rows, SweepRequest(((4,), (8, 6)), (3,), 2, workers=2), path)
        with pytest.raises(KeyboardInterrupt):
            study.run(progress)
        assert study.outcome.interrupted
        assert len(study.outcome.runs) >= 2  # the workers may have finished others meanwhile
        assert "Interrupted: only finished sessions are counted." in sweep_text(study.outcome)
        done = SweepStudy(rows, SweepRequest(((4,), (8, 6)), (3,), 2), path).run()
        expected = [record for record in results(alone.runs) if record["epochs"] == 3 and record["hidden"] != [12]]
        assert results(done.runs) == expected

    def test_a_session_that_has_not_begun_yet_stops_too(self, rows, monkeypatch):
        """It is about to begin when the other one fails: its training must not go on for hours."""
        begun, waiting, told = [], threading.Event(), threading.Event()
        seen, real_stop, real_control = [], SweepStudy._stop, module.Control

        def control(*arrays):
            begun.append(1)
            if len(begun) == 2:
                waiting.set()
                assert told.wait(10)
            return real_control(*arrays)

        def watched(plan, *arguments, controls):
            if len(begun) == 1 or not waiting.is_set() or not told.is_set():
                assert waiting.wait(10)
                raise ArithmeticError("the first session is over")
            seen.append(int(controls[0].stop[0]))
            return run(plan, *arguments, controls=controls)

        def stop(study):
            real_stop(study)
            told.set()

        monkeypatch.setattr(module, "Control", control)
        monkeypatch.setattr(module, "run", watched)
        monkeypatch.setattr(SweepStudy, "_stop", stop)
        with pytest.raises(ArithmeticError):
            sweep(rows, hidden=(4,), epochs=(2,), runs=2, workers=2)
        assert seen in ([], [1])  # it has not begun, or was told to stop before it did


# ---------------------------------------------------------------- killed processes


def mpiexec(size, arguments, seconds=120):
    """Run the command line in so many processes."""
    pytest.importorskip("mpi4py")
    process = start_job(size, arguments)
    try:
        said, _ = process.communicate(timeout=seconds)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)
    assert process.returncode == 0, said
    return process.returncode


def start_job(size, arguments):
    from manyhands.teams.mpi_world import library

    path, kind = mpi_environment.find_mpiexec(library())
    return subprocess.Popen(
        [
            *mpi_environment.job_command(path, kind, size),
            *(sys.executable, "-m", "manyhands"),
            *map(str, arguments),
            *("--team", "mpi"),
        ],
        env=mpi_environment.job_environment(kind),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_threads(workers, arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "manyhands", *map(str, arguments), "--workers", str(workers)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(path):
    """Return the records of the whole lines behind the header, by session."""
    lines = path.read_bytes().split(b"\n")[1:-1] if path.exists() else []
    return {(*entry["hidden"], entry["epochs"], entry["seed"]): entry["record"] for entry in map(json.loads, lines)}


def processes_of(process):
    """Return the process ids of those that were started by it, directly or not, and train."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found, new = set(), {process.pid}
    while new:
        found |= new
        new = {child for child, parent in parents.items() if parent in new} - found
    named = set()
    for pid in found:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(sys.executable.encode() + b"\0-m\0manyhands"):
                named.add(pid)
    return sorted(named)


def kill_at(process, path, number, delay, which):
    """Kill one of its processes some time after so many sessions are finished; return those that are then."""
    end = time.monotonic() + 60
    try:
        while len(finished(path)) < number and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.001)
        time.sleep(delay)
        pids = processes_of(process)
        with contextlib.suppress(IndexError, ProcessLookupError):
            os.kill(pids[which % len(pids)] if pids else process.pid, signal.SIGKILL)
        process.communicate(timeout=30)  # mpiexec ends the others
    finally:
        process.kill()
        process.communicate()
    return finished(path)


def killed_and_resumed(tmp_path, start, moments, runs, workers, seed):
    """Kill a sweep again and again, and let it end; check that nothing was lost and nothing done twice."""
    rng = random.Random(seed)
    path, saved = tmp_path / "checkpoint", tmp_path / "sweep.json"
    words = [*LONGER, "--runs", runs, "--checkpoint", path, "--json", saved]
    kept, killed = {}, 0
    while killed < moments and len(kept) < 4 * runs - 3:
        number = len(kept) + rng.randint(0, 2)
        now = kill_at(start(workers, words), path, number, rng.uniform(0, 0.05), rng.randint(0, 9))
        assert {key: now[key] for key in kept} == kept  # to the last digit of their times
        kept, killed = now, killed + 1
    process = start(workers, words)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    record = json.loads(saved.read_text())
    assert (record["interrupted"], record["resumed"]) == (False, True)
    sessions = {(*each["hidden"], each["epochs"], each["seed"]): each for each in record["sessions"]}
    assert {key: sessions[key] for key in kept} == kept
    assert len(path.read_bytes().splitlines()) == 1 + 4 * runs
    return record, killed


class TestKilled:
    def test_at_a_random_moment_the_table_is_the_same(self, tmp_path, rows):
        # The first number of this seed is 2: so many sessions are finished.
        record, killed = killed_and_resumed(tmp_path, start_threads, 1, 3, 1, seed=5)
        assert killed == 1
        undisturbed = sweep(rows, hidden=(40, 80), epochs=(100, 150), runs=3)
        assert results(record["sessions"]) == results(undisturbed.runs)
        columns = ("hidden", "epochs", "runs", "accuracy_pct", "accuracy_ci95", "test_pct", "time_falsified")
        table = json.loads(json.dumps([row.record() for row in undisturbed.table]))
        assert [[row[name] for name in columns] for row in record["table"]] == [
            [row[name] for name in columns] for row in table
        ]

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", [4, 5])
    @pytest.mark.parametrize("start", [start_threads, start_job], ids=["threads", "mpi"])
    def test_at_ten_random_moments_side_by_side(self, tmp_path, rows, start, seed):
        if start is start_job:
            pytest.importorskip("mpi4py")
        record, killed = killed_and_resumed(tmp_path, start, 10, 10, 2, seed)
        assert killed >= 5
        undisturbed = sweep(rows, hidden=(40, 80), epochs=(100, 150), runs=10, workers=2)
        assert results(record["sessions"]) == results(undisturbed.runs)
