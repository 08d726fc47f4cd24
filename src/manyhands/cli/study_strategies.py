"""``manyhands study strategies``: every method's accuracy, workers and bytes in one table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from manyhands.cli import options as shared
from manyhands.cli import study_runner
from manyhands.core.errors import SettingsError
from manyhands.runtime.terminal import progress_bar
from manyhands.training.spec import RunSpec

RATES = (0.001, 0.004, 0.012)
WORKERS = (2, 8)


def register(names: Any) -> None:
    """Add the study to those of ``manyhands study``."""
    parser = names.add_parser(
        "strategies",
        help="every strategy and merge: accuracy, workers, rounds, bytes",
        description="Run every strategy, merge and option at several numbers of workers, each at the learning rate "
        "that is best for it on validation samples, and print accuracy, rounds and bytes beside the sequential run's.",
    )
    shared.add_data_options(parser)
    group = parser.add_argument_group("study")
    group.add_argument(
        "--strategy", action="append", dest="strategies", metavar="S", help="may be repeated (default: all strategies)"
    )
    group.add_argument("--workers", type=shared.numbers, default=WORKERS, metavar="N[,N...]", help="default: 2,8")
    group.add_argument(
        "--rates",
        type=_rates,
        default=RATES,
        metavar="R[,R...]",
        help="learning rates to choose from (default: 0.001,0.004,0.012)",
    )
    group.add_argument(
        "--tuning", type=shared.positive, metavar="K", help="runs for each learning rate that is tried (default: 1)"
    )
    group.add_argument("--seeds", type=shared.positive, metavar="K", help="seeds of the reported runs (default: 5)")
    group.add_argument(
        "--journal",
        metavar="F",
        help="keep finished runs in this file and resume from it (default: a file beside --json)",
    )
    group.add_argument("--markdown", metavar="F", help="also write the table to this file, as Markdown")
    base = RunSpec(schedule="linear:hold=50%", validation="auto")
    also = ("schedule", "batch", "epochs", "seed")
    shared.add_settings(parser, base, groups=("data", "network"), also=also)
    shared.add_margin_option(parser)
    shared.add_output_options(parser)
    parser.set_defaults(run=run, report=None)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.data.catalog import load
    from manyhands.records.statistics import DEFAULT_MARGIN
    from manyhands.runtime.atomic_files import write_whole
    from manyhands.studies.strategies import run as methods
    from manyhands.studies.strategies.text import methods_markdown

    journal = options.journal or (f"{options.json}.journal" if options.json else None)
    study_runner.check_output(options)
    shared.check_output(options.markdown, options.json, journal)
    if "learning_rate" in options:
        raise SettingsError("the study chooses the learning rate itself; give the rates to choose from with --rates")
    request = methods.MethodsRequest(
        strategies=tuple(options.strategies or methods.METHODS),
        workers=options.workers,
        rates=options.rates,
        spec=shared.spec_of(options),
        seeds=options.seeds or methods.DEFAULT_SEEDS,
        tuning=options.tuning or methods.TUNING_SEEDS,
        margin=DEFAULT_MARGIN if options.margin is None else options.margin,
    )
    study = methods.MethodsStudy(load(request.spec.request(*shared.data_of(options))), request, journal)
    if not options.quiet:
        hidden = "-".join(map(str, request.spec.network.hidden))
        network = study_runner.network_text(study.dataset, hidden, request.spec.network)
        count, spec = len(study.outcome.settings["strategies"]), request.spec
        plan = f"{count} strategies, {spec.epochs} epochs, {spec.schedule}"
        study_runner.introduce(study.dataset, study.outcome.environment, network, plan)

    def carry_out() -> None:
        with progress_bar(quiet=options.quiet, unit="runs") as advance:
            study.run(advance)

    def markdown() -> None:
        if options.markdown and not study.outcome.interrupted:
            write_whole(options.markdown, methods_markdown(study.outcome).encode())

    status = study_runner.carry_out(options, study.outcome, carry_out, study.text, answers=False, more=markdown)
    if status == 0 and journal is not None and not options.journal:
        Path(journal).unlink(missing_ok=True)
    return status


def _rates(text: str) -> tuple[float, ...]:
    """Read learning rates, separated by commas."""
    return tuple(shared.amount(piece) for piece in text.split(","))
