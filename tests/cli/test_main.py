"""The program as a whole: exit statuses, messages, and what happens when its output goes nowhere."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

import manyhands
from manyhands.cli import main, options
from manyhands.core.errors import DataError, DivergedError, OutputError, SettingsError

COMPARE_OPTIONS = (
    "--data --train-csv --test-csv --label-column --train-size --scale --hidden --activation --optimizer "
    "--learning-rate --batch --epochs --workers --strategy --team --sharding --seeds --seed --json --quiet --debug"
)


def manyhands_process(*arguments, **settings):
    return subprocess.run(
        [sys.executable, "-m", "manyhands", *map(str, arguments)],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 100, **settings},
        check=False,
    )


@pytest.fixture(scope="module")
def csv_options(tmp_path_factory):
    """Options for a training that takes no time, not even for importing scikit-learn."""
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    path.write_text("".join(f"{row % 2},{row},{-row}\n" for row in range(20)))
    return ["--train-csv", path, "--test-csv", path, "--epochs", "1", "--hidden", "2"]


class TestStatus:
    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (SettingsError("too many workers"), 2),
            (DataError("no such column", path="a.csv", line=3), 1),
            (OutputError("disk full"), 1),
            (DivergedError(7, 0, float("nan")), 1),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_error_is_one_message_and_a_status(self, monkeypatch, capsys, error, status):
        def fail(_options):
            raise error

        monkeypatch.setattr("manyhands.cli.train.run", fail)
        assert main(["train"]) == status
        printed = capsys.readouterr()
        assert printed.err == f"manyhands train: {error}\n"
        assert printed.out == ""

    def test_debug_lets_the_error_through(self, monkeypatch):
        def fail(_options):
            raise DataError("no such column")

        monkeypatch.setattr("manyhands.cli.train.run", fail)
        with pytest.raises(DataError, match="no such column"):
            main(["train", "--debug"])

    def test_interrupt_is_130(self, monkeypatch, capsys):
        def interrupt(_options):
            raise KeyboardInterrupt

        monkeypatch.setattr("manyhands.cli.train.run", interrupt)
        assert main(["train"]) == 130
        assert capsys.readouterr().err == "manyhands train: interrupted\n"

    def test_a_lack_of_memory_is_one_message(self, monkeypatch, capsys):
        def need(_options):
            raise MemoryError("Unable to allocate 59.6 GiB\nfor an array")

        monkeypatch.setattr("manyhands.cli.train.run", need)
        assert main(["train"]) == 1
        said = capsys.readouterr().err
        assert said.startswith("manyhands train: this process has run out of memory (for an array); ")
        assert said.count("\n") == 1

    @pytest.mark.parametrize("command", ["train", "compare", "sweep"])
    @pytest.mark.parametrize(("hidden", "status"), [("999999999999", 1), ("1" + 30 * "0", 2)])
    def test_a_network_that_fits_into_no_memory(self, capsys, command, hidden, status):
        assert main([command, "--data", "digits", "--hidden", hidden]) == status
        assert capsys.readouterr().err.count("\n") == 1

    @pytest.mark.parametrize("command", ["compare", "sweep"])
    def test_more_runs_than_anybody_waits_for(self, capsys, command):
        option = "--seeds" if command == "compare" else "--runs"
        assert main([command, "--data", "digits", option, "1000000000"]) == 2
        assert "must be at most 1000000, not 1000000000" in capsys.readouterr().err

    def test_own_bugs_are_not_hidden(self, monkeypatch):
        def stumble(_options):
            raise RuntimeError("a bug")

        monkeypatch.setattr("manyhands.cli.train.run", stumble)
        with pytest.raises(RuntimeError, match="a bug"):
            main(["train"])

    @pytest.mark.parametrize("arguments", [["conquer"], ["train", "--sped", "9"], ["evaluate"]], ids=str)
    def test_wrong_usage_is_2_and_says_where_help_is(self, capsys, arguments):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        said, help = capsys.readouterr().err.splitlines()
        command = " ".join(["manyhands", *arguments[:1]]) if arguments != ["conquer"] else "manyhands"
        assert said.startswith(f"{command}: ")
        assert help == f"{command} --help shows how it is used"

    @pytest.mark.parametrize("arguments", [[], ["study"]], ids=str)
    def test_what_needs_a_further_word_shows_its_help(self, capsys, arguments):
        assert main(arguments) == 0
        printed = capsys.readouterr()
        with pytest.raises(SystemExit):
            main([*arguments, "--help"])
        assert (printed.out, printed.err) == (capsys.readouterr().out, "")
        assert printed.out.startswith(" ".join(["usage: manyhands", *arguments, ""]))

    def test_version(self, capsys):
        with pytest.raises(SystemExit) as stopped:
            main(["--version"])
        assert stopped.value.code == 0
        assert capsys.readouterr().out == f"manyhands {manyhands.__version__}\n"

    def test_help_cuts_no_word(self, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit):
            main(["train", "--help-all"])
        assert [line for line in capsys.readouterr().out.splitlines() if line.endswith("-")] == []

    def test_help_of_compare_has_all_its_options(self, capsys):
        with pytest.raises(SystemExit):
            main(["compare", "--help-all"])
        words = capsys.readouterr().out.replace(",", " ").replace("[", " ").split()
        assert set(COMPARE_OPTIONS.split()) <= set(words)


class TestOptions:
    @pytest.mark.parametrize("text", ["", "0", "-4", "4,,5", "4,", "4.5", "four", "1e3"])
    def test_numbers_that_are_none(self, capsys, text):
        with pytest.raises(SystemExit):
            main(["compare", f"--workers={text}"])
        assert "is not a whole number from 1 on" in capsys.readouterr().err

    @pytest.mark.parametrize("other", ["same.json", "./same.json", "sub/../same.json"])
    def test_two_results_cannot_go_to_one_file(self, tmp_path, monkeypatch, other):
        (tmp_path / "sub").mkdir()
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SettingsError, match="same file"):
            options.check_output("same.json", other)

    def test_results_may_go_to_two_files_or_none(self, tmp_path):
        options.check_output(str(tmp_path / "a"), None, str(tmp_path / "b"), None)


class TestProcess:
    def test_error_has_no_traceback(self):
        done = manyhands_process("train", "--data", "no-such-folder")
        assert done.returncode == 1
        assert done.stderr.startswith("manyhands train: there is no data set, folder or file 'no-such-folder'")
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize("addresses", [60 << 20, 300 << 20])
    def test_libraries_that_find_no_room(self, addresses):
        limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (addresses, addresses))  # noqa: E731
        done = manyhands_process("train", "--data", "digits", "--quiet", preexec_fn=limit)
        assert done.returncode == 1
        assert "has run out of memory" in done.stderr
        assert done.stderr.count("\n") == 1

    def test_debug_shows_the_traceback(self):
        done = manyhands_process("train", "--data", "no-such-folder", "--debug")
        assert done.returncode == 1
        assert "Traceback" in done.stderr
        assert "MissingDataError" in done.stderr

    def test_reader_that_goes_away(self, csv_options):
        """As in `manyhands train | head -1`."""
        with subprocess.Popen(
            [sys.executable, "-m", "manyhands", "train", *map(str, csv_options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode == 1

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
    def test_output_on_a_full_disk(self, csv_options):
        with open("/dev/full", "w") as full:
            done = manyhands_process("train", *csv_options, stdout=full)
        assert done.returncode == 1
        assert done.stderr == "manyhands train: the standard output cannot be written: No space left on device\n"

    def test_closed_output(self, csv_options):
        """As in `manyhands train >&-`, or a service without a console."""
        done = subprocess.run(
            ["/bin/sh", "-c", 'exec "$0" "$@" >&-', sys.executable, "-m", "manyhands", "train", *map(str, csv_options)],
            stderr=subprocess.PIPE,
            text=True,
            timeout=100,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_terminal_that_knows_no_plus_minus(self, csv_options, monkeypatch):
        monkeypatch.setenv("PYTHONIOENCODING", "ascii")
        done = manyhands_process("compare", *csv_options, "--workers", "1", "--strategy", "gradient", "--seeds", "2")
        assert [line for line in done.stderr.splitlines() if "keeps this machine busy" not in line] == []
        assert done.returncode == 0
        assert "sequential" in done.stdout
