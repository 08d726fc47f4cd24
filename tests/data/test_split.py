"""Other divisions of the same rows: nothing lost, nothing doubled, every class alike, and a function of a number."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.core.errors import DataError, SettingsError
from manyhands.data.dataset import Dataset, Examples, make_dataset
from manyhands.data.resplit import head, resplit
from manyhands.data.split import for_validation

quick = settings(deadline=None, max_examples=60)


def examples(first, labels, dtype=np.float64):
    """Rows whose first feature is a number of their own, so that each is known again wherever it goes."""
    numbers = np.arange(first, first + len(labels))
    return Examples(np.stack([numbers, numbers % 7, np.sqrt(numbers)], axis=1).astype(dtype), np.array(labels))


def labels_of(rows, classes=3):
    return (np.arange(rows) % classes).tolist()


def dataset(train=60, test=30, validation=None, dtype=np.float64, scale="auto"):
    return make_dataset(
        "rows",
        examples(0, labels_of(train), dtype),
        examples(train, labels_of(test), dtype),
        scale=scale,
        validation=validation,
    )


def numbers(table):
    """The rows of a table, by their own numbers."""
    return table.features[:, 0].astype(int).tolist()


def parts(data: Dataset):
    return [part for part in (data.train, data.validation, data.test) if part is not None]


@pytest.fixture(params=[None, 12], ids=["two parts", "three parts"])
def three(request):
    return dataset(validation=request.param)


class TestResplit:
    def test_no_row_is_lost_or_doubled(self, three):
        found = resplit(three, 3)
        assert sorted(itertools.chain(*map(numbers, parts(found)))) == list(range(90))

    def test_every_row_keeps_its_features_and_its_class(self, three):
        before = {
            int(row[0]): (row.tolist(), label)
            for part in parts(three)
            for row, label in zip(part.features, part.labels.tolist(), strict=True)
        }
        for part in parts(resplit(three, 3)):
            for row, label in zip(part.features, part.labels.tolist(), strict=True):
                assert (row.tolist(), label) == before[int(row[0])]

    def test_parts_keep_their_sizes_and_kinds(self, three):
        for old, new in zip(parts(three), parts(resplit(three, 3)), strict=True):
            assert new.features.shape == old.features.shape
            assert (new.features.dtype, new.labels.dtype) == (old.features.dtype, old.labels.dtype)
            assert new.features.flags.c_contiguous

    def test_every_class_is_spread_alike(self, three):
        found = resplit(three, 3)
        everything = np.bincount(np.concatenate([part.labels for part in parts(three)]))
        for part in parts(found):
            expected = everything * part.rows / everything.sum()
            assert np.abs(np.bincount(part.labels) - expected).max() <= 1.5

    def test_it_mixes_training_and_test_rows(self):
        found = resplit(dataset(), 0)
        moved = sum(number >= 60 for number in numbers(found.train))
        assert 10 <= moved <= 30  # 20 expected of 30 test rows

    def test_it_is_a_function_of_the_number_alone(self, three):
        before = resplit(three, 5)
        resplit(three, 6)
        np.random.default_rng(0).random(7)
        for one, other in zip(parts(before), parts(resplit(three, 5)), strict=True):
            np.testing.assert_array_equal(one.features, other.features)
            np.testing.assert_array_equal(one.labels, other.labels)

    def test_different_numbers_give_different_splits(self, three):
        for part in range(2):
            splits = {tuple(numbers(parts(resplit(three, number))[part])) for number in range(20)}
            assert len(splits) == 20

    def test_with_validation_rows_the_test_rows_stay_out_of_it(self):
        """Something will be chosen on them: no test row may be among them, in no split."""
        whole = dataset(validation=12)
        for number in range(5):
            found = resplit(whole, number)
            assert numbers(found.test) == numbers(whole.test)
            np.testing.assert_array_equal(found.test.scale, found.scaling.scale)

    def test_every_row_is_tested_in_some_split(self):
        tested = {row for number in range(30) for row in numbers(resplit(dataset(), number).test)}
        assert tested == set(range(90))  # missing a given row has a chance of (2/3)^30 = 5e-6

    def test_standard_scaling_is_of_the_new_training_rows(self, three):
        found = resplit(three, 3)
        inputs = found.train.inputs()
        np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(inputs.std(axis=0), 1)
        old = found.scaling.inputs(three.train.features)
        assert abs(old.mean(axis=0)[0]) > 0.01  # not that of the old ones
        for part in parts(found):
            np.testing.assert_array_equal(part.scale, found.scaling.scale)
            np.testing.assert_array_equal(part.center, found.scaling.center)

    def test_test_rows_do_not_influence_the_scaling(self):
        wild = dataset(train=60, test=30)
        once = resplit(wild, 3)
        wild.test.features[0] *= 1000  # row 60
        where = "test" if 60 in numbers(once.test) else "train"
        again = resplit(wild, 3)
        assert np.array_equal(once.scaling.scale, again.scaling.scale) == (where == "test")

    def test_what_bytes_are_divided_by_stays(self):
        data = dataset(60, 30, dtype=np.uint8)
        assert data.scaling.name == "x / 59"
        found = resplit(data, 1)
        assert (found.scaling.name, found.scaling.scale.tolist()) == ("x / 59", [1 / 59] * 3)

    def test_no_scaling_stays_none(self):
        found = resplit(dataset(scale="none"), 1)
        assert (found.scaling.name, found.train.scale.tolist(), found.train.shift.tolist()) == (
            "none",
            [1] * 3,
            [0] * 3,
        )

    def test_the_rest_of_the_data_set_stays_and_the_note_says_which_split(self, three):
        found = resplit(replace(three, note="made here", seconds=0.5), 4)
        assert found.note == "made here, random split 4"
        assert (found.name, found.seconds, found.rows) == ("rows", 0.5, three.rows)
        np.testing.assert_array_equal(found.classes, three.classes)

    def test_the_data_set_itself_is_left_as_it_is(self, three):
        before = [part.features.copy() for part in parts(three)]
        resplit(three, 3)
        for part, copy in zip(parts(three), before, strict=True):
            np.testing.assert_array_equal(part.features, copy)

    def test_a_negative_number_is_a_settings_error(self):
        with pytest.raises(SettingsError, match="at least 0"):
            resplit(dataset(), -1)

    def test_a_class_with_one_row_cannot_be_in_both_parts(self):
        data = make_dataset("few", examples(0, [0, 1, 2] + [0, 1] * 10), examples(23, [0, 1] * 5))
        with pytest.raises(DataError, match="cannot be divided into 23 and 10"):
            resplit(data, 0)

    def test_a_class_that_would_be_missing_among_the_training_rows_is_an_error(self):
        # Of 2 rows in 42, a tenth of a row belongs among 10 training rows: none would get there.
        data = make_dataset("few", examples(0, [0, 1] * 4 + [2, 0]), examples(10, [0, 1] * 15 + [2, 1]))
        for number in range(5):
            with pytest.raises(DataError):
                resplit(data, number)

    def test_fewer_test_rows_than_classes_cannot_be_alike(self):
        data = make_dataset("few", examples(0, labels_of(30)), examples(30, [0, 1]))
        with pytest.raises(DataError, match="cannot be divided into 30 and 2"):
            resplit(data, 0)

    @quick
    @given(st.integers(6, 60), st.integers(3, 40), st.integers(0, 10**9))
    def test_whatever_the_sizes_it_is_a_partition(self, train, test, number):
        data = dataset(train, test)
        found = resplit(data, number)
        assert (found.train.rows, found.test.rows) == (train, test)
        assert sorted(numbers(found.train) + numbers(found.test)) == list(range(train + test))

    def test_digits_keep_all_classes(self, digits):
        for number in range(3):
            found = resplit(digits, number)
            counts = np.bincount(found.test.labels, minlength=10)
            assert counts.min() >= 34  # 360 of 1797: a fifth of 174 to 183 rows of each digit
            assert counts.max() <= 37


class TestForValidation:
    def test_unused_rows_are_taken_first(self):
        train, held = for_validation(np.array(labels_of(100)), 60, 15)
        assert train.tolist() == list(range(60))
        assert held.tolist() == list(range(60, 75))

    def test_all_unused_rows_may_be_taken(self):
        train, held = for_validation(np.array(labels_of(100)), 60, 40)
        assert (train.tolist(), held.tolist()) == (list(range(60)), list(range(60, 100)))

    def test_too_few_unused_rows_are_left_alone_and_some_set_aside(self):
        train, held = for_validation(np.array(labels_of(100)), 90, 20)
        assert (len(train), len(held)) == (70, 20)
        assert sorted([*train, *held]) == list(range(90))
        assert train.tolist() == sorted(train.tolist())
        assert held.tolist() == sorted(held.tolist())

    @pytest.mark.parametrize(
        ("available", "rows", "trained", "held"),
        [
            (60_000, 6_000, 6_000, 10_000),  # MNIST: no more than 10,000
            (7_000, 6_000, 6_000, 1_000),  # exactly a sixth is unused
            (6_999, 6_000, 5_000, 1_000),  # less than a sixth is: a sixth is set aside
            (1_437, 1_437, 1_198, 239),  # digits
        ],
    )
    def test_how_many_automatically(self, available, rows, trained, held):
        train, validation = for_validation(np.array(labels_of(available, 10)), rows, "auto")
        assert (len(train), len(validation)) == (trained, held)
        assert len(np.intersect1d(train, validation)) == 0
        assert max(train) < rows

    def test_what_is_set_aside_has_every_class_alike(self):
        labels = np.array([0] * 60 + [1] * 30 + [2] * 12)
        _, held = for_validation(labels, 102, 17)
        assert np.bincount(labels[held]).tolist() == [10, 5, 2]

    def test_it_is_always_the_same(self):
        labels = np.array(labels_of(50))
        first, second = (for_validation(labels, 50, 10)[1].tolist() for _ in range(2))
        assert first == second

    def test_any_whole_number_counts_as_a_number(self):
        labels = np.array(labels_of(60))
        assert len(for_validation(labels, 60, np.int64(5))[1]) == 5

    @pytest.mark.parametrize(("rows", "wanted"), [(50, 0), (50, -1), (50, 50), (50, 51), (5, "auto"), (1, "auto")])
    def test_what_leaves_nothing_to_one_of_them_is_a_settings_error(self, rows, wanted):
        with pytest.raises(SettingsError, match=f"of {rows} training rows cannot be kept for validation"):
            for_validation(np.array(labels_of(rows)), rows, wanted)

    def test_a_class_with_one_row_is_a_data_error(self):
        with pytest.raises(DataError, match="cannot be divided into 16 and 5"):
            for_validation(np.array([0, 1] * 10 + [2]), 21, 5)

    @quick
    @given(st.integers(20, 200), st.data())
    def test_no_row_is_in_both_and_none_comes_from_elsewhere(self, available, data):
        rows = data.draw(st.integers(12, available))
        wanted = data.draw(st.one_of(st.just("auto"), st.integers(4, rows - 4)))
        train, held = for_validation(np.array(labels_of(available)), rows, wanted)
        assert len(np.intersect1d(train, held)) == 0
        assert len(np.union1d(train, held)) == len(train) + len(held)
        assert 0 <= min(train) <= max(train) < rows
        assert 0 <= min(held) <= max(held) < available
        if wanted != "auto":
            assert len(held) == wanted


class TestValidationRows:
    def test_they_are_no_training_rows_and_no_test_rows(self):
        data = dataset(60, 30, validation=12)
        rows = [set(numbers(part)) for part in parts(data)]
        assert list(map(len, rows)) == [48, 12, 30]
        assert len(set.union(*rows)) == 90

    def test_unused_rows_cost_no_training_rows(self):
        data = make_dataset(
            "rows", examples(0, labels_of(60)), examples(60, labels_of(9)), train_size=40, validation=20
        )
        assert numbers(data.train) == list(range(40))
        assert numbers(data.validation) == list(range(40, 60))

    def test_they_do_not_influence_the_scaling(self):
        whole = examples(0, labels_of(60))
        plain = make_dataset("rows", whole, examples(60, labels_of(9)), train_size=40, validation=20)
        whole.features[40:] *= 1000
        wild = make_dataset("rows", whole, examples(60, labels_of(9)), train_size=40, validation=20)
        np.testing.assert_array_equal(wild.scaling.scale, plain.scaling.scale)
        np.testing.assert_array_equal(wild.validation.scale, plain.train.scale)
        np.testing.assert_array_equal(wild.validation.center, plain.train.center)

    def test_set_aside_they_do_not_influence_it_either(self):
        data = dataset(60, 30, validation=12)
        inputs = data.train.inputs()
        np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=1e-12)

    def test_the_largest_byte_is_that_of_the_training_rows(self):
        data = make_dataset(
            "rows",
            examples(0, labels_of(60), np.uint8),
            examples(60, labels_of(9), np.uint8),
            train_size=40,
            validation=20,
        )
        assert data.scaling.name == "x / 39"

    def test_a_value_that_is_no_number_is_found_among_them(self):
        broken = examples(0, labels_of(60))
        broken.features[50, 1] = np.nan
        make_dataset("rows", broken, examples(60, labels_of(9)), train_size=40)  # which does not use that row
        with pytest.raises(DataError, match="feature 2 is nan"):
            make_dataset("rows", broken, examples(60, labels_of(9)), train_size=40, validation=20)

    @pytest.mark.parametrize("row", [3, 30, 50])
    @pytest.mark.parametrize(("rows", "validation"), [(40, 20), (60, 20)], ids=["unused", "set aside"])
    def test_the_message_names_the_row_of_the_file(self, row, rows, validation):
        broken = examples(0, labels_of(60))
        broken.features[row, 2] = np.inf
        with pytest.raises(DataError, match=rf"row {row + 1}, feature 3 is inf"):
            make_dataset("rows", broken, examples(60, labels_of(9)), train_size=rows, validation=validation)

    def test_a_class_that_training_never_saw_is_named(self):
        with pytest.raises(DataError, match="validation row 2 has the class '2', which no training row has"):
            make_dataset(
                "rows", examples(0, [0, 1] * 10 + [0, 2, 1]), examples(23, [0, 1]), train_size=20, validation=3
            )

    def test_description_counts_them_only_if_there_are_some(self):
        assert dataset(60, 30, validation=12).describe()["validation_rows"] == 12
        assert "validation_rows" not in dataset(60, 30).describe()

    def test_labels_may_be_words(self):
        words = np.array(["ant", "bee", "cat"])
        train = examples(0, labels_of(60))
        data = make_dataset(
            "words", Examples(train.features, words[train.labels]), examples_of_words(words), validation=12
        )
        known = dict(enumerate(train.labels.tolist()))
        assert data.validation.labels.tolist() == [known[number] for number in numbers(data.validation)]


def examples_of_words(words):
    test = examples(60, labels_of(9))
    return Examples(test.features, words[test.labels])


class TestHead:
    def test_it_has_the_first_rows_scaled_as_the_whole(self):
        data = dataset(60, 30, validation=12)
        found = head(data, 7)
        assert numbers(found.train) == numbers(data.train)[:7]
        assert found.train.labels.tolist() == data.train.labels[:7].tolist()
        assert found.rows == 7
        np.testing.assert_array_equal(found.train.scale, data.train.scale)
        np.testing.assert_array_equal(found.train.shift, data.train.shift)

    def test_everything_else_stays(self):
        data = dataset(60, 30, validation=12)
        found = head(data, 7)
        assert found.test is data.test
        assert found.validation is data.validation
        assert found.classes is data.classes
        assert data.rows == 48  # the data set itself is left alone

    def test_no_row_is_copied(self):
        data = dataset()
        assert np.shares_memory(head(data, 7).train.features, data.train.features)
