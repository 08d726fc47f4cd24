"""``manyhands predict``: the labels that a model file gives to new rows or pictures."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyhands.cli import options as shared
from manyhands.core.errors import DataError, SettingsError, shown
from manyhands.core.parameters import parameter
from manyhands.core.words import count
from manyhands.runtime.terminal import labelled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from manyhands.data.dataset import Examples
    from manyhands.data.origin import Pixels
    from manyhands.training.model import TrainedModel

EXAMPLES = (
    "manyhands predict model.safetensors --images four.png nine.jpg",
    "manyhands predict model.safetensors --csv new.csv --proba --out labels.csv",
    "manyhands predict model.safetensors --data digits --quiet",
)
_MOST_NAMED = 3


def register(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser = commands.add_parser(
        "predict",
        examples=EXAMPLES,
        help="print the labels that a model gives to new rows or pictures",
        description="Read a model written by manyhands train and print the label of each new row or picture, one on "
        "each line.",
    )
    parser.add_argument("model", metavar="MODEL", help="file written by manyhands train --out")
    group = parser.add_argument_group("data").add_mutually_exclusive_group(required=True)
    group.add_argument(
        "--csv",
        metavar="F",
        help="CSV file of new rows; columns are found by their names, and one that is named as the labels of the "
        "training is left out",
    )
    group.add_argument(
        "--images",
        nargs="+",
        metavar="F",
        help="pictures (PNG, JPEG, ...); they get the size, the colours and the ground of the training images",
    )
    group.add_argument(
        "--data",
        metavar="NAME|PATH",
        help="the test samples of a data set (see manyhands evaluate --help), or a .npy file of rows",
    )
    parser.add_argument("--label-column", metavar="C", help="the column of --csv to leave out: number from 0, or name")
    parser.add_argument(
        "--delimiter", metavar="D", help="between cells of --csv: comma, semicolon, tab, pipe, whitespace"
    )
    group = shared.group_of(parser, "output")
    group.add_argument("--out", metavar="F", help="write a CSV file with the column label instead of printing")
    group.add_argument(
        "--proba", action="store_true", help="also the probability of each class, in a column with its name"
    )
    group.add_argument("--quiet", action="store_true", help="print labels only, no notes")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.data.catalog import csv_of
    from manyhands.runtime.atomic_files import write_whole
    from manyhands.training.loading import load_model

    if options.data is not None and csv_of(options.data):
        options.csv, options.data = options.data, None
    for name in ("label_column", "delimiter"):
        if getattr(options, name) is not None and options.csv is None:
            raise SettingsError(f"{parameter(name)} is of {parameter('csv')}")
    shared.check_output(options.out)
    with _notes(quiet=options.quiet):
        model = load_model(options.model)
        rows = _rows(options, model)
        try:
            probabilities = model.predict_proba(rows)
        except DataError as error:
            raise DataError(f"{error} (model {shown(options.model)})") from error
    labels = model.classes[probabilities.argmax(axis=1)]
    text = _table(model, labels, probabilities) if options.proba else _lines(labels, header=options.out is not None)
    if options.out is None:
        print(text, end="", flush=True)
        return 0
    write_whole(options.out, text.encode())
    if not options.quiet:
        print(labelled("labels", f"{count(len(labels), 'label')} in {shown(options.out)}"))
    return 0


@contextlib.contextmanager
def _notes(*, quiet: bool) -> Iterator[None]:
    """Leave out the library's notes during the block if ``quiet``, and not for what this process does later."""
    logger = logging.getLogger("manyhands")
    level = logger.level
    if quiet:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _rows(options: argparse.Namespace, model: TrainedModel) -> Examples | NDArray[Any]:
    """Return the rows whose labels are asked for."""
    if options.images:
        return _pictures(options.images, model)
    if options.csv:
        from manyhands.data.unlabelled import read_rows

        asked = (model.origin and model.origin.request) or {}
        from_table = "test_csv" in asked or "csv" in asked
        return read_rows(
            options.csv,
            features=len(model.scaling.scale),
            names=model.feature_names,
            label_name=model.label_name,
            label_column=options.label_column,
            usual=asked.get("label_column", 0) if from_table else None,
            delimiter=options.delimiter,
        )
    if options.data.lower().endswith(".npy"):
        from manyhands.data.unlabelled import read_array

        return read_array(Path(options.data), len(model.scaling.scale))
    from manyhands.data.catalog import DataRequest, load_test

    examples = load_test(DataRequest(options.data))
    _note(f"labels of the {len(examples):,} test samples of {options.data}")
    return examples


def _pictures(paths: list[str], model: TrainedModel) -> NDArray[Any]:
    """Return pictures as the model's images are stored."""
    from manyhands.data.picture_files import read_pictures

    if len(model.sample_shape) != 3:
        raise SettingsError(
            f"the model takes rows of {len(model.scaling.scale)} features, not images; if they are images, train it "
            f"with their shape, such as {parameter('shape', '1x28x28')}"
        )
    pixels = _pixels_of(model)
    pictures = read_pictures(paths, model.sample_shape, pixels)
    if pictures.inverted:
        ground = "light on dark" if pixels.light else "dark on light"
        _note(f"inverted, as they are {ground} and the training images are not: {_some(pictures.inverted)}")
    if pictures.padded:
        width, height = model.sample_shape[:0:-1]
        _note(
            f"not shaped like the training images, so their ground was continued to {width} x {height}: "
            f"{_some(pictures.padded)}; crop pictures as closely as those are for good predictions"
        )
    return pictures.rows


def _some(paths: list[Path]) -> str:
    """Return the first of some files for a note."""
    more = "" if len(paths) <= _MOST_NAMED else f" and {len(paths) - _MOST_NAMED} more"
    return ", ".join(shown(path) for path in paths[:_MOST_NAMED]) + more


def _pixels_of(model: TrainedModel) -> Pixels:
    """Return what the training images were like; of earlier files, what their scaling says, else as MNIST's."""
    from manyhands.data.origin import Pixels

    if model.origin is not None and model.origin.pixels is not None:
        return model.origin.pixels
    divided = model.scaling.name.startswith("x / ")
    return Pixels(high=float(round(1 / model.scaling.scale[0]))) if divided else Pixels()


def _note(text: str) -> None:
    logging.getLogger("manyhands").info(text)


def _lines(labels: NDArray[Any], *, header: bool) -> str:
    """Return one label on each line; as CSV if there is a ``header``, else such that each is one line."""
    if header:
        return _csv([["label"], *([label] for label in labels.tolist())])
    return "".join(f"{shown(str(label))}\n" for label in labels.tolist())


def _table(model: TrainedModel, labels: NDArray[Any], probabilities: NDArray[Any]) -> str:
    """Return labels and probabilities as CSV, a column for each class."""

    def rows() -> Iterator[list[Any]]:
        yield ["label", *model.classes.tolist()]
        for label, row in zip(labels.tolist(), probabilities.tolist(), strict=True):
            yield [label, *(f"{value:.6g}" for value in row)]

    return _csv(rows())


def _csv(rows: Any) -> str:
    """Return rows as CSV: labels as they are, as programs read them back."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
