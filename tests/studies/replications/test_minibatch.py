"""The study minibatch: every split has its runs, convergence is measured, and it goes on where it was."""

import json

import pytest

from manyhands.core.errors import SettingsError
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.runtime.terminal import Detail
from manyhands.studies.compare.request import CompareRequest
from manyhands.studies.replications import text as texts
from manyhands.studies.replications.minibatch import MINIBATCH_STRATEGIES, MinibatchStudy
from manyhands.training.spec import RunSpec

WHOLE = Detail(wide=True, explain=True)


def replication_text(found):
    return texts.replication_text(found, WHOLE)


def accuracies_text(found):
    return texts.accuracies_text(found, WHOLE)


@pytest.fixture(scope="module")
def outcome(digits):
    """A finished study minibatch."""
    request = CompareRequest(
        MINIBATCH_STRATEGIES,
        (1, 2),
        splits=3,
        spec=RunSpec(network=MLPSettings(hidden=(12,)), epochs=6, seed=5, batch=50),
    )
    return MinibatchStudy(digits, request).run()


class TestMinibatch:
    def test_every_split_has_its_runs(self, outcome):
        assert not outcome.interrupted
        seen = {(record["strategy"], record["workers"], record["split"]) for record in outcome.runs}
        cases = [("sequential", 1)] + [(name, n) for name in MINIBATCH_STRATEGIES[1:] for n in (1, 2)]
        assert seen == {(*case, split) for case in cases for split in (5, 6, 7)}
        assert len(outcome.runs) == 15
        assert all(record["seed"] == record["split"] for record in outcome.runs)

    def test_the_text_lists_the_accuracy_of_every_split(self, outcome):
        lines = replication_text(outcome).splitlines()
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
        record = json.loads(json.dumps(outcome.record(), allow_nan=False))
        assert (record["study"], record["sweep"], record["published"]) == ("minibatch", None, None)
        assert record["compare"]["settings"]["splits"] == 3

    def test_interrupted_and_resumed(self, digits, tmp_path):
        request = CompareRequest(
            MINIBATCH_STRATEGIES, (1,), splits=2, spec=RunSpec(network=MLPSettings(hidden=(4,)), epochs=2)
        )
        study = MinibatchStudy(digits, request, tmp_path / "checkpoint")

        def stage(name, part, whole):
            assert (name.partition(":")[0], whole) == ("comparison", 2 * 8 * 3 * 2)
            if len(study.outcome.runs) == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            study.run(stage)
        assert study.outcome.interrupted
        assert len(study.outcome.runs) == 2
        assert "minibatch:5epochs" in accuracies_text(study.outcome.comparison)
        kept = json.loads(json.dumps(study.outcome.record(), allow_nan=False))["compare"]["runs"]
        outcome = MinibatchStudy(digits, request, tmp_path / "checkpoint").run()
        assert json.loads(json.dumps(outcome.comparison.runs))[:2] == kept
        assert (len(outcome.runs), outcome.comparison.resumed) == (6, True)

    def test_nothing_finished_says_only_that(self, digits):
        study = MinibatchStudy(digits, CompareRequest(MINIBATCH_STRATEGIES, (1,), splits=2))
        assert study.text() == "No run was finished."


def test_without_splits(digits):
    with pytest.raises(SettingsError, match="needs a number of random splits"):
        MinibatchStudy(digits, CompareRequest())
