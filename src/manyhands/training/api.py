"""`manyhands.train`: from data and settings to a trained model."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manyhands.core.callbacks import CallbackLike
from manyhands.core.errors import SettingsError, TrainingWarning
from manyhands.core.settings import check_names, takes_settings
from manyhands.data.arrays import FORMS
from manyhands.data.catalog import DataRequest
from manyhands.data.dataset import Dataset
from manyhands.runtime.affinity import warn_if_oversubscribed
from manyhands.runtime.memory import memory_errors_explained
from manyhands.teams.agreement import together
from manyhands.teams.job import is_member, leads
from manyhands.training.jobs.distributed_read import facts_of, facts_of_request, load_for
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.result import Progress, TrainingResult
from manyhands.training.resuming import Source, names_given, taken_up
from manyhands.training.run import run
from manyhands.training.spec import RunSpec


@takes_settings(RunSpec, checked=False)
@memory_errors_explained("the run")
def train(
    data: Any = "auto",
    spec: Any = None,
    *,
    train_csv: str | Path | None = None,
    test_csv: str | Path | None = None,
    label_column: str | int | None = None,
    csv: str | Path | None = None,
    delimiter: str | None = None,
    progress: Progress | None = None,
    callbacks: Sequence[CallbackLike] = (),
    **settings: Any,
) -> TrainingResult:
    """Train one classifier and evaluate it on the test rows.

    ``train(data, ...)`` trains one of our networks; ``train(module, data, ...)`` trains a PyTorch module.

    Parameters
    ----------
    data : str, Path, tuple or Dataset
        ``"auto"``, ``"mnist"``, ``"digits"``, ``"letters"``, ``"cifar10"``, ``"cifar100"``, several sets of characters
        as one (``"mnist+letters"``), a folder of IDX or CIFAR files or of pictures by class, CIFAR's archive, a .csv,
        .npz or .parquet file. Or arrays, lists or DataFrames as one tuple: ``(X_train, y_train, X_test, y_test)``,
        or ``(X, y)``, of which ``test_size`` (0.2 by default) is drawn for the test; columns of DataFrames are found
        by their names. Or a `Dataset` made by `manyhands.make_dataset`, which is taken as it is: settings about data
        (``train_size``, ``test_size``, ``scale``, ``binarize``, ``validation``, ``labels``, ``shape``) are for others.
    module : torch.nn.Module or callable
        Instead of ``data``, which is then the second argument: a module, or a function that makes one. See
        `manyhands.learners.torch.learner.TorchLearner` for what it must be; the user's own stays as it is, and
        ``result.model.learner.module`` is the trained one.
    spec : RunSpec
        Settings as one object; by default all have their defaults.
    train_csv, test_csv
        Two CSV files instead of ``data``.
    label_column
        Of tables: number, from 0, or name; by default the first.
    csv
        One CSV file instead of ``data``; ``test_size`` says how many of its rows are for testing.
    delimiter
        Of CSV files; by default it is found in their first lines.
    progress, callbacks
        See `manyhands.training.run.run`.
    **settings
        Any field of `manyhands.RunSpec` and of `manyhands.MLPSettings`, such as ``strategy="periodic:1epoch"``,
        ``workers=2``, ``team="mpi"``, ``hidden=(64,)``: they replace those of ``spec``. ``manyhands train --help-all``
        says what each is. With the team mpi (or torch), in a program started by mpiexec (or torchrun), every process
        calls this with the same arguments and gets the same result.

    Returns
    -------
    TrainingResult

    Warns
    -----
    TrainingWarning
        If the model is at chance level, or the loss has risen; ``result.problem`` says it, too.

    Raises
    ------
    TypeError
        If there is no such setting, with the nearest one.
    ManyhandsError
        If anything about data or settings cannot work, before training starts. In an MPI job all processes raise it:
        what has failed in one of them alone, or is not the same in all, is a `manyhands.core.errors.RankError`, a
        SettingsError or a DataError on the others.

    Examples
    --------
    >>> import manyhands
    >>> result = manyhands.train("digits", strategy="periodic:1epoch", workers=2, epochs=60)
    >>> result.accuracy > 0.9
    True

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> result = manyhands.train((X, y), test_size=0.2, hidden=(8,), epochs=300, batch=20)
    >>> result.accuracy > 0.9
    True
    """
    if callable(data):
        settings["module"], data, spec = data, "auto" if spec is None else spec, None
    team = settings.get("team", base_of(spec).team)
    source: Source = (data, train_csv, test_csv, label_column, csv, delimiter)
    with together(team):
        check_names("train", settings, inspect.signature(train).parameters)
        asked = base_of(spec).changed(**settings)
    with together(team):
        if asked.reliability.resume is not None:
            asked, source = taken_up(asked, names_given(asked, settings), source)
        request = data if isinstance(data, Dataset) else asked.request(*source)
    plan, dataset = load_and_resolve("manyhands.train", asked, request)
    warn_if_oversubscribed_here(plan.threads, plan.team)
    result = run(plan, dataset, progress=progress, callbacks=callbacks)
    if result.problem is not None and leads(plan.team):
        warnings.warn(result.problem, TrainingWarning, stacklevel=4)  # two decorators are in between
    return result


def base_of(spec: Any) -> RunSpec:
    """Return the settings that a call of `train`, or of a study, begins with: those given, or all defaults.

    Raises
    ------
    SettingsError
        If they are none, as in ``train(X, y)``.
    """
    if spec is None or isinstance(spec, RunSpec):
        return spec or RunSpec()
    raise SettingsError(
        f"the second argument, spec, is a RunSpec, not a {type(spec).__name__}; give arrays as one tuple, {FORMS}: "
        "train((X, y), test_size=0.2)"
    )


def load_and_resolve(call: str, spec: RunSpec, request: DataRequest | Dataset) -> tuple[Plan, Dataset]:
    """Return a run and its data, the same in all processes of a job.

    ``call`` is the name of the function that the user has called, for messages.
    """
    # Whether a worker needs no rows but its own.
    alone = not spec.reliability.needs_all_rows and spec.grid is None
    needed: Any = "fixed" if spec.needs.fixed_shards and alone else "global"
    with together(spec.team) as step:
        step.bring(lambda: facts_of_request(call, request, needed))
    dataset = request if isinstance(request, Dataset) else load_for(request, spec.team, needed)
    with together(spec.team) as step:
        plan = resolve(spec, dataset)
        step.bring(lambda: facts_of(plan, dataset))
    return plan, dataset


def warn_if_oversubscribed_here(workers: int, team: str) -> None:
    """Say so if this machine has far fewer cores than workers; those of a job that others started may be on several."""
    if not is_member(team):
        warn_if_oversubscribed(workers)
