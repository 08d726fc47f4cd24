"""How much less time a step could take at best, if lanes waited for nothing and got in nobody's way."""

from __future__ import annotations

from collections.abc import Mapping


def ceiling(
    costs: Mapping[str, float], lanes: int, *, balanced: bool, speculates: bool = True, micro_batches: int = 1
) -> float:
    """Return by which part a step is shorter at best than one lane's, with every sample a hit.

    Plain lanes: max(F, B) / (F + B) is left, as one lane goes forward and one back. Balanced ones share what is
    not a chain: the time left is at least that of a chain (forward, or the input gradients), and 1 / lanes of all.
    Without speculation the way back begins where the way forward of a first part of the batch ends (Huang et al.,
    "GPipe", 2019, pipeline networks by such micro-batches): until then all lanes but one wait, and behind the last
    part's way forward there is its way back.

    Parameters
    ----------
    costs
        Seconds, or multiply-adds, of ``forward``, ``input gradient`` and ``weight gradient``.
    lanes
        How many there are.
    balanced
        Whether they share the weight gradients.
    speculates
        Whether lanes go back while one goes forward, from stored outcomes.
    micro_batches
        Parts of a batch, without speculation.
    """
    forward, inputs, weights = (costs.get(name, 0.0) for name in ("forward", "input gradient", "weight gradient"))
    total = forward + inputs + weights
    if lanes == 1 or not total:
        return 0.0
    first = forward / micro_batches
    if not speculates:
        behind = inputs if balanced else inputs + weights
        shared = (total + (lanes - 1) * first) / lanes if balanced else first + inputs + weights
        longest = max(forward + behind / micro_batches, shared)
    elif balanced:
        longest = max(forward, inputs, total / lanes)
    else:
        longest = max(forward, inputs + weights)
    return 1 - longest / total
