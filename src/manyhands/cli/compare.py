"""``manyhands compare``: the headline table."""

from __future__ import annotations

import argparse
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from manyhands.cli import options as shared
from manyhands.errors import ManyhandsError

if TYPE_CHECKING:
    from manyhands.studies.compare import CompareStudy
    from manyhands.training.plan import Plan

_INTERRUPTED = 130


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
    group.add_argument("--seeds", type=shared.positive, default=5, metavar="K", help="number of seeds (default: 5)")
    shared.add_training_options(parser)
    shared.add_output_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.data.catalog import load
    from manyhands.studies.compare import DEFAULT_STRATEGIES, CompareRequest, CompareStudy
    from manyhands.training.run import network_settings

    shared.check_output(options.json)
    request = CompareRequest(
        strategies=tuple(options.strategies or DEFAULT_STRATEGIES),
        workers=options.workers,
        team=options.team,
        network=network_settings(**shared.network_options(options)),
        batch=options.batch,
        epochs=options.epochs,
        sharding=options.sharding,
        seeds=options.seeds,
        seed=options.seed,
    )
    dataset = load(shared.data_request(options))
    study = CompareStudy(dataset, request)
    if not options.quiet:
        _introduce(study)
    try:
        _run_with_progress(study, quiet=options.quiet)
    except KeyboardInterrupt:
        if options.debug:
            raise
        _finish(study, options.json)
        return _INTERRUPTED
    except ManyhandsError:
        if study.comparison.runs:  # hours of finished runs are worth having, whatever became of this one
            _finish(study, options.json)
        raise
    _finish(study, options.json)
    return 0


def _finish(study: CompareStudy, path: str | None) -> None:
    """Write the file and print the table, in this order: a terminal can fail."""
    from manyhands.studies.tables import comparison_table

    if path:
        study.comparison.save(path)
    print(comparison_table(study.comparison), flush=True)


def _introduce(study: CompareStudy) -> None:
    """Say what will be run on what."""
    from manyhands.studies.environment import headline

    facts, plan = study.dataset.describe(), study.plans[0]
    hidden = "-".join(map(str, plan.settings.hidden))
    network = "-".join(filter(None, [str(facts["features"]), hidden, str(facts["classes"])]))
    print(f"data      {facts['name']}: {facts['train_rows']} training and {facts['test_rows']} test rows")
    print(textwrap.fill(f"({facts['note']})", 100, initial_indent=" " * 10, subsequent_indent=" " * 10))
    print(
        f"network   {network} {plan.settings.activation}, {plan.settings.optimizer} {plan.settings.learning_rate:g}, "
        f"inputs {facts['scaling']}"
    )
    print(f"plan      global batch {plan.batch}, {plan.epochs} epochs, {len(study.plans)} runs")
    for number, part in enumerate(headline(study.comparison.environment).split("; ")):
        print(f"{'machine' if number == 0 else '':9} {part}")
    print(flush=True)


def _run_with_progress(study: CompareStudy, *, quiet: bool) -> None:
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
