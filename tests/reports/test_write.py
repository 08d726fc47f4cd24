"""The whole report: what lies in the folder, and how it fails."""

import contextlib
import copy
import json
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manyhands.core.errors import DrawingError, FormatError, ManyhandsError, OutputError, SettingsError
from manyhands.records.seal import unsealed
from manyhands.reports.csv_files import csv_files
from manyhands.reports.figures.registry import make_figures
from manyhands.reports.headline import answer
from manyhands.reports.schema import complete
from manyhands.reports.study_page import make_page
from manyhands.reports.write import check_possible, read_record, write_report


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fail(*_):
    raise RuntimeError("latex could not be found\nand more")


def interrupt(*_):
    raise KeyboardInterrupt


class TestWriting:
    def test_folder(self, records, full_report):
        names = contents(full_report.parent)
        assert full_report.name == "report.html"
        assert {"results.json", "speedup.png", "speedup.svg", "time_surface.png", "runs.csv", "table1.csv"} <= set(
            names
        )
        assert unsealed(json.loads(names["results.json"])) == records.w1()
        assert not [name for name in names if name.startswith(".")]
        assert all(content.startswith(b"\x89PNG") for name, content in names.items() if name.endswith(".png"))

    def test_same_record_gives_the_same_bytes_also_when_read_again(self, records, tmp_path):
        record = records.compare(seeds=2, workers=(2,), strategies={"gradient": (0, 0.1)}, curves=True)
        first = write_report(record, tmp_path / "first").parent
        second = write_report(read_record(first / "results.json"), tmp_path / "second").parent
        assert contents(first) == contents(second)

    def test_live_record_is_as_its_file(self, records, tmp_path):
        record = records.sweep(hidden=(50, (128, 64)), epochs=(10,))
        live = copy.deepcopy(record)
        live["settings"]["network"]["hidden"] = (50,)
        for row in live["table"]:
            row["hidden"] = tuple(row["hidden"])
        live["best"]["hidden"] = tuple(live["best"]["hidden"])
        answer(live)
        first, second = write_report(record, tmp_path / "a"), write_report(live, tmp_path / "b")
        assert contents(first.parent) == contents(second.parent)

    def test_nothing_finished(self, records, tmp_path):
        path = write_report(records.nothing_finished(), tmp_path)
        assert "No answer: no run was finished." in path.read_text()

    def test_no_record_leaves_nothing(self, tmp_path):
        with pytest.raises(FormatError):
            write_report({"schema": "manyhands.compare/1"}, tmp_path / "report")
        assert not (tmp_path / "report").exists()

    @pytest.mark.usefixtures("unrendered")
    def test_letters_that_no_file_can_hold(self, records, tmp_path):
        record = records.sweep(hidden=(50,), epochs=(10,))
        record["settings"]["data"]["name"] = "\ud800"
        assert write_report(record, tmp_path).exists()


class TestFailures:
    """Whatever fails costs itself only."""

    @pytest.fixture
    def record(self, records):
        return records.compare(seeds=2, workers=(2,), strategies={"gradient": (0, 0.1)})

    @pytest.mark.usefixtures("unrendered")
    def test_a_figure_that_cannot_be_drawn(self, record, tmp_path, monkeypatch):
        write_report(record, tmp_path)
        assert (tmp_path / "speedup.png").exists()
        monkeypatch.setattr("manyhands.reports.figures.speed.speedup", fail)
        with pytest.raises(DrawingError) as caught:
            write_report(record, tmp_path)
        assert caught.value.reasons == {"speedup": "RuntimeError: latex could not be found"}
        assert str(caught.value).startswith(
            f"figures are missing in {tmp_path / 'report.html'}: speedup (RuntimeError:"
        )
        names = contents(tmp_path)
        assert {"results.json", "runs.csv", "accuracy.png", "impact.svg", "report.html"} <= set(names)
        assert not [name for name in names if name.startswith("speedup")]
        assert b"Not drawn: speedup (RuntimeError: latex could not be found)." in names["report.html"]

    @pytest.mark.parametrize("what", ["png", "svg"])
    def test_figures_that_cannot_be_rendered(self, record, tmp_path, monkeypatch, what):
        monkeypatch.setattr(f"manyhands.reports.publishing.{what}", fail)
        with pytest.raises(DrawingError, match=r"training_time, speedup, accuracy.* \(RuntimeError: latex"):
            write_report(record, tmp_path)
        assert sorted(contents(tmp_path)) == ["report.html", "results.json", "runs.csv", "summary.csv"]

    def test_interrupted_while_drawing_the_page_shows_what_there_is(self, record, tmp_path, monkeypatch):
        monkeypatch.setattr("manyhands.reports.figures.accuracy.accuracy", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_report(record, tmp_path)
        names = contents(tmp_path)
        assert {"results.json", "runs.csv", "training_time.png", "speedup.svg"} <= set(names)
        assert b"Not drawn: accuracy, accuracies, convergence_accuracy" in names["report.html"]
        assert b"(interrupted)." in names["report.html"]

    @pytest.mark.usefixtures("unrendered")
    def test_files_that_cannot_be_written(self, record, tmp_path):
        for name in ("runs.csv", "speedup.png", "results.json"):
            (tmp_path / name).mkdir()
        with pytest.raises(OutputError) as caught:
            write_report(record, tmp_path)
        assert all(f"cannot write {tmp_path / name}: " in str(caught.value) for name in ("runs.csv", "speedup.png"))
        assert {"summary.csv", "speedup.svg", "impact.png", "report.html"} <= {each.name for each in tmp_path.iterdir()}
        assert 'href="runs.csv"' not in (tmp_path / "report.html").read_text()


class TestWhereTo:
    @pytest.mark.parametrize("check", [check_possible, lambda folder: write_report({}, folder)], ids=["check", "write"])
    def test_a_file_is_no_folder(self, records, tmp_path, monkeypatch, check):
        monkeypatch.setattr("manyhands.reports.write.complete", lambda _: complete(records.nothing_finished()))
        file = tmp_path / "file"
        file.write_text("mine")
        with pytest.raises(OutputError, match="it is a file; give a folder"):
            check(file)
        with pytest.raises(OutputError, match="cannot make the folder"):
            check(file / "below")
        with pytest.raises(OutputError, match="cannot make the folder"):
            check("a\0b")
        assert file.read_text() == "mine"

    @pytest.mark.parametrize("name", ["report.html", "results.json", "speedup.png", "runs.csv"])
    def test_no_file_is_written_through_a_link_out_of_the_folder(self, records, tmp_path, name):
        (tmp_path / "report").mkdir()
        (tmp_path / "secret").write_text("mine")
        (tmp_path / "report" / name).symlink_to(tmp_path / "secret")
        with pytest.raises(OutputError, match="leads out of its folder"):
            check_possible(tmp_path / "report")
        with contextlib.suppress(OutputError):
            write_report(records.nothing_finished(), tmp_path / "report")
        assert (tmp_path / "secret").read_text() == "mine"

    def test_the_folder_itself_may_be_a_link(self, records, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "report").symlink_to(tmp_path / "real")
        check_possible(tmp_path / "report")
        assert write_report(records.nothing_finished(), tmp_path / "report").exists()

    def test_possible_makes_the_folder(self, tmp_path):
        check_possible(tmp_path / "a" / "b")
        assert (tmp_path / "a" / "b").is_dir()

    def test_no_permission(self, tmp_path, monkeypatch):
        monkeypatch.setattr(os, "access", lambda *_: False)  # who runs the tests may be root, who may write anywhere
        with pytest.raises(OutputError, match="no permission"):
            check_possible(tmp_path)

    def test_a_folder_that_may_not_be_written(self, records, tmp_path):
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o500)
        if os.access(folder, os.W_OK):
            pytest.skip("root may write anywhere")
        with pytest.raises(OutputError):
            write_report(records.nothing_finished(), folder)

    def test_page_that_is_a_folder(self, records, tmp_path):
        (tmp_path / "report.html").mkdir()
        with pytest.raises(OutputError, match="is a folder"):
            check_possible(tmp_path)
        with pytest.raises(OutputError, match=r"report\.html"):
            write_report(records.nothing_finished(), tmp_path)


class TestMatplotlib:
    def test_missing(self, records, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(SettingsError, match=r"pip install matplotlib"):
            check_possible(tmp_path / "report")
        assert not (tmp_path / "report").exists()
        with pytest.raises(DrawingError, match=r"pip install matplotlib") as caught:
            write_report(records.sweep(), tmp_path / "report")
        assert sorted(contents(tmp_path / "report")) == [
            *("report.html", "results.json", "sessions.csv", "table1.csv", "table1_published.csv")
        ]
        assert caught.value.page == tmp_path / "report" / "report.html"

    def test_it_is_imported_only_to_draw_and_jinja_only_for_the_page(self):
        code = (
            "import sys, manyhands.reports.write, manyhands.reports.figures.registry, manyhands.reports.study_page\n"
            "sys.exit(bool({'matplotlib', 'jinja2'} & sys.modules.keys()))"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def places(value, path=()):
    """All places of fields and items inside a record."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def small(records):
    """One small record of every kind."""
    study = {**records.w1(seeds=2, workers=(1, 2), strategies={"one-shot": (1.0, 0.01)}, curves=True), "sweep": None}
    study["sweep"] = records.sweep(hidden=(50, 75), epochs=(10, 20), seeds=1)
    for run in study["compare"]["runs"]:
        run["curve"] = run["curve"][:3]
    study["compare"]["settings"]["target"] = 0.9
    scaled = records.compare(seeds=1, workers=(2,), strategies={"gradient": (0, 0.1)}, scaled=True)
    return [study, study["sweep"], study["published"], scaled]


ODD = st.sampled_from([None, True, -1, 0, 3, 1e-300, 1e17, 1e300, 10**400, "", "x$_{\x00", [], [1], {}, float("nan")])


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_damaged_records_give_a_report_or_a_typed_error(records, data):
    """Some fields deleted, some replaced by odd values; what is left is drawn (not rendered: that takes long)."""
    record = copy.deepcopy(data.draw(st.sampled_from(small(records)), "record"))
    for path in data.draw(st.lists(st.sampled_from(sorted(places(record), key=str)), min_size=1, max_size=4), "places"):
        inner = record
        try:
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # inside something that is gone already
        if data.draw(st.booleans(), "delete"):
            del inner[path[-1]]
        else:
            inner[path[-1]] = data.draw(ODD, "value")
    try:
        question, reply = answer(record)
        completed = complete(record)
        pictures = make_figures(record)
        page = make_page(completed, [(picture, b"") for picture in pictures], list(csv_files(completed)))
    except ManyhandsError:
        return
    assert question.endswith("?")
    assert reply.endswith(".")
    assert page.endswith("</html>\n")
