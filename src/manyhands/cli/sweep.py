"""``manyhands sweep``: which network, how many epochs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from manyhands.cli import options as shared
from manyhands.cli import study_runner
from manyhands.cli.output import add_detail_options
from manyhands.core.errors import SettingsError
from manyhands.core.words import count
from manyhands.reports.format import layers

if TYPE_CHECKING:
    from manyhands.studies.sweep.request import SweepRequest
    from manyhands.studies.sweep.run import SweepStudy

EXAMPLES = (
    "manyhands sweep --data digits --hidden 50,100,128-64 --epochs 20,40",
    "manyhands sweep --min-accuracy 93% --report report-sweep",
    "manyhands sweep --workers all --json sweep.json",
)


def register(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser = commands.add_parser(
        "sweep",
        examples=EXAMPLES,
        help="train several networks for several numbers of epochs: time, accuracy, the best trade-off",
        description="Train every network with every number of epochs, several runs each, and print time, accuracy and "
        "impact factor (Table I of Todorov et al. 2021) with the best trade-off, chosen on validation samples.",
    )
    shared.add_data_options(parser)
    also = ("batch", "seed", "learner")
    groups = ("data", "network", "team", "classifiers", "pytorch")
    shared.add_settings(parser, groups=groups, also=also, without=("hidden",))
    shared.add_grid_options(parser)
    group = shared.group_of(parser, "training")
    group.add_argument(
        "--splits", type=shared.positive, metavar="N", help="N random splits of the samples instead of runs"
    )
    group.add_argument(
        "--as-published",
        action="store_true",
        help="as Todorov et al. (2021): scikit-learn's MLPClassifiers on raw pixels, chosen on the test samples",
    )
    group = parser.add_argument_group("side by side")
    group.add_argument(
        "--workers",
        type=shared.positive_or_all,
        metavar="N",
        help="sessions that run side by side, or all: one on each usable core (default: 1; under mpiexec or torchrun, "
        "as many as processes)",
    )
    study_runner.add_checkpoint_option(parser, "beside --report or --json")
    shared.add_output_options(parser)
    add_detail_options(parser)
    shared.add_report_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.studies.base.pool import check_pool
    from manyhands.studies.sweep.run import SweepStudy, load_for_sweep
    from manyhands.teams import job
    from manyhands.teams.agreement import together

    team = shared.spec_of(options).team
    check_pool(team, options.workers)
    leads = job.leads(team)
    with together(team) as step:
        if leads:
            study_runner.check_output(options)
        request = request_of(options)
        dataset = load_for_sweep(request.spec.request(*shared.data_of(options)), published=options.as_published)
        study = SweepStudy(dataset, request, study_runner.checkpoint_of(options, "sweep"))
        step.bring(study.facts)
    if leads:
        _introduce(options, study)
    return study_runner.run_study(options, study, leads)


def request_of(options: argparse.Namespace, **changes: Any) -> SweepRequest:
    """Translate the options of a sweep."""
    from manyhands.studies.sweep.request import DEFAULT_RUNS, SweepRequest, as_published

    if options.splits is not None and options.runs is not None:
        raise SettingsError("--splits N replaces --runs; give only one of them")
    spec = shared.spec_of(options, **({"dtype": "float64"} if options.as_published else {}))
    values = {
        "hidden": options.hidden,
        "epochs": options.epochs,
        "runs": options.runs or DEFAULT_RUNS,
        "spec": spec,
        "splits": options.splits,
        "s1": options.s1,
        "s2": options.s2,
        "min_accuracy": options.min_accuracy,
        "team": spec.team,
        "workers": options.workers,
        "retime": options.retime,
    }
    request = SweepRequest(**{**values, **changes})
    if not options.as_published:
        return request
    given = {name: name in options for name in ("validation", "batch", "binarize")}
    shared.refuse_with_published({**given, "scale": spec.scale not in ("auto", "none")})
    return as_published(request)


def _introduce(options: argparse.Namespace, study: SweepStudy) -> None:
    """Print the data, the networks, the plan and the machine."""
    settings = study.outcome.settings
    hidden = ",".join(map(layers, study.request.networks))
    network = study_runner.network_text(study, f"({hidden})", study.request.spec)
    sessions = count(len(study.sessions), "session")
    side = f", {study.workers} side by side" if study.workers > 1 else ""
    learner = "MLPClassifiers, " if settings["learner"] == "published" else ""
    study_runner.introduce(options, study, network, f"{learner}{_course(settings)}{sessions}{side}")


def _course(settings: Mapping[str, Any]) -> str:
    """Return the batch and the epochs, if there are any."""
    if settings["batch"] is None:
        return ""
    epochs = ",".join(map(str, settings["epochs"]))
    return f"batch {settings['batch']}, {epochs} {'epoch' if epochs == '1' else 'epochs'}, "
