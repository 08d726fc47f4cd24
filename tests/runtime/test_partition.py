from hypothesis import given
from hypothesis import strategies as st

from manyhands.runtime.partition import part_of


@given(st.integers(0, 5000), st.integers(1, 40))
def test_parts_cover_the_vector_once_in_order(length, size):
    parts = [part_of(length, size, rank) for rank in range(size)]
    covered = [index for part in parts for index in range(part.start, part.stop)]
    assert covered == list(range(length))


@given(st.integers(0, 5000), st.integers(1, 40))
def test_parts_are_cut_at_cache_lines(length, size):
    starts = [part_of(length, size, rank).start for rank in range(size)]
    assert all(start % 16 == 0 or start == length for start in starts)
