"""``manyhands compare``: the headline table."""

from __future__ import annotations

import argparse
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from manyhands.cli import options as shared
from manyhands.errors import ManyhandsError, SettingsError, Terminated

if TYPE_CHECKING:
    from manyhands.studies.compare import CompareStudy
    from manyhands.studies.published import PublishedStudy
    from manyhands.training.plan import Plan

    Study = CompareStudy | PublishedStudy

_INTERRUPTED, _TERMINATED = 130, 143


def register(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser = commands.add_parser(
        "compare",
        help="compare strategies and numbers of workers: time, speedup, accuracy",
        description="Train sequentially and with every strategy at every number of workers, several seeds each, and "
        "print time, speedup and accuracy. The defaults are the network of Todorov et al. (2021).",
    )
    shared.add_data_options(parser)
    shared.add_network_options(parser)
    group = parser.add_argument_group("comparison")
    group.add_argument(
        "--strategy",
        action="append",
        dest="strategies",
        metavar="S",
        help="once per strategy: sequential, one-shot, periodic:1epoch, periodic:50 (steps), gradient "
        "(default: sequential, one-shot, periodic:1epoch, gradient)",
    )
    group.add_argument(
        "--workers", type=shared.numbers, default=(1, 2, 4, 6), metavar="N[,N...]", help="default: 1,2,4,6"
    )
    group.add_argument(
        "--seeds", type=shared.positive, metavar="K", help="number of seeds (default: 5; with --as-published 1)"
    )
    group.add_argument(
        "--as-published",
        action="store_true",
        help="repeat Todorov et al. (2021) to the letter: CSV, MPI processes with MLPClassifiers of their own on equal "
        "shares, raw pixels, one mean at the end; prints their Tables II and III beside ours",
    )
    shared.add_training_options(parser)
    shared.add_output_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.teams.launch import check_alone

    check_alone("mpi" if options.as_published else options.team)
    shared.check_output(options.json)
    study = _published_study(options) if options.as_published else _compare_study(options)
    if not options.quiet:
        _introduce(study)
    try:
        _run_with_progress(study, quiet=options.quiet)
    except KeyboardInterrupt as error:
        if options.debug:
            raise
        _finish(study, options.json)
        return _TERMINATED if isinstance(error, Terminated) else _INTERRUPTED
    except ManyhandsError:
        if study.outcome.runs:  # hours of finished runs are worth having, whatever became of this one
            _finish(study, options.json)
        raise
    _finish(study, options.json)
    return 0


def _compare_study(options: argparse.Namespace) -> CompareStudy:
    from manyhands.data.catalog import load
    from manyhands.studies.compare import DEFAULT_SEEDS, DEFAULT_STRATEGIES, CompareRequest, CompareStudy
    from manyhands.training.run import network_settings

    request = CompareRequest(
        strategies=tuple(options.strategies or DEFAULT_STRATEGIES),
        workers=options.workers,
        team=options.team,
        learner=options.learner,
        network=network_settings(**shared.network_options(options)),
        batch=options.batch,
        epochs=options.epochs,
        sharding=options.sharding,
        seeds=options.seeds or DEFAULT_SEEDS,
        seed=options.seed,
    )
    return CompareStudy(load(shared.data_request(options)), request)


def _published_study(options: argparse.Namespace) -> PublishedStudy:
    from manyhands.studies.published import PublishedRequest, PublishedStudy
    from manyhands.training.run import network_settings

    given = {
        "--strategy": options.strategies is not None,
        "--batch": options.batch is not None,
        "--sharding": options.sharding is not None,
        "--scale": options.scale not in ("auto", "none"),
    }
    for option, used in given.items():
        if used:
            raise SettingsError(f"{option} and --as-published do not go together: the paper says how it is done")
    request = PublishedRequest(
        shared.data_request(options),
        workers=options.workers,
        network=network_settings(**{"dtype": "float64", **shared.network_options(options)}),
        epochs=options.epochs,
        seeds=options.seeds or 1,
        seed=options.seed,
    )
    return PublishedStudy(request)


def _finish(study: Study, path: str | None) -> None:
    """Write the file and print the table, in this order: a terminal can fail."""
    if path:
        study.outcome.save(path)
    print(study.text(), flush=True)


def _introduce(study: Study) -> None:
    """Say what will be run on what."""
    from manyhands.studies.environment import headline

    facts, plan = study.dataset.describe(), study.plans[0]
    hidden = "-".join(map(str, plan.settings.hidden))
    network = "-".join(filter(None, [str(facts["features"]), hidden, str(facts["classes"])]))
    print(f"data      {facts['name']}: {facts['train_rows']} training and {facts['test_rows']} test rows")
    print(textwrap.fill(f"({facts['note']})", 100, initial_indent=" " * 10, subsequent_indent=" " * 10))
    print(
        f"network   {network} {plan.settings.activation}, {plan.settings.optimizer} {plan.settings.learning_rate:g}, "
        f"{shared.inputs(facts['scaling'])}"
    )
    print(f"plan      {_training(plan)}, {len(study.plans)} runs")
    for number, part in enumerate(headline(study.outcome.environment).split("; ")):
        print(f"{'machine' if number == 0 else '':9} {part}")
    print(flush=True)


def _training(plan: Plan) -> str:
    """Say how a run goes."""
    if plan.learner == "published":
        return f"MLPClassifiers on equal shares, batch {plan.batch // plan.workers} each, at most {plan.epochs} epochs"
    return f"global batch {plan.batch}, {plan.epochs} epochs"


def _run_with_progress(study: Study, *, quiet: bool) -> None:
    """Run the study under a progress bar, which is silent where there is no terminal."""
    from tqdm import tqdm

    if quiet or not sys.stderr.isatty():
        study.run()
        return
    total = sum(plan.total_steps for plan in study.plans)
    with tqdm(total=total, unit="step", leave=False, dynamic_ncols=True, file=sys.stderr) as bar:
        done: dict[int, int] = {}

        def progress(plan: Plan, steps: int) -> None:
            done[id(plan)] = steps
            bar.set_description(f"{plan.strategy.name} n={plan.workers} seed {plan.seed}", refresh=False)
            bar.update(sum(done.values()) - bar.n)

        study.run(progress)
