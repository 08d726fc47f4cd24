"""``manyhands compare`` on small data: what it prints and writes, and what it refuses before training."""

import contextlib
import io
import json
import sys

import pytest

from manyhands.cli import main
from manyhands.cli.options import spec_of
from manyhands.cli.program import _parser
from manyhands.data.catalog import DataRequest
from manyhands.runtime.affinity import usable_cores
from manyhands.studies.compare.results import SCHEMA
from manyhands.studies.compare.run import DEFAULT_SEEDS
from manyhands.studies.replications.todorov2021 import PublishedRequest
from manyhands.training.run import Runner
from manyhands.training.spec import RunSpec

SMALL = ["compare", "--data", "digits", "--hidden", "8", "--epochs", "2", "--seeds", "2"]

FORMATS = (("train_s", ".3f"), ("total_s", ".3f"), ("speedup", ".2f"), ("efficiency", ".2f"))
TOO_MANY = usable_cores() + 1
"""Workers."""


class Terminal(io.StringIO):
    """Shows progress, as nobody asks further."""

    def isatty(self):
        return True


def call(*arguments, errors=io.StringIO):
    """Run the program in this process; return status, output and errors."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(errors()) as err:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stopped:  # argparse leaves this way
            status = stopped.code
    return status, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module", autouse=True)
def wide():
    """A terminal on which a table is in one piece."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "120")
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A comparison with everything at its default that need not be small."""
    path = tmp_path_factory.mktemp("compare") / "result.json"
    status, out, err = call(*SMALL, "--workers", f"1,2,{TOO_MANY}", "--json", path, "--wide")
    return {"status": status, "out": out, "err": err, "record": json.loads(path.read_text())}


def rows_of(text):
    """The cells of the table's rows, by strategy and workers."""
    head, _, _ = text.partition("\n\nhow the speedup grows")
    lines = [line.split() for line in head.splitlines() if "%" not in line]
    return {(cells[0], cells[1]): cells[2:] for cells in lines[-10:]}


class TestOutput:
    def test_it_ends_well_and_shows_no_progress_without_a_terminal(self, done):
        assert (done["status"], done["err"]) == (0, "")

    def test_introduction_says_what_will_run_on_what(self, done):
        words = " ".join(done["out"].split("strategy")[0].split())
        assert (
            "digits: 1,437 training and 360 test samples of 1 x 8 x 8, 64 features, 10 classes (0, 1, 2, 3, 4, ...) "
            "(scikit-learn's embedded digits, split 80/20)" in words
        )
        assert "64-8-10 relu, adam 0.001, inputs x / 16" in words
        assert "global batch 200, 2 epochs, 20 runs" in words  # (1 + 3 strategies x 3 numbers of workers) x 2 seeds

    def test_introduction_says_which_machine_and_how_many_threads(self, done):
        facts = done["record"]["environment"]
        assert facts["cpu"] in done["out"]
        assert f"{facts['cores']} usable core" in done["out"]
        assert "BLAS/OpenMP threads pinned to 1 per worker" in done["out"]

    def test_table_says_what_the_file_says(self, done):
        table = rows_of(done["out"])
        assert len(table) == 10
        for row in done["record"]["summary"]:
            mark = "*" if row["oversubscribed"] else ""
            cells = table[row["strategy"], f"{row['workers']}{mark}"]
            assert cells[:4] == [f"{row[name]:{form}}" for name, form in FORMATS]
            assert cells[4] == f"{100 * row['accuracy_mean']:.2f}"
            if row["verdict"] is not None:
                assert cells[-3] == row["verdict"]

    def test_more_workers_than_cores_are_marked(self, done):
        assert f"{TOO_MANY}*" in done["out"]
        assert "* more workers than the" in done["out"]
        marks = {row["workers"]: row["oversubscribed"] for row in done["record"]["summary"]}
        assert (marks[1], marks[TOO_MANY]) == (False, True)

    def test_file_has_schema_and_all_runs(self, done):
        record = done["record"]
        assert record["schema"] == SCHEMA
        assert len(record["runs"]) == 20
        assert record["settings"]["data"]["name"] == "digits"

    def test_quiet_prints_the_table_only(self):
        status, out, err = call(*SMALL, "--workers", "1", "--strategy", "gradient", "--quiet")
        assert (status, err) == (0, "")
        assert out.lstrip().startswith("train")
        assert "machine" not in out

    def test_progress_on_a_terminal_ends_at_all_steps(self, monkeypatch):
        monkeypatch.setenv("TERM", "xterm")
        _, _, err = call(*SMALL, "--workers", "1,2", "--strategy", "gradient", errors=Terminal)
        assert "96/96 steps" in err  # 6 runs of 2 epochs of 8 steps

    def test_quiet_shows_no_progress_even_on_a_terminal(self):
        assert call(*SMALL, "--workers", "1", "--strategy", "gradient", "--quiet", errors=Terminal)[2] == ""

    def test_strategy_is_repeatable_and_sequential_needs_no_mention(self, tmp_path):
        path = tmp_path / "result.json"
        call(*SMALL, "--workers", "2", "--strategy", "periodic:5", "--strategy", "gradient", "--json", path)
        rows = [(row["strategy"], row["workers"]) for row in json.loads(path.read_text())["summary"]]
        assert rows == [("sequential", 1), ("periodic:5", 2), ("gradient", 2)]

    def test_options_reach_the_runs(self, tmp_path):
        path = tmp_path / "result.json"
        options = "--workers 3 --strategy one-shot --seed 11 --train-size 500 --batch 50 --sharding global --scale 255"
        network = "--activation tanh --optimizer momentum --learning-rate 0.05 --l2 0.01 --momentum 0.5"
        assert call(*SMALL, *options.split(), *network.split(), "--dtype", "float64", "--json", path)[0] == 0
        record = json.loads(path.read_text())
        settings, last = record["settings"], record["runs"][-1]
        assert (last["strategy"], last["workers"], last["seed"], last["sharding"]) == ("one-shot", 3, 12, "global")
        assert last["steps"] == 20  # 2 epochs of 500 rows in batches of 50
        assert (settings["data"]["train_rows"], settings["data"]["scaling"]) == (500, "x / 255")
        expected = {"hidden": [8], "activation": "tanh", "optimizer": "momentum", "learning_rate": 0.05, "l2": 0.01}
        expected |= {"momentum": 0.5, "dtype": "float64"}
        assert settings["network"] | expected == settings["network"]

    def test_automatic_data_is_mnist_where_it_can_be_had(self, data_folder, tmp_path):
        path = tmp_path / "result.json"
        options = "--hidden 4 --epochs 1 --seeds 1 --workers 2 --strategy gradient --json"
        status, out, _ = call("compare", *options.split(), path)
        assert status == 0
        assert "mnist: 6,000 of 60,000 training (--train-size all for all) and 10,000 test samples" in " ".join(
            out.split()
        )
        assert f"(MNISTfrom{data_folder / 'mnist'})" in "".join(out.split())  # a long path is wrapped
        data = json.loads(path.read_text())["settings"]["data"]
        assert (data["name"], data["features"], data["classes"]) == ("mnist", 784, 10)


class TestDefaults:
    def test_they_are_the_published_protocol(self):
        options = _parser().parse_args(["compare"])
        assert spec_of(options) == RunSpec()
        assert (options.workers, options.seeds, options.data, options.json) == ((1, 2, 4, 6), None, "auto", None)
        assert (DEFAULT_SEEDS, PublishedRequest(DataRequest()).seeds) == (5, 1)
        assert (options.splits, options.margin, options.scaled) == (None, None, False)
        assert (options.target, options.log, options.tensorboard) == (None, None, None)
        assert options.report is None

    def test_four_strategies_and_a_batch_of_200(self, done):
        settings = done["record"]["settings"]
        assert settings["strategies"] == ["sequential", "one-shot", "periodic:1epoch", "gradient"]
        assert settings["batch"] == 200
        assert settings["sharding"]["one-shot"] == "fixed"
        assert {settings["sharding"][name] for name in ("sequential", "periodic:1epoch", "gradient")} == {"global"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "status", "words"),
        [
            ("--workers 1,201", 2, "201 workers cannot share a global batch of 200 rows"),
            ("--batch 1438", 2, "between 1 and the 1437 training rows, not 1438"),
            ("--train-size 1438", 2, "--train-size 1438: digits has 1437 training rows"),
            ("--scale loud", 2, "loud"),
            ("--train-csv a.csv", 2, "--train-csv and --test-csv go together"),
            ("--json no/such/folder/x.json", 1, "there is no folder no/such/folder"),
            ("--data no-such-folder", 1, "there is no data set, folder or file 'no-such-folder'"),
            ("--splits 3", 2, "--splits N stands for N seeds: leave --seeds out"),
            ("--margin 0", 2, "'0' is not a positive number"),
            ("--target 93", 2, "'93' is not an accuracy above 0 and up to 1 (100%); write 93% or 0.93"),
            ("--scaled --train-size 400", 2, "digits has 1437 training rows"),
            ("--log no/such/folder/x.jsonl", 1, "there is no folder no/such/folder"),
            ("--json no-such.txt --log no-such.txt", 2, "two results cannot go to the same file no-such.txt"),
        ],
    )
    def test_what_cannot_work_is_one_message_before_any_run(self, monkeypatch, arguments, status, words):
        monkeypatch.setattr("manyhands.training.run.Runner.run", lambda *_a, **_o: pytest.fail("a run was started"))
        found, out, err = call(*SMALL, *arguments.split())
        assert (found, out) == (status, "")
        assert words in err
        assert err.count("manyhands compare: ") == 1
        assert err.endswith("\n")
        assert err.startswith("manyhands compare: ")
        assert err.splitlines()[1:] in ([], ["manyhands compare --help shows how it is used"])

    @pytest.mark.parametrize(
        "option",
        ["--splits 2", "--scaled", "--convergence", "--target 0.9", "--margin 0.5", "--log l", "--tensorboard t"],
    )
    def test_what_the_paper_did_not_do_does_not_go_with_as_published(self, tmp_path, monkeypatch, option):
        monkeypatch.chdir(tmp_path)
        options = "compare --data digits --epochs 2 --workers 1 --as-published"
        monkeypatch.setattr(
            "manyhands.studies.replications.todorov2021.PublishedStudy.run", lambda *_a, **_o: pytest.fail("it ran")
        )
        status, out, err = call(*options.split(), *option.split())
        assert (status, out) == (2, "")
        assert f"{option.split()[0]} and --as-published do not go together" in err
        assert list(tmp_path.iterdir()) == []

    def test_a_scaled_comparison_says_how_many_rows_a_worker_can_have(self):
        # Nothing is asked for, so all 1,437 are for one worker.
        _, _, err = call(*SMALL, "--scaled", "--workers", "1,4")
        assert "4 workers with 1437 rows each need 5748: lower --train-size" in err

    def test_a_report_without_matplotlib_fails_before_training(self, monkeypatch, tmp_path):
        monkeypatch.setattr("manyhands.training.run.Runner.run", lambda *_a, **_o: pytest.fail("a run was started"))
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        for name in [name for name in sys.modules if name.startswith("matplotlib.")]:
            monkeypatch.delitem(sys.modules, name)
        status, out, err = call(*SMALL, "--workers", "1", "--report", tmp_path / "report")
        assert (status, out) == (2, "")
        assert "matplotlib" in err
        assert err.count("\n") == 1
        assert not (tmp_path / "report").exists()

    def test_a_report_into_a_file_fails_before_training(self, monkeypatch, tmp_path):
        monkeypatch.setattr("manyhands.training.run.Runner.run", lambda *_a, **_o: pytest.fail("a run was started"))
        (tmp_path / "taken").write_text("mine")
        status, out, err = call(*SMALL, "--workers", "1", "--report", tmp_path / "taken")
        assert (status, out) == (1, "")
        assert "it is a file" in err
        assert (tmp_path / "taken").read_text() == "mine"


FEW = ["compare", "--data", "digits", "--hidden", "8", "--epochs", "2", "--strategy", "gradient", "--workers", "2"]


class TestStatistics:
    def saved(self, tmp_path, *options):
        path = tmp_path / "result.json"
        status, out, err = call(*FEW, *options, "--json", path)
        assert (status, err) == (0, "")
        return out, json.loads(path.read_text())

    def test_splits_are_seeds_with_rows_of_their_own(self, tmp_path):
        out, record = self.saved(tmp_path, "--splits", "2", "--seed", "4")
        assert [(run["split"], run["seed"]) for run in record["runs"]] == [(4, 4), (4, 4), (5, 5), (5, 5)]
        assert (record["settings"]["splits"], record["settings"]["seeds"]) == (2, 2)
        assert "2 random splits: medians" in out

    def test_margin_decides_the_verdict(self, tmp_path):
        out, record = self.saved(tmp_path, "--seeds", "3", "--margin", "99")
        assert record["settings"]["margin"] == 99
        assert record["summary"][1]["verdict"] == "same"
        assert "within ±99 points" in out

    def test_scaled_takes_the_named_rows_for_each_worker(self, tmp_path):
        out, record = self.saved(tmp_path, "--seeds", "1", "--scaled", "--train-size", "500", "--wide")
        assert [run["rows"] for run in record["runs"]] == [500, 1000]
        row = record["summary"][1]
        assert row["scaled_speedup"] == pytest.approx(2 * row["speedup"])
        assert (row["verdict"], record["laws"][0]["amdahl"]) == (None, None)
        assert record["settings"]["scaled"] is True
        assert "n workers trained on n times the samples" in out
        assert "Gustafson" in out

    def test_target_implies_measuring_and_has_its_block(self, tmp_path):
        out, record = self.saved(tmp_path, "--seeds", "1", "--target", "0.01")
        assert record["settings"]["target"] == 0.01
        for run in record["runs"]:
            first = next(point for point in run["curve"] if point["accuracy"] >= 0.01)
            assert run["target_s"] == first["train_s"]
        assert "training time to an accuracy of 1 % on the test samples" in out
        assert "times as fast" in out

    def test_convergence_has_curves(self, tmp_path):
        out, record = self.saved(tmp_path, "--seeds", "1", "--convergence")
        assert [len(run["curve"]) >= 2 for run in record["runs"]] == [True, True]
        assert record["settings"]["target"] is None
        assert "training time to" not in out

    def test_report_is_written_and_named_last(self, tmp_path):
        out, record = self.saved(tmp_path, "--seeds", "1", "--report", tmp_path / "report")
        assert out.endswith(f"\nreport    {tmp_path / 'report' / 'report.html'}\n")
        assert json.loads((tmp_path / "report" / "results.json").read_text()) == record

    def test_live_log_has_lines_of_all_runs(self, tmp_path):
        _, record = self.saved(tmp_path, "--seeds", "2", "--log", tmp_path / "live.jsonl")
        lines = [json.loads(line) for line in (tmp_path / "live.jsonl").read_text().splitlines()]
        assert len(record["runs"]) == 4
        assert len(lines) >= 4

    def test_a_folder_lost_on_the_way_costs_the_file_and_not_the_table(self, monkeypatch, tmp_path):
        folder = tmp_path / "gone"
        folder.mkdir()
        real = Runner.run

        def lose(*args, **options):
            if folder.exists():
                folder.rmdir()
            return real(*args, **options)

        monkeypatch.setattr("manyhands.training.run.Runner.run", lose)
        status, out, err = call(*FEW, "--seeds", "1", "--json", folder / "result.json")
        assert status == 1
        assert str(folder) in err
        assert "vs sequential" in out  # what has been measured is not lost
