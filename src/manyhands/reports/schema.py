"""What a report is made from: records, checked once, so that everything after may rely on their fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from manyhands.core.errors import FormatError
from manyhands.records.fields import (
    ADVICE,
    AMOUNT,
    ANY_OBJECT,
    FLAG,
    LARGEST,
    PERCENT,
    PROBABILITY,
    SHARE,
    TEXT,
    Check,
    interval_within,
    kind_of,
    list_of,
    number_within,
    object_of,
    one_of,
    whole_number,
    with_defaults,
)
from manyhands.records.runs import SECONDS
from manyhands.records.statistics import DEFAULT_MARGIN, ratio_interval

Record = dict[str, Any]


@dataclass(frozen=True)
class Parts:
    """The records inside a record; a plain one is its own only part.

    Attributes
    ----------
    sweep, compare, published, networks : dict or None
        Completed; None if there is no such part.
    """

    sweep: Record | None = None
    compare: Record | None = None
    published: Record | None = None
    networks: Record | None = None


def complete(record: Any) -> Record:
    """Return a checked copy of a record in which every known field exists, None where it has no value.

    Older files lack what later versions added: it is None here, or derived from what is there. Completing twice
    changes nothing.

    Parameters
    ----------
    record
        As loaded from JSON.

    Raises
    ------
    FormatError
        If it is no record, of an unknown schema, or lacks a field that a report needs.
    """
    if not isinstance(record, dict):
        raise FormatError(f"a record is a JSON object, not {kind_of(record)}; {ADVICE}")
    schema = record.get("schema")
    if not isinstance(schema, str):
        raise FormatError(f"it has no schema; {ADVICE}")
    if schema not in _SCHEMAS:
        known = ", ".join(_SCHEMAS)
        raise FormatError(f"no report can be made of the schema {schema[:60]!r}; it must be one of {known}")
    found: Record = _SCHEMAS[schema](record, "")
    return found


def parts(record: Record) -> Parts:
    """Return the parts of a completed record."""
    kind = record["schema"].partition("/")[0].removeprefix("manyhands.")
    if kind != "study":
        return Parts(**{kind: record})
    inner = {name: record[name] for name in ("sweep", "compare", "published") if record[name] is not None}
    whole = record["environment"]
    environments = {name: part["environment"] for name, part in inner.items()}
    return Parts(
        **{
            name: {**part, "environment": environments[name] if any(environments[name].values()) else whole}
            for name, part in inner.items()
        }
    )


_INTERVAL = interval_within(-LARGEST, LARGEST)
_SHARES, _PERCENTS = interval_within(-1e4, 1e4), interval_within(-1e6, 1e6)
"""Of shares and percents: Student's t knows nothing of the ends 0 and 1, and few and spread values reach far."""
_POINTS = number_within(-100 - 1e-9, 100 + 1e-9)
_VERDICTS = one_of(("same", "lower", "higher", "undecided"))
_LAYERS = list_of(whole_number(1))

_ENVIRONMENT = object_of(
    {},
    {
        **dict.fromkeys(("command", "time", "cpu", "system", "python", "manyhands", "threads"), TEXT),
        **dict.fromkeys(("packages", "blas", "variables"), ANY_OBJECT),
        "cores": whole_number(1),
    },
)
_DATA = object_of({}, {"name": TEXT, "train_rows": whole_number()})
_SETTINGS = with_defaults(
    object_of(
        {},
        {
            "data": _DATA,
            "network": ANY_OBJECT,
            "margin": number_within(1e-9),
            "target": SHARE,
            "splits": whole_number(),
            "scaled": FLAG,
            "chosen_on": TEXT,
            "tradeoff": TEXT,
        },
    ),
    {"data": lambda: _DATA({}, ""), "network": dict},
)
_COMPARE_SETTINGS = with_defaults(_SETTINGS, {"margin": lambda: DEFAULT_MARGIN, "scaled": lambda: False})
_HEAD = {"environment": _ENVIRONMENT, "settings": _SETTINGS, "interrupted": FLAG}
_HEAD_DEFAULTS: dict[str, Callable[[], Any]] = {
    "environment": lambda: _ENVIRONMENT({}, ""),
    "settings": lambda: _SETTINGS({}, ""),
    "interrupted": lambda: False,
}

_SECONDS = object_of({}, dict.fromkeys(SECONDS, AMOUNT))
_POINT = object_of({}, {"step": AMOUNT, "epoch": AMOUNT, "train_s": AMOUNT, "loss": number_within(), "accuracy": SHARE})
_RUN = with_defaults(
    object_of(
        {"strategy": TEXT, "workers": whole_number(1)},
        {
            "seed": whole_number(-(10**17)),
            **dict.fromkeys(("accuracy", "validation_accuracy"), SHARE),
            **dict.fromkeys(("confidence", "calibration_error"), PROBABILITY),
            "seconds": _SECONDS,
            "target_s": AMOUNT,
            "curve": list_of(_POINT),
        },
    ),
    {"seconds": lambda: _SECONDS({}, "")},
)
_ROW = with_defaults(
    object_of(
        {"strategy": TEXT, "workers": whole_number(1), "accuracy_mean": SHARE, "train_s": AMOUNT, "speedup": AMOUNT},
        {
            "accuracy_ci95": _SHARES,
            "delta_ci95": _PERCENTS,
            "speedup_ci95": _INTERVAL,
            **dict.fromkeys(("total_s", "efficiency", "impact", "impact_with_communication"), AMOUNT),
            **dict.fromkeys(("target_s", "scaled_speedup"), AMOUNT),
            **dict.fromkeys(("more_seeds", "target_reached"), whole_number()),
            "delta_pp": _POINTS,
            "oversubscribed": FLAG,
            "verdict": _VERDICTS,
        },
    ),
    {"oversubscribed": lambda: False},
)
_SERIAL = object_of({"serial_fraction": number_within(0, 1)}, {"oversubscribed": FLAG})
_LAW = object_of(
    {"strategy": TEXT},
    {
        "amdahl": _SERIAL,
        "gustafson": _SERIAL,
        "usl": object_of(
            {"contention": AMOUNT, "coherency": AMOUNT},
            {**dict.fromkeys(("best_workers", "peak_speedup"), AMOUNT), "oversubscribed": FLAG},
        ),
        "oversubscribed": FLAG,
    },
)
_COMPARE = with_defaults(
    object_of(
        {"runs": list_of(_RUN), "summary": list_of(_ROW)},
        {**_HEAD, "settings": _COMPARE_SETTINGS, "laws": list_of(_LAW)},
    ),
    {**_HEAD_DEFAULTS, "settings": lambda: _COMPARE_SETTINGS({}, ""), "laws": list},
)
_CELL = object_of(
    {"hidden": _LAYERS, "epochs": whole_number(), "time_s": AMOUNT, "accuracy_pct": PERCENT},
    {
        "runs": whole_number(),
        "time_falsified": FLAG,
        "accuracy_ci95": _PERCENTS,
        "test_pct": PERCENT,
        "impact": AMOUNT,
    },
)
_SESSION = with_defaults(
    object_of(
        {"hidden": _LAYERS, "epochs": whole_number()},
        {
            **dict.fromkeys(("accuracy", "validation_accuracy"), SHARE),
            **dict.fromkeys(("epochs_run", "side_by_side"), whole_number()),
            "retimed_s": AMOUNT,
            "seconds": _SECONDS,
        },
    ),
    {"seconds": lambda: _SECONDS({}, "")},
)
_BEST = object_of({"hidden": _LAYERS, "epochs": whole_number()}, {"tradeoff": TEXT, "reason": TEXT})
_SWEEP = with_defaults(
    object_of({"table": list_of(_CELL)}, {**_HEAD, "sessions": list_of(_SESSION), "best": _BEST}),
    {**_HEAD_DEFAULTS, "sessions": list},
)
_LINE = object_of({"processes": whole_number(1), "time_s": AMOUNT, "accuracy_pct": PERCENT}, {"impact": AMOUNT})
_TABLE = object_of({"here": list_of(_LINE), "published": list_of(_LINE)}, {})
_PUBLISHED = with_defaults(
    object_of(
        {"tables": object_of({"table2": _TABLE, "table3": _TABLE}, {})},
        {**_HEAD, "runs": list_of(_RUN)},
    ),
    {**_HEAD_DEFAULTS, "runs": list},
)

_NETWORK = with_defaults(
    object_of({"name": TEXT}, {"axis": TEXT, "batch": whole_number(1), "hidden": _LAYERS}),
    {"axis": str, "hidden": list},
)
_RATE = number_within(0, 1e308)  # shown, never drawn
_REACHED = object_of({"target": SHARE}, {"runs": whole_number(), "epochs": AMOUNT, "seconds": AMOUNT})
_NETWORK_ROW = with_defaults(
    object_of(
        {
            **dict.fromkeys(("confidence_mean", "calibration_error_mean"), PROBABILITY),
            "accuracy_mean": SHARE,
            **dict.fromkeys(("train_s", "speedup"), AMOUNT),
            "network": whole_number(),
            "strategy": TEXT,
            "workers": whole_number(1),
        },
        {
            **dict.fromkeys(("accuracy_ci95", "confidence_ci95", "calibration_error_ci95", "validation_ci95"), _SHARES),
            "delta_ci95": _PERCENTS,
            "speedup_ci95": _INTERVAL,
            "validation_mean": SHARE,
            "learning_rate": _RATE,
            "delta_pp": _POINTS,
            "verdict": _VERDICTS,
            "more_seeds": whole_number(),
            "oversubscribed": FLAG,
            "reached": list_of(_REACHED),
            "distinct_neurons": list_of(whole_number()),
        },
    ),
    {"oversubscribed": lambda: False, "reached": list, "distinct_neurons": list},
)
_NETWORKS_SETTINGS = with_defaults(
    object_of(
        {},
        {
            "data": _DATA,
            "network": ANY_OBJECT,
            "margin": number_within(1e-9),
            "targets": list_of(SHARE),
            "seeds": whole_number(),
        },
    ),
    {"data": lambda: _DATA({}, ""), "network": dict, "margin": lambda: DEFAULT_MARGIN, "targets": list},
)
_NETWORKS = with_defaults(
    object_of(
        {"networks": list_of(_NETWORK), "runs": list_of(_RUN), "summary": list_of(_NETWORK_ROW)},
        {
            **_HEAD,
            "settings": _NETWORKS_SETTINGS,
            "best": whole_number(),
            "tried": list_of(object_of({}, {"learning_rate": _RATE, "validation_accuracy": SHARE})),
            "diverged": list_of(object_of({"strategy": TEXT, "workers": whole_number(1)}, {"learning_rate": _RATE})),
        },
    ),
    {**_HEAD_DEFAULTS, "settings": lambda: _NETWORKS_SETTINGS({}, ""), "tried": list, "diverged": list},
)


def _networks(value: Any, where: str) -> Record:
    """Check a study of networks: whatever names a network must name one of its own."""
    found: Record = _NETWORKS(value, where)
    number = len(found["networks"])
    named = [("best", found["best"]), *(("summary", row["network"]) for row in found["summary"])]
    named += [(name, each.get("network")) for name in ("runs", "tried", "diverged") for each in found[name]]
    for name, network in named:
        if (network is not None or name != "best") and not (isinstance(network, int) and 0 <= network < number):
            raise FormatError(f"{name}: there is no network {network!r:.40}; {ADVICE}")
    return found


def _compare(value: Any, where: str) -> Record:
    """Check a comparison, and derive what older files lack."""
    found: Record = _COMPARE(value, where)
    if not found["settings"]["scaled"]:
        margin = found["settings"]["margin"]
        found["summary"] = [{**row, **_derived(row, found["runs"], margin)} for row in found["summary"]]
    return found


def _derived(row: Record, runs: list[Record], margin: float) -> Record:
    """Return verdict and interval of the speedup of a row, derived if it has none."""
    verdict, interval = row["verdict"], row["speedup_ci95"]
    if row["strategy"] != "sequential":
        verdict = verdict or _verdict(row["delta_ci95"], margin)
        interval = interval or _speedup_interval(row, runs)
    return {"verdict": verdict, "speedup_ci95": interval}


def _verdict(interval: list[float] | None, margin: float) -> str:
    """Return the word for an interval of differences; see `manyhands.records.statistics.verdict`."""
    if interval is None:
        return "undecided"
    low, high = interval
    if -margin < low and high < margin:
        return "same"
    return "lower" if high < 0 else "higher" if low > 0 else "undecided"


def _speedup_interval(row: Record, runs: list[Record]) -> list[float] | None:
    """Return the interval of the speedup from the runs' own times, paired by seed."""
    base = {run["seed"]: run["seconds"]["train"] for run in runs if run["strategy"] == "sequential"}
    pairs = [
        (base[run["seed"]], run["seconds"]["train"])
        for run in runs
        if (run["strategy"], run["workers"]) == (row["strategy"], row["workers"])
        and base.get(run["seed"])
        and run["seconds"]["train"]
    ]
    return ratio_interval([reference for reference, _ in pairs], [time for _, time in pairs]) if pairs else None


def _study(value: Any, where: str) -> Record:
    """Check a study: it must have at least one part, though that may be null when it was interrupted early."""
    names = ("sweep", "compare", "published")
    if isinstance(value, dict) and not any(name in value for name in names):
        raise FormatError(f"a study has at least one of {', '.join(names)}; {ADVICE}")
    found: Record = _STUDY(value, where)
    return {**found, "study": _STUDIES_OF_SCHEMA_1.get(found["study"], found["study"])}


def _part(check: Check, schema: str) -> Check:
    """Return the check of a part of a study, which knows its schema by its place."""
    return lambda value, where: {**check(value, where), "schema": schema}


_STUDIES_OF_SCHEMA_1 = {"w1": "exemplar", "w4": "minibatch"}
_SCHEMAS: dict[str, Check] = {
    "manyhands.compare/1": _compare,
    "manyhands.sweep/1": _SWEEP,
    "manyhands.published/1": _PUBLISHED,
    "manyhands.networks/1": _networks,
    "manyhands.study/1": _study,
    "manyhands.study/2": _study,
}
_STUDY = with_defaults(
    object_of(
        {},
        {
            **_HEAD,
            "study": TEXT,
            "sweep": _part(_SWEEP, "manyhands.sweep/1"),
            "compare": _part(_compare, "manyhands.compare/1"),
            "published": _part(_PUBLISHED, "manyhands.published/1"),
        },
    ),
    {**_HEAD_DEFAULTS, "study": lambda: "study"},
)
