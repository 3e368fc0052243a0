"""Velocity and score of a bridge at given states: the means over pairs, which nets would find of single pairs after long training.

Where the reference is linear they are exact. A plan exp(f_i + log p(y_j | x_i) + g_j) and the Markov property of the reference leave the cells of a
pair independent given the state between:

    p(X, s) = phi(X, s) h(X, s),    phi = sum_i exp(f_i) p_s(X | x_i),    h = sum_j exp(g_j) p_{T-s}(y_j | X),
    score   = grad log phi + grad log h,         drift = A X + b + D grad log h,

at a cost of n + m terms a state instead of n m pairs (Leonard 2014, A survey of the Schrodinger problem). For other
references, whose linear-noise laws are no Markov process, they are those of the mixture of the bridges of many pairs drawn from the plan.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.dynamics.bridges import apply
from trajlab.dynamics.linear_noise import LinearNoise
from trajlab.models.bridge_evidence import Evidence
from trajlab.models.bridge_flow_rows import Rows, inner_law, thread

__all__ = ["Points", "exact_fields", "mixture_fields", "points_of"]


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

    def less(self, drift: Float[Tensor, "row dim"]) -> Points:
        """With a drift taken off the velocities, in single precision."""
        found = replace(self, velocity=self.velocity - drift)
        return replace(found, **{f.name: getattr(found, f.name).float() for f in fields(self) if f.name not in ("site", "fingerprint")})

    def batch(self, indices: Int[Tensor, "batch"]) -> tuple[Tensor, ...]:
        """Time, state, velocity, pulled score, unit and variance of some rows."""
        site = self.site[indices]
        return self.time[indices], self.x[indices], self.velocity[indices], self.pulled[indices], self.unit[site], self.variance[site]


def points_of(evidence: Evidence, rows: Rows, each: int, seed: int) -> Points:
    """States of the bridges of some rows, with their targets.

    Args:
        evidence: that the rows were made of.
        rows: as many at every time.
        each: states at each time, at most as many as rows.
        seed: of the states.
    """
    sites, generator = rows.site.reshape(len(rows.unit), -1), torch.Generator().manual_seed(seed)
    pick = sites.shape[1] * torch.arange(each) // each
    index = torch.arange(len(rows)).reshape(sites.shape)[:, pick].flatten()
    zeta = torch.randn(len(index), rows.mean.shape[1], generator=generator, dtype=torch.float64)
    x, velocity, score, first = rows.mean[index] + apply(rows.L[rows.which[index]], zeta), [], [], 0
    for number, plan in enumerate(thread(evidence)):
        law = inner_law(evidence, number)
        for node in range(1, law.steps):
            mine = x[first * each : (first + 1) * each]
            linear = evidence.reference.linear is not None
            found = exact_fields(evidence, number, plan, law, node, mine) if linear else mixture_fields(rows.of(first), mine)
            velocity.append(found[0])
            score.append(found[1])
            first += 1
    site = rows.site[index]
    return Points(rows.time[index], site, x, torch.cat(velocity), apply(rows.unit.mT[site], torch.cat(score)), rows.unit, rows.variance)


def mixture_fields(rows: Rows, x: Float[Tensor, "point dim"]) -> tuple[Float[Tensor, "point dim"], Float[Tensor, "point dim"]]:
    """Velocity of the ODE and score of the mixture of some bridges at one time: means over the bridges, weighted by their densities at x.

    Args:
        rows: of one time.
        x: states.
    """
    L, spread = rows.L[rows.which], rows.spread[rows.which]
    inverse = torch.linalg.solve_triangular(L, torch.eye(L.shape[-1], dtype=L.dtype).expand_as(L), upper=False)
    white = torch.einsum("rij,pj->pri", inverse, x) - apply(inverse, rows.mean)
    weight = torch.softmax(inverse.diagonal(dim1=1, dim2=2).log().sum(1) - white.square().sum(2) / 2, 1)
    white = weight[..., None] * white
    velocity = weight @ rows.rate + torch.einsum("pri,rki->pk", white, spread)
    return velocity, -torch.einsum("pri,rik->pk", white, inverse)


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
