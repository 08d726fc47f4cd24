"""``manyhands evaluate``: a model file on test rows."""

from __future__ import annotations

import argparse
import json
from typing import Any

from manyhands.cli import options as shared


def register(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser = commands.add_parser(
        "evaluate",
        help="evaluate a model file on test rows",
        description="Read a model written by manyhands train and print its accuracy on test rows.",
    )
    parser.add_argument("model", metavar="MODEL", help="file written by manyhands train --out")
    shared.add_data_options(parser, training=False)
    shared.add_output_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.data.catalog import load_test
    from manyhands.training.model import load_model

    shared.check_output(options.json)
    model = load_model(options.model)
    examples = load_test(shared.data_request(options))
    score = model.accuracy(examples)
    if not options.quiet:
        print(f"model     {options.model}, trained on {model.name}, {len(model.classes)} classes")
    print(f"accuracy  {100 * score:.2f} % of {len(examples.labels)} test rows")
    if options.json:
        from manyhands.files import write_whole

        record = {
            "schema": "manyhands.evaluate/1",
            "model": str(options.model),
            "test_rows": len(examples.labels),
            "accuracy": score,
        }
        write_whole(options.json, (json.dumps(record, indent=1) + "\n").encode())
    return 0
