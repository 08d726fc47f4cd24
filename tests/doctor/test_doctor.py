"""The facts behind `manyhands doctor`: readers on made-up machines, and what follows from made-up facts."""

import gzip
import json
import os
import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from manyhands.doctor import datasets, examination, hardware, messages, rates, software
from manyhands.doctor.advice import advice_for
from manyhands.doctor.child import ChildFailedError, answer_of
from manyhands.learners.mlp import kernels
from manyhands.runtime.affinity import usable_cores
from manyhands.runtime.cgroups import cpu_quota, memory_limit
from manyhands.runtime.hardware import memory

PROJECT = Path(__file__).parents[2]
V2 = "30 20 0:25 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1_CPU = "31 20 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
V1_MEMORY = "32 20 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"


def machine(root, **files):
    """Write made-up files below a folder; in names, __ stands for / and _dot_ for a dot."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def with_groups(root, mounts, memberships, limits):
    """A machine with cgroups: `limits` are files below /sys/fs/cgroup."""
    machine(root, proc__self__mountinfo=mounts, proc__self__cgroup=memberships)
    for name, text in limits.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


class TestCpuQuota:
    @pytest.mark.parametrize(
        ("text", "quota"),
        [("150000 100000\n", 1.5), ("max 100000\n", None), ("", None), ("nonsense here", None), ("100000 0", None)],
    )
    def test_version_2(self, tmp_path, text, quota):
        assert cpu_quota(with_groups(tmp_path, V2, "0::/\n", {"cpu.max": text})) == quota

    @pytest.mark.parametrize(("limit", "quota"), [("250000", 2.5), ("-1", None), ("", None)])
    def test_version_1(self, tmp_path, limit, quota):
        files = {"cpu,cpuacct/job/cpu.cfs_quota_us": limit, "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n"}
        assert cpu_quota(with_groups(tmp_path, V1_CPU, "3:cpu,cpuacct:/job\n0::/\n", files)) == quota

    def test_the_smallest_of_nested_groups_counts(self, tmp_path):
        files = {"cpu.max": "max 100000", "a/cpu.max": "200000 100000", "a/b/cpu.max": "400000 100000"}
        assert cpu_quota(with_groups(tmp_path, V2, "0::/a/b\n", files)) == 2.0

    def test_groups_of_others_do_not_count(self, tmp_path):
        files = {"a/cpu.max": "100000 100000", "b/cpu.max": "300000 100000"}
        assert cpu_quota(with_groups(tmp_path, V2, "0::/b\n", files)) == 3.0

    def test_both_versions_on_one_machine(self, tmp_path):
        files = {
            "unified/cpu.max": "300000 100000",
            "cpu,cpuacct/cpu.cfs_quota_us": "100000",
            "cpu,cpuacct/cpu.cfs_period_us": "100000",
        }
        mounts = V1_CPU + V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
        assert cpu_quota(with_groups(tmp_path, mounts, "2:cpu,cpuacct:/\n0::/\n", files)) == 1.0

    def test_a_container_sees_a_part_of_the_hosts_tree(self, tmp_path):
        mounts = V2.replace("0:25 / ", "0:25 /docker/abc ")
        files = {"cpu.max": "200000 100000", "inner/cpu.max": "100000 100000"}
        assert cpu_quota(with_groups(tmp_path, mounts, "0::/docker/abc/inner\n", files)) == 1.0

    @pytest.mark.parametrize("path", ["/../elsewhere", "/not/mounted"])
    def test_a_group_outside_of_what_is_mounted(self, tmp_path, path):
        root = with_groups(tmp_path, V2, f"0::{path}\n", {"cpu.max": "200000 100000"})
        assert cpu_quota(root) == 2.0

    def test_a_sandbox_without_mountinfo(self, tmp_path):
        assert cpu_quota(machine(tmp_path, sys__fs__cgroup__cpu_dot_max="50000 100000")) == 0.5

    def test_no_cgroup_means_no_quota(self, tmp_path):
        assert cpu_quota(tmp_path) is None

    @pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs affinity")
    def test_it_lowers_the_usable_cores_but_never_below_one(self, tmp_path):
        assert usable_cores(with_groups(tmp_path, V2, "0::/\n", {"cpu.max": "30000 100000"})) == 1


class TestMemory:
    def test_limit_of_version_2(self, tmp_path):
        files = {"memory.max": "max", "a/memory.max": "1073741824\n"}
        assert memory_limit(with_groups(tmp_path, V2, "0::/a\n", files)) == 1 << 30

    @pytest.mark.parametrize(("text", "limit"), [("2000000000", 2_000_000_000), ("9223372036854771712", None)])
    def test_limit_of_version_1(self, tmp_path, text, limit):
        root = with_groups(tmp_path, V1_MEMORY, "4:memory:/job\n", {"memory/job/memory.limit_in_bytes": text})
        assert memory_limit(root) == limit

    def test_sizes(self, tmp_path):
        root = machine(tmp_path, proc__meminfo="MemTotal: 2000 kB\nMemFree: 1 kB\nMemAvailable: 1500 kB\n")
        assert memory(root) == {"total": 2_048_000, "available": 1_536_000, "limit": None}

    @pytest.mark.parametrize("text", [None, "", "MemTotal:\n", "MemTotal: much\n"])
    def test_without_proc_the_total_is_asked_for_in_another_way(self, tmp_path, text):
        root = tmp_path if text is None else machine(tmp_path, proc__meminfo=text)
        found = memory(root)
        assert found["available"] is None
        assert found["total"] > 1 << 20


class TestCores:
    def test_hardware_threads_share_a_physical_core(self, tmp_path):
        for number, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
            place = f"sys__devices__system__cpu__cpu{number}__topology__thread_siblings_list"
            machine(tmp_path, **{place: siblings + "\n"})
        assert hardware.physical_cores({0, 1, 2, 3}, tmp_path) == 2
        assert hardware.physical_cores({0, 2}, tmp_path) == 1
        assert hardware.physical_cores({0, 7}, tmp_path) is None

    def test_a_system_that_tells_nothing(self, monkeypatch, tmp_path):
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        monkeypatch.delattr(os, "getloadavg", raising=False)
        monkeypatch.setattr(os, "cpu_count", lambda: 6)
        assert hardware.cores(tmp_path) == {"total": 6, "affinity": 6, "quota": None, "usable": 6, "physical": None}
        assert hardware.load() == {"one_minute": None}


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
        assert messages.slurm()["job"] is None
        monkeypatch.setenv("SLURM_JOB_ID", "77")
        monkeypatch.setenv("SLURM_NTASKS", "4")
        assert {name: messages.slurm()[name] for name in ("job", "tasks", "cores_per_task")} == {
            "job": "77",
            "tasks": "4",
            "cores_per_task": None,
        }

    def test_mpi_is_not_initialized_here(self):
        code = (
            "import sys\nfrom manyhands.doctor.messages import message_passing\n"
            "message_passing()\nassert 'mpi4py' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

    def test_an_mpiexec_that_does_not_run(self, monkeypatch):
        monkeypatch.setenv("MANYHANDS_MPIEXEC", "/no/such/mpiexec")
        found = messages.message_passing()
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


class TestSoftware:
    def test_optional_packages_are_in_the_extras_that_bring_them(self):
        extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        for name, extra, _ in software.OPTIONAL:
            assert any(each.startswith(name) for each in extras[extra]), name
        assert {extra for _, extra, _ in software.OPTIONAL} == extras.keys() - {"dev", "test"}

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


def healthy():
    """The record of a machine that needs no advice."""
    return {
        "load": {"one_minute": 0.1},
        "processor": {"model": "CPU", "vectors": ["AVX-512"], "tiles": True},
        "cores": {"total": 4, "affinity": 4, "quota": None, "usable": 4, "physical": 4},
        "memory": {"total": 16 << 30, "available": 8 << 30, "limit": None},
        "blas": {
            "private": {"library": "OpenBLAS", "version": "1", "core_type": "SkylakeX", "threads": 1},
            "asked": "SkylakeX",
            "fastest": "SkylakeX",
            "override": None,
            "numpy": [{"library": "openblas", "version": "1", "architecture": "SkylakeX", "threads": 4}],
        },
        "threads": {"variables": {}},
        "compiled": {
            "cache": "c",
            "folder": "c/f",
            "functions": 9,
            "kernels": True,
            "old_versions": 0,
            "writable": True,
            "refused": None,
        },
        "rates": {
            "peak": 200e9,
            "private": {"batch": 150e9, "large": 180e9},
            "numpy": {"batch": 150e9, "large": 170e9},
            "copy": 2e10,
        },
        "mpi": {
            "mpi4py": "4",
            "library": "Open MPI",
            "library_problem": None,
            "mpiexec_problem": None,
            "launcher": None,
        },
        "data": {
            "variable": "d",
            "variable_is_folder": True,
            "found": [{"name": "mnist", "folder": "d/mnist", "problem": None, "packed": False, "writable": True}],
        },
        "packages": [{"name": "mpi4py", "version": "4", "extra": "mpi", "purpose": "processes"}],
    }


def changed(section, **values):
    record = healthy()
    record[section] = {**record[section], **values}
    return record


def numpys(architecture, threads=4):
    return [{"library": "openblas", "version": "1", "architecture": architecture, "threads": threads}]


def on_one_core(**values):
    """One usable core, on which NumPy's BLAS has one thread."""
    return {**changed("cores", usable=1, **values), "blas": {**healthy()["blas"], "numpy": numpys("SkylakeX", 1)}}


HASWELL = {"numpy": numpys("Haswell")}
SLOW = {"batch": 80e9, "large": 90e9}
MNIST = healthy()["data"]["found"][0]


class TestAdvice:
    def test_a_healthy_machine_needs_none(self):
        assert advice_for(healthy()) == []

    @pytest.mark.parametrize(
        ("record", "topic", "words", "command"),
        [
            (changed("load", one_minute=2.0), "load", "not to be trusted", "manyhands doctor"),
            (on_one_core(affinity=1, physical=1), "cores", "bound to that one", None),
            (on_one_core(quota=1.5), "cores", "its cgroup grants 1.5 cores", None),
            (on_one_core(total=1, affinity=1, physical=1), "cores", "has one core", None),
            (changed("cores", physical=2), "cores", "more than 2 workers gain little", "manyhands compare --workers 2"),
            (changed("memory", limit=1 << 29), "memory", "Only 537 MB", "manyhands compare --train-size 6000"),
            (changed("blas", override="Nonsense"), "blas", "does not know", "unset MANYHANDS_BLAS_CORE"),
            (
                changed("blas", override="Haswell", private={"core_type": "Haswell"}),
                "blas",
                "can run those for SkylakeX",
                "unset MANYHANDS_BLAS_CORE",
            ),
            (
                {**changed("blas", **HASWELL), "rates": {**healthy()["rates"], "numpy": SLOW}},
                "blas",
                "50 % of the rate",
                "export OPENBLAS_CORETYPE=SkylakeX",
            ),
            (
                {
                    **changed("blas", **HASWELL),
                    "rates": None,
                    "threads": {"variables": {"OPENBLAS_CORETYPE": "Haswell"}},
                },
                "blas",
                "OPENBLAS_CORETYPE is Haswell",
                "unset OPENBLAS_CORETYPE",
            ),
            (changed("rates", private=SLOW), "rates", "only 45 % of what a core can do", "manyhands doctor"),
            (
                {**healthy(), "rates": {"problem": "the process that measures was ended by SIGILL"}},
                "rates",
                "does not have",
                None,
            ),
            (
                {
                    **healthy(),
                    "rates": {"problem": "the process that measures was ended by SIGILL"},
                    "threads": {"variables": {"OPENBLAS_CORETYPE": "SkylakeX"}},
                },
                "rates",
                "OPENBLAS_CORETYPE chose those kernels",
                "unset OPENBLAS_CORETYPE",
            ),
            (
                changed("blas", numpy=numpys("SkylakeX", 64)),
                "threads",
                "64 threads on 4 usable cores",
                "export OMP_NUM_THREADS=4 OPENBLAS_NUM_THREADS=4",
            ),
            (
                changed("compiled", writable=False),
                "compiled",
                "cannot be kept",
                "export MANYHANDS_CACHE=~/manyhands-cache",
            ),
            (changed("compiled", kernels=False), "compiled", "no compiled code", "manyhands compare --data digits"),
            (changed("mpi", library_problem="it broke"), "mpi", "but it broke", "pip install --force-reinstall"),
            (changed("mpi", mpiexec_problem="none there"), "mpi", "none there", None),
            (
                changed("data", variable="/x", variable_is_folder=False),
                "data",
                "'/x', which is no folder",
                "export MANYHANDS_DATA=FOLDER",
            ),
            (changed("data", found=[]), "data", "MNIST is not on this machine", "export MANYHANDS_DATA=FOLDER"),
            (changed("data", found=[{"name": "mnist", "problem": "is empty"}]), "data", "is empty", None),
            (
                changed("data", found=[{**MNIST, "packed": True, "folder": "a b/mnist"}]),
                "data",
                "mnist is stored as .gz",
                "gunzip --keep 'a b/mnist'/*.gz",
            ),
            (
                changed("data", found=[{**MNIST, "packed": True, "writable": False, "folder": "/d/mnist"}]),
                "data",
                "mnist is stored as .gz",
                "cp -r /d ~/data && gunzip ~/data/*/*.gz && export MANYHANDS_DATA=~/data",
            ),
            (
                {
                    **healthy(),
                    "packages": [{"name": "mpi4py", "version": None, "extra": "mpi", "purpose": "processes"}],
                },
                "packages",
                "mpi4py is not installed",
                "pip install 'manyhands[mpi]'",
            ),
        ],
    )
    def test_what_follows_from_a_fact(self, record, topic, words, command):
        (advice,) = advice_for(record)
        assert advice["topic"] == topic
        assert words in advice["text"]
        assert (advice["command"] is None) == (command is None)
        assert (advice["command"] or "").startswith(command or "")

    @pytest.mark.parametrize(
        "record",
        [
            changed("rates", numpy=SLOW),  # the same kernels: noise
            changed("blas", numpy=numpys("Cooperlake")),  # as good
            changed("blas", numpy=numpys(None)),  # some other library
            {**changed("blas", fastest=None, private={"core_type": "Zen"}, **HASWELL), "rates": None},  # nobody knows
            changed("cores", physical=None),
            {**on_one_core(affinity=1, physical=1), "mpi": {**healthy()["mpi"], "launcher": "the mpiexec of Open MPI"}},
            changed("load", one_minute=None),
            {**changed("cores", total=64), "load": {"one_minute": 20.0}},  # others have cores of their own
        ],
    )
    def test_no_advice_without_reason(self, record):
        assert advice_for(record) == []

    @pytest.mark.parametrize("section", healthy())
    def test_a_section_that_failed_hides_no_other_advice(self, section):
        record = {**healthy(), section: {"problem": "OSError: broken"}}
        assert advice_for(record) == []
        other = "memory" if section != "memory" else "compiled"
        record[other] = {**healthy()[other], "limit": 1 << 20, "writable": False}
        assert {each["topic"] for each in advice_for(record)} == {other}


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
