import signal
import threading

import pytest

from manyhands.interruption import uninterrupted


def test_ctrl_c_waits_for_the_end_of_the_block():
    done = []

    def block():
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("whole")
        done.append("behind")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_inside_is_told_and_handlers_are_back():
    with pytest.raises(ValueError, match="inside"), uninterrupted():
        raise ValueError("inside")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sigterm_with_a_handler_waits_too():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("late"))
    try:
        with uninterrupted():
            signal.raise_signal(signal.SIGTERM)
            heard.append("whole")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == ["whole", "late"]


def test_other_threads_have_nothing_to_put_off():
    done = []

    def work():
        with uninterrupted():
            done.append(signal.getsignal(signal.SIGINT) is signal.default_int_handler)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
