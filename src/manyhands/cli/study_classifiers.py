"""``manyhands study classifiers``: which classifiers are better suited for parallel training than neural networks."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from manyhands.cli import options as shared
from manyhands.cli import study_runner
from manyhands.cli.output import add_detail_options
from manyhands.core.words import count
from manyhands.training.spec import RunSpec

if TYPE_CHECKING:
    from manyhands.studies.classifiers.request import ClassifiersRequest
    from manyhands.studies.classifiers.run import ClassifiersStudy

LEARNERS = ("gaussian-nb", "multinomial-nb", "bernoulli-nb", "lda", "qda", "tree", "forest", "mlp")
WORKERS = (1, 2, 4, 6)
RUNS = 5
REG_PARAMS = (0.001, 0.01, 0.1, 0.5)
_GROUPS = ("data", "network", "classifiers", "team", "placement")
_WITHOUT = ("validation", "reg_param")


def register(names: Any) -> None:
    """Add the study to those of ``manyhands study``."""
    parser = names.add_parser(
        "classifiers",
        examples=(
            "manyhands study classifiers --data mnist --report report-classifiers",
            "manyhands study classifiers --learners gaussian-nb,lda,mlp --workers 1,2",
            "manyhands study classifiers --data digits --learners tree,forest --max-depth 8",
        ),
        help="the last question of Todorov et al. 2021: Bayes, trees, LDA, QDA",
        description="Train Naive Bayes, linear and quadratic discriminant analysis, trees and a neural network "
        "with several numbers of workers, in turns, and print time, speedup, efficiency, accuracy and impact factor, "
        "beside one worker and beside scikit-learn: which of them is better suited for parallel execution?",
    )
    shared.add_data_options(parser)
    group = parser.add_argument_group("study")
    group.add_argument(
        "--learners",
        type=shared.list_of(str),
        default=LEARNERS,
        metavar="L[,L...]",
        help=f"classifiers, separated by commas; mlp is the neural network (default: {', '.join(LEARNERS)})",
    )
    shared.add_workers_option(group, WORKERS)
    group.add_argument(
        "--runs",
        type=shared.positive,
        default=RUNS,
        metavar="R",
        help=f"runs of each, with a seed of their own (default: {RUNS})",
    )
    group.add_argument("--markdown", metavar="F", help="also write the table to this file, as Markdown")
    also = ("batch", "epochs", "schedule", "seed")
    shared.add_settings(parser, RunSpec(), groups=_GROUPS, also=also, without=_WITHOUT)
    shared.group_of(parser, "classifiers").add_argument(
        "--reg-param",
        dest="reg_params",
        type=shared.list_of(shared.amount),
        default=REG_PARAMS,
        metavar="R[,R...]",
        help="qda: from 0 (covariances as they are) to 1 (unit matrices); of several, the best on samples held out of "
        "the training samples; where a class has no more samples than features, it is the shrinkage (default: "
        f"{shared.as_text(REG_PARAMS)})",
    )
    shared.add_margin_option(parser)
    study_runner.add_checkpoint_option(parser, "beside --report or --json")
    shared.add_output_options(parser)
    add_detail_options(parser)
    shared.add_report_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.data.catalog import load
    from manyhands.studies.classifiers.run import ClassifiersStudy
    from manyhands.studies.classifiers.text import classifiers_markdown

    checkpoint = study_runner.check_files(options, "classifiers")
    request = request_of(options)
    study = ClassifiersStudy(load(request.spec.request(*shared.data_of(options))), request, checkpoint)
    _introduce(options, study)
    markdown = study_runner.markdown_writer(options, study, lambda: classifiers_markdown(study.outcome))
    return study_runner.run_study(options, study, more=markdown)


def request_of(options: argparse.Namespace) -> ClassifiersRequest:
    """Translate the options."""
    from manyhands.records.statistics import DEFAULT_MARGIN
    from manyhands.studies.classifiers.request import ClassifiersRequest

    return ClassifiersRequest(
        learners=options.learners,
        workers=options.workers,
        runs=options.runs,
        reg_params=options.reg_params,
        margin=DEFAULT_MARGIN if options.margin is None else options.margin,
        spec=shared.spec_of(options),
    )


def _introduce(options: argparse.Namespace, study: ClassifiersStudy) -> None:
    """Print the data, the classifiers, the plan and the machine."""
    request = study.request
    workers = ", ".join(map(str, request.workers))
    plan = f"in turns, {workers} workers ({request.spec.team}), {count(request.runs, 'run')} of each"
    study_runner.introduce(options, study, ", ".join(request.learners), plan)
