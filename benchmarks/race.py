"""The race: contestants in turn, every run in a process of its own. ``make bench``; see README.md.

Each workload's runs are in raw/LETTER.json as soon as they are made. At the end the report is written from all that is
there: RESULTS.md, RESULTS.json and RESULTS.png.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import files
import report
import runner
from workloads import WORKLOADS, Contestant, Workload

from manyhands.core.errors import ManyhandsError
from manyhands.records.environment import describe_environment
from manyhands.runtime.atomic_files import write_json

FOLDER = Path(__file__).parent
SLOW = 40.0


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description="Race against peers; writes RESULTS.md, RESULTS.json, RESULTS.png.")
    parser.add_argument("--only", default="".join(WORKLOADS), metavar="A,D", help="only these workloads")
    parser.add_argument("--quick", action="store_true", help="one round, few epochs, into quick/: to try things")
    parser.add_argument("--report", action="store_true", help="run nothing: report what has been run")
    parser.add_argument("--peers", type=Path, default=Path(".venv-peers"), help="the peers' environment")
    args = parser.parse_args()
    args.only = re.sub(r"[\s,]", "", args.only).upper()
    if unknown := set(args.only) - set(WORKLOADS):
        parser.error(f"there is no workload {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    return args


class Race:
    """Runs workloads and keeps what they come to.

    Parameters
    ----------
    runner
        Starts the processes.
    raw
        The folder for raw runs.
    quick
        Whether one short round is enough.
    """

    def __init__(self, runner: runner.Runner, raw: Path, quick: bool) -> None:
        self._runner, self._raw, self._quick = runner, raw, quick

    def run(self, workload: Workload) -> None:
        """Let all contestants of a workload run in turn, so that a machine that drifts slows all of them."""
        print(f"\n{workload.letter}: {workload.title}", flush=True)
        epochs, rounds = (workload.quick, 1) if self._quick else (workload.epochs, workload.rounds)
        record: dict[str, Any] = {
            "workload": workload.letter,
            "quick": self._quick,
            "epochs": epochs,
            "rounds": rounds,
            "finished": False,
            "environment": describe_environment(),
            "peers": self._runner.peer_versions(),
            "threads": {one.name: self._runner.settings(one) for one in workload.contestants},
            "runs": {one.name: [] for one in workload.contestants},
            "errors": {},
        }
        if workload.warm:  # files, compiled code; not counted
            self._round(workload, record, -1, 1)
        number = 0
        while number < record["rounds"]:
            slowest = self._round(workload, record, number, epochs)
            if workload.rounds_if_slow and slowest > SLOW:
                record["rounds"] = min(record["rounds"], workload.rounds_if_slow)
            number += 1
        record["finished"] = True
        self._keep(record)

    def _round(self, workload: Workload, record: dict[str, Any], number: int, epochs: int) -> float:
        """Let everybody run once who has not failed; return the longest time that one took."""
        slowest = 0.0
        for one in workload.contestants:
            if one.name in record["errors"]:
                continue
            turn = "warm-up" if number < 0 else f"{number + 1}/{record['rounds']}"
            where = f"{workload.letter} {turn}  {one.name}"
            run = self._runner.run(one, epochs=epochs, seed=max(number, 0))
            if "error" in run:
                record["errors"][one.name] = run["error"]
                print(f"{where}: {run['error']}", flush=True)
            else:
                slowest = max(slowest, run["wall"])
                print(f"{where}: {self._said(one, run)}", flush=True)
                if number >= 0:
                    record["runs"][one.name].append({"round": number, **run})
            self._keep(record)
        return slowest

    def _said(self, one: Contestant, run: dict[str, Any]) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self._runner.settings(one).items())
        accuracy = f", {run['accuracy']:.2%}" if "accuracy" in run else ""
        others = f"; {run['others']:.1f} cores busy elsewhere" if run["others"] > report.DISTURBED else ""
        return f"{run['seconds']:.3f} s{accuracy}  ({run['wall']:.1f} s in all; {settings}{others})"

    def _keep(self, record: dict[str, Any]) -> None:
        write_json(self._raw / f"{record['workload']}.json", record)


def main() -> int:
    """Do what the command line says."""
    args = arguments()
    target = FOLDER / "quick" if args.quick else FOLDER
    raw = target / "raw"
    if not args.report:
        if set(args.only) == set(WORKLOADS):  # a race of everything begins anew
            shutil.rmtree(raw, ignore_errors=True)
        raw.mkdir(parents=True, exist_ok=True)
        if set(args.only) != set(WORKLOADS):
            restore(raw, target / "RESULTS.json")
        try:
            race(args, raw)
        except KeyboardInterrupt:
            print("\nstopped; what is finished is kept: benchmarks/race.py --report reports it", file=sys.stderr)
            return 130
    report.write(raw, target)
    return 0


def restore(raw: Path, results: Path) -> None:
    """Bring back the runs of a report whose raw runs are not here: those of other workloads stay in the next one."""
    if not results.is_file():
        return
    for letter, record in json.loads(results.read_text())["workloads"].items():
        if not (raw / f"{letter}.json").exists():
            write_json(raw / f"{letter}.json", record)


def race(args: argparse.Namespace, raw: Path) -> None:
    """Run the workloads that are asked for."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        words = files.provide(Path(folder), args.only)
        contest = Race(runner.Runner(args.peers, words, Path(folder)), raw, args.quick)
        for letter in args.only:
            contest.run(WORKLOADS[letter])
    print(f"\n{(time.monotonic() - start) / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ManyhandsError as error:
        sys.exit(f"error: {error}")
