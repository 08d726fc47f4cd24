"""Labels of classes: what may be one comes back the same from a file; anything else is refused before training."""

import datetime
import json
from pathlib import Path

import numpy as np
import pytest

from manyhands.core.errors import DataError
from manyhands.data.labels import check_labels, describe_labels, encode, read_labels


class Column:
    """Stands for a column of a table, such as a pandas Series: anything that becomes an array when it is asked."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, object)


class NAType:
    """Stands for pandas' missing value, which is equal to nothing and has no truth value."""

    def __eq__(self, other):
        return self

    def __ne__(self, other):
        return self

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")

    __hash__ = None


def objects(*values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


GOOD = {
    "object words": (objects("b", "a", "cc"), "U2"),
    "column of words": (Column(["b", "a", "cc"]), "U2"),
    "StringDType": (np.array(["b", "a", "cc"], np.dtypes.StringDType()), "U2"),
    "too wide": (np.array(["b", "a"], "U5000"), "U1"),
    "other byte order": (np.array([3, 1], ">i4"), "int32"),
    "NUL inside": (objects("a\0b", "a\0c"), "U3"),
    "empty word": (["", "b"], "U1"),
    "long": (["x" * 1000, "y"], "U1000"),
    "half surrogate": (["\ud800", "é", "日本"], "U2"),
    "bool": (np.array([True, False]), "bool"),
    "object bool": (objects(True, np.False_), "bool"),
    "floats": ([2.5, -1.0, 1e300], "float64"),
    "float32": (np.array([0.1, 0.3], np.float32), "float32"),
    "float16": (np.array([0.1, 0.3], np.float16), "float16"),
    "long double": (np.array([0.5, 1.5], np.longdouble), "float64"),
    "numbers with and without a fraction": ([1, 2.5], "float64"),
    "int8": (np.array([-128, 127], np.int8), "int8"),
    "uint8": (np.array([0, 255], np.uint8), "uint8"),
    "uint64": (np.array([0, 2**64 - 1], np.uint64), "uint64"),
    "list": ([3, 1, 2], "int64"),
    "large": ([3, 2**64 - 1], "uint64"),
    "mixed widths": (objects(np.int8(-1), np.uint8(7), 2**40), "int64"),
    "nothing masked": (np.ma.masked_array([1, 2], mask=False), "int64"),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_trains_comes_back_from_a_file_with_type_and_value(name):
    labels, dtype = GOOD[name]
    checked = check_labels(labels)
    assert checked.dtype == np.dtype(dtype)
    classes = np.unique(checked)
    back = read_labels(json.loads(json.dumps(describe_labels(classes))))
    assert (back.dtype, back.tolist()) == (classes.dtype, classes.tolist())
    assert classes[encode(checked, back)].tolist() == checked.tolist()


BAD = {
    "bytes": (np.array([b"a", b"b"]), r"bytes; make them words: labels\.astype\(str\)"),
    "object bytes": (objects(b"a", b"b"), "row 1 has a label of the type bytes"),
    "dates": (np.array(["2020-01-01"], "M8[D]"), "dates; make them words"),
    "object dates": (objects(datetime.date(2020, 1, 1)), "row 1 has a label of the type date"),
    "time spans": (np.array([1], "m8[s]"), "time spans"),
    "complex": (np.array([1j]), "complex"),
    "records": (np.zeros(2, [("a", int), ("b", int)]), "records of several fields"),
    "mixed": ([1, 2, "b"], r"row 1 has 1 \(int\), row 3 has 'b' \(str\); make all of them words"),
    "truth values and numbers": ([True, 2], "different kinds"),
    "None": (objects("a", None), r"row 2 has no label \(None\)"),
    "NaN": (np.array([1.0, np.nan]), r"row 2 has no label \(nan\)"),
    "infinite": (np.array([np.inf, 1.0]), r"row 1 has no label \(inf\)"),
    "NaN among words": (objects("a", float("nan")), r"row 2 has no label \(nan\)"),
    "NA": (Column(["a", NAType()]), "row 2 has no label"),
    "NaT": (objects(np.datetime64("NaT")), "row 1 has a label of the type datetime64"),
    "masked": (np.ma.masked_array([1, 2], mask=[False, True]), "row 2 has no label .*masked"),
    "long": (["y", "x" * 1001], "row 2 has a label of 1001 characters; at most 1000"),
    "long in an array": (np.array(["y", "x" * 1001]), "row 2 has a label of 1001 characters; at most 1000"),
    "NUL at the end": (["a", "a\0"], "row 2: the label .* ends with a NUL"),
    "NUL in StringDType": (np.array(["a", "a\0"], np.dtypes.StringDType()), "row 2: the label .* ends with a NUL"),
    "beyond 64 bits": ([1, 2**64], "row 2 has the label 18446744073709551616, which 64 bits cannot hold"),
    "no common width": ([-1, 2**63], "which 64 bits cannot hold"),
    "one column": (np.zeros((2, 1)), r"shape \(2, 1\); use labels\.ravel\(\)"),
    "one-hot": (np.eye(3), r"use labels\.argmax\(axis=1\)"),
    "scalar": (np.array(5), r"the shape \(\)"),
    "a word": ("abc", r"the shape \(\)"),
    "ragged": ([[1], [1, 2]], "row 1 has a label of the type list"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_no_file_can_hold_is_refused_with_the_remedy(name):
    labels, message = BAD[name]
    with pytest.raises(DataError, match=message) as caught:
        check_labels(labels, Path("y.csv"))
    assert caught.value.path == Path("y.csv")


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        (np.array([7, 255], np.uint8), np.array([7, 255]), [0, 1]),
        (np.array([2**63 + 1, 1], np.uint64), np.array([1, 2**63 - 1, 2**63, 2**63 + 1], np.uint64), [3, 0]),
        (np.array([1]), np.array([1, 2**64 - 1], np.uint64), [0]),
        (np.array([6.0, 7.0]), np.array([6, 7]), [0, 1]),
        (np.array([6, 7]), np.array([6.0, 6.5, 7.0]), [0, 2]),
        (np.array(["6.0000", "7"]), np.array([6, 7]), [0, 1]),
        (np.array([6]), np.array(["6.0", "x"]), [0]),
        (np.array([7]), np.array(["007", "x"]), [0]),
        (np.array(["1.50"]), np.array(["1.5", "x"]), [0]),
        (np.array([0.1]), np.array([0.1, 0.2], np.float32), [0]),
        (np.array([1, 0]), np.array([False, True]), [1, 0]),
        (np.array(["True", "False"]), np.array([False, True]), [1, 0]),
        (np.array([True]), np.array(["False", "True"]), [1]),
    ],
)
def test_labels_are_compared_as_numbers_where_they_are_numbers(labels, classes, numbers):
    assert encode(labels, classes).tolist() == numbers


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.array([2**53 + 1]), np.array([float(2**53), 1.0])),
        (np.array([2**63], np.uint64), np.array([2**63 - 1, 1])),
        (np.array([6]), np.array(["6", "6.0", "x"])),  # which of the two?
        (np.array(["1000"]), np.array(["1e3", "x"])),  # two names
        (np.array(["nan"]), np.array([1, 2])),
        (np.array(["1_0"]), np.array([10, 2])),
    ],
)
def test_labels_that_only_look_alike_are_strange(labels, classes):
    with pytest.raises(DataError, match="test row 1 has the class"):
        encode(labels, classes)


def test_the_message_lists_the_first_classes():
    with pytest.raises(DataError, match=r"classes are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\. \(26 in all\)"):
        encode(np.array([99]), np.arange(26))


@pytest.mark.parametrize(
    "described",
    [
        {"kind": "int", "labels": [1, 300], "dtype": "uint8"},
        {"kind": "int", "labels": [1, 2], "dtype": "object"},
        {"kind": "int", "labels": [1, 2], "dtype": ["int64"]},
        {"kind": "float", "labels": [1.5, float("nan")]},
        {"kind": "float", "labels": [0.1, 0.2], "dtype": "float32"},
        {"kind": "bool", "labels": [True, True]},
        {"kind": "bool", "labels": [0, 1]},
        {"kind": "str", "labels": ["a", "b\0"]},
    ],
    ids=str,
)
def test_descriptions_that_contradict_themselves(described):
    with pytest.raises((ValueError, TypeError, OverflowError)):
        read_labels(described)
