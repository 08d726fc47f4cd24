"""``manyhands report``: the report of saved results is the one that the run itself has written."""

import json

import pytest

from manyhands.cli import main

pytest.importorskip("matplotlib")

COMMANDS = {
    "compare": "compare --data digits --hidden 8 --epochs 2 --seeds 2 --workers 1,2 --target 0.1",
    "sweep": "sweep --data digits --hidden 4,8 --epochs 2,3 --runs 2",
    "exemplar": "study exemplar --data digits --hidden 4,8 --epochs 2,3 --runs 2 --seeds 2 --workers 1,2",
    "minibatch": "study minibatch --data digits --hidden 8 --epochs 3 --splits 2 --workers 1,2",
    "published": "compare --data digits --train-size 1436 --as-published --workers 1,2 --hidden 8 --epochs 2",
}


def call(*arguments):
    return main([str(argument) for argument in arguments])


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(
    scope="module",
    # This study has a sweep and a comparison in it.
    params=[pytest.param(name, marks=pytest.mark.slow if name != "exemplar" else ()) for name in COMMANDS],
)
def live(request, tmp_path_factory):
    """A study's JSON file and report, from one run."""
    if request.param == "published":
        pytest.importorskip("mpi4py")
    folder = tmp_path_factory.mktemp(request.param)
    files = ["--json", folder / "some.json", "--report", folder / "live"]
    assert call(*COMMANDS[request.param].split(), "--quiet", *files) == 0
    return folder


class TestSameBytes:
    def test_from_results_json(self, live, tmp_path, capsys):
        assert call("report", live / "live" / "results.json", "--report", tmp_path / "again") == 0
        assert content(tmp_path / "again") == content(live / "live")
        out = capsys.readouterr().out
        assert out.startswith("question  ")
        assert "\nanswer    " in out
        assert out.endswith(f"\nreport    {tmp_path / 'again' / 'report.html'}\n")

    @pytest.mark.slow  # the same content as above, from a file of another name
    def test_from_the_json_file(self, live, tmp_path, capsys):
        assert call("report", live / "some.json", "--report", tmp_path / "again") == 0
        assert content(tmp_path / "again") == content(live / "live")
        capsys.readouterr()

    def test_in_its_own_folder(self, live, capsys):
        """Read and written again in place, everything stays as it is."""
        before = content(live / "live")
        assert call("report", live / "live" / "results.json", "--quiet") == 0
        assert content(live / "live") == before
        assert capsys.readouterr().out == f"{live / 'live' / 'report.html'}\n"

    @pytest.mark.slow
    def test_beside_a_file(self, live, tmp_path, capsys):
        (tmp_path / "mine.json").write_bytes((live / "some.json").read_bytes())
        assert call("report", tmp_path / "mine.json", "--quiet") == 0
        assert content(tmp_path / "mine-report") == content(live / "live")
        capsys.readouterr()


class TestRefused:
    @pytest.fixture(scope="class")
    @classmethod
    def results(cls, tmp_path_factory):
        path = tmp_path_factory.mktemp("results") / "compare.json"
        words = "compare --data digits --hidden 4 --epochs 1 --seeds 2 --workers 2 --strategy gradient --quiet --json"
        assert call(*words.split(), path) == 0
        return path

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (None, "(No such file or directory); give the JSON file"),
            ("", "not JSON"),
            ("hello", "not JSON"),
            ("\x00\x01", "not JSON"),
            ("[" * 100_000, "not JSON"),
            ("null", "a JSON object"),
            ("[]", "a JSON object"),
            ("{}", "it has no schema"),
            ('{"schema": 3}', "it has no schema"),
            ('{"schema": "manyhands.train/1"}', "'manyhands.train/1'"),
            ('{"schema": "manyhands.compare/2"}', "'manyhands.compare/2'"),
            ('{"schema": "manyhands.compare/1"}', "missing"),
            ('{"schema": "manyhands.compare/1", "runs": 3, "summary": []}', "runs must be a list"),
            ('{"schema": "manyhands.sweep/1", "table": [{}]}', "table[0]"),
            ('{"schema": "manyhands.study/1"}', "at least one of"),
        ],
        ids=str,
    )
    def test_what_is_no_record(self, tmp_path, capsys, text, words):
        path = tmp_path / "x.json"
        if text is not None:
            path.write_text(text)
        assert call("report", path) == 1
        printed = capsys.readouterr()
        assert printed.err.startswith(f"manyhands report: {path}")
        assert words in printed.err
        assert (printed.out, printed.err.count("\n")) == ("", 1)
        assert [each.name for each in tmp_path.iterdir()] == ([] if text is None else ["x.json"])

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
    def test_a_file_that_was_cut_off(self, results, tmp_path, capsys, share):
        whole = results.read_bytes()
        (tmp_path / "cut.json").write_bytes(whole[: int(share * len(whole))])
        assert call("report", tmp_path / "cut.json") == 1
        printed = capsys.readouterr()
        assert printed.err.startswith(f"manyhands report: {tmp_path / 'cut.json'}: it is not JSON")
        assert (printed.out, printed.err.count("\n")) == ("", 1)

    def test_a_folder(self, tmp_path, capsys):
        assert call("report", tmp_path) == 1
        assert "it cannot be read (Is a directory); give the JSON file" in capsys.readouterr().err

    def test_the_record_of_a_training(self, tmp_path, capsys):
        assert call("train", "--data", "digits", "--epochs", 1, "--json", tmp_path / "t.json", "--quiet") == 0
        assert call("report", tmp_path / "t.json") == 1
        assert "no report can be made of the schema 'manyhands.train/1'" in capsys.readouterr().err

    def test_a_report_onto_a_file(self, results, tmp_path, capsys):
        (tmp_path / "file").write_text("mine")
        for place in (tmp_path / "file", tmp_path / "file" / "below"):
            assert call("report", results, "--report", place) == 1
            printed = capsys.readouterr()
            assert (printed.out, printed.err.count("\n")) == ("", 1)
        assert (tmp_path / "file").read_text() == "mine"

    def test_without_a_file(self, capsys):
        with pytest.raises(SystemExit) as stopped:
            call("report")
        assert stopped.value.code == 2
        assert "RESULTS" in capsys.readouterr().err


def test_an_interrupted_study_has_a_report(tmp_path, capsys):
    """What is there is shown: here the sweep alone, and a comparison without a finished run."""
    assert call(*COMMANDS["exemplar"].split(), "--quiet", "--json", tmp_path / "w1.json") == 0
    record = json.loads((tmp_path / "w1.json").read_text())
    record["interrupted"] = True
    del record["checksum"]  # of what it was
    empty = {**record["compare"], "interrupted": True, "runs": [], "summary": [], "laws": []}
    for compare in (None, empty):
        (tmp_path / "part.json").write_text(json.dumps({**record, "compare": compare}))
        assert call("report", tmp_path / "part.json", "--quiet") == 0
        page = (tmp_path / "part-report" / "report.html").read_text()
        assert "Interrupted" in page or "interrupted" in page
    capsys.readouterr()
