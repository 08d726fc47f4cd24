"""``manyhands export``: a model file in a format that other programs read."""

from __future__ import annotations

import argparse
import os
from typing import Any

from manyhands.cli import options as shared
from manyhands.core.errors import SettingsError
from manyhands.runtime.terminal import labelled

EXAMPLES = (
    "manyhands export model.safetensors model.onnx",
    "manyhands export model.safetensors model.onnx --quiet",
    "manyhands export runs/best.safetensors best.onnx",
)


def register(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser = commands.add_parser(
        "export",
        examples=EXAMPLES,
        help="write a model file as ONNX, for other programs",
        description="Read a model written by manyhands train and write it as an ONNX file, with its scaling and its "
        "class names: values as they are stored go in, probabilities and labels come out.",
    )
    parser.add_argument("model", metavar="MODEL", help="file written by manyhands train --out")
    parser.add_argument("onnx", metavar="ONNX", help="file to write, such as model.onnx")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.exporting.onnx_file import check_exportable, export_onnx, input_of
    from manyhands.training.loading import load_model
    from manyhands.training.model_file import read_file

    if os.path.realpath(options.model) == os.path.realpath(options.onnx):
        raise SettingsError(f"the ONNX file would replace the model {options.model}; give it another name")
    shared.check_output(options.onnx)
    check_exportable(read_file(options.model)[0].get("learner", "mlp"))  # a user's module is no part of its file
    model = load_model(options.model)
    export_onnx(model, options.onnx)
    if not options.quiet:
        dtype, shape = input_of(model)
        print(labelled("model", f"{options.model}, trained on {model.name}, {len(model.classes)} classes"))
        print(labelled("onnx", f"{options.onnx} takes X, {dtype} of shape (N, {', '.join(map(str, shape))})"))
    return 0
