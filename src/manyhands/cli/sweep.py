"""``manyhands sweep``: which network, how many epochs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from manyhands.cli import options as shared
from manyhands.cli import study_runner
from manyhands.core.errors import SettingsError

if TYPE_CHECKING:
    from manyhands.studies.sweep.request import SweepRequest
    from manyhands.studies.sweep.run import SweepStudy


def register(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser = commands.add_parser(
        "sweep",
        help="train several networks for several numbers of epochs: time, accuracy, the best trade-off",
        description="Train every network with every number of epochs, several runs each, and print time, accuracy and "
        "impact factor (Table I of Todorov et al. 2021) with the best trade-off, chosen on validation samples.",
    )
    shared.add_data_options(parser)
    shared.add_network_options(parser, grid=True)
    shared.add_grid_options(parser)
    group = parser.add_argument_group("training")
    group.add_argument(
        "--splits", type=shared.positive, metavar="N", help="N random splits of the samples instead of runs"
    )
    group.add_argument("--batch", type=shared.positive, metavar="B", help="batch (default: 200)")
    group.add_argument("--seed", type=int, default=0, metavar="S", help="of the first run (default: 0)")
    group.add_argument(
        "--as-published",
        action="store_true",
        help="as Todorov et al. (2021): scikit-learn's MLPClassifiers on raw pixels, chosen on the test samples",
    )
    group = parser.add_argument_group("side by side")
    group.add_argument(
        "--workers",
        type=shared.positive,
        metavar="N",
        help="sessions that run side by side (default: 1; under mpiexec, all)",
    )
    group.add_argument(
        "--team", default="threads", choices=shared.TEAMS, help="threads, or, under mpiexec, mpi (default: threads)"
    )
    group.add_argument("--patience", type=shared.amount, metavar="S", help="see manyhands train --help")
    study_runner.add_checkpoint_option(parser, "beside --report or --json")
    shared.add_output_options(parser)
    shared.add_report_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.studies.base.pool import check_pool
    from manyhands.studies.sweep.run import SweepStudy, load_for_sweep
    from manyhands.teams import job
    from manyhands.teams.agreement import together

    check_pool(options.team, options.workers)
    leads = job.leads(options.team)
    with together(options.team) as step:
        if leads:
            study_runner.check_output(options)
        request = request_of(options)
        dataset = load_for_sweep(shared.data_request(options), published=options.as_published)
        study = SweepStudy(dataset, request, study_runner.checkpoint_of(options, "sweep"))
        step.bring(study.facts)
    if leads and not options.quiet:
        _introduce(study)
    return study_runner.run_study(options, study, leads)


def request_of(options: argparse.Namespace, **changes: Any) -> SweepRequest:
    """Translate the options of a sweep."""
    from manyhands.studies.sweep.request import DEFAULT_RUNS, SweepRequest, as_published
    from manyhands.training.run import network_settings

    if options.splits is not None and options.runs is not None:
        raise SettingsError("--splits N replaces --runs; give only one of them")
    network = {name: value for name, value in shared.network_options(options).items() if name != "hidden"}
    values = {
        "hidden": options.hidden,
        "epochs": options.epochs,
        "runs": options.runs or DEFAULT_RUNS,
        "seed": options.seed,
        "splits": options.splits,
        "network": network_settings(**({"dtype": "float64", **network} if options.as_published else network)),
        "batch": options.batch,
        "s1": options.s1,
        "s2": options.s2,
        "min_accuracy": options.min_accuracy,
        "team": options.team,
        "workers": options.workers,
        "retime": options.retime,
    }
    request = SweepRequest(**{**values, **changes})
    if not options.as_published:
        return request
    shared.refuse_with_published(
        {
            "--validation": options.validation is not None,
            "--batch": options.batch is not None,
            "--scale": options.scale not in ("auto", "none"),
        }
    )
    return as_published(request)


def _introduce(study: SweepStudy) -> None:
    """Print the data, the networks, the plan and the machine."""
    settings = study.outcome.settings
    hidden = [",".join("-".join(map(str, widths)) or "none" for widths in settings["hidden"])]
    network = study_runner.network_text(study.dataset, f"({hidden[0]})", study.request.network)
    epochs = ",".join(map(str, settings["epochs"]))
    batch = f"batch {settings['batch']}, {epochs} epochs, {len(study.sessions)} sessions"
    side = f", {study.workers} side by side" if study.workers > 1 else ""
    learner = "MLPClassifiers, " if settings["learner"] == "published" else ""
    study_runner.introduce(study.dataset, study.outcome.environment, network, f"{learner}{batch}{side}")
