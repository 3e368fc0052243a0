"""Transport through r anchors: plans P = Q diag(1/g) R^T of rank r, in time and memory of (n + m) r.

    min over Q with marginals (a, g) and R with marginals (b, g) of   <|x - y|^2, Q diag(1/g) R^T> + temperature (KL(Q | a g) + KL(R | b g))

The factored couplings of Forrow et al. (2019), the low-rank transport of Scetbon, Cuturi & Peyre (2021) with the masses g of the anchors fixed, so
that the problem is solved by turns: for fixed R the cost of Q is, up to constants, the squared distance to the anchors  y_k = sum_j R_jk y_j / g_k,
and a Sinkhorn iteration on n times r numbers minimises it; and the same with the sides changed. The objective falls at every turn, to a local
minimum.

The bias: a plan of rank r cannot be one to one. All cells that share an anchor share their targets, so the mean cost lies above the optimum by about
the within-anchor variance, large where there are many dimensions. It approximates the unregularised plan: the temperature is that of Q and R.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.couplings.log_kernels import Squared
from trajlab.couplings.meta_cells import meta_cells
from trajlab.couplings.plans import Found, TransportPlan, draw
from trajlab.couplings.sinkhorn import SinkhornConfig
from trajlab.couplings.sinkhorn_blocks import sinkhorn_blocks

__all__ = ["LowRankPlan", "low_rank"]

SHARE = 0.005  #: of the mean squared distance to the anchors: the default temperature
SETTLED = 1e-3  #: relative change of the objective at which turns end
MOST = 500  #: iterations of a turn


@dataclass(frozen=True, eq=False)
class LowRankPlan(TransportPlan):
    """P = Q diag(1/g) R^T.

    Attributes:
        Q, R: mass from source cells to anchors and from target cells to anchors, ``[source rank]`` and ``[target rank]``.
        anchor: g, ``[rank]``.
        history: the objective after each turn.
    """

    Q: Float[Tensor, "source rank"]
    R: Float[Tensor, "target rank"]
    anchor: Float[Tensor, "rank"]
    a: Float[Tensor, "source"]
    b: Float[Tensor, "target"]
    found: Found
    history: Sequence[float] = ()

    def rows(self, i: Int[Tensor, "row"]) -> Float[Tensor, "row target"]:
        return (self.Q[i] / self.anchor) @ self.R.mT

    def apply(self, v: Tensor) -> Tensor:
        return (self.Q @ _over(self.R.mT @ v.to(self.R), self.anchor)).to(v)

    def apply_t(self, v: Tensor) -> Tensor:
        return (self.R @ _over(self.Q.mT @ v.to(self.Q), self.anchor)).to(v)

    def sample(self, n: int, generator: torch.Generator) -> tuple[Int[Tensor, "pair"], Int[Tensor, "pair"]]:
        i = draw(self.row_sums[None], generator, n)[0]
        return i, self.follow(i, generator)

    def follow(self, i: Int[Tensor, "pair"], generator: torch.Generator) -> Int[Tensor, "pair"]:
        k = draw(self.Q[i] / self.anchor * self.R.sum(0), generator)
        j = torch.empty_like(i)
        for anchor in k.unique().tolist():
            here = k == anchor
            j[here] = draw(self.R[:, anchor][None], generator, int(here.sum()))[0]
        return j


def _over(v: Tensor, g: Tensor) -> Tensor:
    return v / (g if v.ndim == 1 else g[:, None])


def low_rank(x: Float[Tensor, "source dim"], y: Float[Tensor, "target dim"], a: Float[Tensor, "source"], b: Float[Tensor, "target"],
             generator: torch.Generator, rank: int = 100, temperature: float | None = None, turns: int = 20, tolerance: float = 1e-3) -> LowRankPlan:
    """A plan of rank at most ``rank``; see the module for what it is.

    Args:
        x, y: populations.
        a, b: weights that sum to 1.
        generator: of the first anchors, the meta-cells of the target.
        temperature: of Q and R; SHARE times the mean squared distance to the first anchors by default.
        turns: at most.
        tolerance: on the L1 marginal errors of Q and R.

    Raises:
        ValueError: a rank of less than one, or no turn.
    """
    if rank < 1 or turns < 1:
        raise ValueError(f"rank={rank} and turns={turns} came; one or more of each were wanted")
    x, y = x.double() - y.double().mean(0), y.double() - y.double().mean(0)
    groups = meta_cells(y, b, min(rank, len(y)), generator)
    g, there = groups.mass, groups.centre
    if temperature is None:
        temperature = SHARE * float((a @ x.square().sum(1)) + g @ there.square().sum(1) - 2 * (a @ x) @ (g @ there)) or 1.0
    how, starts = SinkhornConfig(tolerance / 2, MOST), [None, None]
    fixed = float(a @ x.square().sum(1) + b @ y.square().sum(1))
    history: list[float] = []
    for _ in range(turns):
        Q, starts[0] = _turn(x, there, a, g, temperature, how, starts[0])
        here = Q.mT @ x / g[:, None]
        R, starts[1] = _turn(y, here, b, g, temperature, how, starts[1])
        there = R.mT @ y / g[:, None]
        entropy = sum(float(torch.special.xlogy(side, side / (w[:, None] * g)).sum()) for side, w in ((Q, a), (R, b)))
        history.append(fixed - 2 * float(g @ (here * there).sum(1)) + temperature * entropy)
        if len(history) > 1 and history[-2] - history[-1] <= SETTLED * abs(history[-1]):
            break
    gap = max(float((side.sum(0) - g).abs().sum()) for side in (Q, R))
    return LowRankPlan(Q, R, g, a, b, Found("low_rank", converged=gap <= tolerance, iterations=len(history)), history)


def _turn(x: Tensor, anchor: Tensor, weight: Tensor, g: Tensor, temperature: float, how: SinkhornConfig,
          start: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mass from the cells to the anchors, its rows exactly the weights so that the error left is that of the anchors' masses; and the potential."""
    plan = sinkhorn_blocks(Squared(x, anchor, temperature, torch.float64), weight, g, how, start=start, quiet=True)
    return plan.table * (weight / plan.table.sum(1))[:, None], plan.g  # type: ignore[return-value]
