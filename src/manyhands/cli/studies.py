"""What the commands that run studies share: saying what will be done, a progress bar, and the results at the end."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from manyhands.cli import jobs
from manyhands.cli import options as shared
from manyhands.errors import ManyhandsError, OutputError
from manyhands.interruption import status_of

if TYPE_CHECKING:
    from manyhands.data.dataset import Dataset
    from manyhands.training.logs import Logs


class Outcome(Protocol):
    """What a study has come to so far."""

    @property
    def runs(self) -> list[dict[str, Any]]:
        """Finished runs."""
        ...

    def record(self) -> dict[str, Any]:
        """Everything as plain data."""
        ...

    def save(self, path: str) -> None:
        """Write it as JSON."""
        ...


def check_output(options: argparse.Namespace) -> None:
    """Fail before training if a result could not be written.

    Raises
    ------
    OutputError, SettingsError
        If a path is not usable, or what a report needs is not installed.
    """
    if options.report:
        from manyhands.studies.report import check_possible

        check_possible(options.report)
    pages = [str(Path(options.report) / name) for name in ("report.html", "results.json")] if options.report else []
    shared.check_output(options.json, getattr(options, "log", None), getattr(options, "journal", None), *pages)


def open_logs(options: argparse.Namespace) -> Logs:
    """Return the live logs that the options ask for."""
    from manyhands.training.logs import Logs

    return Logs(options.log, options.tensorboard)


def carry_out(
    options: argparse.Namespace,
    outcome: Outcome,
    run: Callable[[], object],
    text: Callable[[], str],
    leads: bool = True,
    *,
    answers: bool = True,
) -> int:
    """Run a study; write and print what is finished, whatever ends it; return the exit status.

    Parameters
    ----------
    options
        The command's.
    outcome, run, text
        What the study has come to, what carries it out, what shows it.
    leads
        Whether this process writes and prints.
    answers
        Whether it answers the question about speed.
    """
    if not (options.json or options.report or getattr(options, "journal", None)):
        jobs.check_spoken()  # nothing would come of it
    try:
        run()
    except KeyboardInterrupt as error:
        if options.debug:
            raise
        finish(options, outcome, text, leads, answers=answers)
        return status_of(error)
    except ManyhandsError:
        if outcome.runs:  # hours of finished runs are worth having, whatever became of this one
            finish(options, outcome, text, leads, answers=answers)
        raise
    finish(options, outcome, text, leads, answers=answers)
    return 0


def finish(
    options: argparse.Namespace, outcome: Outcome, text: Callable[[], str], leads: bool = True, *, answers: bool = True
) -> None:
    """Write files and print tables, in this order: a terminal can fail. A disk can too: then the tables come first.

    Raises
    ------
    OutputError
        If a file cannot be written; everything else is there by then.
    """
    if not leads:
        return
    page, failures = None, []
    try:
        if options.json:
            outcome.save(options.json)
    except OutputError as error:
        failures.append(error)
    try:
        page = _write_report(options, outcome)
    except OutputError as error:
        failures.append(error)
    print(text(), flush=True)
    if outcome.runs and answers:
        from manyhands.studies.report.answer import answer

        print(f"\n{textwrap.fill(' '.join(answer(outcome.record())), 80, break_on_hyphens=False)}", flush=True)
    if page is not None:
        print(f"\nreport    {page}", flush=True)
    if failures:
        raise failures[0]


def _write_report(options: argparse.Namespace, outcome: Outcome) -> Path | None:
    if not options.report or not outcome.runs:
        return None
    from manyhands.studies.report import write_report

    return write_report(outcome.record(), options.report)


def introduce(dataset: Dataset, environment: dict[str, Any], network: str, plan: str) -> None:
    """Say what will be run on what."""
    from manyhands.studies.environment import headline

    facts = dataset.describe()
    held = f", {facts['validation_rows']} validation" if "validation_rows" in facts else ""
    note = textwrap.fill(f"({facts['note']})", 100, initial_indent=" " * 10, subsequent_indent=" " * 10)
    lines = [
        f"data      {facts['name']}: {facts['train_rows']} training{held} and {facts['test_rows']} test rows\n{note}",
        f"network   {network}, {shared.inputs(facts['scaling'])}",
        f"plan      {plan}",
    ]
    for number, part in enumerate(headline(environment).split("; ")):
        lines.append(f"{'machine' if number == 0 else '':9} {part}")
    jobs.speak("\n".join(lines) + "\n")


def network_text(dataset: Dataset, hidden: str, settings: Any) -> str:
    """Say which network it is, and how it learns."""
    shape = "-".join(filter(None, [str(dataset.features), hidden, str(len(dataset.classes))]))
    return f"{shape} {settings.activation}, {settings.optimizer} {settings.learning_rate:g}"


Advance = Callable[[str, float, float], None]


@contextmanager
def progress_bar(*, quiet: bool, unit: str = "step") -> Iterator[Advance | None]:
    """Yield what moves a progress bar: told a description, what is done, and the whole; None without a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(total=0, unit=unit, leave=False, dynamic_ncols=True, file=sys.stderr) as bar:

        def advance(what: str, done: float, whole: float) -> None:
            if bar.total != whole:
                bar.reset(total=whole)
            bar.set_description(what, refresh=False)
            bar.update(done - bar.n)

        yield advance
