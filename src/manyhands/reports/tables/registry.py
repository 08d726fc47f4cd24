"""All tables that a record allows, in the order of the report."""

from __future__ import annotations

from manyhands.reports.schema import Record, parts
from manyhands.reports.tables import comparison, todorov2021
from manyhands.reports.tables.classifiers import classifier_tables
from manyhands.reports.tables.levels import level_tables
from manyhands.reports.tables.networks import network_tables
from manyhands.reports.tables.speculative import speculative_tables
from manyhands.reports.tables.sweep import sweep_table
from manyhands.reports.tables.table import Table


def make_tables(record: Record) -> list[Table]:
    """Return all tables that a completed record allows."""
    inside, found = parts(record), list[Table]()
    if inside.compare is not None and inside.compare["summary"]:
        found += comparison.comparison_tables(inside.compare)
    if inside.sweep is not None and inside.sweep["table"]:
        found.append(sweep_table(inside.sweep))
    if inside.compare is not None and record.get("study") == "exemplar":
        found += todorov2021.tables_of_comparison(inside.compare)
    if inside.published is not None:
        found += todorov2021.published_tables(inside.published)
    if inside.networks is not None:
        found += network_tables(inside.networks)
    if inside.speculative is not None:
        found += speculative_tables(inside.speculative)
    if inside.levels is not None:
        found += level_tables(inside.levels)
    if inside.classifiers is not None:
        found += classifier_tables(inside.classifiers)
    return found
