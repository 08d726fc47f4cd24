"""``manyhands study speculative``: what lanes and speculation save of the training time."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from manyhands.cli import options as shared
from manyhands.cli import study_runner
from manyhands.cli.output import add_detail_options
from manyhands.core.errors import SettingsError
from manyhands.core.words import count
from manyhands.training.spec import RunSpec

if TYPE_CHECKING:
    from manyhands.studies.speculative.request import SpeculativeRequest
    from manyhands.studies.speculative.run import SpeculativeStudy

THRESHOLDS = (0.0, 0.1, 0.25, 0.5, 1.0)
LANES = (2,)
LEARNER, STRATEGY, WORKERS = "cnn-fast", "auto", 2
_WITHOUT = ("speculative", "lanes", "lane_plan", "weight_prediction")
_ALSO = ("batch", "epochs", "seed", "schedule", "learner", "optimizer", "learning_rate", "momentum", "weight_decay")


def register(names: Any) -> None:
    """Add the study to those of ``manyhands study``."""
    parser = names.add_parser(
        "speculative",
        examples=(
            "manyhands study speculative --data digits --learner cnn-deep --seeds 3",
            "manyhands study speculative --speculative 0,0.5,1 --lanes 2",
            "manyhands study speculative --report report-speculative",
        ),
        help="Park & Suh 2020: backward beside forward passes, in lanes",
        description="Train with several lanes at several thresholds of speculation, with plain lanes as published, "
        "with predicted weights, with data-parallel workers and with the ordinary learner, all in turns, and print "
        "time and accuracy beside those of one lane without speculation.",
    )
    shared.add_data_options(parser)
    group = parser.add_argument_group("study")
    group.add_argument(
        "--speculative",
        dest="thresholds",
        type=shared.list_of(_number),
        default=THRESHOLDS,
        metavar="T[,T...]",
        help=f"thresholds, from 0 (all is computed truly) to 1 (nothing is) (default: {shared.as_text(THRESHOLDS)})",
    )
    group.add_argument(
        "--lanes", type=shared.numbers, default=LANES, metavar="L[,L...]", help="numbers of lanes (default: 2)"
    )
    group.add_argument(
        "--strategy", default=STRATEGY, metavar="S", help=f"of the data-parallel workers (default: {STRATEGY})"
    )
    group.add_argument(
        "--workers",
        type=shared.positive_or_all,
        default=WORKERS,
        metavar="N",
        help=f"how many of them, or all: one on each usable core (default: {WORKERS})",
    )
    group.add_argument("--seeds", type=shared.positive, metavar="K", help="number of seeds (default: 5)")
    group.add_argument("--markdown", metavar="F", help="also write the table to this file, as Markdown")
    groups = ("data", "pytorch", "speculation")
    shared.add_settings(parser, RunSpec(learner=LEARNER), groups=groups, also=_ALSO, without=_WITHOUT)
    shared.add_margin_option(parser)
    study_runner.add_checkpoint_option(parser, "beside --report or --json")
    shared.add_output_options(parser)
    add_detail_options(parser)
    shared.add_report_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.data.catalog import load
    from manyhands.studies.speculative.run import SpeculativeStudy
    from manyhands.studies.speculative.text import speculative_markdown

    checkpoint = study_runner.check_files(options, "speculative")
    request = request_of(options)
    study = SpeculativeStudy(load(request.spec.request(*shared.data_of(options))), request, checkpoint)
    _introduce(options, study)
    markdown = study_runner.markdown_writer(options, study, lambda: speculative_markdown(study.outcome))
    return study_runner.run_study(options, study, more=markdown)


def request_of(options: argparse.Namespace) -> SpeculativeRequest:
    """Translate the options."""
    from manyhands.records.statistics import DEFAULT_MARGIN
    from manyhands.studies.speculative import request as defaults

    return defaults.SpeculativeRequest(
        thresholds=options.thresholds,
        lanes=options.lanes,
        spec=_spec_of(options),
        seeds=options.seeds or defaults.DEFAULT_SEEDS,
        margin=DEFAULT_MARGIN if options.margin is None else options.margin,
        strategy=options.strategy,
        workers=options.workers,
    )


def _spec_of(options: argparse.Namespace) -> RunSpec:
    """Return all other settings; with a module, and no learner named, the learner is the module's."""
    own = {"learner": "torch"} if "module" in options and "learner" not in options else {}
    return shared.spec_of(options, **own)


def _introduce(options: argparse.Namespace, study: SpeculativeStudy) -> None:
    """Print the data, the network, the plan and the machine."""
    plan = study.plans[0][1]
    network = study_runner.network_text(study, "", plan)
    cases = count(len(study.outcome.cases), "case")
    schedule = "" if plan.schedule.name == "constant" else f", schedule {plan.schedule.name}"
    runs = f"{cases} in turns, {count(len(study.plans), 'run')}"
    study_runner.introduce(
        options, study, network, f"{runs}, global batch {plan.batch}, {count(plan.epochs, 'epoch')}{schedule}"
    )


def _one_or_more(text: str) -> float | tuple[float, ...]:
    """Read a number, or several that are separated by commas."""
    found = shared.list_of(_number)(text)
    return found[0] if len(found) == 1 else found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"{text!r} is not a number") from None


SEVERAL_THRESHOLDS = {
    "read": _one_or_more,
    "metavar": "T[,T...]",
    "help": "go back beside going forward, from what was stored for the same labels; samples farther from it than "
    "this, from 0 (all) to 1 (none), are computed truly; several thresholds: the study of them (manyhands study "
    "speculative)",
}
"""What another command's option for the threshold is to be like if it takes several of them."""
