"""Texts of grids, the places of workers in them, and what cannot be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.core.errors import SettingsError
from manyhands.core.grid import LEVELS, Grid, parse_grid


@given(st.none() | st.integers(1, 9), st.sampled_from(LEVELS), st.integers(2, 9))
def test_a_grid_is_read_as_it_is_written(data, level, parts):
    grid = Grid(data, level, parts)
    assert parse_grid(grid.name) == grid


@given(st.integers(1, 6), st.sampled_from(LEVELS), st.integers(1, 6))
def test_every_worker_has_one_place(data, level, parts):
    grid = Grid(data, level, parts)
    ranks = range(grid.size)
    assert sorted(grid.place_of(rank) for rank in ranks) == [
        (group, own) for group in range(data) for own in range(parts)
    ]
    for rank in ranks:
        assert rank in grid.group_of(rank)
        assert rank in grid.peers_of(rank)
        assert set(grid.group_of(rank)) & set(grid.peers_of(rank)) == {rank}
        assert len(grid.group_of(rank)) == parts
        assert len(grid.peers_of(rank)) == data


def test_what_is_left_out_follows_from_the_number_of_workers():
    assert parse_grid("node=2").filled(6) == Grid(3, "node", 2)
    assert parse_grid("node=2").filled(None) == Grid(1, "node", 2)
    assert parse_grid("data=2 , weight=3").filled(6).name == "data=2,weight=3"
    assert parse_grid("data=4").filled(4) == Grid(4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nodes=2", "did you mean .node"),
        ("node", "needs a number"),
        ("node=0", "needs a number"),
        ("node=2,node=2", "twice"),
        ("node=2,weight=2", "one level"),
        ("", "unknown level"),
    ],
)
def test_texts_that_name_no_grid(text, words):
    with pytest.raises(SettingsError, match=words):
        parse_grid(text)


@pytest.mark.parametrize(("text", "workers"), [("node=2", 3), ("node=2", 1), ("data=2,node=2", 6), ("data=3", 2)])
def test_numbers_that_do_not_fit(text, workers):
    with pytest.raises(SettingsError, match="multiply to the number of workers"):
        parse_grid(text).filled(workers)
