"""``manyhands study networks``: what the settings of a network change, with one worker and with several."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from manyhands.cli import options as shared
from manyhands.cli import study_runner
from manyhands.cli.output import add_detail_options
from manyhands.core.choices import ACTIVATIONS, OPTIMIZERS
from manyhands.core.words import count
from manyhands.training.spec import RunSpec

if TYPE_CHECKING:
    from manyhands.studies.networks.request import NetworksRequest
    from manyhands.studies.networks.run import NetworksStudy

AXES = (
    "activation", "optimizer", "learning_rate", "batch", "weight_init", "bias_init", "loss", "dropout", "hidden",
)  # fmt: skip
WORKERS = (1, 2, 4)
STRATEGIES = ("periodic:1epoch", "one-shot")
TARGETS = (0.85, 0.9, 0.92)
LR_MULTIPLIERS = (0.25, 1.0, 4.0, 16.0)
_SETTINGS = ("epochs", "schedule", "seed", "l2", "momentum", "weight_decay", "dtype", "learner")


def register(names: Any) -> None:
    """Add the study to those of ``manyhands study``."""
    parser = names.add_parser(
        "networks",
        examples=(
            "manyhands study networks --data digits --optimizer adam,sgd --seeds 3",
            "manyhands study networks --hidden 75,128-64 --activation relu,tanh",
            "manyhands study networks --targets 85%,90% --report report-networks",
        ),
        help="Kalwarowskyj & Schikuta 2023: the effect of every setting of a network, with one worker and several",
        description="Train many networks, each with one worker and with several, and print time, accuracy, confidence, "
        "calibration, learning speed, and whether the accuracy survives parallel averaging. Axes that are given are "
        "crossed; with none of them, every axis is varied in turn around 75 relu neurons with adam and batch 200. A "
        "network of PyTorch has three axes: optimizer, learning rate and batch.",
    )
    shared.add_data_options(parser)
    _add_axes(parser)
    _add_workers(parser)
    _add_runs(parser)
    base = RunSpec(epochs=20, validation="auto")
    shared.add_settings(parser, base, groups=("data", "pytorch"), also=_SETTINGS)
    shared.add_margin_option(parser)
    study_runner.add_checkpoint_option(parser, "beside --report or --json")
    shared.add_output_options(parser)
    add_detail_options(parser)
    shared.add_report_option(parser)
    parser.set_defaults(run=run)


def _add_axes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("axes", "Values are separated by commas.")
    words = shared.list_of(str)
    group.add_argument("--activation", type=words, metavar="A,...", help=", ".join(ACTIVATIONS))
    group.add_argument("--optimizer", type=words, metavar="O,...", help=f"{', '.join(OPTIMIZERS)}; with PyTorch muon")
    group.add_argument(
        "--learning-rate",
        type=shared.list_of(lambda text: text if text in ("own", "tuned") else shared.amount(text)),
        metavar="R,...",
        help="numbers, own (the optimizer's own), tuned (chosen for each network on validation samples; "
        "default: tuned)",
    )
    group.add_argument(
        "--batch",
        type=shared.list_of(lambda text: text if text == "all" else shared.positive(text)),
        metavar="B,...",
        help="GLOBAL batches, or all (one batch of all samples)",
    )
    for name in ("--weight-init", "--bias-init"):
        group.add_argument(name, type=words, metavar="I,...", help="initializations: see manyhands train --help-all")
    group.add_argument("--loss", type=words, metavar="L,...", help="see manyhands train --help-all")
    chances = shared.list_of(_chance)
    group.add_argument("--dropout", type=chances, metavar="P,...", help="probabilities, at least 0 and below 1")
    group.add_argument(
        "--hidden",
        type=shared.networks,
        metavar="H,...",
        help="networks: the neurons of the hidden layer, or of several as in 75,128-64,none",
    )
    group.add_argument(
        "--one-at-a-time",
        action="store_true",
        help="vary one axis at a time, around the network of the first values, instead of all with all",
    )
    group.add_argument(
        "--skip-impossible",
        action="store_true",
        help="where a batch has fewer samples than there are workers, train with fewer workers instead of refusing",
    )


def _add_workers(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("workers")
    shared.add_workers_option(group, WORKERS)
    shared.add_strategies_option(
        group, "strategy of several workers; may be repeated (default: periodic:1epoch and one-shot)"
    )


def _add_runs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("runs")
    group.add_argument("--seeds", type=shared.positive, metavar="K", help="seeds of the reported runs (default: 5)")
    group.add_argument(
        "--targets",
        type=_targets,
        default=TARGETS,
        metavar="A,...",
        help="accuracies whose epochs are counted, 85%% or 0.85, or none, to measure nothing during training "
        "(default: 85%%,90%%,92%%)",
    )
    group.add_argument(
        "--lr-multipliers",
        type=shared.list_of(shared.amount),
        default=LR_MULTIPLIERS,
        metavar="X,...",
        help="multiples of the optimizer's own learning rate that tuning tries (default: 0.25,1,4,16)",
    )
    group.add_argument(
        "--tuning", type=shared.positive, metavar="K", help="runs for each learning rate that is tried (default: 1)"
    )


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.data.catalog import load
    from manyhands.studies.networks.run import NetworksStudy

    study_runner.check_output(options)
    checkpoint = study_runner.checkpoint_of(options, "networks")
    request = request_of(options)
    study = NetworksStudy(load(request.spec.request(*shared.data_of(options))), request, checkpoint)
    _introduce(options, study)
    return study_runner.run_study(options, study)


def request_of(options: argparse.Namespace) -> NetworksRequest:
    """Translate the options."""
    from manyhands.records.statistics import DEFAULT_MARGIN
    from manyhands.studies.networks import request as space

    return space.NetworksRequest(
        axes={axis: getattr(options, axis) for axis in AXES if getattr(options, axis) is not None},
        one_at_a_time=options.one_at_a_time,
        skip=options.skip_impossible,
        workers=options.workers,
        strategies=tuple(options.strategies or STRATEGIES),
        spec=shared.spec_of(options),
        seeds=options.seeds or space.DEFAULT_SEEDS,
        lr_multipliers=options.lr_multipliers,
        tuning=options.tuning or 1,
        targets=options.targets,
        margin=DEFAULT_MARGIN if options.margin is None else options.margin,
    )


def _introduce(options: argparse.Namespace, study: NetworksStudy) -> None:
    """Print the data, the networks, the plan and the machine."""
    settings = study.outcome.settings
    how = "one axis at a time" if settings["in_turn"] else "all values with all others"
    axes = ", ".join(axis.replace("_", " ") for axis in settings["axes"])
    workers = ", ".join(map(str, settings["workers"]))
    runs = f"{count(study.size, 'run')} of {count(settings['epochs'], 'epoch')}"
    plan = f"{how} ({axes}); {runs}: {workers} workers, {count(settings['seeds'], 'seed')}"
    architecture = f"{settings['architecture']}: " if "architecture" in settings else ""
    study_runner.introduce(options, study, f"{architecture}{count(len(study.networks), 'network')}", plan)


def _chance(text: str) -> float:
    """Read a number from 0 to below 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to below 1")
    return value


def _targets(text: str) -> tuple[float, ...]:
    """Read accuracies, or ``none``."""
    return () if text == "none" else tuple(shared.share(piece) for piece in text.split(","))
