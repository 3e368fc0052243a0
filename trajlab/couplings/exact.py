"""Exact optimal transport between two weighted populations,

    min_P sum_ij P_ij c_ij   with   sum_j P_ij = a_i,   sum_i P_ij = b_j,   P >= 0.

Between uniform populations of one size it is an assignment (Crouse 2016, in SciPy); otherwise the network simplex of POT (Bonneel et al. 2011;
Flamary et al. 2021), whose solution has at most n + m - 1 entries. Both take about n^3: 1 s at 2,000 cells, 10 s at 5,000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.couplings.populations import distances, drawn, population, two, weights

__all__ = ["ExactPlan", "emd", "transport_cost"]

PIVOTS = 10_000_000  #: of the network simplex, at most


@dataclass(frozen=True, eq=False)
class ExactPlan:
    """A plan of few entries.

    Attributes:
        source, target: the cells of each entry, ``[entry]``, sorted by source.
        mass: what is carried, ``[entry]``, summing to 1.
        shape: number of source and target cells.
        cost: sum of mass times cost.
        error: L1 error of the marginals.
        iterations, converged: 0 and True, as entropic plans have them.
    """

    source: Int[Tensor, "entry"]
    target: Int[Tensor, "entry"]
    mass: Float[Tensor, "entry"]
    shape: tuple[int, int]
    cost: float
    error: float = 0.0
    iterations: int = 0
    converged: bool = True

    @property
    def P(self) -> Float[Tensor, "source target"]:
        """The dense plan."""
        dense = torch.zeros(self.shape, dtype=self.mass.dtype)
        dense[self.source, self.target] = self.mass
        return dense

    @property
    def sparse(self) -> Tensor:
        """The plan as a sparse COO tensor."""
        return torch.sparse_coo_tensor(torch.stack([self.source, self.target]), self.mass, self.shape, check_invariants=False).coalesce()

    def pairs(self, n: int, generator: torch.Generator) -> tuple[Int[Tensor, "pair"], Int[Tensor, "pair"]]:
        """Source and target cells of n pairs drawn from the plan, stratified (see `drawn`): an assignment gives n pairs back as they are."""
        entry = drawn(self.mass, n, generator)
        return self.source[entry], self.target[entry]


def emd(x: Any, y: Any = None, a: Any = None, b: Any = None, power: float = 2) -> ExactPlan:
    """The optimal plan.

    Args:
        x: source points ``[source dim]``; or, without y, the costs ``[source target]``.
        y: target points ``[target dim]``.
        a, b: weights, non-negative, scaled to sum to 1; uniform by default.
        power: the cost is the Euclidean distance to this power; unused where costs come.

    Raises:
        ValueError: a value that is not finite (row and column are named), an empty population, different dimensions, a bad weight, or a power
            that is not positive.
        RuntimeError: the solver stopped before the optimum.
    """
    if not power > 0:
        raise ValueError(f"power={power} came; a positive one was wanted: 1 for W1, 2 for W2")
    cost = population("the cost", x) if y is None else distances(*two(x, y), power)
    cost = cost.cpu()
    n, m = cost.shape
    weighted = weights("the source", a, n), weights("the target", b, m)
    if n == m and all(float(w.max() - w.min()) <= 1e-14 * float(w.max()) for w in weighted):
        return _assignment(cost)
    return _simplex(cost, *weighted)


def transport_cost(x: Any, y: Any = None, a: Any = None, b: Any = None, power: float = 2) -> float:
    """The least cost of transport: W1 for a power of 1, the square of W2 for 2. Arguments and errors as for `emd`."""
    return emd(x, y, a, b, power).cost


def _assignment(cost: Tensor) -> ExactPlan:
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(cost.numpy())
    n = len(rows)
    total = float(cost.numpy()[rows, columns].mean())
    return ExactPlan(torch.from_numpy(rows), torch.from_numpy(columns), torch.full((n,), 1 / n, dtype=torch.float64), (n, n), total)


def _simplex(cost: Tensor, a: Tensor, b: Tensor) -> ExactPlan:
    import ot

    scale = float(cost.abs().max()) or 1.0  # the solver's tolerances are absolute
    plan, log = ot.emd(a.numpy(), b.numpy(), np.ascontiguousarray(cost.numpy()) / scale, numItermax=PIVOTS, log=True, check_marginals=False)
    if log["warning"] is not None:
        raise RuntimeError(f"exact transport between {len(a)} and {len(b)} cells stopped before the optimum: {log['warning']}; use fewer cells, or "
                           "trajlab.couplings.sinkhorn")
    plan = torch.from_numpy(plan)
    rows, columns = plan.nonzero().unbind(1)
    error = float((plan.sum(1) - a).abs().sum() + (plan.sum(0) - b).abs().sum())
    return ExactPlan(rows, columns, plan[rows, columns], (len(a), len(b)), float((plan * cost).sum()), error)
