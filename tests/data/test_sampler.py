"""The order of the examples: the number of workers changes who uses a row, never when."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.core.errors import SettingsError
from manyhands.core.samples import Order
from manyhands.core.types import Sharding
from manyhands.data.sampler import BatchSampler, check_batch

quick = settings(deadline=None, max_examples=100)


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    """Draw rows N, global batch B <= N, workers n <= B, seed, epoch."""
    rows = draw(st.integers(1, 200))
    batch = draw(st.integers(1, rows))
    workers = draw(st.integers(1, min(batch, 9)))
    return rows, batch, workers, draw(st.integers(0, 2**40)), draw(st.integers(0, 99))


def orders(rows: int, batch: int, workers: int, seed: int, epoch: int, sharding: Sharding = "global") -> list[Order]:
    return [BatchSampler(rows, batch, rank, workers, sharding, seed).epoch(epoch) for rank in range(workers)]


def step(order: Order, number: int) -> list[int]:
    return order.rows[order.bounds[number] : order.bounds[number + 1]].tolist()


def permutation(case: tuple[int, int, int, int, int]) -> list[int]:
    """Return what one worker alone would use, in its order."""
    rows, batch, _, seed, epoch = case
    return orders(rows, batch, 1, seed, epoch)[0].rows.tolist()


@quick
@given(cases())
def test_global_one_worker_uses_every_row_once(case):
    assert sorted(permutation(case)) == list(range(case[0]))


@quick
@given(cases())
def test_global_the_workers_of_a_step_share_the_global_batch_in_rank_order(case):
    rows, batch, workers, *_ = case
    perm = permutation(case)
    for number, begin in enumerate(range(0, rows, batch)):
        whole = perm[begin : begin + batch]
        b = len(whole)
        for r, order in enumerate(orders(*case)):
            assert step(order, number) == whole[r * b // workers : (r + 1) * b // workers]
            assert order.global_rows[number] == b


@quick
@given(cases(), st.integers(1, 200))
def test_global_the_permutation_depends_on_seed_and_epoch_alone(case, batch):
    rows, _, _, seed, epoch = case
    assert permutation((rows, min(batch, rows), 1, seed, epoch)) == permutation(case)


@quick
@given(cases())
def test_fixed_each_worker_uses_its_own_contiguous_share_once(case):
    rows, _, n, *_ = case
    for r, order in enumerate(orders(*case, sharding="fixed")):
        assert sorted(order.rows.tolist()) == list(range(r * rows // n, (r + 1) * rows // n))
        assert order.bounds[0] == 0
        assert order.bounds[-1] == len(order.rows)


@quick
@given(cases())
def test_fixed_a_worker_spreads_its_share_evenly_over_the_steps(case):
    rows, batch, *_ = case
    for order in orders(*case, sharding="fixed"):
        full = np.diff(order.bounds)[: rows // batch]
        assert full.max() - full.min() <= 1
        assert abs(full.mean() - len(order.rows) * batch / rows) <= 1


@quick
@given(cases(), st.sampled_from(["global", "fixed"]))
def test_all_workers_take_the_same_number_of_steps(case, sharding):
    rows, batch, *_ = case
    steps = -(-rows // batch)
    assert {order.steps for order in orders(*case, sharding=sharding)} == {steps}
    assert BatchSampler(rows, batch, 0, 1, sharding, 0).steps_per_epoch == steps


@quick
@given(cases(), st.sampled_from(["global", "fixed"]))
def test_the_arrays_are_as_the_contract_says(case, sharding):
    for order in orders(*case, sharding=sharding):
        assert (order.rows.dtype, order.bounds.dtype, order.global_rows.dtype) == (np.int32, np.int64, np.int32)
        assert order.rows.flags.c_contiguous
        assert (np.diff(order.bounds) >= 0).all()
        assert order.examples == len(order.rows)
        assert order.global_rows.sum() == case[0]


@pytest.mark.parametrize("sharding", ["global", "fixed"])
def test_an_epoch_is_the_same_whichever_came_before(sharding):
    used = BatchSampler(50, 10, 1, 3, sharding, 7)
    used.epoch(0)
    np.testing.assert_array_equal(used.epoch(4).rows, BatchSampler(50, 10, 1, 3, sharding, 7).epoch(4).rows)


@pytest.mark.parametrize("sharding", ["global", "fixed"])
def test_no_two_epochs_or_seeds_shuffle_alike(sharding):
    keys = [(seed, epoch) for seed in (7, 8) for epoch in (0, 1)]
    shuffles = {tuple(BatchSampler(50, 10, 0, 1, sharding, seed).epoch(epoch).rows.tolist()) for seed, epoch in keys}
    assert len(shuffles) == 4


def test_fixed_no_two_workers_shuffle_alike():
    first, second = orders(100, 10, 2, 0, 0, "fixed")
    assert first.rows.tolist() != (second.rows - 50).tolist()


def test_global_one_small_case_by_hand():
    # 5 rows, batch 4, 3 workers: of 4 rows the slices are [0,1) [1,2) [2,4), of the last row [0,0) [0,0) [0,1).
    perm = permutation((5, 4, 1, 0, 0))
    assert [[step(order, s) for s in (0, 1)] for order in orders(5, 4, 3, 0, 0)] == [
        [perm[:1], []],
        [perm[1:2], []],
        [perm[2:4], perm[4:]],
    ]


@pytest.mark.parametrize(
    ("rows", "batch", "workers", "problem"),
    [
        (10, 11, 1, "between 1 and the 10 training rows, not 11"),
        (10, 0, 1, "between 1 and the 10 training rows, not 0"),
        (10, 4, 5, "5 workers cannot share a global batch of 4 rows"),
        (10, 4, 0, "number of workers must be at least 1, not 0"),
    ],
)
def test_what_cannot_be_shared_is_a_settings_error_with_its_numbers(rows, batch, workers, problem):
    for check in (lambda: check_batch(rows, batch, workers), lambda: BatchSampler(rows, batch, 0, workers, "fixed", 0)):
        with pytest.raises(SettingsError, match=problem):
            check()


@pytest.mark.parametrize(("rows", "batch", "workers"), [(1, 1, 1), (10, 10, 10), (10, 4, 4)])
def test_the_extremes_that_can_be_shared_are_allowed(rows, batch, workers):
    check_batch(rows, batch, workers)


@pytest.mark.parametrize("sharding", ["global", "fixed"])
@pytest.mark.parametrize(("rows", "batch", "rank", "size"), [(103, 25, 1, 3), (12, 4, 0, 1), (7, 4, 3, 4)])
def test_several_epochs_in_one_are_those_epochs_end_to_end(sharding, rows, batch, rank, size):
    schedule = BatchSampler(rows, batch, rank, size, sharding, seed=2)
    joined, steps = schedule.epochs(1, 3), schedule.steps_per_epoch
    assert joined.steps == 3 * steps
    for number in range(3):
        epoch = schedule.epoch(1 + number)
        for step in range(steps):
            at = number * steps + step
            assert joined.global_rows[at] == epoch.global_rows[step]
            found = joined.rows[joined.bounds[at] : joined.bounds[at + 1]]
            assert found.tolist() == epoch.rows[epoch.bounds[step] : epoch.bounds[step + 1]].tolist()


@st.composite
def repeated(draw: st.DrawFn) -> tuple[BatchSampler, BatchSampler, int, int]:
    """Draw a worker's schedule with several passes, the same with one, the passes and an epoch."""
    rows, batch, workers, seed, epoch = draw(cases())
    sharding, passes = draw(st.sampled_from(["global", "fixed"])), draw(st.integers(2, 12))
    rank = draw(st.integers(0, workers - 1))
    both = [BatchSampler(rows, batch, rank, workers, sharding, seed, passes=number) for number in (passes, 1)]
    return both[0], both[1], passes, epoch


class TestPasses:
    """Several passes over a draw: the cost of an epoch stays, and each pass has the same rows."""

    @quick
    @given(repeated())
    def test_each_pass_is_a_permutation_of_the_same_draw(self, case):
        several, _, passes, epoch = case
        used = several.epoch(epoch).rows.tolist()
        size = -(-len(used) // passes)
        drawn = used[:size]
        assert len(set(drawn)) == size  # without replacement
        for begin in range(0, len(used), size):
            whole = used[begin : begin + size]
            assert len(set(whole)) == len(whole)
            assert set(whole) <= set(drawn)  # equal, but for the last one, which may be cut off

    @quick
    @given(repeated())
    def test_the_draw_is_of_what_the_worker_would_use_in_that_epoch(self, case):
        several, once, passes, epoch = case
        rows = once.epoch(epoch).rows
        size = -(-len(rows) // passes)
        assert set(several.epoch(epoch).rows.tolist()) == set(rows[:size].tolist())

    @quick
    @given(repeated())
    def test_batches_and_their_sizes_are_those_of_any_epoch(self, case):
        several, once, _, epoch = case
        order, plain = several.epoch(epoch), once.epoch(epoch)
        assert len(order.rows) == len(plain.rows)
        assert order.bounds.tolist() == plain.bounds.tolist()
        assert order.global_rows.tolist() == plain.global_rows.tolist()
        assert order.rows.dtype == np.int32
        assert order.rows.flags.c_contiguous

    @pytest.mark.parametrize("sharding", ["global", "fixed"])
    def test_one_pass_is_the_epoch_as_it_was(self, sharding):
        plain = BatchSampler(103, 25, 1, 3, sharding, 7)
        once = BatchSampler(103, 25, 1, 3, sharding, 7, passes=1)
        for number in range(3):
            assert once.epoch(number).rows.tolist() == plain.epoch(number).rows.tolist()

    def test_one_small_case_by_hand(self):
        # Worker 1 of 2 has rows 5..9 of 10. Two passes: ceil(5 / 2) = 3 rows drawn, the second pass ends after 2.
        used = BatchSampler(10, 4, 1, 2, "fixed", 3, passes=2).epoch(0).rows.tolist()
        assert len(used) == 5
        assert set(used) <= set(range(5, 10))
        assert len(set(used[:3])) == 3
        assert set(used[3:]) < set(used[:3])

    @pytest.mark.parametrize("workers", [1, 2, 3, 7])
    def test_fixed_shares_stay_apart(self, workers):
        for epoch in range(5):
            used = [
                set(BatchSampler(103, 25, rank, workers, "fixed", 7, passes=5).epoch(epoch).rows.tolist())
                for rank in range(workers)
            ]
            assert sum(map(len, used)) == len(set.union(*used))

    def test_workers_with_a_table_of_their_own_count_from_its_first_row(self):
        whole = BatchSampler(103, 25, 1, 3, "fixed", 7, passes=5).epoch(2).rows
        own = BatchSampler(103, 25, 1, 3, "fixed", 7, first_row=34, passes=5).epoch(2).rows
        assert (own + 34).tolist() == whole.tolist()

    @pytest.mark.parametrize("sharding", ["global", "fixed"])
    def test_it_is_the_same_whichever_epoch_came_before(self, sharding):
        used = BatchSampler(50, 10, 1, 3, sharding, 7, passes=5)
        used.epoch(0)
        assert used.epoch(4).rows.tolist() == BatchSampler(50, 10, 1, 3, sharding, 7, passes=5).epoch(4).rows.tolist()

    @pytest.mark.parametrize("sharding", ["global", "fixed"])
    def test_passes_epochs_and_seeds_shuffle_differently(self, sharding):
        shuffles = set()
        for seed in (7, 8):
            for epoch in (0, 1):
                used = BatchSampler(100, 10, 0, 1, sharding, seed, passes=5).epoch(epoch).rows
                shuffles |= {tuple(used[begin : begin + 20].tolist()) for begin in range(0, 100, 20)}
        assert len(shuffles) == 20

    @pytest.mark.parametrize("sharding", ["global", "fixed"])
    def test_every_epoch_draws_anew_until_all_rows_were_used(self, sharding):
        schedule = BatchSampler(60, 10, 0, 2, sharding, 7, passes=5)
        draws = [frozenset(schedule.epoch(number).rows.tolist()) for number in range(60)]
        assert len(set(draws)) > 50
        # A row stays out of 60 draws with a chance of 0.8^60 = 1.5e-6 (fixed) or 0.9^60 = 0.002 (global).
        assert len(frozenset.union(*draws)) >= (30 if sharding == "fixed" else 58)

    @pytest.mark.parametrize("sharding", ["global", "fixed"])
    def test_several_epochs_in_one_are_those_epochs_end_to_end(self, sharding):
        schedule = BatchSampler(103, 25, 1, 3, sharding, 2, passes=5)
        joined = schedule.epochs(1, 3).rows.tolist()
        assert joined == [row for number in (1, 2, 3) for row in schedule.epoch(number).rows.tolist()]

    def test_more_passes_than_rows_go_through_one_row(self):
        used = BatchSampler(10, 4, 1, 2, "fixed", 3, passes=9).epoch(0).rows.tolist()
        assert len(used) == 5
        assert len(set(used)) == 1

    def test_passes_beyond_the_epoch_cost_nothing(self):
        schedule = BatchSampler(10, 4, 1, 2, "fixed", 3, passes=50_000)
        tracemalloc.start()
        try:
            used = schedule.epoch(0).rows
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(used) == 5
        assert peak < 1_000_000  # bytes; a pass that nobody takes needs none


# Runs that go on, and rows as they are stored.


@pytest.mark.parametrize("sharding", ["global", "fixed"])
@pytest.mark.parametrize("passes", [1, 3])
def test_a_run_that_goes_on_has_the_orders_that_follow(sharding, passes):
    whole = BatchSampler(103, 25, 1, 3, sharding, 7, passes=passes)
    later = BatchSampler(103, 25, 1, 3, sharding, 7, passes=passes, first_epoch=4)
    for epoch in range(3):
        np.testing.assert_array_equal(later.epoch(epoch).rows, whole.epoch(4 + epoch).rows)
    np.testing.assert_array_equal(later.epochs(1, 2).rows, whole.epochs(5, 2).rows)


@pytest.mark.parametrize("workers", [1, 3])
def test_without_shuffling_global_batches_are_consecutive_rows(workers):
    orders = [BatchSampler(23, 10, rank, workers, "global", 7, shuffle=False).epoch(2) for rank in range(workers)]
    for step, rows in enumerate([range(10), range(10, 20), range(20, 23)]):
        used = [order.rows[order.bounds[step] : order.bounds[step + 1]] for order in orders]
        assert np.concatenate(used).tolist() == list(rows)


def test_without_shuffling_shares_are_gone_through_from_the_beginning():
    for first_row in (0, 8):
        order = BatchSampler(24, 6, 1, 3, "fixed", 7, first_row, shuffle=False).epoch(5)
        assert order.rows.tolist() == list(range(8 - first_row, 16 - first_row))
    assert BatchSampler(4, 2, 1, 2, "fixed", 7, share=np.array([3, 0]), shuffle=False).epoch(0).rows.tolist() == [3, 0]
