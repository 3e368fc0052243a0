r"""The path from noise to data that spends least kinetic energy, from how much a noisy state explains of the data (Shaul et al. 2023).

With b = rho sin(theta), a = rho cos(theta) and `Explained`'s Lam, the marginal velocity of a path spends, per number of the data,

    KE = int rho'^2 + rho^2 Lam(theta) theta'^2 dt.

This is a flat metric: with phi(theta) = int_0^theta sqrt(Lam), Phi = phi(pi/2), the best path is the straight chord from angle 0 to Phi in
polar coordinates (rho, phi), and KE = 2 - 2 cos(Phi). As Lam <= 1, Phi <= pi/2. Separated points have Lam = 1 and give the
conditional-OT path (b = t, a = 1 - t, KE 2); Gaussian data have Lam = 0, KE 0, and any variance-preserving path.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.paths.denoiser import Denoises
from trajlab.paths.explained import NODES, Explained
from trajlab.paths.gaussian import GaussianPath


class _Polar(NamedTuple):
    """A place on the chord: angles from either end, theta and its complement, and d phi/d theta."""

    phi: Tensor
    rest: Tensor
    theta: Tensor
    left: Tensor
    rate: Tensor


@dataclass(frozen=True)
class KineticOptimal(GaussianPath):
    """The kinetic-optimal Gaussian path of data with this `Explained`; without a fit, of separated points (conditional OT).

    Attributes:
        explained: Lam over log-SNR.
        floor: least sqrt(Lam). Where the data are Gaussian the angle costs nothing and the optimum is not unique; this picks a smooth path and
            costs less than (pi floor)^2 / 4 + pi floor sin(Phi) of energy.

    Raises:
        ValueError: the floor is not within (0, 1].
    """

    explained: Explained = field(default_factory=Explained.points, repr=False)
    floor: float = 1e-4

    def __post_init__(self) -> None:
        if not 0 < self.floor <= 1:
            raise ValueError(f"floor = {self.floor:g}; a number within (0, 1] was wanted, 1e-4 say")
        lam = torch.cat([NODES.new_tensor([-math.inf]), NODES, NODES.new_tensor([math.inf])])
        theta, left = torch.atan(torch.exp(lam)), torch.atan(torch.exp(-lam))
        # Widths of cells from the side where they do not cancel.
        width = torch.where(lam[1:] <= 0, theta.diff(), -left.diff())
        root = (self.explained.at(lam) + self.floor**2).sqrt().clamp(max=1)
        piece = (root[1:] + root[:-1]) / 2 * width
        zero = piece.new_zeros(1)
        phi, rest = torch.cat([zero, piece.cumsum(0)]), torch.cat([piece.flip(0).cumsum(0).flip(0), zero])
        object.__setattr__(self, "_table", (lam, theta, left, phi, rest, piece / width))

    @classmethod
    def fit(cls, x: Float[Tensor, "batch *event"], generator: torch.Generator | None = None, how: str | Denoises = "spectrum",
            mask: Bool[Tensor, "batch *part"] | None = None, axes: Sequence[int] | None = None, **condition: Any) -> Self:
        """The path for standardised data.

        Args:
            x: ``[batch *event]``, mean square near 1.
            generator: for the noise; not needed for ``spectrum``.
            how: ``spectrum``: from the covariance alone; ``subset``: from the empirical law of ``x`` (a few thousand samples); or a trained
                denoiser, whose error on ``x`` (held out) is measured.
            mask: True where observed.
            axes: those whose mean is taken out, for translation-invariant data: ``(1,)``, the nodes.
            condition: given to the denoiser.

        Raises:
            ValueError: an unknown ``how``, no generator where one is needed, or data that are not standardised or do not fit the mask.
        """
        if how == "spectrum":
            return cls(Explained.covariance(x, mask, axes))
        if generator is None:
            raise ValueError("noise is drawn to measure what is explained; pass generator=torch.Generator().manual_seed(...), or how='spectrum'")
        if isinstance(how, str):
            if how != "subset":
                raise ValueError(unknown("way to fit a path", how, ("spectrum", "subset")) + ", or pass a denoiser")
            return cls(Explained.subset(x, generator, mask, axes))
        return cls(Explained.measured(how, x, generator, mask, axes, **condition))

    @property
    def angle(self) -> float:
        """Phi, at most pi/2."""
        return float(self._table[3][-1])  # type: ignore[attr-defined]

    @property
    def energy(self) -> float:
        """2 - 2 cos(Phi), the least kinetic energy per number."""
        return 4 * math.sin(self.angle / 2) ** 2

    def lam_of(self, t: Tensor) -> Tensor:
        place = self._at_time(t)
        return torch.log(torch.sin(place.theta)) - torch.log(torch.sin(place.left))

    def t_of(self, lam: Tensor) -> Tensor:
        place = self._at_lam(lam)
        near, far = torch.sin(place.phi), torch.sin(place.rest)
        return near / (near + far)

    def scales(self, lam: Tensor) -> tuple[Tensor, Tensor]:
        rho = self._radius(self._at_lam(lam))
        return rho * torch.sigmoid(2 * lam).sqrt(), rho * torch.sigmoid(-2 * lam).sqrt()

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        place = self._at_time(t)
        rho = self._radius(place)
        outward, turning = torch.cos(place.rest) - torch.cos(place.phi), math.sin(self.angle) / rho / place.rate
        sin, cos = torch.sin(place.theta), torch.sin(place.left)
        return outward * sin + turning * cos, outward * cos - turning * sin

    def _radius(self, place: _Polar) -> Tensor:
        return math.cos(self.angle / 2) / torch.cos((place.phi - place.rest) / 2)

    def _columns(self, like: Tensor) -> list[Tensor]:
        return [w.to(like.device) for w in self._table]  # type: ignore[attr-defined]

    def _at_lam(self, lam: Tensor) -> _Polar:
        nodes = self._columns(lam)[0]
        cell = (torch.searchsorted(nodes, lam.contiguous(), right=True) - 1).clamp(0, len(nodes) - 2)
        return self._place(cell, torch.atan(torch.exp(lam)), torch.atan(torch.exp(-lam)))

    def _at_time(self, t: Tensor) -> _Polar:
        """The chord from (1, 0) to (cos Phi, sin Phi) at t, and the table read backwards."""
        _, theta, left, phi, rest, rate = self._columns(t)
        sin, cos = math.sin(self.angle), math.cos(self.angle)
        here, there = torch.atan2(t * sin, 1 - t + t * cos), torch.atan2((1 - t) * sin, t + (1 - t) * cos)
        cell = (torch.searchsorted(phi, here.contiguous(), right=True) - 1).clamp(0, len(phi) - 2)
        cell = torch.where(here <= there, cell, (len(rest) - 1 - torch.searchsorted(rest.flip(0), there.contiguous())).clamp(0, len(rest) - 2))
        return _Polar(here, there, theta[cell] + (here - phi[cell]) / rate[cell], left[cell + 1] + (there - rest[cell + 1]) / rate[cell], rate[cell])

    def _place(self, cell: Tensor, angle: Tensor, complement: Tensor) -> _Polar:
        _, theta, left, phi, rest, rate = self._columns(angle)
        here = phi[cell] + rate[cell] * (angle - theta[cell])
        there = rest[cell + 1] + rate[cell] * (complement - left[cell + 1])
        return _Polar(here, there, angle, complement, rate[cell])


def kinetic_energy(path: GaussianPath, explained: Explained, panels: int = 400, points: int = 8) -> float:
    """E|v_t(x_t)|^2 per number of the data, integrated over t in (0, 1): what a path spends on data with mean square 1.

    Gauss-Legendre with ``points`` a panel. Infinite for paths whose noise vanishes as (1 - t)^(1/2), such as VP-linear: the value then grows
    with the number of panels.

    Raises:
        ValueError: fewer than one panel or point.
    """
    if panels < 1 or points < 1:
        raise ValueError(f"{panels} panels of {points} points; at least one of either was wanted")
    node, weight = (torch.from_numpy(w) for w in np.polynomial.legendre.leggauss(points))
    edge = torch.linspace(0, 1, panels + 1, dtype=torch.float64)
    t = (edge[:-1, None] + (node + 1) / (2 * panels)).reshape(-1)
    k = path.coefficients(t)
    square = k.a**2 + k.b**2
    radial, angular = (k.a * k.da + k.b * k.db) ** 2 / square, (k.a * k.db - k.b * k.da) ** 2 / square
    return float(((radial + explained.at(path.lam_of(t)) * angular) * (weight / (2 * panels)).repeat(panels)).sum())
