"""Every strategy x team x learner, in one table: same bits, honest counts, and sequential where mathematics says so.

A new strategy, team or learner enters by one line. The MPI jobs, one for each number of workers, are started once.
"""

import functools
import itertools
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manyhands.core.callbacks import EventFunction
from manyhands.core.choices import OTHER_LEARNERS
from manyhands.core.errors import ManyhandsError
from manyhands.core.events import RoundHeld
from manyhands.core.learner import RunOutcome
from manyhands.learners import LEARNERS as LEARNER_MAKERS
from manyhands.learners import make_learner, register
from manyhands.learners.mlp.learner import MLP
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.strategies import STRATEGIES as MAKERS
from manyhands.strategies import parse_strategy
from manyhands.training.loading import load_model
from manyhands.training.resolve import resolve
from manyhands.training.run import Runner, run
from manyhands.training.spec import RunSpec

STRATEGIES = [
    "sequential",
    "one-shot",
    "periodic:1epoch",
    "periodic:2epoch",
    "periodic:7",
    "gradient",
    "minibatch:5epochs",
]
FAMILY = [
    "post-local:3",
    "slowmo:1epoch",
    "slowmo:7,beta=0.5",
    "diloco:1epoch",
    "swap:50%",
    "gradient:scale=linear",
    "gradient:send=int8",
    "gradient@50% then periodic:1epoch",
    "periodic:7,send=float16",
    "periodic:7,send=bfloat16",
    "periodic:7,send=int8",
    "periodic:7,state=mean",
    "periodic:7,state=reset",
    "periodic:1epoch,merge=mean",
    "periodic:1epoch,merge=validation",
    "one-shot:merge=fisher",
    "one-shot:merge=soup",
    "one-shot:merge=bootstrap",
    "one-shot:merge=rebasin,starts=own",
    "one-shot:merge=ensemble",
]
"""All other strategies: with one learner, and with three workers or one."""
ASYNCHRONOUS = ["easgd:3", "hogwild"]
"""No two runs are alike, and only workers that share memory can."""
WORKERS = [1, 2, 3, 4]
LEARNERS = {
    "relu-adam": {"hidden": (20,)},
    "tanh-sgd": {"hidden": (9, 6), "activation": "tanh", "optimizer": "sgd", "learning_rate": 0.05},
}


def cases(team, numbers=WORKERS):
    """Every strategy with every number of workers; learners take turns, so each meets every strategy and number."""
    return [
        pytest.param(strategy, team, workers, learner, id=f"{strategy}-{team}{workers}-{learner}")
        for place, strategy in enumerate(STRATEGIES)
        for workers in numbers
        for learner in [tuple(LEARNERS)[(place + workers) % 2]]
        if strategy != "sequential" or workers == 1
    ]


def family(team):
    return [pytest.param(strategy, team, 3, "relu-adam", id=f"{strategy}-{team}3") for strategy in FAMILY]


def with_sharding(cases):
    """Add a sharding to each case; two in a row have the same, so it meets every learner and number of workers."""
    kinds = ("global", "global", "fixed", "fixed")
    return [
        pytest.param(*case.values, kinds[place % 4], id=f"{case.id}-{kinds[place % 4]}")
        for place, case in enumerate(cases)
    ]


THREADS = cases("threads")
"""What threads do, processes do to the bit (a test of its own says so): the rest need not be done twice."""
EPOCHS, BATCH = 4, 25
ROUNDS = {
    "sequential": 0,
    "one-shot": 1,
    "periodic:1epoch": 4,
    "periodic:2epoch": 2,
    "periodic:7": 3,  # after 7, 14 and, the last, 20 steps
    "gradient": 5 * EPOCHS,  # 103 rows in batches of 25: four and a rest
    "minibatch:5epochs": 4,
}
FOREIGN = ["Softmax", "Moments"]
"""Learners of tests/learners/foreign.py: not the MLP, and not known to processes, so threads run them."""


@pytest.fixture
def runner(blobs_runner):
    return blobs_runner


def train(runner, strategy, team="threads", workers=1, learner="relu-adam", **changes):
    chosen = {"batch": BATCH, "epochs": EPOCHS, "seed": 3, **changes}
    settings = MLPSettings(**{**LEARNERS[learner], **chosen.pop("network", {})})
    plan = resolve(RunSpec(strategy=strategy, team=team, workers=workers, network=settings, **chosen), runner.dataset)
    # The plan of a sequential run has the team solo; here even that goes through an MPI job, of one process.
    return runner.run(replace(plan, team=team) if team == "mpi" else plan)


@functools.cache
def trained(runner, strategy, team="threads", workers=1, learner="relu-adam", sharding=None):
    """What `train` gives, from a run that several tests look at from different sides."""
    return train(runner, strategy, team, workers, learner, **({} if sharding is None else {"sharding": sharding}))


def bits(result) -> bytes:
    return result.model.learner.parameters.tobytes()


@pytest.mark.parametrize(("strategy", "team", "workers", "learner"), [*THREADS, *family("threads")])
def test_same_seed_same_bits(runner, strategy, team, workers, learner):
    results = [how(runner, strategy, team, workers, learner) for how in (trained, train)]
    assert bits(results[0]) == bits(results[1])
    assert results[0].losses == results[1].losses


@pytest.mark.parametrize(
    ("strategy", "_team", "workers", "learner", "sharding"), with_sharding([*cases("mpi"), *family("mpi")])
)
def test_threads_and_mpi_end_with_the_same_bits(runner, strategy, _team, workers, learner, sharding):
    threads, mpi = (trained(runner, strategy, team, workers, learner, sharding) for team in ("threads", "mpi"))
    assert (threads.plan.team == "mpi", mpi.plan.team == "mpi") == (False, True)
    assert bits(mpi) == bits(threads)
    assert mpi.losses == threads.losses
    assert mpi.accuracy == threads.accuracy
    assert (mpi.steps, mpi.rounds, mpi.examples, mpi.bytes_sent) == (
        threads.steps,
        threads.rounds,
        threads.examples,
        threads.bytes_sent,
    )


@pytest.mark.parametrize(("strategy", "team", "workers", "learner"), THREADS)
def test_counts_are_what_was_done(runner, strategy, team, workers, learner):
    result = trained(runner, strategy, team, workers, learner)
    steps = 5 * EPOCHS
    assert result.steps == steps
    assert result.rounds == (ROUNDS[strategy] if workers > 1 else 0)
    assert result.bytes_sent == result.rounds * result.model.learner.parameters.nbytes
    assert 103 * EPOCHS / workers <= result.examples <= (103 / workers + 5) * EPOCHS
    assert len(result.losses) == EPOCHS


@pytest.mark.parametrize(("strategy", "team", "workers", "learner"), family("threads"))
def test_nobody_works_more_than_its_share(runner, strategy, team, workers, learner):
    result = trained(runner, strategy, team, workers, learner)
    # Bootstrap trains a second time, on a tenth of the rows; Fisher information takes each of a worker's rows once.
    extra = 0.1 * EPOCHS if "bootstrap" in strategy else 1 if "fisher" in strategy else 0
    assert result.examples <= (103 / workers + 5) * EPOCHS + extra * (103 / workers + 5)
    assert result.rounds >= 1
    assert result.bytes_sent > 0
    assert len(result.losses) == EPOCHS


@pytest.mark.parametrize("strategy", ASYNCHRONOUS)
@pytest.mark.parametrize("workers", WORKERS)
def test_asynchronous_workers_do_their_part_and_learn(runner, strategy, workers):
    result = train(runner, strategy, "threads", workers, epochs=120)
    assert result.accuracy > 0.9
    assert 103 * 120 / workers <= result.examples <= (103 / workers + 5) * 120
    assert np.isfinite(result.model.learner.parameters).all()


@pytest.mark.parametrize(
    ("strategy", "team", "workers", "learner"),
    [
        *cases("threads", numbers=[1, 2]),
        *(
            case
            for case in family("threads")
            if not {"gradient:send=int8", "one-shot:merge=rebasin,starts=own"} & {case.values[0]}
        ),
    ],
)
def test_it_learns(runner, strategy, team, workers, learner):
    result = train(runner, strategy, team, workers, learner, epochs=120)
    assert result.accuracy > 0.9
    assert result.losses[-1] < 0.7 * result.losses[0]


@pytest.mark.parametrize(
    ("strategy", "learner"),
    [*zip([*STRATEGIES[1:], *FAMILY, *ASYNCHRONOUS], itertools.cycle(LEARNERS)), ("gradient", "relu-adam")],
)
def test_one_worker_is_sequential_to_the_bit(runner, strategy, learner):
    parsed = parse_strategy(strategy)
    if parsed.needs.passes > 1 or parsed.needs.acts_on_single_worker:
        pytest.skip("goes through its rows in another way, or has outer steps even alone, and says so")
    sequential = trained(runner, "sequential", learner=learner)
    # One-shot keeps fixed shares, and shuffles them in an order of its own; here everyone has the same.
    alone = train(runner, strategy, learner=learner, sharding="global")
    if strategy == "gradient":  # its step is two calls where run makes one, with the same arithmetic
        np.testing.assert_allclose(
            alone.model.learner.parameters, sequential.model.learner.parameters, rtol=1e-5, atol=1e-6
        )
    else:
        assert bits(alone) == bits(sequential)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("learner", LEARNERS)
def test_gradient_is_sequential_up_to_rounding(runner, workers, learner):
    # In double precision rounding is so small that any other difference would show.
    double = {"dtype": "float64"}
    sequential = train(runner, "sequential", learner=learner, network=double)
    shared = train(runner, "gradient", workers=workers, learner=learner, network=double)
    np.testing.assert_allclose(
        shared.model.learner.parameters, sequential.model.learner.parameters, rtol=1e-9, atol=1e-11
    )
    np.testing.assert_allclose(shared.losses, sequential.losses, rtol=1e-9)


@pytest.mark.parametrize("workers", WORKERS)
def test_gradient_ends_an_epoch_of_mnist_as_sequential_does(mnist, workers):
    settings = {"learner": "relu-adam", "network": {"hidden": (75,)}, "epochs": 1, "batch": 200, "seed": 0}
    with Runner(mnist) as on:
        sequential, shared = train(on, "sequential", **settings), train(on, "gradient", workers=workers, **settings)
    difference = np.abs(shared.model.learner.parameters - sequential.model.learner.parameters).max()
    assert difference < 1e-4


def test_a_global_batch_smaller_than_the_team_leaves_workers_idle_but_correct(runner):
    # 103 rows in batches of 4: the last batch has 3 rows for 4 workers, so one share is empty.
    double = {"network": {"dtype": "float64"}, "batch": 4}
    sequential, shared = train(runner, "sequential", **double), train(runner, "gradient", workers=4, **double)
    np.testing.assert_allclose(
        shared.model.learner.parameters, sequential.model.learner.parameters, rtol=1e-8, atol=1e-10
    )
    assert train(runner, "periodic:1epoch", workers=4, batch=4).steps == 26 * EPOCHS


@pytest.mark.parametrize(("strategy", "team", "workers", "learner"), THREADS)
def test_rounds_in_the_kernel_give_the_bits_of_rounds_in_python(blobs, strategy, team, workers, learner, monkeypatch):
    # A callback that asks for steps is called between rounds, so nothing is fused then; 250 rows at once make calls of
    # two epochs. (The team mpi never fuses: compiled code sends no messages.)
    monkeypatch.setattr("manyhands.training.stepping._ROWS_AT_ONCE", 250)
    settings = MLPSettings(**LEARNERS[learner])
    plan = resolve(
        RunSpec(strategy=strategy, team=team, workers=workers, network=settings, batch=BATCH, epochs=5, seed=3), blobs
    )
    fused, other = run(plan, blobs), run(plan, blobs, callbacks=[EventFunction(lambda event: None, "step")])
    assert (fused.rounds, fused.steps, fused.examples) == (other.rounds, other.steps, other.examples)
    assert fused.bytes_sent == other.bytes_sent
    assert bits(fused) == bits(other)
    assert fused.losses == other.losses


def test_every_strategy_is_in_the_table():
    listed = {name.partition(":")[0].partition("@")[0] for name in [*STRATEGIES, *FAMILY, *ASYNCHRONOUS]}
    assert listed == set(MAKERS) - {"sums"}  # of other learners: tests/training/test_sums.py


def test_seeds_differ(runner):
    assert bits(train(runner, "sequential", seed=1)) != bits(train(runner, "sequential", seed=2))


def test_fixed_shares_give_other_results_than_global_ones(runner):
    fixed, shared = (train(runner, "periodic:1epoch", workers=2, sharding=kind) for kind in ("fixed", "global"))
    assert bits(fixed) != bits(shared)
    assert train(runner, "one-shot", workers=2).plan.sharding == "fixed"
    assert train(runner, "one-shot", workers=2, sharding="global").plan.sharding == "global"


@pytest.fixture
def registered():
    """Register learners until the test ends."""
    names = []

    def add(name, maker):
        names.append(name)
        register(name, maker)

    yield add
    for name in names:
        del LEARNER_MAKERS[name]
        OTHER_LEARNERS.remove(name)


@pytest.fixture
def made(foreign, registered):
    """Register the learners that are not the MLP; by rank, those that the last run has made."""
    found = {}

    def maker(kind):
        def make(*network, rank, **others):
            found[rank] = kind(*network, rank=rank, **others)
            return found[rank]

        return make

    for name in FOREIGN:
        registered(name, maker(getattr(foreign, name)))
    return found


def train_foreign(blobs, kind, strategy, workers=1, callbacks=(), epochs=EPOCHS, start=None, team="threads", **network):
    settings = MLPSettings(learning_rate=0.1, **network)
    how = {"network": settings, "learner": kind, "batch": BATCH, "epochs": epochs, "seed": 3}
    plan = resolve(RunSpec(strategy=strategy, workers=workers, team=team, **how), blobs)
    return run(plan, blobs, callbacks=callbacks, start=start)


@pytest.mark.parametrize(
    ("strategy", "workers", "kind"),
    [
        *(("sequential", 1, kind) for kind in FOREIGN),
        *((each, n, FOREIGN[(place + n) % 2]) for place, each in enumerate(STRATEGIES[1:]) for n in (1, 2, 3)),
    ],
)
def test_learners_that_are_not_the_mlp_keep_the_contract(blobs, made, kind, strategy, workers):
    result = train_foreign(blobs, kind, strategy, workers)
    states = [made[rank].state() for rank in range(workers)]
    for name in ("parameters", "buffers"):
        assert len({state[name].tobytes() for state in states}) == 1
    assert bits(result) == states[0]["parameters"].tobytes()
    told = []
    again = train_foreign(blobs, kind, strategy, workers, [EventFunction(told.append, "round")])
    assert bits(again) == bits(result)
    assert again.losses == result.losses
    assert made[0].buffers.tobytes() == states[0]["buffers"].tobytes()
    held = sum(isinstance(event, RoundHeld) and event.rank == 0 for event in told)
    assert result.rounds == again.rounds == held == (ROUNDS[strategy] if workers > 1 else 0)
    assert result.steps == 5 * EPOCHS
    assert train_foreign(blobs, kind, strategy, workers, epochs=60).accuracy > 0.9


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_gradient_is_sequential_up_to_rounding_with_other_learners(blobs, made, kind, workers):
    alone = train_foreign(blobs, kind, "sequential", dtype="float64")
    shared = train_foreign(blobs, kind, "gradient", workers, dtype="float64")
    np.testing.assert_allclose(shared.model.learner.parameters, alone.model.learner.parameters, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("strategy", ["one-shot", "gradient"])
def test_buffers_are_averaged_by_examples(blobs, made, strategy):
    train_foreign(blobs, "Moments", strategy, 2, dtype="float64")
    before = [made[rank].before_round for rank in (0, 1)]
    assert not np.allclose(*before)
    counts = [51, 52] if strategy == "one-shot" else [4 * 12 + 1, 4 * 13 + 2]  # of 25 rows, and of the last three
    for learner in made.values():
        np.testing.assert_allclose(learner.buffers, np.average(before, axis=0, weights=counts), rtol=1e-12)


def test_a_learner_that_reports_other_rounds_than_it_was_given_is_refused(blobs, registered):
    class Forgetful(MLP):
        def run(self, table, order, rates, control, rounds=None):
            return RunOutcome(super().run(table, order, rates, control).losses)

    registered("forgetful", Forgetful)
    plan = resolve(
        RunSpec(strategy="periodic:1epoch", workers=2, learner="forgetful", batch=BATCH, epochs=EPOCHS), blobs
    )
    with pytest.raises(ManyhandsError, match="Forgetful was given 4 rounds and reports that it has held 0"):
        run(plan, blobs)


@pytest.mark.parametrize("kind", ["mlp", "published", "Moments"])
def test_a_state_has_buffers_and_gives_them_back(kind, made):
    one, other = (make_learner(kind, MLPSettings(hidden=(3,)), 2, 3) for _ in range(2))
    if kind != "Moments":  # these have none of their own
        one.buffers, other.buffers = np.array([1.5, -2.0], one.dtype), np.zeros(2, one.dtype)
    one.buffers += 0.25
    other.load_state(one.state())
    assert other.buffers.tobytes() == one.buffers.tobytes()
    assert not np.shares_memory(other.buffers, one.buffers)


def test_a_job_gives_buffers_back_and_a_file_keeps_them(blobs, made, monkeypatch, tmp_path):
    pytest.importorskip("mpi4py")
    threads = train_foreign(blobs, "Moments", "periodic:1epoch", 2)
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        f"sys.path.append({str(Path(__file__).parents[1] / 'learners')!r})\n"
        "from foreign import Moments\n"
        "from manyhands.learners import register\n"
        "register('Moments', Moments)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])))
    job = train_foreign(blobs, "Moments", "periodic:1epoch", 2, team="mpi")
    assert job.plan.team == "mpi"
    job.save(tmp_path / "model")
    for model in (job.model, load_model(tmp_path / "model")):
        assert model.learner.parameters.tobytes() == threads.model.learner.parameters.tobytes()
        assert model.learner.buffers.tobytes() == threads.model.learner.buffers.tobytes()
        assert model.kind == "Moments"


def test_workers_begin_with_the_same_buffers_and_those_of_the_run_that_they_go_on_with(blobs, made):
    first = train_foreign(blobs, "Moments", "gradient", 2)
    assert made[0].at_start.tobytes() == made[1].at_start.tobytes()
    assert made[0].at_start.tobytes() != made[0].buffers.tobytes()
    start = first.model.learner.state()
    train_foreign(blobs, "Moments", "gradient", 2, start=start)
    assert {made[rank].at_start.tobytes() for rank in (0, 1)} == {start["buffers"].tobytes()}
