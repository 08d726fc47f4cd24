import os
import subprocess
import sys

import pytest

from manyhands.compiling import code_folder, compiled, inlined, overload

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
    @inlined
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
