"""``manyhands read``: from a photo of separated handwriting to text."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyhands.cli import options as shared
from manyhands.core.choices import ALPHABETS, REJECT
from manyhands.core.errors import DataError, SettingsError, shown
from manyhands.core.parameters import parameter
from manyhands.core.settings import amount
from manyhands.core.words import count
from manyhands.runtime.terminal import labelled

if TYPE_CHECKING:
    from manyhands.recognition.page import Page
    from manyhands.recognition.scoring import Score

EXAMPLES = (
    "manyhands read photo.jpg",
    "manyhands read form.png --pattern dddd-dd --annotated read.png",
    "manyhands read photos/ --truth",
)
_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".pdf")
_MOST_CONFUSED = 5
_BESIDE = ""
_EMPTY = re.compile(r"^#.*\b(?P<mark>\S) (?:is|=) (?:an )?empty", re.MULTILINE)
"""How a file of truth says what stands for an empty cell."""


def register(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser = commands.add_parser(
        "read",
        examples=EXAMPLES,
        help="read handwriting on photos: digits, block letters, forms",
        description="Read separated handwriting on photos and scans, and print the text: digits, block letters, lists "
        "of numbers, boxed forms. What cannot be read is marked, not guessed.",
    )
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="photos, scans, PDFs, or folders of them")
    group = shared.group_of(parser, "reading")
    group.add_argument(
        "--alphabet", choices=ALPHABETS, default="digits", help="what is written there (default: digits)"
    )
    group.add_argument(
        "--pattern",
        metavar="P",
        help="what every line is: dddd-dd, with d for a digit, l for a letter, x for either, anything else for itself",
    )
    group.add_argument("--words", metavar="F", help="file of the words that the text consists of, one on each line")
    group.add_argument("--model", metavar="F", help="reader to use (manyhands reader --out)")
    group.add_argument(
        "--reject",
        type=amount,
        default=REJECT,
        metavar="R",
        help=f"mark characters less probable than this (default: {REJECT:g})",
    )
    group = shared.group_of(parser, "evaluation")
    group.add_argument(
        "--truth",
        nargs="?",
        const=_BESIDE,
        metavar="F",
        help="count errors: file of what is written, or, without F, a .txt file beside each picture; lines with # in "
        "front are comments (such as: 0 is an empty cell), and one below the text ends it",
    )
    group = shared.group_of(parser, "output")
    group.add_argument("--json", metavar="F", help="write places, candidates and probabilities (-: standard output)")
    group.add_argument("--annotated", metavar="F", help="write the upright picture with what was read (PNG)")
    group.add_argument("--steps", metavar="DIR", help="write pictures of what each step has made")
    group.add_argument("--quiet", action="store_true", help="print the text only, no notes")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from manyhands.cli.output import write_json_results
    from manyhands.core.extras import require
    from manyhands.recognition.api import asked_for

    require("PIL")
    for path in (options.annotated, None if options.json == "-" else options.json):
        shared.check_output(path)
    files = _files(options.pictures)
    if len(files) > 1 and (options.annotated or options.steps):
        raise SettingsError(f"{parameter('annotated')} and {parameter('steps')} are of one picture; give one")
    asked = asked_for(options.alphabet, options.pattern, _words(options.words), options.model, options.reject)
    found, failed = _read_all(options, files, asked)
    scores = [] if options.truth is None else [_score(options, path, pages) for path, pages in found]
    if scores:
        _print_scores([path for path, _ in found], scores)
    write_json_results(options, lambda: _record(options, found, scores))
    return 1 if failed else 0


def _read_all(
    options: argparse.Namespace, files: Sequence[Path], asked: Any
) -> tuple[list[tuple[Path, list[Page]]], int]:
    """Read all pictures, and print their texts; one of several that cannot be read is no reason to end."""
    found: list[tuple[Path, list[Page]]] = []
    failed = 0
    for path in files:
        try:
            pages = _pages(options, path, asked)
        except DataError as error:
            if len(files) == 1:
                raise
            print(f"manyhands read: {error}", file=sys.stderr, flush=True)
            failed += 1
            continue
        found.append((path, pages))
        if len(files) > 1:
            print(f"{'' if len(found) == 1 else chr(10)}{shown(path)}:")
        print("\n\n".join(str(page) for page in pages), flush=True)
        if not options.quiet:
            for page in pages:
                _say_notes(page)
    if failed and failed == len(files):
        raise DataError(f"none of the {count(failed, 'picture')} could be read")
    return found, failed


def _pages(options: argparse.Namespace, path: Path, asked: Any) -> list[Page]:
    from manyhands.recognition.annotation import annotated
    from manyhands.recognition.api import read_page
    from manyhands.recognition.loading import pages_of
    from manyhands.recognition.steps import Steps
    from manyhands.runtime.atomic_files import atomic_writer

    steps = Steps(options.steps)  # one for all pages: it numbers its pictures
    pages = [read_page(photo, asked, steps) for photo in pages_of(path)]
    if options.annotated:
        with atomic_writer(options.annotated) as file:
            annotated(pages[0]).save(file, "PNG")
    return pages


def _say_notes(page: Page) -> None:
    """Print what the reader of a text should know."""
    logger = logging.getLogger("manyhands")
    for note in page.notes:
        logger.info(note)
    if page.rejected:
        logger.info("%s could not be read, and marked", count(page.rejected, "character"))


def _files(pictures: Sequence[str]) -> list[Path]:
    """Return the files of pictures, those of folders sorted by name.

    Raises
    ------
    DataError
        If a folder has no pictures.
    """
    files = []
    for each in map(Path, pictures):
        try:
            inside = (
                sorted(path for path in each.iterdir() if path.suffix.lower() in _SUFFIXES) if each.is_dir() else [each]
            )
        except (OSError, ValueError) as error:
            raise DataError(f"the folder cannot be read ({error})", path=each) from error
        if not inside:
            raise DataError(f"there are no pictures in this folder ({', '.join(_SUFFIXES)})", path=each)
        files += inside
    return files


def _words(path: str | None) -> list[str] | None:
    if path is None:
        return None
    return _lines_in(_text_in(Path(path)))


def _text_in(path: Path) -> str:
    """Return what is in a text file."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no text in UTF-8"
        raise DataError(f"cannot be read as text ({reason})", path=path) from error


def _lines_in(text: str) -> list[str]:
    """Return the lines of a text without empty ones, from its beginning to a comment below them."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("#"):
            if lines:
                break
        elif line.strip():
            lines.append(line)
    return lines


def _print_scores(paths: Sequence[Path], scores: Sequence[Score]) -> None:
    """Print how well pictures were read."""
    from manyhands.recognition.scoring import NOTHING

    total = sum(scores, NOTHING)
    print()
    for path, score in zip(paths, scores, strict=True) if len(scores) > 1 else []:
        print(labelled("errors", f"{score.errors} of {score.characters} characters: {shown(path)}"))
    print(labelled("errors", f"{total.errors} of {total.characters} characters: rate {total.error_rate:.4f}"))
    print(labelled("detection", f"precision {total.precision:.4f}, recall {total.recall:.4f}"))
    confused = ", ".join(
        f"{one or 'nothing'} as {other or 'nothing'} ({number})"
        for (one, other), number in total.confusion.most_common(_MOST_CONFUSED)
    )
    if confused:
        print(labelled("confusion", confused))


def _score(options: argparse.Namespace, path: Path, pages: Sequence[Page]) -> Score:
    from manyhands.recognition.scoring import score_lines

    truth = _text_in(path.with_suffix(".txt") if options.truth == _BESIDE else Path(options.truth))
    said = _EMPTY.search(truth)
    written = [line.replace(said["mark"], "") if said else line for line in _lines_in(truth)]
    read = [line for page in pages for line in str(page).split("\n") if line.strip()]
    return score_lines(written, read)


def _record(
    options: argparse.Namespace, found: Sequence[tuple[Path, list[Page]]], scores: Sequence[Score]
) -> dict[str, Any]:
    """Return everything as plain data."""
    record: dict[str, Any] = {
        "alphabet": options.alphabet,
        "pictures": [{"file": str(path), "pages": [page.to_json() for page in pages]} for path, pages in found],
    }
    if scores:
        record["scores"] = [score.to_json() for score in scores]
    return record
