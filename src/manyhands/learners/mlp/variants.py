"""Functions that differ between the two kernel variants, see `manyhands.learners.mlp.kernel_args`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from manyhands.runtime.jit import overload, types

Function = TypeVar("Function", bound=Callable[..., object])


def variants(basic: Function, full: Function) -> Function:
    """Return a function, for compiled code only, whose first argument, ``work.slopes``, selects one of the two."""

    @functools.wraps(basic)
    def either(*_arguments: Any) -> object:
        raise NotImplementedError(f"{basic.__name__} can be called from compiled code only")

    @overload(either, splice=True)
    def _choose(slopes: Any, *_others: Any) -> Callable[..., object]:
        return basic if isinstance(slopes, types.NoneType) else full

    return either  # type: ignore[return-value]  # it has the parameters of both
