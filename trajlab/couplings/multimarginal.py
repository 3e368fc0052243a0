"""Couplings of many snapshots: a chain of plans between neighbours, read as a Markov chain on cells.

For a Markov reference the multi-marginal Schrodinger bridge is this chain: each interval has its own plan, glued at the snapshots (Chen et al. 2019).
Forwards the transition is  P_ij / sum_j P_ij,  backwards  P_ij / sum_i P_ij  (descendants and ancestors of Schiebinger et al. 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.couplings.plans import DENSE, TransportPlan, as_plan, draw

__all__ = ["Chain"]


class Chain:
    """Plans of the intervals between snapshots 0, 1, ..., K.

    Args:
        plans: of each interval, in order: `TransportPlan`, other plans of this package, or tables.
        times: of the snapshots, increasing; 0, 1, ... by default.
        tolerance: the largest L1 difference between what reaches a snapshot and what leaves it; ``math.inf`` where growth is meant.

    Raises:
        TypeError: something that is no plan.
        ValueError: no plan, snapshots whose numbers of cells differ between plans, marginals that disagree, or times that do not fit.
    """

    def __init__(self, plans: Sequence[Any], times: Sequence[float] | Tensor | None = None, tolerance: float = 1e-2) -> None:
        self.plans: tuple[TransportPlan, ...] = tuple(as_plan(plan) for plan in plans)
        if not self.plans:
            raise ValueError("no plan came; a chain has one between each two neighbouring snapshots")
        self.times = torch.arange(len(self.plans) + 1, dtype=torch.float64) if times is None else torch.as_tensor(times, dtype=torch.float64)
        if self.times.shape != (len(self.plans) + 1,) or not bool((self.times.diff() > 0).all()):
            raise ValueError(f"times {self.times.tolist()} came for {len(self.plans)} plans; {len(self.plans) + 1} increasing times were wanted")
        for k, (one, two) in enumerate(zip(self.plans, self.plans[1:]), 1):
            if one.shape[1] != two.shape[0]:
                raise ValueError(f"plan {k - 1} ends in {one.shape[1]} cells and plan {k} starts from {two.shape[0]}; snapshot {k} has one number of "
                                 "cells")
        worst = max(self.gaps, default=0.0)
        if worst > tolerance:
            k = 1 + self.gaps.index(worst)
            raise ValueError(f"what plan {k - 1} brings to snapshot {k} and what plan {k} takes from it differ by {worst:.2g} (L1; tolerance "
                             f"{tolerance:g}): solve the plans further, weight a snapshot's cells alike, or allow more where growth is meant")

    @property
    def cells(self) -> list[int]:
        """Cells of each snapshot."""
        return [plan.shape[0] for plan in self.plans] + [self.plans[-1].shape[1]]

    @property
    def gaps(self) -> list[float]:
        """At each inner snapshot, the L1 difference between the shares of mass that reach its cells and those that leave them."""
        return [float((_share(one.column_sums) - _share(two.row_sums)).abs().sum()) for one, two in zip(self.plans, self.plans[1:])]

    def descendants(self, v: Tensor, start: int, stop: int) -> Tensor:
        """Where the mass ``v`` ``[cell]`` or ``[cell k]`` on snapshot ``start`` has gone at snapshot ``stop``; mass is kept.

        Raises:
            ValueError: snapshots out of order or range, or another number of cells.
        """
        v = self._checked(v, start, stop, start)
        for plan in self.plans[start:stop]:
            v = plan.apply_t(_over(v, plan.row_sums))
        return v

    def ancestors(self, v: Tensor, stop: int, start: int) -> Tensor:
        """Where the mass ``v`` on snapshot ``stop`` has come from, at the earlier snapshot ``start``; mass is kept. Errors as for descendants."""
        v = self._checked(v, start, stop, stop)
        for plan in reversed(self.plans[start:stop]):
            v = plan.apply(_over(v, plan.column_sums))
        return v

    def expected(self, v: Tensor, stop: int, start: int) -> Tensor:
        """The mean over a cell's descendants at ``stop`` of a function ``v`` of the cells there, for every cell of ``start``: T_start ... v."""
        v = self._checked(v, start, stop, stop)
        for plan in reversed(self.plans[start:stop]):
            v = _over(plan.apply(v), plan.row_sums)
        return v

    def composed(self, start: int, stop: int) -> Float[Tensor, "source target"]:
        """The plan from snapshot ``start`` to ``stop`` through all between, dense: the row sums of the first plan times the transitions.

        Raises:
            ValueError: snapshots out of order, or a table of more than DENSE entries.
        """
        n, m = self.cells[start], self.cells[stop]
        if n * m > DENSE:
            raise ValueError(f"a plan from {n} to {m} cells would be a table of {8 * n * m / 1e9:.1f} GB; use descendants, ancestors or paths")
        first = self.plans[start].row_sums.double()
        return self.descendants(torch.diag(first), start, stop).mT

    def paths(self, n: int, generator: torch.Generator) -> Int[Tensor, "path snapshot"]:
        """Cells that n paths of the chain visit, one in each snapshot."""
        visited = [draw(self.plans[0].row_sums[None], generator, n)[0]]
        for plan in self.plans:
            visited.append(plan.follow(visited[-1], generator))
        return torch.stack(visited, 1)

    def _checked(self, v: Tensor, start: int, stop: int, on: int) -> Tensor:
        if not 0 <= start <= stop <= len(self.plans):
            raise ValueError(f"snapshots {start} to {stop} came; 0 <= earlier <= later <= {len(self.plans)} was wanted")
        if not len(v) == self.cells[on]:
            raise ValueError(f"{len(v)} values came for snapshot {on}, which has {self.cells[on]} cells")
        return v.double()


def _share(v: Tensor) -> Tensor:
    return v.double() / v.double().sum()


def _over(v: Tensor, sums: Tensor) -> Tensor:
    sums = sums.to(v)
    if bool((sums <= 0).any()):
        raise ValueError(f"cell {int((sums <= 0).nonzero()[0])} of a plan has no mass; leave cells of weight zero out")
    return v / (sums if v.ndim == 1 else sums[:, None])
