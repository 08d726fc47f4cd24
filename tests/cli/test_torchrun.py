"""The command line under a real torchrun: one process speaks and writes, and the result is that of threads."""

import subprocess
import sys
from importlib.util import find_spec

import pytest
from safetensors import safe_open

from manyhands.cli import main
from manyhands.teams.mpi_environment import outside_of_jobs

WORDS = ["train", "--data", "digits", "--strategy", "periodic:1epoch", "--epochs", "3"]


def content(path):
    """Return all that is in a model file."""
    with safe_open(path, framework="numpy") as file:
        arrays = [(name, file.get_tensor(name).tobytes()) for name in sorted(file.keys())]
        return sorted(file.metadata().items()), arrays


@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
def test_rank_0_alone_speaks_and_writes_what_threads_would(tmp_path, capsys):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "manyhands"]
    done = subprocess.run(
        [*torchrun, *WORDS, "--team", "torch", "--out", str(tmp_path / "torch")],
        env=outside_of_jobs() | {"OMP_NUM_THREADS": "1"},  # else torchrun says that it sets it
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert main([*WORDS, "--workers", "2", "--out", str(tmp_path / "threads")]) == 0
    own = capsys.readouterr().out
    assert content(tmp_path / "torch") == content(tmp_path / "threads")
    labels = [line.split(" ")[0] for line in own.splitlines()]
    assert [line.split(" ")[0] for line in done.stdout.splitlines()] == labels
    assert "2 workers (torch)" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"threads", "torch"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--team", "threads"], "2 processes have been started (by torchrun), and each of them would do the same"),
        (["--team", "mpi"], "would do the same with the team mpi; add --team torch, or start a single one without"),
    ],
    ids=["threads", "mpi"],
)
def test_another_team_than_that_of_the_job_is_refused(words, said, monkeypatch, capsys):
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "RANK": 0, "WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr("manyhands.teams.agreement.in_job", lambda: False)  # there are no others to agree with
    assert main([*WORDS, *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
