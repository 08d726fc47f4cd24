"""What a worker has offered to others, counted once for all teams that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Sent:
    """The bytes that a worker has offered to others: in its team, and in parts of it."""

    bytes: int = 0
