"""``manyhands data``: data sets in parts, made and shown."""

from __future__ import annotations

import argparse
from typing import Any

from manyhands.cli import jobs
from manyhands.cli import options as shared
from manyhands.core.words import count, size
from manyhands.runtime.terminal import labelled, progress_bar

DEFAULT_PARTS = 64
EXAMPLES = (
    "manyhands data shard mnist mnist-parts --parts 8",
    "manyhands data shard table.csv parts --label-column digit --test-size 10%",
    "manyhands data show mnist-parts",
)


def register(commands: Any) -> None:
    """Add the command, with one command of its own for each thing to do."""
    parser = commands.add_parser(
        "data",
        examples=EXAMPLES,
        help="make a folder of parts of a data set, or show one",
        description="Data sets in parts are read while a run trains, in memory that does not grow with them.",
    )
    names = parser.add_subparsers(dest="action", title="commands", metavar="ACTION")
    _register_shard(names)
    _register_show(names)


def _register_shard(names: Any) -> None:
    parser = names.add_parser(
        "shard",
        examples=(*EXAMPLES[:2], "manyhands data shard parts other-parts --parts 256 --seed 1"),
        help="write a data set as a folder of parts",
        description="Deal the rows of a data set out to parts at random, and write these as NumPy arrays into a new "
        "folder, with a manifest of their rows, classes and checksums.",
    )
    parser.add_argument("source", metavar="SRC", help="a data set, as train --data takes it")
    parser.add_argument("destination", metavar="DEST", help="the folder to make; there must be nothing of this name")
    parser.add_argument(
        "--parts",
        type=shared.positive,
        default=DEFAULT_PARTS,
        metavar="P",
        help=f"how many parts the training samples have (default: {DEFAULT_PARTS})",
    )
    parser.add_argument("--label-column", metavar="C", help="the label's column in tables: its name or number")
    parser.add_argument("--delimiter", metavar="D", help="between cells of CSV files")
    shared.add_settings(parser, groups=(), also=("train_size", "test_size", "labels", "seed"))
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run_shard)


def _register_show(names: Any) -> None:
    parser = names.add_parser(
        "show",
        examples=(
            EXAMPLES[2],
            "manyhands data show ./parts",
            "manyhands data show mnist-parts > facts.txt",
        ),
        help="show what a folder of parts holds",
        description="Print what the manifest of a folder of parts says; the parts themselves are not read.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="written by manyhands data shard")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run_show)


def run_shard(options: argparse.Namespace) -> int:
    """Write the parts."""
    from manyhands.data.catalog import load
    from manyhands.data.parts.sharding import check_destination, shard

    check_destination(options.destination)
    spec = shared.spec_of(options).changed(scale="none")
    if spec.train_size is None:
        spec = spec.changed(train_size="all")
    dataset = load(spec.request(options.source, label_column=options.label_column, delimiter=options.delimiter))
    everything = dataset.rows + dataset.test_rows
    with progress_bar(quiet=options.quiet) as advance:
        done = 0

        def progress(rows: int) -> None:
            nonlocal done
            done += rows
            if advance is not None:
                advance("distributing", done, everything)

        manifest = shard(dataset, options.destination, options.parts, spec.seed, progress)
    if not options.quiet:
        jobs.speak(_text(options.destination, manifest))
    return 0


def run_show(options: argparse.Namespace) -> int:
    """Print the manifest."""
    from pathlib import Path

    from manyhands.data.parts.manifest import read_manifest

    jobs.speak(_text(options.folder, read_manifest(Path(options.folder))))
    return 0


def _text(folder: str, manifest: Any) -> str:
    """Return what a manifest says, in a few lines."""
    from manyhands.core.shapes import samples_text
    from manyhands.data.labels import named

    lines = []
    for role, parts in (("training", manifest.train), ("test", manifest.test)):
        if parts:
            rows = [part.rows for part in parts]
            each = f"{min(rows):,}" if min(rows) == max(rows) else f"{min(rows):,} to {max(rows):,}"
            total = size(sum(sum(part.bytes) for part in parts))
            lines.append(
                f"{sum(rows):,} {role} {samples_text(manifest.sample_shape)} in {count(len(parts), 'part')} of {each}, "
                f"{total}"
            )
    facts = f"{len(manifest.classes)} classes ({named(manifest.classes)}), {manifest.dtype}"
    return "\n".join(
        [
            labelled("parts", f"{folder}, made of {manifest.name} (seed {manifest.seed}, {manifest.checksum})"),
            labelled("samples", "\n".join(lines)),
            labelled("classes", facts),
        ]
    )
