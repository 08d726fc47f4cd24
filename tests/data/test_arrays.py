"""Samples in memory: every form that programs have them in is the same data set, or one error that names the part."""

import numpy as np
import pytest

import manyhands
from manyhands.core.errors import DataError, SettingsError
from manyhands.data.arrays import Arrays, arrays_of
from manyhands.data.catalog import DataRequest, load

pd = pytest.importorskip("pandas")

NAMES = ["length", "width", "height"]
RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 3)).round(3)
Y = np.array(["cat", "dog", "cow"])[np.arange(60) % 3]


def frame(values=X):
    return pd.DataFrame(values, columns=NAMES)


def loaded(*data, **settings):
    return load(manyhands.RunSpec(**settings).request(tuple(data)))


def arrays_in(dataset):
    return [array for table in (dataset.train, dataset.test) for array in table.arrays().values()]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (X.tolist(), Y.tolist()),
        (frame(), pd.Series(Y)),
        (frame(), pd.Series(Y, dtype="category")),
        (frame().astype(object), Y.astype(object)),
        (frame().astype("Float64"), pd.Series(Y, dtype="string")),
        (read_only(X), read_only(Y)),
        (np.asfortranarray(X), Y[::-1][::-1]),
        (np.repeat(X, 2, axis=1)[:, ::2], Y),
        (X.astype(">f8"), Y),
        (tuple(map(tuple, X)), tuple(Y)),
    ],
    ids=[
        "lists",
        "frame",
        "category",
        "objects",
        "nullable",
        "read-only",
        "Fortran",
        "strided",
        "big-endian",
        "tuples",
    ],
)
def test_every_form_is_the_same_data_set(features, labels):
    expected, found = loaded(X, Y), loaded(features, labels)
    assert found.classes.tolist() == expected.classes.tolist() == ["cat", "cow", "dog"]
    for here, there in zip(arrays_in(found), arrays_in(expected), strict=True):
        np.testing.assert_array_equal(here, there)


def test_two_pairs_and_four_parts_are_the_same():
    four, pairs = loaded(X[:40], Y[:40], X[40:], Y[40:]), loaded((X[:40], Y[:40]), (X[40:], Y[40:]))
    np.testing.assert_array_equal(four.train.features, X[:40].astype(four.train.features.dtype))
    np.testing.assert_array_equal(four.test.features, pairs.test.features)


def test_columns_of_test_rows_are_found_by_their_names():
    turned = loaded(frame(X[:40]), Y[:40], frame(X[40:])[NAMES[::-1]], Y[40:])
    np.testing.assert_array_equal(turned.test.features, loaded(X[:40], Y[:40], X[40:], Y[40:]).test.features)


class TestDivision:
    def test_a_run_takes_the_size_that_is_asked_for(self):
        result = manyhands.train((X, Y), test_size=15, epochs=1, hidden=(2,))
        assert (result.plan.rows, len(result.model.classes)) == (45, 3)
        assert loaded(X, Y).test.rows == 12

    @pytest.mark.parametrize("size", [0, -0.1, 60, 1.5, "20%", True, float("nan")])
    def test_sizes_that_cannot_be(self, size):
        with pytest.raises(SettingsError, match="test_size"):
            loaded(X, Y, test_size=size)

    @pytest.mark.parametrize("data", ["digits", (X, Y, X, Y)], ids=["digits", "four parts"])
    def test_test_samples_that_are_there_are_not_divided(self, data):
        with pytest.raises(SettingsError, match="has test rows of its own"):
            load(manyhands.RunSpec(test_size=0.5).request(data))


HOLE = frame().astype(object)
HOLE.iloc[7, 1] = None
NAN = X.copy()
NAN[41, 2] = np.nan
WRONG = {
    "no array": ((X.tolist, Y), "X: this is a"),
    "paths": (("train.csv", "test.csv"), "X: this is a str"),
    "three parts": ((X, Y, X), "a tuple of 3"),
    "scikit-learn's order": ((X[:40], X[40:], Y[:40], Y[40:]), "train_test_split of scikit-learn returns"),
    "too few labels": ((X, Y[:-1]), "^y: there are 60 rows"),
    "too few test labels": ((X, Y, X, Y[1:]), "^y_test: there are 60 rows"),
    "text": ((frame().assign(town="Rome"), Y), "^X: the column 'town' has the text 'Rome' in row 1; .* OneHotEncoder"),
    "nothing": ((frame().assign(n=pd.array([None] * 60, "Int64")), Y), "^X: the column 'n' has no value in row 1"),
    "a time": ((frame().assign(when=pd.Timestamp("2020")), Y), "^X: the column 'when' has a Timestamp in row 1"),
    "not a number": ((NAN, Y), "^X: row 42, feature 3 is nan"),
    "a hole": ((HOLE, Y), "^X: row 8, feature 2 is nan|no value in row 8"),
    "one dimension": ((X[:, 0], Y), r"^X: .*reshape\(-1, 1\)"),
    "rows of different lengths": (([[1, 2], [3]], [0, 1]), "^X: the rows of the features have different lengths"),
    "a missing column": ((frame(), Y, frame()[NAMES[:2]], Y), "^X_test: .*missing: 'height'"),
    "another column": ((frame(), Y, frame().assign(age=1), Y), "^X_test: .*unexpected: 'age'"),
    "an unknown class": ((X, Y, X, np.where(Y == "cat", "hen", Y)), "^y_test: test row 1 has the class 'hen'"),
    "indicators": ((X, np.eye(3)[np.arange(60) % 3]), r"^y: .*argmax\(axis=1\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_names_the_argument_and_prints_no_data(case):
    data, message = WRONG[case]
    with pytest.raises((DataError, SettingsError), match=message) as caught:
        manyhands.train(data)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("call", [manyhands.train, manyhands.compare, manyhands.sweep])
def test_arrays_that_are_not_one_tuple(call):
    with pytest.raises(SettingsError, match="give arrays as one tuple"):
        call(frame(), pd.Series(Y))
    with pytest.raises(SettingsError, match=r"one tuple of arrays.* not a ndarray"):
        call(X)


def test_facts_differ_where_arrays_do():
    other = X.copy()
    other[3, 1] += 1
    assert arrays_of((X, Y)).facts() == arrays_of((X.copy(), Y)).facts() != arrays_of((other, Y)).facts()
    assert isinstance(DataRequest(arrays_of((X, Y))).data, Arrays)
