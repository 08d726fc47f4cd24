"""Compile every form of the kernels that tests use, two at a time: one at a time, in the tests, takes twice as long.

``make test`` does it while it checks form and types. What is compiled already is read from the cache.
"""

from __future__ import annotations

import itertools
import multiprocessing

import numpy as np

FORMS = list(itertools.product(("relu", "elu"), ("float32", "float64"), ("uint8", "float32", "float64")))
"""Activation (of the narrow form, or of the wide one), dtype of the network, dtype of the rows."""
UNUSED = ("float64", "float32")
OF_SUMS = list(itertools.product(("tree", "lda", "bernoulli-nb", "categorical-nb"), ("uint8", "float32", "float64")))
"""Learner, dtype of the rows; a tree also with weights that are no whole numbers."""


def compile_form(form: tuple[str, str, str]) -> None:
    """Compile one of :data:`FORMS`."""
    from manyhands.core.samples import Samples
    from manyhands.learners import make_learner
    from manyhands.learners.mlp.settings import MLPSettings

    activation, dtype, stored = form
    rows, labels = np.zeros((1, 3), stored), np.zeros(1, np.int32)
    settings = MLPSettings((2,), activation, dtype=dtype)
    make_learner("mlp", settings, 3, 2).prepare(Samples(rows, labels, np.ones(3), np.zeros(3)))


def compile_sums(form: tuple[str, str]) -> None:
    """Compile one of :data:`OF_SUMS`."""
    from manyhands.core.samples import Samples
    from manyhands.learners import make_learner
    from manyhands.learners.mlp.settings import MLPSettings

    learner, stored = form
    labels = np.arange(8, dtype=np.int32) % 2
    table = Samples(np.zeros((8, 3), stored), labels, np.ones(3), np.zeros(3))
    weighted = table.with_arrays({"weights": np.full(8, 0.5)})
    for each in [table, weighted] if learner == "tree" else [table]:
        make_learner(learner, MLPSettings(), 3, 2).prepare(each)


def compile_one(form: tuple[str, ...]) -> None:
    """Compile a form of either kind."""
    compile_form((form[0], form[1], form[2])) if len(form) == 3 else compile_sums((form[0], form[1]))


if __name__ == "__main__":
    wanted: list[tuple[str, ...]] = [form for form in reversed(FORMS) if form[1:] != UNUSED]  # the slowest first
    wanted = [*OF_SUMS, *wanted]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(compile_one, wanted, chunksize=1)
