"""Ensemble: networks side by side answer with the mean of their logits, in training, in memory and in a file."""

from types import SimpleNamespace

import numpy as np
import pytest

import manyhands
from manyhands.core.errors import SettingsError
from manyhands.core.samples import Control, Samples
from manyhands.core.strategy import RoundContext
from manyhands.learners.mlp.learner import MLP
from manyhands.learners.mlp.settings import ACTIVATIONS, MLPSettings
from manyhands.merges.ensemble import ensemble_
from manyhands.teams.launch import launch
from manyhands.training.clock import PhaseClock
from manyhands.training.resolve import resolve
from manyhands.training.spec import RunSpec

FEATURES, CLASSES = 6, 3
HIDDEN = [(), (5,), (16,), (5, 17), (3, 2, 4)]


def random_table(rows=20):
    rng = np.random.default_rng(8)
    features = rng.normal(size=(rows, FEATURES))
    return Samples(features, np.zeros(rows, np.int32), np.full(FEATURES, 1.5), np.full(FEATURES, -0.2))


def members_of(count, hidden, **changes):
    """Return a learner, and the parameters of so many of its kind, padding included."""
    learner = MLP(MLPSettings(hidden, **{"dtype": "float64", **changes}), FEATURES, CLASSES)
    vectors = []
    for seed in range(count):
        learner.initialize(np.random.default_rng(seed))
        learner.parameters *= 3  # surer answers
        vectors.append(learner.parameters.copy())
    return learner, np.array(vectors)


def answers(learner, vectors, table):
    found = []
    for vector in vectors:
        learner.parameters[:] = vector
        found.append(learner.predict_proba(table))
    return np.array(found)


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_answer_is_the_normalized_geometric_mean(hidden, count):
    # softmax(mean z_r) = exp(mean z_r) / sum = prod p_r^(1/n) / sum: what normalizes each p_r cancels.
    learner, vectors = members_of(count, hidden)
    table = random_table()
    each = answers(learner, vectors, table)
    expected = np.exp(np.log(each).mean(axis=0))
    expected /= expected.sum(axis=1, keepdims=True)
    wide = learner.side_by_side(vectors)
    np.testing.assert_allclose(wide.predict_proba(table), expected, rtol=1e-10)
    if count > 1:  # which is neither the first member's answer nor the mean of the answers
        assert np.abs(expected - each[0]).max() > 0.05
        assert np.abs(expected - each.mean(axis=0)).max() > 0.005


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_any_activation(activation):
    learner, vectors = members_of(2, (5, 4), activation=activation)
    table = random_table()
    logs = np.log(answers(learner, vectors, table)).mean(axis=0)
    found = np.log(learner.side_by_side(vectors).predict_proba(table))
    # Logits are known up to a constant per row.
    np.testing.assert_allclose(np.diff(found), np.diff(logs), rtol=1e-9, atol=1e-12)


def test_by_hand():
    # One input, one hidden identity unit each, two classes: z = (2x, 0) and (0, 4x + 2), their mean (x, 2x + 1).
    # At x = 1 that is (1, 3): p = 1 / (1 + e^2) = 0.1192029
    learner = MLP(MLPSettings((1,), activation="identity", dtype="float64"), 1, 2)
    vectors = []
    for into, out, biases in ((1.0, [2.0, 0.0], [0.0, 0.0]), (2.0, [0.0, 2.0], [0.0, 2.0])):
        blocks = {"weights.0": [[into]], "biases.0": [0.0], "weights.1": [out], "biases.1": biases}
        learner.load_weights({name: np.array(block) for name, block in blocks.items()})
        vectors.append(learner.parameters.copy())
    wide = learner.side_by_side(np.array(vectors))
    assert wide.settings.hidden == (2,)
    blocks = wide.weights()
    assert blocks["weights.0"].tolist() == [[1.0, 2.0]]
    assert blocks["weights.1"].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert blocks["biases.1"].tolist() == [0.0, 1.0]
    table = Samples(np.ones((1, 1)), np.zeros(1, np.int32), np.ones(1), np.zeros(1))
    np.testing.assert_allclose(wide.predict_proba(table), [[0.1192029, 0.8807971]], atol=1e-7)


def test_members_do_not_touch_each_other():
    # 5 and 17 units, stored as 16 and 32; 10 and 34 in the pair, stored as 16 and 48.
    learner, vectors = members_of(2, (5, 17))
    wide = learner.side_by_side(vectors)
    assert wide.settings.hidden == (10, 34)
    middle = wide.weights()["weights.1"]
    assert not middle[:5, 17:].any()
    assert not middle[5:, :17].any()
    assert middle[:5, :17].all()
    padding = np.ones(wide.size, bool)
    for layer in range(3):
        wide.layout.weights(padding, layer)[:] = False
        wide.layout.biases(padding, layer)[:] = False
    assert padding.any()
    assert not wide.parameters[padding].any()


def test_joining_leaves_the_learner_and_its_members_alone():
    learner, vectors = members_of(3, (5,))
    before, copies = learner.state(), vectors.copy()
    learner.side_by_side(vectors)
    assert (vectors == copies).all()
    assert all(learner.state()[name].tobytes() == value.tobytes() for name, value in before.items())


@pytest.mark.parametrize("size", [2, 3])
def test_all_workers_end_with_all_members(size):
    learner, vectors = members_of(size, (5,), dtype="float32")
    stop = np.zeros(1, np.int64)

    def work(team):
        own = MLP(learner.settings, FEATURES, CLASSES, rank=team.rank)
        own.parameters[:] = vectors[team.rank]
        kept = []
        ensemble_(RoundContext(team, own, 4, 0.1, True, None, SimpleNamespace(keep_ensemble=kept.append)))
        return kept[0], own.parameters

    controls = [Control(stop, np.zeros(1, np.int64))] * size
    for members, parameters in launch("threads", [PhaseClock() for _ in range(size)], controls, work):
        assert members.dtype == np.float32
        assert members.shape == vectors.shape
        assert members.tobytes() == vectors.tobytes()
        assert parameters.tobytes() == vectors[0].tobytes()


# --- in runs -----------------------------------------------------------------------------------------------------


def train(strategy="one-shot:merge=ensemble", **changes):
    return manyhands.train("digits", strategy=strategy, **{"workers": 3, "epochs": 5, **changes})


def test_a_run_ends_with_the_workers_of_one_shot_side_by_side():
    joined, merged = (train(strategy, hidden=(8, 6)) for strategy in ("one-shot:merge=ensemble", "one-shot:merge=mean"))
    assert joined.model.settings.hidden == joined.model.learner.settings.hidden == (24, 18)
    wide, mean = joined.model.learner.weights(), merged.model.learner.weights()
    # The three members' blocks, averaged, are what one-shot ends with; the last layer has 1/3 of each already.
    first = wide["weights.0"].reshape(64, 3, 8).mean(axis=1)
    middle = np.mean([wide["weights.1"][8 * r : 8 * r + 8, 6 * r : 6 * r + 6] for r in range(3)], axis=0)
    last = wide["weights.2"].reshape(3, 6, 10).sum(axis=0)
    np.testing.assert_allclose(first, mean["weights.0"], atol=1e-6)
    np.testing.assert_allclose(wide["biases.0"].reshape(3, 8).mean(axis=0), mean["biases.0"], atol=1e-6)
    np.testing.assert_allclose(middle, mean["weights.1"], atol=1e-6)
    np.testing.assert_allclose(last, mean["weights.2"], atol=1e-6)
    np.testing.assert_allclose(wide["biases.2"], mean["biases.2"], atol=1e-6)
    assert np.abs(wide["weights.0"][:, :8] - wide["weights.0"][:, 8:16]).max() > 0.001  # they have learnt differently
    assert joined.losses == merged.losses
    assert (joined.steps, joined.examples, joined.rounds) == (merged.steps, merged.examples, 1)


def test_the_result_of_a_run(digits):
    result = train()
    assert result.model.settings.hidden == (225,)
    assert result.plan.network.hidden == (75,)
    # 10 classes are stored as 16: 64 * 240 + 240 + 240 * 16 + 16
    assert result.model.learner.parameters.shape == (19_456,)
    found = result.model.predict(digits.test.features)
    assert result.accuracy == pytest.approx(np.mean(found == digits.classes[digits.test.labels]), abs=1e-12)
    assert result.accuracy > 0.6


def test_different_starts_do_not_matter_to_an_ensemble():
    # One-shot averages them to almost nothing.
    joined, merged = (train(f"one-shot:merge={merge},starts=own", epochs=15) for merge in ("ensemble", "mean"))
    assert joined.accuracy > 0.8
    assert joined.accuracy > merged.accuracy + 0.05


@pytest.mark.parametrize("hidden", [(), (16,), (8, 6)])
def test_saved_and_loaded_it_gives_the_same_answers(tmp_path, digits, hidden):
    result = train(hidden=hidden, epochs=2)
    result.save(tmp_path / "joined.model")
    loaded = manyhands.load_model(tmp_path / "joined.model")
    assert loaded.settings.hidden == tuple(3 * width for width in hidden)
    before, after = (each.predict_proba(digits.test.features) for each in (result.model, loaded))
    assert after.tobytes() == before.tobytes()


def test_one_worker_is_one_network():
    joined, plain = train(workers=1), train("one-shot", workers=1)
    assert joined.model.settings.hidden == (75,)
    assert joined.model.learner.parameters.tobytes() == plain.model.learner.parameters.tobytes()


def test_a_run_that_ends_early_ends_with_an_ensemble_too():
    result = train(epochs=30, stop="loss:100,patience=1", hidden=(8,))
    assert len(result.losses) == 3
    assert result.model.settings.hidden == result.model.learner.settings.hidden == (24,)


def test_the_last_measurement_is_the_result_s():
    # What is measured after the last round must be what the run ends with: all three workers, not rank 0 alone.
    result = train(convergence=True)
    assert len(result.curve) == 1
    assert result.curve[-1]["accuracy"] == pytest.approx(result.accuracy, abs=1e-12)


def test_the_learner_published_has_no_ensemble(blobs):
    with pytest.raises(SettingsError, match="published"):
        resolve(RunSpec(strategy="one-shot:merge=ensemble", learner="published", workers=1), blobs)
