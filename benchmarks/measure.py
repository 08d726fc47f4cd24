"""One measurement in a process of its own: ``python measure.py WHAT``, prints one JSON line.

Peers are written as their own documentation would: data in memory, float32, scaled to 0..1, nothing copied needlessly.
"""

from __future__ import annotations

import json
import sys
import time
import warnings

import numpy as np

import manyhands
from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Dataset

EPOCHS, BATCH, HIDDEN = 75, 200, 75  # the workload of Todorov et al. 2021: 6,000 images, 784-75-10


def scikit_learn(dataset: Dataset, threads: int, seed: int) -> dict[str, float]:
    """Time ``MLPClassifier.fit`` with its BLAS limited to ``threads``."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    inputs = (dataset.train.features / 255).astype(np.float32)
    labels = dataset.train.labels
    # Its stopping rule would end the run early; every contestant makes the same number of epochs.
    classifier = MLPClassifier(
        (HIDDEN,), batch_size=BATCH, max_iter=EPOCHS, n_iter_no_change=EPOCHS + 1, random_state=seed
    )
    with threadpool_limits(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = time.perf_counter()
        classifier.fit(inputs, labels)
        seconds = time.perf_counter() - start
    test = (dataset.test.features / 255).astype(np.float32)
    return {"seconds": seconds, "accuracy": float(classifier.score(test, dataset.test.labels))}


def ours(dataset: Dataset, strategy: str, workers: int, seed: int, team: str = "threads") -> dict[str, float]:
    """Time one of our runs (from data in place to merged parameters), and how much of it was talk."""
    network = {"hidden": (HIDDEN,), "batch": BATCH, "epochs": EPOCHS}
    result = manyhands.train(dataset, strategy=strategy, workers=workers, team=team, seed=seed, **network)
    seconds = result.seconds
    talk = (seconds["distribute"] + seconds["communicate"]) / seconds["train"]
    return {"seconds": seconds["train"], "accuracy": result.accuracy, "talk": talk}


CONTESTANTS = {
    "scikit-learn, 1 thread": lambda dataset, seed: scikit_learn(dataset, 1, seed),
    "scikit-learn, 2 threads": lambda dataset, seed: scikit_learn(dataset, 2, seed),
    "mlp, sequential": lambda dataset, seed: ours(dataset, "sequential", 1, seed),
    "mlp, 2 threads, periodic:1epoch": lambda dataset, seed: ours(dataset, "periodic:1epoch", 2, seed),
    "mlp, 2 threads, gradient": lambda dataset, seed: ours(dataset, "gradient", 2, seed),
    "mlp, 2 processes, periodic:1epoch": lambda dataset, seed: ours(dataset, "periodic:1epoch", 2, seed, "mpi"),
    "mlp, 2 processes, gradient": lambda dataset, seed: ours(dataset, "gradient", 2, seed, "mpi"),
}


def main() -> None:
    """Measure what the command line names."""
    name, seed = sys.argv[1], int(sys.argv[2])
    print(json.dumps(CONTESTANTS[name](load(DataRequest("mnist")), seed)))


if __name__ == "__main__":
    main()
