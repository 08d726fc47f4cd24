"""Every example runs: what a newcomer copies first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(tmp_path):
    """Run a command in an empty folder, with the programs of this environment; return what it printed."""

    def run(*command):
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PATH": programs, **root},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_every_example_is_listed():
    names = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
    assert names == {name for name in names if f"({name})" in (EXAMPLES / "README.md").read_text()}


def test_the_pipeline(run):
    pytest.importorskip("pandas")
    said = run(sys.executable, "-W", "error", str(EXAMPLES / "pipeline.py"))
    accuracy = float(said.split("accuracy ")[1].split("%")[0])
    assert accuracy > 90


def test_the_job_of_mpi_processes(run, tmp_path):
    said = run("sh", str(EXAMPLES / "mpiexec.sh"))
    assert (tmp_path / "model.safetensors").exists()
    first, second = (line.split()[1] for line in said.splitlines() if line.startswith("accuracy"))
    assert first == second  # trained, and evaluated


def test_the_parquet_files(run, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    run(sys.executable, str(EXAMPLES / "parquet.py"), "digits", "out")
    assert pq.read_table(tmp_path / "out" / "train.parquet").num_rows == 1437


@pytest.mark.filterwarnings("ignore")  # of Jupyter's own packages
def test_the_first_hour(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("pandas")
    notebook = nbformat.read(EXAMPLES / "first-hour.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = str([cell.get("outputs") for cell in notebook.cells])
    assert "Can we increase the speed, keeping the same accuracy?" in printed
    assert "stderr" not in {out.get("name") for cell in notebook.cells for out in cell.get("outputs", [])}
