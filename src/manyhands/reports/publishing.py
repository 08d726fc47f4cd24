"""How a report gets into its folder: numbers first, then figures, the page last. Whatever fails costs itself only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from manyhands.core.errors import DrawingError, ManyhandsError, OutputError, joined
from manyhands.reports.figures.style import Draft, Picture, plain_style, png, reason, svg
from manyhands.runtime.atomic_files import write_whole

Drawn = Sequence[tuple[Picture, bytes]]
"""Pictures, each with its SVG."""
Page = Callable[[Drawn, Sequence[str], Mapping[str, str]], str]
"""Makes the HTML of pictures, names of the files beside it, and the figures that are missing, with the reasons."""
_ENDINGS = ("png", "svg")


@dataclass
class _Folder:
    """A report's folder, and what has been written into it."""

    path: Path
    files: list[str] = field(default_factory=list)
    failures: list[ManyhandsError] = field(default_factory=list)

    def write(self, name: str, content: bytes) -> None:
        """Write a file, or remember why not."""
        try:
            write_whole(self.path / name, content)
            self.files.append(name)
        except OutputError as error:
            self.failures.append(error)

    def forget(self, stem: str) -> None:
        """Delete the files of a figure that this report does not have: an older report's would be taken for its."""
        for ending in _ENDINGS:
            with contextlib.suppress(OSError):
                (self.path / f"{stem}.{ending}").unlink()


def publish(folder: Path, files: Mapping[str, bytes], drafts: Sequence[Draft], page: Page, name: str) -> Path:
    """Write a report: what is in ``files``, then every figure as it is drawn, then the page.

    Parameters
    ----------
    folder
        Exists.
    files
        Contents by name.
    drafts
        The figures. Files of an older report's, which this one does not have, are deleted.
    page
        Makes the page.
    name
        Of its file.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    DrawingError
        If figures are missing. The page is there, and says so.
    OutputError
        If files could not be written; all others are, and each is whole or not there.
    """
    target = _Folder(folder)
    for each, content in files.items():
        target.write(each, content)
    drawn: list[tuple[Picture, bytes]] = []
    missing = {draft.name: "interrupted" for draft in drafts}
    try:
        for draft in drafts:
            made = _draw(draft, missing)
            if made is None:
                target.forget(draft.name)
                continue
            picture, vector, pixels = made
            target.write(f"{draft.name}.png", pixels)
            target.write(f"{draft.name}.svg", vector)
            drawn.append((picture, vector))
    finally:  # also after Ctrl-C: the page shows what there is
        target.write(name, page(drawn, target.files, missing).encode(errors="replace"))
    if missing:
        target.failures.append(DrawingError(missing, folder / name))
    if target.failures:
        raise joined(target.failures)
    return folder / name


def _draw(draft: Draft, missing: dict[str, str]) -> tuple[Picture, bytes, bytes] | None:
    """Return a figure as picture, SVG and PNG; None if there is nothing to be drawn, or it is missing."""
    try:
        with plain_style():
            picture = draft.draw()
            made = None if picture is None else (picture, svg(picture), png(picture))
    except Exception as error:  # whatever it is, the numbers are worth more than a figure
        missing[draft.name] = reason(error)
        return None
    del missing[draft.name]
    return made
