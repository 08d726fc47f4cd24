"""CSV cells that a spreadsheet would compute."""

import pytest

from manyhands.reports.csv_cells import csv_text


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+cmd|'/c calc'!A0",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "=",
        "-",
        "--1",
        "-inf",
        "\uff1d1",
        "+1-800",
    ],
)
def test_formulas_are_texts(text):
    assert csv_text([[text]]).decode().strip('"\n').startswith(f"'{text.rstrip()}"[:2])


@pytest.mark.parametrize("cell", ["cat", "-1", "+3.5", "-.5e-7", "-1E+9", "1-2", "a=b", "", -1, -0.5, 1e-300])
def test_numbers_and_other_texts_stay(cell):
    assert csv_text([[cell, 1]]) == f"{cell},1\n".encode()


def test_nothing_is_an_empty_cell():
    assert csv_text([[None, "x"]]) == b",x\n"
