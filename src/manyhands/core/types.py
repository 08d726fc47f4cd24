"""Aliases of types that all floors use."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

Vector: TypeAlias = NDArray[Any]
"""One contiguous array of shape (size,), of floating-point numbers unless said otherwise."""

Sharding = Literal["global", "fixed"]

Phase = Literal["startup", "read", "distribute", "compute", "communicate", "merge", "evaluate"]
