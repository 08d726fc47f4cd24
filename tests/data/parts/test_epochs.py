"""Orders of shares in parts: every row once, never more than two windows at a time."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.data.parts.description import Drawn, Part, State, Table, pieces_between, row_blocks
from manyhands.data.parts.epochs import WindowPlan

SIZES = st.lists(st.integers(1, 90), min_size=1, max_size=9)


def table_of(sizes, at_once, drawn=None):
    """A table of parts of so many rows, whose files are not there."""
    state = (State(0, 0, 0),)
    parts = [Part("csv", (Path("x"),), state, size, {}, row_blocks(size, at_once)) for size in sizes]
    return Table(tuple(parts), drawn)


def share(table, rank, size, **settings):
    """The plan of a worker's windows."""
    pieces = pieces_between(table, rank * table.rows // size, (rank + 1) * table.rows // size)
    return WindowPlan(pieces, rank=rank, **{"row_bytes": 8, "batch": 5, "seed": 3, "window_bytes": 200, **settings})


def numbers_of(table, epoch, room):
    """The numbers of the rows in the order in which an epoch uses them: what a ring would hold, window by window."""
    starts = table.ends - table.counts
    used, begin = [], 0
    for place, (pieces, end) in enumerate(zip(epoch.windows, epoch.ends, strict=True)):
        here = np.concatenate([np.arange(p.begin, p.end) + starts[p.block] for p in pieces] or [np.zeros(0, int)])
        used.append(here[epoch.rows[begin:end] - place % 2 * room])
        begin = end
    return np.concatenate(used)


@settings(max_examples=150, deadline=None)
@given(
    sizes=SIZES,
    at_once=st.integers(1, 40),
    workers=st.integers(1, 4),
    batch=st.integers(1, 30),
    epoch=st.integers(0, 3),
)
def test_every_row_is_used_exactly_once_and_a_batch_lies_in_two_windows(sizes, at_once, workers, batch, epoch):
    table = table_of(sizes, at_once)
    used = []
    for rank in range(workers):
        plan = share(table, rank, workers, batch=batch)
        order = plan.epoch(epoch)
        used.append(numbers_of(table, order, plan.room))
        windows = np.diff(np.concatenate([[0], order.ends]))
        assert plan.count % 2 == 0
        assert windows.max() <= plan.room
        assert plan.count == 2 or windows[:-1].min() >= batch
    assert sorted(np.concatenate(used).tolist()) == list(range(sum(sizes)))


def test_order_is_a_function_of_seed_epoch_and_worker():
    table = table_of([300, 250], 20)
    orders = [numbers_of(table, plan.epoch(epoch), plan.room) for plan, epoch in (
        (share(table, 0, 2), 0), (share(table, 0, 2), 0), (share(table, 0, 2), 1), (share(table, 0, 2, seed=4), 0)
    )]  # fmt: skip
    assert (orders[0] == orders[1]).all()
    assert (orders[0] != orders[2]).any()
    assert (orders[0] != orders[3]).any()
    unshuffled = share(table, 1, 2, shuffle=False)
    assert (numbers_of(table, unshuffled.epoch(5), unshuffled.room) == np.arange(275, 550)).all()


@settings(max_examples=60, deadline=None)
@given(sizes=SIZES, at_once=st.integers(1, 40), seed=st.integers(0, 5), data=st.data())
def test_drawn_rows_and_the_others_are_all_rows(sizes, at_once, seed, data):
    count = data.draw(st.integers(0, sum(sizes)))
    both = [table_of(sizes, at_once, Drawn(seed, count, test)) for test in (False, True)]
    assert [table.rows for table in both] == [sum(sizes) - count, count]
    for number, (_, block) in enumerate(both[0].blocks):
        chosen = [table.chosen(number) for table in both]
        assert [len(each) for each in chosen] == [int(table.counts[number]) for table in both]
        assert sorted(np.concatenate(chosen).tolist()) == list(range(block.rows))
