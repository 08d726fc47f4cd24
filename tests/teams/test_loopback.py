"""A process that listens to the world is made to listen to nobody, and who listens to this machine is let alone."""

import socket
import subprocess
import sys

import pytest

from manyhands.teams.loopback import allow_loopback_only

LISTENS = """
import socket, sys, time
everywhere, here = (socket.create_server((host, 0)) for host in ("0.0.0.0", "127.0.0.1"))
print(everywhere.getsockname()[1], here.getsockname()[1], flush=True)
time.sleep(100)
"""


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def test_nobody_reaches_what_listens_everywhere():
    with subprocess.Popen([sys.executable, "-c", LISTENS], stdout=subprocess.PIPE, text=True) as process:
        try:
            everywhere, here = map(int, process.stdout.readline().split())
            assert answers(everywhere)
            if not allow_loopback_only(process.pid):
                pytest.skip("this system does not let a process have the sockets of another")
            assert (answers(everywhere), answers(here)) == (False, True)
        finally:
            process.kill()


def test_a_process_that_is_gone_is_no_error():
    assert allow_loopback_only(2**22 + 1) == 0
