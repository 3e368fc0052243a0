"""What is there, and relative to what: masks spread over states, centres of mass, and how many numbers are free to move."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor


def spread_mask(mask: Bool[Tensor, "batch *part"] | None, x: Shaped[Tensor, "batch *event"]) -> Bool[Tensor, "batch *event"]:
    """A mask over the first axes of a state, as one over all of them; all True without a mask.

    Raises:
        ValueError: its axes are not the state's first ones.
    """
    if mask is None:
        return torch.ones_like(x, dtype=torch.bool)
    if mask.shape != x.shape[: mask.ndim]:
        raise ValueError(f"the mask has shape {tuple(mask.shape)} and the state {tuple(x.shape)}; the mask's axes must be the state's first ones "
                         "(batch, then node and time, as far as it goes)")
    return mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim)).expand_as(x)


def centred(x: Float[Tensor, "batch *event"], mask: Bool[Tensor, "batch *part"] | None = None,
            axes: Sequence[int] = (1,)) -> Float[Tensor, "batch *event"]:
    """``x`` less its mean over ``axes``, of what is there; what is hidden becomes zero.

    Args:
        x: ``[batch node ...]``, positions or noise.
        mask: True where there is something.
        axes: what the mean goes over: ``(1,)``, the nodes, takes the centre of every frame out; ``(1, 2)``, nodes and frames, that of the
            whole trajectory, which then may still move.

    Raises:
        ValueError: an axis is the batch or the state has it not, or the mask does not fit.
    """
    axes = _checked(axes, x)
    there = spread_mask(mask, x)
    x = torch.where(there, x, torch.zeros_like(x))
    mean = x.sum(axes, keepdim=True) / there.sum(axes, keepdim=True).clamp(min=1)
    return torch.where(there, x - mean, x)


def degrees(x: Shaped[Tensor, "batch *event"], mask: Bool[Tensor, "batch *part"] | None = None, axes: Sequence[int] | None = None) -> Tensor:
    """How many numbers of every sample are free, ``[batch]``: those observed, less one for each mean that `centred` took out of ``axes``.

    For n nodes in ``dim`` dimensions that is (n - 1) dim a frame.
    """
    there = spread_mask(mask, x)
    free = there.flatten(1).sum(1)
    return free if axes is None else free - (there.sum(_checked(axes, x)) > 0).reshape(len(x), -1).sum(1)


def _checked(axes: Sequence[int], x: Tensor) -> tuple[int, ...]:
    axes = tuple(a if a >= 0 else a + x.ndim for a in axes)
    if not axes or not all(0 < a < x.ndim for a in axes):
        raise ValueError(f"axes {axes} of a state of shape {tuple(x.shape)}; name at least one of its axes after the batch")
    return axes
