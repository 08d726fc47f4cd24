"""Rows in a mapped file: a fit reads them where they are."""

import tracemalloc

import numpy as np
import pytest

import manyhands


@pytest.fixture(params=["float32", "uint8"])
def mapped(request, tmp_path):
    """A mapped array of some megabytes that cannot be written, and its labels."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 200, (20_000, 300)).astype(request.param)
    np.save(tmp_path / "rows.npy", values)
    return np.load(tmp_path / "rows.npy", mmap_mode="r"), (values[:, 0] > 100).astype(np.int64)


@pytest.mark.filterwarnings("ignore")
def test_a_fit_copies_nothing(mapped):
    values, labels = mapped
    settings = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}
    manyhands.MLPClassifier(**settings).fit(values[:300], labels[:300])  # what is imported and compiled
    tracemalloc.start()
    found = manyhands.MLPClassifier(**settings).fit(values, labels)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < values.nbytes / 1.5
    assert most < 5e6
    copied = manyhands.MLPClassifier(**settings).fit(np.array(values), labels)
    assert all((a == b).all() for a, b in zip(found.coefs_, copied.coefs_, strict=True))
    assert not values.flags.writeable
