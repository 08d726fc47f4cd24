"""What a user may have meant."""

import pytest

from manyhands.core.suggestions import choice_of, did_you_mean, nearest

KNOWN = ("sequential", "one-shot", "periodic", "gradient")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("gradiant", "gradient"),
        ("Gradient", "gradient"),
        ("one_shot", "one-shot"),
        ("oneshot", "one-shot"),
        ("seq", "sequential"),
        ("allreduce", "gradient"),
        ("s", None),
        ("", None),
        ("-", None),
        ("telepathy", None),
    ],
)
def test_the_nearest_word(word, meant):
    assert nearest(word, KNOWN) == meant
    assert did_you_mean(word, KNOWN) == ("" if meant is None else f"; did you mean {meant!r}?")


def test_a_beginning_of_several_words_is_not_guessed_from_its_length_alone():
    assert nearest("be", ["beta-1", "beta-2", "batch"]) is None


def test_options_are_compared_without_their_dashes():
    options = ["--report", "--dropout"]
    assert nearest("--reprot", options) == "--report"
    assert nearest("--report", options[1:]) is None


def test_a_synonym_counts_only_where_the_word_is_known():
    assert nearest("gpu", ["cpu", "cuda"]) == "cuda"
    assert nearest("gpu", ["cpu"]) == "cpu"


def test_all_words_follow_the_nearest():
    assert choice_of("adm", ["sgd", "adam"]) == "; did you mean 'adam'? Choose one of sgd, adam"
    assert choice_of("telepathy", ["sgd", "adam"]) == "; choose one of sgd, adam"
