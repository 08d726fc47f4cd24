"""Text for the terminal: tables that fit it, and a progress bar that disturbs nobody."""

import io
import subprocess
import sys

import pytest

from manyhands.runtime.terminal import RULE, Group, columns, labelled, message, paragraph, progress_bar, text_table

GROUPS = (Group(("time s", "a long name\nof a column")), Group(("accuracy %", "verdict"), "here"), Group(("impact",)))
ROWS = [
    ("sequential", "1", "1.250", "x", "91.00 ±12.71", "", "7"),
    ("gradient", "16*", "10.000", "[red]", "9.00", "same", "45.5"),
]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")


class TestTable:
    def test_columns_are_aligned(self):
        assert text_table(("strategy", "n"), GROUPS, ROWS).splitlines() == [
            "                                               here",
            "                         a long name",
            "strategy      n  time s  of a column    accuracy %  verdict  impact",
            "-------------------------------------------------------------------",
            "sequential    1   1.250            x  91.00 ±12.71                7",
            "gradient    16*  10.000        [red]          9.00     same    45.5",
        ]

    def test_groups_that_do_not_fit_continue_below_with_the_names_of_the_rows(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "58")
        blocks = text_table(("strategy", "n"), GROUPS, ROWS).split("\n\n")
        assert [block.splitlines()[-1].split() for block in blocks] == [
            ["gradient", "16*", "10.000", "[red]"],
            ["gradient", "16*", "9.00", "same", "45.5"],
        ]
        assert max(len(line) for block in blocks for line in block.splitlines()) <= 58

    def test_rules_headings_and_long_names(self):
        name = "a name that is much too long for a column of a table"
        rows = ["heading of a section", ("a", "1"), RULE, (name, "2")]
        assert text_table(("name",), (Group(("x",)),), rows).splitlines() == [
            *("name  x", "-------", "heading of a section", "a     1", "-------", name, "      2"),
        ]

    def test_letters_that_are_twice_as_wide(self):
        lines = text_table(("class",), (Group(("x",)),), [("日本", "1"), ("a", "2")]).splitlines()
        assert lines[2:] == ["日本   1", "a      2"]

    def test_it_is_plain_even_where_colours_are_forced(self, monkeypatch):
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert "\x1b" not in text_table(("a",), (Group(("b",)),), [("1", "2")])


class TestParagraph:
    def test_it_is_80_columns_wide_without_a_terminal(self, monkeypatch):
        monkeypatch.delenv("COLUMNS")
        assert columns() == 80
        assert max(map(len, paragraph("word " * 50).splitlines())) <= 80

    def test_paths_are_not_broken(self):
        path = "/a-b" * 50
        assert path in paragraph(f"see {path} there")

    def test_lines_behind_a_label(self):
        assert labelled("data", "one\ntwo") == "data      one\n          two"

    def test_messages_are_broken_on_terminals_only(self, monkeypatch):
        text = "word " * 50 + "end\nsecond line"
        assert message(text) == text
        monkeypatch.setattr(sys, "stderr", Terminal())
        assert message(text).split() == text.split()
        assert max(map(len, message(text).splitlines())) <= 100
        assert message(text).endswith("\nsecond line")


class TestProgress:
    def test_there_is_none_without_a_terminal_or_if_it_is_not_wanted(self, monkeypatch):
        with progress_bar() as advance:
            assert advance is None
        monkeypatch.setattr(sys, "stderr", Terminal())
        with progress_bar(quiet=True) as advance:
            assert advance is None
        assert sys.stderr.getvalue() == ""

    def test_it_shows_what_is_done_and_removes_itself(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", Terminal())
        monkeypatch.setenv("TERM", "xterm")
        with progress_bar(unit="runs") as advance:
            advance("first", 3, 12)
            advance("[second]", 12, 12)
        shown = sys.stderr.getvalue()
        assert "first" in shown
        assert "3/12 runs" in shown
        assert "[second]" in shown
        assert "12/12 runs" in shown
        assert shown.rindex("\x1b[2K") > shown.rindex("12/12 runs")
        assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is there

    def test_it_is_drawn_a_few_times_a_second_only(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", Terminal())
        monkeypatch.setattr("time.monotonic", lambda: 7.0)
        with progress_bar() as advance:
            for step in range(1000):
                advance("training", step, 1000)
        assert sys.stderr.getvalue().count("training") <= 2

    def test_a_terminal_that_is_gone_ends_nothing(self, monkeypatch):
        class Gone(Terminal):
            def write(self, text):
                raise OSError(5, "Input/output error")

        monkeypatch.setattr(sys, "stderr", Gone())
        with progress_bar() as advance:
            for step in range(3):
                advance("training", step, 2)


def test_rich_is_not_imported_before_something_is_shown():
    code = "import sys; import manyhands.runtime.terminal as t; t.labelled('a', 'b'); assert 'rich' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
