"""Who has which rows: every row once, shares of one size, and mixtures as unlike as they were asked to be."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.core.errors import SettingsError
from manyhands.data.partitioning import EXAMPLES, SHARES, Partition, parse_partition

quick = settings(deadline=None, max_examples=100)
texts = st.one_of(
    st.sampled_from(["stored", "iid", "sorted", "dirichlet:1e-6", "dirichlet:1e6"]),
    st.floats(0.001, 100).map(lambda alpha: f"dirichlet:{alpha:.3g}"),
)


@st.composite
def cases(draw: st.DrawFn):
    """Draw labels, some of whose classes may be missing, 1 to as many workers as rows, a seed."""
    labels = draw(st.lists(st.integers(0, 7), min_size=1, max_size=120))
    return np.array(labels, np.int32), draw(st.integers(1, min(len(labels), 20))), draw(st.integers(0, 2**40))


def mixtures(shares, labels):
    """Return the part of each class in each share, shape (n, K)."""
    counts = np.array([np.bincount(labels[share], minlength=labels.max() + 1) for share in shares])
    return counts / counts.sum(axis=1, keepdims=True)


def effective_classes(mixture):
    """Return 1 for a share of one class, K for one of K classes alike."""
    return 1 / (mixture**2).sum(axis=-1)


@quick
@given(texts, cases())
def test_every_row_is_in_exactly_one_share(text, case):
    shares = parse_partition(text).divide(*case)
    assert len(shares) == case[1]
    assert sorted(np.concatenate(shares).tolist()) == list(range(len(case[0])))
    assert all(np.issubdtype(share.dtype, np.integer) for share in shares)


@quick
@given(texts, cases())
def test_shares_are_of_the_sizes_of_consecutive_ones(text, case):
    rows, workers = len(case[0]), case[1]
    sizes = [len(share) for share in parse_partition(text).divide(*case)]
    assert sizes == [(r + 1) * rows // workers - r * rows // workers for r in range(workers)]
    assert max(sizes) - min(sizes) <= 1


@quick
@given(texts, cases())
def test_the_same_seed_gives_the_same_shares(text, case):
    one, other = (parse_partition(text).divide(*case) for _ in range(2))
    assert [share.tolist() for share in one] == [share.tolist() for share in other]


@quick
@given(texts, st.integers(1, 40))
def test_as_many_workers_as_rows_get_one_row_each(text, rows):
    shares = parse_partition(text).divide(np.arange(rows, dtype=np.int32) % 3, rows, 0)
    assert [len(share) for share in shares] == [1] * rows


@pytest.mark.parametrize("text", ["iid", "dirichlet:0.5"])
def test_other_seeds_give_other_shares(text):
    labels = np.arange(60, dtype=np.int32) % 3
    drawn = {tuple(parse_partition(text).divide(labels, 2, seed)[0].tolist()) for seed in range(5)}
    assert len(drawn) == 5


@pytest.mark.parametrize("text", ["stored", "sorted"])
def test_what_is_not_drawn_does_not_depend_on_the_seed(text):
    labels = np.arange(60, dtype=np.int32) % 7
    one, other = (parse_partition(text).divide(labels, 4, seed) for seed in (0, 1))
    assert [share.tolist() for share in one] == [share.tolist() for share in other]


def test_shares_as_stored_are_consecutive_rows():
    # 7 rows for 3 workers: 7/3 = 2.33 and 14/3 = 4.67 are cut off to 2 and 4.
    shares = Partition().divide(np.zeros(7, np.int32), 3, 0)
    assert [share.tolist() for share in shares] == [[0, 1], [2, 3], [4, 5, 6]]


def test_sorted_shares_by_hand():
    # Rows of class 0: 2, 5; of class 1: 0, 3, 6; of class 2: 1, 4. In this order they are cut after 2 and 4.
    shares = parse_partition("sorted").divide(np.array([1, 2, 0, 1, 2, 0, 1], np.int32), 3, 0)
    assert [share.tolist() for share in shares] == [[2, 5], [0, 3], [6, 1, 4]]


@quick
@given(cases())
def test_sorted_shares_are_sorted(case):
    labels = case[0]
    ordered = np.concatenate([labels[share] for share in parse_partition("sorted").divide(*case)])
    assert (np.diff(ordered) >= 0).all()


def test_random_shares_are_mixed():
    # 3 classes one after the other, 900 rows, 3 workers: every share should have about 100 of each, as stored it has
    # 300 of one. The standard deviation of a count is below sqrt(300 / 3 * 2 / 3) = 8.2.
    labels = np.repeat(np.arange(3), 300).astype(np.int32)
    counts = 300 * mixtures(parse_partition("iid").divide(labels, 3, 0), labels)
    assert np.abs(counts - 100).max() < 5 * 8.2
    assert np.abs(counts - 100).max() > 0


# One worker per class, or several: a mixture of one class fills a share of at most as many rows as the class has.
@pytest.mark.parametrize("workers", [10, 20])
def test_a_small_alpha_gives_few_classes(workers):
    labels = np.repeat(np.arange(10), 100).astype(np.int32)
    for seed in range(5):
        first = parse_partition("dirichlet:0.001").divide(labels, workers, seed)[0]
        assert len(np.unique(labels[first])) <= 2


@pytest.mark.parametrize("workers", [2, 5, 10])
def test_the_smaller_alpha_the_less_alike(workers):
    """Also where a share has more rows than a class: two workers and ten classes of the same size.

    The first worker's share is what counts: the last one gets what the others have left. Of 1000 rows in ten classes
    of 100, the first of two workers needs five classes at least for its 500 rows.
    """
    labels = np.repeat(np.arange(10), 100).astype(np.int32)
    spread = {
        alpha: np.mean(
            [
                effective_classes(
                    mixtures(parse_partition(f"dirichlet:{alpha}").divide(labels, workers, seed), labels)[0]
                )
                for seed in range(20)
            ]
        )
        for alpha in (0.01, 1, 100)
    }
    assert spread[0.01] < spread[1] < spread[100]


def test_a_large_alpha_gives_the_mixture_of_the_data():
    # 60, 30 and 10 % of 4000 rows, 4 workers: of 1000 rows, the standard deviation is at most
    # sqrt(0.6 * 0.4 / 1000) = 1.5 %; the last worker gets what is left, and so at most three times as much.
    labels = np.repeat(np.arange(3), [2400, 1200, 400]).astype(np.int32)
    found = mixtures(parse_partition("dirichlet:1e6").divide(labels, 4, 0), labels)
    np.testing.assert_allclose(found[:3], [[0.6, 0.3, 0.1]] * 3, atol=4 * 0.015)
    np.testing.assert_allclose(found[3], [0.6, 0.3, 0.1], atol=8 * 0.015)
    assert (mixtures(parse_partition("dirichlet:0.1").divide(labels, 4, 0), labels).max(axis=1) > 0.75).any()


def test_the_mixture_is_drawn_around_that_of_the_data():
    # The mean of Dirichlet(alpha p) is p; over 400 seeds its standard error is below sqrt(p (1 - p) / 2 / 400) = 1.7 %.
    labels = np.repeat(np.arange(3), [600, 300, 100]).astype(np.int32)
    found = np.mean([mixtures(parse_partition("dirichlet:1").divide(labels, 10, s), labels)[0] for s in range(400)], 0)
    np.testing.assert_allclose(found, [0.6, 0.3, 0.1], atol=4 * 0.02)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("stored", "stored"),
        (" iid ", "iid"),
        ("sorted", "sorted"),
        ("dirichlet:0.3", "dirichlet:0.3"),
        ("dirichlet: 30e-2 ", "dirichlet:0.3"),
        ("dirichlet:1000000", "dirichlet:1e+06"),
        ("dirichlet:1e-6", "dirichlet:1e-06"),
    ],
)
def test_text_becomes_shares(text, name):
    assert float(parse_partition(text).name.partition(":")[2] or 0) == float(name.partition(":")[2] or 0)
    assert parse_partition(text).name.partition(":")[0] == name.partition(":")[0]
    assert parse_partition(parse_partition(text).name) == parse_partition(text)


def test_names_keep_every_digit():
    assert parse_partition(parse_partition("dirichlet:0.12345678").name) == parse_partition("dirichlet:0.12345678")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "random",
        "stored:",
        "stored:1",
        "sorted:2",
        "dirichlet",
        "dirichlet:",
        "dirichlet:0",
        "dirichlet:-1",
        "dirichlet:nan",
        "dirichlet:inf",
        "dirichlet:1e-7",
        "dirichlet:1e7",
        "dirichlet:few",
        "dirichlet:alpha=1",
        "dirichlet:1,2",
    ],
)
def test_mistakes_are_named_and_shown_how_to_mend(text):
    with pytest.raises(SettingsError, match=r"partition.*dirichlet:0\.3"):
        parse_partition(text)


@given(st.one_of(st.text(max_size=20), st.text(max_size=10).map("dirichlet:{}".format)))
def test_any_text_gives_shares_or_a_typed_error(text):
    with contextlib.suppress(SettingsError):
        assert parse_partition(text).kind in SHARES


def test_every_kind_is_among_the_examples():
    assert [parse_partition(text).kind for text in EXAMPLES.split(", ")] == list(SHARES)
