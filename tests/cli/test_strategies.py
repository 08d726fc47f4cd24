"""Strategies on the command line: training and comparing with them, and the study of all."""

import contextlib
import io
import json
import re

import pytest

import manyhands
from manyhands.cli import main

TRAIN = ["train", "--data", "digits", "--hidden", "8", "--epochs", "4", "--workers", "2"]
COMPARE = ["compare", "--data", "digits", "--hidden", "75", "--epochs", "7", "--batch", "20", "--seeds", "1"]
STUDY = ["study", "strategies", "--data", "digits", "--hidden", "8", "--epochs", "4", "--workers", "2", "--seeds", "2"]
STUDY += ["--rates", "0.001,0.1", "--schedule", "cosine"]
TWO = ["--strategy", "periodic:1epoch", "--strategy", "gradient"]
COMPOSED = "gradient@50% then periodic:1epoch"


def call(*arguments):
    """Run the program in this process; return status, output and errors."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stopped:  # argparse leaves this way
            status = stopped.code
    return status, out.getvalue(), err.getvalue()


def read(path):
    return json.loads(path.read_text(), parse_constant=pytest.fail)


def entries(path):
    """Return the finished runs in a checkpoint, that may not be there yet."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[1:-1]]


@pytest.fixture(scope="module", autouse=True)
def wide():
    """A terminal on which a table is in one piece."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "160")
        yield


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    path = tmp_path_factory.mktemp("compare") / "c.json"
    words = ["--strategy", "auto", "--strategy", COMPOSED, "--workers", "1,2,3,6", "--json", path, "--wide"]
    status, out, err = call(*COMPARE, *words)
    assert (status, err) == (0, "")
    return out, read(path)


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    status, out, err = call(*STUDY, *TWO, "--json", folder / "s.json", "--markdown", folder / "s.md")
    assert (status, err) == (0, "")
    return folder, out, read(folder / "s.json")


class TestTrain:
    # The 1,437 digits are 8 batches of 200 an epoch.

    @pytest.fixture
    def train(self, tmp_path):
        def train(*arguments):
            status, out, err = call(*TRAIN, *arguments, "--json", tmp_path / "r.json")
            assert (status, err) == (0, "")
            return " ".join(out.split()), read(tmp_path / "r.json")

        return train

    def test_strategies_one_after_the_other(self, train):
        out, record = train("--strategy", COMPOSED)
        assert f"plan {COMPOSED}, 2 workers (threads), hidden 8 relu" in out
        assert record["settings"]["strategy"] == COMPOSED
        # A round in each of 2 * 8 steps, and after each of two epochs.
        assert (record["steps"], record["rounds"]) == (32, 18)
        result = manyhands.train("digits", strategy=COMPOSED, workers=2, hidden=(8,), epochs=4)
        assert (record["accuracy"], record["losses"]) == (result.accuracy, result.losses)

    @pytest.mark.parametrize("schedule", ["cosine", "linear:hold=50%", "step:2epochs,factor=0.5"])
    def test_schedule(self, train, schedule):
        words = {"strategy": "gradient", "workers": 2, "hidden": (8,), "epochs": 4, "learning_rate": 0.01}
        out, record = train("--strategy", "gradient", "--learning-rate", 0.01, "--schedule", schedule)
        assert f"adam 0.01 {schedule}, " in out
        assert record["settings"]["schedule"] == schedule
        assert record["losses"] == manyhands.train("digits", schedule=schedule, **words).losses
        assert record["losses"] != manyhands.train("digits", **words).losses

    def test_stop(self, train):
        # No weight changes by 1,000 in an epoch: the first is the last. It is a whole one, and a round is held then.
        out, record = train("--strategy", "one-shot", "--stop", "unchanged:1000")
        assert "4 epochs at most (stop unchanged:1000" in out
        assert (record["settings"]["epochs"], record["steps"], len(record["losses"])) == (4, 8, 1)
        assert record["rounds"] == 1

    def test_shares(self, train):
        out, record = train("--strategy", "periodic:1epoch", "--partition", "sorted")
        assert "fixed shards (sorted)" in out
        assert (record["settings"]["partition"], record["settings"]["sharding"]) == ("sorted", "fixed")
        words = {"strategy": "periodic:1epoch", "workers": 2, "hidden": (8,), "epochs": 4}
        assert record["losses"] == manyhands.train("digits", partition="sorted", **words).losses
        assert record["losses"] != manyhands.train("digits", sharding="fixed", **words).losses

    @pytest.mark.parametrize(
        ("strategy", "arguments", "rows"),
        [
            ("one-shot", [], None),
            ("one-shot", ["--validation", 200], 200),
            ("one-shot:merge=soup", [], 239),  # a sixth of 1,437
            ("one-shot:merge=soup", ["--validation", 200], 200),
            ("gradient@50% then periodic:1epoch,merge=validation", ["--validation", "auto"], 239),
            ("auto", [], None),
            ("auto", ["--validation", "auto"], 239),
        ],
    )
    def test_validation_rows_are_kept_if_anybody_looks_at_them(self, train, strategy, arguments, rows):
        _, record = train("--strategy", strategy, *arguments)
        data = record["settings"]["data"]
        assert data.get("validation_rows") == rows
        assert data["train_rows"] == 1437 - (rows or 0)

    def test_auto_says_what_it_has_chosen(self, train):
        # 8 neurons learn at 0.012 * sqrt(75 / 8) = 0.036742 alone; two workers in a short run at that over 2^(1/4).
        out, record = train("--strategy", "auto", "--batch", 10)
        assert "plan periodic:1epoch (chosen by auto), 2 workers" in out
        assert "adam 0.0309 linear:hold=50%, global batch 10, " in out
        settings = record["settings"]
        assert (settings["strategy"], settings["chosen_by_auto"]) == ("periodic:1epoch", True)
        assert settings["network"]["learning_rate"] == 0.0309
        assert record["rounds"] == 4


class TestCompare:
    # Batches of 20 are 72 steps an epoch, 504 in all: enough to learn alone, but few rounds.
    CHOSEN = {  # noqa: RUF012 - never changed
        1: ("sequential", 0.012),
        2: ("periodic:1epoch", 0.01009),
        3: ("diloco:1epoch,rate=1,momentum=0.18", 0.009118),
        6: ("gradient", 0.012),  # 20 rows are too few for 6
    }

    def test_the_plan_lists_what_auto_has_chosen(self, compared):
        out = " ".join(compared[0].split())
        # Once for each number of workers, whatever the number of seeds.
        lines = [
            "plan global batch 20, 7 epochs, schedule linear:hold=50%, 9 runs",
            *(
                f"auto n={workers}: {name}, adam {rate:g} linear:hold=50%, global batch 20"
                for workers, (name, rate) in self.CHOSEN.items()
            ),
            "machine",
        ]
        assert " ".join(lines) in out
        assert "64-75-10 relu, adam 0.012" in compared[0]  # the reference

    def test_runs_say_what_auto_stood_for(self, compared):
        runs = [run for run in compared[1]["runs"] if run["strategy"] == "auto"]
        assert {run["workers"]: (run["resolved"], run["learning_rate"]) for run in runs} == self.CHOSEN
        assert {(run["batch"], run["schedule"]) for run in runs} == {(20, "linear:hold=50%")}

    def test_the_reference_and_all_others_have_the_rate_of_auto_for_one(self, compared):
        others = [run for run in compared[1]["runs"] if run["strategy"] != "auto"]
        assert [(run["strategy"], run["workers"]) for run in others] == [
            ("sequential", 1),
            *((COMPOSED, workers) for workers in (1, 2, 3, 6)),
        ]
        assert {(run["learning_rate"], run["batch"], run["schedule"]) for run in others} == {
            (0.012, 20, "linear:hold=50%")
        }
        assert all(run["resolved"] == run["strategy"] for run in others)
        settings = compared[1]["settings"]
        assert (settings["network"]["learning_rate"], settings["schedule"]) == (0.012, "linear:hold=50%")
        result = manyhands.train(
            "digits", hidden=(75,), epochs=7, batch=20, learning_rate=0.012, schedule="linear:hold=50%"
        )
        assert others[0]["accuracy"] == result.accuracy

    def test_the_table_has_a_line_for_each_number_of_workers(self, compared):
        table, _ = compared[0].split("how the speedup grows with the workers")
        rows = re.findall(r"^auto +(\d+)\*? ", table, re.MULTILINE)
        assert rows == ["1", "2", "3", "6"]
        assert compared[1]["settings"]["strategies"] == ["sequential", "auto", COMPOSED]

    def test_a_rate_of_the_users_own_is_everybodys(self, tmp_path):
        words = ["--strategy", "auto", "--workers", "2", "--learning-rate", "0.02", "--schedule", "cosine"]
        status, out, _ = call(*COMPARE, *words, "--json", tmp_path / "c.json")
        assert status == 0
        assert "auto n=2: periodic:1epoch, adam 0.02 cosine, global batch 20" in out
        assert {(run["learning_rate"], run["schedule"]) for run in read(tmp_path / "c.json")["runs"]} == {
            (0.02, "cosine")
        }

    def test_without_auto_the_plan_lists_nothing(self, tmp_path):
        words = ["--strategy", "gradient", "--workers", "2", "--epochs", "1", "--json", tmp_path / "c.json"]
        status, out, _ = call(*COMPARE, *words)
        assert (status, "auto n=" in out) == (0, False)
        assert {(run["learning_rate"], run["schedule"]) for run in read(tmp_path / "c.json")["runs"]} == {
            (0.001, "constant")
        }

    def test_options_reach_the_runs(self, tmp_path):
        words = ["--workers", "2", "--partition", "sorted", "--stop", "unchanged:1000", "--schedule", "cosine"]
        words += ["--strategy", "periodic:1epoch,merge=soup", "--json", tmp_path / "c.json"]
        assert call(*COMPARE, *words)[0] == 0
        record = read(tmp_path / "c.json")
        names = ("partition", "stop", "schedule")
        assert [record["settings"][name] for name in names] == ["sorted", "unchanged:1000", "cosine"]
        assert record["settings"]["data"]["validation_rows"] == 239
        assert {run["steps"] for run in record["runs"]} == {60}  # one epoch of 1,198 rows
        assert [run["sharding"] for run in record["runs"]] == ["global", "fixed"]


class TestStudy:
    def test_says_what_is_run_on_what(self, studied):
        out = " ".join(studied[1].split())
        assert "digits: 1,198 training, 239 validation and 360 test samples" in out
        assert "64-8-10 relu" in out
        assert "plan 3 strategies, 4 epochs, cosine" in out

    def test_table_and_file_say_the_same(self, studied):
        _, out, record = studied
        assert (record["schema"], record["interrupted"]) == ("manyhands.strategies/1", False)
        assert len(record["runs"]) == 6
        rows = {row["strategy"]: row for row in record["summary"]}
        assert list(rows) == ["sequential", "periodic:1epoch", "gradient"]
        for strategy, row in rows.items():
            (line,) = re.findall(rf"^{strategy} +{row['workers']} +(.*)", out, re.MULTILINE)
            rates = {run["learning_rate"] for run in record["runs"] if run["strategy"] == strategy}
            assert line.split()[0] == "0.1"
            assert rates == {0.1}
            assert f"{100 * row['accuracy_mean']:.2f} ±" in line
            assert line.endswith(row["verdict"] or "")

    def test_markdown_is_the_table(self, studied):
        folder, out, _ = studied
        lines = (folder / "s.md").read_text().splitlines()
        assert lines[:2] == [
            "| strategy | n | rate | rounds | KB sent | samples | accuracy % | vs sequential | verdict |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
        ]
        assert [line.split(" | ")[0] for line in lines[2:5]] == ["| sequential", "| periodic:1epoch", "| gradient"]
        for line in lines[2:5]:
            cells = " ".join(line.replace("|", " ").split())
            assert cells in [" ".join(each.split()) for each in out.splitlines()]

    def test_the_checkpoint_has_done_its_duty(self, studied):
        assert sorted(path.name for path in studied[0].iterdir()) == ["s.json", "s.md"]

    def test_quiet_prints_the_result_only(self):
        status, out, err = call(*STUDY, "--strategy", "gradient", "--quiet")
        assert (status, err) == (0, "")
        assert out.startswith("strategy ")
        assert "machine" not in out

    def test_a_checkpoint_that_was_asked_for_stays(self, tmp_path, monkeypatch):
        journal = tmp_path / "checkpoint"
        first = call(*STUDY, *TWO, "--quiet", "--checkpoint", journal)
        assert len(entries(journal)) == 3 * (2 + 2)
        monkeypatch.setattr("manyhands.studies.strategies.run.run", lambda *_: pytest.fail("a run was repeated"))
        assert call(*STUDY, *TWO, "--quiet", "--checkpoint", journal, "--json", tmp_path / "s.json") == first
        assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "s.json"]

    def test_a_markdown_file_is_never_taken_for_the_checkpoint(self, tmp_path):
        """Beside --json is the place of the checkpoint, which is deleted in the end."""
        path = tmp_path / "s.json.checkpoint"
        words = ["--strategy", "gradient", "--quiet", "--json", tmp_path / "s.json", "--markdown", path]
        status, out, err = call(*STUDY, *words)
        if status == 0:
            assert path.read_text().startswith("| strategy |")
        else:
            assert (status, out, err.count("\n")) == (2, "", 1)


class TestMistakes:
    """All of them are one line, and nothing is trained or written."""

    @pytest.fixture(autouse=True)
    def no_training(self, monkeypatch, tmp_path):
        for place in ("training.run.run", "training.run.Runner.run", "studies.strategies.run.run"):
            monkeypatch.setattr(f"manyhands.{place}", lambda *_a, **_o: pytest.fail("training was started"))
        monkeypatch.chdir(tmp_path)

    def refused(self, arguments, status, words):
        found, out, err = call(*arguments)
        name = " ".join(["manyhands", *arguments[: 1 + (arguments[0] == "study")]])
        assert (found, out) == (status, "")
        first, *others = err.splitlines()
        assert words in first
        assert first.startswith((f"{name}: ", f"manyhands {arguments[0]}: "))
        assert others in ([], [f"{name} --help shows how it is used"])

    @pytest.mark.parametrize("command", [TRAIN, COMPARE])
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--strategy", "telepathy"], "unknown strategy 'telepathy'; examples: sequential, one-shot, "),
            (["--strategy", "autos"], "unknown strategy 'autos'; did you mean 'auto'?"),
            (["--strategy", "auto@20% then gradient"], "strategy 'auto': auto chooses a whole strategy"),
            (["--strategy", "gradient@20%"], "after @ and a length comes 'then'"),
            (["--strategy", "gradient then one-shot"], "how long is 'gradient'?"),
            (
                ["--strategy", "gradient@much then one-shot"],
                "'much' is not a part of a run",
            ),
            (["--strategy", "gradient@2epochs then sequential"], "sequential is for one worker"),
            (["--strategy", "gradient@9epochs then one-shot"], "would take 9 epochs of "),
            (["--strategy", "swap:75%", "--epochs", "1"], "would take 1 epoch of 1, and the last at least one"),
            (["--strategy", "periodic:1epoch,merge=stew"], "merge=stew; choose one of examples, mean, "),
            (["--strategy", "periodic:1epoch,merge=ensemble"], "it goes with one-shot only"),
            (["--strategy", "periodic:1epoch,send=int4"], "send=int4; did you mean 'int8'? Choose one of full, "),
            (["--strategy", "periodic:0"], "a whole number of steps or epochs from 1 on"),
            (["--strategy", "diloco:1epoch,momentum=1"], "momentum=1"),
            (["--strategy", "easgd", "--team", "mpi"], "easgd:10 needs workers that share memory"),
            (["--strategy", "gradient@50% then easgd", "--team", "mpi"], "needs workers that share memory"),
            (["--strategy", "gradient", "--schedule", "sine"], "unknown schedule 'sine'; did you mean 'cosine'?"),
            (["--strategy", "auto", "--schedule", "cosine:to=2"], "to=2: it must be a number from 0 to 1"),
            (
                ["--strategy", "gradient", "--partition", "fair"],
                "unknown partition 'fair'; choose one of stored, iid, ",
            ),
            (["--strategy", "gradient", "--partition", "dirichlet:0"], "alpha is a number from 1e-6"),
            (
                ["--strategy", "gradient", "--partition", "iid", "--sharding", "global"],
                "leave --sharding global out",
            ),
            (["--strategy", "gradient", "--validation", "0"], "--validation: '0' is not a whole number from 1 on"),
            (["--strategy", "gradient", "--validation", "many"], "'many' is not a whole number from 1 on"),
            (
                ["--strategy", "periodic:1epoch,merge=soup", "--validation", "1437"],
                "1437 of 1437 training rows cannot be kept for validation: ask for 1 to 1436",
            ),
            (["--strategy", "auto", "--learner", "published"], "auto has nothing to choose for it"),
            (["--strategy", "auto", "--batch", "0"], "--batch: '0' is not a whole number from 1 on"),
            (["--strategy", "auto", "--batch", "1438"], "between 1 and the 1437 training rows, not 1438"),
            (["--strategy", "auto", "--workers", "201"], "201 workers cannot share a global batch of"),
        ],
        ids=lambda each: " ".join(each) if isinstance(each, list) else "",
    )
    def test_of_training_and_comparing(self, command, arguments, words):
        self.refused([*command, *arguments], 2, words)

    @pytest.mark.parametrize(
        ("arguments", "status", "words"),
        [
            (["--strategy", "telepathy"], 2, "unknown strategy 'telepathy'"),
            (["--strategy", "gradient", "--strategy", "periodic:1epoch,merge=stew"], 2, "merge=stew; choose one of"),
            (["--strategy", "gradient@4epochs then one-shot"], 2, "would take 4 epochs of 4"),
            (["--rates", "0.1,0"], 2, "--rates: '0' is not a positive number"),
            (["--rates", "0.1,"], 2, "--rates: '' is not a positive number"),
            (["--rates", "nan"], 2, "--rates: 'nan' is not a positive number"),
            (["--workers", "2,0"], 2, "--workers: '0' is not a whole number from 1 on"),
            (["--workers", "201", "--strategy", "gradient"], 2, "201 workers cannot share a global batch of 200"),
            (["--tuning", "0"], 2, "--tuning: '0' is not"),
            (["--seeds", "0"], 2, "--seeds: '0' is not"),
            (["--seed", "-1"], 2, "seed must be at least 0"),
            (["--seed", "999"], 2, "seeds from 1000 on are those that learning rates are chosen with"),
            (["--schedule", "sine"], 2, "unknown schedule 'sine'"),
            (["--margin", "0"], 2, "--margin: '0' is not a positive number"),
            (["--validation", "1437"], 2, "1437 of 1437 training rows cannot be kept for validation"),
            (["--batch", "1199"], 2, "between 1 and the 1198 training rows, not 1199"),
            (["--json", "f", "--markdown", "f"], 2, "two results cannot go to the same file f"),
            (["--json", "f", "--checkpoint", "f"], 2, "two results cannot go to the same file f"),
            (["--markdown", "f", "--checkpoint", "f"], 2, "two results cannot go to the same file f"),
            (["--markdown", "no/such/f"], 1, "there is no folder no/such"),
            (["--checkpoint", "no/such/f"], 1, "there is no folder no/such"),
            (["--json", "."], 1, "it is a folder"),
            (["--data", "nowhere"], 1, "nowhere"),
        ],
        ids=lambda each: " ".join(each) if isinstance(each, list) else "",
    )
    def test_of_the_study(self, tmp_path, arguments, status, words):
        self.refused([*STUDY, "--quiet", *arguments], status, words)
        assert list(tmp_path.iterdir()) == []


class TestJournalsThatDoNotFit:
    @pytest.fixture
    def journal(self, tmp_path):
        path = tmp_path / "checkpoint"
        assert call(*STUDY, "--strategy", "gradient", "--quiet", "--checkpoint", path)[0] == 0
        return path

    def refused(self, journal, status, words, *arguments):
        before = journal.read_bytes()
        found, out, err = call(*STUDY, "--strategy", "gradient", "--quiet", "--checkpoint", journal, *arguments)
        assert (found, out) == (status, "")
        assert words in err
        assert err.startswith(f"manyhands study: {journal}")
        assert err.count("\n") == 1
        assert journal.read_bytes() == before

    def test_that_of_another_study(self, journal):
        words = (
            "is the checkpoint of a study with other settings (epochs: 4 there, 5 now); give another file, or delete"
        )
        self.refused(journal, 2, words, "--epochs", "5")

    def test_a_damaged_one_is_gone_on_with(self, journal, notices):
        lines = journal.read_text().splitlines()
        journal.write_text("\n".join([*lines[:2], lines[2][:-9], *lines[3:]]) + "\n")
        found, out, _ = call(*STUDY, "--strategy", "gradient", "--quiet", "--checkpoint", journal)
        assert (found, [f"{journal}, line 3: damaged" in notice for notice in notices]) == (0, [True])
        assert "gradient" in out

    def test_one_whose_first_line_is_damaged(self, journal):
        journal.write_bytes(journal.read_bytes().replace(b'"epochs": 4', b'"epochs": 6', 1))
        self.refused(journal, 1, ", line 1: this line, which says what study it is, is damaged; restore the file")

    def test_no_journal_at_all(self, journal):
        journal.write_text("my diary\n")
        self.refused(journal, 1, "this is no checkpoint of a study; give another file")

    def test_where_every_rate_diverges_it_is_said(self, tmp_path):
        status, out, err = call(
            *STUDY, "--strategy", "gradient", "--rates", "1e30", "--json", tmp_path / "f", "--quiet"
        )
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert "training diverged" in err


class TestHelp:
    @pytest.mark.parametrize(
        ("command", "expected"),
        [
            ("train", ("--strategy S", "auto,", "--schedule S", "--stop S", "--partition P", "--validation V")),
            ("compare", ("--strategy S", "auto,", "--schedule S", "--stop S", "--partition P", "--validation V")),
            ("study minibatch", ("--schedule S", "--stop S", "--partition P", "--validation V")),
            ("study", ("strategies", "every strategy and merge")),
            (
                "study strategies",
                (
                    *("--strategy S", "--workers N[,N...]", "--rates R[,R...]", "--tuning K", "--seeds K"),
                    *("--schedule S", "--checkpoint FILE", "--markdown F", "--validation V", "--json F", "--margin P"),
                ),
            ),
        ],
    )
    def test_it_lists_the_options(self, command, expected):
        status, out, err = call(*command.split(), "--help-all")
        assert (status, err) == (0, "")
        assert [each for each in expected if each not in " ".join(out.split())] == []
        assert "%%" not in out
