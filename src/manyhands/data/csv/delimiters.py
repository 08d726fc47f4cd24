"""What stands between the cells of a row: given by the user, or found in the first lines of the file."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Protocol

from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter

WHITESPACE = " "
"""Stands for any run of spaces and tabs."""
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes (|)", WHITESPACE: "white space"}
_WORDS = {
    "comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "space": WHITESPACE, "whitespace": WHITESPACE
}  # fmt: skip
_PREFERRED = "\t;|,"  # where several divide all lines alike: commas may be those of decimals (1,5;2,5)
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_TOKEN = re.compile(r'"(?:[^"]|"")*"(?=[ \t\r\n]|$)|[^ \t\r\n]+')  # a form feed, say, divides nothing


def parse_delimiter(text: str | None) -> str | None:
    """Return the delimiter that a text names, by itself or as a word; None for None: it is to be found.

    Raises
    ------
    SettingsError
        If it names none.
    """
    if text is None or text == "auto":
        return None
    found = _WORDS.get(str(text).lower(), str(text))
    if found not in _NAMES:
        words = ", ".join(word for word in _WORDS if word.isalpha())
        raise SettingsError(f"{parameter('delimiter', text)}: there is no such delimiter; choose one of {words}")
    return found


def delimiter_words(delimiter: str) -> str:
    """Return a delimiter in words, for messages."""
    return _NAMES[delimiter]


def find_delimiter(lines: list[str]) -> str:
    """Return the delimiter of the first lines of a file: what divides all of them alike, else the first line most."""
    plain = [_QUOTED.sub("", line) for line in lines if line.strip()]
    first = plain[0] if plain else ""
    candidates = [each for each in _PREFERRED if each in first]
    if not candidates:
        return WHITESPACE if len(_TOKEN.findall(first)) > 1 else ","
    alike = [each for each in candidates if len({line.count(each) for line in plain}) == 1]
    return alike[0] if alike else max(candidates, key=first.count)


class Rows(Protocol):
    """The rows of a text, each a list of cells, and the number of lines that were read so far; as `csv.reader`."""

    @property
    def line_num(self) -> int:
        """Number of lines that were read so far."""
        ...

    def __iter__(self) -> Iterator[list[str]]:
        """Yield the rows."""
        ...

    def __next__(self) -> list[str]:
        """Return the next row."""
        ...


def rows_of(lines: Iterable[str], delimiter: str) -> Rows:
    """Return the rows of some lines; a blank line is a row without cells."""
    return _Words(lines) if delimiter == WHITESPACE else csv.reader(lines, delimiter=delimiter)


class _Words:
    """Rows whose cells are divided by spaces and tabs; a quoted cell ends in its line, or keeps its mark."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.line_num = 0

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        line = next(self._lines)
        self.line_num += 1
        return [_unquoted(token) for token in _TOKEN.findall(line)]


def _unquoted(token: str) -> str:
    return token[1:-1].replace('""', '"') if _QUOTED.fullmatch(token) else token
