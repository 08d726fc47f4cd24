"""Fixtures of the tests of several studies."""

from dataclasses import fields, replace

import pytest

from manyhands.data.catalog import DataRequest, load


def _changed(request, **changes):
    own = {each.name for each in fields(request)}
    spec = request.spec.changed(**{name: value for name, value in changes.items() if name not in own})
    return replace(request, spec=spec, **{name: value for name, value in changes.items() if name in own})


@pytest.fixture(scope="session")
def changed():
    """The function that returns a request with other fields, those of its spec among them."""
    return _changed


@pytest.fixture(scope="session")
def rows():
    """Digits, 239 of them (a sixth) for validation."""
    return load(DataRequest("digits", validation="auto"))


@pytest.fixture
def carried_out(request, monkeypatch):
    """The plans that ``run`` of the module under test (``module`` in the test's file) really carries out."""
    module, plans = request.module.module, []
    real = module.run

    def run(plan, dataset):
        plans.append(plan)
        return real(plan, dataset)

    monkeypatch.setattr(module, "run", run)
    return plans


@pytest.fixture
def no_training(request, monkeypatch):
    """Fail when the module under test starts a training."""
    monkeypatch.setattr(request.module.module, "run", lambda *_: pytest.fail("training was started"))
