"""The cost model, worked by hand, and what `auto` makes of it."""

from dataclasses import replace

import numpy as np
import pytest

from manyhands.core.grid import Grid
from manyhands.data.dataset import Examples, make_dataset
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.training import levels
from manyhands.training.levels import LATENCY, MEMORY, RATE, TRAFFIC, WAITING, costs
from manyhands.training.resolve import resolve
from manyhands.training.spec import RunSpec

WIDE = (784, 2048, 2048, 10)


def of(network, widths, batch, workers, shared=True, **others):
    return {cost.grid.name: cost for cost in costs(network, widths, batch, workers, shared, **others)}


def test_a_step_of_one_worker_by_hand():
    (alone,) = costs(MLPSettings((2048, 2048)), WIDE, 200, 1, True)
    first, others = 784 * 2048, 2048 * 2048 + 2048 * 10
    assert alone.operations == 200 * (4 * first + 6 * others)
    assert alone.memory == 11 * (4 * (first + others) - 2**21)
    assert (alone.exchanges, alone.sent) == (0, 0)
    assert alone.seconds == pytest.approx(alone.operations / RATE + alone.memory / MEMORY)


def test_pairs_by_hand():
    pairs = of(MLPSettings((2048, 2048)), WIDE, 200, 2, False)["data=1,pairs=2"]
    halves, last = (784 * 2048 + 2048 * 2048) / 2, 2048 * 10
    assert pairs.operations == 200 * (4 * 784 * 1024 + 6 * (2048 * 1024 + last))
    assert pairs.memory == pytest.approx(11 * (4 * (halves + last) - 2**21))
    assert pairs.exchanges == 2  # one sum, and another meeting, so that nobody is a step ahead
    assert pairs.sent == 4 * 200 * 2 * 2048  # what both have of the sums of the second layer
    computing = (pairs.operations / RATE + pairs.memory / MEMORY) * (1 + 2 * WAITING)
    assert pairs.seconds == pytest.approx(computing + 2 * LATENCY[False] + pairs.sent / TRAFFIC[False])


def test_rounds_of_gradients_cost_exemplar_parallelism_only():
    network = MLPSettings((2048, 2048))
    rare, every = of(network, WIDE, 200, 4), of(network, WIDE, 200, 4, averages=lambda grid: True)
    assert every["data=4"].seconds > rare["data=4"].seconds
    assert every["data=2,node=2"].sent > rare["data=2,node=2"].sent
    assert every["data=1,node=4"] == rare["data=1,node=4"]


def test_all_grids_of_so_many_workers():
    assert list(of(MLPSettings((8,)), (20, 8, 3), 10, 4)) == [
        "data=4",
        *(f"data=2,{level}=2" for level in ("node", "weight", "pairs")),
        *(f"data=1,{level}=4" for level in ("node", "weight", "pairs")),
    ]
    assert list(of(MLPSettings((3,)), (20, 3, 3), 10, 4)) == [
        "data=4", "data=2,node=2", "data=2,weight=2", "data=2,pairs=2",
    ]  # fmt: skip
    assert list(of(MLPSettings(()), (20, 3), 10, 2)) == ["data=2", "data=1,weight=2"]


@pytest.fixture(scope="module")
def wide_rows():
    rng = np.random.default_rng(0)
    features, labels = rng.integers(0, 256, (400, 784), np.uint8), np.arange(400) % 10
    return make_dataset("wide", Examples(features, labels), Examples(features[:20], labels[:20]))


def grid_of(dataset, **settings):
    plan = resolve(RunSpec().changed(**{"workers": 2, "strategy": "auto", **settings}), dataset)
    return plan.grid, plan


def test_auto_divides_wide_networks_and_says_why(wide_rows, monkeypatch):
    monkeypatch.setattr(levels, "usable_cores", lambda: 2)
    grid, plan = grid_of(wide_rows, hidden=(2048, 2048))
    assert grid.divides
    assert grid.size == 2
    assert plan.strategy.name == "sequential"
    assert plan.chosen_by_auto
    for words in (grid.name, "MB of parameters", "exchange"):
        assert words in plan.why
    assert grid_of(wide_rows, hidden=(75,))[0] == Grid(2)
    assert "not divided" in grid_of(wide_rows, hidden=(75,))[1].why


def test_auto_leaves_alone_what_was_asked_for(wide_rows, monkeypatch):
    monkeypatch.setattr(levels, "usable_cores", lambda: 2)
    wide = {"hidden": (2048, 2048)}
    assert grid_of(wide_rows, **wide, grid="data=2")[0] == Grid(2)
    assert grid_of(wide_rows, **wide, strategy="gradient")[0] == Grid(2)
    assert grid_of(wide_rows, **wide, sharding="fixed")[0] == Grid(2)
    monkeypatch.setattr(levels, "usable_cores", lambda: 1)  # two workers that wait for each other need two cores
    assert grid_of(wide_rows, **wide)[0] == Grid(2)


def test_the_result_of_auto_is_that_of_the_grid_it_names(wide_rows, monkeypatch):
    from manyhands.training.run import run

    monkeypatch.setattr(levels, "usable_cores", lambda: 2)
    monkeypatch.setattr(levels, "_CACHE", 0)
    monkeypatch.setattr(levels, "_WORTH", 1e9)
    plan = resolve(RunSpec(workers=2, strategy="auto", epochs=2, network=MLPSettings((40, 30))), wide_rows)
    assert plan.grid.divides
    again = resolve(replace(RunSpec(), workers=2, strategy="auto", grid=plan.grid, epochs=2,
                            network=MLPSettings((40, 30))), wide_rows)  # fmt: skip
    first, second = run(plan, wide_rows), run(again, wide_rows)
    assert first.model.learner.parameters.tobytes() == second.model.learner.parameters.tobytes()
