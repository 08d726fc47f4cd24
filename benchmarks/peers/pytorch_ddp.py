"""PyTorch, DistributedDataParallel: two processes with gloo, each with half of every global batch."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time

import mnist
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from pytorch_eager import accuracy, make_network
from torch import nn
from torch.nn.parallel import DistributedDataParallel

PROCESSES = 2


def reached(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, until: float) -> bool:
    """Tell whether the validation accuracy is reached; every process looks at its part of the images."""
    rank = dist.get_rank()
    part = torch.tensor(accuracy(network, images.chunk(PROCESSES)[rank], labels.chunk(PROCESSES)[rank]))
    dist.all_reduce(part)
    return part.item() / PROCESSES >= until


def work(rank: int, args: argparse.Namespace, meeting: str) -> None:
    """Do what each process does; the first one scores and prints."""
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=PROCESSES)
    torch.manual_seed(args.seed)  # the same in all processes: each takes its part of one common permutation
    train, validation, test = [tuple(map(torch.from_numpy, pair)) for pair in mnist.load(args.rows, args.validation)]
    images, labels = train
    network = make_network(args.hidden)
    parallel = DistributedDataParallel(network, gradient_as_bucket_view=True, static_graph=True)
    optimizer, loss = torch.optim.Adam(network.parameters(), lr=0.001, fused=True), nn.CrossEntropyLoss()
    for _ in range(2):  # the first passes make connections and choose the buckets
        loss(parallel(images[: args.batch]), labels[: args.batch]).backward()

    dist.barrier()
    start, epochs = time.perf_counter(), 0
    while epochs < args.epochs:
        for batch in torch.randperm(len(images)).split(args.batch):
            half = batch.chunk(PROCESSES)[rank]
            optimizer.zero_grad()
            loss(parallel(images[half]), labels[half]).backward()
            optimizer.step()
        epochs += 1
        if args.until is not None and reached(network, *validation, args.until):
            break
    dist.barrier()
    seconds = time.perf_counter() - start
    if rank == 0:
        print(json.dumps({"seconds": seconds, "epochs": epochs, "accuracy": accuracy(network, *test)}))
    dist.destroy_process_group()


def main() -> None:
    """Start the processes."""
    args = mnist.arguments()
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (args, os.path.join(folder, "meeting")), PROCESSES)  # noqa: PTH118


if __name__ == "__main__":
    main()
