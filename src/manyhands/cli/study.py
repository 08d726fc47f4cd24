"""``manyhands study``: a published study, from its question to its report."""

from __future__ import annotations

import argparse
from typing import Any

from manyhands.cli import (
    compare,
    study_classifiers,
    study_levels,
    study_networks,
    study_runner,
    study_speculative,
    study_strategies,
    sweep,
)
from manyhands.cli import options as shared
from manyhands.cli.output import add_detail_options
from manyhands.core.words import count
from manyhands.reports.format import layers
from manyhands.training import reliability
from manyhands.training.spec import RunSpec

DEFAULT_SPLITS, EPOCHS = 5, 40

EXAMPLES = (
    "manyhands study exemplar --data digits --report report-exemplar",
    "manyhands study networks --hidden 75,128-64 --optimizer adam,sgd",
    "manyhands study minibatch --splits 5",
)


def register(commands: Any) -> None:
    """Add the command, with one command of its own for each study."""
    parser = commands.add_parser(
        "study",
        examples=EXAMPLES,
        help="run a study: exemplar (Todorov et al. 2021), networks (Kalwarowskyj & Schikuta 2023), minibatch "
        "(Alowaisheq & Dhami), strategies (all of them), speculative (Park & Suh 2020), levels (Pethick et al. 2003), "
        "classifiers (Todorov et al. 2021's last question)",
        description="Run a complete study on any data, with statistics.",
    )
    names = parser.add_subparsers(dest="study", title="commands", metavar="STUDY")
    _register_exemplar(names)
    study_networks.register(names)
    _register_minibatch(names)
    study_strategies.register(names)
    study_speculative.register(names)
    study_levels.register(names)
    study_classifiers.register(names)


def _register_exemplar(names: Any) -> None:
    parser = names.add_parser(
        "exemplar",
        examples=(
            "manyhands study exemplar --data digits",
            "manyhands study exemplar --hidden 50,75,128-64 --epochs 20,40 --workers 1,2",
            "manyhands study exemplar --as-published --report report-exemplar",
        ),
        help="Todorov et al. 2021: sweep, choice, Tables I to III",
        description="Sweep over hidden sizes and epochs, choose the best trade-off, and compare strategies and numbers "
        "of workers with it.",
    )
    shared.add_data_options(parser)
    also = ("batch", "seed", "sharding", "learner")
    shared.add_settings(parser, groups=("data", "network", "team", "pytorch"), also=also, without=("hidden",))
    shared.add_grid_options(parser)
    group = parser.add_argument_group("study")
    shared.add_strategies_option(group)
    shared.add_workers_option(group, (1, 2, 4, 6))
    group.add_argument("--seeds", type=shared.positive, metavar="K", help="seeds of the comparison (default: 5)")
    group.add_argument(
        "--sessions",
        type=shared.positive_or_all,
        metavar="N",
        help="sessions of the sweep that run side by side, or all: one on each usable core (default: 1)",
    )
    group.add_argument(
        "--as-published",
        action="store_true",
        help="to the letter: MLPClassifiers on raw pixels, chosen on the test samples, in MPI processes",
    )
    shared.add_margin_option(parser)
    shared.add_log_options(parser.add_argument_group("live logs of the comparison"))
    study_runner.add_checkpoint_option(parser, "beside --report or --json")
    shared.add_output_options(parser)
    add_detail_options(parser)
    shared.add_report_option(parser)
    parser.set_defaults(run=run_exemplar, target=None, splits=None)


def _register_minibatch(names: Any) -> None:
    parser = names.add_parser(
        "minibatch",
        examples=(
            "manyhands study minibatch --data digits --splits 5",
            "manyhands study minibatch --workers 1,2 --target 90%",
            "manyhands study minibatch --epochs 20 --report report-minibatch",
        ),
        help="Alowaisheq & Dhami: mini-batch model averaging on random splits",
        description="Train sequentially and in parallel on random training/test splits; each worker draws a "
        "mini-batch and trains on it for five epochs, then all models are averaged. Prints accuracies and convergence.",
    )
    shared.add_data_options(parser)
    group = parser.add_argument_group("study")
    shared.add_strategies_option(group)
    shared.add_workers_option(group, (1, 2, 4))
    shared.add_margin_option(parser)
    shared.add_splits_option(parser, default=DEFAULT_SPLITS)
    shared.add_settings(
        parser, RunSpec(epochs=EPOCHS), without=("strategy", "workers", "convergence", *reliability.NAMES)
    )
    shared.add_convergence_options(parser)
    study_runner.add_checkpoint_option(parser)
    shared.add_output_options(parser)
    add_detail_options(parser)
    shared.add_report_option(parser)
    parser.set_defaults(run=run_minibatch, seeds=None)


def run_exemplar(options: argparse.Namespace) -> int:
    """Run ``study exemplar``."""
    from manyhands.studies.replications.exemplar import ExemplarStudy

    study_runner.check_output(options)
    if options.as_published:
        _refuse_with_published(options)
    grid = sweep.request_of(options, team="threads", workers=options.sessions or 1)
    template = compare.request_of(options, **({"seeds": options.seeds or 1} if options.as_published else {}))
    with study_runner.open_logs(options) as logs:
        study = ExemplarStudy(
            grid.spec.request(*shared.data_of(options)),
            grid,
            template,
            published=options.as_published,
            checkpoint=study_runner.checkpoint_of(options, "exemplar"),
            log=logs,
        )
        sessions = len(grid.networks) * len(grid.epochs) * grid.runs
        network = study_runner.network_text(study, f"({','.join(map(layers, grid.networks))})", grid.spec)
        study_runner.introduce(options, study, network, f"a sweep of {sessions} sessions, then the comparison")
        return study_runner.run_study(options, study)


def _refuse_with_published(options: argparse.Namespace) -> None:
    given = {name: getattr(options, name) is not None for name in ("margin", "log", "tensorboard")}
    shared.refuse_with_published(
        {
            "strategy": options.strategies is not None,
            "sharding": "sharding" in options,
            "log_rounds": options.log_rounds,
            **given,
        }
    )


def run_minibatch(options: argparse.Namespace) -> int:
    """Run ``study minibatch``."""
    from manyhands.data.catalog import load
    from manyhands.studies.compare.run import data_request
    from manyhands.studies.replications.minibatch import MINIBATCH_STRATEGIES, MinibatchStudy

    study_runner.check_output(options)
    request = compare.request_of(
        options, strategies=tuple(options.strategies or MINIBATCH_STRATEGIES), splits=options.splits or DEFAULT_SPLITS
    )
    with study_runner.open_logs(options) as logs:
        dataset = load(data_request(request, *shared.data_of(options)))
        study = MinibatchStudy(dataset, request, options.checkpoint, logs)
        network = study_runner.network_text(study, layers(request.spec.network.hidden), request.spec)
        plan = f"{request.splits} random splits, {count(request.spec.epochs, 'epoch')} each"
        study_runner.introduce(options, study, network, plan)
        return study_runner.run_study(options, study)
