"""Runs that go on without lost workers, or begin again: with the mathematics that they are said to have."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import manyhands
from manyhands import RunSpec
from manyhands.core.callbacks import WorkerCallback
from manyhands.core.errors import DivergedError, SettingsError, Suspended
from manyhands.teams.job import check_can_continue
from manyhands.training import faults
from manyhands.training import run as runs
from manyhands.training.checkpoints.state import State
from manyhands.training.recovery import Commits, incident
from manyhands.training.resolve import resolve
from manyhands.training.restarting import is_passing, restarted

RUN = {"workers": 3, "epochs": 4, "hidden": (12,), "batch": 100}
PLAIN = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.05}
"""Without a state of the optimizer's own: then all workers are alike after a round."""
EACH = {"every": "1round", "checkpoint_cost": 1, "keep": 10_000}
pytestmark = pytest.mark.filterwarnings("ignore::manyhands.core.errors.TrainingWarning")


def bits(result):
    return result.model.learner.parameters.tobytes()


class OneTeam:
    """A team of one, whose collectives change nothing."""

    rank, size = 0, 1

    def sum_(self, vector):
        pass


class TestCommits:
    def test_back_to_where_all_have_been(self):
        commits = Commits()
        states = [State(number, 0, {}, {}) for number in range(4)]
        for each in states:
            commits.note(each)
        assert commits.common(OneTeam()) == 4
        assert commits.back_to(4) is states[3]
        assert commits.back_to(2) is states[1]
        commits.note(states[3])
        assert (commits.common(OneTeam()), commits.back_to(3)) == (3, states[3])

    def test_what_is_said(self):
        lost = [(1, "was killed"), (2, "was killed")]
        found = incident(lost, step=130, back_to=120, workers=2, seconds=0.5)
        assert found["text"] == (
            "workers 1 and 2 of 4 lost, as seen after step 130 (was killed); 2 went on from step 120: steps 121 to 130 "
            "were repeated"
        )
        assert (found["kind"], found["ranks"], found["workers"]) == ("lost", [1, 2], 2)
        assert incident([(0, "x")], step=8, back_to=8, workers=1, seconds=0)["text"].endswith("1 went on from step 8")
        assert incident([(0, "x")], step=8, back_to=7, workers=1, seconds=0)["text"].endswith("step 8 was repeated")


STRATEGIES = [
    "gradient", "periodic:1epoch", "periodic:4", "periodic:2epochs", "slowmo:5,beta=0.5", "diloco:6",
    "minibatch:2epochs", "one-shot", "gradient@50% then periodic:3",
]  # fmt: skip


class TestContinue:
    @pytest.mark.parametrize("strategy", STRATEGIES)
    @pytest.mark.parametrize("rank", [0, 2])
    def test_the_rest_is_that_of_as_many_workers_as_are_left(self, digits, tmp_path, happens, strategy, rank):
        """Bit for bit what those would do that go on from a checkpoint of the step that the survivors went back to."""
        run = {**RUN, **PLAIN, "strategy": strategy}
        folder = tmp_path / "run"
        manyhands.train(digits, **run, checkpoint=folder, **EACH)
        happens(f"fail({rank},37)")
        found = manyhands.train(digits, **run, on_loss="continue")
        (lost,) = found.incidents
        assert (lost["kind"], lost["ranks"], lost["workers"]) == ("lost", [rank], 2)
        assert lost["back_to"] <= 37
        assert (len(found.worker_seconds), found.steps, len(found.losses)) == (2, 60, 4)
        alone = tmp_path / "alone"
        alone.mkdir()
        path = folder / f"checkpoint-{lost['back_to']:012d}.safetensors"
        if not path.exists():  # one-shot goes back to the beginning, as do those that have not had a round
            assert lost["back_to"] == 0
            expected = manyhands.train(digits, **{**run, "workers": 2})
        else:
            path.rename(alone / path.name)
            expected = manyhands.train(digits, resume=alone, workers=2)
        assert bits(found) == bits(expected)

    def test_averaged_gradients_stay_those_of_one_worker(self, digits, happens):
        """The global batch is constant, so the number of workers changes rounding only."""
        happens("fail(1,20)", "fail(2,33)")
        run = {**RUN, "strategy": "gradient", "dtype": "float64"}
        found = manyhands.train(digits, **run, on_loss="continue")
        assert [each["workers"] for each in found.incidents] == [2, 1]
        alone = manyhands.train(digits, **{**run, "workers": 1, "strategy": "sequential"})
        np.testing.assert_allclose(
            found.model.learner.parameters, alone.model.learner.parameters, rtol=1e-9, atol=1e-12
        )

    @pytest.mark.parametrize("strategy", ["gradient", "periodic:4", "slowmo:1epoch"])
    def test_without_a_loss_nothing_changes(self, digits, strategy):
        run = {**RUN, "strategy": strategy}
        found, usual = manyhands.train(digits, **run, on_loss="continue"), manyhands.train(digits, **run)
        assert (bits(found), found.losses, found.incidents) == (bits(usual), usual.losses, [])

    def test_with_checkpoints_and_a_stopping_rule(self, digits, tmp_path, happens):
        """All that looks at all workers together goes on with those that are left."""
        happens("fail(0,31)")
        run = {**RUN, "epochs": 30, "strategy": "periodic:4", "stop": "loss:0.01,patience=2", "convergence": True}
        found = manyhands.train(digits, **run, on_loss="continue", checkpoint=tmp_path / "run", **EACH)
        assert [each["kind"] for each in found.incidents] == ["lost"]
        assert found.curve[-1]["step"] == found.steps
        again = manyhands.train(digits, resume=tmp_path / "run", workers=2)
        assert bits(again) == bits(found)

    def test_without_it_the_error_ends_the_run(self, digits, happens):
        happens("fail(1,20)")
        with pytest.raises(faults.RehearsedError):
            manyhands.train(digits, **RUN, strategy="gradient")

    def test_if_all_fail_the_first_error_is_raised(self, digits, happens):
        happens("fail(0,20)", "fail(1,20)", "fail(2,20)")
        with pytest.raises(faults.RehearsedError, match=r"fail\(\d,20\)"):
            manyhands.train(digits, **RUN, strategy="gradient", on_loss="continue")

    def test_a_training_that_diverges_has_lost_no_worker(self, digits, happens):
        happens("nan(1,18)")
        with pytest.raises(DivergedError, match="worker 1"):
            manyhands.train(digits, **RUN, strategy="periodic:4", on_loss="continue")

    def test_processes(self, digits, happens):
        """One killed in the middle of its steps: the survivors do what threads do."""
        run = {**RUN, **PLAIN, "strategy": "periodic:4"}
        folder = happens("kill(1,38)")
        found = manyhands.train(digits, **run, team="mpi", on_loss="continue")
        assert [path.name for path in folder.iterdir()] == ["happened-kill(1,38)"]
        (folder / "happened-kill(1,38)").rename(folder / "fail(1,38)")
        threads = manyhands.train(digits, **run, on_loss="continue")
        assert found.incidents[0]["back_to"] == threads.incidents[0]["back_to"] == 36
        assert (bits(found), found.losses) == (bits(threads), threads.losses)
        assert "it was killed" in found.incidents[0]["text"]

    @pytest.mark.slow
    @pytest.mark.parametrize("fault", ["stop(0,38)", "fail(2,38)", "kill(0,38)", "kill(2,60)", "kill(1,38,400)"])
    @pytest.mark.parametrize("strategy", ["periodic:4", "gradient"])
    def test_processes_that_hang_fail_or_were_the_first(self, digits, happens, fault, strategy):
        happens(fault)
        run = {**RUN, **PLAIN, "strategy": strategy}
        found = manyhands.train(digits, **run, team="mpi", on_loss="continue", hang_timeout=2)
        assert [each["kind"] for each in found.incidents] in (["lost"], [])  # the last step's loss may come too late
        assert abs(found.accuracy - manyhands.train(digits, **run).accuracy) < 0.15
        assert found.steps == 60

    @pytest.mark.slow
    def test_a_job_that_the_user_has_started(self, tmp_path, happens):
        happens("kill(0,100)")
        done = under_mpiexec("--with-ft", "ulfm", out=tmp_path / "model.safetensors")
        assert done.returncode == 0, done.stderr
        assert re.search(r"lost +worker 0 of 3 lost, as seen after step \d+", done.stdout)
        assert (tmp_path / "model.safetensors").exists()


def under_mpiexec(*words, out):
    """``manyhands train --on-loss continue`` in a job of three processes."""
    mpiexec = Path(sys.prefix, "bin", "mpiexec")
    job = [mpiexec, *words, "-n", "3", "--host", "localhost:3", "--bind-to", "none", "--allow-run-as-root"]
    program = [sys.executable, "-m", "manyhands", "train", "--team", "mpi", "--data", "digits", "--epochs", "40"]
    program += ["--strategy", "periodic:4", "--on-loss", "continue", "--out", str(out)]
    environment = {**os.environ, "OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self,sm"}
    return subprocess.run(
        [*job, *program], capture_output=True, text=True, check=False, timeout=120, env=environment, cwd=out.parent
    )


class LostAtTheEnd(WorkerCallback):
    """Worker 1 fails when all training is done; worker 2 still needs the others then, and worker 0 does not."""

    def after_training(self, run):
        if run.team.size == 3 and run.team.rank:
            if run.team.rank == 1:
                raise faults.RehearsedError("at the very end")
            run.team.barrier()


@pytest.mark.parametrize("more", [{}, {"stop": "loss:5,patience=2", "epochs": 20}])
def test_a_worker_that_is_lost_at_the_very_end(digits, more):
    """Nobody leaves whom another still needs, and a training that had come to its end does not go on."""
    run, found = {**RUN, "strategy": "periodic:4", **more}, []
    train = threading.Thread(
        target=lambda: found.append(manyhands.train(digits, **run, on_loss="continue", callbacks=[LostAtTheEnd()])),
        daemon=True,
    )
    train.start()
    train.join(30)
    (result,) = found
    whole = manyhands.train(digits, **run)
    assert (bits(result), len(result.losses), result.steps) == (bits(whole), len(whole.losses), whole.steps)
    assert result.incidents[0]["ranks"] == [1]


class TestRefused:
    @pytest.mark.parametrize("team", ["torch", "spark"])
    def test_teams_that_need_all(self, team):
        with pytest.raises(SettingsError, match=r"is for the teams threads and mpi.*choose on_loss='restart'"):
            check_can_continue(team, 3)

    @pytest.mark.parametrize("strategy", ["hogwild", "easgd:5"])
    def test_workers_that_share_one_vector(self, digits, strategy):
        with pytest.raises(SettingsError, match=r"share one vector.*on_loss='restart'"):
            manyhands.train(digits, **RUN, strategy=strategy, on_loss="continue")

    @pytest.mark.slow
    def test_a_job_without_ulfm(self, tmp_path):
        done = under_mpiexec(out=tmp_path / "model.safetensors")
        assert done.returncode == 2
        assert "start it with mpiexec --with-ft ulfm" in " ".join(done.stderr.split())


class TestRestart:
    @pytest.mark.parametrize("strategy", ["gradient", "periodic:4", "periodic:2epochs", "one-shot"])
    @pytest.mark.parametrize("named", [True, False])
    def test_the_result_is_that_of_a_run_without_a_loss(self, digits, tmp_path, happens, strategy, named):
        run = {**RUN, "strategy": strategy}
        whole = manyhands.train(digits, **run)
        happens("fail(2,5)", "fail(1,37)")
        more = {"checkpoint": tmp_path / "run"} if named else {}
        found = manyhands.train(digits, **run, **more, on_loss="restart", every="1epoch", checkpoint_cost=1)
        assert (bits(found), found.losses, found.rounds) == (bits(whole), whole.losses, whole.rounds)
        assert [each["kind"] for each in found.incidents] == ["restart", "restart", "resumed"]
        assert "from the beginning: there is no checkpoint yet (restart 1 of 3)" in found.incidents[0]["text"]
        assert found.plan.reliability.attempt == 0

    def test_not_more_often_than_was_said(self, digits, happens):
        folder = happens("fail(0,5)", "fail(1,6)", "fail(2,7)")
        with pytest.raises(faults.RehearsedError, match=r"fail\(2,7\)"):
            manyhands.train(digits, **RUN, strategy="gradient", on_loss="restart", max_restarts=2)
        assert all(path.name.startswith("happened-") for path in folder.iterdir())

    def test_what_would_come_again_is_not_tried_again(self, digits, monkeypatch):
        calls, usual = [], runs._run_here
        monkeypatch.setattr(runs, "_run_here", lambda *given: calls.append(1) or usual(*given))
        with pytest.raises(DivergedError):
            manyhands.train(digits, **{**RUN, "optimizer": "sgd", "learning_rate": 1e20}, on_loss="restart")
        assert calls == [1]
        assert not is_passing(DivergedError(1, 0, float("nan")))
        assert not is_passing(MemoryError())

    @pytest.mark.slow
    @pytest.mark.parametrize("team", ["mpi", "torch"])
    @pytest.mark.parametrize("fault", ["kill(1,37)", "stop(0,37)", "fail(2,37)"])
    def test_processes(self, digits, happens, team, fault):
        happens(fault)
        run = {**RUN, "strategy": "periodic:4"}
        found = manyhands.train(
            digits, **run, team=team, on_loss="restart", every="1round", checkpoint_cost=1, hang_timeout=3
        )
        whole = manyhands.train(digits, **run)
        assert (bits(found), found.losses) == (bits(whole), whole.losses)
        assert [each["kind"] for each in found.incidents] == ["restart", "resumed"]

    @pytest.mark.parametrize("variable", ["TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"])
    def test_a_job_that_its_launcher_starts_again_goes_on(self, digits, tmp_path, monkeypatch, variable):
        run = {**RUN, "strategy": "periodic:4", "checkpoint": tmp_path, "every": "2epochs", "checkpoint_cost": 1}
        whole = manyhands.train(digits, **run)
        with pytest.raises(SettingsError, match="of an earlier run"):
            manyhands.train(digits, **run)
        monkeypatch.setenv(variable, "1")
        found = manyhands.train(digits, **run)
        assert (bits(found), [each["kind"] for each in found.incidents]) == (bits(whole), ["resumed"])
        with pytest.raises(SettingsError, match=r"a run with epochs=4"):
            manyhands.train(digits, **{**run, "epochs": 5})

    @pytest.mark.slow
    def test_torchrun_starts_it_again(self, tmp_path, happens):
        pytest.importorskip("torch")
        happens("kill(1,150)")
        words = ["--data", "digits", "--strategy", "periodic:4", "--epochs", "60", "--out", str(tmp_path / "model")]
        often = ["--checkpoint", str(tmp_path / "run"), "--every", "5epochs", "--checkpoint-cost", "100%"]
        torchrun = [Path(sys.prefix, "bin", "torchrun"), "--nproc-per-node", "2", "--max-restarts", "2", "-m"]
        done = subprocess.run(
            [*torchrun, "manyhands", "train", "--team", "torch", *words, *often],
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )
        assert done.returncode == 0, done.stderr
        assert "resumed" in done.stdout
        whole = manyhands.train("digits", strategy="periodic:4", epochs=60, workers=2)
        found = manyhands.load_model(tmp_path / "model")
        np.testing.assert_array_equal(found.learner.parameters, whole.model.learner.parameters)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, Suspended])
def test_a_temporary_folder_is_nothing_to_go_on_from(digits, kind):
    plan = resolve(RunSpec(workers=2).changed(on_loss="restart"), digits)

    def asked_to_end(given):
        raise kind(f"ended after step 7, as asked; resume={given.reliability.checkpoint!r} goes on from there")

    with pytest.raises(kind) as found:
        restarted(plan, asked_to_end)
    assert "resume" not in str(found.value)


def test_rehearsals_need_a_folder(digits, monkeypatch, tmp_path):
    monkeypatch.setenv(faults.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(SettingsError, match=r"MANYHANDS_FAULTS: the folder .* cannot be read: No such file"):
        manyhands.train(digits, **RUN, on_loss="restart")
