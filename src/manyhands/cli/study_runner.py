"""What the commands that run studies share: saying what will be done, a progress bar, and the results at the end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from manyhands.cli import jobs
from manyhands.cli import options as shared
from manyhands.core.errors import DrawingError, ManyhandsError, joined
from manyhands.runtime.signals import status_of
from manyhands.runtime.terminal import labelled, message, paragraph

if TYPE_CHECKING:
    from manyhands.data.dataset import Dataset
    from manyhands.training.loggers import Logs


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
        from manyhands.reports.write import check_possible

        check_possible(options.report)
    pages = [str(Path(options.report) / name) for name in ("report.html", "results.json")] if options.report else []
    shared.check_output(options.json, getattr(options, "log", None), getattr(options, "journal", None), *pages)


def open_logs(options: argparse.Namespace) -> Logs:
    """Return the live logs that the options ask for."""
    from manyhands.training.loggers import Logs

    return Logs(options.log, options.tensorboard, rounds=options.log_rounds)


def carry_out(
    options: argparse.Namespace,
    outcome: Outcome,
    run: Callable[[], object],
    text: Callable[[], str],
    leads: bool = True,
    *,
    answers: bool = True,
    more: Callable[[], object] = lambda: None,
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
    more
        Writes what this study has beside all others.
    """
    how: dict[str, Any] = {"answers": answers, "more": more}
    if not (options.json or options.report or getattr(options, "journal", None)):
        jobs.check_spoken()  # nothing would come of it
    try:
        run()
    except KeyboardInterrupt as error:
        if options.debug:
            raise
        finish(options, outcome, text, leads, **how)
        return status_of(error)
    except Exception:
        if outcome.runs:  # hours of finished runs are worth having, whatever became of this one
            _finish_after_all(options, outcome, text, leads, **how)
        raise
    finish(options, outcome, text, leads, **how)
    return 0


def _finish_after_all(options: argparse.Namespace, *what: Any, **how: Any) -> None:
    """Write and print what there is; what fails in that is said, and hides nothing of what came before."""
    try:
        finish(options, *what, **how)
    except ManyhandsError as error:
        print(message(f"manyhands {options.command}: {error}"), file=sys.stderr, flush=True)


def finish(
    options: argparse.Namespace,
    outcome: Outcome,
    text: Callable[[], str],
    leads: bool = True,
    *,
    answers: bool = True,
    more: Callable[[], object] = lambda: None,
) -> None:
    """Write numbers, print tables, and draw, in this order: whatever fails costs itself only.

    Raises
    ------
    ManyhandsError
        If files cannot be written, or figures not be drawn; everything else is there by then.
    """
    if not leads:
        return
    reports = bool(options.report and outcome.runs)
    in_order(
        lambda: outcome.save(options.json) if options.json else None,
        lambda: _write_numbers(options, outcome) if reports else None,
        more,
        lambda: print(text(), flush=True),
        lambda: _print_answer(outcome) if answers and outcome.runs else None,
        lambda: _write_report(options, outcome) if reports else None,
    )


def in_order(*steps: Callable[[], object]) -> None:
    """Take all steps, whatever fails in one of them.

    Raises
    ------
    ManyhandsError
        At the end, with what all have to say that could not do theirs.
    OSError
        At the end, if nothing but printing has failed.
    """
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


def _print_answer(outcome: Outcome) -> None:
    from manyhands.reports.headline import answer

    print(f"\n{paragraph(' '.join(answer(outcome.record())))}", flush=True)


def _write_numbers(options: argparse.Namespace, outcome: Outcome) -> None:
    from manyhands.reports.write import write_numbers

    write_numbers(outcome.record(), options.report)


def _write_report(options: argparse.Namespace, outcome: Outcome) -> None:
    from manyhands.reports.write import write_report

    print_page(lambda: write_report(outcome.record(), options.report), "\nreport    ")


def introduce(dataset: Dataset, environment: dict[str, Any], network: str, plan: str) -> None:
    """Print the data, the network, the plan and the machine.

    Parameters
    ----------
    dataset
        The samples.
    environment
        From `manyhands.records.environment.describe_environment`.
    network, plan
        Text of one or more lines.
    """
    from manyhands.records.environment import headline

    facts = dataset.describe()
    held = f", {facts['validation_rows']} validation" if "validation_rows" in facts else ""
    machine = headline(environment).replace("; ", "\n")
    rows = f"{facts['name']}: {facts['train_rows']} training{held} and {facts['test_rows']} test samples"
    lines = {
        "data": f"{rows}\n({facts['note']})",
        "network": f"{network}, {shared.inputs(facts['scaling'])}",
        "plan": plan,
        "machine": machine,
    }
    jobs.speak("\n".join(labelled(label, text) for label, text in lines.items()) + "\n")


def network_text(dataset: Dataset, hidden: str, settings: Any) -> str:
    """Say which network it is, and how it learns."""
    shape = "-".join(filter(None, [str(dataset.features), hidden, str(len(dataset.classes))]))
    return f"{shape} {settings.activation}, {settings.optimizer} {settings.learning_rate:g}"
