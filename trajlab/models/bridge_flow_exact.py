"""Velocity and score of a bridge at any state, exactly, where the reference is linear: the noise of single pairs is averaged out of the targets.

A plan exp(f_i + log p(y_j | x_i) + g_j) and the Markov property of the reference leave the pair independent given the state between:

    p(X, s) = phi(X, s) h(X, s),    phi = sum_i exp(f_i) p_s(X | x_i),    h = sum_j exp(g_j) p_{T-s}(y_j | X),
    score   = grad log phi + grad log h,         drift = A X + b + D grad log h,

at a cost of n + m terms a state instead of n m pairs (Leonard 2014, A survey of the Schrodinger problem).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.dynamics.bridges import apply
from trajlab.dynamics.linear_noise import LinearNoise
from trajlab.models.bridge_evidence import Evidence
from trajlab.models.bridge_flow_rows import Rows, inner_law, thread

__all__ = ["Points", "exact_fields", "points_of"]


@dataclass(frozen=True, eq=False)
class Points:
    """States with the velocity of the ODE and the score there; also batches, for `trajlab.train.loop.train`. All in scaled coordinates.

    Attributes:
        time, site: of each row.
        x, velocity: ``[row dim]``.
        pulled: M^T score, ``[row dim]``.
        unit, variance: M, and the variance of the velocity within a bridge, of each site; see `Rows`.
    """

    time: Tensor
    site: Tensor
    x: Tensor
    velocity: Tensor
    pulled: Tensor
    unit: Tensor
    variance: Tensor
    fingerprint: str = ""

    def __len__(self) -> int:
        return len(self.time)

    def batch(self, indices: Int[Tensor, "batch"]) -> tuple[Tensor, ...]:
        """Time, state, velocity, pulled score, unit and variance of some rows."""
        site = self.site[indices]
        return self.time[indices], self.x[indices], self.velocity[indices], self.pulled[indices], self.unit[site], self.variance[site]


def points_of(evidence: Evidence, rows: Rows, seed: int) -> Points:
    """A state of the bridge of each row, with exact targets.

    Args:
        evidence: with a linear reference.
        rows: made of it.
        seed: of the states.
    """
    zeta = torch.randn(rows.mean.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x, velocity, score, first = rows.mean + apply(rows.L[rows.which], zeta), [], [], 0
    plans = thread(evidence)
    for number, plan in enumerate(plans):
        law = inner_law(evidence, number)
        for node in range(1, law.steps):
            here = exact_fields(evidence, number, plan, law, node, x[rows.site == first])
            velocity.append(here[0])
            score.append(here[1])
            first += 1
    pulled = apply(rows.unit.mT[rows.site], torch.cat(score))
    return Points(rows.time, rows.site, x, torch.cat(velocity), pulled, rows.unit, rows.variance, rows.fingerprint)


def exact_fields(evidence: Evidence, number: int, plan: Float[Tensor, "source target"], law: LinearNoise, node: int,
                 x: Float[Tensor, "point dim"]) -> tuple[Float[Tensor, "point dim"], Float[Tensor, "point dim"]]:
    """Velocity of the ODE and score at one inner grid point of an interval.

    Args:
        evidence: with a linear reference.
        number: of the interval.
        plan: of the interval, from `thread`.
        law: of its starts.
        node: the grid point.
        x: states.
    """
    one, known, D = evidence.intervals[number], evidence.plans[number], evidence.reference.D
    G, S = law.G[0, node], law.S[0, node]
    left = law.S[0, -1] - G @ S @ G.mT
    tiny = torch.finfo(torch.float64).tiny  # a cell without mass
    g = known.g + (plan.sum(0).clamp(min=tiny) / known.P.sum(0).clamp(min=tiny)).log()
    ahead = x @ G.mT + (law.m[0, -1] - G @ law.m[0, node])
    back, onward = mean_off(law.m[:, node], known.f, S, x), mean_off(one.y, g, left, ahead)
    from_starts, to_ends = -torch.linalg.solve(S, back.mT).mT, -torch.linalg.solve(left, onward.mT).mT @ G
    score = from_starts + to_ends
    return evidence.reference.drift(x) + to_ends @ D - score @ D / 2, score


def mean_off(centres: Float[Tensor, "cell dim"], log_weight: Float[Tensor, "cell"], cov: Float[Tensor, "dim dim"],
             x: Float[Tensor, "point dim"]) -> Float[Tensor, "point dim"]:
    """x minus the mean of the centres, weighted by log_weight and the Gaussian density of x about each."""
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(cov), torch.cat([centres, x]).mT, upper=False).mT
    far = torch.cdist(white[len(centres) :], white[: len(centres)]).square()
    return x - torch.softmax(log_weight - far / 2, 1) @ centres
