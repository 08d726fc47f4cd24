"""Every example in the documents works: Python is run, command lines are parsed, and the cheap ones run, too.

An HTML comment on a line of its own before a block says what is special about it:

- ``<!-- slow -->``: it needs minutes, and runs with the slow tests only;
- ``<!-- not run: why -->``: it cannot run here; its command lines are parsed all the same;
- ``<!-- setup: code -->``: Python that the block after it needs and readers need not see.
"""

import contextlib
import doctest
import importlib
import io
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import manyhands

ROOT = Path(__file__).parents[1]
PACKAGE = Path(manyhands.__file__).parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = [
    ".".join(["manyhands", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text()
]
LANGUAGES = {"python", "console", "sh", "text", "csv", "json", "toml", "yaml", "bibtex"}
BLOCK = re.compile(r"((?:^<!--(?:(?!-->).)*-->\n+)*)^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--(.*?)-->", re.DOTALL)
PROMPT = "$ "
ENDS_A_COMMAND = re.compile(r"[|&;<>]+|\d>+")
LOOP = re.compile(r"for (\w+) in ([^;]+); do ")
REAL_DATA = re.compile(r"mnist|letters")


@dataclass(frozen=True)
class Block:
    """An example: its language, its text, the line of its document that it begins on, and comments before it."""

    path: Path
    line: int
    language: str
    text: str
    comments: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"

    @property
    def is_slow(self) -> bool:
        return "slow" in self.comments

    @property
    def is_run(self) -> bool:
        return not any(comment.startswith("not run:") for comment in self.comments)

    @property
    def setup(self) -> str:
        return "\n".join(each.removeprefix("setup:").strip() for each in self.comments if each.startswith("setup:"))

    @property
    def commands(self) -> list[str]:
        """What a reader would type into a shell."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            return [line.removeprefix(PROMPT) for line in lines if line.startswith(PROMPT)]
        return [line for line in lines if line.strip() and not line.startswith("#")] if self.language == "sh" else []


def blocks_of(path: Path) -> list[Block]:
    text = path.read_text()
    found = []
    for match in BLOCK.finditer(text):
        comments = tuple(comment.strip() for comment in COMMENT.findall(match[1]))
        line = text.count("\n", 0, match.start(3)) + 1
        found.append(Block(path, line, match[2].strip(), match[3], comments))
    return found


BLOCKS = [block for path in DOCUMENTS for block in blocks_of(path)]


def unrolled(command: str) -> list[str]:
    """Return what a loop of a shell does, as commands; of another command, itself."""
    if loop := LOOP.match(command):
        return [command.replace(f"${loop[1]}", value) for value in loop[2].split()]
    return [command]


def words_for_manyhands(command: str) -> list[list[str]]:
    """Return the arguments of each call of manyhands in a line for a shell, whoever starts it."""
    calls = []
    for line in unrolled(command):
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split, current = True, None
        for word in lexer:
            if ENDS_A_COMMAND.fullmatch(word):
                current = None
            elif current is not None:
                current.append(word)
            elif Path(word).name == "manyhands":
                calls.append(current := [])
    return calls


def refusal(arguments: list[str]) -> str:
    """Return what the parser of the command line says against some arguments; nothing if it takes them."""
    from manyhands.cli.program import _parser

    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            _parser().parse_args(arguments)
        except SystemExit as end:
            return said.getvalue() if end.code else ""
    return ""


def test_every_block_says_its_language():
    assert [
        block.name for block in BLOCKS if block.language not in LANGUAGES and not block.language.startswith("{")
    ] == []


def test_every_command_line_is_right():
    wrong = {
        f"{block.name}: {command}": said
        for block in BLOCKS
        for command in block.commands
        for arguments in words_for_manyhands(command)
        if (said := refusal(arguments))
    }
    assert wrong == {}


def test_every_target_of_make_exists():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = [command for block in BLOCKS for command in block.commands if command.startswith("make ")]
    assert {command.split()[1] for command in commands} <= targets


def runnable(language: str, slow: bool) -> list[object]:
    """Return the documents that have blocks to run, each as a parameter."""
    return [
        pytest.param(chosen, id=str(path.relative_to(ROOT)), marks=[pytest.mark.slow] if slow else [])
        for path in DOCUMENTS
        if (chosen := [each for each in BLOCKS if each.path == path and each.language == language and each.is_run])
        and any(is_expensive(block) == slow for block in chosen)
    ]


def is_expensive(block: Block) -> bool:
    """Tell whether a block is left to the slow tests: all commands are but those on scikit-learn's small digits."""
    if block.language == "python":
        return block.is_slow
    return block.is_slow or not all("digits" in command for command in block.commands)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Work in a new folder, with the programs of this environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for variable in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"):
        monkeypatch.setenv(variable, "1")
    if (ROOT / ".venv").exists():
        (tmp_path / ".venv").symlink_to(ROOT / ".venv")


def needs_real_data(blocks: list[Block], request: pytest.FixtureRequest) -> None:
    if any(REAL_DATA.search(block.text) for block in blocks):
        request.getfixturevalue("data_folder")


def run_python(blocks: list[Block], slow: bool) -> None:
    namespace = {"__name__": "example"}
    for block in blocks:
        exec(compile(block.setup, f"setup of {block.name}", "exec"), namespace)
        if slow or not block.is_slow:
            padded = "\n" * (block.line - 1) + block.text  # so that a traceback names the document's line
            exec(compile(padded, str(block.path), "exec"), namespace)


def run_commands(blocks: list[Block], slow: bool) -> None:
    for block in blocks:
        if slow or not is_expensive(block):
            script = "\n".join(["set -e", *block.commands])
            status, said = run_script(script)
            assert status == 0, f"{block.name}:\n{script}\n{said}"


def run_script(script: str) -> tuple[int, str]:
    """Run a script for a shell; return its status and what it printed. All its processes end with the test."""
    with subprocess.Popen(
        ["bash", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said = process.communicate()[0]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
    return process.returncode, said


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("blocks", runnable("python", slow=False))
def test_python_runs(blocks, request):
    needs_real_data(blocks, request)
    run_python(blocks, slow=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("blocks", runnable("python", slow=True))
def test_all_python_runs(blocks, request):
    needs_real_data(blocks, request)
    run_python(blocks, slow=True)


@pytest.mark.parametrize("blocks", runnable("console", slow=False))
@pytest.mark.usefixtures("elsewhere")
def test_cheap_commands_run(blocks):
    run_commands(blocks, slow=False)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("blocks", runnable("console", slow=True))
@pytest.mark.usefixtures("elsewhere")
def test_all_commands_run(blocks, request):
    needs_real_data(blocks, request)
    run_commands(blocks, slow=True)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.usefixtures("elsewhere")
def test_examples_in_docstrings(name):
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0


class TestReading:
    """The reader of documents, on a document that is all here."""

    DOCUMENT = """
Text.

<!-- setup:
x = 1
-->
<!-- slow -->
```python
assert x == 1
```

<!-- not run: no such machine -->
```console
$ A=1 mpiexec -n 2 .venv/bin/manyhands train --out 'a b' \\
  --epochs 1 > out.txt
some output
$ ls | manyhands report out.json; echo manyhands
```
```sh
# a comment
make test
```
"""

    @pytest.fixture
    def blocks(self, tmp_path):
        path = tmp_path / "document.md"
        path.write_text(self.DOCUMENT)
        return blocks_of(path)

    def test_blocks(self, blocks):
        assert [block.language for block in blocks] == ["python", "console", "sh"]
        assert [block.line for block in blocks] == [9, 14, 20]
        assert [(block.is_slow, block.is_run, block.setup) for block in blocks] == [
            (True, True, "x = 1"),
            (False, False, ""),
            (False, True, ""),
        ]

    def test_commands(self, blocks):
        first, second = blocks[1].commands
        assert words_for_manyhands(first) == [["train", "--out", "a b", "--epochs", "1"]]
        assert words_for_manyhands(second) == [["report", "out.json"], []]
        assert blocks[2].commands == ["make test"]

    def test_a_loop_is_each_of_its_commands(self):
        calls = words_for_manyhands("for s in 1 2; do manyhands train --seed $s | grep accuracy; done")
        assert calls == [["train", "--seed", "1"], ["train", "--seed", "2"]]

    def test_a_wrong_option_is_refused(self):
        assert "--wrokers" in refusal(["train", "--wrokers", "2"])
        assert refusal(["train", "--workers", "2"]) == refusal(["--help"]) == ""
