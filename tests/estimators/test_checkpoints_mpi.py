"""Checkpoints of a fit in a real MPI job: the next job goes on bit for bit. mpiexec starts this file."""

# ruff: noqa: N806 - X is scikit-learn's name

import json
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest

from manyhands.teams import mpi_environment

CASES = {
    "periodic": {"early_stopping": True},
    "gradient": {"strategy": "gradient"},
}


def checksum(network):
    """Of all that is learned, the optimizer's state included."""
    total = 0
    for array in (*network.coefs_, *network.intercepts_, *dict(sorted(network._optimizer.state.items())).values()):
        total = zlib.crc32(np.ascontiguousarray(array).tobytes(), total)
    return total


def end_after(epochs):
    """Let the job be ended from outside after so many epochs, as far as its processes can know."""
    from manyhands.estimators import history

    after_epoch = history._WorkerHistory.after_epoch

    def ended(worker, run, epoch):
        if len(worker.history.losses) == epochs:
            raise RuntimeError("ended from outside")
        return after_epoch(worker, run, epoch)

    history._WorkerHistory.after_epoch = ended


def main(case, folder, epochs):
    from sklearn.datasets import load_digits

    from manyhands import MLPClassifier
    from manyhands.teams.mpi_world import join

    warnings.simplefilter("ignore")
    if int(epochs):
        end_after(int(epochs))
    X, y = load_digits(return_X_y=True)
    words = {"team": "mpi", "random_state": 0, "max_iter": 12, "n_iter_no_change": np.inf, **CASES[case]}
    told = []
    for checkpoint in ({"folder": folder, "every": "1epoch", "checkpoint_cost": 1}, None):
        network = MLPClassifier((16,), **words, checkpoint=checkpoint, verbose=checkpoint is not None)
        network.fit(X[:500] / 16, y[:500])
        told.append([checksum(network), network.n_iter_, network.loss_curve_, network.validation_scores_])
    everyone = join().all_gather_texts(json.dumps(told))
    if join().rank == 0:
        print("\nTOLD" + json.dumps([json.loads(each) for each in everyone]))


def job(case, folder, epochs=0):
    """Run this file in a job of two processes; return how it has ended, what it has printed, and its errors."""
    from manyhands.teams.mpi_world import library

    path, kind = mpi_environment.find_mpiexec(library())
    command = [*mpi_environment.job_command(path, kind, 2), sys.executable, __file__, case, str(folder), str(epochs)]
    return subprocess.run(
        command,
        env=mpi_environment.job_environment(kind),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.mark.parametrize("case", [pytest.param("periodic", marks=pytest.mark.slow), "gradient"])
def test_the_next_job_goes_on_bit_for_bit(case, tmp_path):
    pytest.importorskip("mpi4py")
    folder = tmp_path / "there"
    ended = job(case, folder, epochs=5)
    assert ended.returncode
    assert "ended from outside" in ended.stderr
    assert list(folder.iterdir())
    again = job(case, folder)
    assert again.returncode == 0, again.stderr
    assert "Iteration 1," not in again.stdout
    assert "Iteration 12," in again.stdout
    line = next(line for line in again.stdout.splitlines() if line.startswith("TOLD"))
    for resumed, whole in json.loads(line.removeprefix("TOLD")):
        assert resumed == whole
    assert not folder.exists()


if __name__ == "__main__":
    main(*sys.argv[1:])
