"""``manyhands sweep``: from the command line to Table I and files; a kill or Ctrl-C loses nothing that was finished."""

import functools
import json
import re
import signal
import subprocess
import sys
import time

import pytest

from manyhands.cli import main
from manyhands.teams import mpi_environment

START = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('manyhands', run_name='__main__', alter_sys=True)"
)
"""Listens to Ctrl-C even if the tests were started in the background, where shells tell programs to ignore it."""

SMALL = ["sweep", "--data", "digits", "--hidden", "4,8-6", "--epochs", "2,9", "--runs", "2"]
LONG = ["sweep", "--data", "digits", "--hidden", "40", "--epochs", "150", "--runs", "200"]
"""200 sessions of a tenth of a second or so."""


def call(*arguments):
    return main([str(argument) for argument in arguments])


def lines(path):
    """Return whole lines of a file that may not be there yet."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", START, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop_at(process, journal, number, how):
    """Send a signal when so many sessions are in the journal; return output and errors."""
    end = time.monotonic() + 60
    try:
        while len(lines(journal)) < 1 + number:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.005)
        process.send_signal(how)
        return process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()


class TestOutput:
    def test_says_what_is_run_on_what_and_prints_the_table(self, capsys, tmp_path):
        assert call(*SMALL, "--json", tmp_path / "f", "--workers", 2) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        assert "data      digits: 1,198 training, 239 validation and 360 test samples" in printed.out
        assert "network   64-(4,8-6)-10 relu, adam 0.001" in printed.out
        assert "plan      batch 200, 2,9 epochs, 8 sessions, 2 side by side" in printed.out
        record = json.loads((tmp_path / "f").read_text())
        for row in record["table"]:
            name = "-".join(map(str, row["hidden"]))
            assert re.search(
                rf"^ *{name} +{row['epochs']} +{row['time_s']:.3f}~ +{row['accuracy_pct']:.2f} ±\d+\.\d\d "
                rf"+{row['test_pct']:.2f} ",
                printed.out,
                re.MULTILINE,
            )
        assert f"best: {record['best']['reason']} " in " ".join(printed.out.split())
        assert max(map(len, printed.out.splitlines())) <= 100

    def test_quiet_prints_the_result_only(self, capsys):
        assert call(*SMALL, "--quiet") == 0
        printed = capsys.readouterr()
        assert printed.out.startswith("hidden  epochs  time s  validation %  test %")
        assert printed.err == ""

    def test_published_numbers_beside_what_was_published(self, capsys):
        assert call("sweep", "--data", "digits", "--hidden", "4,50", "--epochs", "50", "--runs", 1, "--quiet") == 0
        table = capsys.readouterr().out.split("\n\n")[0].splitlines()
        assert table[0].endswith("published (MIPRO 2021)")
        assert table[3].split()[:2] == ["4", "50"]
        assert not re.search(r"7\.21|85\.90", table[3])
        assert re.match(r"50 +50 .* 7\.21 +85\.90 +11\.91", table[4])
        assert max(map(len, table)) <= 100

    def test_as_published(self, capsys, tmp_path):
        words = ["--as-published", "--hidden", "4", "--epochs", "3", "--runs", 2, "--json", tmp_path / "f"]
        assert call("sweep", "--data", "digits", *words) == 0
        printed = capsys.readouterr()
        assert "digits: 1,437 training and 360 test samples" in printed.out
        assert "MLPClassifiers, batch 200, 3 epochs, 2 sessions" in printed.out
        assert "As published, the best is chosen on the test samples" in printed.out
        assert printed.err == ""
        record = json.loads((tmp_path / "f").read_text())
        assert (record["settings"]["chosen_on"], record["settings"]["data"]["scaling"]) == ("test", "none")
        assert record["settings"]["network"]["dtype"] == "float64"

    def test_options_of_the_network_are_used(self, tmp_path, capsys):
        words = ["--activation", "tanh", "--optimizer", "sgd", "--batch", 50, "--dtype", "float64", "--seed", 3]
        assert call(*SMALL, *words, "--l2", 0.5, "--quiet", "--json", tmp_path / "f") == 0
        record = json.loads((tmp_path / "f").read_text())
        network = record["settings"]["network"]
        assert (network["activation"], network["optimizer"], network["dtype"]) == ("tanh", "sgd", "float64")
        assert (network["l2"], record["settings"]["batch"]) == (0.5, 50)
        assert [session["seed"] for session in record["sessions"]] == [3, 4] * 4
        capsys.readouterr()

    def test_a_dtype_that_was_asked_for_is_used_as_published_too(self, tmp_path, capsys):
        words = ["--as-published", "--dtype", "float32", "--hidden", "4", "--epochs", "2", "--runs", 1, "--quiet"]
        assert call("sweep", "--data", "digits", *words, "--json", tmp_path / "f") == 0
        assert json.loads((tmp_path / "f").read_text())["settings"]["network"]["dtype"] == "float32"
        capsys.readouterr()

    def test_splits_and_validation_rows(self, tmp_path, capsys):
        words = ["--splits", 2, "--validation", 100, "--train-size", 500, "--quiet", "--json", tmp_path / "f"]
        assert call(*SMALL[:-2], *words) == 0
        record = json.loads((tmp_path / "f").read_text())
        data = record["settings"]["data"]
        assert (data["train_rows"], data["validation_rows"], data["test_rows"]) == (500, 100, 360)
        assert [session["split"] for session in record["sessions"]] == [0, 1] * 4
        capsys.readouterr()

    def test_more_workers_than_sessions(self, capsys):
        assert call(*SMALL, "--workers", 50, "--quiet") == 0
        printed = capsys.readouterr()
        assert "up to 8 sessions ran side by side" in printed.out
        assert printed.err == ""

    def test_a_target_out_of_reach_is_an_answer(self, capsys):
        assert call(*SMALL, "--min-accuracy", 1, "--quiet") == 0
        out = " ".join(capsys.readouterr().out.split())
        assert "best: no classifier reaches 100 % on the validation samples; the highest is" in out

    def test_retime_with_and_without_a_number(self, capsys, tmp_path):
        for words, expected in ((["--retime", 1], [True, False] * 4), (["--retime"], [True] * 8)):
            assert call(*SMALL, "--workers", 2, *words, "--quiet", "--json", tmp_path / "f") == 0
            record = json.loads((tmp_path / "f").read_text())
            assert [session["retimed_s"] is not None for session in record["sessions"]] == expected
            assert "~" not in capsys.readouterr().out

    def test_a_report(self, capsys, tmp_path):
        pytest.importorskip("matplotlib", reason="needs the extra report")
        assert call(*SMALL, "--quiet", "--report", tmp_path / "report") == 0
        assert capsys.readouterr().out.rstrip().endswith(f"report    {tmp_path / 'report' / 'report.html'}")
        assert not (tmp_path / "report" / "sweep.checkpoint").exists()
        assert json.loads((tmp_path / "report" / "results.json").read_text())["schema"] == "manyhands.sweep/1"


class TestRefused:
    @pytest.fixture(autouse=True)
    def no_training(self, monkeypatch):
        monkeypatch.setattr("manyhands.studies.sweep.run.run", lambda *_a, **_o: pytest.fail("training was started"))

    @pytest.mark.parametrize(
        ("arguments", "status", "words"),
        [
            ("--hidden 0", 2, "manyhands sweep: --hidden: '0' is not a whole number from 1 on"),
            ("--epochs 5,", 2, "manyhands sweep: --epochs: '' is not a whole number"),
            ("--s1 -1", 2, "manyhands sweep: --s1: '-1' is not a positive number"),
            ("--min-accuracy 93", 2, "'93' is not an accuracy above 0 and up to 1 (100%); write 93% or 0.93"),
            ("--retime 0", 2, "manyhands sweep: --retime: '0' is not a whole number from 1 on"),
            ("--team pigeons", 2, "--team: 'pigeons' is unknown; choose one of threads, mpi, "),
            ("--splits 2 --runs 2", 2, "manyhands sweep: --splits N replaces --runs; give only one of them"),
            ("--as-published --scale 255", 2, "manyhands sweep: --scale and --as-published do not go together"),
            ("--as-published --validation 9", 2, "--validation and --as-published do not go together"),
            ("--as-published --batch 9", 2, "--batch and --as-published do not go together"),
            ("--team mpi", 2, "start them with mpiexec -n 2 ..., or leave --team mpi out"),
            ("--validation 1437", 2, "1437 of 1437 training rows cannot be kept for validation: ask for 1 to 1436"),
            ("--data nowhere", 1, "nowhere"),
            ("--json no/such/f", 1, "there is no folder no/such"),
            ("--checkpoint no/such/f", 1, "there is no folder no/such"),
            ("--checkpoint /dev/null", 1, "it is a device or a pipe"),
            ("--checkpoint f --json f", 2, "two results cannot go to the same file"),
            ("--json f.checkpoint --checkpoint f.checkpoint", 2, "two results cannot go to the same file"),
        ],
    )
    def test_with_one_line(self, capsys, tmp_path, monkeypatch, arguments, status, words):
        monkeypatch.chdir(tmp_path)
        what = [word.strip("'") for word in arguments.split()]
        try:
            found = call("sweep", *([] if "--data" in what else ["--data", "digits"]), *what)
        except SystemExit as stopped:
            found = stopped.code
        printed = capsys.readouterr()
        assert found == status
        assert printed.out == ""
        first, *others = printed.err.splitlines()
        assert first.startswith("manyhands sweep: ")
        assert words in first
        assert others in ([], ["manyhands sweep --help shows how it is used"])
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("content", [b"hello\n", b'{\n "schema": "manyhands.sweep/1"\n}\n', b"\0\1\2\n"])
    def test_a_journal_that_is_none(self, capsys, tmp_path, content):
        """Nobody is told to delete a file that may be dear to him."""
        (tmp_path / "mine").write_bytes(content)
        assert call(*SMALL, "--checkpoint", tmp_path / "mine") == 1
        printed = capsys.readouterr()
        assert "this is no checkpoint of a study; give another file" in printed.err
        assert "delete" not in printed.err
        assert (printed.out, printed.err.count("\n")) == ("", 1)
        assert (tmp_path / "mine").read_bytes() == content

    def test_a_report_without_matplotlib(self, capsys, tmp_path, monkeypatch):
        for name in list(sys.modules):
            if name == "matplotlib" or name.startswith("matplotlib."):
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        assert call(*SMALL, "--report", tmp_path / "report") == 2
        printed = capsys.readouterr()
        assert "pip install matplotlib" in printed.err
        assert (printed.out, printed.err.count("\n")) == ("", 1)


class TestUnderMpiexec:
    @staticmethod
    def mpiexec(size, *arguments):
        pytest.importorskip("mpi4py")
        from manyhands.teams.mpi_world import library

        path, kind = mpi_environment.find_mpiexec(library())
        run = functools.partial(
            subprocess.run,
            [*mpi_environment.job_command(path, kind, size), sys.executable, "-m", "manyhands", *map(str, arguments)],
            env=mpi_environment.job_environment(kind),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        done = run()
        # Open MPI itself fails to start now and then, before any of our code runs.
        return run() if "failed to start" in done.stderr else done

    @pytest.mark.parametrize(
        ("words", "status", "said"),
        [
            pytest.param(
                ["--workers", 2], 2, "3 processes have been started .* add --team mpi", marks=pytest.mark.slow
            ),
            pytest.param([], 2, "3 processes have been started", marks=pytest.mark.slow),
            pytest.param(
                ["--team", "mpi", "--workers", 2],
                2,
                "this MPI job has 3 processes, but 2 workers were",
                marks=pytest.mark.slow,
            ),
            pytest.param(
                ["--team", "mpi", "--json", "no/such/f"], 1, "there is no folder no/such", marks=pytest.mark.slow
            ),
            (["--team", "mpi", "--min-accuracy", 0.93, "--s1", 0.5, "--learning-rate", 1e30], 1, "diverged"),
        ],
    )
    def test_what_cannot_work_is_said_once(self, words, status, said):
        done = self.mpiexec(3, *SMALL, "--quiet", *words)
        assert done.returncode == status
        [line] = [line.strip() for line in done.stderr.splitlines() if line.strip().startswith("manyhands ")]
        assert re.search(said, line)
        assert "Traceback" not in done.stderr

    def test_one_process_speaks_and_writes_and_times_again_alone(self, tmp_path):
        done = self.mpiexec(2, *SMALL, "--team", "mpi", "--json", tmp_path / "f", "--retime", 1)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("8 sessions, 2 side by side") == 1
        assert done.stdout.count("best: ") == 1
        assert [path.name for path in tmp_path.iterdir()] == ["f"]
        record = json.loads((tmp_path / "f").read_text())
        assert [each["retimed_s"] is not None for each in record["sessions"]] == [True, False] * 4
        assert not any(row["time_falsified"] for row in record["table"])

    @pytest.mark.slow
    def test_a_single_process_of_mpiexec(self, tmp_path):
        done = self.mpiexec(1, *SMALL, "--team", "mpi", "--json", tmp_path / "f", "--quiet")
        said = [line for line in done.stderr.splitlines() if "keeps this machine busy" not in line]
        assert (done.returncode, said) == (0, [])
        assert "~" not in done.stdout

    @pytest.mark.slow
    def test_a_full_disk_is_said_and_the_finished_sessions_are_printed(self, tmp_path):
        """Whichever process has finished the session that finds no room."""
        disk = tmp_path / "disk"
        disk.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", disk]
        if subprocess.run(words, capture_output=True, timeout=20, check=False).returncode != 0:
            pytest.skip("only root can mount a disk")
        try:
            words = ["--team", "mpi", "--runs", 50, "--checkpoint", disk / "journal", "--quiet"]
            done = self.mpiexec(2, *SMALL, *words)
            kept = lines(disk / "journal")
        finally:
            subprocess.run(["umount", disk], timeout=20, check=True)
        assert done.returncode == 1
        assert "manyhands sweep: cannot write" in done.stderr
        assert len(kept) > 5
        assert all(json.loads(line) for line in kept)


class TestJournal:
    @pytest.mark.parametrize(
        ("option", "how"),
        [
            ("--json", signal.SIGKILL),
            pytest.param("--json", signal.SIGINT, marks=pytest.mark.slow),  # as in TestCtrlC
            pytest.param("--json", signal.SIGTERM, marks=pytest.mark.slow),
            pytest.param("--report", signal.SIGKILL, marks=pytest.mark.slow),
            pytest.param("--checkpoint", signal.SIGKILL, marks=pytest.mark.slow),
        ],
    )
    def test_is_there_after_the_end_of_the_process_and_gone_after_success(self, tmp_path, capsys, option, how):
        if option == "--report":
            pytest.importorskip("matplotlib", reason="needs the extra report")
        target = tmp_path / "target"
        journal = {
            "--json": tmp_path / "target.checkpoint",
            "--report": target / "sweep.checkpoint",
            "--checkpoint": target,
        }[option]
        words = ["sweep", "--data", "digits", "--hidden", "40", "--epochs", "150", "--runs", 20, option, target]
        out, err = stop_at(start(*words), journal, 3, how)
        assert "Traceback" not in err
        kept = lines(journal)
        assert 4 <= len(kept) < 21
        if how != signal.SIGKILL:
            assert "Interrupted: only finished sessions are counted." in out
        assert call(*words, "--quiet") == 0
        capsys.readouterr()
        if option == "--checkpoint":
            assert lines(journal)[: len(kept)] == kept
            assert len(lines(journal)) == 21
            return
        assert not journal.exists()
        path = target if option == "--json" else target / "results.json"
        sessions = json.loads(path.read_text())["sessions"]
        for entry in map(json.loads, kept[1:]):  # these were not done again: their times are the same
            assert sessions[entry["seed"]] == entry["record"]

    def test_of_a_result_that_cannot_be_written_stays(self, tmp_path, capsys, monkeypatch):
        from manyhands.core.errors import OutputError
        from manyhands.studies.sweep.results import Sweep

        def fail(_self, path):
            raise OutputError(f"cannot write {path}: No space left on device")

        monkeypatch.setattr(Sweep, "save", fail)
        assert call(*SMALL, "--quiet", "--json", tmp_path / "f") == 1
        printed = capsys.readouterr()
        assert "best: " in printed.out  # there is no file, but there is a table
        assert printed.err == f"manyhands sweep: cannot write {tmp_path / 'f'}: No space left on device\n"
        assert len(lines(tmp_path / "f.checkpoint")) == 9

    def test_of_other_settings_names_them(self, tmp_path, capsys):
        assert call(*SMALL, "--quiet", "--checkpoint", tmp_path / "journal") == 0
        before = (tmp_path / "journal").read_bytes()
        capsys.readouterr()
        assert call(*SMALL, "--quiet", "--checkpoint", tmp_path / "journal", "--batch", 7) == 2
        printed = capsys.readouterr()
        assert "(batch: 200 there, 7 now); give another file, or delete it" in printed.err
        assert (printed.out, printed.err.count("\n")) == ("", 1)
        assert (tmp_path / "journal").read_bytes() == before

    def test_of_another_process(self, tmp_path, capsys):
        journal = tmp_path / "journal"
        process = start(*LONG, "--checkpoint", journal)
        try:
            while len(lines(journal)) < 2:
                assert process.poll() is None, process.communicate()
                time.sleep(0.01)
            process.send_signal(signal.SIGSTOP)
            assert call(*LONG, "--checkpoint", journal, "--quiet") == 2
            printed = capsys.readouterr()
            assert printed.err == f"manyhands sweep: {journal}: another process is writing this checkpoint\n"
            assert printed.out == ""
        finally:
            process.kill()
            process.communicate()


class TestCtrlC:
    @pytest.mark.parametrize(
        ("hidden", "words"),
        [
            ("300-300", ["--workers", 2]),
            pytest.param("300-300", ["--workers", 1], marks=pytest.mark.slow),
            # It would stop early, but not within seconds.
            pytest.param("2000-2000", ["--as-published"], marks=pytest.mark.slow),
        ],
    )
    def test_in_the_middle_of_a_long_session(self, tmp_path, hidden, words):
        path = tmp_path / "f"
        long = ["sweep", "--data", "digits", "--hidden", hidden, "--epochs", "1000000", "--runs", 3]
        process = start(*long, "--json", path, *words)
        try:
            while not lines(tmp_path / "f.checkpoint"):
                assert process.poll() is None, process.communicate()
                time.sleep(0.01)
            time.sleep(1)
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
            assert time.monotonic() - began < 10
        finally:
            process.kill()
            process.wait()
        assert (process.returncode, "Traceback" in err) == (130, False)
        assert "\nNo session was finished.\n" in out
        assert json.loads(path.read_text())["sessions"] == []

    @pytest.mark.slow
    def test_while_sessions_are_timed_again(self, tmp_path):
        path, journal = tmp_path / "f", tmp_path / "f.checkpoint"
        words = ["sweep", "--data", "digits", "--hidden", "40", "--epochs", "400", "--runs", 8, "--workers", 2]
        process = start(*words, "--json", path, "--retime")
        _, err = stop_at(process, journal, 9, signal.SIGINT)  # all eight, and one timed again
        assert (process.returncode, "Traceback" in err) == (130, False)
        record = json.loads(path.read_text())
        assert len(record["sessions"]) == 8
        again = sum(session["retimed_s"] is not None for session in record["sessions"])
        assert 1 <= again <= len(lines(journal)) - 9 + 1 < 9

    def test_an_mpi_job_leaves_a_journal_to_go_on_from(self, tmp_path, capsys):
        pytest.importorskip("mpi4py")
        from manyhands.teams.mpi_world import library

        journal = tmp_path / "f.checkpoint"
        mpiexec, kind = mpi_environment.find_mpiexec(library())
        words = ["sweep", "--data", "digits", "--hidden", "40", "--epochs", "150", "--runs", 30]
        process = subprocess.Popen(
            [
                *mpi_environment.job_command(mpiexec, kind, 2),
                *(sys.executable, "-c", START),
                *map(str, words),
                *("--json", str(tmp_path / "f"), "--team", "mpi"),
            ],
            env=mpi_environment.job_environment(kind),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        _, err = stop_at(process, journal, 3, signal.SIGINT)
        assert process.returncode != 0
        assert "Traceback" not in err
        end = time.monotonic() + 10
        while True:  # the processes may outlive mpiexec for a moment
            kept = lines(journal)
            status = call(*words, "--json", tmp_path / "f", "--quiet")
            if status == 0 or time.monotonic() > end:
                break
            time.sleep(0.2)
        assert status == 0
        capsys.readouterr()
        sessions = {each["seed"]: each for each in json.loads((tmp_path / "f").read_text())["sessions"]}
        assert len(kept) >= 4
        for entry in map(json.loads, kept[1:]):
            assert sessions[entry["seed"]] == entry["record"]
        assert [path.name for path in tmp_path.iterdir()] == ["f"]
