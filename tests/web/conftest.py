"""Servers and browsers for tests; both are real."""

import importlib.util
from pathlib import Path

import pytest

from manyhands.runtime.affinity import usable_cores

pytest.importorskip("starlette", reason="needs the packages of manyhands serve")
pytest.importorskip("uvicorn", reason="needs the packages of manyhands serve")


def _load(name):
    spec = importlib.util.spec_from_file_location(f"web_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_SERVING, _BROWSING = _load("serving"), _load("browsing")

TRAINING = {
    "data": "digits", "hidden": "25", "workers": 2, "strategy": "periodic:1epoch", "epochs": 30, "batch": 200,
    "seeds": 1, "sequential": True,
}  # fmt: skip


@pytest.fixture(scope="session")
def serving():
    """The class of servers, for tests that start their own."""
    return _SERVING.Serving


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that stores corrections, for the tests of a module."""
    folder = tmp_path_factory.mktemp("corrections")
    with _SERVING.Serving("--save-corrections", folder) as running:
        running.folder = folder
        yield running
        assert running.process.poll() is None, running.process.communicate()


@pytest.fixture
def training():
    """What a browser asks for, for a training of a moment."""
    return {**TRAINING, "workers": min(2, usable_cores())}


@pytest.fixture(scope="module")
def chromium():
    """Chromium itself, for the tests of a module: as long as Playwright runs, nothing else may run an event loop."""
    pytest.importorskip("playwright", reason="needs Playwright")
    if _BROWSING.CHROMIUM is None:
        pytest.skip("needs Debian's chromium: scripts/install_chromium.sh")
    with _BROWSING.browser() as started:
        yield started


@pytest.fixture
def visit(chromium):
    """Opens pages; at the end of the test, nothing may have gone wrong in them.

    Neither an error in a console, nor a request to anybody but the server.
    """
    pages, problems = [], []

    def opened(server, part="draw", *, width=1200, height=900, offline=False, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        page = context.new_page()
        pages.append(context)

        def note(message):
            if message.type in ("error", "warning") and not page.offline_expected:
                problems.append(f"console: {message.text}")

        def asked(request):
            if not request.url.startswith((server.url, "data:", "blob:")):
                problems.append(f"request: {request.url}")

        page.offline_expected = offline
        page.on("console", note)
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("request", asked)
        page.goto(f"{server.url}#{part}")
        page.wait_for_selector("body[data-ready][data-boot]")
        return page

    yield opened
    for context in pages:
        context.close()
    assert problems == []
