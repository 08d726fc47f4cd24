"""The benchmark: contestants in turn, each in a process of its own, medians and paired ratios with intervals.

``make bench`` writes RESULTS.md and RESULTS.json beside this file. It needs MNIST and about three minutes.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from measure import BATCH, CONTESTANTS, EPOCHS, HIDDEN

from manyhands.files import write_whole
from manyhands.studies.environment import describe_environment

ROUNDS = 9
FOLDER = Path(__file__).parent
REFERENCE = "mlp, sequential"


def peer_environment() -> dict[str, str]:
    """Give every contestant its best settings: OpenBLAS may choose its kernels by the CPU, whatever the shell says."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}


def measure() -> dict[str, list[dict[str, float]]]:
    """Let all contestants run in turn, ROUNDS times, so that a machine that drifts slows all of them."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    for number in range(-1, ROUNDS):  # the first round warms up files and compiled code, and does not count
        for name in CONTESTANTS:
            command = [sys.executable, str(FOLDER / "measure.py"), name, str(max(number, 0))]
            done = subprocess.run(command, env=peer_environment(), check=True, capture_output=True, text=True)
            if number >= 0:
                results[name].append(json.loads(done.stdout.splitlines()[-1]))
                print(f"round {number + 1}/{ROUNDS}  {name}: {results[name][-1]['seconds']:.3f} s", flush=True)
    return results


def ratio(above: list[float], below: list[float]) -> dict[str, float]:
    """Return the median of the paired ratios with a 95 % bootstrap interval."""
    return quantiles((np.array(above) / np.array(below)).tolist())


def quantiles(values: list[float]) -> dict[str, float]:
    """Return the median with a 95 % bootstrap interval."""
    pairs = np.array(values)
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(pairs, (10_000, len(pairs))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return {"median": float(np.median(pairs)), "low": float(low), "high": float(high)}


def summarize(results: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Return one row per contestant."""
    base = [record["seconds"] for record in results[REFERENCE]]
    return [
        {
            "contestant": name,
            "median_s": statistics.median(record["seconds"] for record in records),
            "ms_per_step": statistics.median(record["seconds"] for record in records) / EPOCHS / (6000 / BATCH) * 1e3,
            "accuracy": statistics.fmean(record["accuracy"] for record in records),
            "times_of_reference": ratio([record["seconds"] for record in records], base),
            "talk": quantiles([record["talk"] for record in records]) if "talk" in records[0] else None,
        }
        for name, records in results.items()
    ]


def claims(results: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the ratios that the project promises."""
    seconds = {name: [record["seconds"] for record in records] for name, records in results.items()}
    best = min(("scikit-learn, 1 thread", "scikit-learn, 2 threads"), key=lambda name: statistics.median(seconds[name]))
    parallel = seconds["mlp, 2 threads, periodic:1epoch"]
    return {
        f"{best} (its best) / mlp, sequential": ratio(seconds[best], seconds[REFERENCE]),
        f"{best} (its best) / mlp, 2 threads": ratio(seconds[best], parallel),
        "mlp, 2 threads, periodic:1epoch / mlp, sequential": ratio(parallel, seconds[REFERENCE]),
        "mlp, 2 processes, periodic:1epoch / mlp, 2 threads": ratio(
            seconds["mlp, 2 processes, periodic:1epoch"], parallel
        ),
    }


def as_text(value: dict[str, float]) -> str:
    """Return a ratio with its interval."""
    return f"{value['median']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"


def as_percent(value: dict[str, float] | None) -> str:
    """Return a share with its interval; nothing for contestants that do not talk."""
    return "" if value is None else f"{100 * value['median']:.1f} [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"


def write(results: dict[str, list[dict[str, float]]]) -> None:
    """Write RESULTS.json and RESULTS.md."""
    environment, rows, promised = describe_environment(), summarize(results), claims(results)
    record = {"environment": environment, "rows": rows, "claims": promised, "runs": results}
    write_whole(FOLDER / "RESULTS.json", (json.dumps(record, indent=1) + "\n").encode())
    packages = {**environment["packages"], "scikit-learn": importlib.metadata.version("scikit-learn")}
    lines = [
        "# Benchmark results",
        "",
        "Written by `make bench`; do not edit. Absolute times hold for this machine and hour only; quote the ratios.",
        "",
        f"- workload: MNIST's first 6,000 images, 784-{HIDDEN}-10, relu, Adam, batch {BATCH}, {EPOCHS} epochs, float32",
        f"- machine: {environment['cpu']}, {environment['cores']} usable cores, {environment['system']}",
        f"- versions: manyhands {environment['manyhands']}, Python {environment['python']}, "
        + ", ".join(f"{name} {version}" for name, version in packages.items()),
        f"- our BLAS: {environment['blas']['library']} {environment['blas']['version']}, "
        f"{environment['blas']['core_type']}, one thread per worker; scikit-learn's BLAS: as in its name, its own "
        "choice of kernels",
        f"- n = {ROUNDS} rounds, contestants in turn, each run in a process of its own; [95 % interval, bootstrap of "
        "the paired ratios]",
        "- talk: distributing the data and communicating (waiting for each other included)",
        f"- {datetime.now(UTC):%Y-%m-%d}, command: `make bench`",
        "",
        "| contestant | training, median s | ms a step | times of sequential | talk, % of training | mean accuracy % |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['contestant']} | {row['median_s']:.3f} | {row['ms_per_step']:.3f} | "
        f"{as_text(row['times_of_reference'])} | {as_percent(row['talk'])} | {100 * row['accuracy']:.2f} |"
        for row in rows
    ]
    lines += ["", "| claim | ratio |", "| --- | --- |"]
    lines += [f"| {name} | {as_text(value)} |" for name, value in promised.items()]
    write_whole(FOLDER / "RESULTS.md", ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))


if __name__ == "__main__":
    write(measure())
