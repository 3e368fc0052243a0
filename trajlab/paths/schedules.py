"""The Gaussian paths in use: VP (linear, cosine, table), VE, EDM, sub-VP, rectified. alpha, sigma and log-SNR in closed form, float64.

Literature times that grow with noise are written tau = 1 - t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trajlab.paths.gaussian import GaussianPath


class _VariancePreserving(GaussianPath):
    """alpha^2 + sigma^2 = 1."""

    def scales(self, lam: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sigmoid(2 * lam).sqrt(), torch.sigmoid(-2 * lam).sqrt()


@dataclass(frozen=True)
class VPLinear(_VariancePreserving):
    """log alpha = -(b1 - b0) tau^2 / 4 - b0 tau / 2 (Song et al. 2021): the noise rate beta rises linearly from b0 to b1.

    Raises:
        ValueError: not 0 < b0 < b1.
    """

    b0: float = 0.1
    b1: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.b0 < self.b1:
            raise ValueError(f"beta runs from {self.b0:g} to {self.b1:g}; 0 < b0 < b1 was wanted")

    def _log_alpha(self, tau: Tensor) -> Tensor:
        return -((self.b1 - self.b0) * tau**2 / 4 + self.b0 * tau / 2)

    def lam_of(self, t: Tensor) -> Tensor:
        log_alpha = self._log_alpha(1 - t)
        return log_alpha - 0.5 * torch.log(-torch.expm1(2 * log_alpha))

    def t_of(self, lam: Tensor) -> Tensor:
        v = 2 * (self.b1 - self.b0) * torch.nn.functional.softplus(-2 * lam, threshold=700)
        return 1 - v / ((self.b1 - self.b0) * ((self.b0**2 + v).sqrt() + self.b0))

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.scales(self.lam_of(t))
        beta = self.b0 + (self.b1 - self.b0) * (1 - t)
        return alpha * beta / 2, -(alpha**2) * beta / (2 * sigma)


@dataclass(frozen=True)
class VPCosine(_VariancePreserving):
    """alpha = sin(pi t/2), sigma = cos(pi t/2)."""

    def lam_of(self, t: Tensor) -> Tensor:
        return torch.log(torch.sin(math.pi / 2 * t)) - torch.log(torch.sin(math.pi / 2 * (1 - t)))

    def t_of(self, lam: Tensor) -> Tensor:
        return 2 / math.pi * torch.atan(torch.exp(lam))

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return math.pi / 2 * torch.cos(math.pi / 2 * t), -math.pi / 2 * torch.sin(math.pi / 2 * t)


@dataclass(frozen=True)
class VPTable(_VariancePreserving):
    """A discrete noise schedule ``betas[n]`` (n grows with noise), continued by linear interpolation of log alpha in n.

    The ends are the table's first and last entry: t = 1 is n = 0, which is not free of noise (`ends` says how much).

    Raises:
        ValueError: fewer than two entries, or one outside (0, 1).
    """

    betas: tuple[float, ...] = field(default_factory=lambda: tuple(torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64).tolist()), repr=False)

    def __post_init__(self) -> None:
        if len(self.betas) < 2 or not all(0 < b < 1 for b in self.betas):
            raise ValueError("a table of betas needs at least two entries, each within (0, 1)")
        object.__setattr__(self, "_log_alpha", 0.5 * torch.log1p(-torch.tensor(self.betas, dtype=torch.float64)).cumsum(0))

    def _table(self, like: Tensor) -> Tensor:
        return self._log_alpha.to(like.device)  # type: ignore[attr-defined]

    def lam_of(self, t: Tensor) -> Tensor:
        table = self._table(t)
        place = ((1 - t) * (len(table) - 1)).clamp(0, len(table) - 1)
        low = place.floor().long().clamp(max=len(table) - 2)
        log_alpha = torch.lerp(table[low], table[low + 1], place - low)
        return log_alpha - 0.5 * torch.log(-torch.expm1(2 * log_alpha))

    def t_of(self, lam: Tensor) -> Tensor:
        table = self._table(lam)
        log_alpha = -0.5 * torch.nn.functional.softplus(-2 * lam, threshold=700)
        # The table falls; searching wants it rising.
        low = (torch.searchsorted(-table, (-log_alpha).contiguous()) - 1).clamp(0, len(table) - 2)
        place = low + (log_alpha - table[low]) / (table[low + 1] - table[low])
        return 1 - place / (len(table) - 1)

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        table = self._table(t)
        low = ((1 - t) * (len(table) - 1)).floor().long().clamp(0, len(table) - 2)
        rate = (table[low] - table[low + 1]) * (len(table) - 1)  # d log alpha / dt
        alpha, sigma = self.scales(self.lam_of(t))
        return alpha * rate, -(alpha**2) * rate / sigma


@dataclass(frozen=True)
class VE(GaussianPath):
    """alpha = 1; the noise falls geometrically from ``sigma_max`` to ``sigma_min`` (NCSN, VE-SDE).

    Raises:
        ValueError: not 0 < sigma_min < sigma_max.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(f"sigma runs from {self.sigma_min:g} to {self.sigma_max:g}; 0 < sigma_min < sigma_max was wanted")

    def lam_of(self, t: Tensor) -> Tensor:
        return -math.log(self.sigma_max) + t * math.log(self.sigma_max / self.sigma_min)

    def t_of(self, lam: Tensor) -> Tensor:
        return (lam + math.log(self.sigma_max)) / math.log(self.sigma_max / self.sigma_min)

    def scales(self, lam: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(lam), torch.exp(-lam)

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(t), -torch.exp(-self.lam_of(t)) * math.log(self.sigma_max / self.sigma_min)


@dataclass(frozen=True)
class EDM(VE):
    """alpha = 1; sigma^(1/rho) falls linearly (Karras et al. 2022), so that a grid uniform in t is the Karras grid."""

    rho: float = 7.0

    def _root(self, t: Tensor) -> Tensor:
        top, bottom = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        return top + t * (bottom - top)

    def lam_of(self, t: Tensor) -> Tensor:
        return -self.rho * torch.log(self._root(t))

    def t_of(self, lam: Tensor) -> Tensor:
        top, bottom = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        return (top - torch.exp(-lam / self.rho)) / (top - bottom)

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        top, bottom = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        return torch.zeros_like(t), self.rho * self._root(t) ** (self.rho - 1) * (bottom - top)


@dataclass(frozen=True)
class SubVP(VPLinear):
    """alpha = e^(-B/2), sigma = 1 - e^-B with B the integral of beta over tau (Song et al. 2021)."""

    def scales(self, lam: Tensor) -> tuple[Tensor, Tensor]:
        # sigma = 1 - alpha^2 and alpha = e^lam sigma; written so that neither end loses digits.
        root = (1 + 4 * torch.exp(2 * lam.clamp(max=350.0))).sqrt()
        alpha = torch.where(torch.isposinf(lam), torch.ones_like(lam), 2 * torch.exp(lam.clamp(max=350.0)) / (1 + root))
        return alpha, torch.where(torch.isposinf(lam), torch.zeros_like(lam), 2 / (1 + root))

    def lam_of(self, t: Tensor) -> Tensor:
        log_alpha = self._log_alpha(1 - t)
        return log_alpha - torch.log(-torch.expm1(2 * log_alpha))

    def t_of(self, lam: Tensor) -> Tensor:
        alpha, sigma = self.scales(lam)
        v = -2 * (self.b1 - self.b0) * torch.where(sigma < 0.5, torch.log1p(-sigma), 2 * torch.log(alpha))
        return 1 - v / ((self.b1 - self.b0) * ((self.b0**2 + v).sqrt() + self.b0))

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, _ = self.scales(self.lam_of(t))
        beta = self.b0 + (self.b1 - self.b0) * (1 - t)
        return alpha * beta / 2, -(alpha**2) * beta


@dataclass(frozen=True)
class Rectified(GaussianPath):
    """alpha = t, sigma = 1 - t: rectified flow and the conditional-OT path of flow matching (Liu et al. 2023, Lipman et al. 2023)."""

    def lam_of(self, t: Tensor) -> Tensor:
        return torch.log(t) - torch.log1p(-t)

    def t_of(self, lam: Tensor) -> Tensor:
        return torch.sigmoid(lam)

    def scales(self, lam: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sigmoid(lam), torch.sigmoid(-lam)

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), -torch.ones_like(t)
