"""``manyhands study``: from the command line to tables, files and report; what is refused."""

import json
import subprocess
import sys

import pytest

from manyhands.cli import main

EXEMPLAR = ["study", "exemplar", "--data", "digits", "--hidden", "4,12", "--epochs", "2,20", "--runs", "2"]
EXEMPLAR += ["--workers", "1,2", "--seeds", "2"]
MINIBATCH = [
    "study",
    "minibatch",
    "--data",
    "digits",
    "--hidden",
    "8",
    "--epochs",
    "3",
    "--splits",
    "2",
    "--workers",
    "1,2",
]


def call(*arguments):
    return main([str(argument) for argument in arguments])


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


class TestExemplar:
    def test_tables_file_report_and_log(self, tmp_path, capsys):
        path, folder, log = tmp_path / "f.json", tmp_path / "report", tmp_path / "log"
        words = ["--min-accuracy", 0.5, "--json", path, "--report", folder, "--log", log, "--sessions", 2]
        assert call(*EXEMPLAR, *words) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        assert "64-(4,12)-10 relu" in printed.out
        assert "a sweep of 8 sessions, then the comparison" in printed.out
        assert "best: 12 hidden, 20 epochs: the fastest with at least 50 %" in printed.out
        assert printed.out.rstrip().endswith(f"report    {folder / 'report.html'}")
        record = json.loads(path.read_text())
        assert (folder / "results.json").read_bytes() == path.read_bytes()
        assert (record["sweep"]["settings"]["workers"], record["interrupted"]) == (2, False)
        assert (record["compare"]["settings"]["network"]["hidden"], record["compare"]["settings"]["epochs"]) == (
            [12],
            20,
        )
        assert record["compare"]["settings"]["target"] is None  # it is the sweep's
        begun = [json.loads(line) for line in lines(log)]
        assert [one["strategy"] for one in begun if one["event"] == "begin"] == [
            run["strategy"] for run in record["compare"]["runs"]
        ]
        # The checkpoint has done its duty.
        assert sorted(each.name for each in tmp_path.iterdir()) == ["f.json", "log", "report"]
        assert not (folder / "exemplar.checkpoint").exists()

    def test_a_checkpoint_that_was_asked_for_stays(self, tmp_path, capsys):
        path = tmp_path / "checkpoint"
        assert call(*EXEMPLAR, "--quiet", "--checkpoint", path) == 0
        assert len(lines(path)) == 1 + 8 + (1 + 3 * 2) * 2
        capsys.readouterr()

    def test_a_target_out_of_reach(self, tmp_path, capsys):
        path = tmp_path / "f.json"
        assert call(*EXEMPLAR, "--min-accuracy", 1, "--json", path, "--quiet") == 2
        printed = capsys.readouterr()
        assert "Table I: hidden sizes and epochs" in printed.out
        assert printed.err.startswith("manyhands study: no classifier reaches 100 % on the validation samples; ")
        assert printed.err.count("\n") == 1
        assert json.loads(path.read_text())["sweep"]["best"] is None

    def test_it_goes_on_from_the_checkpoint(self, tmp_path, capsys, monkeypatch):
        path = tmp_path / "f.json"
        assert call(*EXEMPLAR, "--min-accuracy", 1, "--json", path, "--quiet") == 2  # ends after the sweep
        kept = json.loads(path.read_text())["sweep"]["sessions"]
        monkeypatch.setattr("manyhands.studies.sweep.run.run", lambda *_a, **_o: pytest.fail("a session was repeated"))
        assert call(*EXEMPLAR, "--min-accuracy", 0.01, "--json", path, "--quiet") == 0
        assert json.loads(path.read_text())["sweep"]["sessions"] == kept
        assert list(tmp_path.iterdir()) == [path]
        capsys.readouterr()

    @pytest.mark.slow
    def test_as_published(self, tmp_path, capsys):
        pytest.importorskip("mpi4py")
        path, folder = tmp_path / "f.json", tmp_path / "report"
        words = (
            "study exemplar --data digits --train-size 1436 --as-published --hidden 4,6 --epochs 2,3 --runs 2 "
            "--workers 1,2"
        )
        assert call(*words.split(), "--json", path, "--report", folder) == 0
        printed = capsys.readouterr()
        for title in ("Table I: ", "Table II: without communication", "Table III: with communication"):
            assert title in printed.out
        assert "As published, the best is chosen on the test samples" in printed.out
        record = json.loads(path.read_text())
        assert (record["compare"], record["sweep"]["settings"]["chosen_on"]) == (None, "test")
        assert record["sweep"]["settings"]["data"]["scaling"] == "none"
        assert [run["workers"] for run in record["published"]["runs"]] == [1, 2]  # one seed
        best = record["sweep"]["best"]
        settings = record["published"]["settings"]
        assert (settings["network"]["hidden"], settings["epochs"]) == (best["hidden"], best["epochs"])
        assert (folder / "report.html").exists()


class TestMinibatch:
    def test_accuracies_of_all_splits(self, tmp_path, capsys):
        path = tmp_path / "f.json"
        assert call(*MINIBATCH, "--json", path, "--target", 0.05) == 0
        printed = capsys.readouterr()
        record = json.loads(path.read_text())
        assert "2 random splits, 3 epochs each" in printed.out
        for strategy, workers in (("sequential", 1), ("minibatch:5epochs", 2), ("periodic:1epoch", 2)):
            scores = [
                f"{100 * run['accuracy']:.2f}"
                for run in record["compare"]["runs"]
                if (run["strategy"], run["workers"]) == (strategy, workers)
            ]
            assert f"{strategy} {workers} {' '.join(scores)} " in " ".join(printed.out.split())
        for run in record["compare"]["runs"]:
            reached = [point["train_s"] for point in run["curve"] if point["accuracy"] >= 0.05]
            assert run["target_s"] == (reached[0] if reached else None)

    def test_defaults_are_the_published_study(self, monkeypatch, capsys):
        from manyhands.studies.replications.minibatch import MINIBATCH_EPOCHS, MinibatchStudy

        asked = []
        monkeypatch.setattr(MinibatchStudy, "run", lambda self, *_: asked.append(self._study.request) or self.outcome)
        assert call("study", "minibatch", "--data", "digits") == 0
        (request,) = asked
        assert request.strategies == ("sequential", "minibatch:5epochs", "periodic:1epoch")
        assert (request.splits, request.spec.epochs, request.workers) == (5, MINIBATCH_EPOCHS, (1, 2, 4))
        assert request.spec.convergence
        capsys.readouterr()


class TestRefused:
    @pytest.fixture(autouse=True)
    def no_training(self, monkeypatch):
        for place in (
            "manyhands.training.run.run",
            "manyhands.studies.sweep.run.run",
            "manyhands.training.run.Runner.run",
        ):
            monkeypatch.setattr(place, lambda *_a, **_o: pytest.fail("training was started"))

    @pytest.mark.parametrize(
        ("arguments", "status", "words"),
        [
            ("study w1", 2, "there is no study 'w1'; choose one of exemplar, networks, "),
            ("study exemplar --as-published --log x", 2, "--log and --as-published do not go together"),
            ("study exemplar --as-published --sharding fixed", 2, "--sharding and --as-published do not go together"),
            ("study exemplar --as-published --batch 5", 2, "--batch and --as-published do not go together"),
            ("study exemplar --as-published --scale 255", 2, "--scale and --as-published do not go together"),
            ("study exemplar --as-published --workers 2", 2, "1437 training rows do not divide by 2 workers"),
            ("study exemplar --workers 201", 2, "201 workers cannot share"),
            ("study exemplar --epochs 5,", 2, "not a whole number"),
            ("study exemplar --min-accuracy 93", 2, "write 93% or 0.93"),
            ("study exemplar --margin 0", 2, "not a positive number"),
            ("study exemplar --seed -1", 2, "--seed"),
            ("study exemplar --validation 1437", 2, "1437"),
            ("study exemplar --json no/such/x", 1, "there is no folder no/such"),
            ("study exemplar --checkpoint x --json x", 2, "same file"),
            ("study exemplar --checkpoint x --log x", 2, "same file"),
            ("study exemplar --splits 2", 2, "there is no option --splits"),
            ("study minibatch --splits 0", 2, "not a whole number"),
            ("study minibatch --seeds 2", 2, "there is no option --seeds; did you mean --seed?"),
            ("study minibatch --learner published", 2, "cannot follow minibatch:5epochs"),
        ],
    )
    def test_with_one_message_before_training(self, capsys, tmp_path, monkeypatch, arguments, status, words):
        monkeypatch.chdir(tmp_path)
        what = arguments.split() + (["--data", "digits"] if len(arguments.split()) > 1 else [])
        try:
            found = call(*what)
        except SystemExit as stopped:
            found = stopped.code
        printed = capsys.readouterr()
        assert found == status
        assert printed.out == ""
        assert words in printed.err.splitlines()[0]
        assert "Traceback" not in printed.err
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("command", ["study exemplar", "study minibatch", "compare", "sweep"])
    def test_a_report_onto_a_file(self, capsys, tmp_path, command):
        (tmp_path / "file").write_text("mine")
        assert call(*command.split(), "--data", "digits", "--report", tmp_path / "file") == 1
        printed = capsys.readouterr()
        assert printed.err == (
            f"manyhands {command.split()[0]}: cannot write into {tmp_path / 'file'}: it is a file; give a folder\n"
        )
        assert (printed.out, (tmp_path / "file").read_text()) == ("", "mine")

    @pytest.mark.parametrize("command", ["study exemplar", "compare"])
    def test_a_report_where_nobody_may_write(self, capsys, tmp_path, command):
        folder = tmp_path / "disk"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k,ro", "tmpfs", folder]
        if subprocess.run(mount, capture_output=True, timeout=20, check=False).returncode != 0:
            pytest.skip("only root can mount a disk")
        try:
            for place in (folder, folder / "new"):
                assert call(*command.split(), "--data", "digits", "--report", place) == 1
                printed = capsys.readouterr()
                assert printed.err.startswith(f"manyhands {command.split()[0]}: cannot ")
                assert (printed.out, printed.err.count("\n")) == ("", 1)
        finally:
            subprocess.run(["umount", folder], timeout=20, check=True)

    def test_a_report_without_matplotlib(self, capsys, tmp_path, monkeypatch):
        for name in list(sys.modules):
            if name == "matplotlib" or name.startswith("matplotlib."):
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        assert call("study", "minibatch", "--data", "digits", "--report", tmp_path / "report") == 2
        printed = capsys.readouterr()
        assert "pip install matplotlib" in printed.err
        assert (printed.out, printed.err.count("\n")) == ("", 1)
