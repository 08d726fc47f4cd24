"""``manyhands doctor``: what this machine is, how fast it is, and what to do about what is slow or missing."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from manyhands.core.extras import install
from manyhands.core.words import count
from manyhands.runtime.terminal import Group, labelled, paragraph, text_table
from manyhands.teams.job import is_first_process
from manyhands.teams.mpi_environment import first_line

EXAMPLES = (
    "manyhands doctor",
    "manyhands doctor --quick",
    "manyhands doctor --json > machine.json",
)


def register(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser = commands.add_parser(
        "doctor",
        examples=EXAMPLES,
        help="examine this machine: what is slow or missing, and what to do about it",
        description="Examine this machine, measure its speed for about a second, and print what is slow or missing "
        "with the commands that help. Advice is not a failure: the exit status is 0.",
    )
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object instead")
    parser.add_argument("--quick", action="store_true", help="skip the measurements")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    if not is_first_process():  # one process speaks for a job
        return 0
    from manyhands.doctor.examination import examine
    from manyhands.training.jobs.folder import remove_abandoned

    for folder in remove_abandoned():
        print(f"manyhands doctor: removed {folder}, left behind by a job that was killed", file=sys.stderr)
    record = examine(quick=options.quick)
    print(json.dumps(record, indent=1) if options.json else text(record))
    return 0


def text(record: dict[str, Any]) -> str:
    """Return the record as text that fits the terminal; only a path or a command may be longer."""
    blocks = [labelled(label, _section(record, name, describe)) for label, name, describe in _SECTIONS]
    return "\n".join([*blocks, "", *_advice(record["advice"])])


def _section(record: dict[str, Any], name: str, describe: Callable[[dict[str, Any]], Iterator[str]]) -> str:
    found = record[name]
    if isinstance(found, dict) and set(found) == {"problem"}:
        return f"cannot be examined ({found['problem']})"
    return "\n".join(describe(record))


def _advice(advice: list[dict[str, str | None]]) -> Iterator[str]:
    if not advice:
        yield "no advice"
        return
    yield "advice"
    for number, each in enumerate(advice, 1):
        yield paragraph(each["text"] or "", f"{number:2}. ")
        if each["command"] is not None:  # in one line, to be copied
            yield f"        {each['command']}"


def _machine(record: dict[str, Any]) -> Iterator[str]:
    processor = record["processor"]
    yield f"{processor['model']}; {record['system']}"
    vectors = ", ".join(processor["vectors"]) or "no known vector instructions"
    yield f"{vectors}; {'narrow layers use our own kernels' if processor['tiles'] else 'all layers use OpenBLAS'}"
    precision = "bfloat16, which the processor multiplies itself" if processor["bfloat16"] else "float32"
    yield f"convolutional networks compute in {precision}"


def _cores(record: dict[str, Any]) -> Iterator[str]:
    cores = record["cores"]
    facts = [f"{cores['usable']} usable of {cores['total']}", f"affinity {cores['affinity']}"]
    facts.append("no quota" if cores["quota"] is None else f"quota {cores['quota']:g} by cgroup")
    if cores["physical"] is not None:
        facts.append(f"{cores['physical']} physical")
    yield ", ".join(facts)


def _load(record: dict[str, Any]) -> Iterator[str]:
    load = record["load"]["one_minute"]
    yield "unknown" if load is None else f"{load:.2f} processes in the last minute"


def _memory(record: dict[str, Any]) -> Iterator[str]:
    memory = record["memory"]
    facts = [
        f"{memory[name] / 1e9:.1f} GB {words}"
        for name, words in (("total", "in all"), ("available", "available"), ("limit", "limit by cgroup"))
        if memory[name] is not None
    ]
    if memory["limit"] is None:
        facts.append("no limit by cgroup")
    yield ", ".join(facts)


def _blas(record: dict[str, Any]) -> Iterator[str]:
    blas = record["blas"]
    own = blas["private"]
    asked = "its own choice" if blas["asked"] is None else f"asked for {blas['asked']}"
    by = "" if blas["override"] is None else " by MANYHANDS_BLAS_CORE"
    yield f"{own['library']} {own['version']}, {own['core_type']} ({asked}{by}), {_threads_text(own['threads'])}"
    for copy in blas["numpy"]:
        yield (
            f"NumPy's: {copy['library']} {copy['version'] or ''}, {copy['architecture'] or 'unknown architecture'}, "
            f"{_threads_text(copy['threads'])}"
        )


def _shown(path: str) -> str:
    """Return a path as one types it, with ~ for the own folder."""
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home raises where there is none
    return f"~{path[len(home) :]}" if path.startswith(f"{home.rstrip('/')}/") and home != "/" else path


def _threads_text(number: int | None) -> str:
    return "threads unknown" if number is None else count(number, "thread")


def _rates(record: dict[str, Any]) -> Iterator[str]:
    rates = record["rates"]
    if rates is None:
        yield "not measured (--quick)"
        return
    from manyhands.doctor.rates import SHAPES

    rows = [("multiply-add in registers", rates["peak"])]
    for name, words in (("private", "private OpenBLAS"), ("numpy", "NumPy")):
        rows += [(f"{words}, {' x '.join(map(str, shape))}", rates[name][each]) for each, shape in SHAPES.items()]
    cells = [(words, f"{rate / 1e9:.1f}", f"{100 * rate / rates['peak']:.0f}") for words, rate in rows]
    yield text_table(["of one core, float32"], [Group(("GFLOP/s", "% of peak"))], cells)
    yield f"copy in memory, read and written: {rates['copy'] / 1e9:.1f} GB/s"


def _threads(record: dict[str, Any]) -> Iterator[str]:
    variables = record["threads"]["variables"]
    facts = ", ".join(f"{name}={value}" for name, value in variables.items()) or "no variable is set"
    yield f"{facts}; training sets 1 BLAS thread per worker"


def _compiled(record: dict[str, Any]) -> Iterator[str]:
    compiled = record["compiled"]
    yield _shown(compiled["folder"])
    there = "has kernels for training" if compiled["kernels"] else "no kernels for training yet"
    old = compiled["old_versions"]
    others = f"; beside it {old} of other versions" if old else ""
    yield f"{there}; {'can' if compiled['writable'] else 'cannot'} be written{others}"


def _mpi(record: dict[str, Any]) -> Iterator[str]:
    mpi = record["mpi"]
    library = mpi["library"] or "library unknown"
    yield "mpi4py is missing" if mpi["mpi4py"] is None else f"mpi4py {mpi['mpi4py']} with {first_line(library)}"
    yield f"{_shown(mpi['mpiexec'])}: {mpi['mpiexec_version']}" if mpi["mpiexec"] else "no mpiexec that could be used"
    slurm = mpi["slurm"]
    if slurm["job"] is not None:
        yield f"in Slurm job {slurm['job']}, tasks {slurm['tasks'] or 'unknown'}"
    else:
        yield f"not in a Slurm job{'' if slurm['srun'] is None else ', but there is ' + slurm['srun']}"
    if mpi["launcher"] is not None:
        yield f"started by {mpi['launcher']}"


def _data(record: dict[str, Any]) -> Iterator[str]:
    data = record["data"]
    variable = data["variable"]
    yield "MANYHANDS_DATA is not set" if not variable else f"MANYHANDS_DATA={_shown(variable)}"
    yield f"cache: {_shown(data['cache'])}"
    for each in data["found"]:
        if each["problem"] is not None:
            yield f"{each['name']}: {each['problem']}"
            continue
        shape = " x ".join(map(str, each["shape"]))
        stored = ".gz, unpacked when read" if each["packed"] else "plain"
        yield f"{each['name']}: {each['train']} training and {each['test']} test samples of {shape}; {stored}"
    yield "digits: 1797 samples of 8 x 8, a part of scikit-learn"


def _versions(record: dict[str, Any]) -> Iterator[str]:
    named = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    yield f"manyhands {record['manyhands']}, Python {record['python']}, {named}"


def _packages(record: dict[str, Any]) -> Iterator[str]:
    for each in record["packages"]:
        if each["version"] is None:
            yield f"{each['name']} missing: {install(each['extra'])}; for {each['purpose']}"
        else:
            yield f"{each['name']} {each['version']}: {each['purpose']}"


_SECTIONS: tuple[tuple[str, str, Callable[[dict[str, Any]], Iterator[str]]], ...] = (
    ("machine", "processor", _machine),
    ("cores", "cores", _cores),
    ("load", "load", _load),
    ("memory", "memory", _memory),
    ("blas", "blas", _blas),
    ("rates", "rates", _rates),
    ("threads", "threads", _threads),
    ("compiled", "compiled", _compiled),
    ("mpi", "mpi", _mpi),
    ("data", "data", _data),
    ("versions", "versions", _versions),
    ("packages", "packages", _packages),
)
