"""Data in parts: memory and speed of training on more rows than should be in memory.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/parts.py

A set of 4 GB is made from MNIST by repetition and noise, in a temporary folder, and removed at the end. Every
measurement is a process of its own:

- ``memory``: the same rows in memory; examples per second from the second epoch on.
- ``threads``, ``mpi``: the parts, with two workers; examples per second of the first epoch, whose files are not in the
  page cache, and from the second on; the largest resident memory of every process, as the system counts it.
- ``reading``: the files alone, read one after the other by as many threads as there are workers, not from the cache.

Writes PARTS.json, if ``--out`` says where.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from manyhands.core.callbacks import EventFunction
from manyhands.core.events import EpochEnded, Event
from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Dataset
from manyhands.data.parts import sharding
from manyhands.records.environment import describe_environment
from manyhands.runtime.atomic_files import write_json

PARTS, NOISE = 64, 8
MEMORY_BAR, SPEED_BAR, COLD_BAR = 600, 0.85, 0.7
_AT_ONCE = 10_000
_LOOK_SECONDS = 0.02


def main() -> None:
    """Make the set, measure in turns, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=4096)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--hidden", default="75")
    parser.add_argument("--strategy", default="periodic:1epoch")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options, *options.child)
        return
    with tempfile.TemporaryDirectory(prefix="manyhands-parts-", dir=options.folder) as folder:
        path = Path(folder, "set")
        began = time.perf_counter()
        rows = make(path, options.megabytes)
        made = time.perf_counter() - began
        print(f"made        {rows:,} rows in {PARTS} parts, {made:.0f} s", flush=True)
        began = time.perf_counter()
        load(DataRequest(str(path)))
        verified = time.perf_counter() - began
        print(f"verified    {verified:.1f} s, the first time", flush=True)
        found = {"reading": reading(path, rows, options.workers)}
        print(f"reading     {found['reading']['rate']:,.0f} rows/s alone", flush=True)
        for kind in ("threads", "mpi", "memory"):
            found[kind] = measured(kind, path, options)
            print(text(kind, found), flush=True)
    record = {
        "environment": describe_environment(),
        "rows": rows,
        "made_s": made,
        "verified_s": verified,
        "settings": {name: str(value) for name, value in vars(options).items()},
        **found,
    }
    if options.out:
        write_json(options.out, record)


def make(path: Path, megabytes: int) -> int:
    """Write noisy copies of MNIST as parts; return the number of training rows."""
    source = load(DataRequest("mnist", train_size="all", scale="none"))
    rows = max(megabytes * (1 << 20) // source.features, source.rows)
    sharding.shard(Repeated(source, rows), path, PARTS)
    return rows


class Repeated(Dataset):
    """A data set repeated with noise up to so many rows, which are made block by block."""

    def __init__(self, source: Dataset, rows: int) -> None:
        super().__init__(
            *(source.name, source.train, source.test, source.classes, source.scaling),
            note=source.note,
            all_rows=rows,
        )

    def stored_rows(self, role: str) -> Iterator[tuple[Any, Any]]:
        """Yield the rows that are to be written."""
        if role == "test":
            yield self.test.features, self.test.labels
            return
        rng = np.random.default_rng(0)
        for begin in range(0, self.rows, _AT_ONCE):
            taken = np.arange(begin, min(begin + _AT_ONCE, self.rows)) % self.train.rows
            features = self.train.features[taken].astype(np.int16)
            ink = features > 0  # the margins stay empty, as they are in MNIST
            features += rng.integers(-NOISE, NOISE + 1, features.shape, np.int16) * ink
            yield np.clip(features, 0, 255).astype(np.uint8), self.train.labels[taken]


def forget(path: Path) -> None:
    """Take the files out of the page cache: all of it, if this user may, else these files'."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError:
        for each in path.iterdir():
            with open(each, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def reading(path: Path, rows: int, workers: int) -> dict[str, float]:
    """Return the rows per second of reading all files once, not from the cache."""
    forget(path)
    files = sorted(path.glob("train-*-features.npy"))
    began = time.perf_counter()

    def read(own: list[Path]) -> None:
        buffer = bytearray(1 << 20)
        for each in own:
            with open(each, "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass

    threads = [threading.Thread(target=read, args=(files[rank::workers],)) for rank in range(workers)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "rate": rows / seconds}


def measured(kind: str, path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return what a training in a process of its own came to, and the memory of it and of all that it has started."""
    forget(path)
    command = [sys.executable, __file__, "--child", kind, str(path)]
    for name in ("epochs", "workers", "hidden", "strategy"):
        command += [f"--{name}", str(getattr(options, name))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peaks: dict[int, int] = {}
        while process.poll() is None:
            for pid in family(process.pid):
                peaks[pid] = max(peaks.get(pid, 0), peak_of(pid))
            time.sleep(_LOOK_SECONDS)
        assert process.stdout is not None
        said = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"the measurement {kind} has failed")
    return {
        **json.loads(said.splitlines()[-1]),
        "peak_mb": sorted((peak >> 20 for peak in peaks.values()), reverse=True),
    }


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    found, place = [pid], 0
    while place < len(found):
        for children in Path(f"/proc/{found[place]}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue
        place += 1
    return found


def peak_of(pid: int) -> int:
    """Return the most resident memory that a process has had, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)


def child(options: argparse.Namespace, kind: str, path: str) -> None:
    """Train, and print what came of it."""
    import manyhands

    ends: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.rank == 0:
            ends.append(event.train_s)

    data: Any = in_memory(path) if kind == "memory" else path
    result = manyhands.train(
        data,
        team="mpi" if kind == "mpi" else "threads",
        workers=options.workers,
        hidden=tuple(map(int, options.hidden.split("-"))),
        strategy=options.strategy,
        sharding="fixed",
        epochs=options.epochs,
        callbacks=[EventFunction(note, "epoch")],
    )
    rows = result.plan.rows
    first, rest = rows / ends[0], rows * (len(ends) - 1) / max(ends[-1] - ends[0], 1e-9)
    print(json.dumps({"accuracy": result.accuracy, "ends": ends, "first_rate": first, "rate": rest}))


def in_memory(path: str) -> Dataset:
    """Return the rows of the parts in memory."""
    from dataclasses import replace

    parted = load(DataRequest(path))
    assert parted.parts is not None
    features, labels = parted.parts.rows_between(parted.parts.train, 0, parted.rows)
    train = parted.train.with_arrays({"features": features, "labels": labels})
    return replace(parted, train=train, parts=None, all_rows=None, source=None)


def text(kind: str, found: dict[str, Any]) -> str:
    """Return one measurement beside the bars."""
    own = found[kind]
    words = f"{kind:11} {own['rate']:,.0f} rows/s from the 2nd epoch on, {own['first_rate']:,.0f} in the 1st"
    words += f"; accuracy {100 * own['accuracy']:.2f} %, peaks {own['peak_mb'][:4]} MB"
    if kind == "memory":
        for other in ("threads", "mpi"):
            words += "\n" + beside(other, found)
    return words


def beside(kind: str, found: dict[str, Any]) -> str:
    """Return what a training on parts has come to beside the rows in memory, and beside reading alone.

    No first epoch is faster than training itself, however fast the disk: the second share is of whatever is
    slower, reading alone or training in memory.
    """
    own, memory, alone = found[kind], found["memory"]["rate"], found["reading"]["rate"]
    first = own["first_rate"]
    return (
        f"{kind:11} {own['rate'] / memory:.2f} of memory (bar {SPEED_BAR}); first epoch {first / alone:.2f} of reading "
        f"alone, {first / min(alone, memory):.2f} of the slower of both (bar {COLD_BAR}); "
        f"{own['peak_mb'][0]} MB (bar {MEMORY_BAR})"
    )


if __name__ == "__main__":
    main()
