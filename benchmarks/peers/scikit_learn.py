"""scikit-learn: MLPClassifier on all rows; with --until, one partial_fit per epoch."""

from __future__ import annotations

import json
import time
import warnings

import mnist
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits


def main() -> None:
    """Train, score, print one line."""
    args = mnist.arguments()
    (images, labels), validation, test = mnist.load(args.rows, args.validation)
    classifier = MLPClassifier(
        tuple(args.hidden),
        batch_size=args.batch,
        max_iter=args.epochs,
        n_iter_no_change=args.epochs + 1,  # its own stopping rule would end the run early
        # A generator and not a number: each partial_fit would begin the same shuffling again.
        random_state=np.random.RandomState(args.seed),
    )
    warnings.simplefilter("ignore", ConvergenceWarning)
    with threadpool_limits(args.threads):
        start = time.perf_counter()
        if args.until is None:
            classifier.fit(images, labels)
        else:
            for _ in range(args.epochs):
                classifier.partial_fit(images, labels, classes=np.arange(10))
                if classifier.score(*validation) >= args.until:
                    break
        seconds = time.perf_counter() - start
    epochs = len(classifier.loss_curve_)
    print(json.dumps({"seconds": seconds, "epochs": epochs, "accuracy": float(classifier.score(*test))}))


if __name__ == "__main__":
    main()
