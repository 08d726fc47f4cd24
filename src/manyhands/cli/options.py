"""Options that several commands share, and their translation into requests."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from manyhands.errors import SettingsError

if TYPE_CHECKING:
    from manyhands.data.catalog import DataRequest

Commands = "argparse._SubParsersAction[argparse.ArgumentParser]"

# Written out, because importing the modules that own these lists would import NumPy for every --help;
# a test compares them.
SCALINGS = ("auto", "255", "standard", "none")
ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
OPTIMIZERS = ("adam", "sgd")
TEAMS = ("threads", "mpi")
LEARNERS = ("mlp", "published")


def add_data_options(parser: argparse.ArgumentParser, *, training: bool = True) -> None:
    """Add what says which examples to use."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data",
        default="auto",
        metavar="NAME|FOLDER",
        help="auto, mnist, digits, letters, or a folder with four IDX files (default: auto)",
    )
    if training:
        group.add_argument("--train-csv", metavar="F", help="CSV file with training rows, instead of --data")
    group.add_argument("--test-csv", metavar="F", help="CSV file with test rows")
    group.add_argument(
        "--label-column", default="0", metavar="C", help="the label's column in CSV files: number or name (default: 0)"
    )
    if training:
        group.add_argument(
            "--train",
            type=positive,
            metavar="N",
            help="use the first N training rows (default: 6000 of MNIST, else all)",
        )
        group.add_argument("--scale", default="auto", choices=SCALINGS, help="scaling of the inputs (default: auto)")


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add what says which network is trained and how."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--hidden", type=widths, default=(75,), metavar="W[,W...]", help="hidden layers, or none (default: 75)"
    )
    group.add_argument("--activation", default="relu", choices=ACTIVATIONS, help="of hidden layers (default: relu)")
    group.add_argument("--optimizer", default="adam", choices=OPTIMIZERS, help="default: adam")
    group.add_argument("--learning-rate", type=float, default=0.001, metavar="R", help="default: 0.001")
    group.add_argument("--l2", type=float, default=0.0001, metavar="L", help="weight penalty (default: 0.0001)")
    group.add_argument("--momentum", type=float, default=0.9, metavar="M", help="of SGD (default: 0.9)")
    group.add_argument(
        "--nesterov",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="Nesterov's momentum for SGD (default: on)",
    )
    group.add_argument("--dtype", choices=("float32", "float64"), help="default: float32 (with --as-published float64)")


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add what says how the training goes."""
    group = parser.add_argument_group("training")
    group.add_argument("--batch", type=positive, metavar="B", help="GLOBAL batch, shared by all workers (default: 200)")
    group.add_argument("--epochs", type=positive, default=75, metavar="E", help="default: 75")
    group.add_argument("--team", default="threads", choices=TEAMS, help="how workers talk (default: threads)")
    group.add_argument(
        "--learner",
        default="mlp",
        choices=LEARNERS,
        help="mlp, our own, or published: scikit-learn's MLPClassifier as in Todorov et al. 2021 (default: mlp)",
    )
    group.add_argument(
        "--sharding",
        choices=("global", "fixed"),
        help="which rows a worker sees: its part of every global batch, or one fixed share "
        "(default: fixed for one-shot, else global)",
    )
    group.add_argument(
        "--patience",
        type=seconds,
        metavar="S",
        help="with the team mpi: end the job when a worker shows nothing for S seconds "
        "(default: 100 measured steps, at least 4 s)",
    )
    group.add_argument("--seed", type=int, default=0, metavar="S", help="of everything random (default: 0)")


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add what says what is printed and written."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", metavar="F", help="also write the results to this file")
    group.add_argument("--quiet", action="store_true", help="print the result only")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def data_request(options: argparse.Namespace) -> DataRequest:
    """Translate the data options."""
    from manyhands.data.catalog import DataRequest

    return DataRequest(
        data=options.data,
        train_csv=getattr(options, "train_csv", None),
        test_csv=options.test_csv,
        label_column=options.label_column,
        rows=getattr(options, "train", None),
        scale=getattr(options, "scale", "auto"),
    )


def network_options(options: argparse.Namespace) -> dict[str, Any]:
    """Translate the network options into fields of MLPSettings."""
    names = ("hidden", "activation", "optimizer", "learning_rate", "l2", "momentum", "nesterov", "dtype")
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def inputs(scaling: str) -> str:
    """Say what goes into the network."""
    return "inputs as stored" if scaling == "none" else f"inputs {scaling}"


def positive(text: str) -> int:
    """Read a whole number from 1 on."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return value


def seconds(text: str) -> float:
    """Read a positive number."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


def widths(text: str) -> tuple[int, ...]:
    """Read ``512,128`` or ``none``."""
    return () if text == "none" else numbers(text)


def numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers from 1 on, separated by commas."""
    return tuple(positive(piece) for piece in text.split(","))


def check_output(*paths: str | None) -> None:
    """Fail before training if a result could not be written.

    Raises
    ------
    OutputError, SettingsError
        If a path is not usable, or two are the same.
    """
    from manyhands.files import check_writable

    given = [path for path in paths if path is not None]
    if len({os.path.realpath(path) for path in given}) != len(given):
        raise SettingsError(f"two results cannot go to the same file {given[0]}")
    for path in given:
        check_writable(path)
