"""How much longer a training takes that is watched: run by hand, its figures are in docs/web.md.

    OMP_NUM_THREADS=1 MANYHANDS_DATA=... python tests/web/watching_cost.py [PAIRS] [--browser]

Pairs of the same training, in turns: one in a process of its own that nobody watches, one in the server, watched by a
client of its events, or by a browser that draws them. Both processes stay, so that neither reads or compiles anything.
"""

import argparse
import json
import statistics
import subprocess
import sys

from browsing import browser
from serving import Serving

from manyhands.records.statistics import estimate, ratio_interval
from manyhands.web.choices import data_choices, offered

ASKED = {"workers": 2, "hidden": "75", "batch": 200, "epochs": 75, "strategy": "periodic:1epoch", "sequential": False}
UNWATCHED = """
import json, sys, time
from manyhands.training.api import load_and_resolve
from manyhands.training.run import run
from manyhands.web.choices import data_choices, read_request
choices = data_choices()
request = read_request(json.loads(sys.argv[1]), choices)
spec = request.spec(choices[request.data], workers=request.workers, seed=0)
plan, dataset = load_and_resolve("here", spec, spec.request(choices[request.data].data, *[None] * 5))
for _ in sys.stdin:
    began = time.perf_counter()
    result = run(plan, dataset)
    print(json.dumps([result.seconds["train"], time.perf_counter() - began]), flush=True)
"""


class Alone:
    """A process that trains when it is asked to."""

    def __init__(self, asked):
        command = [sys.executable, "-c", UNWATCHED, json.dumps(asked)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def train(self):
        """Return seconds of training, and of the whole run."""
        print(file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self):
        self._process.communicate()


class Watched:
    """A client that starts trainings and follows them."""

    def __init__(self, server, asked):
        self._server, self._asked, self._last = server, asked, None

    def train(self):
        """Return the same of a training that this client follows."""
        self._server.post("api/training", self._asked).raise_for_status()
        found = self._server.events({"verdict", "failed"}, after=self._last)
        self._last = found[-1][0]
        (ended,) = [event for _, event in found if event["kind"] == "ended"]
        return ended["seconds"], ended["took"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pairs", type=int, nargs="?", default=15)
    parser.add_argument("--browser", action="store_true")
    options = parser.parse_args()
    choices = data_choices()
    asked = {**offered(choices)["defaults"], **ASKED, "data": "mnist-6000"}
    alone, found = Alone(asked), {True: [], False: []}
    with Serving() as server:
        measure(options, {False: alone.train, True: Watched(server, asked).train}, found, server)
    alone.close()
    for number, name in enumerate(("seconds of training", "seconds of the run")):
        one, other = ([each[number] for each in found[is_watched]] for is_watched in (True, False))
        ratios = [a / b for a, b in zip(one, other, strict=True)]
        low, high = ratio_interval(one, other)
        print(
            f"{name}: watched {statistics.median(one):.3f} s, unwatched {statistics.median(other):.3f} s; median ratio "
            f"{statistics.median(ratios):.3f} ({low:.3f} to {high:.3f}), mean {estimate(ratios).mean:.3f}, "
            f"n = {len(ratios)}"
        )


def measure(options, ways, found, server):
    """Take the pairs; who is first changes."""
    with browser() if options.browser else open("/dev/null") as driver:
        if options.browser:
            page = driver.new_page()
            page.goto(f"{server.url}#train")
            page.wait_for_selector("body[data-ready]")
        for number in range(-2, options.pairs):
            for is_watched in (number % 2 == 0, number % 2 != 0):
                times = ways[is_watched]()
                if number >= 0:
                    found[is_watched].append(times)
                if options.browser:
                    page.wait_for_timeout(500)


if __name__ == "__main__":
    main()
