"""Mutation testing: change the source in one small place, run the tests that concern it, and expect them to fail.

``make mutation`` tries a sample of all changes. Each is tried on a copy of the working tree, so the tree itself stays
as it is. What no test notices is a gap in the tests (or a change that makes no difference). ``--json FILE`` keeps the
list; ``--again FILE`` tries those again that were noticed then, and fails if one is no longer noticed.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = Path("src/manyhands")
CONTRACTS = "tests/training/test_contracts.py"
TARGETS = {
    "strategies/*.py": ["tests/strategies", CONTRACTS],
    "merges/*.py": ["tests/merges", "tests/training/test_merge_services.py", CONTRACTS],
    "training/stepping.py": [
        "tests/training/test_callbacks.py",
        "tests/training/test_stopping.py",
        "tests/training/test_convergence.py",
        CONTRACTS,
    ],
    "training/loop.py": ["tests/training/checkpoints", "tests/training/test_recovery.py", CONTRACTS],
    "core/samples.py": ["tests/core", "tests/data/test_sampler.py", CONTRACTS],
}
"""Source files, and the tests that concern them; the quick ones first, because the first failure is enough."""
LIMIT_S = 900
"""Seconds for the tests of one change: one that makes them hang is noticed, too."""

COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
UNTOUCHED = (ast.JoinedStr, ast.Raise, ast.Assert, ast.Import, ast.ImportFrom)
"""Messages and imports: a change there says nothing about what is computed."""
UNTOUCHED_FIELDS = {"annotation", "returns", "decorator_list", "bases"}


@dataclass(frozen=True)
class Mutant:
    """One change of a source file: bytes from ``begin`` to ``end`` become ``after``."""

    file: str
    line: int
    begin: int
    end: int
    before: str
    after: str

    @property
    def name(self) -> str:
        return f"{self.file}:{self.line}: {self.before!r} -> {self.after!r}"


def changed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what could stand in the place of a node."""
    match node:
        case ast.Compare(left, ops, comparators):
            for place, operator in enumerate(ops):
                other = COMPARISONS[type(operator)]()
                yield ast.Compare(left, [*ops[:place], other, *ops[place + 1 :]], comparators)
        case ast.BinOp(left, op, right) if type(op) in ARITHMETIC and not isinstance(
            left, ast.Constant | ast.JoinedStr
        ):
            yield ast.BinOp(left, ARITHMETIC[type(op)](), right)
        case ast.AugAssign(target, op, value) if type(op) in ARITHMETIC:
            yield ast.AugAssign(target, ARITHMETIC[type(op)](), value)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(float(value)):
            yield ast.Constant(value * 2 or 1.0)
        case ast.Return(value) if value is not None and not (isinstance(value, ast.Constant) and value.value is None):
            yield ast.Return(ast.Constant(None))
        case ast.IfExp(test, body, orelse):
            yield ast.IfExp(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.Expr(ast.Call()):
            yield ast.Pass()


def places(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that compute something."""
    if isinstance(node, UNTOUCHED):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name not in UNTOUCHED_FIELDS:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from places(child)


def mutants_of(tree: Path, file: Path) -> list[Mutant]:
    """Return all changes of one file that are programs."""
    content = (tree / file).read_bytes()
    starts = [0]
    for line in content.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node in places(ast.parse(content)):
        for other in changed(node):
            begin = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            after = ast.unparse(ast.fix_missing_locations(other))
            if isinstance(other, ast.expr):
                after = f"({after})"
            mutant = Mutant(str(file), node.lineno, begin, end, content[begin:end].decode(), after)
            if is_program(mutant, content):
                found.append(mutant)
    return found


def applied(mutant: Mutant, content: bytes) -> bytes:
    return content[: mutant.begin] + mutant.after.encode() + content[mutant.end :]


def is_program(mutant: Mutant, content: bytes) -> bool:
    try:
        compile(applied(mutant, content), mutant.file, "exec")
    except SyntaxError:
        return False
    return True


def copy_tree(tree: Path, folder: Path) -> None:
    """Copy the files that git knows, or would add."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=tree,
        check=True,
        capture_output=True,
    )
    for name in filter(None, listing.stdout.decode().split("\0")):
        if (tree / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / name, folder / name)


def tests_for(file: str, tree: Path) -> list[str]:
    """Return the tests that concern a file; those named after it come first."""
    relative = Path(file).relative_to(SOURCE)
    tests = next(tests for pattern, tests in TARGETS.items() if relative.match(pattern))
    namesake = f"tests/{relative.parent}/test_{relative.stem}.py"
    return [*([namesake] if (tree / namesake).is_file() else []), *tests]


def run_tests(folder: Path, tests: list[str]) -> tuple[str, str]:
    """Return what became of the tests, ``"passed"``, ``"failed"`` or ``"hangs"``, and the first failure."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no"]
    command += ["-m", "not slow", "--hypothesis-seed=0", f"--basetemp={folder / '.basetemp'}", *tests]
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        try:
            output = process.communicate(timeout=LIMIT_S)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "hangs", ""
    first = re.search(r"^(?:FAILED|ERROR) (\S.*)$", output, re.MULTILINE)
    if process.returncode == 0:
        return "passed", ""
    if process.returncode not in (1, 2) or (process.returncode == 2 and first is None):
        sys.exit(f"pytest ended with status {process.returncode}:\n{output}")
    return "failed", first[1] if first else ""


def chosen(tree: Path, count: int, seed: int) -> list[Mutant]:
    """Return a sample of all changes, in the order of the files."""
    files = sorted({path.relative_to(tree) for each in TARGETS for path in (tree / SOURCE).glob(each)})
    everything = [mutant for file in files for mutant in mutants_of(tree, file)]
    print(f"{len(everything)} possible changes in {len(files)} files", flush=True)
    sample = random.Random(seed).sample(everything, min(count, len(everything)))
    return sorted(sample, key=lambda mutant: (mutant.file, mutant.begin))


def noticed_before(tree: Path, path: Path) -> list[Mutant]:
    """Return the changes that a list says were noticed, if they still fit the source."""
    entries = [entry for entry in json.loads(path.read_text())["mutants"] if entry.pop("result") != "passed"]
    found = []
    for entry in entries:
        entry.pop("noticed_by"), entry.pop("seconds")
        mutant = Mutant(**entry)
        content = (tree / mutant.file).read_bytes()
        if content[mutant.begin : mutant.end].decode() != mutant.before:
            sys.exit(f"{mutant.name}: the source has changed since")
        found.append(mutant)
    return found


def try_out(folder: Path, mutant: Mutant, tests: list[str]) -> dict[str, object]:
    """Change the copy, run the tests, and change it back."""
    path = folder / mutant.file
    content = path.read_bytes()
    began = time.monotonic()
    path.write_bytes(applied(mutant, content))
    try:
        result, first = run_tests(folder, tests)
    finally:
        path.write_bytes(content)
    print(f"{result:7}{time.monotonic() - began:6.0f} s  {mutant.name}  {first}", flush=True)
    return asdict(mutant) | {"result": result, "noticed_by": first, "seconds": round(time.monotonic() - began)}


def main() -> int:
    """Try out a sample, print and keep what became of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=70, help="number of changes to try (default 70)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--tree", type=Path, default=ROOT, help="another working tree than this one")
    parser.add_argument("--json", type=Path, help="where to keep the list")
    parser.add_argument("--tests", nargs="+", metavar="PATH", help="instead of those that concern each file")
    parser.add_argument("--again", type=Path, metavar="FILE", help="only the changes that were noticed in this list")
    arguments = parser.parse_args()
    tree = arguments.tree.resolve()
    again = arguments.again is not None
    mutants = noticed_before(tree, arguments.again) if again else chosen(tree, arguments.count, arguments.seed)
    done, missed = [], []
    with tempfile.TemporaryDirectory(prefix="manyhands-mutation-") as name:
        copy_tree(tree, Path(name))
        everything = arguments.tests or sorted({test for tests in TARGETS.values() for test in tests})
        if run_tests(Path(name), everything)[0] != "passed":
            sys.exit("the tests fail without any change")
        for mutant in mutants:
            done.append(try_out(Path(name), mutant, arguments.tests or tests_for(mutant.file, Path(name))))
            missed = [entry for entry in done if entry["result"] == "passed"]
            if arguments.json is not None:
                summary = {"noticed": len(done) - len(missed), "tried": len(done), "mutants": done}
                arguments.json.write_text(json.dumps(summary, indent=1) + "\n")
    print(f"noticed {len(done) - len(missed)} of {len(done)}")
    return int(again and bool(missed))


if __name__ == "__main__":
    sys.exit(main())
