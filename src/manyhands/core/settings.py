"""Settings as fields of dataclasses, with help, choices and readers of text; and keywords that are made of them."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ParamSpec, TypeVar

from manyhands.core.checks import shortened
from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter

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
            words = ", ".join(known.choices)
            raise SettingsError(f"unknown {each.name} {shortened(value)}; choose one of {words}")
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
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(known)}"
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
    return text if text == "auto" else positive(text)


def positive_or_all(text: str) -> int | str:
    """Read a whole number from 1 on, or ``all``."""
    try:
        return text if text == "all" else positive(text)
    except SettingsError as error:
        raise SettingsError(f"{error}, nor all") from None


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
    """Read ``512,128`` or ``none``."""
    return () if text == "none" else numbers(text)


def numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers from 1 on, separated by commas."""
    return tuple(positive(piece) for piece in text.split(","))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
