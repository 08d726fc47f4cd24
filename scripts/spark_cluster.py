"""A standalone Spark cluster on this machine: a Master and Workers, bound to loopback, with a secret.

``up`` installs Java if there is none and this is root on Debian (openjdk-17-jre-headless), starts the processes, and
waits until all Workers have registered. ``down`` ends exactly these processes. Everything lies in one folder that only
this user can read: the configuration with the secret, the logs, and ``cluster.json`` with the processes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HOST = "127.0.0.1"
_START_SECONDS, _END_SECONDS, _LOOK_SECONDS = 180.0, 15.0, 0.2
_JAVA_PACKAGE = "openjdk-17-jre-headless"
_LIGHT = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For short jobs: half of the time to start."""


class ClusterError(Exception):
    """The cluster does not come up."""


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of whoever uses the cluster of a folder: it has the secret, and addresses on loopback."""
    return {
        "SPARK_CONF_DIR": str(folder / "conf"),
        "SPARK_LOCAL_IP": HOST,
        "SPARK_LOCAL_HOSTNAME": HOST,
        "SPARK_PUBLIC_DNS": HOST,
    }


def up(folder: Path, workers: int = 2, cores: int = 1, memory: str = "1g") -> str:
    """Start a cluster in a new folder; return the address of its Master.

    Raises
    ------
    ClusterError
        If there is one already, Java or PySpark is missing, or the processes do not come up.
    """
    if (folder / "cluster.json").exists():
        raise ClusterError(f"there is a cluster in {folder}: end it with 'down' first")
    _require_java()
    home = _spark_home()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _configure(folder / "conf")
    started: list[subprocess.Popen[bytes]] = []
    try:
        master = ["org.apache.spark.deploy.master.Master", "--host", HOST, "--port", "0", "--webui-port", "0"]
        started.append(_start(home, folder, "master", master))
        address = _logged(started[0], folder / "master.log", r"Starting Spark master at (spark://\S+)")
        page = _logged(started[0], folder / "master.log", r"MasterWebUI.*?(http://[\d.:]+)")
        for number in range(workers):
            own = folder / f"worker-{number}"
            own.mkdir(exist_ok=True)
            ports = ["--host", HOST, "--port", "0", "--webui-port", "0"]
            worker = ["org.apache.spark.deploy.worker.Worker", *ports, "-c", str(cores), "-m", memory]
            started.append(_start(home, folder, own.name, [*worker, "-d", str(own), address]))
        _await_workers(page, workers, started, folder)
    except BaseException:
        for process in started:
            process.kill()
        raise
    processes = {str(process.pid): _begun(process.pid) for process in started}
    with open(folder / "conf" / "spark-defaults.conf", "a") as file:
        file.write(f"spark.master {address}\n")  # for all who use this configuration
    record = {"master": address, "processes": processes}
    (folder / "cluster.json").write_text(json.dumps(record))
    return address


def down(folder: Path) -> int:
    """End the processes of the cluster of a folder, and remove the folder; return how many there were."""
    record = json.loads((folder / "cluster.json").read_text())
    own = [int(pid) for pid, begun in record["processes"].items() if _begun(int(pid)) == begun]
    for pid in reversed(own):  # Workers before the Master
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + _END_SECONDS
    while any(_is_running(pid) for pid in own) and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
    for pid in own:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
    return len(own)


def _require_java() -> None:
    home = os.environ.get("JAVA_HOME")
    if (home and Path(home, "bin", "java").exists()) or shutil.which("java"):
        return
    if os.geteuid() or not shutil.which("apt-get"):
        raise ClusterError(f"Spark needs Java 17 or newer: install it (Debian's {_JAVA_PACKAGE}), or set JAVA_HOME")
    print(f"installing Java: apt-get install {_JAVA_PACKAGE}", flush=True)
    for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-q", "-y", _JAVA_PACKAGE]):
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
            raise ClusterError(f"{' '.join(command)} has failed: install Java 17 or newer by hand")


def _spark_home() -> Path:
    try:
        import pyspark
    except ImportError:
        raise ClusterError("Spark is missing: pip install '.[spark]'") from None
    return Path(os.environ.get("SPARK_HOME", Path(pyspark.__file__).parent))


def _configure(folder: Path) -> None:
    """Write the configuration: the secret stands on no command line."""
    folder.mkdir(mode=0o700, exist_ok=True)
    settings = {
        "spark.authenticate": "true",
        "spark.authenticate.secret": secrets.token_hex(32),
        "spark.network.crypto.enabled": "true",
        "spark.driver.host": HOST,
        "spark.driver.bindAddress": HOST,
        "spark.ui.enabled": "false",
        "spark.driver.extraJavaOptions": _LIGHT,
        "spark.executor.extraJavaOptions": _LIGHT,
    }
    path = folder / "spark-defaults.conf"
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.writelines(f"{name} {value}\n" for name, value in settings.items())


def _start(home: Path, folder: Path, name: str, program: list[str]) -> subprocess.Popen[bytes]:
    """Start a process of the cluster, in a session of its own: it outlives this program."""
    own = {"SPARK_DAEMON_JAVA_OPTS": _LIGHT, "SPARK_DAEMON_MEMORY": "512m", "SPARK_HOME": str(home)}
    with open(folder / f"{name}.log", "wb") as log:
        return subprocess.Popen(
            [str(home / "bin" / "spark-class"), *program],
            env={**os.environ, **environment(folder), **own},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _logged(process: subprocess.Popen[bytes], log: Path, pattern: str) -> str:
    """Return what a process says in its log, once it does."""
    end = time.monotonic() + _START_SECONDS
    while not (found := re.search(pattern, log.read_text(errors="replace"))):
        if process.poll() is not None or time.monotonic() > end:
            raise ClusterError(f"{log.stem} does not come up:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(_LOOK_SECONDS)
    return found[1]


def _await_workers(page: str, workers: int, started: list[subprocess.Popen[bytes]], folder: Path) -> None:
    """Wait until the Master knows all Workers."""
    end = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(f"{page}/json/", timeout=5) as answer:
            state = json.load(answer)
            if sum(each["state"] == "ALIVE" for each in state["workers"]) == workers:
                return
        if any(process.poll() is not None for process in started) or time.monotonic() > end:
            raise ClusterError(f"the Workers have not registered; the logs are in {folder}")
        time.sleep(_LOOK_SECONDS)


def _begun(pid: int) -> str | None:
    """Return when a process was started: with its number, that is one process of this machine alone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def main() -> int:
    """Carry out the command line."""
    parser = argparse.ArgumentParser(
        description="A standalone Spark cluster on this machine, on loopback, with a secret."
    )
    parser.add_argument("command", choices=("up", "down"))
    parser.add_argument("--folder", type=Path, default=Path(".spark"), help="default: .spark")
    parser.add_argument("--workers", type=int, default=2, help="default: 2")
    parser.add_argument("--cores", type=int, default=1, help="of each Worker (default: 1)")
    parser.add_argument("--memory", default="1g", help="of each Worker (default: 1g)")
    options = parser.parse_args()
    folder = options.folder.resolve()
    try:
        if options.command == "down":
            print(
                f"ended {down(folder)} processes" if (folder / "cluster.json").exists() else f"no cluster in {folder}"
            )
            return 0
        address = up(folder, options.workers, options.cores, options.memory)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Master    {address}, {options.workers} Workers of {options.cores} core(s) each")
    variables = " ".join(f"{name}={value}" for name, value in environment(folder).items())
    print(f"use it    {variables} manyhands train --team spark --master {address} ...")
    return 0


if __name__ == "__main__":
    sys.exit(main())
