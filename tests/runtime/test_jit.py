import os
import subprocess
import sys
from pathlib import Path

import pytest

import manyhands
from manyhands.runtime.jit import code_folder, compiled, inlined, overload

TRAIN = """
import hashlib, manyhands
for strategy, workers in (("sequential", 1), ("periodic:7", 3), ("gradient", 2)):
    result = manyhands.train("digits", strategy=strategy, workers=workers, hidden=(8,), epochs=3)
    print(hashlib.sha256(result.model.learner.parameters.tobytes()).hexdigest(), result.losses)
"""


@inlined
def squared(x):
    return x * x


def magnitude(x):
    raise NotImplementedError


@overload(magnitude)
def _magnitude(x):
    def implementation(x):
        return abs(x)

    return implementation


@compiled
def score(x):
    return squared(x) + magnitude(x)


def test_compiled_functions_call_inlined_and_overloaded_ones():
    assert score(-3.0) == 12.0


def test_nan_is_not_optimized_away():
    # With numba's fastmath=True, x != x may be compiled to False.
    @compiled
    def missing(x):
        return x != x

    assert missing(float("nan"))


def test_the_cache_is_named_by_the_sources(monkeypatch, tmp_path):
    monkeypatch.setenv("MANYHANDS_CACHE", str(tmp_path))
    folder = code_folder()
    assert folder.parent == tmp_path / "compiled"
    assert folder == code_folder()


@pytest.mark.slow
def test_the_process_that_compiles_gets_the_bits_of_those_that_read_the_cache(tmp_path):
    environment = os.environ | {"MANYHANDS_CACHE": str(tmp_path)}
    outputs = [
        subprocess.run(
            [sys.executable, "-c", TRAIN], env=environment, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0].splitlines()) == 3


@pytest.mark.slow
def test_without_a_writable_cache_it_still_works(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    environment = os.environ | {"MANYHANDS_CACHE": str(tmp_path / "file")}
    code = "import manyhands; print(manyhands.train('digits', epochs=2, hidden=(4,)).steps)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "16"


TINY = """
import logging, sys

class Telling(logging.Handler):
    def emit(self, record):
        print("told:", record.levelname, record.getMessage())

logging.getLogger("manyhands").addHandler(Telling())
logging.getLogger("manyhands").setLevel(logging.INFO)

import numpy as np
from manyhands.runtime.jit import compiled

@compiled
def first(x):
    return x[0]

print(first(np.ones(1, np.float32)), first(np.full(1, 2.0)))
"""


def run_tiny(tmp_path, cache, more=""):
    """Run a script that compiles a tiny function for two kinds of numbers; return what it prints."""
    script = tmp_path / "tiny.py"
    if not script.exists():  # its code is cached as long as the file is the same
        script.write_text(TINY + more)
    environment = os.environ | {"MANYHANDS_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_compiling_is_announced_once_and_reading_the_cache_is_not(tmp_path):
    told, result = run_tiny(tmp_path, tmp_path / "cache")
    assert told.startswith("told: INFO compiling kernels for this CPU")
    assert result == "1.0 2.0"
    assert sorted(path.suffix for path in (tmp_path / "cache").rglob("*.nb?")) == [".nbc", ".nbc"]
    assert run_tiny(tmp_path, tmp_path / "cache") == ["1.0 2.0"]


def test_without_a_writable_cache_nothing_is_written_beside_the_sources(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    sources = Path(manyhands.__file__).parent
    before = sorted(sources.rglob("*.nb?"))
    more = """
from manyhands.runtime.shared_reduce import new_barrier_state, wait
print(wait(new_barrier_state(), 1))
"""
    why, told, result, waited = run_tiny(tmp_path, tmp_path / "file" / "cache", more)
    assert why.startswith("told: WARNING compiled code is not kept")
    assert told.startswith("told: INFO compiling kernels for this CPU")
    assert (result, waited) == ("1.0 2.0", "0")
    assert sorted(sources.rglob("*.nb?")) == before
    assert sorted(path.name for path in tmp_path.rglob("*") if path.name != "__pycache__") == ["file", "tiny.py"]


UNUSABLE = {
    "NUMBA_DISABLE_JIT": ("1", "NUMBA_DISABLE_JIT is set, but what trains exists as compiled code only; unset it"),
    "NUMBA_NUM_THREADS": (
        "0",
        "Numba, which compiles what trains, cannot be imported: Number of threads specified must",
    ),
    "NUMBA_CPU_FEATURES": ("avx2", "NUMBA_CPU_FEATURES has 'avx2'; each feature begins with + or -"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "NUMBA_NUM_THREADS" else ()) for name in UNUSABLE]
)
def test_variables_that_leave_numba_unusable_are_named_whoever_imports(name):
    value, message = UNUSABLE[name]
    code = """
import manyhands
for use in ("import manyhands.runtime.jit", "from manyhands import MLPClassifier", "manyhands.train('digits')"):
    try:
        exec(use)
    except manyhands.ManyhandsError as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {name: value}, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"SettingsError {message}") for line in lines)


LINEAR = """
import sys
import manyhands.runtime.jit
assert "scipy.linalg" not in sys.modules, "imported"
assert "scipy.linalg.cython_blas" not in sys.modules, "imported"
import numba, numpy as np

@numba.njit
def product(a, b):
    return np.dot(a, b)

a = np.arange(6.0).reshape(2, 3)
assert (product(a, a.T) == a @ a.T).all()
import scipy.linalg
assert hasattr(scipy.linalg, "solve")
assert scipy.linalg is sys.modules["scipy.linalg"]
"""


def test_scipys_linear_algebra_is_not_imported_but_can_be_used():
    subprocess.run([sys.executable, "-W", "error", "-c", LINEAR], check=True, timeout=120)


def test_who_has_imported_it_before_keeps_it():
    code = "import scipy.linalg as before, manyhands.runtime.jit, sys; assert sys.modules['scipy.linalg'] is before"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_how_long_compiling_took_is_said_once_to_all_who_listen(tmp_path):
    more = """
from manyhands.runtime.jit import compilations_said, gc_paused

@compiled
def last(x):
    return x[-1]

for _ in range(2):
    with compilations_said(print), gc_paused():
        last(np.ones(1))
"""
    first, _, *said = run_tiny(tmp_path, tmp_path / "cache", more)
    assert first.startswith("told: INFO compiling kernels for this CPU (")
    assert said[0].startswith("compiling kernels for this CPU (")
    assert sorted(line.split(" took ")[0] for line in said[1:]) == [
        "compiling kernels for this CPU",
        "told: INFO compiling kernels for this CPU",
    ]
    assert float(said[1].split(" took ")[1].removesuffix(" s")) >= 0
