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
from manyhands.records.seal import unsealed
from manyhands.runtime.terminal import Detail
from manyhands.studies.compare.request import CompareRequest
from manyhands.studies.replications import text as texts
from manyhands.studies.replications.exemplar import ExemplarStudy
from manyhands.studies.replications.results import SCHEMA
from manyhands.studies.sweep.request import SweepRequest
from manyhands.training.loggers import no_log
from manyhands.training.spec import RunSpec

WHOLE = Detail(wide=True, explain=True)


def replication_text(found):
    return texts.replication_text(found, WHOLE)


DIGITS = DataRequest("digits")
GRID = {"hidden": ((4,), (12,)), "epochs": (2, 20), "runs": 2}


def exemplar(checkpoint=None, *, grid=None, log=no_log, **comparison):
    chosen = {"strategies": ("one-shot", "periodic:1epoch"), "workers": (1, 2), "seeds": 2, **comparison}
    names = {each.name for each in fields(CompareRequest)}
    spec = RunSpec().changed(**{name: value for name, value in chosen.items() if name not in names})
    request = CompareRequest(spec=spec, **{name: value for name, value in chosen.items() if name in names})
    swept = SweepRequest(**{**GRID, **(grid or {})})
    return ExemplarStudy(DIGITS, swept, request, checkpoint=checkpoint, log=log)


def strictly(record):
    """Return a record as it comes back from a file that every JSON reader can read."""
    return json.loads(json.dumps(record, allow_nan=False))


@pytest.fixture(scope="module")
def done():
    """A finished study exemplar, with all that its stages told."""
    stages = []
    study = exemplar(grid={"min_accuracy": 0.5})
    outcome = study.run(lambda *told: stages.append(told))
    return outcome, stages


class TestExemplar:
    def test_stages_come_one_after_the_other_and_are_finished(self, done):
        _, stages = done
        stages = [(name.partition(":")[0], done, whole) for name, done, whole in stages]
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
        text = replication_text(outcome)
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
        block = (
            replication_text(outcome).split("Table II: without communication, periodic:1epoch")[1].split("Table III")[0]
        )
        row = next(line for line in block.splitlines() if re.match(r"2\*? ", line))
        compute = np.median([record["seconds"]["compute"] for record in runs])
        percent = 100 * np.mean([record["accuracy"] for record in runs])
        assert row.split()[1:4] == [f"{compute:.3f}", f"{percent:.2f}", f"{percent / compute:,.2f}"]

    def test_the_record_is_plain(self, done, tmp_path):
        outcome, _ = done
        record = strictly(outcome.record())
        assert (record["schema"], record["study"], record["interrupted"]) == (SCHEMA, "exemplar", False)
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

        outcome = exemplar(grid={"hidden": ((4,),), "epochs": (1,), "runs": 1}, seeds=1, log=log).run()
        assert [one.strategy.name for one in heard if hasattr(one, "strategy")] == [
            record["strategy"] for record in outcome.comparison.runs
        ]
        assert any(isinstance(one, RoundHeld) for one in heard)

    @pytest.mark.parametrize("changes", [{"grid": {"splits": 2}}, {"splits": 2}])
    def test_splits_are_refused(self, changes):
        with pytest.raises(SettingsError, match="test on rows that the sweep has chosen by"):
            exemplar(**changes)


class TestCheckpoint:
    @staticmethod
    def stop(study, number):
        """Run a study until so many runs are finished."""

        def progress(*_):
            if len(study.outcome.runs) >= number:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            study.run(progress)

    def test_both_parts_go_on_where_they_were(self, tmp_path, done, monkeypatch):
        import manyhands.studies.compare.run as compare_module
        import manyhands.studies.sweep.run as sweep_module

        path, grid = tmp_path / "checkpoint", {"min_accuracy": 0.5}
        study = exemplar(path, grid=grid)
        self.stop(study, 5)
        record = strictly(study.outcome.record())
        assert (record["interrupted"], record["sweep"]["interrupted"], record["compare"]) == (True, True, None)
        assert len(record["sweep"]["sessions"]) in (5, 6)  # one may have been finished meanwhile
        study = exemplar(path, grid=grid)
        self.stop(study, 8 + 2)
        record = strictly(study.outcome.record())
        assert (record["interrupted"], record["sweep"]["interrupted"], record["compare"]["interrupted"]) == (
            True,
            False,
            True,
        )
        kept = record["compare"]["runs"]
        assert len(kept) == 2
        assert "Table I: hidden sizes and epochs" in study.text()
        assert "Interrupted: only finished" in study.text()
        monkeypatch.setattr(sweep_module, "run", lambda *_a, **_o: pytest.fail("a session was repeated"))
        trained, real = [], compare_module.Runner.run
        monkeypatch.setattr(
            compare_module.Runner, "run", lambda *given, **more: trained.append(given[1].label) or real(*given, **more)
        )
        outcome = exemplar(path, grid=grid).run()
        assert (len(trained), outcome.interrupted) == (8, False)
        assert strictly(outcome.comparison.runs)[:2] == kept
        assert (outcome.sweep.resumed, outcome.comparison.resumed) == (True, True)
        assert [run["loss"] for run in outcome.runs] == [run["loss"] for run in done[0].runs]

    def test_nothing_is_finished_yet(self):
        study = exemplar()
        self.stop(study, 0)
        assert (study.outcome.interrupted, study.outcome.runs) == (True, [])
        assert "No session was finished." in study.text()
        strictly(study.outcome.record())

    def test_a_min_accuracy_out_of_reach_says_so_and_another_needs_no_new_sessions(self, tmp_path, monkeypatch):
        path = tmp_path / "checkpoint"
        study = exemplar(path, grid={"min_accuracy": 1.0})
        with pytest.raises(
            SettingsError, match=r"no classifier reaches 100 % on the validation samples; .*min_accuracy"
        ):
            study.run()
        assert study.outcome.interrupted
        assert study.outcome.comparison is None
        assert len(strictly(study.outcome.record())["sweep"]["sessions"]) == 8
        monkeypatch.setattr("manyhands.studies.sweep.run.run", lambda *_a, **_o: pytest.fail("a session was repeated"))
        assert exemplar(path, grid={"min_accuracy": 0.01}).run().comparison is not None

    def test_that_of_other_settings_is_refused(self, tmp_path):
        study = exemplar(tmp_path / "checkpoint")
        self.stop(study, 1)
        with pytest.raises(SettingsError, match="following sharding: None there, fixed now"):
            exemplar(tmp_path / "checkpoint", sharding="fixed")
        with pytest.raises(SettingsError, match="sweep batch: 200 there, 100 now"):
            exemplar(tmp_path / "checkpoint", grid={"spec": RunSpec(batch=100)})


class TestRefused:
    def test_before_the_first_training(self, monkeypatch):
        monkeypatch.setattr("manyhands.studies.sweep.run.run", lambda *_a, **_o: pytest.fail("a session was started"))
        for grid, comparison, words in (
            ({"team": "mpi"}, {}, "its sweep runs on threads"),
            ({}, {"workers": (1, 201)}, "201 workers cannot share"),
            ({}, {"strategies": ("telepathy",)}, "unknown strategy"),
            ({}, {"seeds": 0}, "seeds must be at least 1"),
            ({}, {"margin": float("nan")}, "margin"),
            ({"hidden": ()}, {}, "at least one network"),
            ({"hidden": ((0,),)}, {}, "hidden"),
            ({"epochs": (0,)}, {}, "epochs must be at least 1"),
            ({"min_accuracy": float("nan")}, {}, "min_accuracy"),
            ({"s1": 0.0}, {}, "s1 weighs"),
        ):
            with pytest.raises(ManyhandsError, match=words):
                exemplar(grid=grid, **comparison)

    def test_a_study_that_was_refused_leaves_no_checkpoint(self, tmp_path):
        """Else the next attempt, with other settings, would be told that another study's checkpoint is in its way."""
        with pytest.raises(SettingsError):
            exemplar(tmp_path / "checkpoint", workers=(1, 201))
        assert list(tmp_path.iterdir()) == []


def test_there_are_no_validation_rows_for_merges():
    with pytest.raises(SettingsError, match="no validation rows"):
        ExemplarStudy(DIGITS, SweepRequest(), CompareRequest(strategies=("one-shot:merge=soup",)))
