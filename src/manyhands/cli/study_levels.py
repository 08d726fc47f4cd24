"""``manyhands study levels``: what dividing samples or the network costs a step, beside what the cost model says."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from manyhands.cli import options as shared
from manyhands.cli import study_runner
from manyhands.cli.output import add_detail_options
from manyhands.core.grid import LEVELS as DIVIDING
from manyhands.core.words import count
from manyhands.training.spec import RunSpec

if TYPE_CHECKING:
    from manyhands.studies.levels.request import LevelsRequest
    from manyhands.studies.levels.run import LevelsStudy

NETWORKS = ((75,), (2048, 2048), (256,) * 8)
LEVELS = ("session", "exemplar", *DIVIDING)
WIDTHS = (64, 128, 256, 512, 1024, 2048)
WORKERS = (1, 2, 4)
REPEATS, STEPS = 5, 20
_GROUPS = ("data", "network", "team", "placement")
_WITHOUT = ("hidden", "validation")


def register(names: Any) -> None:
    """Add the study to those of ``manyhands study``."""
    parser = names.add_parser(
        "levels",
        examples=(
            "manyhands study levels --data mnist --report report-levels",
            "manyhands study levels --hidden 75,512-512 --workers 1,2 --repeats 3",
            "manyhands study levels --data digits --hidden 32 --levels node --widths none",
        ),
        help="Pethick et al. 2003: dividing trainings, samples, neurons or weights",
        description="Time a step of several networks at every level of parallelism: trainings side by side, samples, "
        "neurons, weights, and pairs of layers; print time, bytes and memory beside the cost model, and from which "
        "width on dividing the network pays.",
    )
    shared.add_data_options(parser)
    group = parser.add_argument_group("study")
    group.add_argument(
        "--hidden",
        type=shared.networks,
        default=NETWORKS,
        metavar="H[,H...]",
        help="networks, separated by commas: their hidden layers, as in 128-64 (default: 75; 2048-2048; eight of 256)",
    )
    group.add_argument(
        "--levels",
        type=shared.list_of(str),
        default=LEVELS,
        metavar="L[,L...]",
        help=f"levels, separated by commas (default: {shared.as_text(LEVELS)})",
    )
    shared.add_workers_option(group, WORKERS)
    group.add_argument(
        "--widths",
        type=_widths,
        default=WIDTHS,
        metavar="W[,W...]",
        help="widths of two hidden layers at which dividing samples and dividing the network are compared, or none "
        f"(default: {shared.as_text(WIDTHS)})",
    )
    group.add_argument(
        "--repeats", type=shared.positive, default=REPEATS, metavar="K", help=f"timed runs of each (default: {REPEATS})"
    )
    group.add_argument(
        "--steps",
        type=shared.positive,
        default=STEPS,
        metavar="S",
        help=f"steps of a run; more where they are short (default: {STEPS})",
    )
    group.add_argument("--markdown", metavar="F", help="also write the tables to this file, as Markdown")
    shared.add_settings(parser, RunSpec(), groups=_GROUPS, also=("batch", "seed"), without=_WITHOUT)
    study_runner.add_checkpoint_option(parser, "beside --report or --json")
    shared.add_output_options(parser)
    add_detail_options(parser)
    shared.add_report_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.data.catalog import load
    from manyhands.studies.levels.run import LevelsStudy
    from manyhands.studies.levels.text import levels_markdown

    checkpoint = study_runner.check_files(options, "levels")
    request = request_of(options)
    study = LevelsStudy(load(request.spec.request(*shared.data_of(options))), request, checkpoint)
    _introduce(options, study)
    markdown = study_runner.markdown_writer(options, study, lambda: levels_markdown(study.outcome))
    return study_runner.run_study(options, study, more=markdown)


def request_of(options: argparse.Namespace) -> LevelsRequest:
    """Translate the options."""
    from manyhands.studies.levels.request import LevelsRequest

    return LevelsRequest(
        networks=options.hidden,
        workers=options.workers,
        levels=options.levels,
        widths=options.widths,
        repeats=options.repeats,
        steps=options.steps,
        spec=shared.spec_of(options),
    )


def _introduce(options: argparse.Namespace, study: LevelsStudy) -> None:
    """Print the data, the networks, the plan and the machine."""
    from manyhands.studies.levels.request import shape_of

    hidden = ", ".join(shape_of(each) or "none" for each in study.request.networks)
    cases, repeats = count(len(study.plans), "case"), count(study.request.repeats, "repeat")
    batch = study.outcome.settings["batch"]
    network = study_runner.network_text(study, f"({hidden})", study.request.spec)
    plan = f"{cases} in turns, {repeats}, global batch {batch}, {study.request.spec.team}"
    study_runner.introduce(options, study, network, plan)


def _widths(text: str) -> tuple[int, ...]:
    """Read widths, or ``none``."""
    return () if text.strip() == "none" else shared.numbers(text)
