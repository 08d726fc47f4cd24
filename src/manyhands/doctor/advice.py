"""Rules that turn facts about a machine into advice: what is slow or missing, why it matters, and what to type.

A rule gets the record of `manyhands.doctor.examination`, and nothing else, and the sections that it needs; it is left
out if one of them could not be examined.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from manyhands.core.extras import install
from manyhands.runtime.hardware import busy_text, is_busy

_AVX512_CORES = ("skylakex", "cooperlake", "sapphirerapids")
"""OpenBLAS core types with 512-bit kernels, any of which will do."""
_CLEARLY_SLOWER = 0.8
_FAR_FROM_PEAK = 0.5
_LITTLE_MEMORY = 1 << 30


Section = dict[str, Any]


class Advice(NamedTuple):
    """One piece of advice: its section, its sentences, and the command to type, if there is one."""

    topic: str
    text: str
    command: str | None = None


def advice_for(record: dict[str, Any]) -> list[dict[str, str | None]]:
    """Return all advice that follows from a record, the most important first, as plain data."""
    found: list[Advice] = []
    for rule, names in _RULES:
        sections = [_section(record, name) for name in names]
        if None not in sections:
            found += rule(record, *sections)
    return [each._asdict() for each in found]


def _section(record: dict[str, Any], name: str) -> Any:
    """Return a section, or None if it was left out or could not be examined."""
    section = record.get(name)
    return None if section is None or "problem" in section else section


def _load(record: Section, load: Section, cores: Section) -> Iterator[Advice]:
    if is_busy(load, cores["total"], cores["usable"]):
        text = busy_text(load, cores["total"])
        yield Advice("load", f"{text[0].upper()}{text[1:]}. Wait until it is done, and look again.", "manyhands doctor")


def _cores(record: Section, cores: Section) -> Iterator[Advice]:
    usable, physical = cores["usable"], cores["physical"]
    if usable == 1 and (_section(record, "mpi") or {}).get("launcher") is not None:
        return  # mpiexec gives every process a core of its own
    if usable == 1:
        effect = "so several workers train no faster than one"
        yield Advice(
            "cores",
            f"Only one of {cores['total']} cores is usable, {effect}{_limited(cores)}."
            if cores["total"] > 1
            else f"This machine has one core, {effect}; use a machine with more.",
        )
    elif physical is not None and physical < usable:
        yield Advice(
            "cores",
            f"The {usable} usable cores are hardware threads of {physical} physical ones, which share their arithmetic "
            f"units, so more than {physical} workers gain little.",
            f"manyhands compare --workers {physical}" if physical > 1 else None,
        )


def _limited(cores: dict[str, Any]) -> str:
    """Return what limits the cores, and how to lift the limit."""
    if cores["affinity"] == 1:
        return (
            "; this process is bound to that one: ask for more where it was started (taskset --cpu-list, Slurm's "
            "--cpus-per-task, docker --cpuset-cpus)"
        )
    return (
        f"; its cgroup grants {cores['quota']:.2g} cores: ask for more where it was started (docker --cpus, the CPU "
        "limit of a Kubernetes pod)"
    )


def _memory(record: Section, memory: Section) -> Iterator[Advice]:
    known = [memory[name] for name in ("available", "limit") if memory[name] is not None]
    if known and min(known) < _LITTLE_MEMORY:
        yield Advice(
            "memory",
            f"Only {min(known) / 1e6:.0f} MB of memory can be had, and a process that wants more may be killed. Train "
            "on fewer rows.",
            "manyhands compare --train-size 6000",
        )


def _private_blas(record: Section, blas: Section) -> Iterator[Advice]:
    if blas["override"] is None:
        return
    used, fastest = blas["private"]["core_type"], blas["fastest"]
    if used.lower() != blas["override"].lower():
        yield Advice(
            "blas",
            f"MANYHANDS_BLAS_CORE is {blas['override']!r}, which OpenBLAS does not know or cannot run here: it uses "
            f"{used} kernels instead. Let us choose.",
            "unset MANYHANDS_BLAS_CORE",
        )
    elif fastest is not None and not _has_512(used):
        yield Advice(
            "blas",
            f"MANYHANDS_BLAS_CORE makes our own BLAS use {used} kernels, though this CPU can run those for {fastest}, "
            "which are about twice as fast. Wide layers train slower.",
            "unset MANYHANDS_BLAS_CORE",
        )


def _has_512(core_type: str) -> bool:
    return core_type.lower() in _AVX512_CORES


def _numpys_blas(record: Section, blas: Section) -> Iterator[Advice]:
    rates = _section(record, "rates")
    chosen = _variables(record).get("OPENBLAS_CORETYPE")
    for copy in blas["numpy"]:
        used = copy["architecture"]
        if used is None or not _slower(used, blas, rates):
            continue
        loss = "" if rates is None else f" ({100 * _ratio(rates):.0f} % of the rate of our own copy)"
        effect = (
            f"NumPy and SciPy multiply matrices with kernels for {used}{loss}. Our own training does not mind, but "
            "scikit-learn (--learner published) and your own programs do."
        )
        if chosen is not None:
            yield Advice("blas", f"OPENBLAS_CORETYPE is {chosen}: {effect}", "unset OPENBLAS_CORETYPE")
        elif blas["fastest"] is not None:
            yield Advice(
                "blas", f"OpenBLAS does not know this CPU: {effect}", f"export OPENBLAS_CORETYPE={blas['fastest']}"
            )
        return


def _slower(used: str, blas: dict[str, Any], rates: dict[str, Any] | None) -> bool:
    """Return whether NumPy's kernels are slower: other kernels than ours, and slower ones where rates were measured."""
    if used.lower() == blas["private"]["core_type"].lower() or (_has_512(used) and blas["fastest"] is not None):
        return False  # the same kernels: whatever was measured, it was noise
    if rates is None:
        return blas["fastest"] is not None
    return _ratio(rates) < _CLEARLY_SLOWER


def _ratio(rates: dict[str, Any]) -> float:
    """Return how fast NumPy's large matrix product is, compared with ours."""
    return float(rates["numpy"]["large"] / rates["private"]["large"])


def _peak(record: Section, rates: Section) -> Iterator[Advice]:
    share = rates["private"]["large"] / rates["peak"]
    if share >= _FAR_FROM_PEAK:
        return
    yield Advice(
        "rates",
        f"Large matrix products of our own BLAS reach only {100 * share:.0f} % of what a core can do. Other work may "
        "have disturbed the measurement, or the kernels do not fit this CPU: look again when the machine is idle.",
        "manyhands doctor",
    )


def _rates_failed(record: Section) -> Iterator[Advice]:
    problem = (record.get("rates") or {}).get("problem")
    if problem is not None and "SIGILL" in problem:
        names = [name for name in ("OPENBLAS_CORETYPE", "MANYHANDS_BLAS_CORE") if name in _variables(record)]
        yield Advice(
            "rates",
            f"Matrix products use instructions that this CPU does not have ({problem}), so training and NumPy crash. "
            + (f"{' and '.join(names)} chose those kernels." if names else "Install the libraries of this machine."),
            f"unset {' '.join(names)}" if names else None,
        )


def _variables(record: Section) -> Section:
    """Return the variables about threads that are set."""
    threads = _section(record, "threads")
    return {} if threads is None else threads["variables"]


def _threads(record: Section, blas: Section, cores: Section) -> Iterator[Advice]:
    threads = max((copy["threads"] or 1 for copy in blas["numpy"]), default=1)
    if threads > cores["usable"]:
        yield Advice(
            "threads",
            f"NumPy would compute with {threads} threads on {cores['usable']} usable "
            f"core{'s' if cores['usable'] != 1 else ''}, where they wait for each other. Training sets 1 per worker, "
            "but your own programs do not.",
            f"export OMP_NUM_THREADS={cores['usable']} OPENBLAS_NUM_THREADS={cores['usable']}",
        )


def _compiled(record: Section, compiled: Section) -> Iterator[Advice]:
    if not compiled["writable"]:
        yield Advice(
            "compiled",
            f"Compiled code cannot be kept in {compiled['cache']}, so every process may compile it anew (seconds)"
            f"{'' if compiled['refused'] is None else ': ' + compiled['refused']}. Name a folder that can be written.",
            "export MANYHANDS_CACHE=~/manyhands-cache",
        )
    elif not compiled["kernels"]:
        yield Advice(
            "compiled",
            "There is no compiled code for this version yet, so the first run takes some seconds longer (no clock of a "
            "training counts them). A small run makes it.",
            "manyhands compare --data digits --epochs 1 --seeds 1",
        )


def _mpi(record: Section, mpi: Section) -> Iterator[Advice]:
    if mpi["mpi4py"] is None:
        return  # it is one of the packages that are missing
    if mpi["library_problem"] is not None:
        yield Advice(
            "mpi",
            f"mpi4py is installed, but {mpi['library_problem']}, so --team mpi cannot work. Install it with an MPI "
            "library.",
            install("mpi").replace("install", "install --force-reinstall", 1),
        )
    elif mpi["mpiexec_problem"] is not None:
        yield Advice("mpi", f"Without the right mpiexec, --team mpi cannot start processes: {mpi['mpiexec_problem']}.")


def _data(record: Section, data: Section) -> Iterator[Advice]:
    if data["variable"] and not data["variable_is_folder"]:
        yield Advice(
            "data",
            f"MANYHANDS_DATA is {data['variable']!r}, which is no folder, so data sets are looked for in the cache "
            "only. Name the folder that has mnist/ or letters/ in it.",
            "export MANYHANDS_DATA=FOLDER",
        )
    if all(each["name"] != "mnist" for each in data["found"]):
        yield Advice(
            "data",
            "MNIST is not on this machine, so it is downloaded when it is first asked for (12 MB). Without a network, "
            "name a folder that has its four files in mnist/.",
            "export MANYHANDS_DATA=FOLDER",
        )
    for each in data["found"]:
        if each["problem"] is not None:
            yield Advice("data", f"The data set {each['name']} cannot be used: {each['problem']}.")
    yield from _packed(data)


def _packed(data: dict[str, Any]) -> Iterator[Advice]:
    usable = [each for each in data["found"] if each["problem"] is None]
    packed = [each for each in usable if each["packed"] and each["kind"] == "IDX"]
    if not packed:
        return
    names = [each["name"] for each in packed]
    if all(each["writable"] for each in packed):
        command = "gunzip --keep " + " ".join(f"{shlex.quote(each['folder'])}/*.gz" for each in packed)
    else:  # a folder of others: to a copy of one's own
        parent = shlex.quote(str(Path(packed[0]["folder"]).parent))
        command = f"cp -r {parent} ~/data && gunzip ~/data/*/*.gz && export MANYHANDS_DATA=~/data"
    yield Advice(
        "data",
        f"{' and '.join(filter(None, [', '.join(names[:-1]), names[-1]]))} {'is' if len(names) == 1 else 'are'} stored "
        "as .gz, which every run unpacks again, and in an MPI job every process, or one that sends it to all. Plain "
        "files are read by each process itself: nothing is unpacked or sent.",
        command,
    )


def _packages(record: Section) -> Iterator[Advice]:
    packages = record.get("packages")
    for each in packages if isinstance(packages, list) else []:
        if each["version"] is None:
            yield Advice(
                "packages",
                f"{each['name']} is not installed; it is needed for {each['purpose']}, and for nothing else.",
                install(each["extra"]),
            )


_RULES: tuple[tuple[Callable[..., Iterator[Advice]], tuple[str, ...]], ...] = (
    (_load, ("load", "cores")),
    (_cores, ("cores",)),
    (_memory, ("memory",)),
    (_rates_failed, ()),
    (_private_blas, ("blas",)),
    (_numpys_blas, ("blas",)),
    (_peak, ("rates",)),
    (_threads, ("blas", "cores")),
    (_compiled, ("compiled",)),
    (_mpi, ("mpi",)),
    (_data, ("data",)),
    (_packages, ()),
)
"""The rules, each with the sections that it needs."""
