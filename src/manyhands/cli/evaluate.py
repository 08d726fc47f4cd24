"""``manyhands evaluate``: a model file on test rows."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from manyhands.cli import options as shared
from manyhands.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from manyhands.data.dataset import Examples
    from manyhands.training.model import TrainedModel


def register(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser = commands.add_parser(
        "evaluate",
        help="evaluate a model file on test rows",
        description="Read a model written by manyhands train and print its accuracy on test rows.",
    )
    parser.add_argument("model", metavar="MODEL", help="file written by manyhands train --out")
    parser.add_argument(
        "--against", metavar="MODEL", help="another model: tests whether the two differ on these rows (McNemar)"
    )
    shared.add_data_options(parser, training=False)
    shared.add_output_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.data.catalog import load_test
    from manyhands.training.model import load_model

    shared.check_output(options.json)
    model = load_model(options.model)
    other = load_model(options.against) if options.against else None
    examples = load_test(shared.data_request(options))
    right = _correct(model, options.model, examples)
    score = float(right.mean())
    against = None if other is None else _against(right, _correct(other, options.against, examples))
    if not options.quiet:
        print(f"model     {options.model}, trained on {model.name}, {len(model.classes)} classes")
    print(f"accuracy  {100 * score:.2f} % of {len(examples.labels)} test rows")
    if against is not None:
        print(_difference(against, options.against))
    if options.json:
        from manyhands.files import write_json

        record = {
            "schema": "manyhands.evaluate/1",
            "model": str(options.model),
            "test_rows": len(examples.labels),
            "accuracy": score,
            "against": None if against is None else {"model": str(options.against), **against},
        }
        write_json(options.json, record)
    return 0


def _correct(model: TrainedModel, path: str, examples: Examples) -> NDArray[np.bool_]:
    """Return which rows a model classifies correctly; if they do not fit, say which model."""
    try:
        return model.correct(examples)
    except DataError as error:
        raise DataError(f"{error} (model {path})") from error


def _against(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> dict[str, Any]:
    """Compare two models, row by row."""
    from dataclasses import asdict

    from manyhands.studies.statistics import mcnemar

    return {"accuracy": float(other.mean()), **asdict(mcnemar(right, other))}


def _difference(against: dict[str, Any], path: str) -> str:
    """Say what the test has found."""
    first, second, p_value = against["only_first"], against["only_second"], against["p_value"]
    return (
        f"against   {path}: {100 * against['accuracy']:.2f} %; only the first is right on {first} rows, only the "
        f"second on {second}\n"
        f"          McNemar p = {p_value:.3g}: the two models {'differ' if p_value < 0.05 else 'may be equally good'}"
    )
