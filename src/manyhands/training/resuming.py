"""Taking up a run that was interrupted: its settings and its data are those of its newest checkpoint."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from manyhands.core.errors import SettingsError, shown
from manyhands.core.grid import parse_grid
from manyhands.core.parameters import parameter
from manyhands.core.references import anchored
from manyhands.core.settings import setting_fields
from manyhands.data.partitioning import Partition
from manyhands.teams.agreement import together
from manyhands.teams.job import is_member, leads
from manyhands.teams.membership import join
from manyhands.training.checkpoints.folder import CheckpointFolder
from manyhands.training.checkpoints.identity import FREE, difference, settings_of
from manyhands.training.reliability import NAMES
from manyhands.training.spec import RunSpec

Source = tuple[Any, ...]
"""What names a data set: the arguments of `RunSpec.request`."""
_TAKEN = ("threads", "mpi", "torch")
"""Teams that are taken over, if no other is given; data in a cluster need its own."""
NO_SOURCE: Source = ("auto", None, None, None, None, None)


class _Stored(NamedTuple):
    """What a checkpoint says about its run."""

    name: str
    settings: dict[str, Any]
    workers: int
    source: list[Any] | None
    label: str
    module: str | None
    team: str
    reliability: dict[str, Any]
    grid: str


def names_given(spec: RunSpec, settings: Collection[str]) -> set[str]:
    """Return the settings that a user has given: by name, or in a spec that has other values than the usual ones."""
    usual, now = settings_of(RunSpec()), settings_of(spec)
    return {name for name in now if now[name] != usual[name]} | set(settings)


def taken_up(asked: RunSpec, given: Collection[str], source: Source) -> tuple[RunSpec, Source]:
    """Return settings and data of the run that ``asked`` resumes; what was given must be the same.

    Parameters
    ----------
    asked
        What the user asks for; its ``reliability.resume`` names the folder.
    given
        The names of the settings that the user has given.
    source
        What names the data set; `NO_SOURCE` if the user has not named any.

    Raises
    ------
    SettingsError
        If there is no checkpoint, or something that was given differs from what it says.
    """
    stored = _stored(asked)
    usual = settings_of(asked)
    texts = {name: value for name, value in asked.parsed._asdict().items() if value is not None}
    present = {**usual, **{name: text.name for name, text in texts.items()}}
    if "strategy" in given and asked.automatic and stored.label == "auto":
        given = set(given) - {"strategy"}
    for name in sorted(set(given) - {*FREE, *NAMES}):
        then, now = stored.settings.get(name), present.get(name)
        if then != now:
            raise SettingsError(
                f"{stored.name}: the checkpoint is of a run with {difference(name, then, now)}: leave "
                f"{parameter(name)} out, or begin a new run"
            )
    names = {each.name for each, _ in setting_fields(RunSpec)}
    settings = {name: _as_given(value) for name, value in stored.settings.items() if name in names}
    if settings["partition"] == Partition().name:  # which is no choice, where shards are not fixed
        settings["partition"] = None
    if stored.module is not None and anchored(stored.module) == settings["module"]:
        settings["module"] = stored.module  # in the words of its run, which the model file has, too
    settings |= {name: value for name, value in _objects(asked).items() if value is not None}
    settings["workers"], settings["grid"] = _places(stored, asked)
    settings |= {name: getattr(asked, name) for name in ("hang_timeout", "pin")}
    settings["team"] = asked.team if "team" in given or stored.team not in _TAKEN else stored.team
    settings |= {name: value for name, value in stored.reliability.items() if name not in given}
    again = {name: stored.settings[name] for name in ("first_epoch", "shuffle")}
    return RunSpec(reliability=asked.reliability, **again).changed(**settings), _source_of(stored, source)


def _places(stored: _Stored, asked: RunSpec) -> tuple[Any, Any]:
    """Return the number of workers and their grid: those asked for, or those of the run."""
    then = parse_grid(stored.grid)
    if asked.workers is None and asked.grid is None:
        return then.size, then if then.divides else None
    return asked.workers, asked.grid


def _objects(spec: RunSpec) -> dict[str, Any]:
    """Return the settings that may be objects of the user's program, of which a file can only keep the names."""
    functions = {name: getattr(spec.torch, name) for name in ("loss_function", "parameter_groups")}
    return {"module": spec.module, **functions}


def _as_given(value: Any) -> Any:
    """Return a value of JSON as the settings have it."""
    return tuple(value) if isinstance(value, list) else value


def _source_of(stored: _Stored, source: Source) -> Source:
    """Return what names the data: what was given, or what the checkpoint says."""
    data, train_csv, test_csv, _, csv, _ = source
    if not isinstance(data, str) or (data, train_csv, test_csv, csv) != ("auto", None, None, None):
        return source
    if stored.source is None:
        raise SettingsError(f"{stored.name}: its run was trained on data in memory: give the same again")
    # How a table is read may be said again without its name; that its rows are the same is checked later.
    return tuple(then if now is None else now for then, now in zip(stored.source, (None, *source[1:]), strict=True))


def _stored(asked: RunSpec) -> _Stored:
    """Return what the newest checkpoint says, read once for all processes of a job."""
    folder, text = CheckpointFolder(str(asked.reliability.resume)), ""
    with together(asked.team):  # before the others wait for what it says
        if leads(asked.team):
            found = folder.newest()
            identity: Mapping[str, Any] = found.identity
            try:
                source = identity["source"]
                kept = [
                    shown(found.path),
                    identity["settings"],
                    identity["workers"],
                    None if source is None else list(source.values()),
                    identity["label"],
                    identity.get("module"),
                    identity["team"],
                    identity["reliability"],
                    identity.get("grid", f"data={identity['workers']}"),
                ]
            except (KeyError, TypeError, AttributeError) as error:
                raise SettingsError(f"{shown(found.path)}: its description lacks {error}") from error
            text = json.dumps(kept)
    if is_member(asked.team):
        text = join().broadcast_text(text)
    return _Stored(*json.loads(text))
