"""PyTorch, a convolutional network: the plain loop, with PyTorch's own layout, precision and optimizer."""

from __future__ import annotations

import json
import time

import mnist
import torch
from pytorch_eager import accuracy
from torch import nn

RATE, HOLD = 0.004, 0.25
"""The learning rate and the part of the run for which it is held, before it falls to 0: as `manyhands` chooses them."""


def make_network() -> nn.Sequential:
    """Return the network that Manyhands calls cnn-fast."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(24, 32, 3), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(800, 256), nn.ReLU(), nn.Linear(256, 10),
    )  # fmt: skip


def main() -> None:
    """Train, score, print one line."""
    args = mnist.arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    train, _, test = [tuple(map(torch.from_numpy, pair)) for pair in mnist.load(args.rows)]
    (images, labels), (test_images, test_labels) = [(x.view(-1, 1, 28, 28), y) for x, y in (train, test)]
    network, loss = make_network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    steps = args.epochs * -(-len(images) // args.batch)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (1 - step / steps) / (1 - HOLD)))
    loss(network(images[: args.batch]), labels[: args.batch]).backward()  # the first pass sets things up

    start = time.perf_counter()
    for _ in range(args.epochs):
        for batch in torch.randperm(len(images)).split(args.batch):
            optimizer.zero_grad()
            loss(network(images[batch]), labels[batch]).backward()
            optimizer.step()
            falling.step()
    seconds = time.perf_counter() - start
    print(
        json.dumps({"seconds": seconds, "epochs": args.epochs, "accuracy": accuracy(network, test_images, test_labels)})
    )


if __name__ == "__main__":
    main()
