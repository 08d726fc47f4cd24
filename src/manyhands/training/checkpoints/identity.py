"""What a checkpoint belongs to: the settings and the data of its run, and what differs from those of another."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.callbacks import Callback
from manyhands.core.errors import SettingsError, shown
from manyhands.core.parameters import parameter
from manyhands.core.references import anchored
from manyhands.core.version import __version__
from manyhands.core.words import count
from manyhands.data.checksum import checksum_of
from manyhands.data.dataset import Dataset
from manyhands.teams.job import all_gather_texts
from manyhands.training.checkpoints.folder import Found
from manyhands.training.making import learner_of
from manyhands.training.plan import Plan
from manyhands.training.reliability import KEPT

FREE = ("team", "workers", "grid", "hang_timeout", "pin", "reliability", "rows", "chosen_by_auto", "why")
"""What changes no bit of the result, or is compared by itself."""
_NESTED = ("network", "torch")
_MOST_SHOWN = 3


def identity_of(
    plan: Plan,
    dataset: Dataset,
    start: Mapping[str, NDArray[Any]] | None = None,
    callbacks: Sequence[Callback] = (),
) -> dict[str, Any]:
    """Return the settings and the data of a run as plain data.

    ``start`` is what it begins with, if that is not random, and ``callbacks`` are those that it calls.
    """
    described = {
        "settings": {**_facts_of(callbacks), **settings_of(plan), **_start_of(start)},
        "rows": plan.rows,
        "workers": plan.shares,
        "grid": plan.grid.name,
        "data": data_of(plan.team, dataset),
        "source": dataset.source,
        "label": plan.label,
        "team": plan.team,
        "reliability": {name: getattr(plan.reliability, name) for name in KEPT},
        "module": plan.module if isinstance(plan.module, str) else None,
        "network": _network_of(plan, dataset),
    }
    return dict(json.loads(json.dumps(described, default=str)))


def _network_of(plan: Plan, dataset: Dataset) -> str | None:
    """Return what tells a module of the user's own from others."""
    if plan.learner != "torch":
        return None
    return str(learner_of(plan, dataset).fingerprint())  # type: ignore[union-attr]  # of a TorchLearner


def settings_of(plan: Any) -> dict[str, Any]:
    """Return the settings of a plan, or of a spec, that its result depends on, each by its name."""
    with contextlib.suppress(SettingsError):  # what has no name outside of this process keeps its own
        plan = plan.portable()
    found = {name: value for name, value in plan.to_json().items() if name not in FREE}
    if isinstance(plan.module, str):
        found["module"] = anchored(plan.module)
    inner = {name: value for nested in _NESTED for name, value in found.pop(nested).items()}
    return dict(json.loads(json.dumps({**found, **inner}, default=str)))


def _facts_of(callbacks: Sequence[Callback]) -> dict[str, Any]:
    """Return what the callbacks say that the run depends on."""
    return {name: value for callback in callbacks for name, value in callback.identity().items()}


def _start_of(start: Mapping[str, NDArray[Any]] | None) -> dict[str, str]:
    """Return what tells the state with which a run begins from others; nothing if it begins at random."""
    return {} if start is None else {"start": fingerprint(start)}


def fingerprint(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return what tells arrays with names from others, as text."""
    total = 0
    for name in sorted(arrays):
        total = checksum_of(np.asarray(arrays[name]), zlib.crc32(name.encode(), total))
    return f"checksum {total:08x}"


def data_of(team: str, dataset: Dataset) -> dict[str, Any]:
    """Return facts and checksums of the rows, those of other processes included, wherever they were read from."""
    classes = ", ".join(map(str, dataset.classes.tolist()))
    if dataset.train.rows == dataset.rows or dataset.parts is not None:
        return {**{name: value for name, value in dataset.identity.items() if name != "name"}, "classes": classes}
    checksums = [checksum_of(array) for array in dataset.train.arrays().values()]
    return {"train_rows": dataset.rows, "checksum": all_gather_texts(team, [str(checksums)])}


def check_same_run(found: Found, present: Mapping[str, Any]) -> None:
    """Raise SettingsError if a checkpoint is of a run with other settings or other data, with the differences."""
    _check_version(found)
    problems = differences(found.identity["settings"], present["settings"])
    here = f"{shown(found.path)}: the checkpoint is of a run"
    if problems:
        raise SettingsError(f"{here} with {_listed(problems)}; go on with the same settings, or begin a new run")
    if found.identity.get("network") != present["network"]:
        raise SettingsError(
            f"{here} with another module: its layers, or what they are set to, were different then; go on with "
            "that one, or begin a new run"
        )
    data, now = found.identity["data"], present["data"]
    changed = [name for name in data if data[name] != now.get(name)]
    if changed:
        facts = [f"{name.replace('_', ' ')} {data[name]} (now {now.get(name)})" for name in changed]
        raise SettingsError(f"{here} on other data: {', '.join(facts[:_MOST_SHOWN])}; give it the same data")


def difference(name: str, then: Any, now: Any) -> str:
    """Return the value that a setting had and the one that it has now, as a half-sentence."""
    return f"{_valued(name, then)}, not {_shortly(name, now)}"


def _valued(name: str, value: Any) -> str:
    """Return a setting with its value; one that is not given, or off, has none."""
    return f"no {parameter(name)}" if value is None or value is False else parameter(name, value)


def _shortly(name: str, value: Any) -> str:
    """Return the value of a setting whose name has just been said."""
    if value is None or value is False:
        return "none"
    return parameter(name, value) if value is True or isinstance(value, list) else str(value)


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the settings that differ, each with both values, as half-sentences."""
    return [
        f"{_valued(name, then.get(name))} (now {_shortly(name, now.get(name))})"
        for name in dict.fromkeys([*then, *now])
        if then.get(name) != now.get(name)
    ]


def check_workers(found: Found, workers: int) -> str | None:
    """Return in words that a run goes on with another number of workers; raise SettingsError if it cannot."""
    then = len(found.states)
    if then == workers:
        return None
    if not found.states[0].synchronized:
        raise SettingsError(
            f"{shown(found.path)}: its {count(then, 'worker')} had different parameters when it was written, "
            f"between two rounds, so only as many can go on: {parameter('workers', then)}"
        )
    return (
        f"with {count(workers, 'worker')} instead of {then}, so not bit for bit: optimizer states begin at their mean"
    )


def _check_version(found: Found) -> None:
    then, now = found.version, __version__
    if then.split(".")[0] != now.split(".")[0]:
        raise SettingsError(
            f"{shown(found.path)}: it was written by version {then}, and this is version {now}: go on with version "
            f"{then.split('.')[0]}"
        )


def _listed(problems: list[str]) -> str:
    rest = len(problems) - _MOST_SHOWN
    return ", ".join(problems[:_MOST_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
