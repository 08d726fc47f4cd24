"""A real server for tests: a process that `manyhands serve` has become, on a free port."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import httpx

_SECONDS = 60


class Serving:
    """A server that runs for the time of a block."""

    def __init__(self, *arguments, port=0, **environment):
        self._arguments, self._port, self._environment = arguments, port, environment
        self.process, self.url = None, ""

    def __enter__(self):
        command = [sys.executable, "-m", "manyhands", "serve", "--port", str(self._port), *self._arguments]
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **self._environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        line = self.process.stdout.readline()
        found = re.search(r"http://\S+", line)
        if found is None:
            raise AssertionError(f"{line}{self.process.communicate(timeout=_SECONDS)}")
        self.url = re.sub(r"//[^:]+:", "//127.0.0.1:", found[0])  # it may say its name
        return self

    def __exit__(self, *_failure):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    @property
    def port(self):
        return int(self.url.rstrip("/").rpartition(":")[2])

    @property
    def origin(self):
        return {"Origin": self.url.rstrip("/")}

    def get(self, path, **options):
        return httpx.get(f"{self.url}{path}", timeout=_SECONDS, **options)

    def post(self, path, body=b"", **options):
        """Post bytes, or anything else as JSON, as the server's own page does."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(f"{self.url}{path}", content=content, headers=self.origin, timeout=_SECONDS, **options)

    def end(self, number=signal.SIGTERM):
        """End it by a signal; return its exit status, its messages, and how long it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        _, messages = self.process.communicate(timeout=_SECONDS)
        return self.process.returncode, messages, time.monotonic() - began

    def events(self, until, after=None, seconds=_SECONDS):
        """Return the training's events (with their ids) up to the first of a kind in ``until``."""
        query = {} if after is None else {"after": after}
        found, number = [], None
        with httpx.stream("GET", f"{self.url}api/training/events", params=query, timeout=seconds) as stream:
            for line in stream.iter_lines():
                if line.startswith("id: "):
                    number = line[4:]
                elif line.startswith("data: "):
                    found.append((number, json.loads(line[6:])))
                    if found[-1][1]["kind"] in until:
                        return found
        return found
