"""The clock by hand: a false time that is set, so that every second can be counted."""

import pytest

from manyhands.training.clock import PHASES, PhaseClock


class Hand:
    """A clock hand that moves only when it is moved."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def moves(self, seconds):
        self.now += seconds


@pytest.fixture
def hand(monkeypatch):
    one = Hand()
    monkeypatch.setattr("manyhands.training.clock.time.perf_counter", one)
    return one


def test_what_is_apart_is_no_training(hand):
    clock = PhaseClock()
    clock.begin_training()
    hand.moves(3)
    assert clock.elapsed() == 3
    with clock.apart("evaluate"):
        hand.moves(10)
    assert clock.elapsed() == 3
    hand.moves(2)
    with clock.apart("evaluate"):
        hand.moves(7)
    hand.moves(1)
    clock.end_training()
    assert clock.train == 3 + 2 + 1
    assert clock.seconds == {**dict.fromkeys(PHASES, 0.0), "evaluate": 10 + 7}


def test_phases_inside_of_what_is_apart_do_not_count(hand):
    # As in a measurement: the barrier at its end is communication, but only rank 0 has something to do.
    clock = PhaseClock()
    clock.begin_training()
    with clock.phase("communicate"):
        hand.moves(4)
    with clock.apart("evaluate"):
        hand.moves(5)
        with clock.phase("communicate"):
            hand.moves(6)
        clock.add("compute", 0.5)
    clock.end_training()
    assert (clock.seconds["communicate"], clock.seconds["compute"], clock.seconds["evaluate"]) == (4, 0, 11)
    assert clock.train == 4
    assert clock.report() == {**clock.seconds, "train": 4}


def test_training_time_so_far_grows_until_its_end(hand):
    clock = PhaseClock()
    hand.moves(50)  # before training begins: of no interest
    clock.begin_training()
    assert clock.elapsed() == 0
    hand.moves(0.25)
    assert clock.elapsed() == 0.25
    clock.end_training()
    hand.moves(9)
    assert clock.train == 0.25


def test_a_phase_adds_up_and_can_be_forgotten(hand):
    clock = PhaseClock()
    for seconds in (1, 2):
        with clock.phase("merge"):
            hand.moves(seconds)
        hand.moves(10)
    clock.add("merge", 0.5)
    clock.add("read", 8)
    assert (clock.seconds["merge"], clock.seconds["read"]) == (3.5, 8)
    clock.forget("merge")
    assert (clock.seconds["merge"], clock.seconds["read"]) == (0, 8)


def test_a_phase_that_fails_counts_too(hand):
    clock = PhaseClock()

    def fail():
        with clock.phase("compute"):
            hand.moves(2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert clock.seconds["compute"] == 2
