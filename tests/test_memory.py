import numpy as np
import pytest

from manyhands.memory import aligned_zeros


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 17, 100_001])
def test_vectors_begin_at_a_cache_line_and_are_zero(dtype, size):
    vectors = [aligned_zeros(size, dtype) for _ in range(5)]
    for vector in vectors:
        assert vector.ctypes.data % 64 == 0
        assert vector.shape == (size,)
        assert vector.dtype == dtype
        assert not vector.any()
        assert vector.flags.c_contiguous
        assert vector.flags.writeable
