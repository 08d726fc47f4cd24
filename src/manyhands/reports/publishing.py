"""Writing a report into its folder: numbers first, then figures, the page last; a failure loses only what failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from manyhands.core.errors import DrawingError, ManyhandsError, OutputError, joined
from manyhands.reports.figures.style import Draft, Picture, plain_style, png, reason, svg
from manyhands.runtime.atomic_files import write_whole

Drawn = Sequence[tuple[Picture, bytes]]
"""Pictures, each with its SVG."""
MakePage = Callable[[Drawn, Sequence[str], Mapping[str, str]], str]
"""Makes the HTML from pictures, the names of the files beside it, and the reasons why figures are missing."""


def publish(folder: Path, files: Mapping[str, bytes], drafts: Sequence[Draft], page: MakePage, name: str) -> Path:
    """Write a report: the files, then every figure as soon as it is drawn, then the page; return its path.

    Raises
    ------
    DrawingError
        If figures are missing. The page is written all the same, and names them.
    OutputError
        If files could not be written; all others are, and each is whole or not there.
    """
    written, failures = list[str](), list[ManyhandsError]()

    def write(file: str, content: bytes) -> None:
        try:
            write_whole(folder / file, content)
            written.append(file)
        except OutputError as error:
            failures.append(error)

    for file, content in files.items():
        write(file, content)
    drawn: list[tuple[Picture, bytes]] = []
    missing = {draft.name: "interrupted" for draft in drafts}
    try:
        for draft in drafts:
            made = _draw(draft, missing)
            if made is None:
                continue
            picture, vector, pixels = made
            write(f"{draft.name}.png", pixels)
            write(f"{draft.name}.svg", vector)
            drawn.append((picture, vector))
    finally:  # also after Ctrl-C: the page shows what there is
        write(name, page(drawn, written, missing).encode(errors="replace"))
    if missing:
        failures.append(DrawingError(missing, folder / name))
    if failures:
        raise joined(failures)
    return folder / name


def _draw(draft: Draft, missing: dict[str, str]) -> tuple[Picture, bytes, bytes] | None:
    """Return a figure as picture, SVG and PNG; None if there is nothing to be drawn, or it is missing."""
    try:
        with plain_style():
            picture = draft.draw()
            made = None if picture is None else (picture, svg(picture), png(picture))
    except Exception as error:  # the numbers are worth more than a figure
        missing[draft.name] = reason(error)
        return None
    del missing[draft.name]
    return made
