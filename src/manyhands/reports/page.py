"""The page of a report: what it shows, and the HTML that Jinja2 makes of it with the folder ``templates``.

Jinja2 is imported only when a page is written.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from manyhands.reports.figures.schemes import DARK_PAPER, both_schemes
from manyhands.reports.figures.style import Picture
from manyhands.reports.format import layers
from manyhands.reports.tables.table import Table

_MACHINE = ("time", "cpu", "cores", "system", "threads", "manyhands", "python", "packages", "blas", "variables")
_PIXELS_PER_INCH = 96


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes
    ----------
    kind
        The kind of report; it decides which words the glossary explains.
    question, answer, subject
        The heading, the answer below it, and one line about data, network and machine.
    environment
        The environment of the record (`manyhands.records.environment`).
    figures
        The pictures, each with its SVG.
    tables
        The tables; the first one decides, and stands below the answer.
    files
        Names of the files beside the page, which it links to.
    notes
        Sentences below the figures.
    others
        Further questions with their answers.
    settings
        The settings of every part of a study, by the part's name.
    in_paper
        The number that a figure has in Todorov et al. 2021, by the figure's name.
    """

    kind: Literal["study", "networks", "speculative", "levels", "classifiers", "model"]
    question: str
    answer: str
    subject: str
    environment: Mapping[str, Any]
    figures: Sequence[tuple[Picture, bytes]]
    tables: Sequence[Table]
    files: Sequence[str]
    notes: Sequence[str] = ()
    others: Sequence[tuple[str, str]] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    in_paper: Mapping[str, int] = field(default_factory=dict)

    @property
    def machine(self) -> dict[str, Any]:
        """The facts about machine and versions that are known."""
        return {name: self.environment[name] for name in _MACHINE if self.environment[name] not in (None, {})}

    @property
    def contents(self) -> dict[str, str]:
        """The headings of the sections that the page has, by their identifiers."""
        found = {
            "result": self.tables[0].title if self.tables else "",
            "questions": "Further questions" if self.others else "",
            "figures": "Figures" if self.figures or self.notes else "",
            "tables": "Further tables" if self.tables[1:] else "",
            "words": "What the words mean",
            "command": "Command" if self.environment["command"] else "",
            "machine": "Machine and versions" if self.machine else "",
            "settings": "Settings" if self.settings else "",
            "files": "Files",
        }
        return {name: heading for name, heading in found.items() if heading}

    def html(self) -> str:
        """Return the page as one HTML file that needs nothing else."""
        import jinja2

        templates = jinja2.Environment(
            loader=jinja2.PackageLoader("manyhands.reports"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            finalize=_printable,
        )
        templates.filters |= {
            "as_text": _as_text,
            "image": lambda svg: base64.b64encode(both_schemes(svg)).decode(),
            "pixels": lambda inches: round(_PIXELS_PER_INCH * inches),
        }
        return templates.get_template("page.html").render(page=self, dark_paper=DARK_PAPER)


def _printable(value: Any) -> Any:
    """Return a value without the characters that no page can show."""
    if not isinstance(value, str) or value.isprintable() or hasattr(value, "__html__"):
        return value
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "�" for letter in value)


def _as_text(value: Any) -> str:
    """Return a setting as text."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_as_text(inner)}" for name, inner in value.items() if inner is not None) or "none"
    if isinstance(value, list):
        return ", ".join(layers(item) if _is_layers(item) else _as_text(item) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _is_layers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, int) for item in value)
