"""A run that is resumed finds its data and its module again, whatever folder it is resumed in."""

import sys

import numpy as np
import pytest

import manyhands
from manyhands.core.errors import SettingsError

RUN = {"workers": 2, "epochs": 3, "batch": 20, "strategy": "periodic:4"}
EACH = {"every": "1epoch", "checkpoint_cost": 1}
pytestmark = pytest.mark.filterwarnings("ignore::manyhands.core.errors.TrainingWarning")


def table(path, rows, *, seed, first=True):
    """Write a table of three features, the label in the first column or in the last."""
    random = np.random.default_rng(seed)
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        file.write("kind;a;b;c\n" if first else "a;b;c;kind\n")
        for number in range(rows):
            values = ";".join(f"{value:.3f}" for value in random.normal(number % 2, 1, 3))
            kind = ("Öl", "Gas")[number % 2]
            file.write(f"{kind};{values}\n" if first else f"{values};{kind}\n")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with data, which is the present one."""
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "Daten für alle" / "one file.csv", 200, seed=1, first=False)
    table(tmp_path / "train.csv", 150, seed=2)
    table(tmp_path / "test.csv", 40, seed=3)
    (tmp_path / "elsewhere").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "source",
    [
        {"data": "Daten für alle/one file.csv", "label_column": -1},
        {"csv": "Daten für alle/one file.csv", "label_column": "kind", "delimiter": "semicolon"},
        {"train_csv": "train.csv", "test_csv": "test.csv"},
    ],
    ids=["data", "csv", "two"],
)
def test_tables_by_relative_paths(home, monkeypatch, source):
    whole = manyhands.train(**source, **RUN, checkpoint="run", **EACH)
    monkeypatch.chdir(home / "elsewhere")
    found = manyhands.train(resume=home / "run")
    assert found.model.learner.parameters.tobytes() == whole.model.learner.parameters.tobytes()
    assert (found.losses, found.accuracy) == (whole.losses, whole.accuracy)


def test_processes_know_it_too(home, monkeypatch):
    run = {"csv": "Daten für alle/one file.csv", "label_column": "kind", **RUN}
    whole = manyhands.train(**run, team="mpi", checkpoint="run", **EACH)
    monkeypatch.chdir(home / "elsewhere")
    assert manyhands.train(resume=home / "run").losses == whole.losses


def test_how_a_table_is_read_may_be_said_again_without_its_name(home):
    run = {"csv": "Daten für alle/one file.csv", **RUN}
    manyhands.train(**run, label_column="kind", checkpoint="run", **EACH)
    assert manyhands.train(resume="run", label_column=-1).incidents
    with pytest.raises((SettingsError, manyhands.ManyhandsError)):
        manyhands.train(resume="run", label_column="a")


def test_a_module_in_a_file(home, monkeypatch):
    pytest.importorskip("torch")
    (home / "own.py").write_text(
        "import torch\ndef net():\n    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), "
        "torch.nn.Linear(4, 2))\n"
    )
    source = {"train_csv": "train.csv", "test_csv": "test.csv"}
    whole = manyhands.train(**source, **RUN, module="own.py:net", checkpoint="run", **EACH)
    found = manyhands.train(resume="run", module=f"{home}/own.py:net")
    assert found.plan.module == f"{home}/own.py:net"
    assert manyhands.train(resume="run").plan.module == "own.py:net"  # as in the model file of the run itself
    monkeypatch.chdir(home / "elsewhere")
    for name in [name for name in sys.modules if name.startswith("manyhands_user_")]:
        monkeypatch.delitem(sys.modules, name)
    found = manyhands.train(resume=home / "run")
    assert found.model.learner.parameters.tobytes() == whole.model.learner.parameters.tobytes()


def net(width, layer="Tanh", **settings):
    torch = pytest.importorskip("torch")
    return torch.nn.Sequential(
        torch.nn.Linear(3, width), getattr(torch.nn, layer)(**settings), torch.nn.Linear(width, 2)
    )


def test_a_module_that_has_changed(home):
    source = {"train_csv": "train.csv", "test_csv": "test.csv"}
    made = [net(4, "LeakyReLU", negative_slope=0.1)]
    manyhands.train(**source, **RUN, module=made[0], checkpoint="run", **EACH)
    for other in (net(5, "LeakyReLU", negative_slope=0.1), net(4, "ReLU"), net(4, "LeakyReLU", negative_slope=0.2)):
        with pytest.raises(SettingsError, match="a run with another module: its layers, or what they are set to"):
            manyhands.train(resume="run", module=other)
    assert manyhands.train(resume="run", module=net(4, "LeakyReLU", negative_slope=0.1)).incidents


def test_classes_of_other_names_are_other_data(home):
    manyhands.train(train_csv="train.csv", test_csv="test.csv", **RUN, checkpoint="run", **EACH)
    for name in ("train.csv", "test.csv"):
        (home / name).write_text((home / name).read_text().replace("Gas", "Gin"))
    with pytest.raises(SettingsError, match=r"on other data: classes Gas, Öl \(now Gin, Öl\)"):
        manyhands.train(resume="run")
