"""CSV files in parts: whatever the file and the number of parts, together they are the file, bit for bit."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.core.errors import DataError, FormatError, ManyhandsError, MissingDataError, SettingsError
from manyhands.data.csv.pieces import Piece, cut_piece
from manyhands.data.csv.reader import join_labels, join_parts, read_csv

Result = tuple[np.ndarray, np.ndarray] | ManyhandsError


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file name for all, written anew each time."""
    return tmp_path_factory.mktemp("csv") / "some.csv"


def result_of(path: Path, *arguments: int) -> Result:
    try:
        return read_csv(path, *arguments)
    except (DataError, SettingsError) as error:
        return error


def check_parts_are_the_file(path: Path, label_column: int, parts: int) -> None:
    """Compare with the whole file: rows, order, dtypes and bits, or what is wrong and where."""
    whole = result_of(path, label_column)
    results = [result_of(path, label_column, part, parts) for part in range(parts)]
    errors = [result for result in results if isinstance(result, ManyhandsError)]
    if isinstance(whole, ManyhandsError):
        assert errors
        assert (type(errors[0]), str(errors[0])) == (type(whole), str(whole))
        return
    assert not errors
    assert {features.shape[1] for features, _ in results} == {whole[0].shape[1]}
    for together, expected in zip(join_parts(*zip(*results, strict=True)), whole, strict=True):
        assert together.dtype == expected.dtype
        assert together.shape == expected.shape
        assert together.tobytes() == expected.tobytes()


# ---------------------------------------------------------------- the parts are the file

BYTES = ["0", "7", "255", " 31 ", "+3", "007"]
FLOATS = ["256", "-0", "0.1", "1e-3", "-0.0", "1700000000.5", "1e300"]
NUMBERS = ["7", "0", "-3", "70000", " 5 ", str(-(2**63))]
WORDS = ["a", "é w", "\ufeff5", "3.0", str(2**63)]
SPELLED = ["007", "+7", "-0", "1_0", "\u0663", "\u2028 7"]  # numbers, but not as Python writes them


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, int]:
    """Draw a file's bytes, and the label column; the kinds of cells differ between the beginning and the end."""
    rows, columns, at = draw(st.integers(1, 12)), draw(st.integers(1, 3)), draw(st.integers(0, 3))
    at = min(at, columns)
    delimiter, end = draw(st.sampled_from(",;\t")), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    cells = [draw(st.sampled_from([BYTES, BYTES, BYTES + FLOATS])) for _ in range(2)]
    labels = [draw(st.sampled_from([NUMBERS, NUMBERS + SPELLED, NUMBERS + SPELLED + WORDS])) for _ in range(2)]
    half = draw(st.integers(0, rows))
    text = draw(st.sampled_from(["", "name" * draw(st.integers(1, 9)) + (delimiter + "x") * columns + end]))
    for row in range(rows):
        kind = int(row >= half)
        line = draw(st.lists(st.sampled_from(cells[kind]), min_size=columns, max_size=columns))
        line.insert(at, draw(st.sampled_from(labels[kind])))
        text += delimiter.join(line) + end * draw(st.sampled_from([1, 1, 1, 2]) if text or row else st.just(1))
    return text.removesuffix(draw(st.sampled_from(["", end]))).encode(draw(st.sampled_from(["utf-8", "utf-8-sig"]))), at


@settings(deadline=None, max_examples=200)
@given(files(), st.integers(1, 9), st.booleans())
def test_the_parts_of_a_table_are_the_table(path, drawn, parts, compressed):
    content, at = drawn
    file = path.with_suffix(".csv.gz") if compressed else path
    file.write_bytes(gzip.compress(content, mtime=0) if compressed else content)
    check_parts_are_the_file(file, at, parts)


PIECES = [
    *"0123456789,,,,;\t\n\n\n\r\". -+e_ab#'\0é²\x1c\x85\u0663\u2028\ufeff",
    "nan",
    "1e309",
    "\r\n",
    "1,2\n",
    "a,1\n",
]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.integers(0, 2), st.integers(1, 5))
def test_the_parts_of_any_text_are_the_text_or_say_the_same(path, text, label_column, parts):
    path.write_bytes(text.encode())
    check_parts_are_the_file(path, label_column, parts)


@settings(deadline=None, max_examples=200)
@given(files(), st.integers(1, 5), st.data())
def test_an_error_is_in_one_part_and_on_the_line_of_the_whole_file(path, drawn, parts, data):
    content, at = drawn
    lines = content.splitlines(keepends=True)
    line = data.draw(st.integers(min(1, len(lines) - 1), len(lines) - 1))
    wrong = data.draw(st.sampled_from([b"1,2,3,4,5,6", b"1;2;3;4;5;6", b"1\t2\t3\t4\t5\t6"]))
    lines[line] = wrong + (b"\r\n" if lines[line].endswith(b"\r\n") else lines[line][-1:])
    path.write_bytes(b"".join(lines))
    check_parts_are_the_file(path, at, parts)
    whole = result_of(path, at)
    if len(lines) > 1 and isinstance(whole, FormatError) and whole.line and whole.line > 1:
        errors = [result for part in range(parts) if isinstance(result := result_of(path, at, part, parts), DataError)]
        assert [error.line for error in errors] == [line + 1]


@pytest.mark.parametrize(("part", "line"), [(0, 3), (1, 104), (2, 204), (3, None)])
def test_each_part_names_its_own_first_error(path, part, line):
    lines = ["label,a,b\n"] + ["1,2,3\n"] * 400
    lines[2] = "1,x,3\n"  # in the part 0
    lines[103] = "1,2,3,4\n"
    lines[150] = "1,2\n"
    lines[203] = "1,nan,3\n"
    path.write_text("".join(lines))
    result = result_of(path, 0, part, 4)
    assert (result.line if isinstance(result, FormatError) else None) == line


# ---------------------------------------------------------------- what a part is


def test_parts_are_of_nearly_equal_length_and_hold_their_rows_only(path):
    path.write_text("label,a\n" + "".join(f"{row},{row % 100}\n" for row in range(1000, 2000)))
    rows = [read_csv(path, 0, part, 3)[1].tolist() for part in range(3)]
    assert [len(some) for some in rows] == pytest.approx([333] * 3, abs=2)
    assert [row for some in rows for row in some] == list(range(1000, 2000))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_that_begins_at_the_cut_belongs_to_the_part_behind_it(path, end):
    path.write_text(f"1,2{end}3,4{end}", newline="")
    assert [read_csv(path, 0, part, 2)[1].tolist() for part in range(2)] == [[1], [3]]


def test_a_part_may_be_empty(path):
    path.write_text("label,a,b\n1,2,3\n")
    features, labels = zip(*(read_csv(path, 0, part, 5) for part in range(5)), strict=True)
    assert sorted(some.shape for some in features) == [(0, 2)] * 4 + [(1, 2)]
    assert {(some.dtype, words.dtype) for some, words in zip(features, labels, strict=True)} == {
        (np.dtype(np.uint8), np.dtype(np.int64))
    }


def test_a_part_keeps_the_words_of_labels_that_a_number_would_lose(path):
    path.write_text("7,1\n8,1\n007,1\n8,1\nw,1\nx,1\n")
    parts = [read_csv(path, 0, part, 3) for part in range(3)]
    assert [labels.tolist() for _, labels in parts] == [[7, 8], ["007", "8"], ["w", "x"]]
    assert join_labels([labels for _, labels in parts]).tolist() == ["7", "8", "007", "8", "w", "x"]
    assert join_labels([labels for _, labels in parts[:2]]).tolist() == [7, 8, 7, 8]  # as read_csv without words


def test_a_byte_order_mark_is_one_at_the_beginning_of_the_file_only(path):
    path.write_text("100,200\n\ufeff5,2\n", encoding="utf-8")
    assert read_csv(path, 0, 1, 2)[1].tolist() == ["\ufeff5"]
    check_parts_are_the_file(path, 0, 2)


def test_a_nul_that_numpy_drops_does_not_count_for_the_width_of_labels(path):
    path.write_text("a\0\0,1\nb,2\n")
    check_parts_are_the_file(path, 0, 2)


@pytest.mark.parametrize(
    "text", ['"a, or b",1\nb,2\nc,3\nd,4\n', 'a,1\n"two\nlines",2\nc,3\n"d\n\n\n\n\n\n\n\n\n",4\n', 'a,1\nb"b,2\n']
)
def test_quoted_cells_make_a_file_indivisible_but_are_read(path, text):
    path.write_text(text)
    assert cut_piece(Piece(path), 1, 2).is_whole
    for parts in range(1, 6):
        check_parts_are_the_file(path, 0, parts)


@pytest.mark.parametrize("text", ['"label","a"\n1,2\n3,4\n', '.,"1,2\n0'], ids=["closed", "open"])
def test_quoted_names_in_the_header_do_not(path, text):
    path.write_text(text)
    assert not cut_piece(Piece(path, skip=1), 1, 2).is_whole
    check_parts_are_the_file(path, 0, 2)


def test_a_part_of_a_compressed_file_does_not_keep_the_rest_in_memory(path):
    file = path.with_suffix(".csv.gz")
    file.write_bytes(gzip.compress(b"1,2,3\n" * 10))
    features, labels = read_csv(file, 0, 1, 2)
    assert (len(features), features.base, labels.base) == (5, None, None)


def test_a_part_takes_no_memory_for_the_others(path):
    path.write_text((",".join(["100"] * 100) + "\n") * 20_000)  # 8 MB
    tracemalloc.start()
    read_csv(path, 0, 5, 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("space", ["\u2003", "\u00a0"])
def test_white_space_that_numpy_takes_is_not_blamed_for_an_error_behind_it(path, space):
    path.write_text(f"1,2{space}\n3\n", encoding="utf-8")
    check_parts_are_the_file(path, 0, 2)
    with pytest.raises(FormatError, match="line 2: the row has 1 cells"):
        read_csv(path)


@pytest.mark.parametrize(("part", "parts"), [(1, 1), (-1, 2), (0, 0), (2, 2), (0, -1)])
def test_a_part_that_is_not_there_is_a_settings_error(path, part, parts):
    path.write_text("1,2\n3,4\n")
    with pytest.raises(SettingsError, match=f"there is no part {part} of {parts}"):
        read_csv(path, 0, part, parts)


@pytest.mark.parametrize("text", ["label,a\n", "label,a\n\n\r\n\n", "label,a"])
def test_a_header_alone_is_refused_by_all_parts(path, text):
    path.write_text(text, newline="")
    for part in range(3):
        with pytest.raises(FormatError, match="line 1: there is a header line but no row"):
            read_csv(path, 0, part, 3)


def test_a_missing_file_is_missing_data(tmp_path):
    with pytest.raises(MissingDataError, match=r"none\.csv: there is no such file"):
        read_csv(tmp_path / "none.csv", 0, 1, 2)
    with pytest.raises(MissingDataError, match=r"none\.csv: there is no such file"):
        cut_piece(Piece(tmp_path / "none.csv"), 1, 2)


def test_another_encoding_is_a_format_error_where_it_is(path):
    path.write_bytes(b"a,5\n" * 5000 + "é,5\n".encode("latin-1"))
    assert len(read_csv(path, 0, 0, 2)[0]) == 2501
    with pytest.raises(FormatError, match="not a text file in UTF-8") as caught:
        read_csv(path, 0, 1, 2)
    assert caught.value.path == path


def test_a_broken_gzip_file_is_a_format_error(path):
    file = path.with_suffix(".csv.gz")
    file.write_bytes(gzip.compress(b"1,2\n" * 5000)[:-20])
    with pytest.raises(FormatError, match="broken gzip file"):
        read_csv(file, 0, 1, 2)


@pytest.mark.parametrize(("last", "dtype"), [("0.5", np.float32), ("0.1", np.float64), ("16777217", np.float64)])
def test_joining_promotes_to_what_one_part_needs_and_changes_none(path, last, dtype):
    path.write_text(f"100,2\n3,4\n5,{last}\n")
    features, labels = zip(*(read_csv(path, 0, part, 2) for part in range(2)), strict=True)
    assert [some.dtype for some in features] == [np.uint8, dtype]
    assert join_parts(features, labels)[0].tobytes() == read_csv(path)[0].tobytes()
