"""Faults that NumPy's reader overlooks are found in compressed files, in parts and in columns of row names, too."""

import gzip

import pytest

from manyhands.core.errors import FormatError
from manyhands.data.csv.reader import read_csv


def test_a_compressed_file_is_looked_at(tmp_path):
    path = tmp_path / "some.csv.gz"
    path.write_bytes(gzip.compress(b"a,1\nb,2\0\n"))
    with pytest.raises(FormatError, match=r"line 2: column 1 \(from 0\): '2\\x00' has a control character"):
        read_csv(path)


def test_the_part_with_the_fault_names_its_line_in_the_file(tmp_path):
    path = tmp_path / "some.csv"
    path.write_bytes(b"label,x\n" + b"a,1\n" * 50 + b"b,2\x1d\n")
    assert len(read_csv(path, 0, 0, 2)[1]) > 20
    with pytest.raises(FormatError, match=r"line 52: column 1 \('x'\)"):
        read_csv(path, 0, 1, 2)


def test_names_of_rows_may_go_on_in_the_next_line_but_not_swallow_rows(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text(',x,label\n"one\nname",1,a\nr2,2,b\n')
    assert read_csv(path, -1)[1].tolist() == ["a", "b"]
    path.write_text(',x,label\n"r1,1,a\nr2",2,b\nr3,3,c\n')
    with pytest.raises(
        FormatError, match=r"line 2: column 0 .without a name.: a quotation mark is opened here and not closed"
    ):
        read_csv(path, -1)


def test_a_quoted_header_and_letters_beyond_ascii_are_no_faults(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text('"label","x"\r"größer",1\r"m²",2\r', encoding="utf-8", newline="")
    assert read_csv(path)[1].tolist() == ["größer", "m²"]
