"""The same script with scikit-learn's MLPClassifier and with ours: ``fit``, timed from outside.

``estimator.py scikit-learn|manyhands [OPTIONS]``; prints one JSON line.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import mnist

HOMES = {"scikit-learn": "sklearn.neural_network", "manyhands": "manyhands"}


def main() -> None:
    """Fit, score, print one line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("library", choices=HOMES)
    parser.add_argument("--dtype", default="float64", choices=("float32", "float64"))
    parser.add_argument("--workers", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=75)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    (images, labels), _, (test_images, test_labels) = mnist.load(6000)
    images, test_images = images.astype(args.dtype), test_images.astype(args.dtype)
    own = {} if args.workers is None else {"n_workers": args.workers}
    classifier = importlib.import_module(HOMES[args.library]).MLPClassifier(
        hidden_layer_sizes=(75,),
        max_iter=args.epochs,
        n_iter_no_change=args.epochs + 1,  # its own stopping rule would end the run early
        random_state=args.seed,
        **own,
    )
    warnings.simplefilter("ignore", ConvergenceWarning)
    with threadpool_limits(args.threads):
        start = time.perf_counter()
        classifier.fit(images, labels)
        seconds = time.perf_counter() - start
    accuracy = float(np.mean(classifier.predict(test_images) == test_labels))
    print(json.dumps({"seconds": seconds, "epochs": len(classifier.loss_curve_), "accuracy": accuracy}))


if __name__ == "__main__":
    main()
