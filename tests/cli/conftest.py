import pytest


@pytest.fixture(autouse=True, scope="session")
def _compiled(compiled):
    """Commands print nothing but their output."""


@pytest.fixture(autouse=True, scope="module")
def _idle():
    """Other work on this machine is no news, except for the tests about it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("manyhands.runtime.hardware._others_running", lambda _root: 0)
        yield
