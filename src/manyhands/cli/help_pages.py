"""The parser of the program and of its commands: its help pages, and what it says of a wrong command line."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from manyhands.cli.output import forget_output
from manyhands.core.suggestions import choice_of, nearest
from manyhands.runtime.terminal import message

ALIASES = {
    "--lr": "--learning-rate",
    "--batch-size": "--batch",
    "-n": "--workers",
    "-o": "--out",
    "-q": "--quiet",
}
"""Options that other programs call so. They are taken everywhere, and only the whole help speaks of them."""
_EXPERT = (
    "--scale", "--binarize", "--validation", "--labels", "--shape", "--l2", "--momentum", "--beta-1", "--beta-2",
    "--epsilon", "--rho", "--weight-decay", "--loss", "--weight-init", "--bias-init", "--dropout", "--dtype",
    "--delimiter", "--grid", "--sharding", "--partition", "--hang-timeout", "--log", "--tensorboard", "--log-rounds",
    "--debug",
)  # fmt: skip
"""Options of several commands that the short help of a long one leaves out."""
_EXPERT_GROUPS = (
    "classifiers", "pytorch", "speculation", "placement", "live logs of the comparison", "spark (with --team spark)",
)  # fmt: skip
"""Groups that it leaves out."""
_SHARED = ("data", "network", "training", "convergence", "output", "team")
"""Groups that are the same in several commands; of the others, which are a command's own, it shows all."""
_LONG = 25
"""Options from which on a command has a short help and a whole one."""
_ARGUMENTS = "arguments"
_FIRST = ("commands", _ARGUMENTS, "data", "network", "strategy", "comparison", "sweep", "study", "axes")
_LAST = ("training", "convergence", "output", "interruptions", "team", *_EXPERT_GROUPS, "help")
_MISSING = "the following arguments are required: "


class _Lines(argparse.HelpFormatter):
    """Help whose lines are broken between words only, so that ``one-shot`` stays one word."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return textwrap.indent("\n".join(self._split_lines(text, width - len(indent))), indent)

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):  # whose commands are indented once more
            self._action_max_length += self._indent_increment


class _ShowHelp(argparse.Action):
    """Prints a help page and ends; ``const`` says whether it is the whole one."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        assert isinstance(parser, Parser)
        parser.exit(show(parser.format_help(whole=bool(self.const))))


def show(page: str) -> int:
    """Print a help page; return the exit status, which says whether it could be printed."""
    try:
        print(page, end="", flush=True)
    except OSError as error:
        forget_output()
        if not isinstance(error, BrokenPipeError):  # then its reader went away, and there is nothing more to say
            print(f"manyhands: the output cannot be written: {error.strerror}", file=sys.stderr, flush=True)
        return 1
    return 0


class Parser(argparse.ArgumentParser):
    """The parser of the program, and of each of its commands.

    Options are not abbreviated: a wrong guess would be silent.

    Parameters
    ----------
    examples
        Command lines that the help ends with.
    **settings
        See `argparse.ArgumentParser`.
    """

    def __init__(self, *, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(formatter_class=_Lines, allow_abbrev=False, add_help=False, **settings)
        self.examples = tuple(examples)
        self._positionals.title = _ARGUMENTS
        self.set_defaults(parser=self)
        group = self.add_argument_group("help")
        show: dict[str, Any] = {"action": _ShowHelp, "nargs": 0, "default": argparse.SUPPRESS}
        group.add_argument("-h", "--help", const=False, help="show this help", **show)
        group.add_argument("--help-all", const=True, help="show all options", **show)

    def parse_args(self, args: Any = None, namespace: Any = None) -> argparse.Namespace:  # type: ignore[override]
        """Read the command line; an option that the command does not have is an error of that command."""
        options: argparse.Namespace
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            options.parser._refuse(unknown)
        return options

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read what is known; the program's first word must be a command."""
        first = next(iter(sys.argv[1:] if args is None else args), "")
        if self._subparsers is not None and first.startswith("-") and first not in self._option_string_actions:
            self.error(f"a command comes first, and then its options: {' '.join([self.prog, *self._words()])}")
        return super().parse_known_args(args, namespace)

    def add_aliases(self) -> None:
        """Let the options be called by their aliases, too, here and in all commands."""
        known = self._option_string_actions
        known.update({alias: known[name] for alias, name in ALIASES.items() if name in known})
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    parser.add_aliases()

    def error(self, problem: str) -> NoReturn:
        """Print what is wrong, and where help is; end the program."""
        text = f"{self.prog}: {self._in_words(problem)}\n{self.prog} --help shows how it is used"
        print(message(text), file=sys.stderr, flush=True)
        raise SystemExit(2)

    def format_usage(self) -> str:
        """Return what follows the program's name, in one line."""
        return f"usage: {self.prog} {' '.join(self._words())}\n"

    def format_help(self, *, whole: bool | None = None) -> str:
        """Return the help page: a long command's main options or, if ``whole``, all of them."""
        short = not whole and self._is_long()
        formatter = self._get_formatter()
        formatter.add_usage(self.format_usage().removeprefix("usage: ").rstrip(), (), ())
        formatter.add_text(self.description)
        for group in sorted(self._action_groups, key=_place):
            formatter.start_section(group.title)
            formatter.add_text(group.description)
            formatter.add_arguments(self._shown(group, short=short))
            formatter.end_section()
        formatter.add_text(self.epilog)
        if whole and (aliases := self._aliases()):
            formatter.add_text(f"Also understood: {aliases}.")
        examples = "".join(f"  {each}\n" for each in self.examples)
        return formatter.format_help() + (f"\nexamples:\n{examples}" if examples else "")

    def _shown(self, group: argparse._ArgumentGroup, *, short: bool) -> list[argparse.Action]:
        """Return the options of a group that a help page shows."""
        if short and group.title in _EXPERT_GROUPS:
            return []
        left_out = set(_EXPERT if short and group.title in _SHARED else ())
        if not self._is_long():
            left_out.add("--help-all")
        return [each for each in group._group_actions if left_out.isdisjoint(each.option_strings)]

    def _words(self) -> Iterator[str]:
        """Yield the words that stand for arguments in the usage."""
        yield from (str(each.metavar) for each in self._actions if not each.option_strings)
        yield "..." if self._subparsers else "[OPTIONS]"

    def _is_long(self) -> bool:
        return len(self._actions) > _LONG

    def _aliases(self) -> str:
        known = self._option_string_actions
        return ", ".join(f"{alias} for {name}" for alias, name in ALIASES.items() if alias in known)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value that is none of the choices."""
        if action.choices is None or value in action.choices:
            return
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"there is no {str(action.metavar).lower()} {value!r}{choice_of(value, action.choices)}")
        raise argparse.ArgumentError(action, f"{value!r} is unknown{choice_of(value, action.choices)}")

    def _in_words(self, problem: str) -> str:
        """Return a problem of argparse's in our words."""
        if problem.startswith(_MISSING):
            missing = problem.removeprefix(_MISSING)
            words = [each for each in self._actions if each.metavar == missing and not each.option_strings]
            return f"{missing} is missing" + "".join(f": {each.help}" for each in words)
        text = problem.removeprefix("argument ")
        name, colon, said = text.partition(": ")
        if colon and said.startswith("expected "):
            return f"{name} needs a value"
        if colon and said.startswith("ignored explicit argument"):
            return f"{name} takes no value"
        return text

    def _refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Say that there is no such option, or that a word belongs to none."""
        name = next((each.partition("=")[0] for each in unknown if each.startswith("-")), None)
        if name is not None:
            near = nearest(name, self._option_string_actions)
            self.error(f"there is no option {name}" + ("" if near is None else f"; did you mean {near}?"))
        example = ", such as --data digits" if "--data" in self._option_string_actions else ""
        self.error(f"nothing is expected where {unknown[0]!r} stands: each value follows its option{example}")


def _place(group: Any) -> tuple[int, int]:
    """Return where a group stands in the help: what a newcomer needs first, and what hardly anybody needs last."""
    if group.title in _FIRST:
        return 0, _FIRST.index(group.title)
    return (2, _LAST.index(group.title)) if group.title in _LAST else (1, 0)
