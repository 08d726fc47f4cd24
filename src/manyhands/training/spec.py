"""What a user can set about a run, once: command line, `train`, `compare`, plans and messages are made of these fields.

NumPy-free, because the command line's help is made of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from manyhands.core.checks import positive_real, truth, whole
from manyhands.core.choices import LEARNERS, OTHER_LEARNERS, SCALINGS, SHARDINGS
from manyhands.core.errors import SettingsError
from manyhands.core.settings import (
    amount,
    check_names,
    check_settings,
    positive,
    positive_or_auto,
    setting,
    setting_fields,
    threshold,
)
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.teams.registry import CHOICES, SOLO

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from manyhands.core.strategy import Strategy
    from manyhands.core.types import Sharding
    from manyhands.data.catalog import DataRequest
    from manyhands.data.partitioning import Partition
    from manyhands.training.schedules import RateSchedule
    from manyhands.training.stopping import Stop

AUTO = "auto"
DEFAULT_BATCH = 200
_COUNT = partial(whole, least=1)
_ONE_OR_MORE = {"read": positive, "check": _COUNT}


class Parsed(NamedTuple):
    """What the texts of a spec name; ``strategy`` is None if it is ``auto``, others if they are not given."""

    strategy: Strategy | None
    schedule: RateSchedule | None
    stop: Stop | None
    partition: Partition | None


class RunNeeds(NamedTuple):
    """What a run needs of data, workers and learner.

    Attributes
    ----------
    validation
        Whether merges or the stopping rule evaluate on validation samples.
    fixed_shards
        Whether every worker trains on one fixed shard, so that a process needs no other samples.
    one_call
        Whether the learner is trained in one call, so that nothing can happen in between.
    """

    validation: bool
    fixed_shards: bool
    one_call: bool


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything a user can set about a run; each field says what it is in its metadata.

    Texts (``strategy``, ``schedule``, ``stop``, ``partition``) may also be the objects that they name. What is None is
    chosen by `manyhands.training.resolve.resolve`, once the data are known. ``first_epoch`` and ``shuffle`` are for
    runs that continue others: the number of the first epoch for everything random, and whether samples are permuted.

    Raises
    ------
    SettingsError
        If a value cannot be, whatever the data are.
    """

    train_size: int | None = setting(
        None, "use the first N training samples (default: 6000 of MNIST, else all)", "data", metavar="N", **_ONE_OR_MORE
    )
    scale: str = setting("auto", "scaling of the inputs", "data", choices=SCALINGS)
    binarize: float | Literal["auto"] | None = setting(
        None,
        "make inputs binary instead: 1 for stored values from T on, else 0 (T without a number: half of the largest "
        "training value)",
        "data",
        metavar="T",
        read=threshold,
        const=AUTO,
    )
    validation: int | Literal["auto"] | None = setting(
        None,
        "training samples to set aside for choosing, merging or stopping: a number, or auto (default: auto where one "
        "of these needs them)",
        "data",
        metavar="V",
        read=positive_or_auto,
    )
    network: MLPSettings = field(default=MLPSettings(), metadata={"nested": True})
    strategy: str | Strategy = setting(
        "sequential", "auto, or one of docs/strategies.md, e.g. periodic:1epoch", "strategy", metavar="S"
    )
    workers: int | None = setting(
        None, "default: 1; under mpiexec or torchrun, all", "strategy", metavar="N", **_ONE_OR_MORE
    )
    batch: int | None = setting(
        None, "GLOBAL batch, shared by all workers (default: 200)", "training", metavar="B", **_ONE_OR_MORE
    )
    epochs: int = setting(75, "passes over the training samples", "training", metavar="E", **_ONE_OR_MORE)
    team: str = setting("threads", "how workers talk", "team", choices=CHOICES, hidden_choices=(SOLO,))
    hang_timeout: float | None = setting(
        None,
        "with the teams mpi and torch: end the job when a worker takes no step for S seconds (default: 100 measured "
        "steps, at least 4 s)",
        "team",
        metavar="S",
        read=amount,
        check=positive_real,
    )
    learner: str = setting(
        "mlp",
        "mlp, our own, or published: scikit-learn's MLPClassifier as in Todorov et al. 2021",
        "training",
        choices=LEARNERS,
        hidden_choices=OTHER_LEARNERS,
    )
    sharding: Sharding | None = setting(
        None,
        "which rows a worker sees: its part of every global batch, or one fixed shard (default: fixed for one-shot, "
        "else global)",
        "training",
        choices=SHARDINGS,
    )
    schedule: str | RateSchedule | None = setting(
        None,
        "of the learning rate: constant, step:30epochs,factor=0.1, cosine, linear:hold=50%, one-cycle; with warmup=5% "
        "(default: constant)",
        "training",
        metavar="S",
    )
    stop: str | Stop | None = setting(
        None,
        "end before the last epoch, all workers together: loss:0.0001,patience=10, accuracy:98.2% (of validation "
        "samples) or unchanged (default: never)",
        "training",
        metavar="S",
    )
    partition: str | Partition | None = setting(
        None,
        "fixed shards: stored (consecutive rows), iid, sorted (by label) or dirichlet:0.3 (unlike mixtures)",
        "training",
        metavar="P",
    )
    seed: int = setting(
        0, "of everything random", "training", metavar="S", read=int, check=partial(whole, least=0, most=None)
    )
    pin: bool = setting(False, "keep every worker on a core of its own", "placement", check=truth)
    blas_threads: int = setting(
        1,
        "BLAS threads of each process, for products of layers wider than 1,024 or float64",
        "placement",
        metavar="T",
        read=positive,
        check=partial(whole, least=1, most=2**31 - 1),  # what libraries take
    )
    convergence: bool = setting(
        False,
        "measure accuracy and loss on the test samples after every round; no training clock counts it",
        "convergence",
        check=truth,
    )
    first_epoch: int = 0
    shuffle: bool = True

    def __post_init__(self) -> None:
        check_settings(self)
        object.__setattr__(self, "first_epoch", whole("first_epoch", self.first_epoch, least=0))
        object.__setattr__(self, "shuffle", truth("shuffle", self.shuffle))
        self._check_placement()

    def _check_placement(self) -> None:
        if self.pin:
            from manyhands.runtime.affinity import check_pinning

            check_pinning()
        if self.pin and self.blas_threads > 1:
            raise SettingsError("a worker that is pinned to one core has no use for several BLAS threads; choose one")

    def changed(self, **settings: Any) -> Self:
        """Return this spec with other settings, those of the network among them: ``changed(hidden=(64,), seed=1)``.

        Raises
        ------
        TypeError
            If there is no such setting, with the nearest one.
        """
        known = [each.name for each, _ in setting_fields(RunSpec)]
        check_names("RunSpec.changed", settings, [*known, "network"])
        own = {each.name for each in fields(RunSpec)}
        network = {name: value for name, value in settings.items() if name not in own}
        values = {name: value for name, value in settings.items() if name in own}
        if network:
            values["network"] = values.get("network", self.network).changed(**network)
        return replace(self, **values)

    @cached_property
    def parsed(self) -> Parsed:
        """What the texts name, read once; one that names nothing is a SettingsError."""
        from manyhands.data.partitioning import parse_partition
        from manyhands.strategies import parse_strategy
        from manyhands.training.given import read
        from manyhands.training.schedules import parse_schedule
        from manyhands.training.stopping import parse_stop

        def given(name: str, parse: Any, part: str) -> Any:
            value = getattr(self, name)
            return None if value is None else read(parse, value, part, name)

        strategy = None if self.automatic else given("strategy", parse_strategy, "stages")
        return Parsed(
            strategy,
            given("schedule", parse_schedule, "factors"),
            given("stop", parse_stop, "for_worker"),
            given("partition", parse_partition, "divide"),
        )

    @property
    def automatic(self) -> bool:
        """Whether the strategy is to be chosen, see `manyhands.training.auto`."""
        return isinstance(self.strategy, str) and self.strategy.strip() == AUTO

    @cached_property
    def needs(self) -> RunNeeds:
        """What the run needs, as its strategy, stopping rule and learner say."""
        strategy, _, stop, partition = self.parsed
        one_call = self.learner == "published"
        own = strategy is not None and strategy.needs.fixed_shards
        fixed = one_call or (own if self.sharding is None else self.sharding == "fixed")
        return RunNeeds(
            validation=(strategy is not None and strategy.needs.uses_validation)
            or (stop is not None and stop.validates),
            fixed_shards=fixed and partition is None and strategy is not None,
            one_call=one_call,
        )

    def request(
        self,
        data: str | Path = "auto",
        train_csv: str | Path | None = None,
        test_csv: str | Path | None = None,
        label_column: str | int = 0,
    ) -> DataRequest:
        """Return what to load for the run."""
        from manyhands.data.catalog import DataRequest

        validation: Any = AUTO if self.validation is None and self.needs.validation else self.validation
        return DataRequest(
            data=str(data),
            train_csv=train_csv,
            test_csv=test_csv,
            label_column=label_column,
            train_size=self.train_size,
            scale=self.scale,
            validation=validation,
            binarize=self.binarize,
        )

    def to_json(self) -> dict[str, Any]:
        """Return all fields as plain data, objects by the text that names them."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Return the spec that :meth:`to_json` has written."""
        network = MLPSettings(**{**record["network"], "hidden": tuple(record["network"]["hidden"])})
        return cls(**{each.name: record[each.name] for each in fields(cls)} | {"network": network})


def _plain(value: Any) -> Any:
    if isinstance(value, MLPSettings):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    return getattr(value, "name", value)
