"""``manyhands train``: one run, and its model in a file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from manyhands.cli import jobs, train_spark
from manyhands.cli import options as shared
from manyhands.cli.output import detail_of, files_text, write_json_results
from manyhands.core.errors import OutputError, SettingsError
from manyhands.core.events import EpochEnded, Event, Measured
from manyhands.core.words import count, size
from manyhands.runtime.terminal import YELLOW, Group, labelled, progress_bar, styled, text_table

if TYPE_CHECKING:
    from manyhands.core.callbacks import Callback
    from manyhands.data.dataset import Dataset
    from manyhands.training.plan import Plan
    from manyhands.training.result import TrainingResult
    from manyhands.training.spec import RunSpec

EXAMPLES = (
    "manyhands train --data digits --workers 2",
    "manyhands train --hidden 128-64 --epochs 30 --out model.safetensors",
    "manyhands train --train-csv train.csv --test-csv test.csv --workers all",
)
_POINTS, _BAR = 9, 30
"""How many steps of a curve are printed, and the columns of the longest bar."""


def register(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser = commands.add_parser(
        "train",
        examples=EXAMPLES,
        help="train one classifier and write it to a file",
        description="Train one classifier, evaluate it on the test samples and, with --out, write it to a file.",
    )
    shared.add_data_options(parser)
    shared.add_settings(parser)
    shared.add_convergence_options(parser)
    output = shared.group_of(parser, "output")
    output.add_argument("--out", metavar="F", help="write the model to this file, e.g. model.safetensors")
    shared.add_output_options(parser)
    train_spark.add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.teams import job
    from manyhands.teams.agreement import together
    from manyhands.training.api import load_and_resolve, warn_if_oversubscribed_here
    from manyhands.training.loggers import Logs
    from manyhands.training.resuming import taken_up

    spec = shared.spec_of(options)
    if options.target is not None:
        spec = replace(spec, convergence=True)
    if train_spark.reads(options, spec):
        return _run_in_spark(options, spec)
    train_spark.check_unused(options, spec)
    source = shared.data_of(options)
    if spec.reliability.resume is not None:
        given = [name for name in options.settings if name in options]
        with together(spec.team):
            spec, source = taken_up(spec, given, source)
            if options.target is not None and not spec.convergence:
                raise SettingsError("--target has no effect: the run that is resumed was begun without --convergence")
    leads = job.leads(spec.team)  # of the team that the run has, which a checkpoint may say
    with together(spec.team):
        if leads:  # results are written, and said, by one process
            shared.check_output(options.out, options.json, options.log)
        request = spec.request(*source)
    plan, dataset = load_and_resolve("manyhands train", spec, request)
    if leads:
        warn_if_oversubscribed_here(plan.threads, plan.team)
    if leads and not options.quiet:
        _introduce(plan, dataset)
    if not (options.out or options.json or options.log or options.tensorboard):
        jobs.check_spoken()  # nothing would come of it
    files = (options.log, options.tensorboard) if leads else ()
    with Logs(*files, rounds=options.log_rounds and leads) as logs, logs(plan) as logger:
        result = _run_with_progress(plan, dataset, logger, quiet=options.quiet or not leads)
        if job.leads(plan.team):  # another one than before, if the first has been lost
            _deliver(result, dataset.describe(), options)
    return 0


def _run_in_spark(options: argparse.Namespace, spec: RunSpec) -> int:
    """Carry out the command inside a cluster; what the data are, and the plan, is known when its workers have them."""
    from manyhands.core.callbacks import finish
    from manyhands.training.loggers import Logs

    shared.check_output(options.out, options.json, options.log)
    if not options.quiet:
        jobs.speak(labelled("data", f"{options.data}, read by Spark's executors"))
    outcome, taken = train_spark.train(options, spec)
    result, data = outcome.result, outcome.data
    if not options.quiet:
        jobs.speak(labelled("plan", str(result.plan)))
    with Logs(options.log, options.tensorboard, rounds=options.log_rounds) as logs, logs(result.plan) as logger:
        outcome.send([logger])
        finish([logger], result)
    _deliver(result, data, options)
    if not options.quiet:
        jobs.speak(labelled("spark", taken))
    return 0


def _deliver(result: TrainingResult, data: Mapping[str, Any], options: argparse.Namespace) -> None:
    """Write and print what the run has come to. A disk can fail, and a terminal: neither takes the other's with it.

    Raises
    ------
    OutputError
        If a file could not be written; everything else is there by then.
    """
    writers: list[Callable[[], None]] = []
    if options.out:
        writers.append(lambda: result.save(options.out))
    writers.append(lambda: write_json_results(options, lambda: _record(result, data, options.target)))
    failures = []
    for write in writers:
        try:
            write()
        except OutputError as error:
            failures.append(str(error))
    jobs.speak(_report(result, data, options))
    if failures:
        raise OutputError("; ".join(failures))
    if files := files_text(model=options.out, json=options.json, log=options.log, tensorboard=options.tensorboard):
        jobs.speak(files)


def _introduce(plan: Plan, dataset: Dataset) -> None:
    """Print the data and the plan."""
    facts = f"{dataset.text}, {shared.inputs(dataset.scaling.name)}\n({dataset.note})"
    lines = [("data", facts), ("plan", str(plan))]
    if plan.grid.divides and plan.why:
        lines.append(("grid", plan.why))
    for word, text in lines:
        jobs.speak(labelled(word, text))


def _run_with_progress(plan: Plan, dataset: Dataset, logger: Callback, *, quiet: bool) -> TrainingResult:
    """Train under a progress bar, which is silent where there is no terminal."""
    from manyhands.training.run import run as run_plan

    with progress_bar(quiet=quiet) as advance:
        if advance is None:
            return run_plan(plan, dataset, callbacks=[logger])
        latest = _Latest()

        def progress(steps: int) -> None:
            advance(latest.text, steps, plan.total_steps)

        return run_plan(plan, dataset, progress=progress, callbacks=[logger, latest])


class _Latest:
    """What the progress shows of the training: the last epoch's loss, and the accuracy if it is being measured."""

    def __init__(self) -> None:
        self._loss, self._accuracy = "", ""

    def __call__(self, event: Event) -> None:
        """Note what is new."""
        if isinstance(event, Measured):
            self._accuracy = f", {100 * event.accuracy:.2f} %"
        elif isinstance(event, EpochEnded) and event.rank == 0:
            self._loss = f", loss {event.loss:.3g}"

    @property
    def text(self) -> str:
        """The words beside the bar."""
        return f"training{self._loss}{self._accuracy}"


def _report(result: TrainingResult, data: Mapping[str, Any], options: argparse.Namespace) -> str:
    """Return the results of the run as text."""
    from manyhands.training.stragglers import Straggler

    seconds, target = result.seconds, options.target
    parts = ", ".join(f"{name} {seconds[name]:.3f}" for name in ("compute", "communicate", "merge"))
    lines = [
        ("accuracy", _accuracy_text(result.accuracy, data["test_rows"])),
        ("time", f"{seconds['train']:.3f} s training ({parts}); {seconds['total']:.3f} s with reading"),
        ("work", f"{_work_text(result)}, {count(result.rounds, 'round')}, {size(result.bytes_sent)} sent"),
    ]
    if result.plan.stop is not None:
        lines.append(("stop", _stop_text(result)))
    if "speculation" in result.reports[0]:
        lines.append(("lanes", _lanes_text(result)))
    elif result.reports[0]:
        lines.append(("trees", _trees_text(result)))
    lines += [("slow", Straggler(**each).text("was")) for each in result.slow]
    if target is not None:
        seconds_to = result.seconds_to(target)
        when = "never reached" if seconds_to is None else f"reached after {seconds_to:.3f} s of training"
        lines.append(("target", f"{100 * target:g} %: {when}"))
    lines += [(incident["kind"], incident["text"]) for incident in result.incidents]
    blocks = ["\n".join(labelled(*line) for line in lines)]
    if result.curve:
        blocks.append(_curve_text(result.curve))
    if result.problem is not None:
        blocks.append(styled(labelled("warning", result.problem), YELLOW, detail_of(options)))
    return "\n".join(blocks)


def _accuracy_text(accuracy: float, rows: int) -> str:
    return f"{100 * accuracy:.2f} % of {rows:,} test samples" if rows else "not measured: there are no test samples"


def _work_text(result: TrainingResult) -> str:
    """Return what each worker has done: steps or, of a learner that is made of sums, passes over its samples."""
    passes = result.passes
    if passes is None:
        return f"{count(result.steps, 'step')} and {count(result.examples, 'sample')} per worker"
    each = count(result.examples // max(passes, 1), "sample")
    return f"{count(passes, 'pass')} over {each} per worker"


def _stop_text(result: TrainingResult) -> str:
    """Return after which epoch a run with early stopping has ended, and why."""
    plan, epochs = result.plan, len(result.losses)
    if plan.stop is None or epochs >= plan.epochs:
        return f"not before all {count(plan.epochs, 'epoch')}"
    return f"after epoch {epochs:,} of {plan.epochs:,}: {plan.stop.reason}"


def _curve_text(curve: Sequence[Mapping[str, float]]) -> str:
    """Return what was measured on the way as a small table with bars, at a few points of those measured."""
    last = len(curve) - 1
    points = [curve[place] for place in sorted({round(last * part / _POINTS) for part in range(_POINTS + 1)})]
    least, most = (ends(point["accuracy"] for point in points) for ends in (min, max))
    rows = [
        (
            f"{point['epoch']:.4g}",
            f"{point['train_s']:.3f}",
            f"{point['loss']:.4f}",
            f"{100 * point['accuracy']:.2f}",
            ("#" * round(1 + (_BAR - 1) * (point["accuracy"] - least) / (most - least or 1))).ljust(_BAR, "."),
        )
        for point in points
    ]
    return text_table(
        ["epoch"],
        [
            Group(("train s", "test loss", "accuracy %", "")),
        ],
        rows,
    )


def _trees_text(result: TrainingResult) -> str:
    """Say what has grown, and what was not tried; it is the same in all workers."""
    facts = result.reports[0]
    size = (
        f"{facts['trees']:,} trees with {facts['mean_leaves']:,.0f} leaves in the mean"
        if "trees" in facts
        else f"{facts['leaves']:,} lea{'f' if facts['leaves'] == 1 else 'ves'}"
    )
    binned = facts["binned_features"]
    tried = f"; of {count(binned, 'feature')} with more than 256 values, 256 quantiles were tried" if binned else ""
    return f"{size}, up to {count(facts['depth'], 'level')} deep{tried}"


def _lanes_text(result: TrainingResult) -> str:
    """Say what speculation came to: of the first worker, the others' are much the same."""
    facts = result.reports[0]["speculation"]
    hits = f"{100 * facts['hit_rate']:.1f} % hits, {count(facts['misses'], 'miss')}, {facts['unseen']} unseen"
    if facts["ceiling"] == 0:
        return hits
    return (
        f"{hits}; without misses, forward and backward together took {100 * facts['saved']:.0f} % less than in turn "
        f"(at most {100 * facts['ceiling']:.0f} % by their times, {100 * facts['ideal']:.0f} % by multiply-adds)"
    )


def _record(result: TrainingResult, data: Mapping[str, Any], target: float | None) -> dict[str, Any]:
    """Return everything as the JSON file has it."""
    from manyhands.records.environment import describe_environment

    return {
        "schema": "manyhands.train/1",
        "environment": describe_environment(),
        "settings": {"data": dict(data), **result.plan.facts()},
        "accuracy": result.accuracy if data["test_rows"] else None,
        "steps": result.steps,
        "rounds": result.rounds,
        "bytes_sent": result.bytes_sent,
        "examples": result.examples,
        "losses": result.losses,
        "curve": result.curve or None,
        "target": target,
        "target_s": None if target is None else result.seconds_to(target),
        "seconds": result.seconds,
        "worker_seconds": result.worker_seconds,
        "worker_peaks": result.worker_peaks,
        "slow": result.slow,
        "learner": result.reports if any(result.reports) else None,
        "incidents": result.incidents,
        "problem": result.problem,
    }
