"""At which noise levels, or times, a net is trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.paths.gaussian import GaussianPath

#: ``levels(path, batch, generator)`` gives one log-SNR a sample, float64.
Levels = Callable[[GaussianPath, int, torch.Generator], Tensor]
#: ``times(batch, generator)`` gives one generative time a sample, float64.
Times = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True)
class LogNormal:
    """log(sigma/alpha) ~ N(mean, std^2) (Karras et al. 2022), kept within the path's ends.

    The mean is for data with standard deviation 1; images with 0.5 have -1.2.
    """

    mean: float = -0.5
    std: float = 1.2

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise ValueError(f"std = {self.std:g}; a positive number was wanted")

    def __call__(self, path: GaussianPath, batch: int, generator: torch.Generator) -> Float[Tensor, " batch"]:
        first, last = path.ends
        z = torch.randn(batch, generator=generator, dtype=torch.float64, device=generator.device)
        return (-self.mean - self.std * z).clamp(first, last)


@dataclass(frozen=True)
class UniformTime:
    """t uniform in [low, high]; ``stratified``: one in each of ``batch`` equal parts, in random order, which lowers the variance of a loss."""

    low: float = 1e-3
    high: float = 1 - 1e-3
    stratified: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1:
            raise ValueError(f"t from {self.low:g} to {self.high:g}; 0 <= low < high <= 1 was wanted")

    def times(self, batch: int, generator: torch.Generator) -> Float[Tensor, " batch"]:
        """One time a sample."""
        u = torch.rand(batch, generator=generator, dtype=torch.float64, device=generator.device)
        if self.stratified:
            u = (u + torch.randperm(batch, generator=generator, device=generator.device)) / batch
        return self.low + (self.high - self.low) * u

    def __call__(self, path: GaussianPath, batch: int, generator: torch.Generator) -> Float[Tensor, " batch"]:
        return path.lam_of(self.times(batch, generator))


@dataclass(frozen=True)
class LogitNormalTime:
    """logit t ~ N(mean, std^2): more training in the middle (Esser et al. 2024)."""

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if not (self.std > 0 and math.isfinite(self.mean)):
            raise ValueError(f"mean = {self.mean:g}, std = {self.std:g}; a finite mean and a positive std were wanted")

    def times(self, batch: int, generator: torch.Generator) -> Float[Tensor, " batch"]:
        """One time a sample."""
        return torch.sigmoid(self.mean + self.std * torch.randn(batch, generator=generator, dtype=torch.float64, device=generator.device))

    def __call__(self, path: GaussianPath, batch: int, generator: torch.Generator) -> Float[Tensor, " batch"]:
        return path.lam_of(self.times(batch, generator))
