"""The command line with the team mpi: under real mpiexec one process speaks and writes, and all end alike."""

import json
import re
import subprocess
import sys

import pytest
from safetensors import safe_open

from manyhands.cli import main
from manyhands.teams import mpi_environment

pytest.importorskip("mpi4py")
WORDS = ["--data", "digits", "--strategy", "periodic:1epoch", "--epochs", "6"]


def call(*arguments):
    return main([str(argument) for argument in arguments])


def mpiexec(size, *arguments, way=("-m", "manyhands")):
    """Run the command line, or another program, in so many processes."""
    from manyhands.teams.mpi_world import library

    path, kind = mpi_environment.find_mpiexec(library())
    return subprocess.run(
        [*mpi_environment.job_command(path, kind, size), sys.executable, *way, *map(str, arguments)],
        env=mpi_environment.job_environment(kind),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def content(path):
    """Return all that is in a model file, in an order of its own (the writer's differs from process to process)."""
    with safe_open(path, framework="numpy") as file:
        names = sorted(file.keys())
        arrays = [(name, file.get_tensor(name).dtype.str, file.get_tensor(name).tobytes()) for name in names]
        return sorted(file.metadata().items()), arrays


def report(path):
    """Return a report without what is different every time."""
    record = json.loads(path.read_text())
    del record["environment"], record["seconds"], record["worker_seconds"], record["worker_peaks"]
    del record["settings"]["team"]
    return record


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mpiexec")
    done = mpiexec(3, "train", *WORDS, "--team", "mpi", "--out", folder / "m", "--json", folder / "m.json")
    assert (done.returncode, done.stderr) == (0, "")
    return folder, done.stdout


class TestTrain:
    def test_one_process_speaks_and_writes(self, trained):
        folder, out = trained
        assert [line.split()[0] for line in out.splitlines() if not line.startswith(" ")] == [
            "data",
            "plan",
            "accuracy",
            "time",
            "work",
            "model",
            "json",
        ]
        assert "3 workers (mpi)" in out
        assert sorted(path.name for path in folder.iterdir()) == ["m", "m.json"]
        assert report(folder / "m.json")["settings"]["workers"] == 3

    @pytest.mark.parametrize("team", ["threads", "mpi"])
    def test_the_model_is_that_of_threads_and_of_a_job_of_our_own(self, trained, team, tmp_path, capsys):
        folder, out = trained
        files = ["--out", tmp_path / "m", "--json", tmp_path / "m.json"]
        assert call("train", *WORDS, "--team", team, "--workers", 3, *files) == 0
        assert content(tmp_path / "m") == content(folder / "m")
        assert report(tmp_path / "m.json") == report(folder / "m.json")
        told = capsys.readouterr().out
        for start in ("accuracy", "work"):
            lines = [re.search(rf"^{start} .*$", text, re.MULTILINE)[0] for text in (told, out)]
            assert lines[0] == lines[1]

    def test_a_sequential_run_needs_no_mpi(self, monkeypatch, capsys):
        monkeypatch.setattr("manyhands.training.jobs.client.Job", None)
        assert call("train", "--data", "digits", "--epochs", 2, "--team", "mpi") == 0
        assert "1 worker (solo)" in capsys.readouterr().out


class TestRefused:
    """In all of these every process fails, and one says why."""

    @pytest.mark.parametrize(
        ("arguments", "status", "words"),
        [
            (
                ["train", *WORDS, "--team", "mpi", "--workers", "2"],
                2,
                "this MPI job has 3 processes, but 2 workers were asked for; start it with mpiexec -n 2, or leave",
            ),
            pytest.param(
                ["train", *WORDS, "--team", "threads", "--workers", "3"],
                2,
                "3 processes have been started .* add --team mpi, or start a single one without mpiexec",
                marks=pytest.mark.slow,
            ),
            pytest.param(["train", *WORDS], 2, "3 processes have been started", marks=pytest.mark.slow),
            pytest.param(
                ["train", "--data", "digits", "--epochs", "2", "--team", "mpi", "--strategy", "sequential"],
                2,
                "the sequential strategy has one worker, not 3; choose another, such as --strategy auto",
                marks=pytest.mark.slow,
            ),
            (["compare", "--team", "mpi", "--data", "digits"], 2, "start it without mpiexec or srun"),
            pytest.param(["compare"], 2, "start it without mpiexec or srun", marks=pytest.mark.slow),
            (["train", *WORDS, "--team", "mpi", "--out", "no/such/m"], 1, "there is no folder no/such"),
            pytest.param(
                ["train", "--data", "nowhere", "--team", "mpi", "--strategy", "gradient"],
                1,
                "no data set, folder or file 'nowhere'",
                marks=pytest.mark.slow,
            ),
        ],
        ids=lambda value: " ".join(value[:1] + value[-2:]) if isinstance(value, list) else "",
    )
    def test_with_one_message(self, arguments, status, words):
        done = mpiexec(3, *arguments)
        assert done.returncode == status
        lines = [line.strip() for line in done.stderr.splitlines()]  # mpiexec's own may end without a line end
        said = [line for line in lines if line.startswith("manyhands ")]
        assert len(said) == 1, done.stderr
        assert re.match(rf"manyhands {arguments[0]}: .*{words}", said[0])
        assert "Traceback" not in done.stderr
        assert done.stdout == ""

    def test_wrong_usage_is_said_once(self):
        done = mpiexec(3, "train", "--wrokers", "2")
        assert done.returncode == 2
        assert done.stderr.count("there is no option --wrokers; did you mean --workers?") == 1
        assert done.stderr.count("manyhands train --help shows how it is used") == 1
        assert done.stdout == ""

    @pytest.mark.parametrize(
        ("other", "words"),
        [
            (["--epochs", "7"], "ranks differ: epochs is 6 on rank 0 and 7 on rank 1"),
            pytest.param(["--strategy", "sometimes"], "rank 1: unknown strategy 'sometimes'", marks=pytest.mark.slow),
            pytest.param(["--team", "threads"], "2 processes have been started", marks=pytest.mark.slow),
            (["--wrokers", "2"], "manyhands train: there is no option --wrokers"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_what_one_process_alone_is_told_is_said(self, other, words):
        words_of_all = ["train", *WORDS, "--team", "mpi"]
        program = (
            "import sys; from manyhands.cli import main; from manyhands.teams.mpi_environment import announced\n"
            f"sys.exit(main({words_of_all} + {other} * announced().rank))"
        )
        done = mpiexec(2, program, way=("-c",))
        assert done.returncode == 2
        assert done.stderr.count(words) == 1
        assert "Traceback" not in done.stderr

    @pytest.mark.slow
    def test_help_is_said_once(self):
        done = mpiexec(3, "train", "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("usage: ") == 1

    def test_a_single_process_of_mpiexec_may_do_what_it_wants(self):
        done = mpiexec(1, "train", *WORDS, "--workers", "2", "--quiet")
        assert (done.returncode, done.stderr) == (0, "")


def test_compare_starts_jobs_of_its_own(tmp_path, capsys):
    grid = ["--data", "digits", "--workers", "1,2", "--epochs", 3, "--seeds", 2, "--quiet"]
    records = {}
    for team in ("mpi", "threads"):
        assert call("compare", "--team", team, *grid, "--json", tmp_path / f"{team}.json") == 0
        records[team] = json.loads((tmp_path / f"{team}.json").read_text())
    assert capsys.readouterr().err == ""
    assert records["mpi"]["settings"]["team"] == "mpi"
    assert {run["team"] for run in records["mpi"]["runs"]} == {"mpi", "solo"}
    kept = ("strategy", "workers", "seed", "sharding", "accuracy", "loss", "steps", "rounds", "bytes_sent", "examples")
    runs = {team: [{key: run[key] for key in kept} for run in record["runs"]] for team, record in records.items()}
    assert len(runs["mpi"]) == 2 * (1 + 3 * 2)
    assert runs["mpi"] == runs["threads"]
    shares = [[row["accuracy_mean"] for row in record["summary"]] for record in records.values()]
    assert shares[0] == shares[1]
