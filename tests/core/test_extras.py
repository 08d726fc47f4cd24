"""What messages tell people to install is what the extras install."""

import re
import tomllib
from pathlib import Path

import pytest

from manyhands.core.errors import SettingsError
from manyhands.core.extras import _PACKAGES, install, require

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
OF_DEVELOPERS = {"dev", "test", "docs"}


def names(words):
    return {re.match(r"[\w-]+", word.strip("'"))[0] for word in words}


def test_every_extra_has_its_packages():
    declared = {extra: names(packages) for extra, packages in PROJECT["optional-dependencies"].items()}
    assert {extra: names(packages.split()) for extra, packages in _PACKAGES.items()} == {
        extra: packages for extra, packages in declared.items() if extra not in OF_DEVELOPERS
    }


def test_a_command_for_pip():
    assert install("spark") == "pip install pyspark 'pandas<3' pyarrow"


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="needs PyTorch, which is not installed: pip install torch"):
        require("torch")
