"""Images of CIFAR-100 and ``--shape`` from the command line."""

import pytest

from manyhands.cli import main


def call(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.mark.usefixtures("data_folder", "compiled")
def test_train_and_evaluate_coarse_labels(tmp_path, capsys):
    common = ("--data", "cifar100", "--labels", "coarse")
    assert call("train", *common, "--train-size", 500, "--epochs", 1, "--hidden", 8, "--out", tmp_path / "m") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "cifar100: 500 of 10,000 training (--train-size all for all) and 5,000 test samples of 3 x 32 x 32" in said
    assert "coarse labels" in said
    assert call("evaluate", tmp_path / "m", *common) == 0
    assert "trained on cifar100, 20" in capsys.readouterr().out
    assert call("evaluate", tmp_path / "m", "--data", "cifar100") == 1  # fine ones are none of its classes
    assert call("train", "--data", "digits", "--labels", "fine") == 2
    assert "--labels fine: only CIFAR-100" in capsys.readouterr().err


@pytest.mark.usefixtures("compiled")
def test_shape(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("".join(f"{row % 2},{row},2,3,4,5,{row}\n" for row in range(20)))
    files = ("--train-csv", path, "--test-csv", path, "--epochs", 1)
    assert call("train", *files, "--shape", "1x2x3") == 0
    assert "20 training and 20 test samples of 1 x 2 x 3, 6 features, 2 classes (0, 1), inputs" in " ".join(
        capsys.readouterr().out.split()
    )
    assert call("train", *files, "--shape", "1x2x4") == 2
    assert "--shape 1x2x4: that is 8 features, and the samples in" in capsys.readouterr().err
