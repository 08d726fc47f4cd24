"""PyTorch, eager: the plain loop over shuffled batches."""

from __future__ import annotations

import itertools
import json
import time

import mnist
import torch
from torch import nn


def make_network(hidden: list[int]) -> nn.Sequential:
    """Return the network 784-...-10 with relu; it gives logits."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise([784, *hidden, 10]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@torch.inference_mode()
def accuracy(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of images that get their label."""
    return (network(images).argmax(1) == labels).float().mean().item()


def main() -> None:
    """Train, score, print one line."""
    args = mnist.arguments()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(args.seed)
    train, validation, test = [tuple(map(torch.from_numpy, pair)) for pair in mnist.load(args.rows, args.validation)]
    images, labels = train
    network, loss = make_network(args.hidden), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001, fused=True)
    loss(network(images[: args.batch]), labels[: args.batch]).backward()  # the first pass sets things up

    start, epochs = time.perf_counter(), 0
    while epochs < args.epochs:
        for batch in torch.randperm(len(images)).split(args.batch):
            optimizer.zero_grad()
            loss(network(images[batch]), labels[batch]).backward()
            optimizer.step()
        epochs += 1
        if args.until is not None and accuracy(network, *validation) >= args.until:
            break
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "epochs": epochs, "accuracy": accuracy(network, *test)}))


if __name__ == "__main__":
    main()
