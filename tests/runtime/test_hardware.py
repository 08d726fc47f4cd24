"""Memory of a made-up machine."""

import pytest

from manyhands.runtime.hardware import memory


def with_meminfo(root, text):
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text(text)
    return root


def test_sizes(tmp_path):
    root = with_meminfo(tmp_path, "MemTotal: 2000 kB\nMemFree: 1 kB\nMemAvailable: 1500 kB\n")
    assert memory(root) == {"total": 2_048_000, "available": 1_536_000, "limit": None}


@pytest.mark.parametrize("text", [None, "", "MemTotal:\n", "MemTotal: much\n"])
def test_without_proc_the_total_comes_from_the_system(tmp_path, text):
    found = memory(tmp_path if text is None else with_meminfo(tmp_path, text))
    assert found["available"] is None
    assert found["total"] > 1 << 20
