"""The base of all studies: no run is done twice, whatever ends the study, and progress, outcome and file agree."""

import json
import os
import signal

import pytest

from manyhands.core.errors import SettingsError
from manyhands.records.seal import unsealed
from manyhands.studies.base.study import Outcome, Study, Task


class Squares(Outcome):
    """The squares of some numbers."""

    def __init__(self):
        super().__init__({"cores": 1}, {"power": 2})
        self.runs = []

    def record(self):
        """Return all."""
        return {"schema": "test/1", **self.head(), "runs": self.runs}


class Squaring(Study):
    """Square numbers; every one is as much work as it is large."""

    kind = "squares"

    def __init__(self, numbers, checkpoint=None, *, power=2, after=lambda _number: None):
        self.numbers, self.power, self.after, self.done = numbers, power, after, []
        super().__init__(Squares(), checkpoint)

    @property
    def size(self):
        """Of all."""
        return sum(self.numbers)

    def identity(self):
        """Name the power."""
        return {"power": self.power}

    def check(self, key, record):
        """Compare with the number."""
        if record["value"] != key["number"] ** 2:
            raise ValueError

    def perform(self, runner):
        """Square all."""
        for number in self.numbers:
            runner.run(self.task(number))

    def task(self, number):
        """Return one."""

        def work(tick):
            if tick is not None:
                tick(number / 2)
            self.done.append(number)
            self.after(number)
            return {"value": number**self.power}

        return Task({"number": number}, f"no {number}", work, self.outcome.runs.append, number)

    def text(self):
        """Say how many."""
        return f"{len(self.outcome.runs)} squares"


class Twice(Squaring):
    """Two parts of the same numbers."""

    kind = "twice"

    def __init__(self, numbers, checkpoint=None):
        super().__init__(numbers, checkpoint)
        self.parts = [Squaring(numbers), Squaring(numbers)]

    def perform(self, runner):
        """Let both parts run."""
        for name, part in zip("ab", self.parts, strict=True):
            part.run_in(runner.part(name, part, chosen=len(name)))


def fail_at(number, failure):
    def after(done):
        if done == number:
            raise failure

    return after


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def test_all_tasks_run_in_their_order_and_are_shown():
    shown, study = [], Squaring([2, 3])
    outcome = study.run(lambda *each: shown.append(each))
    assert [run["value"] for run in outcome.runs] == [4, 9]
    assert (outcome.interrupted, outcome.resumed) == (False, False)
    assert shown == [
        *(("no 2", 0, 5), ("no 2", 1, 5), ("no 2", 2, 5)),
        *(("no 3", 2, 5), ("no 3", 3.5, 5), ("no 3", 5, 5)),
    ]


def test_without_progress_nothing_ticks():
    ticks, study = [], Squaring([2])
    study.task = lambda number: Task({"number": number}, "", lambda tick: ticks.append(tick) or {"value": 4})
    study.run()
    assert ticks == [None]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ArithmeticError])
def test_what_ends_it_keeps_what_is_finished_and_it_goes_on_from_there(tmp_path, failure):
    path = tmp_path / "checkpoint"
    study = Squaring([1, 2, 3, 4], path, after=fail_at(3, failure))
    with pytest.raises(failure):
        study.run()
    assert ([run["value"] for run in study.outcome.runs], study.outcome.interrupted) == ([1, 4], True)
    assert [line["record"]["value"] for line in lines(path)] == [1, 4]
    again, shown = Squaring([1, 2, 3, 4], path), []
    outcome = again.run(lambda *each: shown.append(each))
    assert again.done == [3, 4]
    assert [run["value"] for run in outcome.runs] == [1, 4, 9, 16]
    assert (outcome.interrupted, outcome.resumed, outcome.record()["resumed"]) == (False, True, True)
    assert shown[:3] == [("no 1", 1, 10), ("no 2", 3, 10), ("no 3", 3, 10)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_run_is_counted_leaves_outcome_and_file_alike(tmp_path, number):
    from manyhands.runtime import signals

    study = Squaring([1, 2], tmp_path / "checkpoint")
    real = study.task

    def task(value):
        made = real(value)

        def collect(record):
            os.kill(os.getpid(), number)
            made.collect(record)

        return Task(made.key, made.name, made.work, collect)

    study.task = task
    with signals.heeded(to_the_end=False), pytest.raises(KeyboardInterrupt):
        study.run()
    assert [run["value"] for run in study.outcome.runs] == [line["record"]["value"] for line in lines(study.checkpoint)]
    assert (study.done, study.outcome.interrupted) == ([1], True)


def test_a_study_can_grow_and_says_that_it_was_resumed_only_if_it_was(tmp_path):
    Squaring([1, 2], tmp_path / "checkpoint").run()
    other = Squaring([5], tmp_path / "checkpoint")
    assert (other.run().resumed, other.done) == (False, [5])
    more = Squaring([1, 5, 6], tmp_path / "checkpoint")
    assert (more.run().resumed, more.done) == (True, [6])


def test_a_task_that_is_asked_for_twice_runs_once_and_is_no_resumption():
    study = Squaring([3, 3])
    outcome = study.run()
    assert (study.done, len(outcome.runs), outcome.resumed) == ([3], 2, False)


def test_the_checkpoint_of_another_study_is_refused_before_the_first_run(tmp_path):
    Squaring([1], tmp_path / "checkpoint").run()
    with pytest.raises(SettingsError, match=r"the checkpoint of a study with other settings \(power: 2 there, 3 now"):
        Squaring([1], tmp_path / "checkpoint", power=3)
    with pytest.raises(SettingsError, match="kind: squares there, twice now"):
        Twice([1], tmp_path / "checkpoint")


def test_a_line_that_is_no_run_is_named_and_run_again(tmp_path, notices):
    Squaring([1], tmp_path / "checkpoint", after=lambda _: None).run()
    wrong = Squaring([2], tmp_path / "checkpoint")
    wrong.task = lambda number: Task({"number": number}, "", lambda _tick: {"value": 5})
    wrong.run()
    again = Squaring([1, 2], tmp_path / "checkpoint")
    assert ([run["value"] for run in again.run().runs], again.done) == ([1, 4], [2])
    assert "line 3: damaged, or no piece of this study" in notices[0]


def test_parts_share_a_checkpoint_and_do_not_share_runs(tmp_path):
    shown, study = [], Twice([1, 2], tmp_path / "checkpoint")
    study.run(lambda *each: shown.append(each))
    assert [part.done for part in study.parts] == [[1, 2], [1, 2]]
    assert {what for what, _, _ in shown} == {"a: no 1", "a: no 2", "b: no 1", "b: no 2"}
    assert max(done for _, done, _ in shown) == 3
    assert [(line["part"], line["chosen"], line["number"]) for line in lines(study.checkpoint)] == [
        *(("a", 1, 1), ("a", 1, 2), ("b", 1, 1), ("b", 1, 2)),
    ]
    again = Twice([1, 2], study.checkpoint)
    again.run()
    assert [(part.done, part.outcome.resumed, part.outcome.interrupted) for part in again.parts] == [
        ([], True, False),
    ] * 2


def test_the_record_is_saved_with_a_seal(tmp_path):
    outcome = Squaring([2]).run()
    outcome.save(tmp_path / "f.json")
    saved = json.loads((tmp_path / "f.json").read_text())
    assert "checksum" in saved
    assert (
        unsealed(saved)
        == outcome.record()
        == {
            "schema": "test/1",
            "environment": {"cores": 1},
            "settings": {"power": 2},
            "interrupted": False,
            "runs": [{"value": 4}],
        }
    )
