"""The study of the levels of parallelism: numbers by hand, what it refuses, and small runs that stop and go on."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import manyhands.studies.levels.run as module
from manyhands.core.errors import SettingsError
from manyhands.learners.mlp.learner import MLP
from manyhands.learners.mlp.slices.learner import SlicedMLP
from manyhands.records.runs import SECONDS
from manyhands.runtime.terminal import Detail
from manyhands.studies.levels.facts import case_facts
from manyhands.studies.levels.request import Case, LevelsRequest, cases_of, measured_part, plan_of, shape_of
from manyhands.studies.levels.results import Levels, level_record
from manyhands.studies.levels.run import LevelsStudy, study_levels
from manyhands.studies.levels.text import levels_markdown, levels_text
from manyhands.training.levels import costs
from manyhands.training.spec import RunSpec

SMALL = LevelsRequest(networks=((16,),), workers=(1, 2), widths=(8, 16), repeats=2, steps=4, spec=RunSpec(batch=100))
LEVELS = ["one", "session", "exemplar", "node", "weight", "pairs"]


@pytest.fixture(scope="module")
def done(digits):
    return LevelsStudy(digits, SMALL).run()


class TestCases:
    def test_all_levels_of_networks_and_some_of_widths(self):
        cases = cases_of(SMALL)
        assert [case.level for case in cases if case.hidden == (16,)] == LEVELS
        assert [case.level for case in cases if case.hidden == (8, 8)] == ["one", "exemplar", "node", "pairs"]
        assert {case.workers for case in cases if case.level != "one"} == {2}

    def test_a_width_that_is_a_network_too_is_measured_once(self):
        cases = cases_of(replace(SMALL, networks=((8, 8),), widths=(8,)))
        assert [case.level for case in cases] == LEVELS

    def test_plans_take_the_same_steps_of_the_same_batch(self, digits):
        part = measured_part(SMALL, digits)
        plans = {case.level: plan_of(case, SMALL, part) for case in cases_of(SMALL) if case.hidden == (16,)}
        assert part.rows == 400
        assert {plan.total_steps for plan in plans.values()} == {plans["one"].total_steps}
        assert plans["one"].total_steps == 80  # 20 times 4: steps of such a network are short
        assert {name: plan.strategy.name for name, plan in plans.items()} == {
            "one": "sequential",
            "session": "one-shot",
            **dict.fromkeys(LEVELS[2:], "gradient"),
        }
        assert {name: plan.grid.name for name, plan in plans.items() if plan.grid.divides} == {
            level: f"data=1,{level}=2" for level in ("node", "weight", "pairs")
        }
        assert plans["session"].batch == 2 * plans["one"].batch

    def test_shapes(self):
        assert [shape_of(each) for each in [(75,), (9, 9), (256,) * 8, (4, 4, 4, 2), ()]] == [
            *("75", "9-9", "256x8", "4x3-2", ""),
        ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": (1,)}, "at least one number above 1"),
        ({"workers": ()}, "at least one number above 1"),
        ({"workers": (0, 2)}, "workers must be at least 1"),
        ({"levels": ("exemplr",)}, "unknown level 'exemplr'; did you mean 'exemplar'"),
        ({"levels": ()}, "at least one network and one level"),
        ({"networks": ()}, "at least one network and one level"),
        ({"networks": ((3,),), "workers": (1, 4), "steps": 4}, "divides every layer by 4, and one has 3 neurons"),
        ({"networks": ((),)}, "divides hidden layers, and the network has none"),
        ({"widths": (1,)}, "divides every layer by 2, and one has 1 neurons"),
        ({"repeats": 0}, "repeats must be at least 1"),
        ({"steps": 1}, "steps must be at least 2"),
        ({"batch": 1}, "gives each of 2 workers less than one sample"),
        ({"batch": 1000}, "2 trainings side by side need a batch of 1000 samples each"),
        ({"learner": "published"}, "not of published"),
        ({"team": "torch"}, "cannot divide a network"),
        ({"grid": "node=2"}, "leave grid out"),
        ({"strategy": "gradient"}, "leave strategy out"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(digits, changed, monkeypatch, changes, message):
    monkeypatch.setattr(module.Runner, "run", lambda *_a, **_k: pytest.fail("a run was started"))
    with pytest.raises(SettingsError, match=message):
        LevelsStudy(digits, changed(SMALL, **changes))


class TestFacts:
    @pytest.mark.parametrize("level", ["one", "node", "weight", "pairs"])
    @pytest.mark.parametrize("optimizer", ["adam", "sgd", "lars"])
    def test_memory_is_that_of_the_arrays_of_a_real_learner(self, digits, changed, level, optimizer):
        request = changed(SMALL, optimizer=optimizer)
        case = Case((48, 40), level, 1 if level == "one" else 2)
        network = request.spec.network.changed(hidden=case.hidden)
        if level == "one":
            learner, mail = MLP(network, 64, 10), 0
        else:
            learner = SlicedMLP(network, 64, 10, team=SimpleNamespace(rank=0, size=2), level=level)
            mail = case_mail(learner)
        work = learner._adapter.new_work(100)
        arrays = [learner.parameters, learner._first, learner._second, learner._scratch, work.values, work.deltas]
        own = case_facts(case, request, digits)
        assert own["array_bytes"] == sum(each.nbytes for each in arrays) + 4 * mail
        assert own["parameters"] == learner.size

    def test_the_model_is_that_of_auto(self, digits):
        found = {level: case_facts(Case((16,), level, 2), SMALL, digits) for level in LEVELS[1:]}
        network = SMALL.spec.network.changed(hidden=(16,))
        said = {
            cost.grid.level if cost.grid.divides else "exemplar": cost
            for cost in costs(network, (64, 16, 10), 100, 2, True, lambda grid: True)
        }
        for level in ("exemplar", "node", "weight", "pairs"):
            assert found[level]["predicted_ms"] == 1000 * said[level].seconds
        alone = case_facts(Case((16,), "one", 1), SMALL, digits)
        assert found["session"]["predicted_ms"] == pytest.approx(alone["predicted_ms"] / 2)


def case_mail(learner):
    from manyhands.learners.mlp.slices.program import Programs

    return Programs(learner.slices, 100, learner._adapter.new_work(100).starts, scaled=not learner.divisible).mail


def made_up(seconds):
    """An outcome whose cases have these milliseconds of a step, repeat by repeat."""
    facts = {"exchanges": 1, "array_bytes": 9, "predicted_ms": 1.0}
    cases = [{"hidden": [8], "level": level, "workers": workers, "name": "8", **facts} for level, workers in seconds]
    keys, others = ("hidden", "level", "workers"), {"communicate_ms": 1.0, "sent_bytes": 8.0}
    runs = [
        {**{name: case[name] for name in keys}, "repeat": repeat, "step_ms": ms, **others}
        for case, times in zip(cases, seconds.values(), strict=True)
        for repeat, ms in enumerate(times)
    ]  # fmt: skip
    settings = {"data": {"name": "d", "features": 64, "classes": 10}, "networks": [[8]], "widths": []}
    return Levels({"cores": 2}, settings, cases=cases, runs=runs)


class TestSummary:
    def test_numbers_by_hand(self):
        found = made_up({("one", 1): (8.0, 10.0, 12.0), ("node", 2): (4.0, 8.0, 8.0), ("node", 4): (8.0, 8.0, 8.0)})
        row = found.row_of((8,), "node", 2)
        assert row.step_ms == 8.0
        assert row.step_interval == [4.0, 8.0]
        assert row.speedup == 1.5  # of 2, 1.25 and 1.5
        assert row.speedup_interval == [1.25, 2.0]
        assert row.efficiency == 0.75
        assert not row.oversubscribed
        crowded = found.row_of((8,), "node", 4)
        assert (crowded.speedup, crowded.efficiency, crowded.oversubscribed) == (1.25, 0.3125, True)
        assert found.row_of((8,), "one", 1).speedup_interval is None
        with pytest.raises(KeyError):
            found.row_of((8,), "pairs", 2)

    def test_pairs_are_of_the_same_repeat(self):
        found = made_up({("one", 1): (8.0, 10.0), ("node", 2): (4.0,)})
        assert found.row_of((8,), "node", 2).speedup == 2.0

    def test_trainings_side_by_side_share_their_time(self):
        seconds = {"compute": 6.0, "train": 9.0, "communicate": 3.0}
        result = SimpleNamespace(examples=2000, steps=20, seconds=seconds, bytes_sent=400)
        alone = level_record(Case((8,), "session", 3), 0, 100, result)
        assert (alone["steps"], alone["step_ms"], alone["sent_bytes"]) == (20, 100.0, 0.0)
        together = level_record(Case((8,), "node", 3), 0, 100, result)
        assert (together["step_ms"], together["communicate_ms"], together["sent_bytes"]) == (450.0, 150.0, 20.0)


class TestRuns:
    def test_all_cases_take_turns(self, done):
        order = [(run["repeat"], run["level"]) for run in done.runs if run["hidden"] == [16]]
        assert order == [(repeat, level) for repeat in (0, 1) for level in LEVELS]

    def test_bytes_are_those_that_the_levels_say(self, done, digits):
        rows = {row.facts["level"]: row for row in done.summary if row.facts["hidden"] == [16]}
        assert rows["one"].sent == rows["session"].sent == 0
        assert rows["node"].sent == pytest.approx(4 * 100 * 16)  # one sum of 10 outputs, stored as 16
        size = rows["exemplar"].facts["array_bytes"]
        assert 0 < rows["exemplar"].sent < size
        assert math.isclose(rows["node"].sent, rows["pairs"].sent)  # of one hidden layer they are the same

    def test_the_memory_of_processes_is_measured_in_runs_of_their_own(self, digits, changed, monkeypatch):
        seconds = dict.fromkeys(SECONDS, 1.0)
        result = SimpleNamespace(examples=800, steps=8, seconds=seconds, bytes_sent=0, worker_peaks=[5, 9])
        begun = []
        monkeypatch.setattr(module.Runner, "run", lambda *_: result)
        monkeypatch.setattr(module, "run", lambda plan, *_a, **_k: begun.append(plan) or result)
        monkeypatch.setattr(module, "check_can_start_jobs", lambda _team: None)
        found = LevelsStudy(digits, changed(SMALL, team="mpi", widths=(), repeats=3)).run()
        assert [(plan.grid.name, plan.total_steps) for plan in begun] == [
            *(("data=2", 4), ("data=2", 4), ("data=1,node=2", 4), ("data=1,weight=2", 4), ("data=1,pairs=2", 4)),
        ]
        assert found.row_of((16,), "node", 2).peak_bytes == 9
        assert found.row_of((16,), "one", 1).peak_bytes is None  # it is no process of its own

    def test_text(self, done, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        for detail in (Detail(), Detail(wide=True, explain=True)):
            assert max(map(len, levels_text(done, detail).splitlines())) <= 80
        text = levels_text(done)
        assert "16: 64-16-10" in text
        for level in ("one worker", *LEVELS[1:]):
            assert sum(line.startswith(f"{level} ") for line in text.splitlines()) == 1
        assert levels_markdown(done).count("| pairs |") == 1

    def test_record_is_plain_data(self, done):
        record = json.loads(json.dumps(done.record()))
        assert record["schema"] == "manyhands.levels/1"
        assert [row["level"] for row in record["summary"]][:6] == LEVELS
        assert {each["level"] for each in record["chosen"]} == {"exemplar"}
        assert np.isfinite([row["step_ms"] for row in record["summary"]]).all()

    def test_nothing_finished(self, digits):
        assert levels_text(LevelsStudy(digits, SMALL).outcome) == "No run was finished."


class TestCheckpoint:
    def test_interrupted_and_resumed(self, digits, monkeypatch, tmp_path):
        real, begun = module.Runner.run, []

        def run(self, plan, *args, **how):
            begun.append(plan)
            if len(begun) == 4:
                raise KeyboardInterrupt
            return real(self, plan, *args, **how)

        monkeypatch.setattr(module.Runner, "run", run)
        request = replace(SMALL, widths=())
        study = LevelsStudy(digits, request, tmp_path / "c")
        with pytest.raises(KeyboardInterrupt):
            study.run()
        assert [run["level"] for run in study.outcome.runs] == LEVELS[:3]
        assert "Interrupted" in study.text()
        found = LevelsStudy(digits, request, tmp_path / "c").run()
        assert len(begun) == 4 + 9
        assert found.resumed
        assert not found.interrupted
        assert found.runs[:3] == study.outcome.runs
        assert len(found.runs) == 12

    def test_of_other_settings_is_refused(self, digits, changed, tmp_path):
        LevelsStudy(digits, replace(SMALL, widths=(), levels=("node",), repeats=1), tmp_path / "c").run()
        with pytest.raises(SettingsError, match="checkpoint"):
            LevelsStudy(digits, changed(SMALL, optimizer="sgd"), tmp_path / "c")

    def test_a_damaged_run_is_refused(self, digits, done):
        study, run = LevelsStudy(digits, SMALL), done.runs[3]
        key = {"hidden": [16], "level": "node", "workers": 2, "steps": run["steps"], "repeat": 0}
        study.check(key, run)
        with pytest.raises(ValueError, match="step_ms must be a number"):
            study.check(key, {**run, "step_ms": 0})
        with pytest.raises(ValueError, match="level is node, and not pairs"):
            study.check({**key, "level": "pairs"}, run)


def test_from_python(digits):
    with pytest.raises(TypeError, match="did you mean 'widths'"):
        study_levels(digits, width=(1,))
