"""Functions of all commands that run studies: the plan at the beginning, a progress bar, the results at the end."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyhands.cli import jobs
from manyhands.cli import options as shared
from manyhands.cli.output import detail_of, files_text, write_json_results
from manyhands.core.choices import PYTORCH, SUMS
from manyhands.core.errors import DrawingError, ManyhandsError, TrainingWarning, joined
from manyhands.runtime.affinity import usable_cores
from manyhands.runtime.atomic_files import write_whole
from manyhands.runtime.hardware import busy_text, is_busy, load
from manyhands.runtime.signals import status_of
from manyhands.runtime.terminal import BOLD, ProgressBar, labelled, message, paragraph, progress_bar, styled

if TYPE_CHECKING:
    from manyhands.studies.base.study import Outcome, Study
    from manyhands.training.loggers import Logs
    from manyhands.training.spec import RunSpec

_LONG_SECONDS = 5.0
"""A study that takes longer shows its finished runs."""


def add_checkpoint_option(parser: argparse.ArgumentParser, kept: str = "") -> None:
    """Add the option that names the file of finished runs; by default they are ``kept`` there, or not at all."""
    default = f" (default: a file {kept}, deleted at the end)" if kept else ""
    parser.add_argument_group("interruptions").add_argument(
        "--checkpoint", metavar="FILE", help=f"keep finished runs in this file and resume from it{default}"
    )


def checkpoint_of(options: argparse.Namespace, name: str) -> Path | None:
    """Return where a study keeps its finished runs: as the user says, or beside the results."""
    if options.checkpoint:
        return Path(options.checkpoint)
    if options.report:
        return Path(options.report) / f"{name}.checkpoint"
    return Path(f"{options.json}.checkpoint") if options.json else None


def check_output(options: argparse.Namespace) -> None:
    """Raise OutputError or SettingsError before training if a result could not be written."""
    if options.report:
        from manyhands.reports.write import check_possible

        check_possible(options.report, replace=options.replace)
    pages = [str(Path(options.report) / name) for name in ("report.html", "results.json")] if options.report else []
    shared.check_output(options.json, getattr(options, "log", None), options.checkpoint, *pages)


def check_files(options: argparse.Namespace, name: str) -> Path | None:
    """Check all files of a study that writes Markdown, too; return where it keeps its finished runs."""
    check_output(options)
    checkpoint = checkpoint_of(options, name)
    shared.check_output(options.markdown, options.json, None if checkpoint is None else str(checkpoint))
    return checkpoint


def markdown_writer(options: argparse.Namespace, study: Study[Any], text: Callable[[], str]) -> Callable[[], None]:
    """Return the function that writes a finished study as Markdown, if that is asked for."""

    def write() -> None:
        if options.markdown and not study.outcome.interrupted:
            write_whole(options.markdown, text().encode())

    return write


def open_logs(options: argparse.Namespace) -> Logs:
    """Return the live logs that the options ask for."""
    from manyhands.training.loggers import Logs

    return Logs(options.log, options.tensorboard, rounds=options.log_rounds)


def run_study(
    options: argparse.Namespace,
    study: Study[Any],
    leads: bool = True,
    *,
    more: Callable[[], object] = lambda: None,
) -> int:
    """Run a study under a progress bar; write and print what is finished, whatever ends it; return the exit status.

    A checkpoint that the user has not asked for is deleted when the results are written.

    Parameters
    ----------
    options
        The options of the command.
    study
        The study.
    leads
        Whether this process writes and prints.
    more
        Writes further files of this study.
    """
    if not (options.json or options.report or options.checkpoint):
        jobs.check_spoken()  # nothing would come of it
    if leads:
        _warn_if_busy()
    try:
        with progress_bar(quiet=options.quiet or not leads, unit=study.unit) as bar, warnings.catch_warnings():
            warnings.simplefilter("ignore", TrainingWarning)  # the study's text says it
            study.run(bar, None if bar is None else _Finished(bar))
    except KeyboardInterrupt as error:
        if options.debug:
            raise
        finish(options, study, leads, more)
        return status_of(error)
    except Exception:
        if study.outcome.runs:  # hours of finished runs are worth having, whatever became of this one
            _finish_after_all(options, study, leads, more)
        raise
    finish(options, study, leads, more)
    if study.checkpoint is not None and not options.checkpoint:
        Path(study.checkpoint).unlink(missing_ok=True)
    return 0


def _finish_after_all(options: argparse.Namespace, *what: Any) -> None:
    """Write and print what there is after an error; a further error is printed and does not hide the first."""
    try:
        finish(options, *what)
    except ManyhandsError as error:
        print(message(f"manyhands {options.command}: {error}"), file=sys.stderr, flush=True)


def finish(
    options: argparse.Namespace,
    study: Study[Any],
    leads: bool = True,
    more: Callable[[], object] = lambda: None,
) -> None:
    """Write numbers, print tables, and draw, in this order; errors as `in_order`."""
    from manyhands.records.seal import sealed

    if not leads:
        return
    outcome = study.outcome
    reports = bool(options.report and outcome.runs)
    in_order(
        lambda: outcome.save(options.json) if options.json else None,
        lambda: None if options.json else write_json_results(options, lambda: sealed(outcome.record())),
        lambda: _write_numbers(options, outcome) if reports else None,
        more,
        lambda: print(study.text(detail_of(options)), flush=True),
        lambda: _print_answer(options, outcome) if study.answers and outcome.runs else None,
        lambda: _print_files(options),
        lambda: _write_report(options, outcome) if reports else None,
    )


def in_order(*steps: Callable[[], object]) -> None:
    """Take all steps, whatever fails in one of them; then raise all ManyhandsErrors as one, else an OSError."""
    failures: list[ManyhandsError] = []
    unprinted: OSError | None = None
    for step in steps:
        try:
            step()
        except ManyhandsError as error:
            failures.append(error)
        except OSError as error:  # such as the reader of our output, who went away
            unprinted = error
    if failures:
        raise joined(failures)
    if unprinted is not None:
        raise unprinted


def print_page(write: Callable[[], Path], before: str = "") -> None:
    """Write a report and say where its page is, also if figures are missing in it."""
    try:
        page = write()
    except DrawingError as error:
        print(f"{before}{error.page}", flush=True)
        raise
    print(f"{before}{page}", flush=True)


def _warn_if_busy() -> None:
    """Say it before the first run if other work takes the cores; other processes of the same job are no other work."""
    if jobs.in_multiprocess_job():
        return
    found, total = load(), os.cpu_count() or 1
    if is_busy(found, total, usable_cores()):
        logging.getLogger("manyhands").warning(busy_text(found, total))


class _Finished:
    """Prints the runs of a long study as they are done."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar, self._began = bar, time.monotonic()

    def __call__(self, name: str, record: dict[str, Any]) -> None:
        if time.monotonic() - self._began < _LONG_SECONDS or "accuracy" not in record:
            return
        spent = f" in {record['seconds']['train']:.3f} s" if "seconds" in record else ""
        self._bar.line(f"{name}: {100 * record['accuracy']:.2f} %{spent}")


def _print_answer(options: argparse.Namespace, outcome: Outcome) -> None:
    from manyhands.reports.headline import answer

    question, found = answer(outcome.record())
    print(f"\n{paragraph(question)}\n{styled(paragraph(found), BOLD, detail_of(options))}", flush=True)


def _print_files(options: argparse.Namespace) -> None:
    names = ("json", "markdown", "log", "tensorboard")
    files = files_text(**{name: getattr(options, name, None) for name in names}, runs=options.checkpoint)
    if files and not options.quiet:
        print(f"\n{files}", flush=True)


def _write_numbers(options: argparse.Namespace, outcome: Outcome) -> None:
    from manyhands.reports.write import write_numbers

    write_numbers(outcome.record(), options.report, replace=options.replace)


def _write_report(options: argparse.Namespace, outcome: Outcome) -> None:
    from manyhands.reports.write import write_report

    print_page(lambda: write_report(outcome.record(), options.report, replace=options.replace), "\nreport    ")


def introduce(options: argparse.Namespace, study: Study[Any], network: str, plan: str) -> None:
    """Print the data, the network, the plan and the machine of a study, unless it is to be quiet."""
    from manyhands.records.environment import headline

    if options.quiet:
        return
    facts, settings = study.dataset.describe(), study.outcome.settings
    what = "learners" if "learners" in settings else "learner" if settings.get("learner") in SUMS else "network"
    machine = headline(study.outcome.environment).replace("; ", "\n")
    lines = {
        "data": f"{study.dataset.text}\n({facts['note']})",
        what: f"{network}, {shared.inputs(facts['scaling'])}",
        "plan": plan,
        "machine": machine,
    }
    jobs.speak("\n".join(labelled(label, text) for label, text in lines.items()) + "\n")


def network_text(study: Study[Any], hidden: str, spec: RunSpec) -> str:
    """Return the layers, the activation and the optimizer of a network in words."""
    dataset, settings = study.dataset, spec.network
    if spec.needs.sums:
        from manyhands.learners.sums.settings import settings_text

        return settings_text(spec.learner, spec.sums)
    if spec.learner in PYTORCH:
        from manyhands.training.resolve import torch_settings

        chosen = torch_settings(spec)
        optimizer = f"{settings.optimizer} {settings.learning_rate:g}"
        return f"{spec.architecture}, {optimizer}, {chosen.precision} on {chosen.device}"
    shape = "-".join(filter(None, [str(dataset.features), hidden, str(len(dataset.classes))]))
    return f"{shape} {settings.activation}, {settings.optimizer} {settings.learning_rate:g}"
