import signal
import subprocess
import sys
import threading
import time

import pytest

from manyhands.core.errors import HungUp, Terminated
from manyhands.runtime.signals import check, heeded, insisted, status_of, uninterrupted


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


def swallow():
    """Be foreign code that lets nothing through."""
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:
        return "swallowed"


class Callback:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("how", [swallow, Callback], ids=["caught", "ignored"])
def test_what_was_swallowed_is_raised_at_the_end_of_the_block(how, capsys):
    with pytest.raises(KeyboardInterrupt), insisted():
        how()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert capsys.readouterr().err == ""


def test_an_error_that_follows_a_signal_is_the_signals_doing():
    def block():
        with insisted():
            swallow()
            raise ImportError("half of it is missing")

    with pytest.raises(KeyboardInterrupt):
        block()
    with pytest.raises(ImportError), insisted():
        raise ImportError("all of it is missing")


@pytest.mark.parametrize(
    ("number", "kind", "status"),
    [(signal.SIGINT, KeyboardInterrupt, 130), (signal.SIGTERM, Terminated, 143), (signal.SIGHUP, HungUp, 129)],
)
def test_each_signal_is_heard_and_has_its_status(number, kind, status):
    def block():
        with heeded(to_the_end=False):
            signal.raise_signal(number)

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as caught:
        block()
    assert type(caught.value) is kind
    assert status_of(caught.value) == status
    assert signal.getsignal(number) is before


def test_a_terminal_and_its_shell_may_both_hang_up():
    def block():
        with heeded(to_the_end=False):
            try:
                signal.raise_signal(signal.SIGHUP)
            finally:
                signal.raise_signal(signal.SIGHUP)
                done.append("the end in good order")

    done = []
    with pytest.raises(HungUp):
        block()
    assert done == ["the end in good order"]


def test_nohup_is_respected():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with heeded(to_the_end=False):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_was_swallowed_comes_again():
    def block():
        with heeded(to_the_end=False):
            Callback()
            time.sleep(30)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        block()
    assert time.monotonic() - began < 20


def test_who_goes_on_in_spite_of_a_signal_is_told_again():
    def block():
        with heeded(to_the_end=False):
            swallow()
            check()

    with pytest.raises(KeyboardInterrupt):
        block()


TWICE = """
import time
from manyhands.runtime import signals
with signals.heeded(), signals.uninterrupted():
    signals.at_once.append(lambda: print("dropped", flush=True))
    print("ready", flush=True)
    time.sleep(60)
"""


def test_who_asks_twice_need_not_wait():
    with subprocess.Popen([sys.executable, "-c", TWICE], stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "dropped\n"
    assert process.returncode == 143
