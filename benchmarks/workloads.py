"""Who races on what: the one table of all workloads and contestants.

Words in braces are filled in by the harness: {epochs}, {seed}, {train}, {test}, {whole}, {idx} (files).
"""

from __future__ import annotations

from dataclasses import dataclass

THRESHOLD = 0.984
"""Validation accuracy at which workload B ends: enough for 98.0 % of the test rows, which nobody looks at before."""
TARGET = 0.98
"""What the mean test accuracy of workload B shall be."""
MOST_EPOCHS = 20
ROWS = 6000
SHORT_BATCHES = (33, 50, 100)
DTYPES = ("float64", "float32")
CSV_ROWS, TEST_ROWS = 60_000, 10_000

SCIKIT_LEARN, EAGER, JAX = "scikit-learn", "PyTorch eager", "JAX scan"
SEQUENTIAL = "ours, sequential"
PERIODIC, GRADIENT = "ours, 2 threads, periodic:1epoch", "ours, 2 threads, gradient"
DIVIDED = "ours, 2 threads, auto, which divides the network"
DDP = "PyTorch DDP, 2 processes"
LIMITS, LIMITS_2 = "limits of one core", "limits of both cores"
PUBLISHED_1, PUBLISHED_2 = "published program, 1 process", "published program, 2 processes"
COMMAND, FEW = "ours, 2 threads, 75 epochs", "ours, 2 threads, 15 epochs"
READ_CSV, READ_IDX, GZIP = "ours, CSV", "ours, IDX.gz", "gzip, IDX.gz"
READERS = {name: f"{name}, CSV" for name in ("polars", "pyarrow", "pandas", "numpy")}


@dataclass(frozen=True)
class Contestant:
    """One line of a table.

    Attributes
    ----------
    name
        Unique in its workload.
    command
        First word: ``ours`` or ``peers`` (that environment's Python), ``manyhands`` or ``mpiexec``.
    cores
        Cores it may use and threads (or processes) it is told to use.
    group
        Contestants of one group are compared with that group's reference.
    threads
        Threads per process, for OMP_NUM_THREADS and the like; by default as many as cores.
    """

    name: str
    command: tuple[str, ...]
    cores: int = 1
    group: str = ""
    threads: int | None = None

    @property
    def threads_each(self) -> int:
        """Threads of each process."""
        return self.cores if self.threads is None else self.threads


@dataclass(frozen=True)
class Workload:
    """One race.

    Attributes
    ----------
    letter, title
        Its names.
    contestants
        In the order in which they run in every round.
    references
        For each group: whom its contestants are compared with.
    rounds, epochs
        How many; with --quick there is one round of ``quick`` epochs.
    warm
        Whether a round of one epoch comes first, which does not count.
    rounds_if_slow
        Rounds if some contestant takes more than 40 s.
    steps_of
        Rows and batch for each group, if the table shall show milliseconds per step.
    """

    letter: str
    title: str
    contestants: tuple[Contestant, ...]
    references: dict[str, str]
    rounds: int
    epochs: int = 0
    quick: int = 2
    warm: bool = True
    rounds_if_slow: int | None = None
    steps_of: dict[str, tuple[int, int]] | None = None


def on_cores(name: str, cores: int) -> str:
    """Return the name of a peer that can use one core or both."""
    return f"{name}, {cores} {'core' if name == JAX else 'thread'}{'s' if cores > 1 else ''}"


def _peer(name: str, script: str, options: str, cores: tuple[int, ...] = (1, 2)) -> list[Contestant]:
    return [
        Contestant(on_cores(name, n), ("peers", f"peers/{script}", *options.split(), "--threads", str(n)), n)
        for n in cores
    ]


def _peers(options: str, scikit_learn: tuple[int, ...] = (1, 2), jax: tuple[int, ...] = (2,)) -> list[Contestant]:
    """Return all libraries that train."""
    ddp = ("peers", "peers/pytorch_ddp.py", *options.split(), "--threads", "1")
    return [
        *_peer(SCIKIT_LEARN, "scikit_learn.py", options, scikit_learn),
        *_peer(EAGER, "pytorch_eager.py", options),
        Contestant(DDP, ddp, 2, threads=1),
        *_peer(JAX, "jax_scan.py", options, jax),
    ]


def _ours(name: str, options: str, strategy: str = "sequential", workers: int = 1, team: str = "threads") -> Contestant:
    choice = ("--strategy", strategy, "--workers", str(workers), "--team", team)
    return Contestant(name, ("ours", "ours.py", "train", *options.split(), *choice), workers, threads=1)


def _common(hidden: str, batch: int = 200, more: str = f"--rows {ROWS}") -> str:
    return f"--hidden {hidden} --batch {batch} --epochs {{epochs}} --seed {{seed}} {more}"


def _limits(*cores: int) -> list[Contestant]:
    return [Contestant((LIMITS, LIMITS_2)[n - 1], ("ours", "ours.py", "limits"), n) for n in cores]


def _workload_a() -> Workload:
    options = _common("75")
    ours = [
        _ours(SEQUENTIAL, options),
        _ours(PERIODIC, options, "periodic:1epoch", 2),
        _ours(GRADIENT, options, "gradient", 2),
        _ours("ours, 2 threads, auto", options, "auto", 2),
        _ours("ours, 2 processes, periodic:1epoch", options, "periodic:1epoch", 2, "mpi"),
        _ours("ours, 2 processes, gradient", options, "gradient", 2, "mpi"),
    ]
    title = "MNIST's first 6,000 images, 784-75-10, batch 200, 75 epochs"
    return Workload(
        "A", title, (*_peers(options, jax=(1, 2)), *ours, *_limits(1, 2)), {"": SEQUENTIAL}, rounds=5, epochs=75
    )


def _workload_b() -> Workload:
    options = _common("512", more=f"--rows 60000 --validation 5000 --until {THRESHOLD}")
    ours = [
        _ours(SEQUENTIAL, options),
        _ours(PERIODIC, options, "periodic:1epoch", 2),
        _ours(GRADIENT, options, "gradient", 2),
    ]
    title = f"55,000 images, 784-512-10, batch 200, until {THRESHOLD:.1%} of 5,000 validation images are right"
    return Workload(
        *("B", title, (*_peers(options), *ours, *_limits(1, 2)), {"": SEQUENTIAL}),
        rounds=3,
        epochs=MOST_EPOCHS,
        quick=1,
        rounds_if_slow=3,
    )


def _workload_c() -> Workload:
    contestants, references, steps = [], {}, {}
    for batch in SHORT_BATCHES:
        group, options = f"batch {batch}", _common("75", batch)
        several = [
            *_peer(SCIKIT_LEARN, "scikit_learn.py", options, (1,)),
            *_peer(EAGER, "pytorch_eager.py", options, (1,)),
            *_peer(JAX, "jax_scan.py", options, (1,)),
            _ours(SEQUENTIAL, options),
        ]
        contestants += [
            Contestant(f"{one.name}, {group}", one.command, one.cores, group, threads=one.threads) for one in several
        ]
        references[group], steps[group] = f"{SEQUENTIAL}, {group}", (ROWS, batch)
    title = "short batches: 6,000 images, 784-75-10, 20 epochs, one core"
    return Workload("C", title, (*contestants, *_limits(1)), references, rounds=3, epochs=20, steps_of=steps)


def _workload_d() -> Workload:
    published = ("peers/published.py", "{train}", "{test}", "{epochs}", "{seed}")
    training = ("manyhands", "train", "--train-csv", "{train}", "--test-csv", "{test}", "--seed", "{seed}")
    training += ("--strategy", "periodic:1epoch", "--workers", "2", "--team", "threads", "--epochs")
    contestants = (
        Contestant(PUBLISHED_1, ("peers", *published), 1),
        Contestant(PUBLISHED_2, ("mpiexec", *published), 2, threads=1),
        Contestant(COMMAND, (*training, "{epochs}"), 2, threads=1),
        Contestant(FEW, (*training, "{few}"), 2, threads=1),
    )
    title = "from two CSV files (6,000 and 10,000 rows) to a scored model, whole processes"
    return Workload("D", title, contestants, {"": COMMAND}, rounds=5, epochs=75)


def _workload_e() -> Workload:
    options = _common("2048,2048")
    ours = [
        _ours(SEQUENTIAL, options),
        _ours(PERIODIC, options, "periodic:1epoch", 2),
        _ours(GRADIENT, options, "gradient", 2),
        _ours(DIVIDED, options, "auto", 2),
    ]
    contestants = (*_peers(options, scikit_learn=(2,)), *ours, *_limits(1, 2))
    title = "a wide network: 6,000 images, 784-2048-2048-10, batch 200, 2 epochs"
    return Workload("E", title, contestants, {"": SEQUENTIAL}, rounds=5, epochs=2, quick=1)


def _workload_f() -> Workload:
    contestants = [
        Contestant(name, ("peers", "peers/reading.py", library, "{whole}"), 1, "CSV")
        for library, name in READERS.items()
    ]
    contestants += [
        Contestant(READ_CSV, ("ours", "ours.py", "csv", "{whole}"), 1, "CSV"),
        Contestant(GZIP, ("ours", "ours.py", "gzip", "{idx}"), 1, "IDX.gz"),
        Contestant(READ_IDX, ("ours", "ours.py", "idx", "{idx}"), 1, "IDX.gz"),
    ]
    title = "reading 60,000 images from CSV (785 columns of bytes) and from IDX.gz, one core"
    references = {"CSV": READ_CSV, "IDX.gz": READ_IDX}
    return Workload("F", title, tuple(contestants), references, rounds=3, warm=False)


def theirs(dtype: str, threads: int) -> str:
    """Return the name of scikit-learn's estimator in workload G."""
    return f"{on_cores('scikit-learn MLPClassifier', threads)}, {dtype}"


def drop_in(dtype: str, workers: int) -> str:
    """Return the name of our estimator in workload G."""
    return f"manyhands MLPClassifier, n_workers={workers}, {dtype}"


def _workload_g() -> Workload:
    contestants, references = [], {}
    for dtype in DTYPES:
        for cores in (1, 2):
            common = ("--dtype", dtype, "--epochs", "{epochs}", "--seed", "{seed}")
            peer = ("ours", "estimator.py", "scikit-learn", *common, "--threads", str(cores))
            own = ("ours", "estimator.py", "manyhands", *common, "--workers", str(cores))
            contestants.append(Contestant(theirs(dtype, cores), peer, cores, dtype))
            contestants.append(Contestant(drop_in(dtype, cores), own, cores, dtype, threads=1))
        references[dtype] = theirs(dtype, 1)
    title = "the same script with either estimator: fit, 6,000 images, 75 hidden, 75 epochs"
    return Workload("G", title, tuple(contestants), references, rounds=5, epochs=75)


PLAIN_CNN = "PyTorch, plain loop, 1 thread"
OURS_CNN = {precision: f"ours, sequential, {precision}" for precision in ("float32", "bfloat16")}
PARALLEL_CNN = {team: f"ours, 2 {word}, float32" for team, word in (("threads", "threads"), ("mpi", "processes"))}
CNN_BATCH, CNN_RATE, CNN_SCHEDULE, CNN_PAIR = 50, 0.004, "linear:hold=25%", "diloco:20,rate=1,momentum=0.3"


def _workload_h() -> Workload:
    rows = f"--rows 60000 --batch {CNN_BATCH} --epochs {{epochs}} --seed {{seed}}"
    options = f"{rows} --learner cnn-fast --rate {CNN_RATE} --schedule {CNN_SCHEDULE} --precision"
    contestants = (
        Contestant(PLAIN_CNN, ("peers", "peers/pytorch_cnn.py", *rows.split(), "--threads", "1"), 1),
        *(_ours(name, f"{options} {precision}") for precision, name in OURS_CNN.items()),
        *(_ours(name, f"{options} float32", CNN_PAIR, 2, team) for team, name in PARALLEL_CNN.items()),
    )
    title = "a convolutional network (cnn-fast): MNIST's 60,000 images, one epoch, batch 50"
    return Workload("H", title, contestants, {"": OURS_CNN["float32"]}, rounds=5, epochs=1, quick=1, warm=False)


WORKLOADS = {
    workload.letter: workload
    for workload in (
        *(_workload_a(), _workload_b(), _workload_c(), _workload_d(), _workload_e(), _workload_f()),
        *(_workload_g(), _workload_h()),
    )
}
