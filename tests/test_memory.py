import subprocess
import sys

import numpy as np
import pytest

from manyhands import memory
from manyhands.memory import aligned_zeros, available_memory


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


@pytest.mark.parametrize(("values", "least"), [((5, 3, 4), 3), ((None, None, 4), 4), ((None, None, None), None)])
def test_what_is_left_is_the_smallest_of_machine_group_and_limit(monkeypatch, values, least):
    for name, value in zip(("_machine_has", "_group_has", "_limit_leaves"), values, strict=True):
        monkeypatch.setattr(memory, name, lambda value=value: value)
    assert available_memory() == least


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_limit_of_the_process_is_what_is_left():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from manyhands.memory import available_memory\n"
        "print(available_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert 1 << 28 < int(done.stdout) < 1 << 30
