"""The rows of a partition as files: from every kind of column, and refusals that say which."""

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")

from manyhands.core.errors import DataError  # noqa: E402
from manyhands.training.jobs.spark.rows import LABEL, ROW, TEST, PartitionRows, StoredRows  # noqa: E402


def batch(labels, *features, first=0):
    count = len(labels)
    columns = {
        ROW: pa.array(range(first, first + count), pa.int64()),
        TEST: pa.array([False] * count),
        LABEL: labels if isinstance(labels, pa.Array) else pa.array(labels),
        **{f"f{number}": column for number, column in enumerate(features)},
    }
    return pa.RecordBatch.from_pydict(columns)


def stored(folder, *batches):
    PartitionRows(folder).write(batches)
    return StoredRows(folder)


def table(rows, at_once=100):
    return np.concatenate([chunk.astype(np.float64) for chunk in rows.chunks(at_once)])


class TestColumns:
    @pytest.mark.parametrize(
        ("column", "dtype"),
        [
            (pa.array([b"\x01\xff\x00", b"\x02\x03\x04"], pa.binary()), np.uint8),
            (pa.array([b"\x01\xff\x00", b"\x02\x03\x04"], pa.large_binary()), np.uint8),
            (pa.array([[1, 255, 0], [2, 3, 4]], pa.list_(pa.int16())), np.uint8),
            (pa.array([[1.0, 255.0, 0.0], [2.0, 3.0, 4.0]], pa.list_(pa.float64())), np.float64),
            (pa.array([[1.0, 255.0, 0.0], [2.0, 3.0, 4.0]], pa.large_list(pa.float32())), np.float32),
        ],
    )
    def test_one_column_of_all_features(self, tmp_path, column, dtype):
        rows = stored(tmp_path, batch([3, 1], column))
        assert (rows.rows, rows.width, rows.dtypes) == (2, 3, [np.dtype(dtype).str])
        assert table(rows).tolist() == [[1, 255, 0], [2, 3, 4]]
        assert rows.classes.tolist() == [1, 3]
        assert rows.codes.tolist() == [1, 0]

    def test_slices_of_batches_are_those_of_the_rows(self, tmp_path):
        column = pa.array([bytes([each, each + 1]) for each in range(6)], pa.binary())
        rows = stored(tmp_path, batch(list("abcdef"), column).slice(2, 3))
        assert table(rows).tolist() == [[2, 3], [3, 4], [4, 5]]
        assert rows.classes.tolist() == ["c", "d", "e"]
        assert rows.numbers.tolist() == [2, 3, 4]

    def test_columns_of_numbers_side_by_side(self, tmp_path):
        rows = stored(
            tmp_path, batch([True, False], pa.array([1, 2]), pa.array([True, False]), pa.array([7, 8], pa.int8()))
        )
        assert table(rows).tolist() == [[1, 1, 7], [2, 0, 8]]
        assert rows.dtypes == ["|u1"]

    def test_each_batch_keeps_its_own_dtype(self, tmp_path):
        first = batch([0, 1], pa.array([[1, 2], [3, 4]], pa.list_(pa.int32())))
        second = batch([1], pa.array([[-1, 300]], pa.list_(pa.int32())), first=2)
        rows = stored(tmp_path, first, batch(pa.array([], pa.int64()), pa.array([], pa.list_(pa.int32()))), second)
        assert rows.dtypes == ["<f4", "|u1"]
        assert rows.count_chunks(1) == 3
        assert table(rows, at_once=1).tolist() == [[1, 2], [3, 4], [-1, 300]]

    def test_no_rows_at_all(self, tmp_path):
        rows = stored(tmp_path)
        assert (rows.rows, rows.width, rows.dtypes, rows.classes.tolist()) == (0, 0, [], [])
        assert list(rows.chunks(10)) == []


BYTES = pa.array([b"ab", b"cd"], pa.binary())


@pytest.mark.parametrize(
    ("labels", "column", "words"),
    [
        ([1, None], BYTES, "1 labels are missing"),
        ([1, 2], pa.array([b"ab", None], pa.binary()), "1 rows have features that are missing"),
        ([1, 2], pa.array([[1, None], [2, 3]], pa.list_(pa.int32())), "1 features are missing"),
        ([1, 2], pa.array([b"ab", b"c"], pa.binary()), "different numbers of features: 1, 2"),
        ([1, 2], pa.array([[], []], pa.list_(pa.int32())), "different numbers of features: 0"),
        ([1, 2], pa.array(["a", "b"]), "features must be numbers, not string"),
        ([1, 2], pa.array([["a"], ["b"]]), "features must be numbers, not string"),
        (pa.array([[1], [2]]), BYTES, "labels of type list<.*> cannot be classes"),
        ([float("nan"), 2.0], BYTES, "has no label"),
    ],
)
def test_refusals(tmp_path, labels, column, words):
    with pytest.raises(DataError, match=words):
        PartitionRows(tmp_path).write([batch(labels, column)])


def test_widths_of_batches_must_agree(tmp_path):
    with pytest.raises(DataError, match="different numbers of features: 2, 3"):
        PartitionRows(tmp_path).write([batch([1, 2], BYTES), batch([1], pa.array([b"abc"], pa.binary()), first=2)])
