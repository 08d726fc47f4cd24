"""A cell that is no number: the message says what to do."""

import pytest

from manyhands.core.errors import FormatError
from manyhands.data.csv.reader import read_csv

PIPELINE = "encode words and fill in missing cells with a scikit-learn Pipeline"
FLOWERS = "length,width,species\n1.5,2,setosa\n2.5,3,virginica\n"
PEOPLE = "age,city,income,buys\n30,Rome,1,yes\n40,Oslo,2,no\n"


@pytest.mark.parametrize(
    ("text", "label_column", "expected"),
    [
        (FLOWERS, None, "'setosa' is not a number; is column 2 ('species') the label? label_column='species'"),
        (FLOWERS.partition("\n")[2], None, "is column 2 (from 0) the label? label_column=2"),
        (FLOWERS, 0, f"column 2 ('species') is text: {PIPELINE}"),  # somebody wants the first column
        (PEOPLE, None, f"column 1 ('city') and column 3 ('buys') are text: {PIPELINE}"),
        (PEOPLE.replace("buys", "class"), None, "is column 3 ('class') the label? label_column='class'"),
        (PEOPLE, "buys", f"column 1 ('city') is text: {PIPELINE}"),
        ("y,a\n0,1\n1,NA\n", None, f"'NA' is not a number; {PIPELINE}"),
        ("y,a\n0,1\n1,\n", None, f"the cell is empty; {PIPELINE}"),
        ("y;a\n0;1\n1;2,5\n", None, "'2,5' is not a number; write decimals with a point"),
    ],
)
def test_advice(tmp_path, text, label_column, expected):
    path = tmp_path / "some.csv"
    path.write_text(text)
    with pytest.raises(FormatError) as caught:
        read_csv(path, label_column)
    assert expected in str(caught.value)


def test_a_single_slip_gets_no_advice(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text("y,a\n" + "0,1\n1,2\n" * 5 + "1,2x\n")
    with pytest.raises(FormatError) as caught:
        read_csv(path)
    assert str(caught.value).endswith("column 1 ('a'): '2x' is not a number")
