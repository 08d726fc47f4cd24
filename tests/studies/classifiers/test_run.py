"""The study of classifiers: numbers by hand, what it refuses, and small runs that stop and go on."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import manyhands.studies.classifiers.run as module
from manyhands.core.errors import SettingsError
from manyhands.data.resplit import as_stored, head, held_out
from manyhands.learners.sums.settings import SumsSettings
from manyhands.records.runs import SECONDS
from manyhands.runtime.terminal import Detail
from manyhands.studies.classifiers.reference import FACTORIES, fitted
from manyhands.studies.classifiers.request import (
    STUDIED,
    Case,
    ClassifiersRequest,
    cases_of,
    qda_parameter,
    regularized,
    spec_of,
)
from manyhands.studies.classifiers.results import Classifiers
from manyhands.studies.classifiers.run import ClassifiersStudy, study_classifiers
from manyhands.studies.classifiers.text import classifiers_markdown, classifiers_text
from manyhands.training.resolve import resolve
from manyhands.training.spec import RunSpec

SMALL = ClassifiersRequest(("gaussian-nb", "mlp"), (1, 2), runs=3, spec=RunSpec(epochs=2))


@pytest.fixture(scope="module")
def done(digits):
    return ClassifiersStudy(digits, SMALL).run()


class TestRequest:
    def test_one_worker_comes_first_and_once(self):
        assert [case.name for case in cases_of(replace(SMALL, workers=(4, 2, 2)))] == [
            *("gaussian-nb n=1", "gaussian-nb n=4", "gaussian-nb n=2", "mlp n=1", "mlp n=4", "mlp n=2"),
        ]

    def test_each_learner_takes_the_settings_that_it_knows(self):
        sums = SumsSettings(max_depth=4, var_smoothing=0.1, lda_solver="lsqr")
        request = replace(SMALL, learners=STUDIED, spec=RunSpec(sums=sums, epochs=3, batch=50))
        spec = {name: spec_of(Case(name, 2), 7, request, {}) for name in STUDIED}
        assert (spec["tree"].sums, spec["gaussian-nb"].sums) == (
            SumsSettings(max_depth=4),
            SumsSettings(var_smoothing=0.1),
        )
        assert (spec["lda"].sums.lda_solver, spec["lda"].epochs, spec["lda"].batch) == ("lsqr", RunSpec().epochs, None)
        assert (spec["mlp"].sums, spec["mlp"].strategy, spec["mlp"].epochs) == (SumsSettings(), "auto", 3)
        assert {each.seed for each in spec.values()} == {7}

    def test_qda_is_shrunk_where_classes_have_fewer_samples_than_features(self, digits):
        few = head(digits, 300)
        assert (qda_parameter(digits), qda_parameter(few)) == ("reg_param", "shrinkage")
        request = replace(SMALL, spec=RunSpec().changed(shrinkage=0.3))
        sums = spec_of(Case("qda", 1), 0, request, regularized("shrinkage", 0.5)).sums
        assert (sums.shrinkage, sums.qda_solver, sums.reg_param) == (0.5, "eigen", 0.0)
        sums = spec_of(Case("qda", 1), 0, request, regularized("reg_param", 0.5)).sums
        assert (sums.shrinkage, sums.qda_solver, sums.reg_param) == (None, "svd", 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learners": ("gausian-nb",)}, "no learner 'gausian-nb'; did you mean 'gaussian-nb'"),
        ({"learners": ("published",)}, "no learner 'published'"),
        ({"learners": ()}, "at least one learner"),
        ({"workers": (0, 2)}, "workers must be at least 1"),
        ({"runs": 1}, "one run says nothing about how runs differ: give runs=2 or more"),
        ({"reg_params": (2.0,)}, "reg_param must be a number from 0 to 1"),
        ({"reg_params": ()}, "at least one reg_param"),
        ({"margin": 0}, "margin"),
        ({"strategy": "gradient"}, "leave strategy out"),
        ({"max_depth": 3}, "max_depth=3 is for tree, forest, and none of them is studied"),
        ({"batch": 0}, "batch"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(digits, changed, monkeypatch, changes, message):
    monkeypatch.setattr(module.Runner, "run", lambda *_a, **_k: pytest.fail("a run was started"))
    with pytest.raises(SettingsError, match=message):
        ClassifiersStudy(digits, changed(SMALL, **changes))


class TestRows:
    def test_as_stored(self, digits):
        stored = as_stored(digits)
        assert stored.scaling.name == "none"
        assert stored.train.features is digits.train.features
        assert np.array_equal(stored.test.inputs(), digits.test.features)
        assert as_stored(stored) is stored

    def test_held_out(self, digits):
        rows = held_out(digits)
        assert rows.rows + rows.test.rows == digits.rows
        assert rows.test.rows == digits.rows // 6
        assert set(rows.test.labels) == set(digits.test.labels)
        assert np.array_equal(held_out(digits).test.features, rows.test.features)


class TestReference:
    @pytest.mark.parametrize("learner", STUDIED)
    def test_every_learner_has_an_estimator_with_its_settings(self, digits, learner):
        sums = SumsSettings(
            alpha=0.5, max_depth=3, n_estimators=4, var_smoothing=0.1, reg_param=0.2, max_features="log2"
        )
        spec = replace(RunSpec(epochs=2).changed(hidden=(5,)), learner="gaussian-nb")
        plan = SimpleNamespace(
            **{**vars(resolve(replace(spec, epochs=RunSpec().epochs, network=RunSpec().network), digits)), "sums": sums}
        )
        plan.network, plan.batch, plan.epochs, plan.seed = spec.network, 20, 2, 5
        found = FACTORIES[learner](plan, 16).get_params()
        wanted = {
            "gaussian-nb": {"var_smoothing": 0.1},
            "multinomial-nb": {"alpha": 0.5},
            "bernoulli-nb": {"alpha": 0.5, "binarize": 0.0},
            "categorical-nb": {"alpha": 0.5, "min_categories": 17},
            "lda": {"solver": "svd", "tol": 1e-4},
            "qda": {"reg_param": 0.2},
            "tree": {"max_depth": 3, "max_features": "log2", "random_state": 5},
            "forest": {"n_estimators": 4, "max_depth": 3, "n_jobs": 1},
            "mlp": {"hidden_layer_sizes": (5,), "batch_size": 20, "max_iter": 2, "solver": "adam"},
        }
        assert wanted[learner].items() <= found.items()

    def test_it_has_the_inputs_of_ours(self, digits):
        plan = resolve(RunSpec(learner="gaussian-nb"), digits)
        from sklearn.naive_bayes import GaussianNB

        theirs = GaussianNB().fit(digits.train.inputs(), digits.train.labels)
        assert fitted(plan, digits).accuracy == theirs.score(digits.test.inputs(), digits.test.labels)


def made_up(times, accuracies, theirs=(), models=None):
    """An outcome whose runs, by learner and n, have these seconds and accuracies in percent, seed by seed."""
    runs = [
        {
            "learner": learner,
            "workers": workers,
            "seed": seed,
            "accuracy": accuracies[learner, workers][seed] / 100,
            "rounds": 1,
            "bytes_sent": 8,
            "seconds": {**dict.fromkeys(SECONDS, 0.0), "train": value, "compute": value / 2, "distribute": 1.0},
            "model": (models or {}).get((learner, workers), 1),
            "answers": 3,
        }
        for (learner, workers), values in times.items()
        for seed, value in enumerate(values)
    ]
    names = list(dict.fromkeys(learner for learner, _ in times))
    settings = {"data": {"name": "d"}, "learners": names, "workers": [1, 2, 4], "runs": 3, "margin": 0.25}
    return Classifiers({"cores": 2}, settings, runs=runs, references=list(theirs))


TIMES = {("lda", 1): (7.0, 9.0, 11.0), ("lda", 2): (3.0, 7.0, 7.0), ("lda", 4): (7.0, 7.0, 7.0)}
SAME = dict.fromkeys(TIMES, (90.0, 90.0, 90.0))


class TestSummary:
    def test_numbers_by_hand(self):
        one, two, four = made_up(TIMES, SAME).summary
        assert (one["speedup"], one["speedup_ci95"], one["same_model"]) == (1.0, None, None)
        assert two["train_s"] == 8.0  # with a second of distributing
        assert two["compute_s"] == 3.5
        assert two["speedup"] == 1.5  # of 8/4, 10/8 and 12/8
        assert two["speedup_ci95"] == [1.25, 2.0]
        assert two["efficiency"] == 0.75
        assert two["impact"] == pytest.approx(90 / 3.5)
        assert two["impact_with_communication"] == pytest.approx(90 / 8)
        assert (two["same_model"], two["verdict"], two["delta_pp"]) == (True, "same", 0.0)
        assert (two["oversubscribed"], four["oversubscribed"]) == (False, True)
        assert "same_answers" not in two

    def test_another_model_is_not_the_same(self):
        scores = {**SAME, ("lda", 2): (88.0, 88.1, 88.2)}
        two = made_up(TIMES, scores, models={("lda", 2): 2}).summary[1]
        assert (two["same_model"], two["verdict"]) == (False, "lower")

    def test_beside_scikit_learn(self):
        theirs = [{"learner": "lda", "seed": seed, "accuracy": 0.9, "fit_s": 16.0, "answers": 3} for seed in (0, 1, 2)]
        found = made_up(TIMES, SAME, theirs)
        two = found.summary[1]
        assert (two["sklearn_verdict"], two["same_answers"], two["times_as_fast_as_sklearn"]) == ("same", True, 2.0)
        (row,) = found.theirs
        assert (row["fit_s"], row["accuracy_mean"], row["impact"]) == (16.0, pytest.approx(0.9), pytest.approx(90 / 16))
        theirs[0]["answers"] = 4
        assert made_up(TIMES, SAME, theirs).summary[1]["same_answers"] is False

    def test_the_best_regularization_is_the_first_of_equals(self):
        found = made_up(TIMES, SAME)
        assert found.best_regularization is None
        found.tried = [{"value": value, "accuracy": score} for value, score in ((0.1, 0.8), (0.2, 0.9), (0.5, 0.9))]
        assert found.best_regularization == 0.2


class TestRuns:
    def test_all_take_turns(self, done):
        cases = [("gaussian-nb", 1), ("gaussian-nb", 2), ("mlp", 1), ("mlp", 2)]
        assert [(run["seed"], run["learner"], run["workers"]) for run in done.runs] == [
            (seed, *case) for seed in (0, 1, 2) for case in cases
        ]
        assert [(fit["learner"], fit["seed"]) for fit in done.references] == [
            (name, seed) for seed in (0, 1, 2) for name in ("gaussian-nb", "mlp")
        ]

    def test_sums_give_the_same_model_and_the_answers_of_scikit_learn(self, done):
        rows = {(row["learner"], row["workers"]): row for row in done.summary}
        assert rows["gaussian-nb", 2]["same_model"] is True
        assert rows["gaussian-nb", 1]["same_answers"] is rows["gaussian-nb", 2]["same_answers"] is True
        assert rows["mlp", 2]["same_model"] is False
        assert rows["gaussian-nb", 2]["rounds"] == 1

    def test_text(self, done, monkeypatch):
        for columns in (80, 120):
            monkeypatch.setenv("COLUMNS", str(columns))
            for detail in (Detail(), Detail(wide=True, explain=True)):
                assert max(map(len, classifiers_text(done, detail).splitlines())) <= columns
        text = classifiers_text(done)
        assert "same model  same answers" in text
        assert classifiers_markdown(done).count("| same model | same answers |") == 1

    def test_record_is_plain_data(self, done):
        record = json.loads(json.dumps(done.record()))
        assert record["schema"] == "manyhands.classifiers/1"
        assert record["runs"][0]["loss"] is record["runs"][0]["learning_rate"] is None
        assert record["settings"]["classifiers"]["mlp"]["epochs"] == 2

    def test_nothing_finished(self, digits):
        assert classifiers_text(ClassifiersStudy(digits, SMALL).outcome) == "No run was finished."

    def test_qda_is_chosen_on_samples_held_out_and_then_trained_so(self, digits, monkeypatch):
        scores, seen, trained = {0.1: 0.5, 0.5: 0.9}, [], []
        real = module.Runner.run

        def tried(plan, rows):
            seen.append((plan.sums.reg_param, rows.test.rows))
            return SimpleNamespace(accuracy=scores[plan.sums.reg_param])

        def run(self, plan, *args):
            trained.append((plan.learner, plan.sums.reg_param))
            return real(self, replace(plan, learner="gaussian-nb", sums=SumsSettings()), *args)

        monkeypatch.setattr(module, "run", tried)
        monkeypatch.setattr(module.Runner, "run", run)
        found = ClassifiersStudy(digits, ClassifiersRequest(("qda",), (1,), runs=2, reg_params=(0.1, 0.5))).run()
        assert seen == [(0.1, digits.rows // 6), (0.5, digits.rows // 6)]
        assert trained == [("qda", 0.5)] * 2
        assert [each["value"] for each in found.tried] == [0.1, 0.5]


class TestCheckpoint:
    def test_interrupted_and_resumed(self, digits, monkeypatch, tmp_path):
        real, begun = module.Runner.run, []

        def run(self, plan, *args):
            begun.append(plan)
            if len(begun) == 4:
                raise KeyboardInterrupt
            return real(self, plan, *args)

        monkeypatch.setattr(module.Runner, "run", run)
        request = replace(SMALL, learners=("gaussian-nb",))
        study = ClassifiersStudy(digits, request, tmp_path / "c")
        with pytest.raises(KeyboardInterrupt):
            study.run()
        assert [(run["workers"], run["seed"]) for run in study.outcome.runs] == [(1, 0), (2, 0), (1, 1)]
        assert "Interrupted" in study.text()
        found = ClassifiersStudy(digits, request, tmp_path / "c").run()
        assert len(begun) == 4 + 3
        assert (found.resumed, found.interrupted, len(found.runs), len(found.references)) == (True, False, 6, 3)
        more = ClassifiersStudy(digits, replace(request, runs=4), tmp_path / "c").run()
        assert (len(begun), len(more.runs)) == (4 + 3 + 2, 8)

    def test_of_other_settings_is_refused(self, digits, changed, tmp_path):
        ClassifiersStudy(digits, replace(SMALL, learners=("gaussian-nb",), runs=2), tmp_path / "c").run()
        with pytest.raises(SettingsError, match="checkpoint"):
            ClassifiersStudy(digits, changed(SMALL, var_smoothing=0.1), tmp_path / "c")

    def test_a_damaged_run_is_refused(self, digits, done):
        study, run = ClassifiersStudy(digits, SMALL), done.runs[0]
        key = {"learner": "gaussian-nb", "workers": 1, "seed": 0}
        study.check(key, run)
        with pytest.raises(ValueError, match="model"):
            study.check(key, {**run, "model": -1})
        with pytest.raises(ValueError, match="learner is gaussian-nb, and not lda"):
            study.check({**key, "learner": "lda"}, run)
        study.check({"learner": "gaussian-nb", "reference": True, "seed": 0}, done.references[0])
        study.check({"learner": "qda", "tried": 0.1}, {"parameter": "reg_param", "value": 0.1, "accuracy": 0.9})


def test_from_python(digits):
    with pytest.raises(TypeError, match="did you mean 'learners'"):
        study_classifiers(digits, learner=("lda",))
