"""``manyhands reader``: train what ``manyhands read`` reads with."""

from __future__ import annotations

import argparse
from typing import Any

from manyhands.cli import options as shared
from manyhands.core.settings import positive, whole_number
from manyhands.runtime.terminal import labelled

EXAMPLES = (
    "manyhands reader --workers 2",
    "manyhands reader --alphabet all --workers 2",
    "manyhands reader --epochs 3 --out quick.safetensors",
)


def register(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser = commands.add_parser(
        "reader",
        examples=EXAMPLES,
        help="train what photos are read with",
        description="Train the network that manyhands read reads single characters with, on MNIST (and letters), on "
        "characters made from this machine's fonts, and on what is no character; calibrate its probabilities on "
        "validation samples; keep it where manyhands read finds it.",
    )
    group = shared.group_of(parser, "training")
    group.add_argument(
        "--alphabet",
        choices=("digits", "all"),
        default="digits",
        help="what it reads: digits, or digits and letters (these need letters/ in MANYHANDS_DATA) (default: digits)",
    )
    group.add_argument("--epochs", type=positive, default=20, metavar="E", help="passes over the samples (default: 20)")
    group.add_argument("--workers", type=positive, default=1, metavar="N", help="how many workers train (default: 1)")
    group.add_argument("--seed", type=whole_number, default=0, metavar="S", help="of everything random (default: 0)")
    group.add_argument(
        "--train-size", type=positive, metavar="N", help="samples to train with (default: all but 5,000)"
    )
    group = shared.group_of(parser, "output")
    group.add_argument(
        "--out", metavar="F", help="file to write (default: in the cache, where manyhands read looks first)"
    )
    group.add_argument("--quiet", action="store_true", help="print nothing")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from pathlib import Path

    from manyhands.core.extras import require
    from manyhands.recognition.making import make_reader
    from manyhands.recognition.reader import own_file
    from manyhands.runtime.atomic_files import make_folder

    for package in ("PIL", "torch"):
        require(package)
    path = Path(options.out) if options.out else own_file(options.alphabet)
    if not options.out:
        make_folder(path.parent)
    shared.check_output(str(path))
    reader = make_reader(
        options.alphabet,
        epochs=options.epochs,
        workers=options.workers,
        seed=options.seed,
        train_size=options.train_size,
    )
    reader.save(path)
    if not options.quiet:
        made: Any = reader.made
        print(labelled("data", f"{made['data']}: {made['training_rows']:,} training samples, {made['note']}"))
        print(labelled("accuracy", f"{100 * made['test_accuracy']:.2f} % of {made['test_rows']:,} test samples"))
        before, after = (100 * made[f"validation_error_{when}"] for when in ("before", "of_calibration"))
        print(
            labelled(
                "calibration",
                f"temperature {reader.temperature:.3f}; error of {made['validation_rows']:,} validation samples' "
                f"probabilities {after:.2f} %, {before:.2f} % without",
            )
        )
        print(labelled("reader", str(path)))
    return 0
