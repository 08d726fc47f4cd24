"""Modules that a user might bring: each is something that a flat vector must get right."""

import torch
from torch import nn


class Everything(nn.Module):
    """BatchNorm, dropout and a tied weight."""

    def __init__(self, features=7, classes=3):
        super().__init__()
        self.first, self.norm = nn.Linear(features, 16), nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.2)
        self.middle, self.again = nn.Linear(16, 16), nn.Linear(16, 16)
        self.again.weight = self.middle.weight
        self.last = nn.Linear(16, classes)

    def forward(self, inputs):
        hidden = self.drop(torch.relu(self.norm(self.first(inputs))))
        return self.last(torch.relu(self.again(torch.relu(self.middle(hidden)))))


class Frozen(nn.Module):
    """A part that is not trained, and a constant in double precision."""

    def __init__(self):
        super().__init__()
        self.fixed, self.last = nn.Linear(7, 8), nn.Linear(8, 3)
        self.fixed.requires_grad_(False)
        self.register_buffer("constant", torch.full((8,), 0.5, dtype=torch.float64))

    def forward(self, inputs):
        return self.last(torch.relu(self.fixed(inputs)) * self.constant.float())


def plain():
    return nn.Sequential(nn.Linear(7, 8), nn.Tanh(), nn.Linear(8, 3))


def images():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 3),
    )
