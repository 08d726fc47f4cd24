"""The study of speculative back-propagation: cases that differ in one thing, in turns, and what follows of them."""

import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import manyhands.studies.speculative.run as module  # noqa: E402
from manyhands.core.errors import DivergedError, SettingsError  # noqa: E402
from manyhands.records.statistics import paired_difference, ratio_interval  # noqa: E402
from manyhands.runtime.terminal import Detail  # noqa: E402
from manyhands.studies.speculative import text as texts  # noqa: E402
from manyhands.studies.speculative.request import Case, SpeculativeRequest  # noqa: E402
from manyhands.studies.speculative.results import Speculation  # noqa: E402
from manyhands.studies.speculative.run import SpeculativeStudy, speculate  # noqa: E402
from manyhands.studies.speculative.text import speculative_markdown  # noqa: E402


def speculative_text(found):
    """All of it; what is left out where nobody asks for all is tested in tests/cli/test_widths.py."""
    return texts.speculative_text(found, Detail(wide=True, explain=True))


from manyhands.training.spec import RunSpec  # noqa: E402


def network():
    """A stack for digits."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 12), nn.ReLU(), nn.Linear(12, 10)
    )


SPEC = RunSpec(module=network, epochs=2, schedule="cosine").changed(learning_rate=0.01)
SMALL = SpeculativeRequest(thresholds=(0.0, 0.3), seeds=2, spec=SPEC)
NAMES = [
    *("sequential", "T=0, 2 lanes", "T=0.3, 2 lanes", "T=1, 2 plain lanes", "T=1, 2 lanes, predicted"),
    *("2 workers", "autograd"),
]


@pytest.fixture(scope="module")
def done(digits):
    return SpeculativeStudy(digits, SMALL).run()


def runs_of(found, name):
    return [run for run in found.runs if run["case"] == name]


def timeless(run):
    """Return what is the same every time."""
    return {name: value for name, value in run.items() if name not in ("seconds", "speculation", "curve")}


class TestRuns:
    def test_all_cases_take_turns_with_the_same_settings(self, digits, done):
        assert [(run["case"], run["seed"]) for run in done.runs] == [(name, seed) for seed in (0, 1) for name in NAMES]
        for name in ("batch", "learning_rate", "schedule", "rows"):
            assert len({run[name] for run in done.runs}) == 1
        plans = [plan for _, plan in SpeculativeStudy(digits, SMALL).plans]
        assert {(plan.torch.precision, plan.epochs) for plan in plans} == {("float32", 2)}
        for name in NAMES[:5] + NAMES[6:]:  # several workers are also measured between epochs
            assert [point["epoch"] for point in runs_of(done, name)[0]["curve"]] == [1, 2]

    def test_lanes_without_speculation_change_no_bit(self, done):
        for exact, reference in zip(runs_of(done, "T=0, 2 lanes"), runs_of(done, "sequential"), strict=True):
            assert (exact["accuracy"], exact["loss"]) == (reference["accuracy"], reference["loss"])
        assert done.row_of("T=0, 2 lanes").row.delta.mean == 0

    def test_micro_batches_are_those_of_the_reference_too(self, digits, changed):
        request = changed(SMALL, micro_batches=4, epochs=1, thresholds=(0, 1), seeds=1)
        found = SpeculativeStudy(digits, request).run()
        kinds = {case.name: case.kind for case in found.cases}
        assert kinds["T=0, 2 lanes, 4 micro-batches"] == "pipelined"
        assert kinds["T=1, 2 lanes"] == "balanced"
        assert found.row_of("T=0, 2 lanes, 4 micro-batches").row.delta.mean == 0
        assert "one lane, T=0, 4 micro-batches; T:" in " ".join(speculative_text(found).split())

    def test_what_lanes_measure_is_kept(self, done):
        for run in runs_of(done, "T=0.3, 2 lanes"):
            facts = run["speculation"]
            assert facts["hits"] + facts["misses"] + facts["unseen"] == run["batch"] * run["steps"]
            assert len(facts["hit_rate_by_epoch"]) == 2
            assert all(seconds > 0 for seconds in facts["busy_s"])
            assert facts["timeline"]
        assert runs_of(done, "autograd")[0]["speculation"] is None
        assert done.row_of("T=1, 2 lanes, predicted").hit_rate > 0.9
        assert done.row_of("2 workers").ceiling is None

    def test_auto_chooses_for_all_cases(self, digits):
        request = replace(SMALL, spec=RunSpec(module=network, epochs=2))
        plans = [plan for _, plan in SpeculativeStudy(digits, request).plans]
        assert {(plan.batch, plan.schedule.name) for plan in plans} == {(50, "linear:hold=25%")}
        assert next(plan for plan in plans if plan.workers == 2).strategy.name.startswith("diloco:20")
        plans = [plan for _, plan in SpeculativeStudy(digits, replace(request, strategy="gradient")).plans]
        assert {(plan.batch, plan.schedule.name) for plan in plans} == {(200, "constant")}

    def test_a_run_that_diverges_is_named_and_in_no_mean(self, digits, changed, monkeypatch):
        real = module.run

        def run(plan, dataset, **how):
            if plan.torch.speculative is None and plan.workers == 1:
                raise DivergedError(7, 0, float("nan"))
            return real(plan, dataset, **how)

        monkeypatch.setattr(module, "run", run)
        found = SpeculativeStudy(digits, changed(SMALL, thresholds=(1,), seeds=1)).run()
        assert found.diverged == [{"case": "autograd", "seed": 0, "step": 7}]
        assert "autograd" not in [row.case.name for row in found.summary]
        assert "diverged: autograd, seed 0, step 7" in speculative_text(found)


class TestCheckpoint:
    def test_what_is_there_is_not_done_again(self, digits, changed, done, monkeypatch, tmp_path):
        first = SpeculativeStudy(digits, changed(SMALL, seeds=1), tmp_path / "c").run()
        begun, real = [], module.run
        monkeypatch.setattr(module, "run", lambda plan, *a, **k: begun.append(plan.seed) or real(plan, *a, **k))
        found = SpeculativeStudy(digits, changed(SMALL, thresholds=(0.3, 0.0)), tmp_path / "c").run()
        assert begun == [1] * len(NAMES)
        assert found.resumed
        assert [run for run in found.runs if run["seed"] == 0 and run["case"] == NAMES[2]] == runs_of(first, NAMES[2])
        for name in NAMES[:6]:
            assert [timeless(run) for run in runs_of(found, name)] == [timeless(run) for run in runs_of(done, name)]

    def test_of_other_settings_is_refused(self, digits, changed, tmp_path):
        SpeculativeStudy(digits, changed(SMALL, thresholds=(1,), seeds=1), tmp_path / "c").run()
        with pytest.raises(SettingsError, match="checkpoint"):
            SpeculativeStudy(digits, changed(SMALL, gate="batch"), tmp_path / "c")

    def test_a_damaged_run_is_refused(self, digits, changed, tmp_path):
        study = SpeculativeStudy(digits, changed(SMALL, thresholds=(1,), seeds=1))
        run = {**study.run().runs[1]}
        key = {"case": "T=1, 2 lanes", "strategy": "sequential", "workers": 1, "seed": 0}
        study.check(key, run)
        with pytest.raises(ValueError, match="must be a number from 0 to 1"):
            study.check(key, {**run, "speculation": {**run["speculation"], "hit_rate": 2.0}})

    def test_interrupted(self, digits, changed, monkeypatch):
        real, begun = module.run, []

        def run(plan, *args, **how):
            begun.append(plan)
            if len(begun) == 3:
                raise KeyboardInterrupt
            return real(plan, *args, **how)

        monkeypatch.setattr(module, "run", run)
        study = SpeculativeStudy(digits, SMALL)
        with pytest.raises(KeyboardInterrupt):
            study.run()
        assert len(study.outcome.runs) == 2
        assert "Interrupted" in study.text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"module": None, "learner": "mlp"},
            "speculation is for PyTorch's learners, not for mlp: use learner='cnn-fast'",
        ),
        ({"thresholds": ()}, "at least one threshold"),
        ({"thresholds": (1.5,)}, "each from 0 to 1"),
        ({"lanes": ()}, "at least one number of lanes"),
        ({"lanes": (1,)}, "lanes must be at least 2"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"workers": 1}, "workers must be at least 2"),
        ({"strategy": "sequential"}, "need a strategy of several workers"),
        ({"margin": 0}, "margin"),
        ({"speculative": 0.5}, "leave speculative=0.5 out"),
        ({"weight_prediction": True}, "leave weight_prediction=True out"),
        ({"stop": "loss:0.1"}, "same epochs: leave stop out"),
        ({"pin": True}, "cores of their own: leave pin=True out"),
        ({"team": "mpi"}, "use team='threads'"),
        ({"sharding": "fixed"}, "drawn from all samples"),
        ({"precision": "bfloat16"}, "computes in float32"),
        ({"module": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softplus())}, "cannot|taken apart"),
        ({"lanes": (2, 3), "gate": "layer", "module": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10))}, "ReLU"),
    ],
)
def test_what_cannot_be_is_refused_before_training(digits, changed, monkeypatch, changes, message):
    monkeypatch.setattr(module, "run", lambda *_a, **_k: pytest.fail("training was started"))
    with pytest.raises(SettingsError, match=message):
        SpeculativeStudy(digits, changed(SMALL, **changes))


def synthetic(seconds, accuracies):
    """An outcome whose runs have these seconds and accuracies, case by case."""
    cases = [Case("sequential", "sequential", 0.0), Case("T=1, 4 lanes", "balanced", 1.0, 4)]
    measured = {"hit_rate": 0.9, "saved": 0.2, "ceiling": 0.4, "ideal": 0.5}
    runs = [
        {
            "case": case.name,
            "strategy": "sequential",
            "workers": 1,
            "seed": seed,
            "curve": None,
            "accuracy": accuracies[place][seed],
            "seconds": {"train": seconds[place][seed], "distribute": 0.0, "total": 9.0},
            "speculation": measured,
        }
        for seed in range(len(seconds[0]))
        for place, case in enumerate(cases)
    ]
    data = {"name": "d", "train_rows": 9, "test_rows": 9}
    network = {"optimizer": "adam", "learning_rate": 0.1}
    settings = {"margin": 0.25, "data": data, "architecture": "cnn", "network": network, "batch": 5, "epochs": 1}
    settings |= {"schedule": "constant", "workers": 2, "strategy": "gradient", "torch": {"micro_batches": 1}}
    return Speculation({"cores": 2}, settings, cases=cases, runs=runs)


class TestSummary:
    def test_numbers_by_hand(self):
        alone, lanes = (2.0, 4.0, 10.0), (1.0, 3.0, 8.0)
        found = synthetic((alone, lanes), ((0.90, 0.91, 0.92), (0.901, 0.91, 0.921)))
        row = found.row_of("T=1, 4 lanes")
        assert row.row.train_s == 3.0
        assert row.reduction == pytest.approx(25)  # of 50, 25 and 20
        low, high = ratio_interval(alone, lanes)
        assert row.reduction_interval == pytest.approx([100 * (1 - 1 / low), 100 * (1 - 1 / high)])
        expected = paired_difference((90.1, 91, 92.1), (90, 91, 92))
        assert row.row.delta.mean == pytest.approx(expected.mean)
        assert row.row.delta.interval == pytest.approx(expected.interval)
        assert row.row.verdict.word == "same"
        assert row.oversubscribed
        assert (row.hit_rate, row.saved, row.ceiling, row.ideal) == (0.9, 0.2, 0.4, 0.5)
        assert found.row_of("sequential").reduction == 0

    def test_text(self):
        text = speculative_text(synthetic(((2.0,) * 3, (1.0,) * 3), ((0.9,) * 3, (0.9,) * 3)))
        assert "T=1, 4 lanes*  1.000  50.0 (50.0..50.0)  90.0   20.0  40.0   50.0" in " ".join(text.split("\n")[3:8])
        assert "* more lanes or workers than the 2 usable cores" in text

    @pytest.mark.parametrize("width", [80, 120])
    def test_the_table_fits(self, done, monkeypatch, width):
        monkeypatch.setenv("COLUMNS", str(width))
        assert max(map(len, speculative_text(done).splitlines())) <= width

    def test_markdown(self, done):
        lines = speculative_markdown(done).splitlines()
        assert {line.count("|") for line in lines[: 2 + len(NAMES)]} == {11}
        assert lines[2].startswith("| sequential |")

    def test_nothing_finished(self):
        assert speculative_text(synthetic(((), ()), ((), ()))) == "No run was finished."

    def test_record_is_plain_data(self, done):
        record = json.loads(json.dumps(done.record()))
        assert record["schema"] == "manyhands.speculative/1"
        assert [case["name"] for case in record["cases"]] == [row["case"] for row in record["summary"]] == NAMES


def test_from_python(digits):
    with pytest.raises(TypeError, match="did you mean 'thresholds'"):
        speculate(digits, threshold=(1,))
    found = speculate(digits, module=network, thresholds=(1,), lanes=(2, 3), seeds=1, epochs=1, strategy="gradient")
    assert [row.case.name for row in found.summary][1:3] == ["T=1, 2 lanes", "T=1, 3 lanes"]
    one, two = (runs_of(found, name)[0] for name in ("T=1, 2 lanes", "T=1, 3 lanes"))
    assert one["loss"] == two["loss"]
