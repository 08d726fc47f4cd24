"""A report's folder belongs to one study: another one's report is refused, or replaced whole."""

import copy

import pytest

from manyhands.cli import main
from manyhands.core.errors import OutputError
from manyhands.reports.folder import Owner, check_owner, owner_of, take
from manyhands.reports.write import read_record, write_numbers, write_report

pytestmark = pytest.mark.usefixtures("unrendered")
HERE = "manyhands compare --data digits"


def names(folder):
    return {path.name for path in folder.iterdir()}


def with_command(record, command):
    found = copy.deepcopy(record)
    found["environment"]["command"] = command
    return found


@pytest.fixture
def compare(records):
    """A comparison whose report has curves."""
    return with_command(records.compare(2, (2,), {"gradient": (0, 0.1)}, curves=True), HERE)


@pytest.fixture
def sweep(records):
    return with_command(records.sweep(hidden=(50,), epochs=(10,)), "manyhands sweep --data digits")


@pytest.fixture
def folder(compare, tmp_path):
    """A folder with the report of the comparison, and a file of the user's."""
    write_report(compare, tmp_path)
    (tmp_path / "mine.csv").write_text("mine")
    return tmp_path


class TestWhose:
    @pytest.mark.parametrize(
        ("other", "same"),
        [
            (HERE, True),
            (f"{HERE} --report elsewhere --json=x.json --quiet --wide --replace", True),
            (f"{HERE} --epochs 3", False),
            ("manyhands compare --data mnist", False),
            ("", False),
        ],
    )
    def test_the_command_says_which_study_it_is(self, other, same):
        assert Owner("", f"{HERE} --report here").same(Owner("", other)) is same

    def test_one_program_may_make_studies_of_two_kinds(self, compare, sweep):
        program = "python study.py"
        owners = [owner_of(with_command(each, program)) for each in (compare, sweep)]
        assert not owners[0].same(owners[1])
        assert owners[0].same(Owner("", program))

    def test_a_record_without_a_command_is_the_same_as_itself(self, compare):
        record = with_command(compare, "")
        assert owner_of(record).same(owner_of(record))
        assert not owner_of(record).same(owner_of({**record, "interrupted": True}))


class TestRefusal:
    def test_another_study_is_refused_and_both_are_named(self, folder, sweep):
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        for write in (write_report, lambda *args: write_numbers(*args)):
            with pytest.raises(OutputError, match="holds the report of another study") as caught:
                write(sweep, folder)
            for words in (str(folder), HERE, "manyhands sweep --data digits", "another folder", "replace=True"):
                assert words in str(caught.value)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    @pytest.mark.parametrize(
        ("name", "content"),
        [("report.html", "mine"), ("results.json", '{"schema": "mine"}'), ("evaluation.json", "[]")],
    )
    def test_files_of_something_else_are_refused_even_with_leave_to_replace(self, tmp_path, sweep, name, content):
        (tmp_path / name).write_text(content)
        with pytest.raises(OutputError, match=rf"{name}.*move these files away"):
            write_report(sweep, tmp_path, replace=True)
        assert names(tmp_path) == {name}

    def test_the_program_refuses_before_it_trains(self, folder, capsys, monkeypatch):
        monkeypatch.setattr("manyhands.data.catalog.load", None)
        monkeypatch.setattr("sys.argv", ["manyhands", "compare", "--data", "digits", "--epochs", "7"])
        assert main(["compare", "--data", "digits", "--epochs", "7", "--report", str(folder)]) == 1
        said = capsys.readouterr().err
        assert "holds the report of another study" in said
        assert "with --replace" in said

    def test_the_report_command(self, folder, sweep, tmp_path, capsys):
        other = tmp_path / "other"
        write_report(sweep, other)
        assert main(["report", str(other / "results.json"), "--report", str(folder)]) == 1
        assert "another study" in capsys.readouterr().err
        assert main(["report", str(other / "results.json"), "--report", str(folder), "--replace", "--quiet"]) == 0
        assert names(folder) - {"other"} == names(other) | {"mine.csv"}


class TestReplacing:
    def test_the_same_study_is_replaced_whole(self, folder, compare, records):
        again = with_command(records.compare(1, (2,), {"gradient": (0, 0.1)}), HERE)
        assert {"accuracies.png", "curves.csv", "convergence_loss.svg"} <= names(folder)
        write_report(again, folder)
        assert not {"accuracies.png", "curves.csv", "convergence_loss.svg"} & names(folder)
        assert (folder / "mine.csv").read_text() == "mine"
        assert read_record(folder / "results.json") == again

    def test_another_study_with_leave_to(self, folder, sweep, tmp_path_factory):
        fresh = write_report(sweep, tmp_path_factory.mktemp("fresh")).parent
        write_report(sweep, folder, replace=True)
        assert names(folder) == names(fresh) | {"mine.csv"}

    @pytest.mark.parametrize("stopped_at", [0, 1, 3, 8])
    def test_stopped_half_way_there_is_no_page(self, folder, compare, stopped_at, monkeypatch):
        """SIGKILL cannot be caught; so no file at all is written after it."""
        calls = []

        def write(path, content):
            calls.append(path.name)
            if len(calls) > stopped_at:
                raise KeyboardInterrupt
            path.write_bytes(content)

        monkeypatch.setattr("manyhands.reports.publishing.write_whole", write)
        with pytest.raises(KeyboardInterrupt):
            write_report({**compare, "interrupted": True}, folder)
        assert "report.html" not in names(folder)

    def test_the_page_goes_first(self, folder, sweep, monkeypatch):
        gone = []
        monkeypatch.setattr("manyhands.reports.folder._delete", lambda path: gone.append(path.name))
        take(folder, sweep, replace=True)
        assert gone[0] == "report.html"
        assert {"summary.csv", "speedup.svg"} <= set(gone)
        assert "mine.csv" not in gone

    def test_after_being_stopped_the_same_study_goes_on(self, folder, compare):
        (folder / "report.html").unlink()
        check_owner(folder, owner_of(compare))
        assert write_report(compare, folder).exists()

    def test_links_and_folders_stay(self, folder, sweep, tmp_path_factory):
        elsewhere = tmp_path_factory.mktemp("elsewhere") / "speedup.png"
        elsewhere.write_text("mine")
        (folder / "speedup.png").unlink()
        (folder / "speedup.png").symlink_to(elsewhere)
        (folder / "impact.svg").unlink()
        (folder / "impact.svg").mkdir()
        write_report(sweep, folder, replace=True)
        assert (folder / "speedup.png").is_symlink()
        assert (folder / "impact.svg").is_dir()
        assert elsewhere.read_text() == "mine"
