"""Paths from N(0, I) to the data: x_t = alpha x_dat + sigma eps, with the log-signal-to-noise lam = log(alpha / sigma) as their clock."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trajlab.paths.bridge import Coefficients, Path


@dataclass(frozen=True, slots=True)
class Level:
    """A place on a Gaussian path. Numbers where it is the same for all samples, else tensors ``[batch 1 ...]`` that multiply x.

    Attributes:
        lam: log(alpha / sigma); increases towards the data.
        alpha: weight of the data.
        sigma: weight of the noise.
        t: generative time.
        dalpha, dsigma: derivatives with respect to t.
    """

    lam: Any
    alpha: Any
    sigma: Any
    t: Any
    dalpha: Any
    dsigma: Any

    @property
    def rho(self) -> Any:
        """sigma / alpha."""
        return self.sigma / self.alpha


class GaussianPath(Path):
    """A path whose source is N(0, I): a(t) = sigma, b(t) = alpha, c = 0.

    A subclass gives `lam_of`, `t_of`, `scales` and `slopes`, on float64 tensors of any shape, in closed form.
    """

    gaussian_source = True

    @abstractmethod
    def lam_of(self, t: Tensor) -> Tensor:
        """log(alpha / sigma) at t."""

    @abstractmethod
    def t_of(self, lam: Tensor) -> Tensor:
        """The inverse of `lam_of`."""

    @abstractmethod
    def scales(self, lam: Tensor) -> tuple[Tensor, Tensor]:
        """(alpha, sigma) at a log-SNR; exact for lam = +-inf too."""

    @abstractmethod
    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(d alpha/dt, d sigma/dt); may be infinite at an end."""

    @property
    def ends(self) -> tuple[float, float]:
        """lam at t = 0 and t = 1; infinite where alpha or sigma vanish."""
        first, last = self.lam_of(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
        return first, last

    def coefficients(self, t: Tensor) -> Coefficients:
        t = t.double()
        (alpha, sigma), (dalpha, dsigma) = self.scales(self.lam_of(t)), self.slopes(t)
        zero = torch.zeros_like(alpha)
        return Coefficients(sigma, alpha, zero, dsigma, dalpha, zero, zero)

    def levels(self, lam: Tensor | Sequence[float]) -> list[Level]:
        """A level of numbers for every entry of ``lam``."""
        lam = torch.as_tensor(lam, dtype=torch.float64)
        t = self.t_of(lam)
        columns = [w.tolist() for w in (lam, *self.scales(lam), t, *self.slopes(t))]
        return [Level(*row) for row in zip(*columns)]

    def level(self, lam: float | Tensor, like: Tensor | None = None) -> Level:
        """The level at a log-SNR: of numbers for a number, of tensors that multiply ``like`` for one log-SNR a sample ``[batch]``.

        Raises:
            ValueError: lam is not a number, or a tensor came without ``like`` or with another batch.
        """
        lam = torch.as_tensor(lam, dtype=torch.float64)
        if bool(torch.isnan(lam).any()):
            raise ValueError("lam is not a number")
        if lam.ndim == 0:
            return self.levels(lam[None])[0]
        if like is None or lam.shape != like.shape[:1]:
            raise ValueError(f"lam has shape {tuple(lam.shape)}; pass one number, or one a sample together with like= of that batch")
        t = self.t_of(lam)
        return Level(*(w.to(like).reshape(-1, *[1] * (like.ndim - 1)) for w in (lam, *self.scales(lam), t, *self.slopes(t))))

    def level_at(self, t: float) -> Level:
        """The level at a generative time.

        Raises:
            ValueError: t is outside [0, 1].
        """
        if not 0 <= t <= 1:
            raise ValueError(f"t = {t:g}; generative time lies within [0, 1], 0 the noise and 1 the data")
        return self.level(float(self.lam_of(torch.tensor(t, dtype=torch.float64))))

    def prior(self, shape: Sequence[int], noise: Tensor) -> Tensor:
        """A start for standard normal ``noise`` of ``shape``: sigma(0) times it."""
        if tuple(noise.shape) != tuple(shape):
            raise ValueError(f"noise has shape {tuple(noise.shape)}, and {tuple(shape)} was wanted")
        return noise * self.level(self.ends[0]).sigma


def sigmoid(x: float) -> float:
    """1 / (1 + e^-x) without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
