"""What a user can set about a run, once: command line, `train`, `compare`, plans and messages are made of these fields.

NumPy-free, because the command line's help is made of it.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from manyhands.core.checks import positive_real, share_or_count, truth, whole
from manyhands.core.choices import (
    LABELS,
    LEARNERS,
    OTHER_LEARNERS,
    PYTORCH,
    SCALINGS,
    SHARDINGS,
    UNSCALED,
    is_made_of_sums,
)
from manyhands.core.errors import SettingsError
from manyhands.core.grid import Grid, parse_grid
from manyhands.core.parameters import parameter
from manyhands.core.references import reference_of
from manyhands.core.settings import (
    amount,
    check_names,
    check_settings,
    part,
    positive,
    positive_or_all,
    positive_or_auto,
    setting,
    setting_fields,
    threshold,
    whole_number,
)
from manyhands.core.shapes import check_shape, read_shape
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.learners.sums.settings import SumsSettings
from manyhands.learners.torch.settings import TorchSettings
from manyhands.teams.registry import CHOICES, SOLO
from manyhands.training.reliability import ReliabilitySettings
from manyhands.training.spec_values import COUNT, check_count, check_module, check_workers, named_or_given, plain

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
_NESTED = {"network": MLPSettings, "sums": SumsSettings, "torch": TorchSettings, "reliability": ReliabilitySettings}
"""Fields that have settings of their own."""


_ONE_OR_MORE = {"read": positive, "check": COUNT}


class Parsed(NamedTuple):
    """What the texts of a spec name.

    ``strategy`` is None if it is ``auto``, or depends on the number of workers (`RunSpec.settled`); others are None if
    they are not given.
    """

    strategy: Strategy | None
    schedule: RateSchedule | None
    stop: Stop | None
    partition: Partition | None
    grid: Grid | None


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
    sums
        Whether the learner is made of sums over samples: it has neither steps nor epochs.
    """

    validation: bool
    fixed_shards: bool
    one_call: bool
    sums: bool


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

    train_size: int | Literal["all"] | None = setting(
        None,
        "use the first N training samples, or all (default: 6000 of MNIST, else all)",
        "data",
        metavar="N|all",
        read=positive_or_all,
        check=check_count,
    )
    test_size: float | int | None = setting(
        None,
        "where there is one table of samples: how many are drawn for testing, stratified by class; a share (0.2, 20%) "
        "or a number (default: 0.2)",
        "data",
        metavar="T",
        read=part,
        check=share_or_count,
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
    labels: str | None = setting(None, "which labels of CIFAR-100 (default: fine)", "data", choices=LABELS)
    shape: tuple[int, int, int] | None = setting(
        None,
        "channels x height x width of one sample of CSV files or flat rows, e.g. 1x28x28 (default: as stored)",
        "data",
        metavar="CxHxW",
        read=read_shape,
        check=check_shape,
    )
    network: MLPSettings = field(default=MLPSettings(), metadata={"nested": True})
    workers: int | Literal["all"] | None = setting(
        None,
        "how many workers train: a number, or all (one on each usable core) (default: 1; under mpiexec or torchrun, "
        "as many as processes)",
        "strategy",
        metavar="N",
        read=positive_or_all,
        check=check_workers,
    )
    strategy: str | Strategy | None = setting(
        None,
        "when they communicate and what they do then: auto, periodic:1epoch, gradient, one-shot, ... see "
        "docs/strategies.md (default: auto with several workers, else sequential)",
        "strategy",
        metavar="S",
    )
    grid: str | Grid | None = setting(
        None,
        "divide the network between workers: node=2, weight=2, pairs=2, or in groups: data=2,node=2; see "
        "docs/levels-of-parallelism.md (default: what auto finds fastest)",
        "training",
        metavar="G",
    )
    batch: int | None = setting(
        None,
        "GLOBAL batch: the samples of one step, shared by all workers (default: 200)",
        "training",
        metavar="B",
        **_ONE_OR_MORE,
    )
    epochs: int = setting(75, "passes over the training samples", "training", metavar="E", **_ONE_OR_MORE)
    team: str = setting(
        "threads",
        "how workers talk: threads of this program, or processes",
        "team",
        choices=CHOICES,
        hidden_choices=(SOLO,),
    )
    hang_timeout: float | None = setting(
        None,
        "with the teams mpi, torch and spark: end the job when a worker takes no step for S seconds (default: 100 "
        "measured steps, at least 4 s)",
        "team",
        metavar="S",
        read=amount,
        check=positive_real,
    )
    learner: str = setting(
        "mlp",
        "what is trained; mlp is our own network, published is scikit-learn's MLPClassifier as in Todorov et al. 2021, "
        "those from gaussian-nb to forest are made of sums (docs/classifiers.md), the others need PyTorch, and torch "
        "is a module of your own (--module)",
        "training",
        metavar="L",
        choices=LEARNERS,
        hidden_choices=OTHER_LEARNERS,
    )
    module: Any = setting(
        None,
        "with PyTorch: the function that makes your module, package.module:function or file.py:function",
        "pytorch",
        metavar="F",
        check=check_module,
    )
    sums: SumsSettings = field(default=SumsSettings(), metadata={"nested": True})
    torch: TorchSettings = field(default=TorchSettings(), metadata={"nested": True})
    sharding: Sharding | None = setting(
        None,
        "which rows a worker sees: its part of every global batch, or one fixed shard (default: fixed for one-shot, "
        "else global)",
        "training",
        choices=SHARDINGS,
    )
    schedule: str | RateSchedule | None = setting(
        None,
        "how the learning rate changes: constant, step:30epochs,factor=0.1, cosine, linear:hold=50%, one-cycle; with "
        "warmup=5% (default: constant)",
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
        "how fixed shards are made: stored (consecutive rows), iid, sorted (by label) or dirichlet:0.3 (unlike "
        "mixtures)",
        "training",
        metavar="P",
    )
    seed: int = setting(
        0,
        "seed of everything random",
        "training",
        metavar="S",
        read=whole_number,
        check=partial(whole, least=0, most=None),
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
    reliability: ReliabilitySettings = field(default=ReliabilitySettings(), metadata={"nested": True})
    first_epoch: int = 0
    shuffle: bool = True

    def __post_init__(self) -> None:
        check_settings(self)
        object.__setattr__(self, "first_epoch", whole("first_epoch", self.first_epoch, least=0))
        object.__setattr__(self, "shuffle", truth("shuffle", self.shuffle))
        self._check_placement()
        self._checkcheck_module()

    def _checkcheck_module(self) -> None:
        """Check that module and learner go together; a module alone says which learner."""
        if self.module is not None and self.learner == "mlp":
            object.__setattr__(self, "learner", "torch")
        if (self.module is None) == (self.learner == "torch"):
            module, learner = parameter("module"), parameter("learner", "torch")
            raise SettingsError(f"{learner} needs {module}, and no other learner takes one")

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
        more = {kind: {each.name for each in fields(_NESTED[kind])} for kind in _NESTED}
        check_names("RunSpec.changed", settings, [*known, *_NESTED])
        own = {each.name for each in fields(RunSpec)}
        values = {name: value for name, value in settings.items() if name in own}
        for kind, names in more.items():
            inside = {name: value for name, value in settings.items() if name in names - own}
            if inside:
                values[kind] = values.get(kind, getattr(self, kind)).changed(**inside)
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
            given("grid", parse_grid, "place_of"),
        )

    @property
    def automatic(self) -> bool:
        """Whether the strategy is to be chosen, see `manyhands.training.auto`."""
        return isinstance(self.strategy, str) and self.strategy.strip() == AUTO

    def settled(self, workers: int) -> Self:
        """Return this spec for a known number of workers: with a strategy; of sums, ``auto`` has nothing to choose."""
        if self.strategy is not None and not (self.automatic and self.needs.sums):
            return self
        several = "one-shot" if self.needs.one_call else "sums" if self.needs.sums else AUTO
        return replace(self, strategy="sequential" if workers == 1 else several)

    @cached_property
    def needs(self) -> RunNeeds:
        """What the run needs, as its strategy, stopping rule and learner say."""
        strategy, stop, partition = self.parsed.strategy, self.parsed.stop, self.parsed.partition
        one_call = self.learner == "published"
        own = strategy is not None and strategy.needs.fixed_shards
        fixed = one_call or (own if self.sharding is None else self.sharding == "fixed")
        return RunNeeds(
            validation=(strategy is not None and strategy.needs.uses_validation)
            or (stop is not None and stop.validates),
            fixed_shards=fixed and partition is None and strategy is not None,
            one_call=one_call,
            sums=is_made_of_sums(self.learner),
        )

    def request(
        self,
        data: Any = "auto",
        train_csv: str | Path | None = None,
        test_csv: str | Path | None = None,
        label_column: str | int | None = None,
        csv: str | Path | None = None,
        delimiter: str | None = None,
    ) -> DataRequest:
        """Return what to load for the run: ``data`` is a name or a path, or a tuple of arrays."""
        from manyhands.data.catalog import DataRequest

        validation: Any = AUTO if self.validation is None and self.needs.validation else self.validation
        return DataRequest(
            data=named_or_given(data),
            train_csv=train_csv,
            test_csv=test_csv,
            label_column=label_column,
            train_size=self.train_size,
            scale="none" if self.learner in UNSCALED and self.scale == AUTO else self.scale,
            validation=validation,
            binarize=self.binarize,
            labels=self.labels,
            shape=self.shape,
            csv=csv,
            delimiter=delimiter,
            test_size=self.test_size,
            seed=self.seed,
        )

    @property
    def architecture(self) -> str:
        """The network in a few words."""
        if self.learner == "torch":
            return str(plain(self.module))
        if self.learner in PYTORCH or is_made_of_sums(self.learner):
            return self.learner
        return f"hidden {'-'.join(map(str, self.network.hidden)) or 'none'} {self.network.activation}"

    def to_json(self) -> dict[str, Any]:
        """Return all fields as plain data, objects by the text that names them."""
        return {each.name: plain(getattr(self, each.name)) for each in fields(self)}

    def portable(self) -> Self:
        """Return the same spec for processes that do not share this one's memory: functions by their names.

        Raises
        ------
        SettingsError
            If one has no name that another process can import, or the module is not made by a function.
        """
        functions = ("loss_function", "parameter_groups")
        if self.module is None or isinstance(self.module, str):
            named = self.module
        elif inspect.isclass(self.module) or inspect.isroutine(self.module):
            named = reference_of(self.module)
        else:
            raise SettingsError(
                f"a module that exists cannot be sent to the processes of a job that is started for this run: give "
                f"{parameter('module')} a function that makes it, start the program with mpiexec, or use "
                f"{parameter('team', 'threads')}"
            )
        if any(getattr(self.torch, name) is not None for name in functions):
            raise SettingsError(
                f"{' and '.join(functions)} stay in this process: start the program with mpiexec, or use "
                f"{parameter('team', 'threads')}"
            )
        return replace(self, module=named)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Return the spec that :meth:`to_json` has written."""
        nested = {name: kind(**record[name]) for name, kind in _NESTED.items()}
        return cls(**{each.name: record[each.name] for each in fields(cls)} | nested)
