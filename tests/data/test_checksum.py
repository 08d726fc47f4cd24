import numpy as np
import pytest

from manyhands.data import checksum
from manyhands.data.checksum import checksum_of

TABLE = np.arange(60.0).reshape(12, 5)


def test_equal_values_have_the_same_checksum_in_any_order_of_memory(monkeypatch):
    monkeypatch.setattr(checksum, "_BLOCK_BYTES", 100)  # of two rows
    for table in (np.asfortranarray(TABLE), np.repeat(TABLE, 2, axis=0)[::2], np.hstack([TABLE, TABLE])[:, :5]):
        assert not table.flags.c_contiguous
        assert checksum_of(table) == checksum_of(TABLE)


@pytest.mark.parametrize(
    "other",
    [TABLE[::-1], TABLE[:, ::-1], TABLE[:11], np.where(TABLE == 59, 59 + 1e-13, TABLE), TABLE.T],
    ids=["rows", "columns", "fewer", "a value", "turned"],
)
def test_anything_else_has_another(other):
    assert checksum_of(other) != checksum_of(TABLE)


def test_it_goes_on_from_array_to_array():
    assert checksum_of(TABLE[6:], checksum_of(TABLE[:6])) == checksum_of(TABLE)


@pytest.mark.parametrize("dtype", [object, "U9", "S9", np.dtypes.StringDType(), bool])
def test_arrays_of_any_dtype_have_one_even_empty_ones(dtype):
    one, other = (np.array(words, dtype) for words in (["", "cow"], ["cow", ""]))
    assert checksum_of(one) == checksum_of(one.copy()) != checksum_of(other)
    assert checksum_of(one[:0]) == checksum_of(other[:0])
