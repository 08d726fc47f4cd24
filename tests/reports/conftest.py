"""Records, and reports made of them once for all tests that only read them."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from manyhands.reports.write import write_report


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("report_records", Path(__file__).with_name("records.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_RECORDS = _load()


@pytest.fixture(scope="session")
def records():
    """The module that makes records; each call makes a new one."""
    return _RECORDS


@pytest.fixture
def unrendered(monkeypatch):
    """Figures are drawn, but their files are empty: to render them takes seconds, and not all tests look at them."""
    for form in ("png", "svg"):
        monkeypatch.setattr(f"manyhands.reports.publishing.{form}", lambda _picture: b"")


@pytest.fixture(scope="session")
def full_report(records, tmp_path_factory):
    """The page of a full study; its figures and tables lie beside it."""
    return write_report(records.w1(), tmp_path_factory.mktemp("w1") / "report")
