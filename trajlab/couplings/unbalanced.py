"""Growth from couplings: plans whose source marginal is relaxed, and the rates that they imply.

    g_i = [ log( r_i / (a_i sum r) ) + log( M_end / M_start ) ] / T,        r the row sums of the plan, M the sizes of the population

A constant added to the log-kernel changes the total mass of a relaxed plan, so the rates are relative unless the sizes are known; counts of cells are
sizes only where sampling was proportional. Single rates are mostly noise of unmodelled drift (the relaxed marginal prefers cells near the target):
use means over neighbours or branches, and relax after the reference has converged. Relaxed marginals: Chizat et al. (2018); iteration of known and
estimated growth: Schiebinger et al. (2019).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.couplings.plans import TransportPlan, as_plan
from trajlab.couplings.sinkhorn import SinkhornConfig, sinkhorn

__all__ = ["Growth", "birth_death", "branch_ratio", "grow", "grown", "growth_rates", "nearest"]

BLOCK = 1 << 22  #: distances held at once


def growth_rates(plan: Any, a: Float[Tensor, "..."] | None = None, masses: tuple[float, float] | None = None, duration: float = 1.0,
                 neighbours: Int[Tensor, "..."] | None = None) -> Float[Tensor, "cell"]:
    """Growth rates of the source cells, per unit of time.

    Args:
        plan: one whose source marginal is relaxed (a balanced one has rates of zero, up to the sizes).
        a: source weights before growth; those of the plan by default.
        masses: sizes of the population at the start and the end; the rates are relative to the mean growth without them.
        duration: T.
        neighbours: ``[cell k]``, each cell's neighbours with itself among them (see `nearest`): masses are summed over them before the logarithm.

    Raises:
        TypeError: no plan.
        ValueError: weights, sizes, a duration or neighbours that do not fit, or a cell that sends no mass.
    """
    plan = as_plan(plan)
    n = plan.shape[0]
    a = plan.a if a is None else a
    if a.shape != (n,) or not bool((a > 0).all()) or not bool(torch.isfinite(a).all()):
        raise ValueError(f"source weights of shape {tuple(a.shape)} came for a plan of {n} source cells; {n} positive finite numbers were wanted")
    if not (duration > 0 and math.isfinite(duration)):
        raise ValueError(f"duration={duration} came; a positive time was wanted")
    if masses is not None and not (len(masses) == 2 and all(mass > 0 and math.isfinite(mass) for mass in masses)):
        raise ValueError(f"masses={masses} came; two positive sizes of the population were wanted, at the start and the end")
    r, a = plan.row_sums.double(), a.double() / a.double().sum()
    r = r / r.sum()
    if neighbours is not None:
        _are_cells(neighbours, n)
        r, a = r[neighbours].sum(1), a[neighbours].sum(1)
    if not bool((r > 0).all()):
        raise ValueError(f"source cell {int((r <= 0).nonzero()[0])} sends no mass; its growth is minus infinity. Raise the penalty rho, or smooth "
                         "over neighbours")
    whole = 0.0 if masses is None else math.log(masses[1] / masses[0])
    return ((r / a).log() + whole) / duration


def _are_cells(neighbours: Tensor, n: int) -> None:
    fits = neighbours.ndim == 2 and len(neighbours) == n and neighbours.shape[1] > 0 and not neighbours.is_floating_point()
    if not fits or int(neighbours.min()) < 0 or int(neighbours.max()) >= n:
        raise ValueError(f"neighbours of shape {tuple(neighbours.shape)} and type {neighbours.dtype} came; cell numbers [{n} k] from 0 to {n - 1} "
                         "were wanted")


def grown(a: Float[Tensor, "..."], rates: Float[Tensor, "..."], duration: float) -> Float[Tensor, "cell"]:
    """Source weights after known growth,  a_i exp(g_i T)  scaled to sum to 1: the marginal of a balanced plan.

    Raises:
        ValueError: shapes differ or a rate is not finite.
    """
    if a.shape != rates.shape or not bool(torch.isfinite(rates).all()):
        raise ValueError(f"{tuple(a.shape)} weights and {tuple(rates.shape)} rates came, {int((~torch.isfinite(rates)).sum())} of them not finite; a "
                         "finite rate for every weight was wanted")
    return torch.softmax(a.double().log() + rates.double() * duration, 0)


@dataclass(frozen=True, eq=False)
class Growth:
    """Outcome of `grow`.

    Attributes:
        plan: the last, whose source weights are the grown ones.
        rates: ``[cell]``, per unit of time.
        history: largest change of a rate in each round.
        converged: whether that fell below the tolerance.
    """

    plan: TransportPlan
    rates: Tensor
    history: Sequence[float]
    converged: bool


def grow(log_kernel: Float[Tensor, "source target"], a: Float[Tensor, "source"], b: Float[Tensor, "target"], duration: float = 1.0, *,
         rho: float = 1.0, rounds: int = 5, rates: Float[Tensor, "source"] | None = None, neighbours: Int[Tensor, "source k"] | None = None,
         config: SinkhornConfig | None = None) -> Growth:
    """Plan and growth in turn: source weights grown by the rates so far, their marginal relaxed by ``rho``, the rates of the new row sums.

    Each round relaxes again about the last estimate, so that more rounds come closer to a free source marginal; few are enough.

    Args:
        log_kernel: of the reference over the interval.
        a, b: weights of the cells.
        duration: of the interval.
        rho: penalty on the source marginal.
        rounds: at most.
        rates: known or prior rates to start from (see `birth_death`).
        neighbours: rates are means over them.
        config: of Sinkhorn's iteration; its rho is not used.

    Raises:
        ValueError: bad weights, rates, kernels, or no round.
    """
    if rounds < 1:
        raise ValueError(f"rounds={rounds} came; one or more were wanted")
    how = replace(config or SinkhornConfig(), rho=(rho, math.inf))
    rates = torch.zeros(len(a), dtype=torch.float64) if rates is None else rates.double()
    history: list[float] = []
    settled = 1e-2 / duration
    for _ in range(rounds):
        weight = grown(a, rates, duration)
        plan = as_plan(sinkhorn(log_kernel, weight, b, how), weight, b)
        new = growth_rates(plan, a, None, duration, neighbours)
        history.append(float((new - rates).abs().max()))
        rates = new
        if history[-1] <= settled:
            break
    return Growth(plan, rates, history, history[-1] <= settled)


def birth_death(proliferation: Float[Tensor, "..."], apoptosis: Float[Tensor, "..."], birth: tuple[float, float] = (0.3, 1.7),
                death: tuple[float, float] = (0.3, 1.7)) -> Float[Tensor, "cell"]:
    """Prior rates from gene scores: birth minus death, each a logistic function of its score between two rates (as in Schiebinger et al. 2019, whose
    rates are the defaults, per day). Scores are centred at their median and scaled by their standard deviation.

    Raises:
        ValueError: scores that differ in shape or are not finite, or rates not in order.
    """
    if proliferation.shape != apoptosis.shape or not all(bool(torch.isfinite(s).all()) for s in (proliferation, apoptosis)):
        raise ValueError(f"scores of shapes {tuple(proliferation.shape)} and {tuple(apoptosis.shape)} came; two finite scores a cell were wanted")
    if not (0 <= birth[0] <= birth[1] and 0 <= death[0] <= death[1]):
        raise ValueError(f"birth={birth} and death={death} came; (least, largest) rates were wanted, not negative")
    return _logistic(proliferation.double(), *birth) - _logistic(apoptosis.double(), *death)


def _logistic(score: Tensor, low: float, high: float) -> Tensor:
    spread = float(score.std(correction=0)) or 1.0
    return low + (high - low) * torch.sigmoid((score - score.median()) / spread)


def branch_ratio(plan: Any, one: Any, other: Any, a: Tensor | None = None) -> float:
    """Growth factor of the source cells ``one`` over that of ``other`` (numbers, a slice or a mask): (r_one / a_one) / (r_other / a_other)."""
    plan = as_plan(plan)
    a, r = plan.a if a is None else a, plan.row_sums
    if not float(a[one].sum()) > 0 or not float(a[other].sum()) > 0:
        raise ValueError("a branch has no cells; two sets of source cells were wanted")
    return float(r[one].sum() / a[one].sum() / (r[other].sum() / a[other].sum()))


def nearest(x: Float[Tensor, "cell dim"], k: int = 15) -> Int[Tensor, "cell k"]:
    """The k nearest cells of every cell, itself first.

    Raises:
        ValueError: fewer than one neighbour.
    """
    if k < 1:
        raise ValueError(f"k={k} came; one neighbour or more were wanted")
    if k > len(x):
        warnings.warn(f"{k} neighbours of {len(x)} cells were asked for; all cells are taken", stacklevel=2)
    x = x.double()
    parts = []
    for start in range(0, len(x), max(1, BLOCK // len(x))):
        table = torch.cdist(x[start:start + max(1, BLOCK // len(x))], x)
        table[torch.arange(len(table)), torch.arange(start, start + len(table))] = -1.0
        parts.append(table.topk(min(k, len(x)), largest=False).indices)
    return torch.cat(parts)
