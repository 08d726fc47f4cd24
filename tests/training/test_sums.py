"""Learners that are made of sums: the same model for any number of workers, in any team, from memory and from parts."""

import functools
from dataclasses import replace

import numpy as np
import pytest

from manyhands.core.choices import OTHER_LEARNERS, OTHER_SUMS
from manyhands.core.errors import DataError, SettingsError
from manyhands.core.learner import Statistic
from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Examples, make_dataset
from manyhands.data.parts import sharding
from manyhands.learners import LEARNERS as LEARNERS_BY_NAME
from manyhands.learners import register
from manyhands.learners.sums.base import MadeOfSums, Pass, blocks, checked
from manyhands.learners.sums.moments import BytePass
from manyhands.learners.sums.settings import SumsSettings
from manyhands.training.loading import load_model
from manyhands.training.resolve import resolve
from manyhands.training.run import Runner, run
from manyhands.training.spec import RunSpec

LEARNERS = {
    "gaussian-nb": {},
    "multinomial-nb": {},
    "bernoulli-nb": {"binarize_at": 8.0},
    "categorical-nb": {},
    "lda": {"lda_solver": "eigen", "shrinkage": "auto"},
    "qda": {"reg_param": 0.1},
    "tree": {"max_depth": 6},
    "forest": {"n_estimators": 7, "max_depth": 5},
}
STREAMED = [name for name in LEARNERS if name not in ("tree", "forest")]
"""The others look at any row for each split."""


def as_doubles(dataset):
    """The same samples as doubles, which are not summed as whole numbers."""
    train, test = (replace(each, features=each.features.astype(float)) for each in (dataset.train, dataset.test))
    return replace(dataset, train=train, test=test)


@pytest.fixture(scope="module")
def digits():
    """scikit-learn's digits as they are stored, from 0 to 16."""
    return load(DataRequest("digits", scale="none"))


@pytest.fixture(scope="module")
def runners(digits):
    """Jobs of the same processes for all tests, one for each kind of samples."""
    with Runner(digits) as whole, Runner(as_doubles(digits)) as doubles:
        yield {"bytes": whole, "doubles": doubles}


def spec_of(learner, **settings):
    return RunSpec(learner=learner, sums=SumsSettings(**LEARNERS[learner]), seed=3, **settings)


@functools.cache
def trained(runner, learner, workers=1, team="threads"):
    return runner.run(resolve(spec_of(learner, workers=workers, team=team), runner.dataset))


def same(one, other):
    mine, theirs = one.model.learner.weights(), other.model.learner.weights()
    return mine.keys() == theirs.keys() and all(
        array.tobytes() == theirs[name].tobytes() for name, array in mine.items()
    )


@pytest.mark.parametrize("kind", ["bytes", "doubles"])
@pytest.mark.parametrize("learner", LEARNERS)
def test_any_number_of_workers_has_the_model_of_one(runners, learner, kind):
    runner = runners[kind]
    alone = trained(runner, learner)
    for workers in (2, 3, 4):
        shared = trained(runner, learner, workers)
        assert same(shared, alone)
        assert (shared.plan.strategy.name, shared.accuracy) == ("sums", alone.accuracy)
        assert shared.rounds > 0
        assert shared.bytes_sent > 0
        assert shared.losses == []
    assert (alone.rounds, alone.bytes_sent, alone.problem) == (0, 0, None)


@pytest.mark.parametrize("kind", ["bytes", "doubles"])
@pytest.mark.parametrize("learner", LEARNERS)
def test_processes_have_the_model_of_threads(runners, learner, kind):
    pytest.importorskip("mpi4py")
    threads, mpi = (trained(runners[kind], learner, 3, team) for team in ("threads", "mpi"))
    assert same(mpi, threads)
    assert (mpi.rounds, mpi.examples, mpi.steps) == (threads.rounds, threads.examples, threads.steps)
    assert mpi.accuracy == threads.accuracy


@pytest.mark.parametrize("learner", ["lda", "tree"])
def test_processes_of_pytorchs_kind_have_it_too(digits, learner):
    pytest.importorskip("torch")
    result = run(resolve(spec_of(learner, workers=2, team="torch"), digits), digits)
    assert same(result, run(resolve(spec_of(learner), digits), digits))


@pytest.mark.parametrize("learner", STREAMED)
def test_parts_that_are_streamed_give_the_model_of_samples_in_memory(digits, tmp_path, learner, monkeypatch):
    monkeypatch.setattr("manyhands.data.parts.epochs.WINDOW_BYTES", 10_000)  # many windows
    sharding.shard(digits, tmp_path / "parts", 7)
    parts = load(DataRequest(str(tmp_path / "parts"), scale="none"))
    expected = run(resolve(spec_of(learner), digits), digits)
    for workers in (1, 3):
        found = run(resolve(spec_of(learner, workers=workers), parts), parts)
        assert found.accuracy == expected.accuracy
        probabilities = [each.model.learner.predict_proba(digits.test) for each in (found, expected)]
        np.testing.assert_allclose(*probabilities, atol=1e-9)


def test_learners_that_look_at_all_rows_refuse_parts(digits, tmp_path):
    sharding.shard(digits, tmp_path / "parts", 3)
    parts = load(DataRequest(str(tmp_path / "parts")))
    with pytest.raises(SettingsError, match="tree looks at all rows for each split"):
        resolve(spec_of("tree"), parts)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"strategy": "gradient", "workers": 2}, "cannot follow gradient"),
        ({"batch": 10}, "has no batch"),
        ({"epochs": 3}, "has no epochs"),
        ({"schedule": "cosine"}, "has no schedule"),
        ({"grid": "node=2", "workers": 2}, "has no grid"),
        ({"convergence": True}, "no model before its end"),
        ({"hidden": (5,)}, "is for networks, not for gaussian-nb"),
        ({"alpha": 2.0}, "is for multinomial-nb, bernoulli-nb, categorical-nb, not for gaussian-nb"),
        ({"checkpoint": "folder"}, "no state between them"),
        ({"learner": "mlp", "alpha": 2.0}, "not for mlp"),
        ({"learner": "mlp", "strategy": "sums", "workers": 2}, "is for learners that are made of sums"),
    ],
)
def test_what_such_a_learner_does_not_have_is_refused(digits, settings, words):
    spec = RunSpec().changed(**{"learner": "gaussian-nb", **settings})
    with pytest.raises(SettingsError, match=words):
        resolve(spec, digits)


@pytest.mark.parametrize("team", ["threads", "mpi"])
def test_a_worker_that_fails_in_a_pass_ends_the_run_with_its_error(digits, monkeypatch, team, tmp_path):
    if team == "mpi":
        pytest.importorskip("mpi4py")
        (tmp_path / "sitecustomize.py").write_text(_FAILING)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    else:
        monkeypatch.setattr(BytePass, "collect", BytePass.collect)  # put back at the end
        exec(_FAILING, {})
    with pytest.raises(DataError, match="worker 1 has had enough"):
        run(resolve(spec_of("gaussian-nb", workers=3, team=team), digits), digits)


_FAILING = """
from manyhands.core.errors import DataError
from manyhands.learners import LEARNERS as LEARNERS_BY_NAME
from manyhands.learners import register
from manyhands.learners.sums.base import MadeOfSums, Pass, blocks, checked
from manyhands.learners.sums.moments import BytePass
known = BytePass.collect
def collect(self, table, share, into, control):
    if share.rank == 1 and share.size == 3:
        raise DataError("worker 1 has had enough")
    known(self, table, share, into, control)
BytePass.collect = collect
"""


def test_more_workers_than_samples_are_refused():
    rows = Examples(np.arange(12, dtype=np.uint8).reshape(4, 3), np.array([0, 1, 0, 1]))
    few = make_dataset("few", rows, rows)
    with pytest.raises(SettingsError, match="5 workers"):
        resolve(spec_of("gaussian-nb", workers=5), few)
    assert run(resolve(spec_of("gaussian-nb", workers=4), few), few).rounds == 1


class Majority(MadeOfSums):
    """A learner of a program's own, which counts classes."""

    def _first(self, table, rows):
        return Counting(self)

    def _complete(self):
        """Do nothing more."""

    def predict_proba(self, table):
        return np.tile(self.counts / self.counts.sum(), (table.rows, 1))

    def weights(self):
        return {"counts": self.counts}

    def load_weights(self, blocks):
        self.counts = checked(blocks, {"counts": (self.classes,)})["counts"]


class Counting(Pass):
    """Its only pass."""

    def __init__(self, learner):
        self.learner = learner

    def asks(self):
        return {"counts": Statistic((self.learner.classes,))}

    def collect(self, table, share, into, control):
        for rows in blocks(share, control):
            into["counts"][...] += np.bincount(table.labels[rows], minlength=self.learner.classes)

    def conclude(self, found):
        self.learner.counts = found["counts"].copy()


@pytest.fixture
def majority():
    register("majority", lambda _network, *shape, sums, **others: Majority(sums, *shape, **others), sums=True)
    yield
    del LEARNERS_BY_NAME["majority"]
    OTHER_LEARNERS.remove("majority")
    OTHER_SUMS.remove("majority")


def test_a_program_can_add_a_learner_of_its_own(digits, majority, tmp_path):
    results = [run(resolve(RunSpec(learner="majority", workers=n), digits), digits) for n in (1, 3)]
    counts = np.bincount(digits.train.labels, minlength=10)
    for result in results:
        assert result.model.learner.weights()["counts"].tolist() == counts.tolist()
    assert (results[1].plan.strategy.name, results[1].rounds) == ("sums", 1)
    results[1].save(tmp_path / "model")
    assert load_model(tmp_path / "model").learner.weights()["counts"].tolist() == counts.tolist()
