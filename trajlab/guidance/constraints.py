"""Physics as hooks: what a sample must obey is put on the predicted clean sample (and on start and noise, where needed) at every call.

Each is a projection: twice is once. States are ``[batch node time dim]``, or any shape with the coordinates last, and the masks of these
hooks are their own; entries that a run's mask hides stay zero whatever a hook does.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from trajlab.guidance.masks import fits, where
from trajlab.paths.gaussian import Level
from trajlab.samplers.hooks import Hook
from trajlab.samplers.sample import shaped


@dataclass(frozen=True, eq=False)
class ZeroCentre(Hook):
    """The mean position is zero: start, noise and clean sample are projected, so that every state of a run is.

    In this subspace a diffusion is equivariant to translations. Equivariant to O(3) and permutations.

    Attributes:
        axes: over which the mean is taken. (1,) puts each frame's centre at zero; (1, 2) that of the whole trajectory, frames may drift.
        mask: ``[batch]`` and further axes of a state: what counts (True). What does not stays as it is.

    Raises:
        ValueError: no axes, or the batch among them; when used: an axis that a state does not have, or a mask of another shape.
    """

    axes: tuple[int, ...] = (1,)
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.axes or any(a < 1 for a in self.axes):
            raise ValueError(f"axes = {self.axes}; axes from 1 on were wanted (0 is the batch): (1,) each frame, (1, 2) the whole trajectory")

    def start(self, x: Tensor, level: Level) -> Tensor:  # noqa: ARG002
        return self.project(x)

    def noise(self, z: Tensor) -> Tensor:
        return self.project(z)

    def on_x0(self, x0: Tensor, x: Tensor, level: Level) -> Tensor:  # noqa: ARG002
        return self.project(x0)

    def project(self, x: Tensor) -> Tensor:
        """x less its mean position."""
        if max(self.axes) >= x.ndim - 1:
            raise ValueError(f"axes = {self.axes} and a state of shape {tuple(x.shape)}, whose last axis holds coordinates; name axes before it")
        if self.mask is None:
            return x - x.mean(self.axes, keepdim=True)
        there = shaped(self.mask, x)
        number = there.expand(*x.shape[:-1], there.shape[-1]).sum(self.axes, keepdim=True).clamp(min=1)
        return x - there * (there * x).sum(self.axes, keepdim=True) / number


@dataclass(frozen=True)
class NormClamp(Hook):
    """No particle's clean position is longer than ``radius``: longer ones are shortened. Equivariant to O(3) and permutations.

    Raises:
        ValueError: the radius is not positive.
    """

    radius: float

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise ValueError(f"radius = {self.radius:g}; a positive one was wanted, in the unit of the state")

    def on_x0(self, x0: Tensor, x: Tensor, level: Level) -> Tensor:  # noqa: ARG002
        length = x0.norm(dim=-1, keepdim=True)
        return torch.where(length > self.radius, x0 * (self.radius / length.clamp(min=self.radius)), x0)


@dataclass(frozen=True, eq=False)
class ObservedFrames(Hook):
    """The clean sample has the observed value where there is one. Equivariant where the value turns and permutes along.

    The state is pulled there by the solver's own steps and has the value at the end. `Replacement` moves the state instead; both may be used.

    Attributes:
        value: ``[batch ...]``; NaN where nothing was observed does no harm.
        mask: ``[batch]`` and further axes of a state (node, time), True where observed.
    """

    value: Tensor
    mask: Tensor

    def on_x0(self, x0: Tensor, x: Tensor, level: Level) -> Tensor:  # noqa: ARG002
        return where(self.mask, self.value, x0)


@dataclass(frozen=True)
class DynamicThreshold(Hook):
    """Dynamic thresholding (Saharia et al. 2022), row by row: D <- bound clip(D, -s, s)/s, s = max(quantile_p |D|, bound).

    Made for pixels. It rescales physical coordinates, and acting on single coordinates it **breaks equivariance to rotations**; no method
    of this package uses it unasked, and making one says so. `NormClamp` is the equivariant means against outliers.

    Attributes:
        quantile: p, within (0, 1].
        bound: largest coordinate allowed (1 in the paper), in the unit of the state.

    Raises:
        ValueError: the quantile is outside (0, 1], or the bound not positive.

    Warns:
        UserWarning: always, unless ``accept`` is True.
    """

    quantile: float = 0.995
    bound: float = 1.0
    accept: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.quantile <= 1 and self.bound > 0):
            raise ValueError(f"quantile = {self.quantile:g} and bound = {self.bound:g}; a quantile in (0, 1] and a positive bound were wanted")
        if not self.accept:
            warnings.warn("dynamic thresholding rescales coordinates and is not equivariant to rotations; use NormClamp, "
                          "or pass accept=True where there is no geometry", UserWarning, stacklevel=3)

    def on_x0(self, x0: Tensor, x: Tensor, level: Level) -> Tensor:  # noqa: ARG002
        top = torch.quantile(x0.abs().flatten(1).double(), self.quantile, dim=1).clamp(min=self.bound)
        top = top.to(x0).reshape(-1, *[1] * (x0.ndim - 1))
        return x0.clamp(-top, top) * (self.bound / top)


@dataclass(frozen=True, eq=False)
class PeriodicWrap(Hook):
    """Clean positions are moved by whole cell vectors into the cell, or to the image nearest to a reference.

    Equivariant to rotations where cell and reference turn along, and to permutations; not continuous at the cell's faces.

    Attributes:
        cell: ``[dim dim]`` or ``[batch dim dim]``, rows are cell vectors, in the unit of the state.
        pbc: which cell vectors are periodic; all where None.
        reference: ``[batch ...]``, broadcast to the state; None wraps to fractional coordinates within [0, 1). With a reference, a
            trajectory stays in one piece (its last observed frame, for instance).

    Raises:
        ValueError: the cell is not square or has no volume; when used: it has another number of coordinates or rows than the state.
    """

    cell: Tensor
    pbc: tuple[bool, ...] | None = None
    reference: Tensor | None = None

    def __post_init__(self) -> None:
        if self.cell.ndim not in (2, 3) or self.cell.shape[-1] != self.cell.shape[-2]:
            raise ValueError(f"the cell has shape {tuple(self.cell.shape)}; [dim dim] or [batch dim dim] was wanted, rows the cell vectors")
        if bool((torch.linalg.det(self.cell.double()) == 0).any()):
            raise ValueError("the cell has no volume; its vectors must be independent (give a long vector where there is no period, and pbc)")
        if self.pbc is not None and len(self.pbc) != self.cell.shape[-1]:
            raise ValueError(f"pbc has {len(self.pbc)} entries and the cell {self.cell.shape[-1]} vectors; one for each was wanted")

    def on_x0(self, x0: Tensor, x: Tensor, level: Level) -> Tensor:  # noqa: ARG002
        cell = self._cell(x0)
        if self.reference is not None:
            fits("the reference", self.reference, x0)
        origin = 0 if self.reference is None else self.reference.to(x0)
        # In double precision, or a far position would be told its cell by rounding alone; and with a guard, because -1e-17 is in this cell.
        fraction = _times((x0 - origin).double(), torch.linalg.inv(cell.double()))
        guard = 4 * torch.finfo(x0.dtype).eps
        whole = torch.floor(fraction + guard) if self.reference is None else torch.round(fraction)
        if self.pbc is not None:
            whole = whole * torch.tensor(self.pbc, device=x0.device)
        return (x0.double() - _times(whole, cell.double())).to(x0)

    def _cell(self, x0: Tensor) -> Tensor:
        if self.cell.shape[-1] != x0.shape[-1] or (self.cell.ndim == 3 and len(self.cell) not in (1, len(x0))):
            raise ValueError(f"the cell has shape {tuple(self.cell.shape)} and the state {tuple(x0.shape)}; a vector a coordinate, one cell or "
                             "one a row, was wanted")
        return self.cell.to(x0.device)


def _times(x: Tensor, matrix: Tensor) -> Tensor:
    """x ``[batch ... dim]`` times one matrix, or one a row."""
    if matrix.ndim == 2:
        return x @ matrix
    return torch.einsum("b...i,bij->b...j", x, matrix.expand(len(x), -1, -1))
