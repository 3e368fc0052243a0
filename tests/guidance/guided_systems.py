"""Data with known answers that several tests of guidance share."""

from __future__ import annotations

import torch

from trajlab.paths.denoiser import Denoiser
from trajlab.paths.prediction import Prediction
from trajlab.paths.schedules import VPLinear
from trajlab.sources.mixtures import GaussianMixture, gaussian

F64 = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def rotation(dim: int = 3, seed: int = 5) -> torch.Tensor:
    """An orthogonal matrix."""
    return torch.linalg.qr(normal(dim, dim, seed=seed))[0]


def bivariate(rho: float = 0.9) -> GaussianMixture:
    return gaussian(torch.zeros(2, dtype=F64), [[1.0, rho], [rho, 1.0]])


def autoregressive(d: int = 16, lag: float = 0.9) -> GaussianMixture:
    return gaussian(torch.zeros(d, dtype=F64), lag ** (torch.arange(d)[:, None] - torch.arange(d)).abs().double())


class Gaussian:
    """The exact denoiser of a Gaussian with mean zero, quicker than that of a mixture: one matrix product."""

    def __init__(self, mixture: GaussianMixture, path) -> None:
        self.covariance, self.path = mixture.covariance[0], path

    def __call__(self, x, level, **_):
        total = level.alpha**2 * self.covariance + level.sigma**2 * torch.eye(len(self.covariance), dtype=F64)
        return Prediction(x, level, "x0", level.alpha * x @ torch.linalg.solve(total, self.covariance))


class Springs:
    """An O(3)-, permutation- and translation-equivariant net without weights, on ``[batch node time dim]``; counts its rows."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, x, t, pull=None):
        self.rows.append(len(x))
        centre = x.mean(1, keepdim=True)
        off = x - centre
        off = off * torch.tanh((off**2).sum(-1, keepdim=True))
        scale = (0.3 + 0.4 * t).reshape(-1, 1, 1, 1) if pull is None else (0.3 + 0.4 * t).reshape(-1, 1, 1, 1) * pull.reshape(-1, 1, 1, 1)
        return centre + scale * off


def springs(path=None) -> Denoiser:
    return Denoiser(Springs(), path or VPLinear())
