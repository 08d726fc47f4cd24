"""Memory of a made-up machine."""

import pytest

from manyhands.runtime.hardware import is_busy, load, memory


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


class TestBusy:
    def test_it_takes_other_work_now_and_before(self):
        assert is_busy({"one_minute": 1.0, "running": 1}, 2, 2)
        assert not is_busy({"one_minute": 1.0, "running": 0}, 2, 2)  # what has just ended is no other work
        assert not is_busy({"one_minute": 0.2, "running": 1}, 2, 2)
        assert not is_busy({"one_minute": 1.0, "running": 1}, 8, 2)  # six cores are free
        assert not is_busy({"one_minute": None, "running": None}, 2, 2)

    def test_load_is_read_from_the_system(self, tmp_path):
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/loadavg").write_text("0.10 0.20 0.30 4/567 8910\n")
        assert load(tmp_path)["running"] == 3  # itself is one of the four
        assert load(tmp_path / "nowhere")["running"] is None
