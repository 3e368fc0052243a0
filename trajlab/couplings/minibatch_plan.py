"""The mean of transport plans between random batches (Fatras et al. 2020): for populations whose own plan is out of reach.

Both populations are drawn down to the same number of equal parts (systematic resampling: every cell as often as its weight says, up to rounding),
put in random order and cut into batches; each pair of batches has its plan. The marginals are right in expectation, and exact for equal weights and
sizes. The bias is a blur: a cell can only be paired within its batch, so the mean cost lies above that of the optimal plan, by what the transport
between two finite samples costs, of order batch^(-2/dim). Averaging over more passes makes the plan smoother, not cheaper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.couplings.exact import emd
from trajlab.couplings.plans import Found, SparsePlan, TransportPlan, draw

__all__ = ["BlockPlan", "batches", "minibatch_plan", "resampled"]

#: Solves one batch: (cells of the source, cells of the target) to a plan between them.
Solver = Callable[[Tensor, Tensor], TransportPlan]


@dataclass(frozen=True, eq=False)
class BlockPlan(TransportPlan):
    """A mean of dense plans between batches.

    Attributes:
        cells: source and target cells of each batch, ``[part]`` each.
        tables: mass between them, ``[part part]``.
    """

    cells: list[tuple[Tensor, Tensor]]
    tables: list[Tensor]
    a: Float[Tensor, "source"]
    b: Float[Tensor, "target"]
    found: Found

    def rows(self, i: Int[Tensor, "row"]) -> Float[Tensor, "row target"]:
        cell, block, local = self._places
        low, high = torch.searchsorted(cell, i), torch.searchsorted(cell, i, right=True)
        times = high - low
        row = torch.arange(len(i)).repeat_interleave(times)
        place = (low - torch.cat([times.new_zeros(1), times.cumsum(0)[:-1]])).repeat_interleave(times) + torch.arange(int(times.sum()))
        table = torch.zeros(len(i), len(self.b), dtype=self.tables[0].dtype)
        for k in block[place].unique().tolist():
            here = block[place] == k
            table.index_put_((row[here][:, None], self.cells[k][1]), self.tables[k][local[place[here]]], accumulate=True)
        return table

    def apply(self, v: Tensor) -> Tensor:
        out = torch.zeros(len(self.a), *v.shape[1:], dtype=v.dtype)
        for (i, j), table in zip(self.cells, self.tables):
            out.index_add_(0, i, (table @ v[j].to(table)).to(v))
        return out

    def apply_t(self, v: Tensor) -> Tensor:
        out = torch.zeros(len(self.b), *v.shape[1:], dtype=v.dtype)
        for (i, j), table in zip(self.cells, self.tables):
            out.index_add_(0, j, (table.mT @ v[i].to(table)).to(v))
        return out

    def sample(self, n: int, generator: torch.Generator) -> tuple[Int[Tensor, "pair"], Int[Tensor, "pair"]]:
        mass = torch.cat([table.sum(1) for table in self.tables])
        drawn = draw(mass[None], generator, n)[0].sort().values
        starts = torch.tensor([0, *(len(i) for i, _ in self.cells)]).cumsum(0)
        block = torch.searchsorted(starts, drawn, right=True) - 1
        pairs = []
        for k in block.unique().tolist():
            row = drawn[block == k] - starts[k]
            pairs.append((self.cells[k][0][row], self.cells[k][1][draw(self.tables[k][row], generator)]))
        i, j = (torch.cat(side) for side in zip(*pairs))
        order = torch.randperm(n, generator=generator)
        return i[order], j[order]

    @cached_property
    def _places(self) -> tuple[Tensor, Tensor, Tensor]:
        """Every source part, sorted by its cell: cell, batch, row in the batch."""
        cell = torch.cat([i for i, _ in self.cells])
        block = torch.cat([torch.full_like(i, k) for k, (i, _) in enumerate(self.cells)])
        local = torch.cat([torch.arange(len(i)) for i, _ in self.cells])
        order = cell.argsort(stable=True)
        return cell[order], block[order], local[order]


def resampled(a: Float[Tensor, "cell"], n: int, generator: torch.Generator) -> Int[Tensor, "part"]:
    """n cells by systematic resampling, in random order: cell i comes n a_i times, rounded up or down, and in expectation exactly."""
    level = a.double().cumsum(0)
    u = (torch.arange(n, dtype=torch.float64) + torch.rand(1, generator=generator, dtype=torch.float64)) / n
    cells = torch.searchsorted(level / level[-1], u).clamp_(max=len(a) - 1)
    return cells[torch.randperm(n, generator=generator)]


def batches(a: Tensor, b: Tensor, batch: int, passes: int, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Pairs of batches of at least ``batch`` parts (or all there are), ``passes`` times over both populations."""
    n = max(len(a), len(b))
    count = max(1, n // batch)
    found: list[tuple[Tensor, Tensor]] = []
    for _ in range(passes):
        i, j = resampled(a, n, generator), resampled(b, n, generator)
        found += zip(i.tensor_split(count), j.tensor_split(count))
    return found


def minibatch_plan(x: Float[Tensor, "source dim"], y: Float[Tensor, "target dim"], a: Float[Tensor, "source"], b: Float[Tensor, "target"],
                   generator: torch.Generator, batch: int = 1024, passes: int = 1, solver: Solver | None = None) -> TransportPlan:
    """The plan averaged over batches: pairs where each batch has its best assignment (the default), dense blocks where a solver is given.

    Args:
        x, y: populations.
        a, b: weights that sum to 1.
        generator: of the batches.
        batch: parts in a batch, at least; 1,024 or more is advised, for smaller ones blur more.
        passes: over both populations.
        solver: plan of a batch with uniform weights, given its source and target cells.

    Raises:
        ValueError: a batch of fewer than two parts, or no pass.
    """
    if batch < 2 or passes < 1:
        raise ValueError(f"batch={batch} and passes={passes} came; batches of two parts or more and one pass or more were wanted")
    parts = batches(a, b, batch, passes, generator)
    share = [len(i) / (passes * max(len(a), len(b))) for i, _ in parts]
    found = Found("minibatch", iterations=len(parts))
    if solver is not None:
        plans = [solver(i, j) for i, j in parts]
        found = replace(found, converged=all(p.converged for p in plans), temperature=plans[0].found.temperature)
        return BlockPlan(parts, [w * p.P for w, p in zip(share, plans)], a, b, found)
    columns = [(i[p.source], j[p.target], w * p.mass) for (i, j), w in zip(parts, share) for p in [emd(x[i], y[j])]]
    source, target, mass = (torch.cat(column) for column in zip(*columns))
    return SparsePlan(source, target, mass, a, b, found)
