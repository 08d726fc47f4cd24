"""The program of Todorov et al. (MIPRO 2021), rebuilt from its description: mpiexec -n 2 python published.py A B.

Rank 0 reads the CSV files and scatters equal shares; every process trains its own MLPClassifier on its share to the
end, from the same random_state, on raw pixels (0 to 255); rank 0 averages the weights once and scores the test rows.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
from mpi4py import MPI
from sklearn.neural_network import MLPClassifier


def read(path: str):
    """Return pixels and labels."""
    table = pd.read_csv(path, header=None).to_numpy()
    return table[:, 1:], table[:, 0]


def main() -> None:
    """Train, average, score, print one line."""
    train, test, epochs, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    comm = MPI.COMM_WORLD
    shares = None
    if comm.rank == 0:
        images, labels = read(train)
        shares = list(zip(np.array_split(images, comm.size), np.array_split(labels, comm.size), strict=True))
    images, labels = comm.scatter(shares)
    classifier = MLPClassifier((75,), batch_size=200, max_iter=epochs, random_state=seed)
    classifier.fit(images, labels)
    weights = [comm.reduce(layer) for layer in classifier.coefs_]
    biases = [comm.reduce(layer) for layer in classifier.intercepts_]
    if comm.rank == 0:
        classifier.coefs_ = [total / comm.size for total in weights]
        classifier.intercepts_ = [total / comm.size for total in biases]
        print(json.dumps({"accuracy": classifier.score(*read(test))}))


if __name__ == "__main__":
    main()
