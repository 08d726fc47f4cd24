"""The command `export`."""

import numpy as np
import pytest

from manyhands import load_model
from manyhands.cli import main
from manyhands.training.model_file import read_file, write_file

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def model(compiled, tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "model.safetensors"
    assert main(["train", "--data", "digits", "--hidden", "9", "--epochs", "2", "--quiet", "--out", str(path)]) == 0
    return path


def test_the_file_answers_as_the_model(model, digits, tmp_path, capsys):
    target = tmp_path / "model.onnx"
    assert main(["export", str(model), str(target)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "trained on digits, 10 classes" in said
    assert "takes X, float32 of shape (N, 64)" in said
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    found, _ = session.run(None, {"X": digits.test.features.astype(np.float32)})
    np.testing.assert_allclose(found, load_model(model).predict_proba(digits.test.features), atol=1e-5)


def test_quiet(model, tmp_path, capsys):
    assert main(["export", str(model), str(tmp_path / "model.onnx"), "--quiet"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("source", "target", "status", "told"),
    [
        ("{model}", "{model}", 2, "would replace the model"),
        ("{model}", "{folder}/no/model.onnx", 1, "no/model.onnx"),
        ("{folder}/absent", "{folder}/model.onnx", 1, "there is no such file"),
    ],
)
def test_refusals(model, tmp_path, capsys, source, target, status, told):
    before = model.read_bytes()
    words = [text.format(model=model, folder=tmp_path) for text in (source, target)]
    assert main(["export", *words]) == status
    assert told in capsys.readouterr().err
    assert model.read_bytes() == before


def test_a_module_of_the_users_own(model, tmp_path, capsys):
    """It is refused before anybody asks for the module itself, which the command line cannot be given."""
    description, tensors = read_file(model)
    write_file(tmp_path / "own.safetensors", {**description, "learner": "torch"}, tensors)
    assert main(["export", str(tmp_path / "own.safetensors"), str(tmp_path / "model.onnx")]) == 2
    assert "torch.onnx.export on model.learner.module" in capsys.readouterr().err
