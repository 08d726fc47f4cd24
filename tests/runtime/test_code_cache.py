"""Whatever has become of the files of compiled code: the right result, and one line that says what was wrong."""

import errno
import importlib.util
import logging
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from manyhands.runtime import code_cache, trusted_files
from manyhands.runtime.code_cache import cache_for
from manyhands.runtime.trusted_files import TrustedFolder

SOURCE = """
def double(x):
    return x + x

def triple(x):
    return x + x + x
"""


@pytest.fixture
def functions(tmp_path):
    """A module with two functions."""
    (tmp_path / "small.py").write_text(SOURCE)
    return load(tmp_path / "small.py")


@pytest.fixture(autouse=True)
def silent_before(monkeypatch):
    """Every test is the first to say anything."""
    monkeypatch.setattr(code_cache, "_said", set())


@pytest.fixture
def told(monkeypatch):
    """Collect what is said; a logger of another test may not pass it on."""
    messages = []

    class Collect(logging.Handler):
        def emit(self, record):
            messages.append(record.getMessage())

    handler = Collect(logging.WARNING)
    logger = logging.getLogger("manyhands")
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


def load(path):
    spec = importlib.util.spec_from_file_location("small", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["small"] = module  # Numba looks there for what its code belongs to
    spec.loader.exec_module(module)
    return module


def call(function, folder, argument=4):
    """Call a function as a new process would; return the result, and whether it was read from the cache."""
    dispatcher = numba.njit(function)
    dispatcher._cache = cache_for(function, folder)
    result = dispatcher(argument)
    return result, sum(dispatcher.stats.cache_hits.values()) == 1


@pytest.fixture
def folder(functions, tmp_path):
    """A folder with the code of both functions."""
    made = TrustedFolder(tmp_path / "cache", "compiled")
    for function, result in ((functions.double, 8), (functions.triple, 12)):
        assert call(function, made) == (result, False)
        assert call(function, made) == (result, True)
    return made


def code_of(folder, function):
    (found,) = folder.path.glob(f"small.{function}-*.nbc")
    return found


def flip(path):
    content = bytearray(path.read_bytes())
    content[random.Random(3).randrange(len(content))] ^= 16
    path.write_bytes(content)


def replace_by(make):
    def damage(path):
        path.unlink()
        make(path)

    return damage


DAMAGES = {
    "a flipped bit": flip,
    "emptied": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "garbage appended": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "another function's": lambda path: path.write_bytes(code_of_other(path).read_bytes()),
    "Numba's own": lambda path: path.write_bytes(pickle.dumps(("0.1", {}))),
    "a folder": replace_by(lambda path: path.mkdir()),
    "a pipe": replace_by(os.mkfifo),
    "a link": replace_by(lambda path: path.symlink_to(code_of_other(path))),
    "open to all": lambda path: path.chmod(0o666),
}


def code_of_other(path):
    (found,) = path.parent.glob("small.triple-*.nbc")
    return found


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_bad_files_are_named_once_compiled_anew_and_replaced(damage, functions, folder, told):
    path = code_of(folder, "double")
    damage(path)
    assert call(functions.double, folder) == (8, False)
    assert [message for message in told if str(path) in message and "it is compiled anew" in message] == told
    assert len(told) == 1
    assert call(functions.double, folder) == (8, True)
    assert call(functions.triple, folder) == (12, True)
    assert len(told) == 1


def test_a_file_that_is_whole_but_means_nothing_is_compiled_anew(functions, folder, told):
    path = code_of(folder, "double")
    folder.write(path.name, b"no pickle")
    assert call(functions.double, folder) == (8, False)
    assert "cannot be used (UnpicklingError" in told[0]
    assert call(functions.double, folder) == (8, True)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE])
def test_what_cannot_be_saved_is_said_once_and_work_goes_on(functions, folder, told, monkeypatch, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(trusted_files, "_write", fail)
    assert call(functions.double, folder, 2.5) == (5.0, False)
    assert call(functions.triple, folder, 2.5) == (7.5, False)
    assert len(told) == 1
    assert f"it cannot be written into {folder.path} ({os.strerror(number)})" in told[0]
    assert "MANYHANDS_CACHE" in told[0]
    assert call(functions.double, folder) == (8, True)  # what is there is used


def test_a_folder_that_others_can_write_is_neither_read_nor_written(functions, folder, told):
    before = {each.name: each.read_bytes() for each in folder.path.iterdir()}
    folder.path.chmod(0o777)
    assert call(functions.double, folder) == (8, False)
    assert call(functions.triple, folder, 2.5) == (7.5, False)
    assert len(told) == 1
    assert f"chmod go-w {folder.path}" in told[0]
    assert {each.name: each.read_bytes() for each in folder.path.iterdir()} == before


def test_other_sources_other_types_and_other_settings_are_other_code(functions, folder, tmp_path, monkeypatch):
    assert call(functions.double, folder, 2.5) == (5.0, False)
    (tmp_path / "small.py").write_text(SOURCE.replace("x + x\n", "x + x + 1\n"))
    code_cache._digest_of.cache_clear()
    assert call(load(tmp_path / "small.py").double, folder) == (9, False)
    monkeypatch.setattr(numba.config, "BOUNDSCHECK", 1)
    assert call(functions.triple, folder) == (12, False)


def test_functions_of_no_file_have_no_cache(folder):
    scope = {}
    exec("def single(x):\n    return x", scope)
    assert cache_for(scope["single"], folder) is None


PROGRAM = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import test_code_cache as tests
from manyhands.runtime.trusted_files import TrustedFolder

print(tests.call(tests.load(Path(sys.argv[2])).double, TrustedFolder(Path(sys.argv[3]), "compiled"))[0])
"""


def test_two_processes_at_once_do_each_other_no_harm(functions, tmp_path):
    places = [Path(__file__).parent, tmp_path / "small.py", tmp_path / "cache"]
    command = [sys.executable, "-c", PROGRAM, *map(str, places)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=120)[0] for process in running] == ["8\n", "8\n"]
    assert len(list((tmp_path / "cache" / "compiled").iterdir())) == 1
