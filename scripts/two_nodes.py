"""Two machines of one: network namespaces with addresses of their own, and a wire of a chosen bandwidth between them.

Needs root, and ``ip`` and ``tc`` (Debian's iproute2). Everything goes with the block.

    with two_nodes("100mbit") as nodes:
        nodes.mpiexec([".venv/bin/manyhands", "train", "--team", "mpi", ...])
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

NETWORK = "10.77.{}"
_AGENT = """#!/bin/sh
# What ssh would do: run a command on the machine with an address.
host=$1; shift
exec ip netns exec {prefix}${{host##*.}} unshare --uts sh -c "hostname {prefix}${{host##*.}}; $*"
"""


def reason_not_to() -> str | None:
    """Return why this machine cannot be two; None if it can."""
    if os.geteuid():
        return "network namespaces need root"
    missing = [name for name in ("ip", "tc", "unshare") if shutil.which(name) is None]
    return f"{', '.join(missing)} is missing: apt-get install iproute2" if missing else None


class Nodes:
    """Two namespaces.

    Attributes
    ----------
    names, addresses
        Their host names, and their addresses.
    """

    def __init__(self, prefix: str, network: str, folder: Path) -> None:
        self._prefix = prefix
        self.names = [f"{prefix}{number}" for number in (1, 2)]
        self.addresses = [f"{network}.{number}" for number in (1, 2)]
        self._network = f"{network}.0/24"
        self._agent, self._hosts = folder / "agent", folder / "hosts"
        self._agent.write_text(_AGENT.format(prefix=prefix))
        self._agent.chmod(0o700)
        self._hosts.write_text("".join(f"{address} slots=1\n" for address in self.addresses))

    def limit(self, rate: str) -> None:
        """Let no more than this go through the wire, in each direction: ``1gbit``, ``100mbit``, ``10mbit``."""
        for number in (1, 2):
            how = ["root", "tbf", "rate", rate, "burst", "256kb", "latency", "500ms"]
            self.run(number, ["tc", "qdisc", "replace", "dev", self.device(number), *how])

    def device(self, number: int) -> str:
        """Return a node's end of the wire."""
        return f"{self._prefix}v{number}"

    def sent(self, number: int) -> int:
        """Return how many bytes a node has sent over the wire."""
        found = self.run(number, ["cat", f"/sys/class/net/{self.device(number)}/statistics/tx_bytes"])
        return int(found.stdout)

    def mpiexec(self, words: Sequence[str], **how: Any) -> subprocess.CompletedProcess[str]:
        """Run a program as two processes of an MPI job, one on each node, with a host file."""
        variables = [
            word for name in ("MANYHANDS_DATA", "OMP_NUM_THREADS", "PYTHONPATH") for word in self._passed(name)
        ]
        program = [
            *(str(Path(sys.executable).parent / "mpiexec"), "--allow-run-as-root"),
            *("--prtemca", "plm_ssh_agent", str(self._agent), "--prtemca", "prte_if_include", self._network),
            *("--mca", "btl_tcp_if_include", self._network, "--hostfile", str(self._hosts), "-n", "2"),
            *variables,
            *words,
        ]
        return self.run(1, program, **how)

    def torchrun(self, words: Sequence[str], seconds: float = 120) -> list[tuple[int, str, str]]:
        """Run a program under torchrun, one process on each node; return status, output and errors of both."""
        started = []
        for number in (1, 2):
            agent = [str(Path(sys.executable).parent / "torchrun"), "--nnodes", "2", "--node-rank", str(number - 1)]
            agent += ["--nproc-per-node", "1", "--master-addr", self.addresses[0], "--master-port", "29511"]
            started.append(
                self.start(
                    number,
                    [*agent, *words],
                    env={**os.environ, "GLOO_SOCKET_IFNAME": self.device(number)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )
        try:
            said = [each.communicate(timeout=seconds) for each in started]
        finally:
            for each in started:
                each.kill()
        return [(each.returncode, *words) for each, words in zip(started, said, strict=True)]

    def _passed(self, name: str) -> list[str]:
        return ["-x", name] if name in os.environ else []

    def start(self, number: int, words: Sequence[str], **how: Any) -> subprocess.Popen[str]:
        """Start a program on a node."""
        return subprocess.Popen(self._there(number, words), text=True, **how)

    def run(self, number: int, words: Sequence[str], **how: Any) -> subprocess.CompletedProcess[str]:
        """Run a program on a node; it must end with status 0, unless ``check`` is False."""
        usual = {"capture_output": True, "text": True, "check": True}
        return subprocess.run(self._there(number, words), **{**usual, **how})

    def _there(self, number: int, words: Sequence[str]) -> list[str]:
        name = self.names[number - 1]
        return [
            "ip",
            "netns",
            "exec",
            name,
            "unshare",
            "--uts",
            "sh",
            "-c",
            f"hostname {name}; exec {shlex.join(words)}",
        ]


@contextlib.contextmanager
def two_nodes(rate: str | None = None) -> Iterator[Nodes]:
    """Make two nodes, and remove them."""
    number = os.getpid() % 200 + 20
    prefix = f"mh{os.getpid()}n"[:12]
    with tempfile.TemporaryDirectory(prefix="manyhands-nodes-") as folder:
        nodes = Nodes(prefix, NETWORK.format(number), Path(folder))
        try:
            for each in (1, 2):
                _ip("netns", "add", f"{prefix}{each}")
            _ip("link", "add", nodes.device(1), "type", "veth", "peer", "name", nodes.device(2))
            for each, address in enumerate(nodes.addresses, 1):
                own = ("-n", f"{prefix}{each}")
                _ip("link", "set", nodes.device(each), "netns", f"{prefix}{each}")
                _ip(*own, "addr", "add", f"{address}/24", "dev", nodes.device(each))
                _ip(*own, "link", "set", nodes.device(each), "up")
                _ip(*own, "link", "set", "lo", "up")
            if rate is not None:
                nodes.limit(rate)
            yield nodes
        finally:
            for each in (1, 2):
                with contextlib.suppress(subprocess.CalledProcessError):
                    _ip("netns", "del", f"{prefix}{each}")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
