"""What a bridge step hands to the reference step: plans between neighbouring snapshots, and the drift of the bridges along them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.couplings.sinkhorn import Plan
from trajlab.dynamics.bridges import bridge_field, pairs_of
from trajlab.dynamics.linear_noise import LinearNoise
from trajlab.dynamics.linear_sde import LinearSDE, symmetric
from trajlab.dynamics.references import Reference
from trajlab.dynamics.smoothing import smoothed

__all__ = ["Evidence", "Interval", "Regression"]

NODES = 8  #: Gauss-Legendre nodes of an interval: 16 give the same to rounding
AXES = 6  #: of a cubature, at most


class Interval(NamedTuple):
    """Two neighbouring snapshots: cells and weights of both, and the time between them."""

    x: Tensor
    y: Tensor
    a: Tensor
    b: Tensor
    duration: float


class Regression(NamedTuple):
    """Weighted pairs that a drift is fitted to: states ``[row dim]``, drifts of the bridges there, and weights, which sum to the total time."""

    x: Tensor
    u: Tensor
    weight: Tensor


@dataclass(frozen=True, eq=False)
class Evidence:
    """The bridge measure of one iteration.

    Attributes:
        reference: the process that the bridges refer to.
        intervals, laws, plans, kernels: by interval.
        paths: pairs drawn at each of the times in an interval where the drift is sampled.
        seed: of the draws; the same in every iteration of a fit, so that iterations can be compared.
        smoothing: passes that linearise about the bridge of a pair, for references that are not linear.
    """

    reference: Reference
    intervals: Sequence[Interval]
    laws: Sequence[LinearNoise]
    plans: Sequence[Plan]
    kernels: Sequence[Tensor]
    paths: int = 100
    seed: int = 0
    smoothing: int = 0

    @property
    def duration(self) -> float:
        """From the first snapshot to the last."""
        return sum(one.duration for one in self.intervals)

    @cached_property
    def objective(self) -> float:
        """KL(Q | P_theta) up to a constant independent of theta:  sum_ij P_ij (log P_ij - log a_i - log p(y_j | x_i)) over the intervals."""
        return sum(plan.objective(kernel, one.a) for one, kernel, plan in zip(self.intervals, self.kernels, self.plans))

    @cached_property
    def regression(self) -> Regression:
        """Drifts of the bridges at the odd points of the grid (midpoints of steps of two, since left ends are biased by the step), for pairs drawn
        from the plans anew at each. Around each pair's mean stand points of a cubature instead of random ones: exact for cubic integrands, it takes
        out the noise of the paths, whose drift varies like 1/(T - s)."""
        x, u, weight = [], [], []
        for number, one in enumerate(self.intervals):
            here, drift = self._rows(number)
            x.append(here)
            u.append(drift)
            weight.append(torch.full((len(here),), one.duration / len(here), dtype=torch.float64))
        return Regression(torch.cat(x), torch.cat(u), torch.cat(weight))

    def _rows(self, number: int) -> tuple[Tensor, Tensor]:
        one, law, plan = self.intervals[number], self.laws[number], self.plans[number]
        generator = torch.Generator().manual_seed(self.seed * 1000003 + number)
        nodes, dim = list(range(1, law.steps, 2)), one.x.shape[1]
        if self.smoothing and self.reference.linear is None:  # laws belong to pairs: the same pairs at all nodes
            source, target = pairs_of(plan.P, self.paths, generator)
            law = smoothed(self.reference, law.of(source), one.y[target], self.smoothing)
            drawn = [(torch.arange(self.paths), target)] * len(nodes)
        else:
            drawn = [pairs_of(plan.P, self.paths, generator) for _ in nodes]
        over = bridge_field(self.reference, law, nodes)
        rows = [over.points(node, source, one.y[target], cubature(dim, generator)) for node, (source, target) in enumerate(drawn)]
        return torch.cat([here for here, _ in rows]), torch.cat([drift for _, drift in rows])

    @cached_property
    def moments(self) -> tuple[Float[Tensor, "dim_plus_1 dim_plus_1"], Float[Tensor, "dim dim_plus_1"]]:
        """Time integrals of E[(X, 1)(X, 1)^T] and of E[u (X, 1)^T]: in closed form for linear references, else of the sampled drifts."""
        sde = self.reference.linear
        if sde is None:
            one = torch.cat([self.regression.x, torch.ones(len(self.regression.x), 1, dtype=torch.float64)], 1)
            weighted = self.regression.weight[:, None] * one
            return one.mT @ weighted, self.regression.u.mT @ weighted
        pieces = [exact_moments(sde, one, plan.P) for one, plan in zip(self.intervals, self.plans)]
        return sum(second for second, _ in pieces), sum(cross for _, cross in pieces)  # type: ignore[return-value]


def cubature(dim: int, generator: torch.Generator) -> Float[Tensor, "point dim"]:
    """Points that stand for a standard normal one: sqrt(dim) along plus and minus each axis of a random frame, exact to degree 3; in high dimensions
    along some of the axes, exact on average."""
    frame = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64)).Q[:AXES] * dim**0.5
    return torch.cat([frame, -frame])


def exact_moments(sde: LinearSDE, one: Interval, plan: Float[Tensor, "source target"]) -> tuple[Tensor, Tensor]:
    """The two integrals over one interval. With z = (x, y, 1) the mean of the bridge is M z and its rate of change M' z, linear in z, so the second
    moment of z over the plan is all that is needed of the cells."""
    d, T = sde.dim, one.duration
    H = pair_moments(one, plan / plan.sum())
    whole = sde.transition(T)
    eye = torch.eye(d, dtype=torch.float64)
    second, cross = torch.zeros(d + 1, d + 1, dtype=torch.float64), torch.zeros(d, d + 1, dtype=torch.float64)
    last = H[:, -1:]
    for place, share in zip(*np.polynomial.legendre.leggauss(NODES)):
        s, weight = 0.5 * T * (1 + float(place)), 0.5 * T * float(share)
        early, late = sde.transition(s), sde.transition(T - s)
        G = late.phi
        E = torch.linalg.solve(late.cov, G @ sde.D).mT
        B = sde.A - E @ G
        V = torch.linalg.solve(whole.cov, G @ early.cov).mT
        gamma = symmetric(early.cov - V @ G @ early.cov)
        M = torch.cat([early.phi - V @ whole.phi, V, (early.c - V @ whole.c)[:, None]], 1)
        rate = B @ M + torch.cat([torch.zeros_like(eye), E, (sde.b - E @ late.c)[:, None]], 1)
        mean = M @ last
        top = torch.cat([gamma + M @ H @ M.mT, mean], 1)
        second += weight * torch.cat([top, torch.cat([mean.mT, torch.ones(1, 1, dtype=torch.float64)], 1)])
        cross += weight * torch.cat([B @ gamma + rate @ H @ M.mT, rate @ last], 1)
    return second, cross


def pair_moments(one: Interval, plan: Tensor) -> Float[Tensor, "wide wide"]:
    """E[z z^T] over a plan of mass one, z = (x, y, 1)."""
    rows, columns = plan.sum(1), plan.sum(0)
    xx, yy, xy = one.x.mT @ (rows[:, None] * one.x), one.y.mT @ (columns[:, None] * one.y), one.x.mT @ plan @ one.y
    mx, my = (rows @ one.x)[:, None], (columns @ one.y)[:, None]
    return torch.cat([torch.cat([xx, xy, mx], 1), torch.cat([xy.mT, yy, my], 1), torch.cat([mx.mT, my.mT, torch.ones(1, 1, dtype=torch.float64)], 1)])
