"""Options that several commands share, and their translation into requests."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from manyhands.core.errors import SettingsError

if TYPE_CHECKING:
    from manyhands.data.catalog import DataRequest
    from manyhands.training.placement import Placement

Commands = "argparse._SubParsersAction[argparse.ArgumentParser]"

# Written out, because importing the modules that own these lists would import NumPy for every --help;
# a test compares them.
SCALINGS = ("auto", "255", "standard", "none")
ACTIVATIONS = (
    "identity", "logistic", "tanh", "relu",
    "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "softsign",
)  # fmt: skip
OPTIMIZERS = (
    "sgd", "momentum", "nesterov", "adam", "adagrad", "rmsprop",
    "adadelta", "adamax", "nadam", "adamw", "lamb", "lars",
)  # fmt: skip
LOSSES = ("cross_entropy", "binary_cross_entropy", "squared_error", "poisson")
TEAMS = ("threads", "mpi")
LEARNERS = ("mlp", "published")
GRID_HIDDEN = ((50,), (65,), (75,), (85,), (100,))
GRID_EPOCHS = (50, 65, 75, 85, 100)


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
    usual = "0" if training else None
    group.add_argument(
        "--label-column",
        default=usual,
        metavar="C",
        help="the label's column in CSV files: number or name "
        f"(default: {usual or 'the one named as in training, else 0'})",
    )
    if training:
        group.add_argument(
            "--train",
            type=positive,
            metavar="N",
            help="use the first N training rows (default: 6000 of MNIST, else all)",
        )
        group.add_argument("--scale", default="auto", choices=SCALINGS, help="scaling of the inputs (default: auto)")
        group.add_argument(
            "--binarize",
            nargs="?",
            type=threshold,
            const="auto",
            metavar="T",
            help="make inputs binary instead: 1 for stored values from T on, else 0 (T without a number: half of the "
            "largest training value)",
        )


def add_network_options(parser: argparse.ArgumentParser, *, grid: bool = False) -> None:
    """Add what says which network is trained and how; a grid has several networks."""
    group = parser.add_argument_group("network")
    if grid:
        group.add_argument(
            "--hidden",
            type=networks,
            default=GRID_HIDDEN,
            metavar="H[,H...]",
            help="networks: the width of their hidden layer, or of several as in 128-64 (default: 50,65,75,85,100)",
        )
    else:
        group.add_argument(
            "--hidden", type=widths, default=(75,), metavar="W[,W...]", help="hidden layers, or none (default: 75)"
        )
    group.add_argument(
        "--activation",
        default="relu",
        choices=ACTIVATIONS,
        metavar="A",
        help=f"of hidden layers: {', '.join(ACTIVATIONS)} (default: relu)",
    )
    group.add_argument(
        "--optimizer",
        default="adam",
        choices=OPTIMIZERS,
        metavar="O",
        help=f"{', '.join(OPTIMIZERS)} (default: adam)",
    )
    group.add_argument("--learning-rate", type=float, metavar="R", help="default: the optimizer's own, 0.001 for adam")
    group.add_argument("--l2", type=float, default=0.0001, metavar="L", help="weight penalty (default: 0.0001)")
    group.add_argument(
        "--momentum", type=float, default=0.9, metavar="M", help="of momentum, nesterov and lars (default: 0.9)"
    )
    group.add_argument(
        "--weight-decay", type=float, metavar="D", help="of adamw, lamb and lars (default: the optimizer's own)"
    )
    group.add_argument(
        "--loss",
        default="cross_entropy",
        choices=LOSSES,
        metavar="L",
        help=f"{', '.join(LOSSES)} (default: cross_entropy)",
    )
    group.add_argument(
        "--weight-init",
        default="auto",
        metavar="I",
        help="auto (scikit-learn's), zeros, ones, constant:C, uniform:A, normal:S, glorot_uniform, glorot_normal, "
        "he_uniform, he_normal, lecun_uniform, lecun_normal, orthogonal:G",
    )
    group.add_argument("--bias-init", default="auto", metavar="I", help="the same, but orthogonal")
    group.add_argument(
        "--dropout", type=float, default=0.0, metavar="P", help="chance of a hidden neuron to be left out (default: 0)"
    )
    group.add_argument("--dtype", choices=("float32", "float64"), help="default: float32 (with --as-published float64)")


def add_training_options(parser: argparse.ArgumentParser, *, epochs: int = 75) -> None:
    """Add what says how the training goes."""
    group = parser.add_argument_group("training")
    group.add_argument("--batch", type=positive, metavar="B", help="GLOBAL batch, shared by all workers (default: 200)")
    group.add_argument("--epochs", type=positive, default=epochs, metavar="E", help=f"default: {epochs}")
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
        "--schedule",
        metavar="S",
        help="of the learning rate: constant, step:30epochs,factor=0.1, cosine, linear:hold=50%%, one-cycle; with "
        "warmup=5%% (default: constant)",
    )
    group.add_argument(
        "--stop",
        metavar="S",
        help="end before the last epoch, all workers together: loss:0.0001,patience=10, accuracy:98.2%% (of validation "
        "rows) or unchanged (default: never)",
    )
    group.add_argument(
        "--shares",
        metavar="S",
        help="fixed shares: stored (consecutive rows), iid, sorted (by label) or dirichlet:0.3 (unlike mixtures)",
    )
    group.add_argument(
        "--validation",
        type=validation,
        metavar="V",
        help="training rows to keep for merges and stopping rules that look at them: a number, or auto (default: auto "
        "for those)",
    )
    group.add_argument(
        "--patience",
        type=amount,
        metavar="S",
        help="with the team mpi: end the job when a worker shows nothing for S seconds "
        "(default: 100 measured steps, at least 4 s)",
    )
    group.add_argument("--seed", type=int, default=0, metavar="S", help="of everything random (default: 0)")


def add_placement_options(parser: argparse.ArgumentParser) -> None:
    """Add where the workers run."""
    group = parser.add_argument_group("placement")
    group.add_argument("--pin", action="store_true", help="keep every worker on a core of its own")
    group.add_argument(
        "--blas-threads",
        type=positive,
        default=1,
        metavar="T",
        help="BLAS threads of each process, for products of layers wider than 1,024 or float64 (default: 1)",
    )


def placement(options: argparse.Namespace) -> Placement:
    """Translate the options of `add_placement_options`."""
    from manyhands.training.placement import Placement

    return Placement(options.pin, options.blas_threads)


def add_grid_options(parser: argparse.ArgumentParser) -> None:
    """Add what says what a sweep goes over, and what is best."""
    group = parser.add_argument_group("sweep")
    group.add_argument(
        "--epochs", type=numbers, default=GRID_EPOCHS, metavar="E[,E...]", help="default: 50,65,75,85,100"
    )
    group.add_argument("--runs", type=positive, metavar="R", help="sessions for each classifier (default: 5)")
    group.add_argument(
        "--validation",
        type=positive,
        metavar="V",
        help="training samples to hold out for the choice (default: up to 10,000 that training does not use, or a "
        "sixth)",
    )
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
        "--target",
        type=share,
        metavar="A",
        help="choose the fastest classifier with at least this accuracy, e.g. 0.93, instead of the best trade-off",
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
    group.add_argument(
        "--journal",
        metavar="F",
        help="keep finished sessions in this file and resume from it (default: a file beside --report or --json, "
        "deleted at the end)",
    )


def add_convergence_options(parser: argparse.ArgumentParser) -> None:
    """Add what is measured on the way."""
    group = parser.add_argument_group("convergence")
    group.add_argument(
        "--convergence",
        action="store_true",
        help="measure accuracy and loss on the test rows after every round; no training clock counts it",
    )
    group.add_argument("--target", type=share, metavar="A", help="time to this accuracy, e.g. 0.93; implies it")
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
    parser.add_argument(
        "--report",
        metavar="DIR",
        help="write report.html, its figures (PNG, SVG) and the raw data (CSV) into this folder",
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add what says what is printed and written."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", metavar="F", help="also write the results to this file, as JSON")
    group.add_argument("--quiet", action="store_true", help="print only the results")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def data_request(options: argparse.Namespace, strategies: Sequence[str] = ()) -> DataRequest:
    """Translate the data options.

    Parameters
    ----------
    options
        The command's.
    strategies
        What will train on the data: some look at validation rows.
    """
    from manyhands.data.catalog import DataRequest

    binarize = getattr(options, "binarize", None)
    if getattr(options, "as_published", False):
        refuse_with_published({"--binarize": binarize is not None})
    rows = getattr(options, "validation", None)
    if strategies:
        from manyhands.training.plan import rows_validated

        rows = rows_validated(strategies, rows, getattr(options, "stop", None))

    return DataRequest(
        data=options.data,
        train_csv=getattr(options, "train_csv", None),
        test_csv=options.test_csv,
        label_column=options.label_column,
        rows=getattr(options, "train", None),
        scale=getattr(options, "scale", "auto"),
        validation=rows,
        binarize=binarize,
    )


def network_options(options: argparse.Namespace) -> dict[str, Any]:
    """Translate the network options into fields of MLPSettings."""
    names = (
        "hidden", "activation", "optimizer", "learning_rate", "l2", "momentum", "weight_decay",
        "loss", "weight_init", "bias_init", "dropout", "dtype",
    )  # fmt: skip
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def refuse_with_published(given: dict[str, bool]) -> None:
    """Refuse options that the paper leaves no choice in: by their name, whether each was given.

    Raises
    ------
    SettingsError
        For the first that was.
    """
    for option, used in given.items():
        if used:
            raise SettingsError(f"{option} and --as-published do not go together: the paper says how it is done")


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


def validation(text: str) -> int | str:
    """Read a whole number from 1 on, or ``auto``."""
    return text if text == "auto" else positive(text)


def amount(text: str) -> float:
    """Read a positive number."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def threshold(text: str) -> float | str:
    """Read any finite number, or ``auto``."""
    if text == "auto":
        return text
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not -float("inf") < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    return value


def share(text: str) -> float:
    """Read an accuracy above 0 and up to 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        hint = f"; write {value / 100:g} for {value:g} %" if 1 < value <= 100 else ""
        raise argparse.ArgumentTypeError(f"{text!r} is not an accuracy above 0 and up to 1{hint}")
    return value


def networks(text: str) -> tuple[tuple[int, ...], ...]:
    """Read ``50,75,128-64``."""
    return tuple(() if each == "none" else numbers(each.replace("-", ",")) for each in text.split(","))


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
    from manyhands.runtime.atomic_files import check_writable

    given = [path for path in paths if path is not None]
    if len({os.path.realpath(path) for path in given}) != len(given):
        raise SettingsError(f"two results cannot go to the same file {given[0]}")
    for path in given:
        check_writable(path)
