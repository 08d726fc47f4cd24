"""Plans, results and model files of learners that are made of sums."""

import json

import numpy as np
import pytest

from manyhands.core.errors import ModelFileError
from manyhands.training.loading import load_model
from manyhands.training.model_file import read_file, write_file
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

SPEC = RunSpec(learner="gaussian-nb", workers=2).changed(var_smoothing=0.01)


@pytest.fixture(scope="module")
def result(digits):
    return run(resolve(SPEC, digits), digits)


@pytest.fixture
def path(result, tmp_path):
    result.save(tmp_path / "m")
    return tmp_path / "m"


@pytest.fixture
def rewritten(path):
    """The function that writes the file anew, with other parts of its description or other arrays."""

    def rewrite(description=None, tensors=None):
        before, arrays = read_file(path)
        kept = {name: text for name, text in before.items() if name not in ("sha256", "format")}
        write_file(path, {**kept, **(description or {})}, {**arrays, **(tensors or {})})
        return path

    return rewrite


class TestPlan:
    def test_it_says_what_there_is(self, digits):
        assert str(resolve(SPEC, digits)) == "sums, 2 workers (threads), gaussian-nb, var_smoothing 0.01, seed 0"
        described = resolve(SPEC, digits).facts()
        assert described["sums"] == {"var_smoothing": 0.01, "priors": None}
        assert {"network", "batch", "epochs", "schedule"}.isdisjoint(described)

    def test_auto_has_nothing_to_choose(self, digits):
        plan = resolve(SPEC.changed(strategy="auto"), digits)
        assert (plan.strategy.name, plan.chosen_by_auto) == ("sums", False)

    def test_passes(self, digits, result):
        alone = run(resolve(SPEC.changed(workers=1), digits), digits)
        assert (result.passes, alone.passes, result.rounds, alone.rounds) == (1, 1, 1, 0)
        assert run(resolve(RunSpec(epochs=1), digits), digits).passes is None
        assert "'passes'" not in repr(result)
        assert "passes 1" in repr(result)


class TestFile:
    def test_predictions_are_the_same_bits(self, result, path, digits):
        loaded = load_model(path)
        assert np.array_equal(
            loaded.predict_proba(digits.test.features), result.model.predict_proba(digits.test.features)
        )
        assert (loaded.sums, loaded.kind, loaded.network) == (SPEC.sums, "gaussian-nb", result.model.network)
        assert loaded.network == "gaussian-nb, var_smoothing 0.01"

    def test_it_has_the_settings_that_the_learner_knows_and_no_network(self, path):
        assert json.loads(read_file(path)[0]["settings"]) == {"var_smoothing": 0.01, "priors": None}

    def test_its_arrays_have_names_of_their_own(self, path):
        """Else one that is called center, say, would be taken for the scaling's."""
        assert set(read_file(path)[1]) == {"scale", "shift", "model.theta", "model.var", "model.prior"}

    def test_loaded_model_saves_the_same_file(self, path, tmp_path):
        load_model(path).save(tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == path.read_bytes()

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"hidden": [75]}, "there is no setting 'hidden' of gaussian-nb"),
            ({"max_depth": 3}, "there is no setting 'max_depth' of gaussian-nb"),
            ({"var_smoothing": -1}, "var_smoothing"),
            ({"var_smoothing": "1e-9"}, "var_smoothing"),
            ({"priors": 3}, "not iterable"),
            ([], "not a list of names"),
        ],
    )
    def test_settings_that_cannot_be(self, rewritten, settings, words):
        with pytest.raises(ModelFileError, match=words):
            load_model(rewritten({"settings": json.dumps(settings)}))

    @pytest.mark.parametrize(
        ("tensors", "words"),
        [
            ({"model.theta": np.zeros((3, 64))}, "theta is float64 of shape"),
            ({"model.var": np.full((10, 64), np.nan)}, "not finite"),
            ({"model.var": np.zeros((10, 64))}, "variances must be above 0"),
            ({"model.prior": np.zeros(10, np.float32)}, "prior is float32"),
        ],
    )
    def test_arrays_that_cannot_be(self, rewritten, tensors, words):
        with pytest.raises(ModelFileError, match=words):
            load_model(rewritten({}, tensors))
