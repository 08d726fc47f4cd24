"""``manyhands evaluate``: a model file on test rows."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from manyhands.cli import options as shared
from manyhands.cli import study_runner
from manyhands.cli.output import write_json_results
from manyhands.core.errors import DataError, SettingsError
from manyhands.runtime.terminal import labelled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from manyhands.data.dataset import Examples
    from manyhands.data.parts.loading import TestRows
    from manyhands.evaluation.diagnostics import Diagnosis
    from manyhands.training.model import TrainedModel

Result = TypeVar("Result")
_MOST_BYTES = 1 << 28
"""Bytes of test samples in parts that are read at once, for a report."""

EXAMPLES = (
    "manyhands evaluate model.safetensors",
    "manyhands evaluate model.safetensors --test-csv test.csv --label-column digit",
    "manyhands evaluate model.safetensors --against other.safetensors",
)


def register(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser = commands.add_parser(
        "evaluate",
        examples=EXAMPLES,
        help="evaluate a model file on test samples",
        description="Read a model written by manyhands train and print its accuracy on test samples; with --report, "
        "also its errors and its calibration.",
    )
    parser.add_argument("model", metavar="MODEL", help="file written by manyhands train --out")
    parser.add_argument(
        "--against",
        metavar="MODEL",
        help="another model file; McNemar's test shows whether the accuracies of the two differ",
    )
    shared.add_data_options(parser, training=False)
    shared.add_settings(parser, groups=(), also=("labels", "test_size", "seed"))
    shared.add_output_options(parser)
    parser.add_argument(
        "--report",
        metavar="DIR",
        help="print precision, recall and confusions of the classes, and write report.html, its figures (PNG, SVG) and "
        "CSV files into this folder",
    )
    shared.add_replace_option(parser)
    parser.add_argument(
        "--transpose",
        action=argparse.BooleanOptionalAction,
        help="transpose the images in the report (default: only those of EMNIST's files, which are stored transposed)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.cli.model_data import test_samples
    from manyhands.evaluation.diagnostics import diagnose, evaluation
    from manyhands.records.seal import sealed
    from manyhands.training.loading import load_model

    shared.check_output(options.json)
    model = load_model(options.model)
    other = load_model(options.against) if options.against else None
    if options.report:
        from manyhands.reports.write import check_possible

        check_possible(options.report, replace=options.replace)
    examples, source = test_samples(options, model)
    found = _fitting(options.model, lambda: diagnose(model, examples))
    examples.check_unchanged()
    against = None
    if other is not None:
        right = _fitting(options.against, lambda: diagnose(other, examples).correct)
        against = {"model": str(options.against), **_against(found.correct, right)}
    record = evaluation(found, str(options.model), against)
    lines = [labelled("accuracy", f"{100 * found.accuracy:.2f} % of {len(found.truth):,} test samples")]
    if not options.quiet:
        facts = f"{options.model}, trained on {model.name}, {len(model.classes)} classes"
        lines[:0] = [labelled("model", facts), *([labelled("data", source)] if source else [])]
    if against is not None:
        lines.append(_difference(against, options.against))
    study_runner.in_order(
        lambda: write_json_results(options, lambda: sealed(record)),
        lambda: print("\n".join(lines), flush=True),
        *(_report(options, found, model, _pictured(examples), record) if options.report else ()),
    )
    return 0


def _pictured(examples: Examples | TestRows) -> Examples:
    """Return test samples in memory, for a report that shows some of them; too many in parts are a SettingsError."""
    from manyhands.data.dataset import Examples

    if isinstance(examples, Examples):
        return examples
    if examples.size > _MOST_BYTES:
        raise SettingsError(
            f"--report shows samples, and those of {examples.size / 1e9:.1f} GB in parts are not kept in memory; leave "
            "it out, or give it fewer test samples"
        )
    return examples.together()


def _fitting(path: str, work: Callable[[], Result]) -> Result:
    """Return what a model makes of the rows; if they do not fit, say which model."""
    try:
        return work()
    except DataError as error:
        raise DataError(f"{error} (model {path})") from error


def _report(
    options: argparse.Namespace, found: Diagnosis, model: TrainedModel, examples: Examples, record: dict[str, Any]
) -> Iterator[Callable[[], None]]:
    """Yield the steps of a report: write its record, print what the model gets wrong, write the page."""
    from manyhands.evaluation.text import diagnosis_text
    from manyhands.reports.folder import EVALUATION
    from manyhands.reports.model_page import left_out, write_diagnosis
    from manyhands.reports.write import write_numbers

    yield lambda: write_numbers(record, options.report, EVALUATION, replace=options.replace)
    if not options.quiet:
        text = f"{diagnosis_text(found)}\n"
        missing = left_out(found, examples)
        if missing:
            text += f"\n{labelled('note', missing)}"
        yield lambda: print(text, flush=True)
    yield lambda: study_runner.print_page(
        lambda: write_diagnosis(
            found,
            model,
            model.in_order(examples),
            options.report,
            record,
            transpose=options.transpose,
            replace=options.replace,
        ),
        "report    ",
    )


def _against(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> dict[str, Any]:
    """Compare two models, row by row."""
    from dataclasses import asdict

    from manyhands.records.statistics import mcnemar

    return {"accuracy": float(other.mean()), **asdict(mcnemar(right, other))}


def _difference(against: dict[str, Any], path: str) -> str:
    """Return what the test has found, in words."""
    first, second, p_value = against["only_first"], against["only_second"], against["p_value"]
    return labelled(
        "against",
        f"{path}: {100 * against['accuracy']:.2f} %; only the first model is right on {first} samples, only the second "
        f"on {second}\n"
        f"McNemar p = {p_value:.3g}: the two models {'differ' if p_value < 0.05 else 'may be equally good'}",
    )
