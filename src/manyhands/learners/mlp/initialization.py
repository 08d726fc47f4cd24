"""How weights and biases start.

Written as ``name`` or ``name:value``, for weights and for biases separately. F_in and F_out are the numbers of neurons
a layer reads and has:

- ``auto``: scikit-learn's way, for weights and biases: ``glorot_uniform``, with the smaller bound sqrt(2 / (F_in +
  F_out)) for logistic neurons.
- ``zeros``, ``ones``, ``constant:c``: all alike. Neurons of a layer that start alike stay alike: with equal weights and
  biases everywhere, every layer learns as if it had one neuron. ("Usually all 1" is what Todorov et al. 2021 say of
  their weights.)
- ``uniform:a``: between -a and a (by default 0.05). ``normal:s``: standard deviation s (by default 0.05).
- ``glorot_uniform``, ``glorot_normal``: variance 2 / (F_in + F_out) (Glorot & Bengio 2010, eq. 16; also called Xavier).
- ``he_uniform``, ``he_normal``: variance 2 / F_in (He et al. 2015, eq. 10).
- ``lecun_uniform``, ``lecun_normal``: variance 1 / F_in (LeCun et al. 1998, section 4.6).
- ``orthogonal:g``: g times a matrix with orthonormal rows or columns (Saxe et al. 2014), by default g = 1; for weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from manyhands.core.errors import SettingsError
from manyhands.core.suggestions import choice_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_VALUES = {"constant": 0.01, "uniform": 0.05, "normal": 0.05, "orthogonal": 1.0}
"""Those that take a value, with the one they have by default."""
_VARIANCES: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda inputs, outputs: 2 / (inputs + outputs),
    "he": lambda inputs, outputs: 2 / inputs,
    "lecun": lambda inputs, outputs: 1 / inputs,
}
INITIALIZATIONS = (
    "auto",
    "zeros",
    "ones",
    *_VALUES,
    *(f"{name}_{kind}" for name in _VARIANCES for kind in ("uniform", "normal")),
)


@dataclass(frozen=True)
class Initialization:
    """A way to start: one of :data:`INITIALIZATIONS`, with its number if it takes one."""

    kind: str
    value: float | None = None

    @property
    def name(self) -> str:
        """Canonical text."""
        if self.value is None:
            return self.kind
        short = f"{self.value:g}"
        return f"{self.kind}:{short if float(short) == self.value else self.value}"

    def draw(
        self, shape: tuple[int, ...], inputs: int, outputs: int, activation: str, rng: np.random.Generator
    ) -> NDArray[Any]:
        """Return the start of a layer's weights, shape (inputs, outputs), or biases, shape (outputs,).

        ``activation`` is that of the hidden layers, which ``auto`` depends on.
        """
        import numpy as np

        value = 0.0 if self.value is None else self.value
        if self.kind in ("zeros", "ones", "constant"):
            return np.full(shape, {"zeros": 0.0, "ones": 1.0}.get(self.kind, value))
        if self.kind == "orthogonal":
            return value * _orthogonal(inputs, outputs, rng)
        if self.kind == "normal":
            return rng.normal(0, value, shape)
        if self.kind == "auto":
            value = math.sqrt((2.0 if activation == "logistic" else 6.0) / (inputs + outputs))
        elif self.kind != "uniform":
            family, _, distribution = self.kind.partition("_")
            variance = _VARIANCES[family](inputs, outputs)
            if distribution == "normal":
                return rng.normal(0, math.sqrt(variance), shape)
            value = math.sqrt(3 * variance)
        return rng.uniform(-value, value, shape)


def _orthogonal(inputs: int, outputs: int, rng: np.random.Generator) -> NDArray[Any]:
    """Return a matrix drawn evenly from those with orthonormal columns (rows, if these are fewer)."""
    import numpy as np

    tall = rng.normal(size=(max(inputs, outputs), min(inputs, outputs)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))  # without this, QR prefers some directions (Mezzadri 2007)
    return q if inputs >= outputs else q.T


def parse_initialization(where: str, text: str) -> Initialization:
    """Return the way to start that a text of the grammar above names; ``xavier`` is read as ``glorot``.

    ``where`` is ``"weight_init"`` or ``"bias_init"``. A SettingsError says what is wrong.
    """
    kind, colon, number = str(text).strip().replace("xavier", "glorot").partition(":")
    if kind not in INITIALIZATIONS:
        raise SettingsError(f"{where}: unknown initialization {text!r}{choice_of(text, INITIALIZATIONS)}")
    if kind == "orthogonal" and where == "bias_init":
        raise SettingsError("bias_init: biases are no matrix, so they cannot start orthogonal; choose another")
    if kind not in _VALUES:
        if colon:
            raise SettingsError(f"{where}: {kind} takes no value, so leave {':' + number!r} out")
        return Initialization(kind)
    value = _VALUES[kind]
    if colon:
        try:
            value = float(number) + 0.0  # no minus before a zero
        except ValueError:
            value = math.nan
    if not math.isfinite(value) or abs(value) > 1e6 or (value < 0 and kind != "constant"):
        raise SettingsError(f"{where}: {text!r} needs a number, such as {kind}:{_VALUES[kind]}")
    return Initialization(kind, value)
