"""What stands between cells is found in the first lines, or given; the table is the same."""

import numpy as np
import pytest

from manyhands.core.errors import FormatError, SettingsError
from manyhands.data.csv.delimiters import WHITESPACE, find_delimiter, parse_delimiter
from manyhands.data.csv.reader import join_parts, read_csv

ROWS = [("label", "x", "y z"), ("a b", "1.5", "-2"), ("c", "3", "4e1"), ("c", "0.25", "7")]


def quoted(cell: str) -> str:
    return f'"{cell}"' if " " in cell else cell


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " ", "   ", " \t "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("parts", [1, 2])
def test_every_delimiter_gives_the_same_table(tmp_path, delimiter, end, header, parts):
    path = tmp_path / "some.csv"
    text = end.join(delimiter.join(map(quoted, row)) for row in ROWS[not header :]) + end
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    features, labels = join_parts(*zip(*(read_csv(path, 0, part, parts) for part in range(parts)), strict=True))
    assert labels.tolist() == ["a b", "c", "c"]
    np.testing.assert_array_equal(features, [[1.5, -2], [3, 40], [0.25, 7]])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a;b;c", "1,5;2,5;3,5"], ";"),  # decimal commas
        (["1,5;2,5", "1,5;2,5"], ";"),
        (['"a;b",c,d', '"a;b",1,2'], ","),
        (["a b,c d", "1,2"], ","),
        (["1, 2, 3", "4, 5, 6"], ","),
        (["label,a|b", "x,1"], ","),
        (["1 2", "3 4"], WHITESPACE),
        (["1"], ","),
    ],
)
def test_what_divides_all_lines_alike_is_the_delimiter(lines, expected):
    assert find_delimiter(lines) == expected


def test_a_given_delimiter_is_used_whatever_the_lines_look_like(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text("a;b,1\nc;d,2\n")
    assert read_csv(path, 0, delimiter="comma")[1].tolist() == ["a;b", "c;d"]


@pytest.mark.parametrize(
    ("text", "expected"), [("tab", "\t"), ("\\t", "\t"), ("Pipe", "|"), ("auto", None), (None, None)]
)
def test_delimiters_have_names(text, expected):
    assert parse_delimiter(text) == expected


def test_an_unknown_delimiter_is_a_settings_error():
    with pytest.raises(
        SettingsError, match="delimiter=':': there is no such delimiter; choose one of comma, semicolon"
    ):
        parse_delimiter(":")


def test_rows_cannot_hide_behind_a_quotation_mark_where_white_space_divides(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text('z 1.5 2\n"b 3 4\nc" 5 6\nd 7 8\n')
    with pytest.raises(
        FormatError, match=r"line 2: column 0 \(from 0\): a quotation mark is opened here and not closed"
    ):
        read_csv(path)


def test_a_wrong_delimiter_is_named(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text("a,1\nb,2\n")
    with pytest.raises(FormatError, match=r"its cells are divided by semicolons \(delimiter\)"):
        read_csv(path, 0, delimiter=";")


@pytest.mark.parametrize("space", ["\x0c", "\x0b", "\x1c", "\xa0", "\u2003"])
def test_only_spaces_and_tabs_divide(tmp_path, space):
    path = tmp_path / "table.csv"
    path.write_text(f"0 1 2\n1 2{space}3\n0 1 2\n")
    with pytest.raises(FormatError, match="line 2"):
        read_csv(path)
    path.write_text(f"3{space}0\n")
    with pytest.raises(FormatError, match="line 1"):
        read_csv(path)
