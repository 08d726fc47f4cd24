"""Compile every form of the kernel that tests use, two at a time: one at a time, in the tests, takes twice as long.

``make test`` does it while it checks form and types. What is compiled already is read from the cache.
"""

from __future__ import annotations

import itertools
import multiprocessing

import numpy as np

FORMS = list(itertools.product(("relu", "elu"), ("float32", "float64"), ("uint8", "float32", "float64")))
"""Activation (of the narrow form, or of the wide one), dtype of the network, dtype of the rows."""
UNUSED = ("float64", "float32")


def compile_form(form: tuple[str, str, str]) -> None:
    """Compile one of :data:`FORMS`."""
    from manyhands.core.samples import Samples
    from manyhands.learners import make_learner
    from manyhands.learners.mlp.settings import MLPSettings

    activation, dtype, stored = form
    rows, labels = np.zeros((1, 3), stored), np.zeros(1, np.int32)
    settings = MLPSettings((2,), activation, dtype=dtype)
    make_learner("mlp", settings, 3, 2).prepare(Samples(rows, labels, np.ones(3), np.zeros(3)))


if __name__ == "__main__":
    wanted = [form for form in reversed(FORMS) if form[1:] != UNUSED]  # the slowest first
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(compile_form, wanted, chunksize=1)
