"""Snapshots with known laws for the tests of bridges."""

from __future__ import annotations

import torch

from trajlab.dynamics.linear_sde import LinearSDE
from trajlab.models.bridge_scale import intervals_of
from trajlab.types import Snapshots

F = torch.float64
TURN = torch.tensor([[-0.3, 1.0], [-1.0, -0.3]], dtype=F)


def turning(cells: int = 60, snapshots: int = 5, sigma: float = 0.2, gap: float = 0.6, seed: int = 0, A: torch.Tensor = TURN) -> Snapshots:
    """Fresh cells at each time of dX = A X dt + sigma dW from around (2, 0)."""
    g = torch.Generator().manual_seed(seed)
    dim = len(A)
    sde = LinearSDE(A, torch.zeros(dim, dtype=F), sigma**2 * torch.eye(dim, dtype=F))
    found = []
    for k in range(snapshots):
        start = 0.3 * torch.randn(cells, dim, generator=g, dtype=F) + 2 * torch.eye(dim, dtype=F)[0]
        step = sde.transition(k * gap)
        noise = torch.randn(cells, dim, generator=g, dtype=F)
        root = torch.linalg.cholesky(step.cov + 1e-14 * torch.eye(dim, dtype=F))
        found.append(start @ step.phi.mT + noise @ root.mT)
    return Snapshots(torch.cat(found), torch.arange(snapshots).repeat_interleave(cells), gap * torch.arange(snapshots, dtype=F))


def intervals(**changes: object) -> list:
    return intervals_of(turning(**changes))
