"""Options that several commands share, and their translation into requests."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from manyhands.core import settings
from manyhands.core.errors import SettingsError
from manyhands.core.settings import Setting, setting_fields
from manyhands.studies.sweep.request import DEFAULT_EPOCHS, DEFAULT_HIDDEN, DEFAULT_RUNS
from manyhands.training.spec import RunSpec


def add_data_options(parser: argparse.ArgumentParser, *, training: bool = True) -> None:
    """Add the options that name the data set."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data",
        default="auto" if training else None,
        metavar="NAME|PATH",
        help="auto, mnist, digits, letters, mnist+letters, cifar10, cifar100; a folder with four IDX files, those of "
        "CIFAR, or pictures by class; CIFAR's .tar.gz; a .csv, .npz or .parquet file "
        f"(default: {'auto' if training else 'what the model was trained with'})",
    )
    group.add_argument(
        "--csv", metavar="F", help="one CSV file, instead of --data; --test-size says how many rows are for testing"
    )
    if training:
        group.add_argument("--train-csv", metavar="F", help="CSV file with training rows, instead of --data")
    group.add_argument("--test-csv", metavar="F", help="CSV file with test rows")
    usual = "0" if training else "the one named as in training, else 0"
    group.add_argument(
        "--label-column",
        metavar="C",
        help=f"the label's column in tables: its name, or its number, from 0, or -1 for the last (default: {usual})",
    )
    group.add_argument(
        "--delimiter",
        metavar="D",
        help="between cells of CSV files: comma, semicolon, tab, pipe, whitespace (default: what the first lines have)",
    )


def add_settings(
    parser: argparse.ArgumentParser,
    base: RunSpec = RunSpec(),
    *,
    groups: Collection[str] | None = None,
    also: Collection[str] = (),
    without: Collection[str] = (),
    changes: Mapping[str, Mapping[str, Any]] = {},
) -> None:
    """Add an option for every setting of a run, with the defaults of ``base``; see `spec_of`.

    If ``groups`` are given, only for the settings in these groups, and those named by ``also``. ``changes`` has, by a
    setting's name, the attributes of `Setting` that are other ones for this command.
    """
    names = []
    for each, known in setting_fields(base):
        if (
            each.name in without
            or not known.group
            or not (groups is None or known.group in groups or each.name in also)
        ):
            continue
        names.append(each.name)
        known = replace(known, **changes.get(each.name, {}))
        default = next(
            getattr(owner, each.name)
            for owner in (base, base.network, base.sums, base.torch, base.reliability)
            if hasattr(owner, each.name)
        )
        text, reading = _help(known, None if each.default is None else default), _reading(known, default)
        group_of(parser, known.group).add_argument(option(each.name), default=argparse.SUPPRESS, help=text, **reading)
    parser.set_defaults(base=base, settings=names)


def _help(known: Setting, default: Any) -> str:
    """Return the help of a setting, with the words that are too many for its metavar, and its default."""
    words = f": {', '.join(known.choices)}" if known.choices and known.metavar else ""
    text = f"{known.help}{words}"
    if default is not None and default is not False and "default:" not in text:
        text += f" (default: {as_text(default, known)})"
    return text.replace("%", "%%")


def _reading(known: Setting, default: Any) -> dict[str, Any]:
    """Return how argparse reads a setting."""
    if isinstance(default, bool):
        return {"action": "store_true"}
    if known.choices:
        return {"choices": known.choices, "metavar": known.metavar}
    optional = {} if known.const is None else {"nargs": "?", "const": known.const}
    return {"type": reader(known.read), "metavar": known.metavar, **optional}


def spec_of(options: argparse.Namespace, **defaults: Any) -> RunSpec:
    """Return the spec that the options of `add_settings` ask for; ``defaults`` are for settings that are not given."""
    base: RunSpec = options.base
    given = {name: getattr(options, name) for name in options.settings if name in options}
    return base.changed(**{**defaults, **given})


def option(name: str, *value: Any) -> str:
    """Return the option of a parameter, with a value if one is given: how messages name it here."""
    words = f"--{name.replace('_', '-')}"
    known = next((known for each, known in setting_fields(RunSpec) if each.name == name), None)
    return words if not value or value[0] is True else f"{words} {shlex.quote(as_text(value[0], known))}"


def as_text(value: Any, known: Setting | None = None) -> str:
    """Return a value, of a setting if one is given, as it is written on the command line."""
    if known is not None and known.write is not None:
        return known.write(value)
    if type(value) is tuple:  # a shape has a text of its own
        return ",".join(map(as_text, value)) or "none"
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def group_of(parser: argparse.ArgumentParser, title: str) -> argparse._ArgumentGroup:
    """Return the group of options with a title; it is made if there is none."""
    found = (each for each in parser._action_groups if each.title == title)
    return next(found, None) or parser.add_argument_group(title)


def list_of(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Return a reader of values separated by commas."""
    return lambda text: tuple(read(piece.strip()) for piece in text.split(","))


def add_workers_option(group: argparse._ActionsContainer, default: tuple[int, ...]) -> None:
    """Add the numbers of workers of a study."""
    help = f"numbers of workers, separated by commas; all: the usable cores (default: {as_text(default)})"
    read = list_of(positive_or_all)
    group.add_argument("--workers", type=read, default=default, metavar="N[,N...]", help=help)


def add_strategies_option(
    group: argparse._ActionsContainer, help: str = "once per strategy: see manyhands compare --help"
) -> None:
    """Add the strategies of a study."""
    group.add_argument("--strategy", action="append", dest="strategies", metavar="S", help=help)


def add_grid_options(parser: argparse.ArgumentParser) -> None:
    """Add the networks and epochs of a sweep, and how the best is chosen."""
    group = parser.add_argument_group("sweep")
    group.add_argument(
        "--hidden",
        type=networks,
        metavar="H[,H...]",
        help="networks, separated by commas: the neurons of the hidden layer, or of several as in 128-64, or none "
        f"(default: {','.join(map(settings.widths_text, DEFAULT_HIDDEN))})",
    )
    epochs = as_text(DEFAULT_EPOCHS)
    group.add_argument(
        "--epochs",
        type=numbers,
        default=DEFAULT_EPOCHS,
        metavar="E[,E...]",
        help=f"numbers of epochs, separated by commas (default: {epochs})",
    )
    sessions = f"sessions for each classifier (default: {DEFAULT_RUNS})"
    group.add_argument("--runs", type=positive, metavar="R", help=sessions)
    group.add_argument(
        "--s1", type=amount, default=1.0, metavar="X", help="weight of the accuracy in the impact factor (default: 1)"
    )
    group.add_argument(
        "--s2",
        type=amount,
        default=1.0,
        metavar="X",
        help="weight of the time in the impact factor (default: 1); both weights rescale it, neither changes the order",
    )
    group.add_argument(
        "--min-accuracy",
        type=share,
        metavar="A",
        help="choose the fastest classifier with at least this accuracy, e.g. 93%% or 0.93, not the best trade-off",
    )
    group.add_argument(
        "--retime",
        nargs="?",
        type=positive,
        const=0,
        metavar="K",
        help="repeat sessions that ran side by side one at a time, to measure their times: all, or K of each "
        "classifier",
    )


def add_convergence_options(parser: argparse.ArgumentParser) -> None:
    """Add what is measured during training."""
    group = group_of(parser, "convergence")
    group.add_argument(
        "--target", type=share, metavar="A", help="print the training time until this accuracy, e.g. 93%% or 0.93"
    )
    add_log_options(group)


def add_log_options(group: argparse._ActionsContainer) -> None:
    """Add the live logs."""
    group.add_argument("--log", metavar="F", help="live log: one JSON line for each epoch and measurement")
    group.add_argument("--tensorboard", metavar="DIR", help="live log for TensorBoard")
    group.add_argument(
        "--log-rounds",
        action="store_true",
        help="log every round, too; several in an epoch are then no longer held in compiled code, which takes time",
    )


def add_margin_option(parser: argparse.ArgumentParser) -> None:
    """Add what counts as the same accuracy."""
    group = parser.add_argument_group("statistics")
    group.add_argument(
        "--margin",
        type=amount,
        metavar="P",
        help="differences of accuracy up to this many percentage points count as none (default: 0.25)",
    )


def add_splits_option(parser: argparse.ArgumentParser, *, default: int | None = None) -> None:
    """Add random splits."""
    group = parser.add_argument_group("random splits")
    group.add_argument(
        "--splits",
        type=positive,
        metavar="N",
        help="N random training/test splits, each with a seed of its own"
        + (", instead of seeds" if default is None else f" (default: {default})"),
    )


def add_report_option(parser: argparse.ArgumentParser) -> None:
    """Add the report."""
    group = group_of(parser, "output")
    group.add_argument(
        "--report",
        metavar="DIR",
        help="write report.html, its figures (PNG, SVG) and the raw data (CSV) into this folder",
    )
    add_replace_option(group)


def add_replace_option(group: Any) -> None:
    """Add the permission to replace the report of another study."""
    group.add_argument("--replace", action="store_true", help="replace the report of another study in that folder")


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add what says what is printed and written."""
    group = group_of(parser, "output")
    group.add_argument(
        "--json", metavar="F", help="also write the results to this file, as JSON; - is the standard output"
    )
    group.add_argument("--quiet", action="store_true", help="print only the results")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def data_of(options: argparse.Namespace) -> tuple[Any, ...]:
    """Return what `add_data_options` names, as `manyhands.training.spec.RunSpec.request` takes it."""
    train = getattr(options, "train_csv", None)  # evaluate has none
    return options.data or "auto", train, options.test_csv, options.label_column, options.csv, options.delimiter


def refuse_with_published(used: dict[str, bool]) -> None:
    """Refuse the first of the settings that was given (their names, and whether each was): the paper fixes them."""
    for name, is_used in used.items():
        if is_used:
            raise SettingsError(f"{option(name)} and --as-published do not go together: the paper says how it is done")


def inputs(scaling: str) -> str:
    """Return the scaling of the inputs in words."""
    return "inputs as stored" if scaling == "none" else f"inputs {scaling}"


def reader(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a reader of text whose errors argparse passes on."""

    def checked(text: str) -> Any:
        try:
            return read(text)
        except SettingsError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    checked.__name__ = getattr(read, "__name__", "value")
    return checked


positive, amount, numbers = map(reader, (settings.positive, settings.amount, settings.numbers))
share, networks, positive_or_all = map(reader, (settings.accuracy, settings.networks, settings.positive_or_all))


def check_output(*paths: str | None) -> None:
    """Raise OutputError or SettingsError before training if a path is not usable, or two are the same."""
    from manyhands.runtime.atomic_files import check_writable

    given = [path for path in paths if path is not None]
    if len({os.path.realpath(path) for path in given}) != len(given):
        raise SettingsError(f"two results cannot go to the same file {given[0]}")
    for path in given:
        check_writable(path)
