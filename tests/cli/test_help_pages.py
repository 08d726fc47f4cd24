"""Help pages as a newcomer reads them, and what the parser says of a wrong command line."""

import argparse
import shlex

import pytest

from manyhands.cli import help_pages, main
from manyhands.cli import options as shared
from manyhands.cli.program import _parser


def parsers(parser=None):
    """Yield every parser of the program with its own command's words."""
    parser = _parser() if parser is None else parser
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers(each)


PARSERS = {each.prog: each for each in parsers()}
EXAMPLES = [(prog, example) for prog, parser in PARSERS.items() for example in parser.examples]


def options_of(parser):
    return [name for each in parser._actions for name in each.option_strings if name not in help_pages.ALIASES]


def page(parser, monkeypatch, *, whole, width=80):
    monkeypatch.setenv("COLUMNS", str(width))
    return parser.format_help(whole=whole)


def error_of(capsys, line):
    with pytest.raises(SystemExit) as stopped:
        main(shlex.split(line))
    printed = capsys.readouterr()
    assert (stopped.value.code, printed.out) == (2, "")
    return printed.err


class TestPages:
    @pytest.mark.parametrize("prog", PARSERS)
    @pytest.mark.parametrize("width", [80, 120])
    def test_no_line_is_wider_than_the_terminal(self, monkeypatch, prog, width):
        for whole in (False, True):
            lines = page(PARSERS[prog], monkeypatch, whole=whole, width=width).splitlines()
            assert [line for line in lines if len(line) > width] == []

    @pytest.mark.parametrize("prog", PARSERS)
    def test_the_whole_one_has_every_option_and_the_short_one_fits_two_screens(self, monkeypatch, prog):
        words = page(PARSERS[prog], monkeypatch, whole=True).replace(",", " ").split()
        assert set(options_of(PARSERS[prog])) - {"--help-all"} <= set(words)
        assert page(PARSERS[prog], monkeypatch, whole=False).count("\n") <= 110

    def test_the_short_one_has_what_a_newcomer_needs_first(self, monkeypatch):
        text = page(PARSERS["manyhands train"], monkeypatch, whole=False)
        order = [text.index(f"  {name} ") for name in ("--data", "--hidden", "--workers", "--epochs", "--out")]
        assert order == sorted(order)
        for name in ("--beta-1", "--micro-batches", "--spark-conf", "--lr", "--batch-size"):
            assert name not in text
        assert "--help-all" in text

    def test_every_option_that_the_short_one_leaves_out_is_one(self):
        known = {name for parser in PARSERS.values() for name in options_of(parser)}
        groups = {group.title for parser in PARSERS.values() for group in parser._action_groups}
        assert set(help_pages._EXPERT) <= known
        assert {*help_pages._EXPERT_GROUPS, *help_pages._SHARED, *help_pages._FIRST, *help_pages._LAST} <= groups
        assert set(help_pages.ALIASES.values()) <= known

    @pytest.mark.parametrize("prog", PARSERS)
    def test_it_ends_with_three_examples(self, monkeypatch, prog):
        lines = page(PARSERS[prog], monkeypatch, whole=False).splitlines()
        assert lines[-4:] == ["examples:", *(f"  {each}" for each in PARSERS[prog].examples)]

    @pytest.mark.parametrize(("prog", "example"), EXAMPLES)
    def test_examples_are_right(self, prog, example):
        assert example.startswith("manyhands ")
        words = shlex.split(example.partition(" > ")[0])[1:]
        options = _parser().parse_args(words)
        assert options.parser.prog.startswith(prog)
        if "settings" in options:
            assert shared.spec_of(options).parsed is not None


class TestWords:
    @pytest.mark.parametrize(
        ("line", "same"),
        [
            ("train -n 2 --lr 0.1 -q -o m", "train --workers 2 --learning-rate 0.1 --quiet --out m"),
            ("train --batch-size 7", "train --batch 7"),
            ("compare -n 1,2 -q", "compare --workers 1,2 --quiet"),
            ("compare --target 90%", "compare --target 0.9"),
            ("sweep --min-accuracy 93.5%", "sweep --min-accuracy 0.935"),
            ("study networks --targets 85%,0.9", "study networks --targets 0.85,90%"),
            ("train --stop accuracy:90%", "train --stop accuracy:0.9"),
        ],
    )  # fmt: skip
    def test_that_mean_the_same(self, line, same):
        first, second = (vars(_parser().parse_args(each.split())) for each in (line, same))
        if "stop" in first:
            assert shared.spec_of(argparse.Namespace(**first)).parsed == (
                shared.spec_of(argparse.Namespace(**second)).parsed
            )
            del first["stop"], second["stop"]
        for each in (first, second):
            del each["parser"], each["run"]
        assert first == second

    def test_one_notation_of_networks(self):
        for text, layers in (("128-64", (128, 64)), ("75", (75,)), ("none", ())):
            train = shared.spec_of(_parser().parse_args(["train", "--hidden", text]))
            assert train.network.hidden == layers
            assert _parser().parse_args(["sweep", "--hidden", f"{text},9"]).hidden == (layers, (9,))
            assert shared.option("hidden", layers) == f"--hidden {text}"

    def test_all_workers_everywhere(self):
        for command in (
            "compare",
            "study exemplar",
            "study networks",
            "study minibatch",
            "study strategies",
            "study levels",
            "study classifiers",
        ):
            assert _parser().parse_args([*command.split(), "--workers", "1,all"]).workers == (1, "all")
        for command in ("sweep", "study speculative"):
            assert _parser().parse_args([*command.split(), "--workers", "all"]).workers == "all"
        assert shared.spec_of(_parser().parse_args(["train", "--workers", "all"])).workers == "all"


class TestMistakes:
    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("trian", "there is no command 'trian'; did you mean 'train'?"),
            ("study netwoks", "there is no study 'netwoks'; did you mean 'networks'?"),
            ("--data digits", "a command comes first, and then its options: manyhands COMMAND ..."),
            ("train digits", "nothing is expected where 'digits' stands: each value follows its option"),
            ("train --wrokers 2", "there is no option --wrokers; did you mean --workers?"),
            ("train --work 2", "there is no option --work; did you mean --workers?"),
            ("train --train_size=9", "there is no option --train_size; did you mean --train-size?"),
            ("train --zzz", "there is no option --zzz"),
            ("train --workers", "--workers needs a value"),
            ("train --quiet=yes", "--quiet takes no value"),
            ("train --workers two", "--workers: 'two' is not a whole number from 1 on, nor all"),
            ("compare --workers 1,two", "--workers: 'two' is not a whole number from 1 on, nor all"),
            ("train --seed x", "--seed: 'x' is not a whole number"),
            ("train --optimizer adm", "--optimizer: 'adm' is unknown; did you mean 'adam'? Choose one of sgd, "),
            ("train --activation Sigmoid", "did you mean 'logistic'?"),
            ("train --device gpu", "did you mean 'cuda'?"),
            ("train --learner ml", "did you mean 'mlp'?"),
            ("train --hidden 128,64", "'128,64' would be 2 networks, and here is one: write 128-64 for one network"),
            ("sweep --hidden 128-", "--hidden: '' is not a whole number from 1 on"),
            ("train --target 90", "'90' is not an accuracy above 0 and up to 1 (100%); write 90% or 0.9"),
            ("sweep --min-accuracy 90", "write 90% or 0.9"),
            ("study networks --targets 0.9,95", "write 95% or 0.95"),
            ("train --target 101%", "'101%' is not an accuracy above 0 and up to 1 (100%)\n"),
            ("evaluate", "MODEL is missing: file written by manyhands train --out"),
        ],
    )  # fmt: skip
    def test_are_one_message_and_where_help_is(self, capsys, line, said):
        err = error_of(capsys, line)
        first, second = err.splitlines()
        assert said in f"{first}\n"
        prog = first.partition(":")[0]
        assert prog in PARSERS
        assert second == f"{prog} --help shows how it is used"
