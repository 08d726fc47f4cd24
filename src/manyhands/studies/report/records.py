"""What a report is made from: records, checked once, so that everything after may rely on their fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from manyhands.errors import FormatError
from manyhands.studies.statistics import DEFAULT_MARGIN, ratio_interval

Record = dict[str, Any]
Check = Callable[[Any, str], Any]

_LARGEST = 1e18  # no count or measurement is larger; what is larger cannot be drawn
_ADVICE = "the file is damaged, or no record of this program; write it again with --json"


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
        raise FormatError(f"a record is a JSON object, not {_kind(record)}; {_ADVICE}")
    schema = record.get("schema")
    if not isinstance(schema, str):
        raise FormatError(f"it has no schema; {_ADVICE}")
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


def _kind(value: Any) -> str:
    """Return what a JSON value is, in words."""
    if value is None:
        return "null"
    names: dict[type, str] = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return names.get(type(value), f"{value!r:.40}")


def _number(low: float = -_LARGEST, high: float = _LARGEST) -> Check:
    def check(value: Any, where: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise FormatError(f"{where} must be a number, not {_kind(value)}; {_ADVICE}")
        if not low <= value <= high:
            raise FormatError(f"{where} must be a number from {low:g} to {high:g}; {_ADVICE}")
        return value

    return check


def _integer(low: int = 0) -> Check:
    number = _number(low)

    def check(value: Any, where: str) -> int:
        found = number(value, where)
        if found != int(found):
            raise FormatError(f"{where} must be a whole number, not {found}; {_ADVICE}")
        return int(found)

    return check


def _typed(kind: type, name: str) -> Check:
    def check(value: Any, where: str) -> Any:
        if not isinstance(value, kind):
            raise FormatError(f"{where} must be {name}, not {_kind(value)}; {_ADVICE}")
        return value

    return check


def _list_of(each: Check, length: int | None = None) -> Check:
    def check(value: Any, where: str) -> list[Any]:
        if not isinstance(value, list | tuple) or length not in (None, len(value)):
            raise FormatError(f"{where} must be a list{f' of {length}' if length else ''}; {_ADVICE}")
        return [each(item, f"{where}[{position}]") for position, item in enumerate(value)]

    return check


def _object(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    """Return a check of an object, which keeps the fields that it does not know."""

    def check(value: Any, where: str) -> Record:
        if not isinstance(value, dict):
            raise FormatError(f"{where or 'the record'} must be an object, not {_kind(value)}; {_ADVICE}")
        found = dict(value)
        for name, each in {**required, **optional}.items():
            place = f"{where}.{name}".lstrip(".")
            if not _is_nothing(value.get(name)):
                found[name] = each(value[name], place)
            elif name in required:
                raise FormatError(f"{place} is missing; {_ADVICE}")
            else:
                found[name] = None
        return found

    return check


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _with_defaults(check: Check, defaults: Mapping[str, Callable[[], Any]]) -> Check:
    """Return a check after which fields without a value have one."""

    def filled(value: Any, where: str) -> Record:
        found = check(value, where)
        return {**found, **{name: make() for name, make in defaults.items() if found[name] is None}}

    return filled


_TEXT, _FLAG, _ANY_OBJECT = _typed(str, "a text"), _typed(bool, "true or false"), _typed(dict, "an object")
_AMOUNT = _number(0)
_INTERVAL = _list_of(_number(), 2)
_LAYERS = _list_of(_integer(1))

_ENVIRONMENT = _object(
    {},
    {
        **dict.fromkeys(("command", "time", "cpu", "system", "python", "manyhands", "threads"), _TEXT),
        **dict.fromkeys(("packages", "blas", "variables"), _ANY_OBJECT),
        "cores": _integer(1),
    },
)
_DATA = _object({}, {"name": _TEXT, "train_rows": _integer()})
_SETTINGS = _with_defaults(
    _object(
        {},
        {
            "data": _DATA,
            "network": _ANY_OBJECT,
            "margin": _number(1e-9),
            "target": _AMOUNT,
            "splits": _integer(),
            "scaled": _FLAG,
            "chosen_on": _TEXT,
            "tradeoff": _TEXT,
        },
    ),
    {"data": lambda: _DATA({}, ""), "network": dict},
)
_COMPARE_SETTINGS = _with_defaults(_SETTINGS, {"margin": lambda: DEFAULT_MARGIN, "scaled": lambda: False})
_HEAD = {"environment": _ENVIRONMENT, "settings": _SETTINGS, "interrupted": _FLAG}
_HEAD_DEFAULTS: dict[str, Callable[[], Any]] = {
    "environment": lambda: _ENVIRONMENT({}, ""),
    "settings": lambda: _SETTINGS({}, ""),
    "interrupted": lambda: False,
}

SECONDS = ("startup", "read", "distribute", "compute", "communicate", "merge", "evaluate", "train", "total")
_SECONDS = _object({}, dict.fromkeys(SECONDS, _AMOUNT))
_POINT = _object({}, {"step": _AMOUNT, "epoch": _AMOUNT, "train_s": _AMOUNT, "loss": _number(), "accuracy": _AMOUNT})
_RUN = _with_defaults(
    _object(
        {"strategy": _TEXT, "workers": _integer(1)},
        {
            "seed": _integer(-(10**17)),
            "accuracy": _AMOUNT,
            "seconds": _SECONDS,
            "target_s": _AMOUNT,
            "curve": _list_of(_POINT),
        },
    ),
    {"seconds": lambda: _SECONDS({}, "")},
)
_ROW = _with_defaults(
    _object(
        {"strategy": _TEXT, "workers": _integer(1), "accuracy_mean": _AMOUNT, "train_s": _AMOUNT, "speedup": _AMOUNT},
        {
            **dict.fromkeys(("accuracy_ci95", "delta_ci95", "speedup_ci95"), _INTERVAL),
            **dict.fromkeys(("total_s", "efficiency", "impact", "impact_with_communication"), _AMOUNT),
            **dict.fromkeys(("target_s", "scaled_speedup"), _AMOUNT),
            **dict.fromkeys(("more_seeds", "target_reached"), _integer()),
            "delta_pp": _number(),
            "oversubscribed": _FLAG,
            "verdict": _TEXT,
        },
    ),
    {"oversubscribed": lambda: False},
)
_SERIAL = _object({"serial_fraction": _number(0, 1)}, {"oversubscribed": _FLAG})
_LAW = _object(
    {"strategy": _TEXT},
    {
        "amdahl": _SERIAL,
        "gustafson": _SERIAL,
        "usl": _object(
            {"contention": _AMOUNT, "coherency": _AMOUNT},
            {**dict.fromkeys(("best_workers", "peak_speedup"), _AMOUNT), "oversubscribed": _FLAG},
        ),
        "oversubscribed": _FLAG,
    },
)
_COMPARE = _with_defaults(
    _object(
        {"runs": _list_of(_RUN), "summary": _list_of(_ROW)},
        {**_HEAD, "settings": _COMPARE_SETTINGS, "laws": _list_of(_LAW)},
    ),
    {**_HEAD_DEFAULTS, "settings": lambda: _COMPARE_SETTINGS({}, ""), "laws": list},
)
_CELL = _object(
    {"hidden": _LAYERS, "epochs": _integer(), "time_s": _AMOUNT, "accuracy_pct": _AMOUNT},
    {
        "runs": _integer(),
        "time_falsified": _FLAG,
        "accuracy_ci95": _INTERVAL,
        "test_pct": _AMOUNT,
        "impact": _AMOUNT,
    },
)
_SESSION = _with_defaults(
    _object({"hidden": _LAYERS, "epochs": _integer()}, {"seconds": _SECONDS}), {"seconds": lambda: _SECONDS({}, "")}
)
_BEST = _object({"hidden": _LAYERS, "epochs": _integer()}, {"tradeoff": _TEXT, "reason": _TEXT})
_SWEEP = _with_defaults(
    _object({"table": _list_of(_CELL)}, {**_HEAD, "sessions": _list_of(_SESSION), "best": _BEST}),
    {**_HEAD_DEFAULTS, "sessions": list},
)
_LINE = _object({"processes": _integer(1), "time_s": _AMOUNT, "accuracy_pct": _AMOUNT}, {"impact": _AMOUNT})
_TABLE = _object({"here": _list_of(_LINE), "published": _list_of(_LINE)}, {})
_PUBLISHED = _with_defaults(
    _object(
        {"tables": _object({"table2": _TABLE, "table3": _TABLE}, {})},
        {**_HEAD, "runs": _list_of(_RUN)},
    ),
    {**_HEAD_DEFAULTS, "runs": list},
)

_NETWORK = _with_defaults(
    _object({"name": _TEXT}, {"axis": _TEXT, "batch": _integer(1), "hidden": _LAYERS}), {"axis": str, "hidden": list}
)
_RATE = _number(0, 1e308)  # shown, never drawn
_REACHED = _object({"target": _AMOUNT}, {"runs": _integer(), "epochs": _AMOUNT, "seconds": _AMOUNT})
_NETWORK_ROW = _with_defaults(
    _object(
        {
            **dict.fromkeys(("accuracy_mean", "train_s", "speedup", "confidence_mean"), _AMOUNT),
            "network": _integer(),
            "strategy": _TEXT,
            "workers": _integer(1),
            "calibration_error_mean": _AMOUNT,
        },
        {
            **dict.fromkeys(("accuracy_ci95", "delta_ci95", "speedup_ci95", "confidence_ci95"), _INTERVAL),
            **dict.fromkeys(("calibration_error_ci95", "validation_ci95"), _INTERVAL),
            "validation_mean": _AMOUNT,
            "learning_rate": _RATE,
            "delta_pp": _number(),
            "verdict": _TEXT,
            "more_seeds": _integer(),
            "oversubscribed": _FLAG,
            "reached": _list_of(_REACHED),
            "distinct_neurons": _list_of(_integer()),
        },
    ),
    {"oversubscribed": lambda: False, "reached": list, "distinct_neurons": list},
)
_NETWORKS_SETTINGS = _with_defaults(
    _object(
        {},
        {
            "data": _DATA,
            "network": _ANY_OBJECT,
            "margin": _number(1e-9),
            "targets": _list_of(_AMOUNT),
            "seeds": _integer(),
        },
    ),
    {"data": lambda: _DATA({}, ""), "network": dict, "margin": lambda: DEFAULT_MARGIN, "targets": list},
)
_NETWORKS = _with_defaults(
    _object(
        {"networks": _list_of(_NETWORK), "runs": _list_of(_RUN), "summary": _list_of(_NETWORK_ROW)},
        {
            **_HEAD,
            "settings": _NETWORKS_SETTINGS,
            "best": _integer(),
            "tried": _list_of(_ANY_OBJECT),
            "diverged": _list_of(_object({"strategy": _TEXT, "workers": _integer(1)}, {"learning_rate": _RATE})),
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
            raise FormatError(f"{name}: there is no network {network!r:.40}; {_ADVICE}")
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
    """Return the word for an interval of differences; see `manyhands.studies.statistics.verdict`."""
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
        raise FormatError(f"a study has at least one of {', '.join(names)}; {_ADVICE}")
    found: Record = _STUDY(value, where)
    return found


def _part(check: Check, schema: str) -> Check:
    """Return the check of a part of a study, which knows its schema by its place."""
    return lambda value, where: {**check(value, where), "schema": schema}


_SCHEMAS: dict[str, Check] = {
    "manyhands.compare/1": _compare,
    "manyhands.sweep/1": _SWEEP,
    "manyhands.published/1": _PUBLISHED,
    "manyhands.networks/1": _networks,
    "manyhands.study/1": _study,
}
_STUDY = _with_defaults(
    _object(
        {},
        {
            **_HEAD,
            "study": _TEXT,
            "sweep": _part(_SWEEP, "manyhands.sweep/1"),
            "compare": _part(_compare, "manyhands.compare/1"),
            "published": _part(_PUBLISHED, "manyhands.published/1"),
        },
    ),
    {**_HEAD_DEFAULTS, "study": lambda: "study"},
)
