"""Exponential Adams-Bashforth on Lagrange polynomials: DEIS (Zhang & Chen 2023) in lam, t or rho, and its clean-sample twin.

    x_t = a_t [x_s/a_s + sum_j e_j int l_j d rho]        (kind eps),      x_t = sigma_t [x_s/sigma_s + sum_j D_j int l_j d e^lam]   (kind x0)

with l_j the Lagrange polynomials through the last nodes, in the coordinate ``polynomial``. In lam these are the exponential
Adams-Bashforth methods of the log-SNR (noise prediction: DEIS as diffusers has it; clean sample: DPM-Solver++ with exact weights). Of
order k they converge at order k in lam and, on polynomials in t (tAB), at order k too (tAB-k in the paper's count has order k + 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from trajlab.catalog import unknown
from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.samplers.grids import Grid
from trajlab.samplers.quadrature import integrals
from trajlab.samplers.solver import Solver, enough, finished, finite, transfer
from trajlab.samplers.tables import Stage, Table

#: What the polynomials may be in.
COORDINATES = ("lam", "t", "rho")


@dataclass(frozen=True)
class DEIS(Solver):
    """Exponential Adams-Bashforth of ``order`` (number of predictions it looks back on); orders warm up from 1.

    The recommended default for nets without guidance: order 3, noise prediction, polynomials in lam, on a grid uniform in lam.

    Attributes:
        order: 1 to 6. Order 1 is DDIM.
        kind: ``eps`` or ``x0``.
        polynomial: ``lam``, ``t`` (tAB) or ``rho`` (rhoAB).

    Raises:
        ValueError: an unknown kind or polynomial, or an order outside 1 to 6.
    """

    order: int = 3
    kind: str = "eps"
    polynomial: str = "lam"

    def __post_init__(self) -> None:
        if self.kind not in ("eps", "x0"):
            raise ValueError(unknown("kind for DEIS", self.kind, ("eps", "x0")))
        if self.polynomial not in COORDINATES:
            raise ValueError(unknown("polynomial", self.polynomial, COORDINATES))
        if not 1 <= self.order <= 6:
            raise ValueError(f"order {self.order} came; 1 to 6 was wanted (higher ones are unstable)")

    def plan(self, grid: Grid) -> Table:
        enough(f"DEIS({self.order})", self.order, grid)
        finite("DEIS", grid, self.kind)
        levels, stages = grid.levels, []
        for k in range(grid.steps):
            past = levels[max(0, k - self.order + 1) : k + 1][::-1]
            weight, weights = adams(grid.path, past, levels[k], levels[k + 1], self.kind, self.polynomial)
            stages.append(Stage(levels[k + 1], levels[k], (weight,), tuple(weights), self.kind))
        return finished(grid, stages)


def adams(path: GaussianPath, nodes: list[Level], s: Level, t: Level, kind: str, polynomial: str = "lam") -> tuple[float, list[float]]:
    """Weight of the state and of the predictions at ``nodes`` for the step s -> t that is exact for polynomials through them.

    Nodes where alpha = 0 have no place in lam or rho and get no weight; a step to sigma = 0 or from alpha = 0 is of first order.
    """
    lost = sum(k.alpha == 0 for k in nodes)
    if lost and len(nodes) > 1 and s.alpha > 0:
        weight, weights = adams(path, [k for k in nodes if k.alpha > 0], s, t, kind, polynomial)
        return weight, weights + [0.0] * lost
    if len(nodes) == 1 or t.sigma == 0 or s.alpha == 0:
        weight, first = transfer(s, t, kind)
        return weight, [first] + [0.0] * (len(nodes) - 1)
    if kind == "eps":
        scale, weight, sign = t.alpha, t.alpha / s.alpha, -1.0
    else:
        scale, weight, sign = t.sigma, t.sigma / s.sigma, 1.0
    place = {"lam": lambda k: k.lam, "t": lambda k: k.t, "rho": lambda k: k.rho}[polynomial]
    kernel = _kernels(path, sign)[polynomial]
    return weight, [scale * w for w in integrals(kernel, [place(k) for k in nodes], place(s), place(t))]


def _kernels(path: GaussianPath, sign: float) -> dict[str, object]:
    """d rho (sign -1) or d e^lam (sign +1) by each coordinate."""

    def by_t(t):
        q = torch.from_numpy(t)
        lam, (dalpha, dsigma) = path.lam_of(q), path.slopes(q)
        alpha, sigma = path.scales(lam)
        return (sign * torch.exp(sign * lam) * (dalpha / alpha - dsigma / sigma)).numpy()

    return {
        "lam": lambda lam: sign * np.exp(sign * lam),
        "t": by_t,
        "rho": (lambda rho: np.ones_like(rho)) if sign < 0 else (lambda rho: -1 / rho**2),
    }


def ddim() -> DEIS:
    """DDIM (Song et al. 2021): first-order DEIS, which is DPM-Solver-1 and Euler in sigma/alpha."""
    return DEIS(order=1)
