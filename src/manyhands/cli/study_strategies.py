"""``manyhands study strategies``: every strategy's accuracy, workers and bytes in one table."""

from __future__ import annotations

import argparse
from typing import Any

from manyhands.cli import options as shared
from manyhands.cli import study_runner
from manyhands.cli.output import add_detail_options
from manyhands.core.errors import SettingsError
from manyhands.core.words import count
from manyhands.training.spec import RunSpec

RATES = (0.001, 0.004, 0.012)
WORKERS = (2, 8)


def register(names: Any) -> None:
    """Add the study to those of ``manyhands study``."""
    parser = names.add_parser(
        "strategies",
        examples=(
            "manyhands study strategies --data digits --workers 2",
            "manyhands study strategies --strategy gradient --strategy one-shot",
            "manyhands study strategies --markdown strategies.md",
        ),
        help="every strategy and merge: accuracy, workers, rounds, bytes",
        description="Run every strategy, merge and option at several numbers of workers, each at the learning rate "
        "that is best for it on validation samples, and print accuracy, rounds and bytes beside the sequential run's.",
    )
    shared.add_data_options(parser)
    group = parser.add_argument_group("study")
    shared.add_strategies_option(group, "may be repeated (default: all that the learner can follow)")
    shared.add_workers_option(group, WORKERS)
    group.add_argument(
        "--rates",
        type=shared.list_of(shared.amount),
        default=RATES,
        metavar="R[,R...]",
        help="learning rates to choose from (default: 0.001,0.004,0.012)",
    )
    group.add_argument(
        "--tuning", type=shared.positive, metavar="K", help="runs for each learning rate that is tried (default: 1)"
    )
    group.add_argument("--seeds", type=shared.positive, metavar="K", help="seeds of the reported runs (default: 5)")
    group.add_argument("--markdown", metavar="F", help="also write the table to this file, as Markdown")
    base = RunSpec(schedule="linear:hold=50%", validation="auto")
    also = ("schedule", "batch", "epochs", "seed", "learner")
    shared.add_settings(parser, base, groups=("data", "network", "pytorch"), also=also)
    shared.add_margin_option(parser)
    study_runner.add_checkpoint_option(parser, "beside --json")
    shared.add_output_options(parser)
    add_detail_options(parser)
    parser.set_defaults(run=run, report=None)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.data.catalog import load
    from manyhands.records.statistics import DEFAULT_MARGIN
    from manyhands.runtime.atomic_files import write_whole
    from manyhands.studies.strategies import request as defaults
    from manyhands.studies.strategies.run import StrategiesStudy
    from manyhands.studies.strategies.text import strategies_markdown

    study_runner.check_output(options)
    checkpoint = study_runner.checkpoint_of(options, "strategies")
    shared.check_output(options.markdown, options.json, None if checkpoint is None else str(checkpoint))
    if "learning_rate" in options:
        raise SettingsError("the study chooses the learning rate itself; give the rates to choose from with --rates")
    request = defaults.StrategiesRequest(
        strategies=tuple(options.strategies) if options.strategies else None,
        workers=options.workers,
        rates=options.rates,
        spec=shared.spec_of(options),
        seeds=options.seeds or defaults.DEFAULT_SEEDS,
        tuning=options.tuning or defaults.TUNING_SEEDS,
        margin=DEFAULT_MARGIN if options.margin is None else options.margin,
    )
    study = StrategiesStudy(load(request.spec.request(*shared.data_of(options))), request, checkpoint)
    number, spec = len(study.outcome.settings["strategies"]), request.spec
    network = study_runner.network_text(study, "-".join(map(str, spec.network.hidden)), spec)
    plan = f"{number} strategies, {count(spec.epochs, 'epoch')}, {spec.schedule}"
    study_runner.introduce(options, study, network, plan)

    def markdown() -> None:
        if options.markdown and not study.outcome.interrupted:
            write_whole(options.markdown, strategies_markdown(study.outcome).encode())

    return study_runner.run_study(options, study, more=markdown)
