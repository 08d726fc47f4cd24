"""Freed memory is kept, unless the user has set the allocator."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from manyhands.runtime.allocator import keep_freed_memory
import numpy as np
kept = keep_freed_memory()
np.ones(1 << 20)  # 8 MB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(1 << 20)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
@pytest.mark.parametrize(("variables", "keeps"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False)])
def test_pages_come_once(variables, keeps, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout.split()
    assert found[0] == str(keeps)
    assert (int(found[1]) < 1000) is keeps  # 8 MB have 2,048 pages
