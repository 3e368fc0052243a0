"""Views of a state in which data have little variance and noise has all of it: what `TimeShift` measures where the whole state tells nothing.

A view is called with x ``[batch ...]`` and a mask that multiplies it (or None) and returns what it keeps of x, by an orthogonal projection,
and of how many numbers of each row that is ``[batch]``: white noise of variance s^2 leaves s^2 times that number as sum of squares.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

View = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]


def everything(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """All that is observed."""
    count = x.new_full((len(x),), x[0].numel()) if mask is None else mask.expand_as(x).flatten(1).sum(1)
    return x, count


@dataclass(frozen=True)
class HighFrequencies:
    """Without the ``drop`` lowest modes of the cosine transform in time (drop = 1 removes the mean over time). Keeps O(3).

    Smooth trajectories have little left here. A node with a hidden frame is left out as a whole.

    Attributes:
        drop: modes removed.
        axis: of time in a state; -2 in ``[batch node time dim]``.
    """

    drop: int
    axis: int = -2

    def __call__(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Raises:
            ValueError: no mode would be left, or time would be the batch axis.
        """
        frames = x.shape[self.axis]
        if not 1 <= self.drop < frames or self.axis % x.ndim == 0:
            raise ValueError(f"drop={self.drop} modes of {frames} frames (axis {self.axis} of {tuple(x.shape)}) came; "
                             "at least one must go and one stay")
        low = _cosines(frames, self.drop).to(x)
        moved = x.movedim(self.axis, -1)
        left = moved - (moved @ low.T) @ low
        whole = torch.ones_like(left) if mask is None else mask.expand_as(x).movedim(self.axis, -1).amin(-1, keepdim=True).expand_as(left)
        return (left * whole).movedim(-1, self.axis), whole.flatten(1).sum(1) * (frames - self.drop) / frames


@dataclass(frozen=True)
class OffSubspace:
    """What lies off a subspace that holds the data, such as their leading principal components. It does not commute with rotations.

    Attributes:
        basis: ``[component d]``, orthonormal rows over flattened events.

    Raises:
        ValueError: the rows are not orthonormal.
    """

    basis: Tensor

    def __post_init__(self) -> None:
        basis = self.basis.double()
        if basis.ndim != 2 or bool((basis @ basis.T - torch.eye(len(basis), dtype=basis.dtype, device=basis.device)).abs().max() > 1e-4):
            raise ValueError(f"a basis of shape {tuple(basis.shape)} came whose rows are not orthonormal; take rows of Vh from torch.linalg.svd")

    def __call__(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Raises:
            ValueError: there is a mask, or events have another size than the basis.
        """
        if mask is not None and not bool((mask != 0).all()):
            raise ValueError("a subspace of whole events cannot be taken out of samples with hidden entries; use HighFrequencies, or no view")
        flat, basis = x.flatten(1), self.basis.to(x)
        if flat.shape[1] != basis.shape[1]:
            raise ValueError(f"events have {flat.shape[1]} numbers and the basis is over {basis.shape[1]}")
        return (flat - (flat @ basis.T) @ basis).reshape(x.shape), x.new_full((len(x),), basis.shape[1] - len(basis))


def data_variance(data: Float[Tensor, "sample *event"], view: View = everything, mean: Tensor | None = None, mask: Tensor | None = None) -> float:
    """The v that `TimeShift` wants: mean square, per number of the view, of clean data about ``mean`` (zero by default).

    Args:
        data: clean samples, in the net's units.
        view, mean: as given to `TimeShift`.
        mask: True (or 1) = observed; axes are the first ones of data.

    Raises:
        ValueError: nothing is observed.
    """
    off = data.double() if mean is None else data.double() - mean.double()
    there = None if mask is None else mask.reshape(*mask.shape, *[1] * (data.ndim - mask.ndim)).to(off)
    seen, count = view(off if there is None else torch.where(there > 0, off, 0), there)
    if not float(count.sum()) > 0:
        raise ValueError("the view shows nothing of these data: every node has a hidden entry")
    return float(seen.square().sum() / count.sum())


def _cosines(frames: int, modes: int) -> Tensor:
    """The lowest rows of the orthonormal DCT-II."""
    k, n = torch.arange(modes, dtype=torch.float64)[:, None], torch.arange(frames, dtype=torch.float64)
    rows = torch.cos(math.pi * k * (2 * n + 1) / (2 * frames)) * math.sqrt(2 / frames)
    rows[0] /= math.sqrt(2)
    return rows
