"""Fuzzed texts: what can be parsed has a canonical text that means the same, everything else is a typed error."""

import pytest

from manyhands.data.partitioning import parse_partition
from manyhands.learners.mlp.initialization import parse_initialization
from manyhands.strategies import STRATEGIES, parse_strategy
from manyhands.training.schedules import parse_schedule
from manyhands.training.stopping import parse_stop

NAMES = (
    *STRATEGIES,
    "step",
    "cosine",
    "linear",
    "one-cycle",
    "constant",
    "loss",
    "unchanged",
    "accuracy",
    "iid",
    "stored",
)
NAMES += ("sorted", "dirichlet", "zeros", "uniform", "normal", "orthogonal", "he_normal", "auto", "none", "")
KEYS = (
    "merge",
    "send",
    "state",
    "buffers",
    "starts",
    "factor",
    "warmup",
    "to",
    "hold",
    "rise",
    "patience",
    "beta",
    "lr",
    "every",
)
VALUES = (
    "1epoch",
    "5epochs",
    "50",
    "0",
    "-1",
    "20%",
    "0%",
    "101%",
    "1e999",
    "nan",
    "int8",
    "float16",
    "mean",
    "fisher",
    "soup",
)
VALUES += (
    "0.5",
    "keep",
    "reset",
    "99999999999999999999",
    "1e-400",
    "ensemble",
    "validation",
    "²",
    "\0",
    " ",
    "=",
    "1epochs",
)
GLUE = (":", ",", "=", "@", " then ", " ", "::", ",,", "\n", "%", "@@", "THEN")
PARSERS = {
    "strategy": parse_strategy,
    "schedule": parse_schedule,
    "stop": parse_stop,
    "partition": parse_partition,
    "initialization": lambda text: parse_initialization("weight_init", text),
}


def pick(rng, values):
    return values[int(rng.integers(0, len(values)))]


def plausible(rng):
    """Return a text of nearly the right form."""
    text = pick(rng, NAMES)
    if rng.random() < 0.7:
        text += ":" + pick(rng, VALUES)
    for _ in range(int(rng.integers(0, 3))):
        text += f",{pick(rng, KEYS)}={pick(rng, VALUES)}"
    return text


def text_of(rng):
    if rng.random() < 0.6:
        parts = [plausible(rng) + pick(rng, ("", "", "@20%", "@5epochs")) for _ in range(int(rng.integers(1, 3)))]
        return " then ".join(parts)
    pieces = (NAMES, KEYS, VALUES, GLUE)
    return "".join(pick(rng, pick(rng, pieces)) for _ in range(int(rng.integers(0, 9))))


@pytest.mark.parametrize("kind", PARSERS)
def test_grammar(campaign, kind):
    parse = PARSERS[kind]

    def case(rng):
        text = text_of(rng)
        value = parse(text)
        name = getattr(value, "name", None)
        if isinstance(name, str):
            assert parse(name).name == name, f"{text!r} became {name!r}"

    campaign.run(500, case)
    assert campaign.refused
