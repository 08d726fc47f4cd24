"""The package from outside: cheap to import, whole, and built in floors."""

import argparse
import ast
import importlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import manyhands
from manyhands.cli import study as study_command
from manyhands.cli import study_strategies as strategies_command
from manyhands.cli import train_spark
from manyhands.records import statistics
from manyhands.strategies import STRATEGIES
from manyhands.studies.compare import request as compare
from manyhands.studies.replications import minibatch
from manyhands.studies.strategies import request as strategies
from manyhands.teams.registry import kind_of
from manyhands.training.jobs.spark import driver as spark_driver
from manyhands.training.reliability import ReliabilitySettings

PACKAGE = Path(manyhands.__file__).parent
PROJECT = Path(__file__).parents[1]
HEAVY = ("numba", "scipy", "sklearn", "torch", "numpy", "matplotlib", "tensorboard", "onnx", "hashlib", "socket")
STUDIES = ("exemplar", "minibatch", "strategies", "speculative", "levels", "classifiers")
COMMANDS = (
    "train", "evaluate", "predict", "read", "reader", "export", "data", "compare", "sweep", "study", "report", "serve",
    "doctor",
)  # fmt: skip
HELP = "from manyhands.cli import main\ntry: main({!r})\nexcept SystemExit: pass"


class TestImport:
    @pytest.mark.parametrize(
        "code",
        [
            "import manyhands",
            "import manyhands.cli",
            HELP.format(["--help"]),
            *(HELP.format([command, "--help"]) for command in COMMANDS),
            *(HELP.format(["study", name, "--help"]) for name in STUDIES),
        ],
        ids=[
            "package",
            "cli",
            "help",
            *(f"help of {name}" for name in (*COMMANDS, *(f"study {name}" for name in STUDIES))),
        ],
    )
    def test_it_is_cheap(self, code):
        """No heavy package, and few modules in all."""
        report = "import json, sys\nprint(json.dumps(sorted(sys.modules)))"
        out = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
        modules = json.loads(out.stdout.splitlines()[-1])
        assert "manyhands" in modules
        assert [name for name in HEAVY if name in modules] == []
        assert len(modules) < 250  # about 140

    def test_a_program_of_the_present_folder_is_not_run(self, tmp_path):
        """Not even if the package lies below that folder, as the environment of a project does."""
        (tmp_path / "numpy.py").write_text("open('was-run', 'w')")
        (tmp_path / "environment").mkdir()
        (tmp_path / "environment/manyhands").symlink_to(PACKAGE)
        # Refused when the data have been read, which needs NumPy, and before anything is compiled.
        command = [sys.executable, "-m", "manyhands", "train", "--data", "digits", "--train-size", "99999"]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "environment")}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert "--train-size 99999: " in done.stderr
        assert not (tmp_path / "was-run").exists()

    @pytest.mark.parametrize("name", manyhands.__all__)
    def test_public_names_resolve(self, name):
        assert getattr(manyhands, name) is not None

    def test_public_names_are_all_listed(self):
        assert set(manyhands.__all__) == {*manyhands._HOMES, "ManyhandsError", "__version__"}
        assert dir(manyhands) == sorted(manyhands.__all__)

    def test_public_names_come_from_where_type_checkers_see_them(self):
        seen = {
            alias.name: node.module
            for node in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text()))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if alias.name in manyhands._HOMES
        }
        assert seen == manyhands._HOMES

    def test_unknown_name_is_an_attribute_error(self):
        with pytest.raises(AttributeError, match="no attribute 'magic'"):
            manyhands.magic  # noqa: B018

    @pytest.mark.parametrize(
        ("body", "cause"), [("import os\nos.absent", "absent"), ("import no_such_module", "no_such_module")]
    )
    def test_what_is_wrong_inside_a_name_is_not_taken_for_its_absence(self, monkeypatch, tmp_path, body, cause):
        (tmp_path / "broken_home.py").write_text(body)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setitem(manyhands._HOMES, "train", "broken_home")
        with pytest.raises(ImportError, match=cause):
            from manyhands import train  # noqa: F401

    def test_console_script_is_main(self):
        project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
        module, _, function = project["scripts"]["manyhands"].partition(":")
        assert callable(getattr(importlib.import_module(module), function))

    def test_types_are_shipped(self):
        assert (PACKAGE / "py.typed").exists()


class TestOptionsAreThoseOfTheirModules:
    """`manyhands.cli.options` writes these out, because importing their owners is not cheap."""

    @pytest.mark.parametrize("path", [("compare",), *(("study", name) for name in STUDIES if name != "levels")])
    def test_margin(self, path):
        parser = parser_of(*path)
        told = next(each.help for each in parser._actions if each.dest == "margin")
        assert f"default: {statistics.DEFAULT_MARGIN}" in told

    def test_defaults_of_train_in_spark(self):
        assert ReliabilitySettings().max_restarts == spark_driver.DEFAULT_RESTARTS
        assert train_spark.TEAM == spark_driver.TEAM
        assert kind_of(train_spark.TEAM).reads == "Spark"

    def test_defaults_of_compare(self):
        assert parser_of("compare").get_default("workers") == compare.DEFAULT_WORKERS
        told = action("compare", "strategies").help
        assert f"default: {', '.join(compare.DEFAULT_STRATEGIES)}" in told
        assert f"default: {compare.DEFAULT_SEEDS};" in action("compare", "seeds").help

    def test_defaults_of_study_minibatch(self):
        parser = parser_of("study", "minibatch")
        assert parser.get_default("workers") == minibatch.MINIBATCH_WORKERS
        assert parser.get_default("base").epochs == minibatch.MINIBATCH_EPOCHS
        assert parser.get_default("splits") is None  # which stands for:
        assert study_command.DEFAULT_SPLITS == compare.DEFAULT_SEEDS

    def test_defaults_of_study_strategies(self):
        assert (strategies_command.RATES, strategies_command.WORKERS) == (
            strategies.DEFAULT_RATES,
            strategies.DEFAULT_WORKERS,
        )
        parser, request = parser_of("study", "strategies"), strategies.StrategiesRequest()
        for name in ("workers", "rates"):
            assert parser.get_default(name) == getattr(request, name), name
        assert replace(parser.get_default("base"), validation=None) == request.spec
        told = {each.dest: each.help for each in parser._actions}
        for name in ("workers", "rates"):
            assert f"default: {','.join(map(str, getattr(request, name)))}" in told[name]
        for name in ("seeds", "tuning"):
            assert f"default: {getattr(request, name)}" in told[name]

    def test_strategies_are_named_in_the_help(self):
        told = action("compare", "strategies").help
        assert [name for name in STRATEGIES if name not in told] == []


def parser_of(*path):
    """The parser of a command, or of a command's command."""
    from manyhands.cli.program import _parser

    parser = _parser()
    for name in path:
        parser = next(each for each in parser._actions if isinstance(each, argparse._SubParsersAction)).choices[name]
    return parser


def action(command, name):
    """The parser's record of an option of a command."""
    return next(each for each in parser_of(command)._actions if each.dest == name)


FLOORS = [
    {"core"},
    {"runtime"},
    {"data", "learners", "teams"},
    {"merges"},
    {"strategies"},
    {"training"},
    {"records"},
    {"evaluation", "exporting"},
    {"reports"},
    {"studies", "doctor", "recognition", "planning"},
    {"web"},
    {"cli", "estimators", "spark"},
    {"__main__"},
]
"""From the ground up; the rooms of one floor do not import each other."""
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def part_of(name: str) -> str:
    """Return the part of the package that a dotted name belongs to: `manyhands.data.idx` is of `data`."""
    return name.split(".")[1] if "." in name else ""


def imports(source: str, module: str, *, is_package: bool = False) -> Iterator[str]:
    """Yield the dotted names of this package that a module imports, anywhere in it and for any purpose."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "manyhands")
        elif isinstance(node, ast.ImportFrom):
            home = node.module or ""
            if node.level:
                parents = module.split(".")[: len(module.split(".")) - node.level + is_package]
                home = ".".join([*parents, *filter(None, [home])])
            if home.split(".")[0] == "manyhands":
                yield from (f"{home}.{alias.name}" for alias in node.names)


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Return the imports of a module that no floor allows."""
    own = part_of(module)
    wrong = []
    for name in imports(source, module, is_package=is_package):
        other = part_of(name)
        if other != own and FLOOR.get(other, len(FLOORS)) >= FLOOR[own]:
            wrong.append(name)
    return wrong


MODULES = {
    ".".join(["manyhands", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


class TestFloors:
    def test_imports_go_down_only(self):
        wrong = {
            module: violations(path.read_text(), module, is_package=path.name == "__init__.py")
            for module, path in MODULES.items()
            if module != "manyhands"
        }
        assert {module: names for module, names in wrong.items() if names} == {}

    def test_every_part_has_its_floor(self):
        assert {part_of(name) for name in MODULES if name != "manyhands"} <= FLOOR.keys()

    @pytest.mark.parametrize(
        ("module", "source"),
        [
            ("manyhands.data.idx", "from manyhands.training.run import run"),
            ("manyhands.data.idx", "from manyhands.teams import solo"),
            ("manyhands.data.idx", "import manyhands.learners.mlp.settings"),
            ("manyhands.data.idx", "from ..teams.solo import Solo"),
            ("manyhands.core.errors", "def f():\n    from manyhands.data.idx import read_idx"),
            ("manyhands.studies.compare.text", "if TYPE_CHECKING:\n    from manyhands.cli import main"),
            ("manyhands.training.run", "from manyhands import compare"),
            ("manyhands.training.run", "from manyhands.attic import junk"),
        ],
    )
    def test_rule_sees_what_is_forbidden(self, module, source):
        assert len(violations(source, module)) == 1

    @pytest.mark.parametrize(
        ("module", "source"),
        [
            ("manyhands.data.idx", "from manyhands.core.errors import FormatError"),
            ("manyhands.data.idx", "from .csvfile import read_csv"),
            ("manyhands.cli.train", "import numpy\nfrom manyhands.training.run import run"),
        ],
    )
    def test_rule_lets_pass_what_is_allowed(self, module, source):
        assert violations(source, module) == []

    def test_no_modules_import_each_other_in_a_circle(self):
        """Those of a function count: it would be a circle as soon as it moved to the top."""
        graph = {
            module: {name for name in MODULES if any(each == name or each.startswith(f"{name}.") for each in found)}
            for module, path in MODULES.items()
            for found in [list(imports(path.read_text(), module, is_package=path.name == "__init__.py"))]
        }
        below = {module: {name for name in found if name.count(".") > 1} for module, found in graph.items()}
        assert [cycle for module in below if (cycle := circle(module, below))] == []

    def test_no_file_is_longer_than_a_reader_likes(self):
        lengths = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
        assert {module: length for module, length in lengths.items() if length > 450} == {}

    def test_nothing_is_loose_at_the_root(self):
        assert {path.name for path in PACKAGE.iterdir() if path.is_file()} == {"__init__.py", "__main__.py", "py.typed"}


def circle(start: str, below: dict[str, set[str]]) -> list[str]:
    """Return a way from a module back to itself, or nothing."""
    ways = [[start]]
    seen = {start}
    while ways:
        way = ways.pop()
        for name in below.get(way[-1], ()):
            if name == start:
                return [*way, name]
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []
