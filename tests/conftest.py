"""Fixtures for all tests: small data sets made here, real ones if MANYHANDS_DATA names their folder."""

import importlib.util
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from manyhands.core.samples import Samples
from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Dataset, Examples, make_dataset
from manyhands.learners import make_learner
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.teams import processes, threads
from manyhands.training.run import Runner

GROUPS = {
    "tests/training/jobs/test_client.py": "violence",
    "tests/training/jobs/test_launchers.py": "violence",
    "tests/teams/test_watchdog.py": "violence",
    "tests/teams/test_exit_hooks.py": "violence",
    "tests/teams/test_regrouping.py": "violence",
    "tests/training/jobs/test_lost_workers.py": "violence",
    "tests/training/jobs/spark/test_cluster.py": "spark",
    "tests/spark/test_classifier.py": "spark",
    "tests/training/test_contracts.py": "blobs",
    "tests/training/test_convergence.py": "blobs",
    "tests/training/test_stopping.py": "blobs",
}
"""Modules that run in the same process, one after the other, when tests run in parallel.

Those that stop and kill processes wait for each other's; those of the blobs share the jobs of `blobs_runner`. Every
other module is a group of its own, because its fixtures are made once.
"""
ROOMS = ["training/jobs", "teams", "training", "cli", "estimators", "studies", "reports", "fuzz"]
FIRST = [f"tests/{room}" for room in ROOMS]
"""Folders with long tests: they begin first, so that no process is left alone with one at the end."""


def group_of(name: str) -> str:
    """Return the group of a module, or of a test of one, by its path from the root of the project."""
    module = name.partition("::")[0]
    return GROUPS.get(module, module)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Distribute whole groups; pytest-xdist's own marks of groups do nothing with pytest 9.2."""
    from xdist.scheduler import LoadFileScheduling

    class LoadGroups(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return LoadGroups(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the groups with long tests begin first, each in one piece."""

    @cache
    def place(path: Path) -> tuple[int, str]:
        name = path.relative_to(config.rootpath)
        ranks = [rank for rank, folder in enumerate(FIRST) if name.is_relative_to(folder)]
        return min(ranks, default=len(FIRST)), group_of(name.as_posix())

    items.sort(key=lambda item: place(item.path))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with real data sets; tests that need it are skipped only where the variable is not set."""
    folder = os.environ.get("MANYHANDS_DATA")
    if folder is None:
        pytest.skip("needs real data: set MANYHANDS_DATA")
    assert Path(folder, "mnist").is_dir(), f"MANYHANDS_DATA={folder} has no mnist/"
    return Path(folder)


@pytest.fixture(scope="session")
def mnist(data_folder: Path) -> Dataset:
    """MNIST's first 6,000 images."""
    return load(DataRequest("mnist"))


@pytest.fixture(scope="session")
def compiled() -> None:
    """Compile before anybody looks at what a program prints: the first one that compiles says so."""
    for dtype in (np.uint8, np.float32, np.float64):
        rows, labels = np.zeros((1, 3), dtype), np.zeros(1, np.int32)
        scale, shift = np.ones(3), np.zeros(3)
        make_learner("mlp", MLPSettings(), 3, 2).prepare(Samples(rows, labels, scale, shift))
    for dtype in (np.float32, np.float64):
        threads.warm_up(np.dtype(dtype))
        processes.warm_up(np.dtype(dtype))


@pytest.fixture
def notices() -> Iterator[list[str]]:
    """What the library says on the side, whoever prints it, also after a command has sent that elsewhere."""
    said: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, handler = logging.getLogger("manyhands"), Kept()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield said
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture(scope="session")
def foreign() -> ModuleType:
    """The module of learners that are not the MLP."""
    path = Path(__file__).parent / "learners" / "foreign.py"
    spec = importlib.util.spec_from_file_location("foreign", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A session of a real cluster of two Workers with a core each; skipped where Spark or Java is missing."""
    pytest.importorskip("pyspark")
    path = Path(__file__).parents[1] / "scripts" / "spark_cluster.py"
    spec = importlib.util.spec_from_file_location("spark_cluster", path)
    assert spec is not None
    assert spec.loader is not None
    cluster = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cluster)
    folder = tmp_path_factory.mktemp("spark") / "cluster"
    try:
        master = cluster.up(folder)
    except cluster.ClusterError as error:
        pytest.skip(str(error))
    from manyhands.training.jobs.spark.session import session

    with pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.environment(folder).items():
            patch.setenv(name, value)
        found = session(master)
        yield found
        found.stop()
    assert cluster.down(folder) == 3
    assert not folder.exists()


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """scikit-learn's embedded digits."""
    return load(DataRequest("digits"))


@pytest.fixture(scope="session")
def blobs() -> Dataset:
    """Three separable clouds of bytes in seven dimensions: 103 training rows, so that nothing divides evenly."""
    rng = np.random.default_rng(5)
    centres = rng.integers(40, 215, (3, 7))

    def examples(rows: int) -> Examples:
        labels = np.arange(rows) % 3
        features = np.clip(centres[labels] + rng.normal(0, 15, (rows, 7)), 0, 255).astype(np.uint8)
        return Examples(features, np.array([10, 20, 30])[labels])

    return make_dataset("blobs", examples(103), examples(60))


@pytest.fixture(scope="session")
def blobs_runner(blobs: Dataset) -> Iterator[Runner]:
    """Whoever only needs a job uses this one's: it runs plans on the blobs, in MPI jobs that are started once.

    The test rows serve for validation, too: nothing is claimed about accuracy here.
    """
    with Runner(replace(blobs, validation=blobs.test)) as runner:
        yield runner


@pytest.fixture
def happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Let faults happen in what follows; returns the folder in which they are."""
    from manyhands.training import faults

    def put(*given: str) -> Path:
        folder = tmp_path / "faults"
        folder.mkdir()
        for name, value in faults.put(folder, *given).items():
            monkeypatch.setenv(name, value)
        return folder

    return put
