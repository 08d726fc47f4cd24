"""Training time by strategy and bandwidth: two MPI processes on two nodes, network namespaces with a wire between them.

    sudo make bench-network

Needs root and iproute2 (`scripts/two_nodes.py`). All strategies take turns at every bandwidth. Writes
docs/figures/bandwidth.png, and prints a table for docs/mpi.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
from two_nodes import Nodes, reason_not_to, two_nodes  # noqa: E402

RATES = ("1gbit", "100mbit", "10mbit")
STRATEGIES = (
    "gradient",
    "periodic:10",
    "periodic:10,send=int8",
    "periodic:1epoch",
    "periodic:1epoch,send=int8",
)
_COLOURS = ("#000000", "#D55E00", "#E69F00", "#0072B2", "#56B4E9")


def main() -> int:
    """Measure, print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="of each strategy at each bandwidth (default: 3)")
    parser.add_argument("--epochs", type=int, default=3, help="default: 3")
    options = parser.parse_args()
    if (why := reason_not_to()) is not None:
        print(f"error: {why}", file=sys.stderr)
        return 1
    with two_nodes() as nodes:
        found = measure(nodes, options.runs, options.epochs)
    print(table(found))
    draw(found, ROOT / "docs" / "figures" / "bandwidth.png")
    return 0


def measure(nodes: Nodes, runs: int, epochs: int) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the records of all runs, by bandwidth and strategy."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for rate in RATES:
        nodes.limit(rate)
        found[rate] = {strategy: [] for strategy in STRATEGIES}
        for _ in range(runs):
            for strategy in STRATEGIES:
                found[rate][strategy].append(train(nodes, strategy, epochs))
    return found


def train(nodes: Nodes, strategy: str, epochs: int) -> dict[str, Any]:
    """Return the record of a run on both nodes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        words = [sys.executable, "-m", "manyhands", "train", "--data", "mnist", "--team", "mpi", "--quiet"]
        nodes.mpiexec([*words, "--strategy", strategy, "--epochs", str(epochs), "--json", str(path)])
        record: dict[str, Any] = json.loads(path.read_text())
        return record


def seconds_of(runs: list[dict[str, Any]]) -> list[float]:
    """Return the training times of some runs."""
    return [run["seconds"]["train"] for run in runs]


def table(found: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    """Return the medians as Markdown, with the range of the runs, and what each worker has sent."""
    lines = [f"| strategy | sent, MB | {' | '.join(f'{rate}, s' for rate in found)} | accuracy, % |"]
    lines.append(f"| --- | ---: | {' | '.join('---:' for _ in found)} | ---: |")
    for strategy in STRATEGIES:
        runs = [found[rate][strategy] for rate in found]
        times = [seconds_of(each) for each in runs]
        cells = [f"{statistics.median(each):.2f} ({min(each):.2f}..{max(each):.2f})" for each in times]
        sent, accuracy = runs[0][0]["bytes_sent"] / 1e6, 100 * runs[0][0]["accuracy"]
        lines.append(f"| `{strategy}` | {sent:.2f} | {' | '.join(cells)} | {accuracy:.2f} |")
    return "\n".join(lines)


def draw(found: dict[str, dict[str, list[dict[str, Any]]]], path: Path) -> None:
    """Draw training time against bandwidth."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.6, 3.9), layout="constrained")
    places = range(len(found))
    for number, strategy in enumerate(STRATEGIES):
        times = [seconds_of(found[rate][strategy]) for rate in found]
        middle = [statistics.median(each) for each in times]
        ends = [[m - min(t) for m, t in zip(middle, times, strict=True)]]
        ends.append([max(t) - m for m, t in zip(middle, times, strict=True)])
        dodged = [place + 0.05 * (number - 2) for place in places]
        axes.errorbar(
            dodged, middle, yerr=ends, marker="osD^v"[number], color=_COLOURS[number], label=strategy, capsize=2
        )
    axes.set_yscale("log")
    axes.set_xticks(list(places), [rate.replace("gbit", " Gbit/s").replace("mbit", " Mbit/s") for rate in found])
    axes.set_ylabel("training time, s")
    axes.grid(alpha=0.4)
    axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
