"""What the laws of the samplers run on: a smooth equivariant denoiser of masked trajectories, and noise that can be turned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trajlab.paths.denoiser import Denoiser
from trajlab.paths.schedules import VPLinear
from trajlab.samplers.grids import Grid, uniform_lam
from trajlab.samplers.noise import RowNoise

PATH = VPLinear()
EVENT = (5, 4, 3)  # node, time, dim


def net(x: Tensor, lam: Tensor, mask: Tensor | None = None, pull: Tensor | None = None) -> Tensor:
    """A clean prediction that turns, reflects and permutes with x: shrinkage, forces between nodes, a coupling of frames.

    ``pull`` ``[batch]`` is a condition: how strongly nodes attract.
    """
    lam = lam.double().reshape(-1, 1, 1, 1)
    alpha, sigma = (w.to(x) for w in PATH.scales(lam))
    there = torch.ones(x.shape[:3], dtype=x.dtype) if mask is None else mask.to(x)
    shrunk = alpha * 0.3 / (alpha**2 * 0.3 + sigma**2) * x
    apart = shrunk[:, :, None] - shrunk[:, None]
    near = torch.exp(-(apart**2).sum(-1)) * there[:, None] * there[:, :, None]
    force = (near[..., None] * apart).sum(2)
    strength = torch.zeros(len(x), dtype=x.dtype) if pull is None else pull.to(x)
    drift = torch.roll(shrunk, 1, 2) * 0.1
    return there[..., None] * (shrunk + (0.2 - strength.reshape(-1, 1, 1, 1)) * force + drift)


class Counting(Denoiser):
    """Counts its calls."""

    def __init__(self, **condition: Any) -> None:
        super().__init__(net, PATH, "x0", clock="lam")
        self.condition, self.calls = condition, 0

    def __call__(self, x: Tensor, level: Any, **condition: Any) -> Any:
        self.calls += 1
        return super().__call__(x, level, **condition)


class Changed(RowNoise):
    """The noise of another run, turned or permuted with it."""

    def __init__(self, generator: torch.Generator, change: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]) -> None:
        super().__init__(generator)
        self.change, self.back = change, back

    def normal(self, like: Tensor) -> Tensor:
        return self.change(super().normal(self.back(like)))


def grid(steps: int = 12) -> Grid:
    return uniform_lam(PATH, steps, stop=4.0)


def start(batch: int = 3, seed: int = 1) -> Tensor:
    return torch.randn(batch, *EVENT, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def turn(seed: int = 3, reflect: bool = False) -> Tensor:
    """A rotation, or a rotation with a reflection."""
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    q = q * torch.sign(torch.det(q))
    return -q if reflect else q
