"""``manyhands compare``: the headline table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from manyhands.cli import options as shared
from manyhands.cli import study_runner, study_speculative
from manyhands.cli.output import add_detail_options
from manyhands.core.choices import PYTORCH
from manyhands.core.errors import SettingsError
from manyhands.core.words import count
from manyhands.training import reliability

if TYPE_CHECKING:
    from manyhands.studies.compare.request import CompareRequest
    from manyhands.studies.compare.run import CompareStudy
    from manyhands.studies.replications.todorov2021 import PublishedStudy
    from manyhands.training.loggers import Logs
    from manyhands.training.plan import Plan
    from manyhands.training.spec import RunSpec

    Study = CompareStudy | PublishedStudy


WORKERS = (1, 2, 4, 6)

EXAMPLES = (
    "manyhands compare --data digits --workers 1,2",
    "manyhands compare --strategy auto --strategy gradient --seeds 5",
    "manyhands compare --target 93% --report report-compare",
)


def register(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser = commands.add_parser(
        "compare",
        examples=EXAMPLES,
        help="compare strategies and numbers of workers: time, speedup, accuracy",
        description="Train sequentially and with every strategy at every number of workers, several seeds each, and "
        "print time, speedup, accuracy, and the verdict on whether it stayed the same. The defaults are the network of "
        "Todorov et al. (2021).",
    )
    shared.add_data_options(parser)
    group = parser.add_argument_group("comparison")
    shared.add_strategies_option(
        group,
        "once per strategy: auto, sequential, one-shot, periodic:1epoch, periodic:50, gradient, "
        "minibatch:5epochs, post-local:16, slowmo:1epoch, diloco:1epoch, swap:75%%, easgd:10, hogwild, sums; "
        "as 'gradient@20%% then periodic:1epoch' (docs/strategies.md; default: sequential, one-shot, "
        "periodic:1epoch, gradient)",
    )
    shared.add_workers_option(group, WORKERS)
    group.add_argument(
        "--seeds", type=shared.positive, metavar="K", help="number of seeds (default: 5; with --as-published 1)"
    )
    group.add_argument(
        "--scaled",
        action="store_true",
        help="Gustafson's: n workers have n times the samples",
    )
    group.add_argument(
        "--as-published",
        action="store_true",
        help="repeat Todorov et al. (2021) to the letter (MPI processes, raw pixels, one mean at the end), with their "
        "Tables II and III beside ours",
    )
    shared.add_margin_option(parser)
    shared.add_splits_option(parser)
    several = {"speculative": study_speculative.SEVERAL_THRESHOLDS}
    shared.add_settings(parser, without=("strategy", "workers", *reliability.NAMES), changes=several)
    shared.add_convergence_options(parser)
    study_runner.add_checkpoint_option(parser)
    shared.add_output_options(parser)
    add_detail_options(parser)
    shared.add_report_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.teams.job import check_can_start_jobs

    if isinstance(getattr(options, "speculative", None), tuple):
        return _speculate(options)

    check_can_start_jobs("mpi" if options.as_published else shared.spec_of(options).team)
    study_runner.check_output(options)
    if options.as_published:
        return _run(options, _published_study(options))
    with study_runner.open_logs(options) as logs:
        return _run(options, _compare_study(options, logs))


def _speculate(options: argparse.Namespace) -> int:
    """Compare several thresholds of speculation, which is a study of its own."""
    _refuse_with_thresholds(options)
    (strategy,) = options.strategies or (study_speculative.STRATEGY,)
    (workers,) = (study_speculative.WORKERS,) if options.workers is WORKERS else options.workers
    found = argparse.Namespace(**vars(options))
    found.thresholds = options.speculative
    found.lanes = (options.lanes,) if "lanes" in options else study_speculative.LANES
    found.settings = [name for name in options.settings if name not in ("speculative", "lanes")]
    found.strategy, found.workers, found.markdown = strategy, workers, None
    return study_speculative.run(found)


def _refuse_with_thresholds(options: argparse.Namespace) -> None:
    """Refuse what the study of speculation does not have."""
    several = shared.option("speculative", options.speculative)
    others = ("splits", "target", "log", "tensorboard")
    used = {name: getattr(options, name) is not None for name in others}
    used |= {name: getattr(options, name) for name in ("scaled", "as_published", "log_rounds")}
    for name, is_used in used.items():
        if is_used:
            raise SettingsError(f"{shared.option(name)} and {several} do not go together: give one threshold")
    for name, values in (("strategy", options.strategies or ()), ("workers", options.workers)):
        if len(values) > 1 and values is not WORKERS:
            raise SettingsError(f"lanes are compared with one number of workers and one strategy: give one --{name}")


def request_of(options: argparse.Namespace, **changes: Any) -> CompareRequest:
    """Translate the options of a comparison."""
    from manyhands.records.statistics import DEFAULT_MARGIN
    from manyhands.studies.compare.request import DEFAULT_SEEDS, CompareRequest

    if options.splits is not None and options.seeds is not None:
        raise SettingsError("--splits N stands for N seeds: leave --seeds out")
    values = {
        "strategies": tuple(options.strategies or ()),
        "workers": options.workers,
        "spec": shared.spec_of(options),
        "seeds": options.seeds or DEFAULT_SEEDS,
        "splits": options.splits,
        "target": options.target,
        "margin": DEFAULT_MARGIN if options.margin is None else options.margin,
    }
    return CompareRequest(**{**values, **changes})


def _compare_study(options: argparse.Namespace, logs: Logs) -> CompareStudy:
    from manyhands.studies.compare.run import CompareStudy, data_request, load_scaled

    request = request_of(options, scaled=options.scaled)
    data = data_request(request, *shared.data_of(options))
    dataset = load_scaled(data, request.workers if request.scaled else (1,))
    return CompareStudy(dataset, request, options.checkpoint, logs)


def _published_study(options: argparse.Namespace) -> PublishedStudy:
    from manyhands.studies.replications.todorov2021 import PublishedRequest, PublishedStudy

    spec = shared.spec_of(options, dtype="float64")
    _refuse_with_published(options, spec)
    data = spec.request(*shared.data_of(options))
    request = PublishedRequest(data, workers=options.workers, spec=spec, seeds=options.seeds or 1)
    return PublishedStudy(request, options.checkpoint)


def _refuse_with_published(options: argparse.Namespace, spec: RunSpec) -> None:
    """Refuse what the paper leaves no choice in."""
    fixed = ("batch", "sharding", "schedule", "stop", "partition", "validation", "binarize", "convergence")
    shared.refuse_with_published(
        {
            **{name: name in options for name in fixed},
            "learner": spec.learner in PYTORCH,
            "scale": spec.scale not in ("auto", "none"),
            "strategy": options.strategies is not None,
            **{name: getattr(options, name) is not None for name in ("splits", "margin", "target", "log")},
            "tensorboard": options.tensorboard is not None,
            "log_rounds": options.log_rounds,
            "scaled": options.scaled,
        }
    )


def _run(options: argparse.Namespace, study: Study) -> int:
    """Print what will be run on what, and run it."""
    plan = study.plans[0]
    network = study_runner.network_text(study, "-".join(map(str, plan.network.hidden)), plan)
    lines = [f"{_training(plan)}, {len(study.plans)} runs", *_chosen(study.plans)]
    study_runner.introduce(options, study, network, "\n".join(lines))
    return study_runner.run_study(options, study)


def _training(plan: Plan) -> str:
    """Return how a run trains, in words."""
    if plan.learner == "published":
        share, epochs = plan.batch // plan.workers, count(plan.epochs, "epoch")
        return f"MLPClassifiers on equal shares, batch {share} each, at most {epochs}"
    if plan.needs.sums:
        return "sums over the samples, and no epochs"
    schedule = "" if plan.schedule.name == "constant" else f", schedule {plan.schedule.name}"
    return f"global batch {plan.batch}, {count(plan.epochs, 'epoch')}{schedule}"


def _chosen(plans: Sequence[Plan]) -> list[str]:
    """Return what `auto` has chosen for each number of workers."""
    chosen = {plan.workers: plan for plan in plans if plan.chosen_by_auto}
    return [
        f"auto n={workers}: {plan.strategy.name}, {f'grid {plan.grid.name}, ' if plan.grid.divides else ''}"
        f"{plan.network.optimizer} {plan.network.learning_rate:g} {plan.schedule.name}, global batch {plan.batch}"
        for workers, plan in chosen.items()
    ]
