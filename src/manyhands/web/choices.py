"""What a browser may ask of a training: a few values of each setting, and names instead of paths."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from manyhands.core.errors import SettingsError, shown
from manyhands.core.words import count
from manyhands.data.mnist import MNIST_FILES
from manyhands.runtime.affinity import usable_cores
from manyhands.runtime.atomic_files import cache_folder
from manyhands.training.spec import RunSpec

STRATEGIES = {
    "periodic:1epoch": "periodic:1epoch \N{EM DASH} average the networks once an epoch",
    "gradient": "gradient \N{EM DASH} average the gradients in every step",
    "one-shot": "one-shot \N{EM DASH} train apart, average once at the end",
    "minibatch:5epochs": "minibatch:5epochs \N{EM DASH} five passes over a mini-batch, then average",
    "diloco:1epoch": "diloco:1epoch \N{EM DASH} average once an epoch, with momentum",
    "sequential": "sequential \N{EM DASH} one worker alone",
}
HIDDEN = {"25": (25,), "75": (75,), "128-64": (128, 64), "256-128": (256, 128), "512": (512,)}
EPOCHS = (10, 30, 75, 200)
BATCHES = (50, 200, 1000)
SEEDS = (1, 3, 5)
_VALIDATION = 1000
_DEFAULTS = {"hidden": "75", "strategy": "periodic:1epoch", "epochs": 75, "batch": 200, "seeds": 1}


@dataclass(frozen=True)
class DataChoice:
    """A data set that can be chosen.

    Attributes
    ----------
    title
        What people see.
    data
        What `manyhands.train` takes: a name, or a path that the operator has given.
    train_size, validation
        See `RunSpec`.
    """

    title: str
    data: str
    train_size: int | Literal["all"] | None = None
    validation: int | Literal["auto"] = "auto"


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """A training that a browser asks for; every value is one of those offered.

    Attributes
    ----------
    data
        The key of a `DataChoice`.
    hidden, workers, strategy, epochs, batch
        See `RunSpec`.
    seeds
        How many times it is trained, each time with another seed.
    sequential
        Whether one worker trains, too, for comparison.
    """

    data: str
    hidden: str
    workers: int
    strategy: str
    epochs: int
    batch: int
    seeds: int
    sequential: bool

    @property
    def compares(self) -> bool:
        """Whether there is something to compare with one worker."""
        return self.sequential and self.workers > 1

    def spec(self, choice: DataChoice, *, workers: int, seed: int) -> RunSpec:
        """Return the settings of one run; with one worker, it is the sequential one."""
        return RunSpec(
            train_size=choice.train_size,
            validation=choice.validation,
            workers=workers,
            strategy=self.strategy if workers > 1 else "sequential",
            epochs=self.epochs,
            batch=self.batch,
            seed=seed,
        ).changed(hidden=HIDDEN[self.hidden])


def data_choices(given: tuple[str, ...] = ()) -> dict[str, DataChoice]:
    """Return the data sets that are here without a download, and those that the operator has named, by their keys."""
    found = {"digits": DataChoice("digits: 1,797 of 8 x 8 pixels, a moment's work", "digits")}
    if _is_here("mnist", tuple(MNIST_FILES)):
        found["mnist-6000"] = DataChoice("MNIST: the first 6,000 of 28 x 28 pixels", "mnist", 6000, _VALIDATION)
        found["mnist"] = DataChoice("MNIST: all 60,000", "mnist", "all", _VALIDATION)
    if _is_here("letters", ()):
        found["letters"] = DataChoice("letters: A to Z, 28 x 28 pixels", "letters", "all", _VALIDATION)
    for number, data in enumerate(given):
        found[f"given-{number}"] = DataChoice(shown(Path(data).name or data), data)
    return found


def _is_here(name: str, files: tuple[str, ...]) -> bool:
    """Return whether a known data set is in the folder that MANYHANDS_DATA names, or with these files in the cache."""
    own, cached = os.environ.get("MANYHANDS_DATA"), cache_folder() / name
    if own and (Path(own) / name).is_dir():
        return True
    return cached.is_dir() and all((cached / file).is_file() for file in files)


def offered(choices: Mapping[str, DataChoice]) -> dict[str, Any]:
    """Return what the page offers, as plain data."""
    cores = usable_cores()
    return {
        "data": [{"value": key, "text": choice.title} for key, choice in choices.items()],
        "hidden": [{"value": key, "text": f"{key.replace('-', ' and ')} hidden units"} for key in HIDDEN],
        "workers": [{"value": n, "text": count(n, "worker")} for n in range(1, cores + 1)],
        "strategy": [{"value": key, "text": text} for key, text in STRATEGIES.items()],
        "epochs": [{"value": n, "text": count(n, "epoch")} for n in EPOCHS],
        "batch": [{"value": n, "text": f"{n:,} samples"} for n in BATCHES],
        "seeds": [{"value": n, "text": count(n, "seed")} for n in SEEDS],
        "defaults": {
            **_DEFAULTS,
            "data": "mnist-6000" if "mnist-6000" in choices else "digits",
            "workers": min(cores, 4),
            "sequential": True,
        },
    }


def read_request(asked: Mapping[str, Any], choices: Mapping[str, DataChoice]) -> TrainingRequest:
    """Return the training that a browser asks for.

    Raises
    ------
    SettingsError
        If something is asked for that is not offered.
    """
    offers = offered(choices)
    values = {name: _one_of(name, asked.get(name), offers[name]) for name in offers if name != "defaults"}
    sequential = asked.get("sequential")
    if not isinstance(sequential, bool) or set(asked) - {*values, "sequential"}:
        raise SettingsError("a training is asked for with the settings that the page offers, and no others")
    if values["strategy"] == "sequential":
        values["workers"] = 1
    return TrainingRequest(**values, sequential=sequential)


def _one_of(name: str, value: Any, offers: list[dict[str, Any]]) -> Any:
    """Return a value that is offered, of the very type that it is offered in."""
    for offer in offers:
        if type(value) is type(offer["value"]) and value == offer["value"]:
            return value
    raise SettingsError(f"{name} {shown(repr(value)[:60])} is not offered; load the page again")


def as_record(request: TrainingRequest, choice: DataChoice) -> dict[str, Any]:
    """Return a request with its data, for the process that trains."""
    return {"request": asdict(request), "choice": asdict(choice)}


def from_record(record: Mapping[str, Any]) -> tuple[TrainingRequest, DataChoice]:
    """Return what `as_record` has described."""
    return TrainingRequest(**record["request"]), DataChoice(**record["choice"])
