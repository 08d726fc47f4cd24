import pytest


@pytest.fixture(autouse=True, scope="session")
def _compiled(compiled):
    """Commands print nothing but their output."""
