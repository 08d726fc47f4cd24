"""Whole studies: the choice goes into the comparison, what is finished is kept, and the text says what was run."""

import json
import re
from dataclasses import fields

import numpy as np
import pytest

from manyhands.core.callbacks import EventFunction
from manyhands.core.errors import ManyhandsError, SettingsError
from manyhands.core.events import RoundHeld
from manyhands.data.catalog import DataRequest
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.records.seal import unsealed
from manyhands.studies.compare.run import CompareRequest
from manyhands.studies.replications.w1_w4 import SCHEMA, W4_STRATEGIES, W1Study, W4Study, accuracies_text
from manyhands.studies.sweep.run import SweepRequest
from manyhands.training.spec import RunSpec

DIGITS = DataRequest("digits")
GRID = {"hidden": ((4,), (12,)), "epochs": (2, 20), "runs": 2}


def w1(journal=None, *, grid=None, **comparison):
    chosen = {"strategies": ("one-shot", "periodic:1epoch"), "workers": (1, 2), "seeds": 2, **comparison}
    names = {each.name for each in fields(CompareRequest)}
    spec = RunSpec().changed(**{name: value for name, value in chosen.items() if name not in names})
    request = CompareRequest(spec=spec, **{name: value for name, value in chosen.items() if name in names})
    return W1Study(DIGITS, SweepRequest(**{**GRID, **(grid or {})}), request, journal=journal)


def strictly(record):
    """Return a record as it comes back from a file that every JSON reader can read."""
    return json.loads(json.dumps(record, allow_nan=False))


@pytest.fixture(scope="module")
def done():
    """A finished study w1, with all that its stages told."""
    stages = []
    study = w1(grid={"target": 0.5})
    outcome = study.run(lambda *told: stages.append(told))
    return outcome, stages


class TestW1:
    def test_stages_come_one_after_the_other_and_are_finished(self, done):
        _, stages = done
        names = [name for name, _, _ in stages]
        assert names == sorted(names, reverse=True)
        assert set(names) == {"sweep", "comparison"}
        sweep = [(part, whole) for name, part, whole in stages if name == "sweep"]
        assert sweep == [(number, 8) for number in range(9)]  # 2 networks x 2 numbers of epochs x 2 runs
        parts = [part for name, part, _ in stages if name == "comparison"]
        wholes = {whole for name, _, whole in stages if name == "comparison"}
        # 1,437 rows in batches of 200 are 8 steps; 20 epochs; (sequential + 2 strategies x 2 numbers) x 2 seeds.
        assert wholes == {8 * 20 * 5 * 2}
        assert (parts, parts[-1]) == (sorted(parts), 1600)

    def test_the_choice_goes_into_the_comparison(self, done):
        outcome, _ = done
        best = outcome.sweep.best
        assert (best.hidden, best.epochs) == ((12,), 20)  # the only one of at least 50 %
        settings = outcome.comparison.settings
        assert (settings["network"]["hidden"], settings["epochs"]) == ((12,), 20)
        assert {record["steps"] for record in outcome.comparison.runs} == {160}

    def test_the_sweep_chooses_on_rows_that_the_comparison_trains_on(self, done):
        outcome, _ = done
        here, there = outcome.sweep.settings["data"], outcome.comparison.settings["data"]
        assert here["train_rows"] + here["validation_rows"] == there["train_rows"] == 1437
        assert here["test_rows"] == there["test_rows"] == 360

    def test_the_text_has_all_tables(self, done):
        outcome, _ = done
        text = outcome.text()
        positions = [
            text.index(title)
            for title in (
                "Table I: hidden sizes and epochs",
                "Table II: without communication, one-shot",
                "Table III: with communication, one-shot",
                "Table II: without communication, periodic:1epoch",
                "Table III: with communication, periodic:1epoch",
                "vs sequential",
            )
        ]
        assert positions == sorted(positions)
        assert re.search(r"\n12 +20 .* <\n", text)

    def test_tables_ii_and_iii_are_the_runs(self, done):
        outcome, _ = done
        runs = [
            record
            for record in outcome.comparison.runs
            if (record["strategy"], record["workers"]) == ("periodic:1epoch", 2)
        ]
        block = outcome.text().split("Table II: without communication, periodic:1epoch")[1].split("Table III")[0]
        row = next(line for line in block.splitlines() if re.match(r"2\*? ", line))
        compute = np.median([record["seconds"]["compute"] for record in runs])
        percent = 100 * np.mean([record["accuracy"] for record in runs])
        assert row.split()[1:4] == [f"{compute:.3f}", f"{percent:.2f}", f"{percent / compute:.2f}"]

    def test_the_record_is_plain(self, done, tmp_path):
        outcome, _ = done
        record = strictly(outcome.record())
        assert (record["schema"], record["study"], record["interrupted"]) == (SCHEMA, "w1", False)
        assert record["published"] is None
        assert len(record["sweep"]["sessions"]) == 8
        assert len(record["compare"]["runs"]) == 10
        assert len(outcome.runs) == 18
        outcome.save(tmp_path / "study.json")
        assert unsealed(json.loads((tmp_path / "study.json").read_text())) == record

    def test_only_the_comparison_is_logged(self, done):
        from contextlib import contextmanager

        heard = []

        @contextmanager
        def log(plan):
            heard.append(plan)
            yield EventFunction(heard.append, "round")

        outcome = w1(grid={"hidden": ((4,),), "epochs": (1,), "runs": 1}, seeds=1).run(log=log)
        assert [one.strategy.name for one in heard if hasattr(one, "strategy")] == [
            record["strategy"] for record in outcome.comparison.runs
        ]
        assert any(isinstance(one, RoundHeld) for one in heard)

    @pytest.mark.parametrize("changes", [{"grid": {"splits": 2}}, {"splits": 2}])
    def test_splits_are_refused(self, changes):
        with pytest.raises(SettingsError, match="test on rows that the sweep has chosen by"):
            w1(**changes)


class TestInterruptedW1:
    @staticmethod
    def stop_at(sessions):
        def stage(name, part, whole):
            if (name, part) == ("sweep", sessions):
                raise KeyboardInterrupt

        return stage

    def test_nothing_is_finished_yet(self):
        study = w1()
        with pytest.raises(KeyboardInterrupt):
            study.run(self.stop_at(0))
        assert study.outcome.interrupted
        assert study.outcome.runs == []
        assert "No session was finished." in study.outcome.text()
        strictly(study.outcome.record())

    def test_in_the_sweep(self):
        study = w1()
        with pytest.raises(KeyboardInterrupt):
            study.run(self.stop_at(3))
        record = strictly(study.outcome.record())
        assert (record["interrupted"], record["sweep"]["interrupted"], record["compare"]) == (True, True, None)
        assert len(record["sweep"]["sessions"]) == 3
        assert "Interrupted" in study.outcome.text()

    def test_in_the_comparison(self):
        study = w1()

        def stage(name, part, whole):
            if name == "comparison" and len(study.outcome.comparison.runs) == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            study.run(stage)
        record = strictly(study.outcome.record())
        assert (record["interrupted"], record["sweep"]["interrupted"], record["compare"]["interrupted"]) == (
            True,
            False,
            True,
        )
        assert len(record["compare"]["runs"]) == 2
        assert "Table I: hidden sizes and epochs" in study.outcome.text()
        assert "Interrupted: only finished" in study.outcome.text()

    def test_finished_sessions_are_not_done_again(self, tmp_path, monkeypatch):
        import manyhands.studies.sweep.run as module

        journal, trained, really = tmp_path / "journal", [], module.run

        def counted(plan, *arguments, **options):
            trained.append((plan.network.hidden, plan.epochs, plan.seed))
            return really(plan, *arguments, **options)

        monkeypatch.setattr(module, "run", counted)
        study = w1(journal)
        with pytest.raises(KeyboardInterrupt):
            study.run(self.stop_at(5))
        before, trained[:] = study.outcome.sweep.runs, []
        outcome = w1(journal).run()
        assert len(trained) == 3
        assert len(set(trained)) == 3
        assert [one for one in outcome.sweep.runs if one in before] == before
        assert len(outcome.sweep.runs) == 8
        assert not outcome.interrupted

    def test_a_target_out_of_reach_says_so_and_another_needs_no_new_sessions(self, tmp_path, monkeypatch):
        journal = tmp_path / "journal"
        study = w1(journal, grid={"target": 1.0})
        with pytest.raises(SettingsError, match=r"no classifier reaches 100 % on the validation rows; lower target"):
            study.run()
        assert study.outcome.interrupted
        assert study.outcome.comparison is None
        assert len(strictly(study.outcome.record())["sweep"]["sessions"]) == 8
        monkeypatch.setattr("manyhands.studies.sweep.run.run", lambda *_a, **_o: pytest.fail("a session was repeated"))
        assert w1(journal, grid={"target": 0.01}).run().comparison is not None


class TestRefused:
    def test_before_the_first_training(self, monkeypatch):
        monkeypatch.setattr("manyhands.studies.sweep.run.run", lambda *_a, **_o: pytest.fail("a session was started"))
        for grid, comparison, words in (
            ({"team": "mpi"}, {}, "its sweep runs on threads"),
            ({}, {"workers": (1, 201)}, "201 workers cannot share"),
            ({}, {"strategies": ("telepathy",)}, "unknown strategy"),
            ({}, {"seeds": 0}, "--seeds must be at least 1"),
            ({}, {"margin": float("nan")}, "margin"),
            ({"hidden": ()}, {}, "at least one network"),
            ({"hidden": ((0,),)}, {}, "hidden"),
            ({"epochs": (0,)}, {}, "epochs must be at least 1"),
            ({"target": float("nan")}, {}, "target"),
            ({"s1": 0.0}, {}, "--s1"),
        ):
            with pytest.raises(ManyhandsError, match=words):
                w1(grid=grid, **comparison)

    def test_a_study_that_was_refused_leaves_no_journal(self, tmp_path):
        """Else the next attempt, with other settings, would be told that another study's journal is in its way."""
        with pytest.raises(SettingsError):
            w1(tmp_path / "journal", workers=(1, 201))
        assert list(tmp_path.iterdir()) == []

    def test_w4_without_splits(self, digits):
        with pytest.raises(SettingsError, match="needs a number of random splits"):
            W4Study(digits, CompareRequest())


@pytest.fixture(scope="module")
def outcome(digits):
    """A finished study w4."""
    request = CompareRequest(
        W4_STRATEGIES, (1, 2), splits=3, spec=RunSpec(network=MLPSettings(hidden=(12,)), epochs=6, seed=5, batch=50)
    )
    return W4Study(digits, request).run()


class TestW4:
    def test_every_split_has_its_runs(self, outcome):
        assert not outcome.interrupted
        seen = {(record["strategy"], record["workers"], record["split"]) for record in outcome.runs}
        cases = [("sequential", 1)] + [(name, n) for name in W4_STRATEGIES[1:] for n in (1, 2)]
        assert seen == {(*case, split) for case in cases for split in (5, 6, 7)}
        assert len(outcome.runs) == 15
        assert all(record["seed"] == record["split"] for record in outcome.runs)

    def test_the_text_lists_the_accuracy_of_every_split(self, outcome):
        lines = outcome.text().splitlines()
        begin = lines.index("accuracy on each random split, %")
        listed = {}
        for line in lines[begin + 3 : begin + 8]:
            strategy, workers, *scores = line.split()
            listed[strategy, int(workers)] = scores
        expected = {}
        for record in outcome.runs:
            expected.setdefault((record["strategy"], record["workers"]), []).append(f"{100 * record['accuracy']:.2f}")
        assert listed == expected
        assert all(len(scores) == 3 for scores in listed.values())

    def test_splits_differ_and_have_the_published_sizes(self, outcome):
        sequential = [record for record in outcome.runs if record["strategy"] == "sequential"]
        assert len({record["loss"] for record in sequential}) == 3
        assert {record["rows"] for record in outcome.runs} == {1437}

    def test_convergence_is_measured_without_being_asked_for(self, outcome):
        # 1,437 rows in batches of 50: 29 steps an epoch, and a point at the end of each.
        for record in outcome.runs:
            assert [point["step"] for point in record["curve"]] == [29 * epoch for epoch in range(1, 7)]
            assert record["curve"][-1]["accuracy"] == record["accuracy"]

    def test_the_record_is_plain(self, outcome):
        record = strictly(outcome.record())
        assert (record["study"], record["sweep"], record["published"]) == ("w4", None, None)
        assert record["compare"]["settings"]["splits"] == 3

    def test_interrupted(self, digits):
        request = CompareRequest(
            W4_STRATEGIES, (1,), splits=2, spec=RunSpec(network=MLPSettings(hidden=(4,)), epochs=2)
        )
        study = W4Study(digits, request)

        def stage(name, part, whole):
            assert (name, whole) == ("comparison", 2 * 8 * 3 * 2)
            if len(study.outcome.runs) == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            study.run(stage)
        assert study.outcome.interrupted
        assert len(study.outcome.runs) == 2
        assert "minibatch:5epochs" in accuracies_text(study.outcome.comparison)
        strictly(study.outcome.record())

    def test_nothing_finished_says_only_that(self, digits):
        study = W4Study(digits, CompareRequest(W4_STRATEGIES, (1,), splits=2))
        assert study.outcome.text() == "No run was finished."


def test_w1_has_no_validation_rows_for_merges():
    with pytest.raises(SettingsError, match="no validation rows"):
        W1Study(DIGITS, SweepRequest(), CompareRequest(strategies=("one-shot:merge=soup",)))
