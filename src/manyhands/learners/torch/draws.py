"""Random numbers inside a module's forward pass: the run's own, so that the same seed and n give the same bits.

PyTorch's dropout draws from one generator of the whole process. Workers that are threads would share it in no
particular order, so each takes it for the length of a forward pass, with a seed of its own; meanwhile the others'
backward passes go on. Modules that draw nothing take nothing.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from manyhands.core.randomness import generator

_generator_in_use = threading.Lock()
_found: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()
"""Whether modules draw, by what they are made of, as far as a forward pass has shown it."""


class Draws:
    """What one worker's module draws from.

    Parameters
    ----------
    source
        What the worker's module was made of: the user's module, or a function.
    module
        The worker's.
    seed, rank
        Of the run, and of the worker: each draws other numbers.
    device
        Where the numbers are drawn.
    """

    def __init__(self, source: Any, module: nn.Module, seed: int, rank: int, device: torch.device) -> None:
        self._source, self._may_draw = source, not _draws_nothing(module)
        self._first = int(generator(seed, f"draws of worker {rank}").integers(2**62))
        self._devices = [device] if device.type == "cuda" else []

    def notice(self, forward: Callable[[], Any]) -> Any:
        """Call a forward pass and remember, for all workers with modules of this source, whether it draws."""
        with self._own_generator(0):
            before = torch.get_rng_state()
            result = forward()
            with contextlib.suppress(TypeError):  # a source that has no weak references: then every pass is seeded
                _found[self._source] = bool((torch.get_rng_state() != before).any()) or bool(self._devices)
        return result

    @contextlib.contextmanager
    def at(self, step: int) -> Iterator[None]:
        """Return a context for the forward pass of one optimizer step: what it draws depends on nothing before it."""
        if not self._may_draw or not self._known():
            yield
            return
        with self._own_generator(step):
            yield

    def _known(self) -> bool:
        try:
            return _found.get(self._source, True)
        except TypeError:
            return True

    @contextlib.contextmanager
    def _own_generator(self, step: int) -> Iterator[None]:
        with _generator_in_use, torch.random.fork_rng(self._devices):
            torch.manual_seed(self._first + step)
            yield


@contextlib.contextmanager
def seeded(rng: Any) -> Iterator[None]:
    """Let PyTorch's generator begin with a number drawn from ``rng``, for the length of a block."""
    with _generator_in_use, torch.random.fork_rng([]):
        torch.manual_seed(int(rng.integers(2**62)))
        yield


def _draws_nothing(module: nn.Module) -> bool:
    """Tell whether a module is made of PyTorch's own parts alone, and none of them draws."""
    return all(_is_plain(each) for each in module.modules())


def _is_plain(module: nn.Module) -> bool:
    own = type(module).__module__.startswith("torch.nn.modules.")
    random = isinstance(module, nn.RReLU | nn.MultiheadAttention | nn.RNNBase) or "Dropout" in type(module).__name__
    return own and not random and not isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer)
