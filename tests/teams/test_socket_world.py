"""Connections between workers of Spark tasks: real processes, real sockets, and callers that have no business there."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from manyhands.core.errors import ManyhandsError
from manyhands.teams.socket_world import connect

SECRET = b"of this job"
PROGRAM = """
import json, os, socket, sys, time
import numpy as np
from manyhands.core.errors import WorkerLost
from manyhands.teams.socket_world import connect
rank, addresses, descriptor, action = int(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
world = connect(rank, [tuple(each) for each in addresses], socket.socket(fileno=descriptor), b"of this job")
print("ready", flush=True)
{body}
world.leave()
"""


def start(action, body, size=3, patience="30", call=None):
    """Start the processes of a job, in which ``body`` is done; return them."""
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(size)]
    addresses = json.dumps([each.getsockname() for each in listening])
    if call is not None:
        call(listening[0].getsockname())
    started = []
    for rank, each in enumerate(listening):
        words = [str(rank), addresses, str(each.fileno()), action]
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM.format(body=body), *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                pass_fds=[each.fileno()],
                env={**os.environ, "MANYHANDS_HANG_TIMEOUT": patience},
            )
        )
        each.close()
    return started


def results(started):
    """Return what each process has printed as JSON."""
    found = []
    for process in started:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        found.append(json.loads(out.splitlines()[-1]))
    return found


COLLECTIVES = """
size = world.size
def numbers(count, dtype=np.float32):
    return (np.arange(count) * (rank + 1)).astype(dtype)
def digest(array):
    import hashlib
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
found = {}
big = numbers(500_000) if rank == 1 else np.zeros(500_000, np.float32)
world.broadcast_(big, 1)
found["broadcast"] = digest(big)
rows = world.gather(numbers(1000))
found["gather"] = None if rows is None else digest(rows)
found["texts"] = world.all_gather_texts(f"text {rank} \\u00e4")
arrays = world.all_gather_arrays(numbers(10 + rank))
found["arrays"] = [each.tolist() for each in arrays]
counts, expected = [8 * (rank + to) for to in range(size)], [8 * (rank + to) for to in range(size)]
sent, received = numbers(sum(counts) // 8, np.float64), np.zeros(sum(expected) // 8)
world.wait(world.start_all_to_all(sent.view(np.uint8), counts, received.view(np.uint8), expected))
found["all_to_all"] = received.tolist()
parts = np.repeat(np.uint8(rank), 30)
world.wait(world.start_all_gather(parts, [10] * 3), world.start_barrier())
found["all_gather"] = parts.tolist()
rows = np.zeros(3 * 10, np.uint8)
world.wait(world.start_exchange(np.repeat(np.arange(3, dtype=np.uint8) + 10 * rank, 10), [10] * 3, rows))
found["exchange"] = [rows[10 * other : 10 * other + 10].tolist() for other in range(3) if other != rank]
world.barrier()
world.send_text("hello", (rank + 1) % size, 7)
found["await"] = world.await_text(7)
print(json.dumps(found))
"""


class TestCollectives:
    def test_what_arrives(self):
        found = results(start("", COLLECTIVES))
        digest = lambda array: hashlib.sha256(array.tobytes()).hexdigest()  # noqa: E731
        assert {each["broadcast"] for each in found} == {digest((np.arange(500_000) * 2).astype(np.float32))}
        rows = np.stack([np.arange(1000) * (rank + 1) for rank in range(3)]).astype(np.float32)
        assert [each["gather"] for each in found] == [digest(rows), None, None]
        for rank, each in enumerate(found):
            assert each["texts"] == [f"text {other} ä" for other in range(3)]
            assert each["arrays"] == [[float(i * (other + 1)) for i in range(10 + other)] for other in range(3)]
            expected = []
            for source in range(3):  # which has sent its own numbers from where this rank's part begins
                begin = sum(source + to for to in range(rank))
                expected += [float((begin + i) * (source + 1)) for i in range(source + rank)]
            assert each["all_to_all"] == expected
            assert each["all_gather"] == [0] * 10 + [1] * 10 + [2] * 10
            assert each["exchange"] == [[rank + 10 * other] * 10 for other in range(3) if other != rank]
            assert each["await"] == "hello"


WAITING = """
try:
    if rank == 1:
        time.sleep(60)
    world.barrier()
except WorkerLost as error:
    print(json.dumps(str(error)))
    os._exit(0)
"""


class TestLostWorkers:
    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
    def test_all_others_end_and_say_who_it_was(self, how):
        with contextlib.ExitStack() as stack:
            started = [stack.enter_context(each) for each in start("", WAITING, patience="2")]
            for process in started:
                stack.callback(process.kill)
                assert process.stdout.readline() == "ready\n"
            os.kill(started[1].pid, how)
            for process in (started[0], started[2]):
                out, err = process.communicate(timeout=30)
                assert "worker 1" in out + err


class TestCallers:
    def test_one_without_the_secret_is_sent_away(self):
        listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        addresses = [each.getsockname() for each in listening]
        others = start_pair_member(1, addresses, listening[1], b"another secret")
        try:
            with pytest.raises(ManyhandsError, match="worker 1 has not connected"):
                connect_soon(0, addresses, listening[0])
        finally:
            others.kill()
            _, err = others.communicate()
        assert "was not answered" in err or "closed" in err

    def test_a_caller_that_knows_nothing_keeps_nobody_from_coming(self):
        with contextlib.ExitStack() as stack:

            def call(address):
                caller = stack.enter_context(socket.create_connection(address))
                caller.sendall(b"GET / HTTP/1.1\r\n\r\n" * 20)

            found = results(start("", "world.barrier()\nprint(json.dumps(rank))", size=2, call=call))
        assert found == [0, 1]

    def test_who_does_not_come_is_named(self):
        listening = socket.create_server(("127.0.0.1", 0))
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            addresses = [listening.getsockname(), nobody.getsockname()]
            with pytest.raises(ManyhandsError, match="worker 1 has not connected with worker 0 of this Spark job"):
                connect_soon(0, addresses, listening)


def connect_soon(rank, addresses, listening):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANYHANDS_HANG_TIMEOUT", "2")
        return connect(rank, addresses, listening, SECRET)


def start_pair_member(rank, addresses, listening, secret):
    program = (
        "import socket, sys\n"
        "from manyhands.teams.socket_world import connect\n"
        f"world = connect({rank}, {list(addresses)!r}, socket.socket(fileno={listening.fileno()}), {secret!r})\n"
        "world.barrier()\nworld.leave()"
    )
    member = subprocess.Popen(
        [sys.executable, "-c", program],
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[listening.fileno()],
        env={**os.environ, "MANYHANDS_HANG_TIMEOUT": "5"},
    )
    listening.close()
    return member
