"""What the flow and the score of a bridge are regressed on: bridges of pairs drawn from the plans, at the inner points of each interval's grid.

Given the pair (x, y), X = mu + L zeta with Gamma = L L^T, and the score of this one bridge is -Gamma^-1 (X - mu) = -L^-T zeta. With the drift u of
the bridge, the targets are

    velocity of the ODE   u + D Gamma^-1 (X - mu) / 2,        half of D times the score   -D Gamma^-1 (X - mu) / 2,

whose means given X and t are the velocity and the score of the whole process. (mu' + Gamma' Gamma^-1 (X - mu) / 2 carries the same marginals, but is
not that velocity unless the drift matrix of the reference is symmetric: added to the score it is the drift of no Schrodinger bridge.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.bridges import BridgeField, apply, bridge_field, pairs_of, root
from trajlab.dynamics.linear_noise import STEPS, LinearNoise, linear_noise
from trajlab.dynamics.smoothing import smoothed
from trajlab.models.bridge_evidence import Evidence

__all__ = ["Rows", "inner_law", "rows_of", "thread"]

REAL = ("time", "mean", "rate", "L", "spread", "unit", "variance")
LEAST_STEPS = 20  #: a coarser grid leaves too much of an interval's ends unseen


@dataclass(frozen=True, eq=False)
class Rows:
    """Bridges at some times, in scaled coordinates.

    Attributes:
        time: ``[row]``.
        mean, rate: mean of the bridge, and velocity there, ``[row dim]``.
        which, site: matrices and time of a row, ``[row]``.
        L: ``[matrix dim dim]``, lower factors of the covariances.
        spread: velocity at mean + L zeta is rate + spread zeta, ``[matrix dim dim]``.
        unit: factor M of the mean covariance of the bridges at a time, ``[site dim dim]``: M^T score is of order one.
        variance: mean variance of the velocity within a bridge, ``[site dim]``.
    """

    time: Tensor
    mean: Tensor
    rate: Tensor
    which: Tensor
    site: Tensor
    L: Tensor
    spread: Tensor
    unit: Tensor
    variance: Tensor

    def __len__(self) -> int:
        return len(self.time)

    def of(self, site: int) -> Rows:
        """Those of one time."""
        mine = self.site == site
        return replace(self, **{name: getattr(self, name)[mine] for name in ("time", "mean", "rate", "which", "site")})


def thread(evidence: Evidence) -> list[Tensor]:
    """The plans with the target marginal of each made the source marginal of the next, from the last backwards: where populations grow, the process
    of the lineages of the last cells, which `SchrodingerBridge.bridge` draws as well; else the plans themselves, but for their marginal errors."""
    found: list[Tensor] = []
    ends = evidence.plans[-1].P.sum(0)
    for plan in reversed(evidence.plans):
        mass = plan.P.sum(0)
        found.insert(0, plan.P * torch.where(mass > 0, ends / mass.clamp(min=1e-300), 0.0))
        ends = found[0].sum(1)
    return [one / one.sum() for one in found]


def rows_of(evidence: Evidence, clock: Float[Tensor, "snapshot"], pool: int, seed: int) -> Rows:
    """``pool`` pairs of every interval at each inner point of its grid.

    Args:
        evidence: of the last iteration.
        clock: times of the snapshots.
        pool: pairs, drawn anew for each time; the same for all times of an interval where laws are linearised about the bridges of pairs.
        seed: of the draws.

    Raises:
        Diverged: the reference blows up (a ValueError).
    """
    generator = torch.Generator().manual_seed(seed)
    parts, matrices, sites = [], 0, 0
    for number, plan in enumerate(thread(evidence)):
        part = _interval(evidence, number, plan, pool, generator)
        parts.append(replace(part, time=part.time + float(clock[number]), which=part.which + matrices, site=part.site + sites))
        matrices, sites = matrices + len(part.L), sites + len(part.unit)
    return Rows(**{name: torch.cat([getattr(part, name) for part in parts]) for name in (*REAL, "which", "site")})


def inner_law(evidence: Evidence, number: int) -> LinearNoise:
    """The law of an interval, on a grid that is fine enough."""
    one, law = evidence.intervals[number], evidence.laws[number]
    return law if law.steps >= LEAST_STEPS else linear_noise(evidence.reference, one.x, one.duration, STEPS)


def _interval(evidence: Evidence, number: int, plan: Tensor, pool: int, generator: torch.Generator) -> Rows:
    one, law, reference = evidence.intervals[number], inner_law(evidence, number), evidence.reference
    nodes = list(range(1, law.steps))
    if evidence.smoothing and reference.linear is None:
        source, target = pairs_of(plan, pool, generator)
        law = smoothed(reference, law.of(source), one.y[target], evidence.smoothing)
        drawn = [(torch.arange(pool), target)] * len(nodes)
    else:
        drawn = [pairs_of(plan, pool, generator) for _ in nodes]
    field = bridge_field(reference, law, nodes)
    pieces = [_node(field, place, source, one.y[target]) for place, (source, target) in enumerate(drawn)]
    mean, rate, which = (torch.cat([piece[k] for piece in pieces]) for k in range(3))
    site = torch.arange(len(nodes)).repeat_interleave(pool)
    return _with_units(reference.D, field, site, which, time=law.h * (site + 1.0), mean=mean, rate=rate)


def _with_units(D: Tensor, field: BridgeField, site: Tensor, which: Tensor, **rows: Tensor) -> Rows:
    """Matrices of a field, and their averages over the rows of each time."""
    inverse = torch.linalg.solve_triangular(field.L, torch.eye(len(D), dtype=D.dtype).expand_as(field.L), upper=False)
    spread = (field.slope @ field.L + D @ inverse.mT / 2).flatten(0, 1)
    L, pool = field.L.flatten(0, 1), len(site) // (int(site[-1]) + 1)
    if len(field.L) == 1:
        unit, variance = L, spread.square().sum(-1)
    else:
        unit = root(torch.stack([(L[one] @ L[one].mT).mean(0) for one in which.split(pool)]))
        variance = torch.stack([spread[one].square().sum(-1).mean(0) for one in which.split(pool)])
    return Rows(which=which, site=site, L=L, spread=spread, unit=unit, variance=variance, **rows)


def _node(field: BridgeField, node: int, cell: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, rate and number of the matrices of the bridges of some pairs."""
    shared = len(field.L) == 1
    pick = lambda value: value[:, node] if len(value) == 1 else value[cell, node]  # noqa: E731
    miss = y - field.end[cell]
    which = torch.full_like(cell, node) if shared else cell * field.L.shape[1] + node
    return field.m[cell, node] + apply(pick(field.gain), miss), field.f[cell, node] + apply(pick(field.rate), miss), which


