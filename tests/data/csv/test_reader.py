"""CSV files: what spreadsheets and pandas write is read, anything else is refused with its name and line."""

import functools
import gzip
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from manyhands.core.errors import DataError, FormatError, ManyhandsError, MissingDataError, OutputError, SettingsError
from manyhands.data.csv.reader import join_labels, read_csv, write_csv
from manyhands.data.precision import say_once


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file name for all, written anew each time."""
    return tmp_path_factory.mktemp("csv") / "some.csv"


def table(path: Path, text: str, label_column: str | int = 0) -> tuple[list, list]:
    path.write_text(text, encoding="utf-8", newline="")
    features, labels = read_csv(path, label_column)
    return features.tolist(), labels.tolist()


def table_or_error(path: Path, label_column: str | int = 0) -> tuple[np.ndarray, np.ndarray] | ManyhandsError:
    try:
        return read_csv(path, label_column)
    except (DataError, SettingsError) as error:
        return error


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize(
    "text",
    [
        "5,0,255\n6,1,2\n",
        "5,0,255\n6,1,2",
        "5,0,255\r\n6,1,2\r\n",
        "5,0,255\r6,1,2\r",
        "5;0;255\n6;1;2\n",
        "5\t0\t255\n6\t1\t2\n",
        "\ufeff5,0,255\n6,1,2\n",
        "\ufefflabel,a,b\r\n5,0,255\r\n6,1,2\r\n",
        "label,a,b\n5,0,255\n6,1,2\n",
        "label,0,1\n5,0,255\n6,1,2\n",
        '"label","0","1"\n"5","0","255"\n"6","1","2"\n',
        " 5, 0, 255\n 6 , 1 , 2 \n",
        "5,0,255\n\n6,1,2\n\n",
        "label,0,1\n\n5,0,255\n6,1,2\n",
    ],
)
def test_the_same_table_in_many_spellings(path, text):
    assert table(path, text) == ([[0, 255], [1, 2]], [5, 6])


@pytest.mark.parametrize(
    ("header", "label_column"),
    [*((header, column) for header in ("a,class,b\n", "") for column in (1, "1", -2, "-2")), ("a,class,b\n", "class")],
)
def test_the_label_column_has_two_numbers_and_under_a_header_a_name(path, header, label_column):
    assert table(path, f"{header}1,7,2\n3,8,4\n", label_column) == ([[1, 2], [3, 4]], [7, 8])


def test_a_named_label_stands_above_numbered_columns_and_words(path):
    assert table(path, "0,label,1\n5,a,6\n7,b,8\n", "label") == ([[5, 6], [7, 8]], ["a", "b"])


def test_numbered_columns_are_a_header_above_words_too(path):
    # As pandas writes them; taken for a row, the header would become a class of its own.
    assert table(path, "label,0,1\na,5,6\nb,7,8\n") == ([[5, 6], [7, 8]], ["a", "b"])


def test_a_first_row_is_no_header_because_its_label_is_a_letter_and_the_next_a_digit(path):
    # Characters as labels: A above 7 is two examples of handwriting.
    assert table(path, "A,0,0,9\n7,0,3,0\n") == ([[0, 0, 9], [0, 3, 0]], ["A", "7"])


def test_labels_may_be_words_with_the_delimiter_in_them(path):
    assert table(path, '"a, or b",1\n b ,2\n"say ""c""",3\n')[1] == ["a, or b", "b", 'say "c"']


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        (["6", "6.0", "6.0000", "+6", "6e0", "6.000000000000000000e+00"], [6] * 6),
        (["6.0", "7.0"], [6, 7]),
        (["1.5", "2.0", "2"], [1.5, 2.0, 2.0]),
        (["1.5", "1.50", "2"], ["1.5", "1.50", "2"]),  # as of sections: 1.1 and 1.10 are not the same
        (["6.0", "x"], ["6.0", "x"]),
        (["9007199254740993.0", "1"], ["9007199254740993.0", "1"]),
        (["1e300", "1"], ["1e300", "1"]),
        (["nan", "1"], ["nan", "1"]),
    ],
)
@pytest.mark.parametrize("parts", [1, 2])
def test_labels_are_numbers_if_all_are_however_they_are_written(path, words, labels, parts):
    path.write_text("".join(f"{word},5\n" for word in words))
    found = join_labels([read_csv(path, 0, part, parts)[1] for part in range(parts)])
    assert found.tolist() == labels
    assert {type(label) for label in found.tolist()} == {type(label) for label in labels}


@pytest.mark.parametrize("numbers", [["300", "1"], ["-1", "1"], ["0.5", "1"], ["256", "-0.5"], ["1e2", "1e-3"]])
def test_what_is_no_byte_is_a_float_whatever_numpy_does(path, numbers):
    # NumPy before 2.3 turns 1.5 into the byte 1 with no more than a DeprecationWarning, which users do not see.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        features, _ = table(path, f"7,{numbers[0]}\n8,{numbers[1]}\n")
    assert features == np.array(numbers, np.float64)[:, None].tolist()


def test_whole_numbers_up_to_255_stay_bytes(path):
    path.write_text("70000,0,255\n-3,1,2\n")
    features, labels = read_csv(path)
    assert (features.dtype, labels.dtype, labels.tolist()) == (np.uint8, np.int64, [70000, -3])


@pytest.mark.parametrize(
    ("number", "dtype"),
    [
        ("0.5", np.float32),
        ("16777216", np.float32),
        ("16777217", np.float64),
        ("1700000030", np.float64),
        ("0.1", np.float64),
        ("1e300", np.float64),
        ("1e-45", np.float64),
        ("1.1754942106924411e-38", np.float64),  # below float32's smallest normal number
    ],
)
def test_numbers_are_doubles_where_float32_would_round_one(path, number, dtype):
    path.write_text(f"0,{number}\n1,-3\n")
    features, _ = read_csv(path)
    assert (features.dtype, features.tolist()) == (dtype, [[float(number)], [-3]])


@pytest.mark.parametrize("count", [1, 1000])
def test_whole_numbers_that_doubles_cannot_tell_apart_are_named(path, caplog, count):
    """With one number only, there is nothing to tell apart."""
    say_once.cache_clear()
    path.write_text("".join(f"1.5,{row % 2},{1152921504606846976 + row % count}\n" for row in range(1000)))
    read_csv(path, 1)
    told = [record.getMessage() for record in caplog.records]
    assert told == ([] if count == 1 else [f"{path}: double precision cannot tell the numbers in column 2 (from 0) "
                                            "apart; subtract the smallest one from all of them"])  # fmt: skip


def test_features_are_contiguous(path):
    path.write_text("1,2,3\n4,5,6\n")
    assert all(read_csv(path, column)[0].flags.c_contiguous for column in (0, 1, 2))


NUMBERED = list(range(9))


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, list, str, int, bytes]:
    """Draw features, labels, and one way to write them; return both, the label column and the file's bytes."""
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
    dtype, cells = draw(st.sampled_from([(np.uint8, st.integers(0, 255)), (np.float32, floats)]))
    features = draw(arrays.arrays(dtype, (rows, columns), elements=cells))
    words = st.from_regex(r"w[a-zé ]{0,4}[a-zé]", fullmatch=True)
    labels = draw(
        st.lists(draw(st.sampled_from([words, st.integers(-(2**63), 2**63 - 1)])), min_size=rows, max_size=rows)
    )
    at = draw(st.integers(0, columns))
    lines = [[str(cell) for cell in row] for row in features.tolist()]
    for line, label in zip(lines, labels, strict=True):
        line.insert(at, str(label))
    if draw(st.booleans()):
        lines.insert(0, [f"name {i}" for i in range(columns + 1)])
    else:  # a word before 0, 1, 2, ... is a header
        assume(
            isinstance(labels[0], int) or features[0].tolist() not in (NUMBERED[:columns], NUMBERED[1 : columns + 1])
        )
    delimiter, end = draw(st.sampled_from(",;\t")), draw(st.sampled_from(["\n", "\r\n"]))
    text = "".join(delimiter.join(line) + end for line in lines)
    return features, labels, at, text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig"])))


@settings(deadline=None, max_examples=150)
@given(tables(), st.booleans())
def test_every_valid_table_comes_back(path, drawn, compressed):
    features, labels, at, content = drawn
    file = path.with_suffix(".csv.gz") if compressed else path
    file.write_bytes(gzip.compress(content) if compressed else content)
    back, names = read_csv(file, at)
    np.testing.assert_array_equal(back, features)
    assert names.tolist() == labels


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "the file is empty"),
        ("\ufeff", 1, "the file is empty"),
        ("\n1,2\n", 1, "the first line is blank"),
        ("1\n2\n", 1, "a row needs a label and at least one feature"),
        ("label,a,b\n", 1, "there is a header line but no row"),
        ("1,2\n3,x\n", 2, "column 1 (from 0): 'x' is not a number"),
        ("1,2\n3,1_0\n", 2, "column 1 (from 0): '1_0' is not a number"),
        ("1,2\n3,0x1F\n", 2, "column 1 (from 0): '0x1F' is not a number"),
        ("1,2\n3,٣\n", 2, "column 1 (from 0): '٣' is not a number"),
        ("1,2\n\n\n3,x\n", 4, "column 1 (from 0): 'x' is not a number"),
        ("label,a\n1,2\n3,x\n", 3, "column 1 ('a'): 'x' is not a number"),
        ("1,2,3\n4,,6\n", 2, "column 1 (from 0): the cell is empty"),
        ("1,2,3\n4,5, \n", 2, "column 2 (from 0): the cell is empty"),
        ("label,a\na,2\n,3\n", 3, "column 0 ('label'): the cell is empty"),
        ("1,2,3\n4,5,6,\n", 2, "the row has 4 cells, the first has 3"),
        ("1,2,3\n4,5,6\n7,8\n", 3, "the row has 2 cells, the first has 3"),
        ("1,2,3\n4,5,6\n7\n", 3, "cells, the first has 3"),
        ("1,2\n3,4,5\n", 2, "the row has 3 cells, the first has 2"),
        ("1,0.5\n3,0.5,5\n", 2, "the row has 3 cells, the first has 2"),
        ("a,1\nb,1,5\n", 2, "the row has 3 cells, the first has 2"),
        ("label,a,b\n1,2\n3,4\n", 2, "the row has 2 cells, the first has 3"),
        ("label,a\n1,2,3\n4,5,6\n", 2, "the row has 3 cells, the first has 2"),
        ("1,2\n3,nan\n", 2, "column 1 (from 0): 'nan' is not a finite number"),
        ("1,2\n3,inf\n", 2, "column 1 (from 0): 'inf' is not a finite number"),
        ("1,2\n3,-Infinity\n", 2, "column 1 (from 0): '-Infinity' is not a finite number"),
        ("1,2\n3,1e309\n", 2, "column 1 (from 0): '1e309' is not a finite number"),
        ("a,1\nb\0,2\n", 2, "column 0 (from 0): the label 'b\\x00' has a control character"),
        ("a,1\nb,2\nb\0 ,2\n", 3, "has a control character"),
        ("a,1\nb\x07c,2\n", 2, "has a control character"),
        ("a,1\nb\x9dc,2\n", 2, "has a control character"),
        ("label,x\0\na,1\nb,2\n", 1, "column 1 (from 0): 'x\\x00' has a control character"),
        ("7\0,1\n8,2\n", 1, "column 0 (from 0): '7\\x00' has a control character"),  # else taken for a header
        ("5,1\n6,255\0\0\n7,1\n", 2, "column 1 (from 0): '255\\x00\\x00' has a control character"),
        ("5,1\n6,2\n7,44\x1d\n", 3, "column 1 (from 0): '44\\x1d' has a control character"),
        ("5,1\n6,2.5\x0c\n", 2, "has a control character"),
        ("5,1\n6,2\x85\n", 2, "has a control character"),
        (
            '5,"1.5\r\ndog,3.5\r\n007,0\r\n6,256\r\n3',
            1,
            "column 1 (from 0): a quotation mark is opened here and never closed",
        ),
        ('a,1\nb,2\n"c,3\nd,4\n', 3, "column 0 (from 0): a quotation mark is opened here and never closed"),
        ('a,1\nb,2\nc,"3', 3, "column 1 (from 0): a quotation mark is opened here and never closed"),
        ('a,1\n"b,2\nc,3\n"d,4\n', 2, "opened here and not closed in this line; the cell is 'b,2\\nc,3\\nd'"),
        (
            'a,1\n"two\r\nlines",2\n',
            2,
            "column 0 (from 0): a quotation mark is opened here and not closed in this line",
        ),
        ('a,1\nb,"2\n"\n', 2, "column 1 (from 0): a quotation mark is opened here and not closed in this line"),
        ('a,1\nb,2\nc,"' + "3\n" * 100_000, 3, "is there a quotation mark that is not closed?"),
        ('label,"x\n1,2\n3,4\n', 1, "column 1 (from 0): a quotation mark is opened here and not closed in this line"),
        ('"a\nb",1\nc,2\n', 1, "column 0 (from 0): a quotation mark is opened here and not closed in this line"),
    ],
)
def test_the_message_names_file_line_and_problem(path, text, line, problem):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FormatError) as caught:
        read_csv(path)
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize("label_column", ["label", -1, 2])
def test_a_header_alone_is_refused_wherever_the_label_is(path, label_column):
    path.write_text("a,b,label\n")
    with pytest.raises(FormatError, match="there is a header line but no row"):
        read_csv(path, label_column)


@pytest.mark.parametrize(
    ("text", "label_column", "problem"),
    [
        ("a,b\n1,2\n", "c", r"there is no column 'c'; the columns are a, b"),
        ("1,2\n3,4\n", "c", r"there is no column 'c'; the file has no header line"),
        ("1,2\n3,4\n", 2, r"there is no column 2; a row has 2 cells"),
        ("1,2\n3,4\n", "-3", r"there is no column -3; a row has 2 cells"),
        ("1,2\n3,4\n", "", r"there is no column ''"),
        ("1,2\n3,4\n", "9" * 5000, r"there is no column"),
    ],
    ids=["name", "no-header", "number", "negative", "nothing", "huge"],
)
def test_an_unknown_label_column_is_a_settings_error(path, text, label_column, problem):
    path.write_text(text)
    with pytest.raises(SettingsError, match=problem) as caught:
        read_csv(path, label_column)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_missing_data(tmp_path):
    with pytest.raises(MissingDataError, match=r"none\.csv: there is no such file"):
        read_csv(tmp_path / "none.csv")


@pytest.mark.parametrize("name", ["folder.csv", "folder.csv.gz"])
def test_a_folder_is_a_data_error(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_csv(tmp_path / name)
    assert caught.value.path == tmp_path / name


@pytest.mark.parametrize("content", ["1,2\n3,4\né,5\n".encode("latin-1"), "1,2\n".encode("utf-16")])
def test_another_encoding_is_a_format_error(path, content):
    path.write_bytes(content)
    with pytest.raises(FormatError, match="not a text file in UTF-8") as caught:
        read_csv(path)
    assert caught.value.path == path


@pytest.mark.parametrize("text", ["a" * 200_000, "a" * 200_000 + ",1\n2,3\n"], ids=["alone", "first"])
def test_a_cell_longer_than_the_csv_module_takes_is_a_format_error(path, text):
    path.write_text(text)
    with pytest.raises(FormatError) as caught:
        read_csv(path)
    assert (caught.value.path, caught.value.line) == (path, 1)


def test_one_long_label_does_not_reserve_its_length_for_every_row(path):
    # An array of words has the width of the longest: here 36 MB from a file of 15 kB, and so on with the square.
    path.write_text("a" * 3000 + ",1\n" + "b,2\n" * 3000)
    tracemalloc.start()
    table_or_error(path)  # refusing such a label is fine too
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


@functools.cache
def broken_gzips() -> dict[str, bytes]:
    """Damage far behind the first lines, so that it is met in the middle of reading numbers."""
    cells = np.random.default_rng(1).integers(0, 256, (100_000, 3))
    text = "".join(f"{a},{b},{c}\n" for a, b, c in cells).encode()
    whole = gzip.compress(text)
    packer = zlib.compressobj(wbits=31)
    sound = packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH)
    return {
        "half": whole[: len(whole) // 2],
        "wrong checksum": whole[:-8] + bytes(4) + whole[-4:],
        "wrong blocks": sound + b"\xff" * 50,
        "other bytes behind": whole + b"garbage",
        "not gzip": text,
    }


@pytest.mark.parametrize("damage", broken_gzips())
def test_a_broken_gzip_file_is_a_format_error(tmp_path, damage):
    path = tmp_path / "some.csv.gz"
    path.write_bytes(broken_gzips()[damage])
    with pytest.raises(FormatError, match="broken gzip file") as caught:
        read_csv(path)
    assert caught.value.path == path


def test_a_name_that_numpy_takes_for_another_compression_is_no_other_error(tmp_path):
    path = tmp_path / "some.csv.bz2"
    path.write_text("1,2\n3,4\n")
    result = table_or_error(path)
    assert isinstance(result, DataError) or result[0].tolist() == [[2], [4]]


PIECES = [*"0123456789,,,,;\t\n\n\r\". -+e_ab#'\0é²\x1c\x85\u0663\u2028\ufeff", "nan", "inf", "1e309", "label", "9" * 9]
LABEL_COLUMNS = st.sampled_from([0, 1, -1, 5, "0", "-1", "label", "a", "-", ""])


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A valid file, perhaps compressed, with some bytes replaced, taken out or put in."""
    content = draw(tables())[-1]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        piece = draw(st.one_of(st.sampled_from(PIECES).map(str.encode), st.binary(max_size=3)))
        content = content[:at] + piece + content[at + draw(st.integers(0, 3)) :]
    return content


@settings(deadline=None, max_examples=400)
@given(
    st.one_of(
        st.binary(max_size=40),
        st.lists(st.sampled_from(PIECES), max_size=25).map("".join).map(str.encode),
        damaged_files(),
    ),
    LABEL_COLUMNS,
)
def test_any_bytes_give_a_sane_table_or_one_of_our_errors(path, content, label_column):
    path.write_bytes(content)
    result = table_or_error(path, label_column)
    if isinstance(result, ManyhandsError):
        assert str(path) in str(result)
        return
    features, labels = result
    assert features.ndim == 2
    assert features.size > 0
    assert features.dtype in (np.uint8, np.float32, np.float64)
    assert np.isfinite(features).all()
    assert labels.shape == (len(features),)
    assert labels.dtype in (np.int64, np.float64) or all(labels.tolist())


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_damaged_gzip_gives_a_table_or_a_data_error(path, data):
    whole = gzip.compress(b"label,a,b\n" + b"1,2,3\n" * 50, mtime=0)
    at = data.draw(st.integers(0, len(whole)))
    tail = data.draw(st.sampled_from([b"", whole[at + 1 :]]))
    file = path.with_suffix(".csv.gz")
    file.write_bytes(whole[:at] + data.draw(st.binary(max_size=3)) + tail)
    result = table_or_error(file)
    assert isinstance(result, DataError) or result[0].size > 0


# ---------------------------------------------------------------- what is written


@pytest.mark.parametrize("labels", [[5, 0, -3, 70000], ["b", "a", "é", "a b"]], ids=["numbers", "words"])
def test_what_is_written_is_read_again(path, labels):
    features = np.random.default_rng(3).integers(0, 256, (4, 300)).astype(np.uint8)
    features[0, :2], features[1] = (0, 255), 7
    write_csv(path, features, np.array(labels))
    again, words = read_csv(path)
    assert again.dtype == np.uint8
    np.testing.assert_array_equal(again, features)
    assert words.tolist() == labels


def test_written_are_the_label_and_then_the_values_without_a_header(path):
    write_csv(path, np.array([[0, 9], [10, 255]], np.uint8), np.array([5, 6]))
    assert path.read_bytes() == b"5,0,9\n6,10,255\n"


def test_every_byte_has_its_number(path):
    write_csv(path, np.arange(256, dtype=np.uint8)[:, None], np.arange(256))
    assert path.read_text().split() == [f"{value},{value}" for value in range(256)]


def test_rows_without_a_label_leave_the_old_file_as_it_was(tmp_path):
    path = tmp_path / "old.csv"
    path.write_text("old")
    with pytest.raises(ValueError, match="shorter"):
        write_csv(path, np.zeros((3, 2), np.uint8), np.zeros(2, np.int64))
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])


def test_a_folder_that_is_not_there_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="cannot write"):
        write_csv(tmp_path / "no" / "x.csv", np.zeros((1, 2), np.uint8), np.zeros(1, np.int64))
