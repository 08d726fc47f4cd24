"""JAX: one compiled lax.scan over the batches of an epoch, Adam written with jax.tree.map."""

from __future__ import annotations

import itertools
import json
import time
from functools import partial

import jax
import jax.numpy as jnp
import mnist
import numpy as np

RATE, BETA_1, BETA_2, EPSILON = 0.001, 0.9, 0.999, 1e-8


def make_network(key, widths):
    """Return weights (Glorot) and biases."""
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        key, one = jax.random.split(key)
        layers.append((jax.nn.initializers.glorot_uniform()(one, (inputs, outputs)), jnp.zeros(outputs)))
    return layers


def logits(network, x):
    """Return the last layer's values before the softmax."""
    *hidden, (weights, biases) = network
    for w, b in hidden:
        x = jax.nn.relu(x @ w + b)
    return x @ weights + biases


def loss(network, x, y):
    """Return the mean cross-entropy."""
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits(network, x)), y[:, None], axis=1))


def step(state, x, y):
    """Take one step of Adam."""
    network, first, second, count = state
    gradient = jax.grad(loss)(network, x, y)
    count = count + 1
    first = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, first, gradient)
    second = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, second, gradient)
    rate = RATE * jnp.sqrt(1 - BETA_2**count) / (1 - BETA_1**count)
    network = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON), network, first, second)
    return network, first, second, count


@partial(jax.jit, donate_argnums=0, static_argnames="batch")
def epoch(state, images, labels, order, batch):
    """Go through all rows once; the last batch may be short."""
    whole = len(order) // batch * batch

    def one(state, rows):
        return step(state, images[rows], labels[rows]), None

    state, _ = jax.lax.scan(one, state, order[:whole].reshape(-1, batch))
    return state if whole == len(order) else one(state, order[whole:])[0]


@jax.jit
def accuracy(network, images, labels):
    """Return the share of images that get their label."""
    return jnp.mean(jnp.argmax(logits(network, images), axis=1) == labels)


def main() -> None:
    """Train, score, print one line."""
    args = mnist.arguments()
    train, validation, test = jax.tree.map(jnp.asarray, mnist.load(args.rows, args.validation))
    network = make_network(jax.random.key(args.seed), [784, *args.hidden, 10])
    zeros = jax.tree.map(jnp.zeros_like, network)
    state = network, zeros, jax.tree.map(jnp.copy, zeros), jnp.zeros((), jnp.int32)
    rng = np.random.default_rng(args.seed)  # its permutations are faster than JAX's on a CPU
    order = rng.permutation(len(train[0])).astype(np.int32)

    start = time.perf_counter()
    run_epoch = epoch.lower(state, *train, order, batch=args.batch).compile()
    measure = accuracy.lower(state[0], *validation).compile() if args.until else None
    compiled = time.perf_counter() - start

    start, epochs = time.perf_counter(), 0
    while epochs < args.epochs:
        state = run_epoch(state, *train, rng.permutation(order))
        epochs += 1
        if args.until and measure(state[0], *validation) >= args.until:
            break
    jax.block_until_ready(state)
    seconds = time.perf_counter() - start
    score = float(accuracy(state[0], *test))
    print(json.dumps({"seconds": seconds, "epochs": epochs, "accuracy": score, "compile": compiled}))


if __name__ == "__main__":
    main()
