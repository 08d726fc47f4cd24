"""Ctrl-C during a fit, in real processes: the network so far is kept, and the program goes on."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from manyhands import MLPClassifier

PROGRAM = """
import json, signal, sys, warnings
import numpy as np
from sklearn.datasets import load_digits
from manyhands import MLPClassifier
from manyhands.estimators import fitting

signal.signal(signal.SIGINT, signal.default_int_handler)  # also if this was started in the background
words = json.loads(sys.argv[1])
X, y = load_digits(return_X_y=True)
X = np.tile(X / 16, (words.pop("times", 1), 1))
y = np.resize(y, len(X))
run = fitting.run
fitting.run = lambda *arguments, **named: print("training", flush=True) or run(*arguments, **named)
MLPClassifier(max_iter=1, n_workers=words.get("n_workers")).fit(X[:300], y[:300])  # compile

network = MLPClassifier(max_iter=10**6, n_iter_no_change=np.inf, random_state=0, verbose=True, **words)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print("begins", flush=True)
    network.fit(X, y)
after = network.n_iter_
start = MLPClassifier(random_state=0, max_iter=1, solver="sgd", learning_rate_init=1e-30, **words).fit(X[:300], y[:300])
again = MLPClassifier(random_state=0, max_iter=max(after, 1), n_iter_no_change=np.inf, **words)
if after:
    warnings.simplefilter("ignore")
    again.fit(X, y)
told = {
    "warnings": [str(each.message) for each in caught],
    "n_iter": after,
    "losses": len(network.loss_curve_),
    "score": network.score(X[:1797], y[:1797]),
    "same": after > 0 and all((a == b).all() for a, b in zip(network.coefs_, again.coefs_)),
    "moved": bool((network.coefs_[-1] != start.coefs_[-1]).any()),
    "goes_on": network.set_params(early_stopping=False).partial_fit(X[:1797], y[:1797]).score(X[:1797], y[:1797]),
}
print(json.dumps(told), flush=True)
"""

BEGINS = "training"


def interrupted(wait_for, pause=0.0, **words):
    """Press Ctrl-C so many seconds after a line has begun with ``wait_for``; return what the program then finds."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", PROGRAM, json.dumps(words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        begun = wait_for != BEGINS
        for line in process.stdout:
            begun = begun or line.startswith("begins")
            if begun and line.startswith(wait_for):
                break
        time.sleep(pause)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


@pytest.mark.parametrize(
    "words",
    [
        {},
        pytest.param({"n_workers": 2}, marks=pytest.mark.slow),
        {"n_workers": 2, "strategy": "periodic:1epoch", "early_stopping": True},
    ],
    ids=str,
)
def test_after_some_epochs(words):
    told = interrupted("Iteration 8,", **words)
    assert told["warnings"] == ["Training interrupted by user."]
    assert told["n_iter"] == told["losses"] >= 8
    assert told["score"] > 0.85
    assert told["goes_on"] > 0.85
    if words.get("n_workers") == 2:  # the last whole epoch, in its own bits
        assert told["same"]


def test_one_worker_is_kept_as_it_is_within_an_epoch():
    told = interrupted(BEGINS, 0.7, times=20, hidden_layer_sizes=[1500, 1500])
    assert told["n_iter"] == told["losses"] == 0
    assert told["moved"]


def test_before_the_first_epoch_ends_several_keep_the_start():
    told = interrupted(BEGINS, 0.7, times=20, hidden_layer_sizes=[1500, 1500], n_workers=2, strategy="hogwild")
    assert told["warnings"] == ["Training interrupted by user."]
    assert (told["n_iter"], told["moved"]) == (0, False)


class Interrupted(MLPClassifier):
    """One whose third evaluation on validation rows is interrupted."""

    def _score_of(self, held):
        score, calls = super()._score_of(held), iter(range(3))

        def interrupted(outputs):
            if next(calls) == 2:
                raise KeyboardInterrupt
            return score(outputs)

        return interrupted


def test_an_epoch_counts_when_its_validation_score_is_known():
    rows = np.random.default_rng(0).random((60, 4))
    network = Interrupted(n_workers=1, early_stopping=True, random_state=0)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        network.fit(rows, rows[:, 0] > 0.5)
    assert (network.n_iter_, len(network.loss_curve_), len(network.validation_scores_)) == (2, 2, 2)
