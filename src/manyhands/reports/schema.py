"""The schema of the records that reports are made from: a record is checked once, and later code relies on it."""

from __future__ import annotations

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
)
from manyhands.records.runs import SECONDS, SPECULATION
from manyhands.records.statistics import DEFAULT_MARGIN

Record = dict[str, Any]


@dataclass(frozen=True)
class Parts:
    """The completed records inside a record; a plain one is its own only part."""

    sweep: Record | None = None
    compare: Record | None = None
    published: Record | None = None
    networks: Record | None = None
    speculative: Record | None = None
    levels: Record | None = None
    classifiers: Record | None = None


def complete(record: Any) -> Record:
    """Return a checked copy of a record from JSON in which every known field exists, None where it has no value.

    Completing a record twice changes nothing.

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


def has_reports(record: Record) -> bool:
    """Return whether reports are made of records of this kind."""
    return record["schema"] in _SCHEMAS


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


_SHARES, _PERCENTS = interval_within(-1e4, 1e4), interval_within(-1e6, 1e6)
"""Intervals of shares and percents by Student's t may reach far beyond 0 and 1 if values are few and spread."""
_LAYERS = list_of(whole_number(1))

_ENVIRONMENT = object_of(
    {},
    {
        **dict.fromkeys(("command", "time", "cpu", "system", "python", "manyhands", "threads"), TEXT),
        **dict.fromkeys(("packages", "blas", "variables"), ANY_OBJECT),
        "cores": whole_number(1),
    },
)
_SETTINGS_FIELDS: dict[str, Check] = {
    "data": object_of({}, {"name": TEXT, "train_rows": whole_number()}),
    "network": ANY_OBJECT,
    "margin": number_within(1e-9),
    "target": SHARE,
    "splits": whole_number(),
    "scaled": FLAG,
    **dict.fromkeys(("architecture", "chosen_on", "tradeoff"), TEXT),
}
_EMPTY_SETTINGS: Record = {"data": {}, "network": {}}
_HEAD: dict[str, Check] = {
    "environment": _ENVIRONMENT,
    "settings": object_of({}, _SETTINGS_FIELDS, _EMPTY_SETTINGS),
    "interrupted": FLAG,
}
_EMPTY_HEAD: Record = {"environment": {}, "settings": {}, "interrupted": False}

_WHO: dict[str, Check] = {"strategy": TEXT, "workers": whole_number(1)}
_CLASSIFIER: dict[str, Check] = {"hidden": _LAYERS, "epochs": whole_number()}
_SECONDS = object_of({}, dict.fromkeys(SECONDS, AMOUNT))
_POINT = object_of({}, {"step": AMOUNT, "epoch": AMOUNT, "train_s": AMOUNT, "loss": number_within(), "accuracy": SHARE})
_RUN_FIELDS: dict[str, Check] = {
    "seed": whole_number(-(10**17)),
    **dict.fromkeys(("accuracy", "validation_accuracy"), SHARE),
    **dict.fromkeys(("confidence", "calibration_error"), PROBABILITY),
    "seconds": _SECONDS,
    "target_s": AMOUNT,
    "curve": list_of(_POINT),
}
_RUN = object_of(_WHO, _RUN_FIELDS, {"seconds": {}})
_VERDICTS = ("same", "lower", "higher", "undecided")
_COMPARED: dict[str, Check] = {
    "accuracy_ci95": _SHARES,
    "delta_pp": number_within(-100 - 1e-9, 100 + 1e-9),
    "delta_ci95": _PERCENTS,
    "speedup_ci95": interval_within(-LARGEST, LARGEST),
    "verdict": one_of(_VERDICTS),
    "more_seeds": whole_number(),
    "oversubscribed": FLAG,
}
"""Optional fields of every row of a summary."""
_ROW = object_of(
    {**_WHO, "accuracy_mean": SHARE, "train_s": AMOUNT, "speedup": AMOUNT},
    {
        **_COMPARED,
        **dict.fromkeys(("total_s", "efficiency", "impact", "impact_with_communication"), AMOUNT),
        **dict.fromkeys(("target_s", "scaled_speedup"), AMOUNT),
        "target_reached": whole_number(),
    },
    {"oversubscribed": False},
)
_SERIAL = object_of({"serial_fraction": number_within(0, 1)}, {"oversubscribed": FLAG})
_USL = object_of(
    {"contention": AMOUNT, "coherency": AMOUNT},
    {**dict.fromkeys(("best_workers", "peak_speedup"), AMOUNT), "oversubscribed": FLAG},
)
_LAW = object_of({"strategy": TEXT}, {"amdahl": _SERIAL, "gustafson": _SERIAL, "usl": _USL, "oversubscribed": FLAG})
_COMPARE = object_of(
    {"runs": list_of(_RUN), "summary": list_of(_ROW)},
    {
        **_HEAD,
        "settings": object_of({}, _SETTINGS_FIELDS, {**_EMPTY_SETTINGS, "margin": DEFAULT_MARGIN, "scaled": False}),
        "laws": list_of(_LAW),
    },
    {**_EMPTY_HEAD, "laws": []},
)
_CELL = object_of(
    {**_CLASSIFIER, "time_s": AMOUNT, "accuracy_pct": PERCENT},
    {
        "runs": whole_number(),
        "time_falsified": FLAG,
        "accuracy_ci95": _PERCENTS,
        "test_pct": PERCENT,
        "impact": AMOUNT,
    },
)
_SESSION = object_of(
    _CLASSIFIER,
    {
        **dict.fromkeys(("accuracy", "validation_accuracy"), SHARE),
        **dict.fromkeys(("epochs_run", "side_by_side"), whole_number()),
        "retimed_s": AMOUNT,
        "seconds": _SECONDS,
    },
    {"seconds": {}},
)
_SWEEP = object_of(
    {"table": list_of(_CELL)},
    {
        **_HEAD,
        "sessions": list_of(_SESSION),
        "best": object_of(_CLASSIFIER, {"tradeoff": TEXT, "reason": TEXT}),
    },
    {**_EMPTY_HEAD, "sessions": []},
)
_LINE = object_of({"processes": whole_number(1), "time_s": AMOUNT, "accuracy_pct": PERCENT}, {"impact": AMOUNT})
_TABLE = object_of({"here": list_of(_LINE), "published": list_of(_LINE)}, {})
_PUBLISHED = object_of(
    {"tables": object_of({"table2": _TABLE, "table3": _TABLE}, {})},
    {**_HEAD, "runs": list_of(_RUN)},
    {**_EMPTY_HEAD, "runs": []},
)

_NETWORK = object_of(
    {"name": TEXT}, {"axis": TEXT, "batch": whole_number(1), "hidden": _LAYERS}, {"axis": "", "hidden": []}
)
_RATE = number_within(0, 1e308)  # shown, never drawn
_REACHED = object_of({"target": SHARE}, {"runs": whole_number(), "epochs": AMOUNT, "seconds": AMOUNT})
_NETWORK_ROW = object_of(
    {
        **_WHO,
        "network": whole_number(),
        "accuracy_mean": SHARE,
        **dict.fromkeys(("confidence_mean", "calibration_error_mean"), PROBABILITY),
        **dict.fromkeys(("train_s", "speedup"), AMOUNT),
    },
    {
        **_COMPARED,
        **dict.fromkeys(("confidence_ci95", "calibration_error_ci95", "validation_ci95"), _SHARES),
        "validation_mean": SHARE,
        "learning_rate": _RATE,
        "reached": list_of(_REACHED),
        "distinct_neurons": list_of(whole_number()),
    },
    {"oversubscribed": False, "reached": [], "distinct_neurons": []},
)
_NETWORKS = object_of(
    {"networks": list_of(_NETWORK), "runs": list_of(_RUN), "summary": list_of(_NETWORK_ROW)},
    {
        **_HEAD,
        "settings": object_of(
            {},
            {**_SETTINGS_FIELDS, "targets": list_of(SHARE), "seeds": whole_number()},
            {**_EMPTY_SETTINGS, "margin": DEFAULT_MARGIN, "targets": []},
        ),
        "best": whole_number(),
        "tried": list_of(object_of({}, {"learning_rate": _RATE, "validation_accuracy": SHARE})),
        "diverged": list_of(object_of(_WHO, {"learning_rate": _RATE})),
    },
    {**_EMPTY_HEAD, "tried": [], "diverged": []},
)

_KINDS = ("sequential", "balanced", "pipelined", "plain", "predicted", "workers", "ordinary")
_CASE = object_of(
    {"name": TEXT, "kind": one_of(_KINDS)},
    {"threshold": SHARE, **dict.fromkeys(("lanes", "workers"), whole_number(1))},
    {"lanes": 1, "workers": 1},
)
_CASE_ROW = object_of(
    {"case": TEXT, "accuracy_mean": SHARE, **dict.fromkeys(("train_s", "speedup"), AMOUNT)},
    {
        **_COMPARED,
        "total_s": AMOUNT,
        "reduction_pct": number_within(-LARGEST, 100),
        "reduction_ci95": interval_within(-LARGEST, 100),
        "saved": number_within(-LARGEST, 1),
        **dict.fromkeys(("hit_rate", "ceiling", "ideal"), SHARE),
    },
    {"oversubscribed": False},
)
_SPECULATIVE = object_of(
    {
        "cases": list_of(_CASE),
        "runs": list_of(
            object_of({"case": TEXT, **_WHO}, {**_RUN_FIELDS, "speculation": SPECULATION}, {"seconds": {}})
        ),
        "summary": list_of(_CASE_ROW),
    },
    {
        **_HEAD,
        "settings": object_of({}, _SETTINGS_FIELDS, {**_EMPTY_SETTINGS, "margin": DEFAULT_MARGIN}),
        "diverged": list_of(object_of({"case": TEXT}, {"seed": whole_number(), "step": whole_number()})),
    },
    {**_EMPTY_HEAD, "diverged": []},
)

_LEVEL_CASE: dict[str, Check] = {"hidden": _LAYERS, "level": TEXT, "workers": whole_number(1)}
_LEVELS = object_of(
    {
        "cases": list_of(object_of({**_LEVEL_CASE, "predicted_ms": AMOUNT}, {})),
        "runs": list_of(object_of({**_LEVEL_CASE, "step_ms": AMOUNT}, {"seconds": _SECONDS}, {"seconds": {}})),
        "summary": list_of(
            object_of(
                {
                    **_LEVEL_CASE,
                    "name": TEXT,
                    **dict.fromkeys(("step_ms", "speedup", "efficiency", "communicate_ms", "sent_bytes"), AMOUNT),
                    "predicted_ms": AMOUNT,
                    **dict.fromkeys(("exchanges", "array_bytes"), whole_number()),
                },
                {
                    **dict.fromkeys(("step_ms_ci95", "speedup_ci95"), interval_within(0, LARGEST)),
                    **dict.fromkeys(("peak_bytes", "repeats"), whole_number()),
                    "oversubscribed": FLAG,
                },
                {"oversubscribed": False},
            )
        ),
    },
    {
        **_HEAD,
        "settings": object_of(
            {},
            {
                **_SETTINGS_FIELDS,
                "networks": list_of(_LAYERS),
                "widths": list_of(whole_number(1)),
                "crossing_workers": whole_number(2),
                "team": TEXT,
                "repeats": whole_number(1),
            },
            {**_EMPTY_SETTINGS, "networks": [], "widths": [], "crossing_workers": 2, "team": "threads"},
        ),
        "chosen": list_of(object_of({"hidden": _LAYERS, "workers": whole_number(1), "grid": TEXT}, {"level": TEXT})),
        "model": list_of(object_of({"width": whole_number(1), "level": TEXT, "predicted_ms": AMOUNT}, {})),
        "peaks": list_of(ANY_OBJECT),
    },
    {**_EMPTY_HEAD, "chosen": [], "model": [], "peaks": []},
)

_BESIDE_SKLEARN: dict[str, Check] = {
    "sklearn_delta_pp": number_within(-100 - 1e-9, 100 + 1e-9),
    "sklearn_delta_ci95": _PERCENTS,
    "sklearn_verdict": one_of(_VERDICTS),
    "sklearn_more_seeds": whole_number(),
    "same_answers": FLAG,
    "times_as_fast_as_sklearn": AMOUNT,
}
_CLASSIFIER_ROW = object_of(
    {
        "learner": TEXT,
        "workers": whole_number(1),
        "accuracy_mean": SHARE,
        **dict.fromkeys(("compute_s", "train_s", "speedup", "efficiency", "rounds", "bytes_sent"), AMOUNT),
        **dict.fromkeys(("impact", "impact_with_communication"), AMOUNT),
    },
    {**_COMPARED, **_BESIDE_SKLEARN, "runs": whole_number(), "same_model": FLAG},
    {"oversubscribed": False},
)
_CLASSIFIERS = object_of(
    {
        "runs": list_of(
            object_of(
                {"learner": TEXT, "workers": whole_number(1)},
                {**_RUN_FIELDS, **dict.fromkeys(("rounds", "bytes_sent", "passes", "model", "answers"), AMOUNT)},
                {"seconds": {}},
            )
        ),
        "summary": list_of(_CLASSIFIER_ROW),
    },
    {
        **_HEAD,
        "settings": object_of(
            {},
            {**_SETTINGS_FIELDS, "runs": whole_number(1), "stored": list_of(TEXT), "reg_params": list_of(SHARE)},
            {**_EMPTY_SETTINGS, "margin": DEFAULT_MARGIN, "stored": [], "reg_params": []},
        ),
        "references": list_of(
            object_of({"learner": TEXT, "fit_s": AMOUNT, "accuracy": SHARE}, {"seed": whole_number()})
        ),
        "tried": list_of(object_of({"parameter": TEXT, "value": SHARE, "accuracy": SHARE}, {})),
        "theirs": list_of(
            object_of(
                {"learner": TEXT, "accuracy_mean": SHARE, "fit_s": AMOUNT},
                {"accuracy_ci95": _SHARES, "impact": AMOUNT, "runs": whole_number()},
            )
        ),
    },
    {**_EMPTY_HEAD, "references": [], "tried": [], "theirs": []},
)


def _speculative(value: Any, where: str) -> Record:
    """Check a study of speculation; every run and row is one of its cases', and rows have what answers need."""
    found: Record = _SPECULATIVE(value, where)
    kinds = {case["name"]: case["kind"] for case in found["cases"]}
    for part in ("runs", "summary", "diverged"):
        for place, each in enumerate(found[part]):
            if each["case"] not in kinds:
                raise FormatError(f"{part}[{place}]: there is no case {each['case'][:40]!r}; {ADVICE}")
    for place, row in enumerate(found["summary"]):
        if kinds[row["case"]] != "sequential" and None in (row["verdict"], row["reduction_pct"]):
            raise FormatError(f"summary[{place}] has no verdict, or no reduction; {ADVICE}")
    return found


def _networks(value: Any, where: str) -> Record:
    """Check a study of networks; every number of a network must be that of one of its networks."""
    found: Record = _NETWORKS(value, where)
    number = len(found["networks"])
    named = [("best", found["best"]), *(("summary", row["network"]) for row in found["summary"])]
    named += [(name, each.get("network")) for name in ("runs", "tried", "diverged") for each in found[name]]
    for name, network in named:
        if (network is not None or name != "best") and not (isinstance(network, int) and 0 <= network < number):
            raise FormatError(f"{name}: there is no network {network!r:.40}; {ADVICE}")
    return found


def _compare(value: Any, where: str) -> Record:
    """Check a comparison; every row that was compared with the sequential run must have a verdict."""
    found: Record = _COMPARE(value, where)
    for place, row in enumerate(found["summary"]):
        if row["verdict"] is None and row["strategy"] != "sequential" and not found["settings"]["scaled"]:
            raise FormatError(f"{f'{where}.summary'.lstrip('.')}[{place}].verdict is missing; {ADVICE}")
    return found


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
    "manyhands.speculative/1": _speculative,
    "manyhands.levels/1": _LEVELS,
    "manyhands.classifiers/1": _CLASSIFIERS,
    "manyhands.study/1": _study,
    "manyhands.study/2": _study,
}
_STUDY = object_of(
    {},
    {
        **_HEAD,
        "study": TEXT,
        "sweep": _part(_SWEEP, "manyhands.sweep/1"),
        "compare": _part(_compare, "manyhands.compare/1"),
        "published": _part(_PUBLISHED, "manyhands.published/1"),
    },
    {**_EMPTY_HEAD, "study": "study"},
)
