"""What is recorded about machine and versions."""

import importlib.metadata
import json
import platform
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import manyhands
from manyhands.records.environment import describe_environment, headline
from manyhands.runtime.hardware import cpu_model


def test_facts_are_plain_data():
    facts = describe_environment()
    assert json.loads(json.dumps(facts)) == facts


def test_facts_name_the_versions_in_use():
    facts = describe_environment()
    assert facts["manyhands"] == manyhands.__version__
    assert facts["python"] == platform.python_version()
    assert facts["packages"] == {name: importlib.metadata.version(name) for name in facts["packages"]}
    assert {"numpy", "numba", "scikit-learn", "scipy-openblas32"} <= facts["packages"].keys()


def test_own_blas_has_one_thread():
    blas = describe_environment()["blas"]
    assert blas["threads"] == 1
    assert blas["core_type"]


def test_time_is_now_with_its_zone():
    then = datetime.fromisoformat(describe_environment()["time"])
    assert abs(datetime.now(then.tzinfo) - then) < timedelta(minutes=1)
    assert then.utcoffset() == timedelta(0)


def test_only_thread_variables_that_are_set_are_recorded(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    variables = describe_environment()["variables"]
    assert variables["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in variables


def test_cpu_has_a_name_even_without_proc(monkeypatch):
    def missing(self):
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", missing)
    assert cpu_model()


@pytest.mark.parametrize(("cores", "words"), [(1, "1 usable core;"), (2, "2 usable cores;")])
def test_headline_counts_the_cores(cores, words):
    assert words in headline({**describe_environment(), "cores": cores})


def test_headline_says_what_makes_times_comparable():
    facts = describe_environment()
    line = headline(facts)
    for part in (facts["cpu"], facts["blas"]["core_type"], "threads pinned to 1", facts["packages"]["numpy"]):
        assert part in line
    assert "\n" not in line
