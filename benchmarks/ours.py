"""Our contestants, through the public interface: training, reading, and the limits of the hardware.

``ours.py train [OPTIONS]``, ``ours.py csv FILE``, ``ours.py idx FILE``, ``ours.py gzip FILE``, ``ours.py limits``;
each prints one JSON line.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import manyhands
from manyhands.data.csv.reader import read_csv
from manyhands.data.idx import read_idx
from manyhands.doctor.peak import multiply_add_rate

_SIDE = 2048


def train(words: list[str]) -> dict[str, Any]:
    """Train on MNIST; the clock runs from data in place to merged parameters, stopping rule included."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--validation", type=int, default=0)
    parser.add_argument("--hidden", type=lambda text: tuple(int(width) for width in text.split(",")), default=(75,))
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=75)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--team", default="threads")
    parser.add_argument("--strategy", default="sequential")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--until", type=float)
    parser.add_argument("--learner", default="mlp")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rate", type=float)
    parser.add_argument("--schedule")
    args = parser.parse_args(words)
    until = {"stop": f"accuracy:{100 * args.until:g}%", "validation": args.validation} if args.until else {}
    result = manyhands.train(
        "mnist",
        train_size=args.rows - args.validation,  # the rows behind these are the validation rows
        **({"hidden": args.hidden} if args.learner == "mlp" else {"learner": args.learner}),
        precision=args.precision,
        learning_rate=args.rate,
        schedule=args.schedule,
        batch=args.batch,
        epochs=args.epochs,
        workers=args.workers,
        team=args.team,
        strategy=args.strategy,
        seed=args.seed,
        **until,
    )
    seconds = result.seconds
    talk = seconds["distribute"] + seconds["communicate"]
    return {"seconds": seconds["train"], "epochs": len(result.losses), "accuracy": result.accuracy, "talk": talk}


def limits() -> dict[str, float]:
    """Measure what one core can do at best: multiply-adds in registers, and a matrix product by NumPy."""
    matrix = np.random.default_rng(0).random((_SIDE, _SIDE), np.float32)
    out = np.empty_like(matrix)
    seconds = _best(lambda: np.matmul(matrix, matrix, out=out), times=5)
    return {"seconds": seconds, "multiply_add": multiply_add_rate(), "product": 2 * _SIDE**3 / seconds}


def read(what: str, path: Path) -> dict[str, Any]:
    """Read a file twice; the better time counts."""
    results: list[Any] = []
    reader: Callable[[Path], Any] = {"csv": read_csv, "idx": read_idx, "gzip": _unpack}[what]
    seconds = _best(lambda: results.append(reader(path)), times=2)
    if what != "csv":
        return {"seconds": seconds}
    features, labels = results[-1]
    assert features.dtype == np.uint8
    total = int(features.sum(dtype=np.int64)) + int(labels.sum())
    return {"seconds": seconds, "rows": len(features), "total": total}


def _unpack(path: Path) -> bytes:
    with gzip.open(path) as file:
        return file.read()


def _best(action: Callable[[], Any], times: int) -> float:
    """Return the shortest of several times."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    """Measure what the command line names."""
    what, *words = sys.argv[1:]
    measure = {"train": lambda: train(words), "limits": limits}.get(what, lambda: read(what, Path(words[0])))
    print(json.dumps(measure()))


if __name__ == "__main__":
    main()
