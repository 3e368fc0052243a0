"""A list of interacting pairs that lives as long as nothing moved far: for reference potentials with a cutoff."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trajlab.dynamics.particles import Particles


class PairList:
    """Each pair within a cutoff once, across periodic boundaries, kept until an atom moved by half the skin.

    Args:
        cutoff: Angstrom.
        skin: what is added to the cutoff when the list is made, Angstrom.
    """

    def __init__(self, cutoff: float, skin: float) -> None:
        self.cutoff, self.skin = cutoff, skin
        self._made: Particles | None = None

    def __call__(self, p: Particles) -> tuple[Tensor, Tensor, Tensor]:
        """Pairs i, j with their displacement vectors x_j - x_i (nearest or further images), ``[pair]``, ``[pair]``, ``[pair 3]``;
        among them all that are closer than the cutoff."""
        if self._made is None or not self._valid(p, self._made):
            self.i, self.j, self.shift = _pairs(p, self.cutoff + self.skin)
            self._made = p.replace(x=p.x.clone())
        return self.i, self.j, (p.x.index_select(0, self.j) - p.x.index_select(0, self.i)).add_(self.shift)

    def _valid(self, p: Particles, made: Particles) -> bool:
        if p.x.shape != made.x.shape or p.n_scenes != made.n_scenes or p.x.device != made.x.device:
            return False
        if not _same(p.scene, made.scene) or not _same(p.cell, made.cell) or not _same(p.pbc, made.pbc):
            return False
        return bool((p.x - made.x).square().sum(1).max() < 0.25 * self.skin**2)


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is b or a is None or b is None:
        return a is b
    return torch.equal(a, b)


def _pairs(p: Particles, cutoff: float) -> tuple[Tensor, Tensor, Tensor]:
    from vesin import NeighborList

    finder = NeighborList(cutoff=cutoff, full_list=False, n_threads=1)
    parts, offset = [], 0
    for scene, size in enumerate(p.sizes.tolist()):
        cell = np.zeros((3, 3)) if p.cell is None else p.cell[scene].cpu().numpy()
        pbc = [False] * 3 if p.pbc is None else p.pbc[scene].tolist()
        i, j, shift = finder.compute(p.x[offset : offset + size].detach().cpu().numpy(), cell, pbc, "ijS")
        parts.append((i.astype(np.int64) + offset, j.astype(np.int64) + offset, shift @ cell))
        offset += size
    i, j, shift = (torch.as_tensor(np.concatenate([part[k] for part in parts]), device=p.x.device) for k in range(3))
    return i, j, shift.to(p.x.dtype)
