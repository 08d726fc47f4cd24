"""Kinds of teams are data: a new one is an entry, and a name without an entry is refused."""

import numpy as np
import pytest

from manyhands.core.errors import SettingsError
from manyhands.core.samples import Control
from manyhands.teams import job, registry
from manyhands.teams.crew import Crew
from manyhands.teams.launch import launch, prepare
from manyhands.teams.registry import CHOICES, KINDS, TeamKind, check_team
from manyhands.teams.solo import Solo
from manyhands.training.clock import PhaseClock

WARMED = []


def warm_up(dtype):
    """With `make_crew`, this makes the present module one of a kind of team."""
    WARMED.append(dtype)


def make_crew(clocks, controls):
    assert len(clocks) == len(controls)
    return Crew([Solo(clock) for clock in clocks[:1]])


def run_work(name, size):
    controls = [Control(np.zeros(1, np.int64), np.zeros(1, np.int64)) for _ in range(size)]
    return launch(name, [PhaseClock() for _ in range(size)], controls, type)


def test_a_new_kind_of_team_is_one_entry(monkeypatch):
    virtual = TeamKind("virtual", __name__, processes=None, shared_memory=False)
    monkeypatch.setattr(registry, "KINDS", (*KINDS, virtual))
    prepare("virtual", 3, [np.dtype("f4")], lambda: WARMED.append("learner"))
    assert ["learner", np.dtype("f4")] == WARMED
    assert run_work("virtual", 3) == [Solo]
    assert job.leads("virtual")
    assert not job.needs_job("virtual")


def test_users_choose_among_teams_of_any_size():
    assert CHOICES == ("threads", "mpi", "torch", "spark")


@pytest.mark.parametrize("ask", [lambda name: run_work(name, 2), job.is_member, job.leads, job.check_started_once])
@pytest.mark.parametrize("name", ["dask", "MPI", ""])
def test_an_unknown_name_is_refused_and_never_runs_in_this_process(ask, name):
    with pytest.raises(SettingsError, match=f"unknown team '{name}'.* [cC]hoose one of solo, threads, mpi"):
        ask(name)


@pytest.mark.parametrize(("name", "size"), [("threads", 0), ("mpi", 0), ("solo", 2)])
def test_impossible_sizes_are_refused(name, size):
    with pytest.raises(SettingsError, match=f"a team '{name}' of {size} workers is not possible"):
        check_team(name, size)
