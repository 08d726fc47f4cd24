"""Exported models give other programs the probabilities and labels that they give here: onnxruntime's agree to 1e-5."""

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest

import manyhands
from manyhands.core.choices import ACTIVATIONS, LOSSES, NETWORKS
from manyhands.core.errors import DataError, OutputError, SettingsError
from manyhands.data.dataset import Examples, make_dataset
from manyhands.data.scaling import Scaling, make_scaling
from manyhands.exporting import onnx_file
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.training.model import TrainedModel

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
TOLERANCE = 1e-5
LEARNED = {"hidden": (6,), "epochs": 20, "batch": 20, "learning_rate": 0.02}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def answers(tmp_path):
    """Export a model, check the file, and return what onnxruntime answers to stored values, beside its session."""

    def ask(model, values):
        path = tmp_path / "model.onnx"
        manyhands.export_onnx(model, path)
        onnx.checker.check_model(str(path), full_check=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64}[session.get_inputs()[0].type]
        shape = session.get_inputs()[0].shape[1:]
        return *session.run(None, {"X": values.reshape(len(values), *shape).astype(dtype)}), session

    return ask


def check(model, values, answers):
    """Compare with the model's own answers to the same values; return onnxruntime's session."""
    probabilities, labels, session = answers(model, values)
    expected = model.predict_proba(values)
    assert np.ptp(expected, axis=0).max() > 0.05
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=TOLERANCE)
    order = np.sort(expected, axis=1)
    clear = order[:, -1] - order[:, -2] > 2 * TOLERANCE
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(labels[clear], model.predict(values)[clear])
    return session


def of_digits(digits, **settings):
    return manyhands.train(digits, **{"hidden": (12, 9), "epochs": 3, "learning_rate": 0.02, **settings}).model


def table(rng, rows=120):
    """Floating-point rows of three classes, far from zero and of different widths."""
    labels = np.arange(rows) % 3
    return rng.normal(labels[:, None], 1, (rows, 4)) * [1, 100, 1e-3, 1] + [50, -1e4, 0, 5], labels


def dataset(values, labels, **settings):
    return make_dataset("table", Examples(values, labels), Examples(values, labels), **settings)


class TestPerceptrons:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("activation", ACTIVATIONS)
    def test_activations(self, digits, answers, activation, dtype):
        session = check(of_digits(digits, activation=activation, dtype=dtype), digits.test.features, answers)
        assert session.get_inputs()[0].type == ("tensor(float)" if dtype == "float32" else "tensor(double)")

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("loss", LOSSES)
    def test_losses(self, digits, answers, loss, dtype):
        check(of_digits(digits, loss=loss, dtype=dtype, epochs=6, learning_rate=0.002), digits.test.features, answers)

    def test_rows_whose_outputs_are_all_zero_have_equal_shares(self, digits, answers):
        model = of_digits(digits, loss="squared_error", hidden=())
        model.learner.load_weights({name: -abs(block) for name, block in model.learner.weights().items()})
        probabilities, labels, _ = answers(model, digits.test.features)
        np.testing.assert_allclose(probabilities, 0.1)
        np.testing.assert_allclose(model.predict_proba(digits.test.features), 0.1)
        np.testing.assert_array_equal(labels, model.predict(digits.test.features))

    def test_learner_of_scikit_learn(self, digits, answers):
        check(of_digits(digits, learner="published", strategy="one-shot"), digits.test.features, answers)

    def test_ensemble(self, digits, answers):
        model = of_digits(digits, strategy="one-shot:merge=ensemble", workers=2)
        assert model.settings.hidden == (24, 18)
        check(model, digits.test.features, answers)


class TestScaling:
    @pytest.mark.parametrize("scale", ["255", "standard", "none"])
    def test_of_bytes(self, digits, answers, scale):
        examples = Examples(digits.train.features, digits.train.labels)
        data = make_dataset("digits", examples, examples, scale=scale)
        check(of_digits(data, epochs=15, learning_rate=0.004), digits.test.features, answers)

    @pytest.mark.parametrize("threshold", [8, 7.5])
    def test_threshold(self, digits, answers, threshold):
        examples = Examples(digits.train.features, digits.train.labels)
        model = of_digits(make_dataset("digits", examples, examples, binarize=threshold))
        assert model.scaling.threshold == threshold
        check(model, digits.test.features, answers)

    def test_center(self, rng, answers):
        values, labels = table(rng)
        model = manyhands.train(dataset(values.astype(np.float32), labels), **LEARNED).model
        assert model.scaling.center is not None
        check(model, values.astype(np.float32), answers)

    @pytest.mark.parametrize(("far", "kind"), [(1e3, "tensor(double)"), (10, "tensor(float)")])
    def test_features_far_from_zero_are_taken_in_double_precision(self, rng, answers, far, kind):
        values, labels = table(rng)
        values[:, 3] += far * values[:, 3].std()
        model = manyhands.train(dataset(values - [0, -1e4, 0, 0], labels), **LEARNED).model
        session = check(model, values - [0, -1e4, 0, 0], answers)
        assert session.get_inputs()[0].type == kind


class TestLabels:
    @pytest.mark.parametrize(
        ("labels", "kind"),
        [
            (np.array(["zero", "eins", "zwölf"]), "tensor(string)"),
            (np.array([3, 1, 7], np.uint8), "tensor(int64)"),
            (np.array([2**64 - 1, 1, 7], np.uint64), "tensor(uint64)"),
            (np.array([0.5, 1.5, -1], np.float32), "tensor(double)"),
        ],
    )
    def test_they_come_out(self, rng, answers, labels, kind):
        values, numbers = table(rng)
        model = manyhands.train(dataset(values, labels[numbers]), **LEARNED).model
        assert len(set(model.predict(values).tolist())) == 3
        session = check(model, values, answers)
        assert session.get_outputs()[1].type == kind
        assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == sorted(labels.tolist())

    def test_truth_values(self, rng, answers):
        values, numbers = table(rng)
        check(manyhands.train(dataset(values, numbers > 0), **LEARNED).model, values, answers)

    def test_no_unicode(self, rng, tmp_path):
        values, numbers = table(rng)
        model = manyhands.train(dataset(values, np.array(["a", "b", "\udc80"])[numbers]), hidden=(6,), epochs=1).model
        with pytest.raises(DataError, match=r"class '\\udc80'.*rename"):
            manyhands.export_onnx(model, tmp_path / "model.onnx")
        assert list(tmp_path.iterdir()) == []


def network(name, rng, shape, classes=4):
    """A network for images whose random logits are as large for every class, with statistics of its images."""
    torch = pytest.importorskip("torch")
    from manyhands.learners import make_learner
    from manyhands.learners.torch.settings import TorchSettings

    features, settings = int(np.prod(shape)), MLPSettings()
    options = {"sample_shape": shape, "torch": TorchSettings(precision="float32")}
    learner = make_learner(name, settings, features, classes, **options)
    learner.initialize(rng)
    images = torch.from_numpy(noise(rng, shape).astype(np.float32)) / 255
    with torch.no_grad():
        for module in learner.module.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.uniform_(module.bias, -0.5, 0.5)
        for _ in range(10):
            learner.module.train()(images)
        logits, last = learner.module.eval()(images), learner.module[-1]
        last.weight /= logits.std(dim=0)[:, None]
        last.bias.copy_((last.bias - logits.mean(dim=0)) / logits.std(dim=0))
    learner.load_weights({f"module.{key}": each.numpy() for key, each in learner.module.state_dict().items()})
    scaling = make_scaling("255", np.zeros((1, features), np.uint8))
    return TrainedModel(learner, settings, scaling, np.arange(classes), "noise", kind=name, sample_shape=shape)


def noise(rng, shape, rows=40):
    """Images of random patches."""
    channels, height, width = shape
    patches = rng.integers(0, 256, (rows, channels, -(-height // 7), -(-width // 7)))
    return np.kron(patches, np.ones((7, 7)))[..., :height, :width].astype(np.uint8)


class TestNetworksForImages:
    SHAPE = (3, 16, 14)

    @pytest.mark.parametrize("name", NETWORKS)
    def test_each(self, rng, answers, name):
        session = check(network(name, rng, self.SHAPE), noise(rng, self.SHAPE), answers)
        assert session.get_inputs()[0].shape == ["N", *self.SHAPE]

    def test_standardized_pixels(self, rng, answers):
        images = noise(rng, self.SHAPE)
        for dtype in (np.uint8, np.float64):  # without a center, and with one
            scaling = make_scaling("standard", images.reshape(len(images), -1).astype(dtype))
            check(replace(network("cnn-fast", rng, self.SHAPE), scaling=scaling), images.astype(dtype), answers)

    @pytest.mark.parametrize("name", ["cnn-small", "cnn-deep", "resnet-small"])
    def test_ensemble(self, rng, answers, name):
        model = network(name, rng, self.SHAPE)
        members = model.learner.parameters * rng.uniform(0.8, 1.2, (3, 1)).astype(np.float32)
        joined = replace(model, learner=model.learner.side_by_side(members))
        check(replace(joined, learner=joined.learner), noise(rng, self.SHAPE), answers)

    def test_unknown_layers_and_options_are_named(self, rng, tmp_path):
        torch = pytest.importorskip("torch")
        model = network("cnn-fast", rng, self.SHAPE)
        for layer, told in (
            (torch.nn.Softplus(), r"module\.2 \(Softplus.*layers of this kind"),
            (torch.nn.MaxPool2d(2, ceil_mode=True), r"module\.2 \(MaxPool2d.*one of its options"),
            (torch.nn.BatchNorm2d(24, affine=False), r"module\.2 \(BatchNorm2d.*one of its options"),
            (torch.nn.Flatten(2), r"module\.2 \(Flatten.*one of its options"),
            (torch.nn.AdaptiveAvgPool2d(2), r"module\.2 \(AdaptiveAvgPool2d.*one of its options"),
            (torch.nn.Conv2d(24, 24, 3, padding="same"), r"module\.2 \(Conv2d.*one of its options"),
        ):
            model.learner.module[2] = layer
            with pytest.raises(SettingsError, match=told):
                manyhands.export_onnx(model, tmp_path / "model.onnx")


class TestFile:
    def test_it_says_what_it_is(self, digits, answers):
        named = replace(of_digits(digits), feature_names=tuple(f"pixel {each}" for each in range(64)))
        session = answers(named, digits.test.features)[-1]
        said = session.get_modelmeta().custom_metadata_map
        assert {**said, "features": "", "classes": json.loads(said["classes"])} == {
            "manyhands_version": manyhands.__version__,
            "learner": "mlp",
            "trained_on": "digits",
            "classes": list(range(10)),
            "scaling": "x / 16",
            "features": "",
        }
        assert json.loads(said["features"]) == list(named.feature_names)

    def test_it_is_the_same_for_the_same_model(self, digits, tmp_path):
        model = of_digits(digits)
        for name in "ab":
            manyhands.export_onnx(model, tmp_path / name)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_programs_of_the_last_years_can_read_it(self, digits, tmp_path):
        manyhands.export_onnx(of_digits(digits), tmp_path / "model.onnx")
        found = onnx.load(tmp_path / "model.onnx")
        assert (found.ir_version, [each.version for each in found.opset_import]) == (8, [17])

    def test_too_large(self, digits, tmp_path, monkeypatch):
        monkeypatch.setattr(onnx_file, "_LARGEST", 1000)
        with pytest.raises(OutputError, match="at most 2 GiB"):
            manyhands.export_onnx(of_digits(digits), tmp_path / "model.onnx")
        assert list(tmp_path.iterdir()) == []

    def test_without_the_package(self, digits, tmp_path, monkeypatch):
        found = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else found(name))
        with pytest.raises(SettingsError, match=r"needs onnx.*pip install onnx"):
            manyhands.export_onnx(of_digits(digits), tmp_path / "model.onnx")

    @pytest.mark.parametrize(
        ("kind", "advice"), [("torch", r"torch\.onnx\.export on model\.learner\.module"), ("theirs", "mlp, published")]
    )
    def test_other_learners(self, digits, tmp_path, kind, advice):
        with pytest.raises(SettingsError, match=f"the learner {kind} cannot be exported.*{advice}"):
            manyhands.export_onnx(replace(of_digits(digits), kind=kind), tmp_path / "model.onnx")
        assert list(tmp_path.iterdir()) == []


def test_a_scaling_with_one_constant_feature_is_not_coarse():
    scaling = Scaling("standard", np.array([0.0, 1.0]), np.zeros(2), center=np.array([0.0, 2.0]))
    assert onnx_file.stored_dtype(scaling, np.float32) == np.float32
