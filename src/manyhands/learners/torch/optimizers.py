"""Optimizers of PyTorch on flat vectors: their state lies in vectors as long as the parameters, visible by name.

All but Muon work element by element, so one step on one flat tensor has the result of a step on each of the module's
tensors, and costs a single call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.learners.torch.vectors import FlatTensors, FlatVector, Place

Groups = Callable[[nn.Module], Sequence[Mapping[str, Any]]]
"""Returns groups as ``torch.optim`` takes them: ``params``, and an ``lr`` or ``weight_decay`` of their own."""


@dataclass(frozen=True)
class TorchOptimizer:
    """An optimizer of ``torch.optim`` by name.

    Attributes
    ----------
    name
        ``sgd``, ``momentum``, ``nesterov``, ``adam``, ``adamw``, ``rmsprop``, ``adagrad``, ``adadelta``, ``adamax`` or
        ``muon`` (hidden matrices by Muon, everything else by AdamW).
    learning_rate
        The rate to which those of ``groups`` are relative; what a step takes comes from the schedule.
    momentum, beta_1, beta_2, epsilon, rho, weight_decay
        As in `manyhands.MLPSettings`; ``weight_decay`` acts as in ``torch.optim``, on all parameters.
    groups
        Returns the parameter groups of a module; None for one group.

    Raises
    ------
    SettingsError
        If there is no such optimizer.
    """

    name: str = "adam"
    learning_rate: float = 0.001
    momentum: float = 0.9
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    rho: float = 0.99
    weight_decay: float = 0.0
    groups: Groups | None = None

    def __post_init__(self) -> None:
        if self.name not in _KINDS:
            raise SettingsError(
                f"{parameter('optimizer', self.name)} is none of those for PyTorch modules; choose one of "
                f"{', '.join(_KINDS)}"
            )

    @classmethod
    def of(cls, settings: MLPSettings, groups: Groups | None = None) -> TorchOptimizer:
        """Return the optimizer that settings name."""
        named = ("learning_rate", "momentum", "beta_1", "beta_2", "epsilon", "rho", "weight_decay")
        return cls(settings.optimizer, **{name: getattr(settings, name) for name in named}, groups=groups)


@dataclass(frozen=True)
class _Kind:
    """How an optimizer of ``torch.optim`` is made, and which vectors it keeps.

    Attributes
    ----------
    make
        Returns it for tensors (or parameter groups).
    state
        Names of its vectors, as strategies see them, by the keys of its ``state``.
    counts
        Whether it keeps a number of steps there, too.
    """

    make: Callable[[TorchOptimizer, Any], torch.optim.Optimizer]
    state: Mapping[str, str]
    counts: bool = True


_MOMENTS = {"exp_avg": "first_moment", "exp_avg_sq": "second_moment"}
_VELOCITY = {"momentum_buffer": "velocity"}


def _sgd(momentum: bool, nesterov: bool = False) -> Callable[[TorchOptimizer, Any], torch.optim.Optimizer]:
    return lambda chosen, parameters: torch.optim.SGD(
        parameters,
        momentum=chosen.momentum if momentum else 0.0,
        nesterov=nesterov and chosen.momentum > 0,
        weight_decay=chosen.weight_decay,
        fused=True,
    )


def _adam(kind: Any, **known: Any) -> Callable[[TorchOptimizer, Any], torch.optim.Optimizer]:
    def make(chosen: TorchOptimizer, parameters: Any) -> torch.optim.Optimizer:
        betas = chosen.beta_1, chosen.beta_2
        made: torch.optim.Optimizer = kind(
            parameters, betas=betas, eps=chosen.epsilon, weight_decay=chosen.weight_decay, **known
        )
        return made

    return make


_KINDS = {
    "sgd": _Kind(_sgd(False), {}, counts=False),
    "momentum": _Kind(_sgd(True), _VELOCITY, counts=False),
    "nesterov": _Kind(_sgd(True, nesterov=True), _VELOCITY, counts=False),
    "adam": _Kind(_adam(torch.optim.Adam, fused=True), _MOMENTS),
    "adamw": _Kind(_adam(torch.optim.AdamW, fused=True), _MOMENTS),
    "rmsprop": _Kind(
        lambda chosen, parameters: torch.optim.RMSprop(
            parameters, alpha=chosen.rho, eps=chosen.epsilon, weight_decay=chosen.weight_decay, foreach=False
        ),
        {"square_avg": "squares"},
    ),
    "adagrad": _Kind(
        lambda chosen, parameters: torch.optim.Adagrad(
            parameters, eps=chosen.epsilon, weight_decay=chosen.weight_decay, fused=True
        ),
        {"sum": "squares"},
    ),
    "adadelta": _Kind(
        lambda chosen, parameters: torch.optim.Adadelta(
            parameters, rho=chosen.rho, eps=chosen.epsilon, weight_decay=chosen.weight_decay, foreach=False
        ),
        {"square_avg": "squares", "acc_delta": "squared_updates"},
    ),
    "adamax": _Kind(_adam(torch.optim.Adamax, foreach=False), {"exp_avg": "first_moment", "exp_inf": "largest"}),
    "muon": _Kind(
        lambda chosen, parameters: torch.optim.Muon(
            parameters,
            momentum=chosen.momentum,
            weight_decay=chosen.weight_decay,
            adjust_lr_fn="match_rms_adamw",  # so that one learning rate suits both
        ),
        _VELOCITY,
        counts=False,
    ),
}
OPTIMIZERS = tuple(_KINDS)
"""Names of all optimizers for PyTorch modules."""


class FlatOptimizer:
    """An optimizer whose parameters, gradients and state are flat vectors.

    Parameters
    ----------
    chosen
        Which one.
    module
        What is trained.

    Attributes
    ----------
    state : dict of str to FlatVector
        Its vectors by name; there are none before :meth:`attach`.
    """

    def __init__(self, chosen: TorchOptimizer, module: nn.Module) -> None:
        self._chosen = chosen
        self._groups = _groups_of(chosen, module)
        self.state: dict[str, FlatVector] = {}
        self._made: list[torch.optim.Optimizer] = []

    def ordered(self, named: Sequence[tuple[str, nn.Parameter]]) -> list[tuple[str, nn.Parameter]]:
        """Return the parameters with those of a group side by side, so that each group is one piece of the vector."""
        return sorted(named, key=lambda each: self._group_of(each[1]))

    def _group_of(self, tensor: Tensor) -> int:
        return next(
            number for number, group in enumerate(self._groups) if any(tensor is each for each in group["params"])
        )

    def attach(self, parameters: FlatTensors, gradient: Tensor, device: torch.device) -> None:
        """Work on these parameters and this gradient from now on; the state stays what it is."""
        kinds = {
            True: _KINDS[self._chosen.name],
            False: _KINDS["adamw" if self._chosen.name == "muon" else self._chosen.name],
        }
        size = len(parameters.vector)
        names = [name for kind in kinds.values() for name in kind.state.values()]
        self.state = self.state or {name: FlatVector(size, device) for name in dict.fromkeys(names)}
        self._made = []
        for matrices, kind in kinds.items():
            pieces = [piece for piece in self._pieces(parameters.places) if piece.matrix == matrices]
            if pieces:
                self._made.append(self._make(kind, pieces, parameters.flat, gradient))

    def _pieces(self, places: Sequence[Place]) -> list[_Piece]:
        """Return what the optimizer sees as one tensor: a whole group; with Muon, each of the module's tensors."""
        groups = [self._groups[self._group_of(place.tensor)] for place in places]
        if self._chosen.name == "muon":
            matrices = [index for index, place in enumerate(places) if place.tensor.dim() > 1][:-1]  # not the outputs'
            return [
                _Piece(place.begin, place.end, group, len(place.tensor) if index in matrices else 0)
                for index, (place, group) in enumerate(zip(places, groups, strict=True))
            ]
        pieces = []
        for number, group in enumerate(self._groups):
            own = [place for place in places if self._group_of(place.tensor) == number]
            if own:
                pieces.append(_Piece(own[0].begin, own[-1].end, group))
        return pieces

    def _make(
        self, kind: _Kind, pieces: Sequence[_Piece], parameters: Tensor, gradient: Tensor
    ) -> torch.optim.Optimizer:
        groups = []
        for piece in pieces:
            tensor = nn.Parameter(piece.of(parameters))
            tensor.grad = piece.of(gradient)
            groups.append({**piece.group, "params": [tensor]})
        made = kind.make(self._chosen, groups)
        for piece, group in zip(pieces, made.param_groups, strict=True):
            group["factor"] = piece.group.get("lr", self._chosen.learning_rate) / self._chosen.learning_rate
            state = made.state[group["params"][0]]
            for key, name in kind.state.items():
                state[key] = piece.of(self.state[name].flat)
            if kind.counts:
                state["step"] = torch.zeros((), dtype=torch.float32)
        return made

    def count_from(self, steps: int) -> None:
        """Let the optimizer believe that it has taken so many steps."""
        for made in self._made:
            for state in made.state.values():
                if "step" in state:
                    state["step"].fill_(steps)

    def step(self, rate: float) -> None:
        """Take one step along the gradient."""
        for made in self._made:
            for group in made.param_groups:
                group["lr"] = rate * group["factor"]
            made.step()


@dataclass(frozen=True)
class _Piece:
    """A part of the flat vectors that the optimizer sees as one tensor; a matrix of ``rows`` rows, if there are any."""

    begin: int
    end: int
    group: Mapping[str, Any]
    rows: int = 0

    @property
    def matrix(self) -> bool:
        """Whether Muon trains it."""
        return self.rows > 0

    def of(self, flat: Tensor) -> Tensor:
        """Return this part of a flat tensor."""
        part = flat[self.begin : self.end]
        return part.view(self.rows, -1) if self.rows else part


def _groups_of(chosen: TorchOptimizer, module: nn.Module) -> list[dict[str, Any]]:
    """Return the module's parameter groups, each with its tensors that are trained.

    Raises
    ------
    SettingsError
        If a trained parameter is in no group, or in two, or a group has another option than ``lr``, ``weight_decay``.
    """
    trained = [each for each in module.parameters() if each.requires_grad]
    if chosen.groups is None:
        return [{"params": trained}]
    groups: list[dict[str, Any]] = [{**group, "params": list(group["params"])} for group in chosen.groups(module)]
    for group in groups:
        if strange := set(group) - {"params", "lr", "weight_decay"}:
            raise SettingsError(f"a parameter group may have lr and weight_decay of its own, but not {min(strange)}")
    for name, each in module.named_parameters():
        times = sum(any(each is other for other in group["params"]) for group in groups)
        if each.requires_grad and times != 1:
            raise SettingsError(f"the parameter {name} is in {times} parameter groups; each must be in one")
    return groups
