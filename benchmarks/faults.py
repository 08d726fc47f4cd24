"""Random faults in real jobs: whether training ends by itself, with what accuracy, and what checkpoints cost.

    make bench-faults

- ``continue``: an MPI job loses a random worker at a random moment (SIGKILL, SIGSTOP, an exception) and goes on without
  it. The accuracy is compared with that of the uninterrupted run of the same seed.
- ``restart``: the same losses; the job is started again from its last checkpoint. The parameters are compared, bit for
  bit, with those of the uninterrupted run.
- ``cost``: training time with a checkpoint after every epoch, against that without, in turns.

Writes FAULTS.md, and FAULTS.json with every single run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from manyhands import RunSpec, TrainingResult
from manyhands.data.dataset import Dataset
from manyhands.records.environment import describe_environment
from manyhands.records.statistics import estimate, verdict
from manyhands.runtime.atomic_files import write_json, write_whole
from manyhands.training import faults
from manyhands.training.api import load_and_resolve
from manyhands.training.run import run

HERE = Path(__file__).parent
STRATEGIES = ("periodic:1epoch", "gradient", "slowmo:1epoch,beta=0.5", "minibatch:5epochs")
KINDS = ("kill", "stop", "fail")
MARGIN = 0.2
"""Percentage points that count as the same accuracy."""
_MOST_DELAY = 3000
"""Microseconds after a step, at most, until the fault happens: in the next step, its messages or its arithmetic."""


@dataclass(frozen=True)
class Case:
    """One loss: of which worker, how, after which of its steps, and how many microseconds later."""

    strategy: str
    workers: int
    kind: str
    seed: int
    rank: int
    step: int
    delay: int

    @property
    def fault(self) -> str:
        """As `manyhands.training.faults` has it."""
        delay = "" if self.kind == "fail" else f",{self.delay}"
        return f"{self.kind}({self.rank},{self.step}{delay})"


def cases(number: int, epochs: int, steps_per_epoch: int) -> list[Case]:
    """Return random losses, of all strategies, numbers of workers and kinds alike."""
    rng, found = random.Random(number), []
    for each in range(number):
        strategy = STRATEGIES[each % 4]
        workers, kind = (3, 4)[each // 4 % 2], KINDS[each // 8 % 3]
        step = rng.randrange(1, epochs * steps_per_epoch)
        found.append(
            Case(strategy, workers, kind, each // 24, rng.randrange(workers), step, rng.randrange(_MOST_DELAY))
        )
    return found


def spec_of(case: Case, epochs: int, **more: Any) -> RunSpec:
    """Return the settings of a run."""
    usual = {"strategy": case.strategy, "workers": case.workers, "seed": case.seed, "epochs": epochs}
    return RunSpec(**usual).changed(**more)


def trained(dataset: Dataset, spec: RunSpec) -> TrainingResult:
    """Return the result of a run."""
    plan, dataset = load_and_resolve("faults", spec, dataset)
    return run(plan, dataset)


def digest(result: TrainingResult) -> int:
    """Return a checksum of the parameters."""
    return zlib.crc32(np.ascontiguousarray(result.model.learner.parameters).view(np.uint8).data)


class Traces:
    """The processes and folders of this program's jobs, whatever other programs do on the machine.

    Processes inherit a mark in their environment; folders, those in memory among them, are noted when they are made.
    """

    def __init__(self) -> None:
        self._mark, self._made = f"run-{os.getpid()}-{random.random()}", list[str]()
        os.environ["MANYHANDS_FAULTS_MARK"] = self._mark
        usual = tempfile.mkdtemp

        def noted(*given: Any, **named: Any) -> str:
            self._made.append(usual(*given, **named))
            return self._made[-1]

        tempfile.mkdtemp = noted

    def left(self) -> list[str]:
        """Return what is still there."""
        found = [path for path in self._made if Path(path).exists()]
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                marked = self._mark.encode() in (process / "environ").read_bytes()
                if marked and int(process.name) != os.getpid():
                    found.append(f"process {process.name}")
        return found


def with_fault(dataset: Dataset, spec: RunSpec, fault: str) -> tuple[TrainingResult, float, bool]:
    """Return the result of a run in which a fault happens, its seconds, and whether the fault has happened."""
    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        os.environ |= faults.put(Path(place), fault)
        began = time.monotonic()
        try:
            result = trained(dataset, spec)
        finally:
            del os.environ[faults.VARIABLE]
        happened = all(path.name.startswith("happened-") for path in Path(place).iterdir())
    return result, time.monotonic() - began, happened


def losses(dataset: Dataset, on_loss: str, number: int, epochs: int) -> list[dict[str, Any]]:
    """Let every case happen, and compare it with its uninterrupted run."""
    steps, traces = -(-dataset.rows // 200), Traces()
    whole: dict[tuple[str, int, int], TrainingResult] = {}
    found = []
    for each, case in enumerate(cases(number, epochs, steps)):
        key = case.strategy, case.workers, case.seed
        if key not in whole:
            whole[key] = trained(dataset, spec_of(case, epochs))
        more = {"every": "1epoch", "checkpoint_cost": 1} if on_loss == "restart" else {}
        spec = spec_of(case, epochs, team="mpi", on_loss=on_loss, hang_timeout=3.0, **more)
        record: dict[str, Any] = {"case": vars(case), "fault": case.fault}
        try:
            result, seconds, happened = with_fault(dataset, spec, case.fault)
            record |= {
                "ended": True,
                "happened": happened,
                "seconds": seconds,
                "accuracy": 100 * result.accuracy,
                "whole": 100 * whole[key].accuracy,
                "same_bits": digest(result) == digest(whole[key]),
                "incidents": [incident["text"] for incident in result.incidents],
                "kinds": [incident["kind"] for incident in result.incidents],
            }
        except Exception as error:
            record |= {"ended": False, "error": f"{type(error).__name__}: {error}"}
        record["left"] = traces.left()
        found.append(record)
        print(
            f"{on_loss} {each + 1}/{number} {case.strategy} n={case.workers} {case.fault}: {summary_of(record)}",
            flush=True,
        )
    return found


def summary_of(record: dict[str, Any]) -> str:
    """Return one run in a line."""
    if not record["ended"]:
        return record["error"]
    left = f", LEFT {record['left']}" if record["left"] else ""
    same = "same bits" if record["same_bits"] else f"{record['accuracy'] - record['whole']:+.2f} points"
    return f"{same}, {record['kinds']}, {record['seconds']:.1f} s{left}"


def cost(dataset: Dataset, pairs: int, epochs: int) -> list[dict[str, Any]]:
    """Train with and without checkpoints, in turns, with one and two threads and with two processes."""
    found = []
    for team, workers in (("threads", 1), ("threads", 2), ("mpi", 2)):
        strategy = "sequential" if workers == 1 else "periodic:1epoch"
        times: dict[str, list[float]] = {"without": [], "with": []}
        written: list[int] = []
        for pair in range(pairs + 1):
            for name in ("without", "with") if pair % 2 else ("with", "without"):
                with tempfile.TemporaryDirectory(prefix="faults-") as place:
                    folder = Path(place) / "run"
                    more = {"checkpoint": folder, "every": "1epoch", "keep": 100_000} if name == "with" else {}
                    spec = RunSpec(strategy=strategy, workers=workers, team=team, epochs=epochs).changed(**more)
                    result = trained(dataset, spec)
                    if pair:  # the first pair warms up
                        times[name].append(result.seconds["train"])
                        if name == "with":
                            written.append(len(list(folder.glob("checkpoint-*"))))
        ratios = [with_ / without for with_, without in zip(times["with"], times["without"], strict=True)]
        low, high = _interval(ratios)
        found.append(
            {
                "team": team, "workers": workers, "epochs": epochs, "rows": dataset.rows, "pairs": pairs,
                "ratio": statistics.median(ratios), "interval": [low, high], "ratios": ratios,
                "train_s": statistics.median(times["without"]), "written": statistics.median(written),
            }
        )  # fmt: skip
        print(found[-1], flush=True)
    return found


def _interval(ratios: list[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of ratios."""
    found = estimate(ratios)
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def report(found: dict[str, Any]) -> str:
    """Return everything as Markdown."""
    environment = found["environment"]
    lines = [
        "# Faults",
        "",
        f"{environment['time']}, {environment['cpu']}, {environment['cores']} cores, Python {environment['python']}, "
        f"`{environment['command']}`; MNIST's first {found['rows']:,} images, 784-75-10, batch 200, {found['epochs']} "
        "epochs. Made by `make bench-faults`; every run is in FAULTS.json.",
        "",
    ]
    for name in ("continue", "restart"):
        if runs := found.get(name):
            lines += [*_losses_table(name, runs), ""]
    if found.get("cost"):
        lines += [
            "| a checkpoint after every epoch | epochs of | time with / without, 95 % | written of |",
            "| --- | --- | --- | --- |",
        ]
        for each in found["cost"]:
            low, high = each["interval"]
            lines.append(
                f"| {each['workers']} {each['team']}, {each['rows']:,} images "
                f"| {1000 * each['train_s'] / each['epochs']:.1f} ms | {each['ratio']:.3f} [{low:.3f}, {high:.3f}] "
                f"| {each['written']:.0f} of {each['epochs']} |"
            )
    return "\n".join(lines) + "\n"


def _losses_table(name: str, runs: list[dict[str, Any]]) -> list[str]:
    title = {"continue": "going on without the lost worker", "restart": "started again from the last checkpoint"}[name]
    lines = [
        f"| {title} | runs | ended by themselves | fault happened | nothing left | same bits | accuracy - whole |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    groups = [(strategy, [each for each in runs if each["case"]["strategy"] == strategy]) for strategy in STRATEGIES]
    groups += [(kind, [each for each in runs if each["case"]["kind"] == kind]) for kind in KINDS]
    for group, some in [*groups, ("**all**", runs)]:
        ended = [each for each in some if each["ended"]]
        differences = [each["accuracy"] - each["whole"] for each in ended]
        if not differences:
            continue
        mean = estimate(differences)
        words = (
            f"{mean.mean:+.3f} +- {mean.half_width:.3f}, {verdict(differences, MARGIN).word}" if mean.half_width else ""
        )
        lines.append(
            f"| {group} | {len(some)} | {len(ended)} | {sum(each['happened'] for each in ended)} | "
            f"{sum(not each['left'] for each in some)} | {sum(each['same_bits'] for each in ended)} | {words} |"
        )
    return lines


def main() -> int:
    """Let it all happen, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="PART", help="continue, restart, cost (default: all three)")
    parser.add_argument("--number", type=int, default=100, help="random losses (default: 100)")
    parser.add_argument("--epochs", type=int, default=15, help="of runs with losses (default: 15)")
    parser.add_argument("--pairs", type=int, default=9, help="of runs with and without checkpoints (default: 9)")
    options = parser.parse_args()
    what = options.what or ["continue", "restart", "cost"]
    small = RunSpec().request("mnist")
    from manyhands.data.catalog import load

    dataset = load(small)
    path = HERE / "FAULTS.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() and options.what else {}
    found |= {"environment": describe_environment(), "rows": dataset.rows, "epochs": options.epochs}
    for name in what:
        if name == "cost":
            large = load(RunSpec(train_size="all").request("mnist"))
            found[name] = cost(large, options.pairs, 15) + cost(dataset, options.pairs, 75)
        else:
            found[name] = losses(dataset, name, options.number, options.epochs)
        write_json(path, found)
    text = report(found)
    write_whole(HERE / "FAULTS.md", text.encode())
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
