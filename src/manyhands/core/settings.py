"""Settings as fields of dataclasses, with help, choices and readers of text; and keywords that are made of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ParamSpec, TypeVar

from manyhands.core.checks import shortened
from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.suggestions import choice_of, did_you_mean
from manyhands.core.words import count

ALL = "all"
"""What a user gives instead of a number of workers for one on each usable core."""
Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


@dataclass(frozen=True)
class Setting:
    """What is known about one setting beside its name, type and default.

    Attributes
    ----------
    help
        One line for the command line's help.
    group
        The heading it stands under there; empty for what can be set from Python only.
    metavar
        What stands for its value there.
    choices
        The words that it takes, if it takes no others.
    read
        Makes a value of text; raises SettingsError.
    write
        Makes text of a value, as ``read`` takes it; None for what `str` writes.
    const
        Its value where its option stands without one.
    check
        Called with the parameter's name and a value that is not None; returns it as it is kept, or raises
        SettingsError.
    hidden_choices
        Words that it takes from programs only.
    """

    help: str
    group: str
    metavar: str | None = None
    choices: Sequence[str] | None = None
    read: Callable[[str], Any] = str
    write: Callable[[Any], str] | None = None
    const: Any = None
    check: Callable[[str, Any], Any] | None = None
    hidden_choices: Sequence[str] = ()


def setting(default: Any, help: str, group: str, **known: Any) -> Any:
    """Return a field that users can set; ``known`` has the other attributes of `Setting`."""
    return field(default=default, metadata={"setting": Setting(help, group, **known)})


def setting_fields(kind: Any) -> Iterator[tuple[Field[Any], Setting]]:
    """Yield the settings of a dataclass (a type or an object); a field that is itself such a dataclass yields its own.

    A field without `setting` is none: users don't see it.
    """
    for each in fields(kind):
        if "setting" in each.metadata:
            yield each, each.metadata["setting"]
        elif "nested" in each.metadata:
            yield from setting_fields(each.default_factory if each.default is MISSING else each.default)


def check_settings(settings: Any) -> None:
    """Check each setting of a frozen dataclass by itself, and keep it as its check returns it."""
    for each in fields(settings):
        known, value = each.metadata.get("setting"), getattr(settings, each.name)
        if known is None or (value is None and each.default is None):
            continue
        if known.choices and not (isinstance(value, str) and value in (*known.choices, *known.hidden_choices)):
            raise SettingsError(f"unknown {each.name} {shortened(value)}{choice_of(str(value), known.choices)}")
        if known.check is not None:
            object.__setattr__(settings, each.name, known.check(parameter(each.name), value))


def takes_settings(kind: Any, *, without: Collection[str] = (), checked: bool = True) -> Callable[..., Any]:
    """Return a decorator for a function whose ``**settings`` are those of a dataclass, but for those in ``without``.

    The function's signature, which ``help()`` and editors show, lists them one by one; a keyword that is none of them
    is a TypeError that names the nearest. If not ``checked``, the function checks its keywords itself, together with
    the other processes of a job.
    """

    def decorated(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
        given = inspect.signature(function)
        own = [each for each in given.parameters.values() if each.kind is not each.VAR_KEYWORD]
        taken = {each.name for each in own} | set(without)
        more = [
            inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type)
            for each, _ in setting_fields(kind)
            if each.name not in taken
        ]
        signature = given.replace(parameters=[*own, *more])

        @functools.wraps(function)
        def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Returned:
            if checked:
                check_names(function.__name__, kwargs, signature.parameters)
            return function(*args, **kwargs)

        call.__signature__ = signature  # type: ignore[attr-defined]
        return call

    return decorated


def check_names(function: str, given: Collection[str], known: Collection[str]) -> None:
    """Check that a function has all these parameters; if not, a TypeError names the nearest that it has."""
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f"; it has {', '.join(known)}"
            raise TypeError(f"{function}() has no parameter {name!r}{hint}")


def positive(text: str) -> int:
    """Read a whole number from 1 on."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise SettingsError(f"{text!r} is not a whole number from 1 on")
    return value


def positive_or_auto(text: str) -> int | str:
    """Read a whole number from 1 on, or ``auto``."""
    return _positive_or("auto", text)


def positive_or_all(text: str) -> int | str:
    """Read a whole number from 1 on, or ``all``."""
    return _positive_or(ALL, text)


def _positive_or(word: str, text: str) -> int | str:
    """Read a whole number from 1 on, or a word."""
    try:
        return text if text == word else positive(text)
    except SettingsError as error:
        raise SettingsError(f"{error}, nor {word}") from None


def whole_number(text: str) -> int:
    """Read a whole number."""
    try:
        return int(text)
    except ValueError:
        raise SettingsError(f"{text!r} is not a whole number") from None


def accuracy(text: str) -> float:
    """Read an accuracy above 0 and up to 1: ``0.9``, or ``90%``.

    Raises
    ------
    SettingsError
        If it is none. Without the sign, 90 is none: whether it stands for 90 % is not guessed.
    """
    return _up_to_one(text, "an accuracy")


def share(text: str) -> float:
    """Read a share above 0 and up to 1, ``0.02`` or ``2%``; anything else is a SettingsError."""
    return _up_to_one(text, "a share")


def _up_to_one(text: str, what: str) -> float:
    plain = text.strip()
    value = _number(plain.removesuffix("%").rstrip())
    value = value / 100 if plain.endswith("%") else value
    if not 0 < value <= 1:
        hint = f"; write {value:g}% or {value / 100:g}" if 1 < value <= 100 and "%" not in plain else ""
        raise SettingsError(f"{text!r} is not {what} above 0 and up to 1 (100%){hint}")
    return value


def part(text: str) -> int | float:
    """Read a part of something: a number of its elements (``30``), or their share (``0.2``, ``20%``)."""
    value = _number(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if 0 < value < 1:
        return value
    try:
        return positive(text)
    except SettingsError:
        raise SettingsError(f"{text!r} is neither a share, such as 0.2 or 20%, nor a whole number from 1 on") from None


def amount(text: str) -> float:
    """Read a positive number."""
    value = _number(text)
    if not 0 < value < float("inf"):
        raise SettingsError(f"{text!r} is not a positive number")
    return value


def threshold(text: str) -> float | str:
    """Read any finite number, or ``auto``."""
    if text == "auto":
        return text
    value = _number(text)
    if not -float("inf") < value < float("inf"):
        raise SettingsError(f"{text!r} is not a finite number")
    return value


def widths(text: str) -> tuple[int, ...]:
    """Read the hidden layers of one network: ``75``, ``512-128`` or ``none``.

    Commas separate networks, where several may be given: here they are refused.
    """
    if text == "none":
        return ()
    if "," in text:
        several = count(text.count(",") + 1, "network")
        raise SettingsError(
            f"{text!r} would be {several}, and here is one: write {'-'.join(text.split(','))} for one network with "
            "several hidden layers (commas separate networks)"
        )
    return tuple(positive(piece.strip()) for piece in text.split("-"))


def networks(text: str) -> tuple[tuple[int, ...], ...]:
    """Read the hidden layers of several networks: ``50,75,128-64,none``."""
    return tuple(widths(each.strip()) for each in text.split(","))


def widths_text(widths: Sequence[int]) -> str:
    """Return the hidden layers of a network as `widths` reads them."""
    return "-".join(map(str, widths)) or "none"


def numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers from 1 on, separated by commas."""
    return tuple(positive(piece.strip()) for piece in text.split(","))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
