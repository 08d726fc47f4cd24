"""The facts behind `manyhands doctor`: the readers, on made-up machines where they can be."""

import gzip
import json
import os
import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from manyhands.doctor import datasets, examination, hardware, mpi, rates, software
from manyhands.doctor.child import ChildFailedError, answer_of
from manyhands.learners.mlp import kernels
from manyhands.runtime.hardware import load

PROJECT = Path(__file__).parents[2]


class TestCores:
    def test_hardware_threads_share_a_physical_core(self, tmp_path):
        for number, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
            place = tmp_path / f"sys/devices/system/cpu/cpu{number}/topology"
            place.mkdir(parents=True)
            (place / "thread_siblings_list").write_text(siblings + "\n")
        assert hardware.physical_cores({0, 1, 2, 3}, tmp_path) == 2
        assert hardware.physical_cores({0, 2}, tmp_path) == 1
        assert hardware.physical_cores({0, 7}, tmp_path) is None

    def test_a_system_that_tells_nothing(self, monkeypatch, tmp_path):
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        monkeypatch.delattr(os, "getloadavg", raising=False)
        monkeypatch.setattr(os, "cpu_count", lambda: 6)
        assert hardware.cores(tmp_path) == {"total": 6, "affinity": 6, "quota": None, "usable": 6, "physical": None}
        assert load(tmp_path) == {"one_minute": None, "running": None}


class TestChild:
    def test_answer_is_the_last_line(self):
        assert answer_of(["-c", "print('noise'); print('{\"a\": 1}')"], 30, "counts") == {"a": 1}

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "that counts was ended by SIGILL"),
            ("raise ImportError('no such library')", "that counts failed: ImportError: no such library"),
            ("raise SystemExit(3)", "that counts failed: status 3"),
            ("print('hello')", "that counts printed something else"),
            ("", "that counts printed something else"),
        ],
    )
    def test_what_became_of_it(self, code, words):
        with pytest.raises(ChildFailedError, match=words):
            answer_of(["-c", code], 30, "counts")

    def test_it_does_not_wait_for_ever(self):
        with pytest.raises(ChildFailedError, match=r"no answer within 0\.2 s"):
            answer_of(["-c", "import time; time.sleep(60)"], 0.2, "counts")

    def test_no_program(self, monkeypatch):
        monkeypatch.setattr(sys, "executable", "/no/such/python")
        with pytest.raises(ChildFailedError, match="could not be started"):
            answer_of([], 1, "counts")


def test_rates_are_those_of_products():
    # Not how fast: a machine that also does other things is as slow as it likes.
    assert rates.numpy_product_rate(20, 16, 30, 0.001) > 0
    assert rates.copy_rate(0.001) > 0


class TestMessages:
    def test_slurm(self, monkeypatch):
        for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_CPUS_PER_TASK"):
            monkeypatch.delenv(name, raising=False)
        assert mpi.slurm()["job"] is None
        monkeypatch.setenv("SLURM_JOB_ID", "77")
        monkeypatch.setenv("SLURM_NTASKS", "4")
        assert {name: mpi.slurm()[name] for name in ("job", "tasks", "cores_per_task")} == {
            "job": "77",
            "tasks": "4",
            "cores_per_task": None,
        }

    def test_mpi_is_not_initialized_here(self):
        code = (
            "import sys\nfrom manyhands.doctor.mpi import message_passing\n"
            "message_passing()\nassert 'mpi4py' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

    def test_an_mpiexec_that_does_not_run(self, monkeypatch):
        monkeypatch.setenv("MANYHANDS_MPIEXEC", "/no/such/mpiexec")
        found = mpi.message_passing()
        assert found["mpiexec"] is None
        assert "/no/such/mpiexec" in found["mpiexec_problem"]


def idx(folder, *, packed, rows=6, name="set"):
    """Write a data set of four IDX files."""
    home = folder / name
    home.mkdir(parents=True)
    for part in ("train", "t10k"):
        images = struct.pack(">HBB3I", 0, 8, 3, rows, 2, 2) + bytes(4 * rows)
        labels = struct.pack(">HBBI", 0, 8, 1, rows) + bytes(rows)
        for what, content in (("images-idx3", images), ("labels-idx1", labels)):
            path = home / f"{part}-{what}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)
    return home


class TestDataSets:
    @pytest.mark.parametrize("packed", [False, True])
    def test_rows_and_how_they_are_stored(self, tmp_path, packed):
        found = datasets.data_set(idx(tmp_path, packed=packed))
        assert (found["train"], found["test"], found["shape"], found["packed"]) == (6, 6, [2, 2], packed)

    def test_plain_beside_packed_is_plain(self, tmp_path):
        folder = idx(tmp_path, packed=True)
        for path in list(folder.iterdir()):
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        assert datasets.data_set(folder)["packed"] is False

    def test_damage_is_a_text(self, tmp_path):
        folder = idx(tmp_path, packed=False)
        (folder / "train-images-idx3-ubyte").write_bytes(b"")
        assert "empty" in datasets.data_set(folder)["problem"]

    def test_other_folders_are_none(self, tmp_path):
        assert datasets.data_set(tmp_path) is None
        assert datasets.data_set(tmp_path / "missing") is None

    def test_the_variables_folder_comes_before_the_cache(self, monkeypatch, tmp_path):
        own, cache = tmp_path / "own", tmp_path / "cache"
        idx(own, packed=False, name="shapes")
        idx(own, packed=False, name="mnist")
        idx(cache, packed=True, name="mnist")
        idx(cache, packed=True, name="letters")
        monkeypatch.setenv("MANYHANDS_DATA", str(own))
        monkeypatch.setenv("MANYHANDS_CACHE", str(cache))
        found = datasets.data_sets()["found"]
        assert [Path(each["folder"]).relative_to(tmp_path).as_posix() for each in found] == [
            "own/mnist",
            "own/shapes",
            "cache/letters",
        ]

    @pytest.mark.parametrize("value", [None, "", "/no/such/folder", "x" * 5000])
    def test_a_variable_that_leads_nowhere(self, monkeypatch, tmp_path, value):
        if value is None:
            monkeypatch.delenv("MANYHANDS_DATA", raising=False)
        else:
            monkeypatch.setenv("MANYHANDS_DATA", value)
        monkeypatch.setenv("MANYHANDS_CACHE", str(tmp_path))
        found = datasets.data_sets()
        assert (found["variable"], found["variable_is_folder"], found["found"]) == (value, False, [])

    @pytest.mark.parametrize("packed", [True, False])
    def test_files_of_cifar_are_counted_by_their_lengths(self, tmp_path, packed):
        for name, images in (("train", 5), ("test", 2)):
            content = bytes(images * (2 + 3 * 32 * 32))
            path = tmp_path / f"{name}.bin{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)
        found = datasets.data_set(tmp_path)
        assert (found["kind"], found["train"], found["test"], found["shape"]) == ("CIFAR-100", 5, 2, [3, 32, 32])
        assert found["packed"] is packed

    def test_a_missing_file_of_cifar(self, tmp_path):
        (tmp_path / "train.bin").write_bytes(bytes(3074))
        assert datasets.data_set(tmp_path) is None


class TestSoftware:
    def test_optional_packages_are_in_the_extras_that_bring_them(self):
        extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        for name, extra, _ in software.OPTIONAL:
            assert any(each.startswith({"PIL": "pillow"}.get(name, name)) for each in extras[extra]), name
        same = {"recognition"}  # as images: Pillow
        assert {extra for _, extra, _ in software.OPTIONAL} == extras.keys() - {"dev", "docs", "test", *same}

    def test_versions(self):
        assert software.version_of("numpy")
        assert software.version_of("no_such_package") is None

    def test_cache_that_can_be_written_is_left_as_it_was(self, monkeypatch, tmp_path):
        monkeypatch.setenv("MANYHANDS_CACHE", str(tmp_path / "not" / "yet"))
        found = software.compiled_code()
        assert (found["writable"], found["functions"], found["kernels"]) == (True, 0, False)
        assert list(tmp_path.iterdir()) == []

    def test_kernels_are_seen(self, monkeypatch, tmp_path):
        monkeypatch.setenv("MANYHANDS_CACHE", str(tmp_path))
        folder = Path(software.compiled_code()["folder"])
        folder.mkdir(parents=True)
        (folder / "kernels.run-1.cpython-311.0a.nbc").touch()
        (folder / "kernels.run-1.cpython-311.0b.nbc").touch()
        (folder.parent / "older").mkdir()
        found = software.compiled_code()
        assert (found["functions"], found["kernels"], found["old_versions"]) == (1, True, 1)

    def test_kernels_are_looked_for_by_the_name_of_their_module(self):
        assert kernels.__name__.split(".")[-1] == software._KERNELS
        assert any(hasattr(each, "py_func") for each in vars(kernels).values())

    def test_cache_below_a_file_cannot_be_written(self, monkeypatch, tmp_path):
        (tmp_path / "file").touch()
        monkeypatch.setenv("MANYHANDS_CACHE", str(tmp_path / "file" / "cache"))
        assert software.compiled_code()["writable"] is False

    def test_cache_that_others_can_write_is_not_used(self, monkeypatch, tmp_path):
        tmp_path.chmod(0o777)
        monkeypatch.setenv("MANYHANDS_CACHE", str(tmp_path))
        found = software.compiled_code()
        assert found["writable"] is False
        assert "can be written by others" in found["refused"]

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
    def test_read_only_cache_cannot_be_written(self, monkeypatch, tmp_path):
        tmp_path.chmod(0o500)
        monkeypatch.setenv("MANYHANDS_CACHE", str(tmp_path))
        assert software.compiled_code()["writable"] is False


def test_a_section_that_fails_is_a_text(monkeypatch):
    def fail():
        raise PermissionError(13, "Permission denied")

    assert examination.tried(fail) == {"problem": "PermissionError: [Errno 13] Permission denied"}


def test_the_record_is_plain_data():
    record = examination.examine(quick=True)
    assert json.loads(json.dumps(record)) == record
    assert record["schema"] == "manyhands.doctor/1"
    assert record["rates"] is None
    assert [name for name, found in record.items() if isinstance(found, dict) and "problem" in found] == []
