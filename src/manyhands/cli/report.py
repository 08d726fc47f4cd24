"""``manyhands report``: the report of saved results, without training."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from manyhands.cli import options as shared
from manyhands.cli import study_runner

EXAMPLES = (
    "manyhands report compare.json",
    "manyhands report compare.json --report report-compare",
    "manyhands report report-compare/results.json",
)


def register(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser = commands.add_parser(
        "report",
        examples=EXAMPLES,
        help="write the report of saved results, without training",
        description="Read results written by compare, sweep or study (--json, or results.json of a report), and write "
        "report.html, its figures and the raw data.",
    )
    parser.add_argument("results", metavar="RESULTS", help="JSON file")
    parser.add_argument(
        "--report", metavar="DIR", help="folder of the report (default: a folder with the name of the file, beside it)"
    )
    shared.add_replace_option(parser)
    parser.add_argument("--quiet", action="store_true", help="print the report's path only")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.reports.folder import owner_of
    from manyhands.reports.headline import answer
    from manyhands.reports.write import check_possible, read_record, write_report

    record = read_record(options.results)
    folder = Path(options.report) if options.report else _beside(Path(options.results))
    check_possible(folder, owner_of(record), replace=options.replace)
    question, found = answer(record)
    before = "" if options.quiet else "report    "
    study_runner.in_order(
        lambda: None if options.quiet else print(f"question  {question}\nanswer    {found}", flush=True),
        lambda: study_runner.print_page(lambda: write_report(record, folder, replace=options.replace), before),
    )
    return 0


def _beside(path: Path) -> Path:
    """Return the folder for a file's report: its own, if that is a report's already."""
    if path.name == "results.json" and (path.parent / "report.html").exists():
        return path.parent
    return path.with_name(f"{path.name.removesuffix('.json')}-report")
