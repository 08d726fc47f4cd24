"""Classifiers that are made of sums, beside scikit-learn's: time, memory and accuracy on MNIST, and a second worker.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/classifiers.py

Every fit is on the 60,000 training images as bytes, in a process of its own, with one BLAS thread; test images are for
the accuracy only. In each round, scikit-learn's estimator and ours take turns. Memory is the most that the process has
had resident: what the fit has added to what was there before it (interpreter, packages, images), and all of it. A
second worker is measured in one process, where runs with one worker and with two take turns: the training time of both,
as `manyhands train --pin` prints it (a training of some milliseconds is over before the system has moved two threads to
two cores).

Writes CLASSIFIERS.md and CLASSIFIERS.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from files import load_mnist
from intervals import Median, median, ratio

from manyhands.core.version import __version__
from manyhands.data.dataset import Dataset
from manyhands.records.environment import describe_environment
from manyhands.runtime.atomic_files import write_json, write_whole

HERE = Path(__file__).resolve().parent
CASES: dict[str, dict[str, Any]] = {
    "gaussian-nb": {"estimator": "GaussianNB", "bar": 4.0},
    "multinomial-nb": {"estimator": "MultinomialNB"},
    "bernoulli-nb": {"estimator": "BernoulliNB", "estimator_settings": {"binarize": 127}, "binarize_at": 127},
    "lda": {"estimator": "LinearDiscriminantAnalysis", "bar": 3.0},
    "qda": {
        "estimator": "QuadraticDiscriminantAnalysis",
        "bar": 2.0,
        "estimator_settings": {"reg_param": 0.5},
        "reg_param": 0.5,
    },
    "tree": {
        "estimator": "DecisionTreeClassifier",
        "bar": 5.0,
        "estimator_settings": {"max_depth": 12, "random_state": 0},
        "max_depth": 12,
    },
    "forest": {
        "estimator": "RandomForestClassifier",
        "estimator_settings": {"n_estimators": 20, "random_state": 0},
        "n_estimators": 20,
    },
}
"""What is fitted, and how many times as fast as scikit-learn's it is meant to be."""
QUICK, TIMES = 0.1, 10
"""Seconds of training up to which a second worker is also measured on so many times the images."""


def main() -> None:
    """Measure in turns, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learners", default=",".join(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turns", type=int, default=15, help="runs of one worker and of two")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    if options.child:
        print(json.dumps(child(*options.child, options)))
        return
    found: dict[str, Any] = {}
    for learner in options.learners.split(","):
        found[learner] = measured(learner, options)
        print(line(learner, found[learner]), flush=True)
    record = {"environment": describe_environment(), "rows": options.rows, "rounds": options.rounds, "learners": found}
    write_json(options.out / "CLASSIFIERS.json", record)
    write_whole(options.out / "CLASSIFIERS.md", page(record).encode())


def measured(learner: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return everything about one learner."""
    rounds = [{kind: started(kind, learner, options) for kind in ("theirs", "ours")} for _ in range(options.rounds)]
    return {"rounds": rounds, "turns": started("turns", learner, options)}


def started(kind: str, learner: str, options: argparse.Namespace) -> Any:
    """Return what a process of its own has measured."""
    command = [sys.executable, __file__, "--child", kind, learner]
    command += ["--rows", str(options.rows), "--turns", str(options.turns)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def child(kind: str, learner: str, options: argparse.Namespace) -> Any:
    """Measure in this process."""
    if kind == "turns":
        return turns(learner, options)
    (features, labels), test = images(options.rows)
    name = CASES[learner]["estimator"]
    if kind == "theirs":
        from sklearn import discriminant_analysis, ensemble, naive_bayes, tree

        homes = (discriminant_analysis, ensemble, naive_bayes, tree)
        maker = next(getattr(home, name) for home in homes if hasattr(home, name))
    else:
        import manyhands

        maker = getattr(manyhands, name)
    estimator = maker(**CASES[learner].get("estimator_settings", {}))
    few = np.random.default_rng(0).integers(0, 256, (400, 12)).astype(np.uint8)
    maker(**CASES[learner].get("estimator_settings", {})).fit(few, np.arange(400) % 10)  # compiles
    forget_peak()
    before, began = resident("VmHWM"), time.perf_counter()
    estimator.fit(features, labels)
    seconds, peak = time.perf_counter() - began, resident("VmHWM")
    added = max(peak - before, 1 << 20)  # less than a megabyte is noise
    return {"seconds": seconds, "peak": peak, "added": added, "accuracy": float(estimator.score(*test))}


def images(rows: int) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Return MNIST's training and test images, as bytes."""
    dataset = load_mnist()
    tables = dataset.train.take(slice(0, rows)), dataset.test
    found = [(table.features, table.labels) for table in tables]
    return found[0], found[1]


def turns(learner: str, options: argparse.Namespace) -> dict[str, list[float]]:
    """Return the training times of runs with one worker and with two, which take turns.

    Of a training of some milliseconds, also on ten times the images: what two threads need to begin and to meet is then
    a smaller part.
    """
    from manyhands.data.catalog import DataRequest, load
    from manyhands.data.dataset import Examples, make_dataset

    dataset = load(DataRequest("mnist", train_size=options.rows, scale="none"))
    times = in_turns(learner, options, dataset)
    if np.median(times["1"]) < QUICK:
        train, test = dataset.train, dataset.test
        many = Examples(np.tile(train.features, (TIMES, 1)), np.tile(train.labels, TIMES))
        more = make_dataset("many", many, Examples(test.features, test.labels), scale="none")
        times |= {f"{n} on more": each for n, each in in_turns(learner, options, more).items()}
    return times


def in_turns(learner: str, options: argparse.Namespace, dataset: Dataset) -> dict[str, list[float]]:
    """Return the training times on a data set."""
    from manyhands.training.resolve import resolve
    from manyhands.training.run import run
    from manyhands.training.spec import RunSpec

    given = {name: value for name, value in CASES[learner].items() if name not in ("estimator", "bar")}
    given.pop("estimator_settings", None)
    plans = {n: resolve(RunSpec().changed(learner=learner, workers=n, pin=True, **given), dataset) for n in (1, 2)}
    times: dict[str, list[float]] = {"1": [], "2": []}
    for turn in range(-1, options.turns):
        for n, plan in plans.items():
            seconds = run(plan, dataset).seconds["train"]
            if turn >= 0:
                times[str(n)].append(seconds)
    return times


def forget_peak() -> None:
    """Let the peak of this process begin anew, where the system allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def resident(name: str) -> int:
    """Return the resident memory of this process, in bytes: now (VmRSS), or the most that it has had (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(each.split()[1]) << 10 for each in lines if each.startswith(name))


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """Return medians: speed and memory as ratios, efficiency, accuracies."""
    pairs = dict.fromkeys(("theirs", "ours"), found["rounds"])

    def by_round(kind: str, what: str) -> dict[int, float]:
        return {number: each[kind][what] for number, each in enumerate(pairs[kind])}

    def efficiency(*names: str) -> Median:
        one, two = (dict(enumerate(found["turns"][name])) for name in names)
        return median({number: each / 2 for number, each in ratio(one, two).items()})

    more = ("1 on more", "2 on more")
    return {
        "efficiency": efficiency("1", "2"),
        "more": efficiency(*more) if more[0] in found["turns"] else None,
        "speed": median(ratio(by_round("theirs", "seconds"), by_round("ours", "seconds"))),
        "added": median(ratio(by_round("ours", "added"), by_round("theirs", "added"))),
        "memory": median(ratio(by_round("ours", "peak"), by_round("theirs", "peak"))),
        "accuracy": [found["rounds"][0][kind]["accuracy"] for kind in ("ours", "theirs")],
    }


def line(learner: str, found: dict[str, Any]) -> str:
    """Return a learner's figures for the terminal."""
    known = figures(found)
    ours, theirs = known["accuracy"]
    return (
        f"{learner:15} {known['speed'].text(1)} times as fast, {known['added'].text()} of what a fit adds to memory "
        f"({known['memory'].text()} of all), efficiency of two workers {efficiency_text(known)}, accuracy "
        f"{100 * ours:.2f} % (theirs {100 * theirs:.2f} %)"
    )


def page(record: dict[str, Any]) -> str:
    """Return the results as a page."""
    environment = record["environment"]
    rows = [cells(learner, found) for learner, found in record["learners"].items()]
    head = ["learner", "times as fast as scikit-learn", "bar", "added memory", "whole memory", "efficiency, n = 2"]
    head += ["accuracy %", "theirs %"]
    lines = [f"| {' | '.join(each)} |" for each in (head, ["---"] * len(head), *rows)]
    cpu = environment.get("cpu", {})
    return "\n".join(
        [
            "# Classifiers that are made of sums, beside scikit-learn's",
            "",
            f"MNIST, {record['rows']:,} training images as bytes, one BLAS thread. Written by "
            f"`benchmarks/classifiers.py` with Manyhands {__version__}, n = {record['rounds']} rounds for time and "
            "memory; medians with 95 % intervals (bootstrap). Memory is ours over theirs: what a fit adds to the "
            "process (bar: at most 0.5), and all of the process. Efficiency is of training times, pinned to cores, "
            f"{len(next(iter(record['learners'].values()))['turns']['1'])} pairs (bar: 0.85).",
            "",
            f"Machine: {cpu if isinstance(cpu, str) else json.dumps(cpu)}",
            "",
            *lines,
            "",
        ]
    )


def cells(learner: str, found: dict[str, Any]) -> Sequence[str]:
    """Return a line of the table."""
    known = figures(found)
    bar = CASES[learner].get("bar")
    speed: Median = known["speed"]
    ours, theirs = (f"{100 * each:.2f}" for each in known["accuracy"])
    met = "" if bar is None else f"{bar:g}: {'yes' if speed.value >= bar else 'no'}"
    memory = known["added"].text(), known["memory"].text()
    return learner, speed.text(1), met, *memory, efficiency_text(known), ours, theirs


def efficiency_text(known: dict[str, Any]) -> str:
    """Return the efficiency of two workers, also on more images where that was measured."""
    more = known["more"]
    return known["efficiency"].text() + ("" if more is None else f"; on {TIMES} times the images {more.text()}")


if __name__ == "__main__":
    main()
