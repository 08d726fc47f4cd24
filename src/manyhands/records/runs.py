"""Checks of the records of single runs in a study's file: types and ranges of all fields that the study uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manyhands.records.fields import (
    AMOUNT,
    LARGEST,
    PROBABILITY,
    SHARE,
    TEXT,
    Check,
    list_of,
    number_within,
    object_of,
    whole_number,
)

SECONDS = ("startup", "read", "distribute", "compute", "communicate", "merge", "evaluate", "train", "total")
"""The phases of a run whose seconds are recorded."""

TIME = number_within(1e-12, LARGEST)
"""The check of seconds that are divisors."""
SECONDS_OF_RUN = object_of({**dict.fromkeys(SECONDS, AMOUNT), "train": TIME, "total": TIME}, {})
_POINT = object_of(
    {"step": whole_number(), "epoch": AMOUNT, "train_s": AMOUNT, "loss": number_within(), "accuracy": SHARE}, {}
)
_LOSS = number_within(-1e308, 1e308)
_OF_STEPS: dict[str, Check] = {
    "schedule": TEXT,
    "batch": whole_number(1),
    "learning_rate": number_within(0, 1e308),
    "loss": _LOSS,
}
"""What learners have that take optimizer steps."""
FINISHED_RUN = object_of(
    {
        **dict.fromkeys(("strategy", "resolved", "team", "learner"), TEXT),
        **dict.fromkeys(("workers", "rows"), whole_number(1)),
        **dict.fromkeys(("seed", "steps", "rounds", "bytes_sent"), whole_number()),
        "examples": AMOUNT,
        "accuracy": SHARE,
        "seconds": SECONDS_OF_RUN,
    },
    {**_OF_STEPS, "sharding": TEXT, "split": whole_number(), "target_s": AMOUNT, "curve": list_of(_POINT)},
)
SESSION = object_of(
    {
        "hidden": list_of(whole_number(1)),
        **dict.fromkeys(("epochs", "epochs_run"), whole_number()),
        "side_by_side": whole_number(1),
        "seed": whole_number(),
        "accuracy": SHARE,
        "seconds": SECONDS_OF_RUN,
    },
    {"loss": _LOSS, "split": whole_number(), "validation_accuracy": SHARE, "retimed_s": TIME},
)
TRIAL = object_of({"accuracy": SHARE}, {})
"""The check of a run that chooses a learning rate."""
DIVERGED = object_of({"step": whole_number(1)}, {})
MEASURED = object_of(
    {**dict.fromkeys(("confidence", "calibration_error"), PROBABILITY), "distinct_neurons": list_of(whole_number())},
    {"validation_accuracy": SHARE},
)
"""The check of the further fields of a run in the study of networks."""

SPECULATION = object_of(
    {
        **dict.fromkeys(("hits", "misses", "unseen"), whole_number()),
        **dict.fromkeys(("hit_rate", "ceiling", "ideal"), SHARE),
        "saved": number_within(-LARGEST, 1),
        "hit_rate_by_epoch": list_of(SHARE),
        "timeline": list_of(
            object_of({"lane": whole_number(), "what": TEXT, "layer": TEXT, "begin": AMOUNT, "end": AMOUNT}, {})
        ),
    },
    {},
)
"""The check of what a speculative learner measures; see `manyhands.learners.torch.speculative.facts.Facts`."""
SPECULATED = object_of({"case": TEXT}, {"speculation": SPECULATION})
"""The check of the further fields of a run in the study of speculative back-propagation."""

_LEVEL_CASE = {"hidden": list_of(whole_number(1)), "level": TEXT, "workers": whole_number(1)}
LEVEL_RUN = object_of(
    {
        **_LEVEL_CASE,
        "repeat": whole_number(),
        "steps": whole_number(1),
        "step_ms": TIME,
        **dict.fromkeys(("communicate_ms", "sent_bytes"), AMOUNT),
        "seconds": SECONDS_OF_RUN,
    },
    {},
)
"""The check of a run in the study of the levels of parallelism."""
LEVEL_PEAK = object_of({**_LEVEL_CASE, "peak_bytes": whole_number()}, {})
"""The check of a run whose memory was measured there."""

CLASSIFIED = object_of(dict.fromkeys(("model", "answers"), whole_number()), {"passes": whole_number(1)})
"""The check of the further fields of a run in the study of classifiers."""
CLASSIFIED_THERE = object_of(
    {"learner": TEXT, "seed": whole_number(), "accuracy": SHARE, "fit_s": TIME, "answers": whole_number()}, {}
)
"""The check of a fit of scikit-learn's estimator there."""


def with_communication(seconds: Mapping[str, float]) -> float:
    """Return the seconds of a run with communication: distributing the data, computing, waiting, exchanging, averaging.

    Reading the data is not in them, as in Table III of Todorov et al. 2021, whose times for one process show it. This
    is the only definition: tables, figures and records use it.
    """
    return seconds["distribute"] + seconds["train"]


def check_fields(record: Any, *checks: Check, same: Mapping[str, Any]) -> None:
    """Raise ValueError or KeyError unless a record passes the checks, and some of its fields are the ``same``."""
    for check in checks:
        check(record, "")
    for name, value in same.items():
        if record[name] != value:
            raise ValueError(f"{name} is {record[name]}, and not {value}")
