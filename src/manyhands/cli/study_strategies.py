"""``manyhands study strategies``: every strategy's accuracy, workers and bytes in one table."""

from __future__ import annotations

import argparse
from typing import Any

from manyhands.cli import options as shared
from manyhands.cli import study_runner
from manyhands.core.errors import SettingsError

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
    shared.add_network_options(parser)
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
        "--schedule", default="linear:hold=50%", metavar="S", help="learning-rate schedule (default: linear:hold=50%%)"
    )
    group.add_argument("--batch", type=shared.positive, metavar="B", help="GLOBAL batch (default: 200)")
    group.add_argument("--epochs", type=shared.positive, default=75, metavar="E", help="default: 75")
    group.add_argument(
        "--validation",
        type=shared.validation,
        default="auto",
        metavar="V",
        help="training samples to hold out for tuning (default: up to 10,000 that training does not use, or a sixth)",
    )
    group.add_argument("--seed", type=int, default=0, metavar="S", help="of everything random (default: 0)")
    group.add_argument("--markdown", metavar="F", help="also write the table to this file, as Markdown")
    shared.add_margin_option(parser)
    study_runner.add_checkpoint_option(parser, "beside --json")
    shared.add_output_options(parser)
    parser.set_defaults(run=run, team="threads", report=None)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.data.catalog import load
    from manyhands.records.statistics import DEFAULT_MARGIN
    from manyhands.runtime.atomic_files import write_whole
    from manyhands.studies.strategies import request as defaults
    from manyhands.studies.strategies.run import StrategiesStudy
    from manyhands.studies.strategies.text import strategies_markdown
    from manyhands.training.run import network_settings

    study_runner.check_output(options)
    checkpoint = study_runner.checkpoint_of(options, "strategies")
    shared.check_output(options.markdown, options.json, None if checkpoint is None else str(checkpoint))
    if options.learning_rate is not None:
        raise SettingsError("the study chooses the learning rate itself; give the rates to choose from with --rates")
    request = defaults.StrategiesRequest(
        strategies=tuple(options.strategies or defaults.DEFAULT_STRATEGIES),
        workers=options.workers,
        rates=options.rates,
        network=network_settings(**shared.network_options(options)),
        batch=options.batch,
        epochs=options.epochs,
        schedule=options.schedule,
        seeds=options.seeds or defaults.DEFAULT_SEEDS,
        seed=options.seed,
        tuning=options.tuning or defaults.TUNING_SEEDS,
        margin=DEFAULT_MARGIN if options.margin is None else options.margin,
    )
    study = StrategiesStudy(load(shared.data_request(options)), request, checkpoint)
    if not options.quiet:
        hidden = "-".join(map(str, request.network.hidden))
        network = study_runner.network_text(study.dataset, hidden, request.network)
        plan = f"{len(study.outcome.settings['strategies'])} strategies, {request.epochs} epochs, {request.schedule}"
        study_runner.introduce(study.dataset, study.outcome.environment, network, plan)

    def markdown() -> None:
        if options.markdown and not study.outcome.interrupted:
            write_whole(options.markdown, strategies_markdown(study.outcome).encode())

    return study_runner.run_study(options, study, answers=False, more=markdown)


def _rates(text: str) -> tuple[float, ...]:
    """Read learning rates, separated by commas."""
    return tuple(shared.amount(piece) for piece in text.split(","))
