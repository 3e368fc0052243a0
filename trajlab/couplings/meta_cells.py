"""Transport between meta-cells: k-means with exact masses, a plan between the centres, and transport inside.

    P_ij = (a_i / A_c) C_cd (b_j / B_d),       i in c, j in d,       A, B the masses of the meta-cells, C the plan between them.

The marginals of P are those of C, spread within meta-cells, so they are as exact as C's. The bias: cells of one meta-cell are not told apart, which
blurs the plan by the size of the meta-cells, large where there are many dimensions. For unregularised transport ``inside="nearest"`` takes the mass
that leaves a meta-cell and transports it exactly from its cells to the cells it goes to (one level of a multiscale scheme, Gerber & Maggioni 2017),
which keeps the marginals and undoes most of the blur. Starts: k-means++ (Arthur & Vassilvitskii 2007); batches: Sculley (2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.couplings.exact import emd
from trajlab.couplings.plans import Found, SparsePlan, TransportPlan, as_plan, draw

__all__ = ["MetaCells", "MetaPlan", "kmeans", "meta_cells", "refined"]

BATCH = 1 << 14  #: cells of a k-means step; populations no larger get Lloyd's algorithm
SEEDS = 5  #: candidates of k-means++ a centre, at most
TABLE = 1 << 22  #: distances held at once


@dataclass(frozen=True, eq=False)
class MetaCells:
    """A population in groups.

    Attributes:
        centre: weighted means, ``[meta dim]``.
        label: the meta-cell of every cell, ``[cell]``.
        mass: summed weights, ``[meta]``; positive.
        share: of every cell in its meta-cell's mass, ``[cell]``.
    """

    centre: Float[Tensor, "meta dim"]
    label: Int[Tensor, "cell"]
    mass: Float[Tensor, "meta"]
    share: Float[Tensor, "cell"]

    def total(self, v: Tensor) -> Tensor:
        """Sums over the cells of each meta-cell."""
        return torch.zeros(len(self.mass), *v.shape[1:], dtype=v.dtype).index_add_(0, self.label, v)

    def mean(self, v: Tensor) -> Tensor:
        """Weighted means over the cells of each meta-cell."""
        return self.total(v * (self.share if v.ndim == 1 else self.share[:, None]).to(v))

    @cached_property
    def members(self) -> list[Tensor]:
        """The cells of each meta-cell."""
        return list(self.label.argsort(stable=True).split(torch.bincount(self.label, minlength=len(self.mass)).tolist()))

    def inside(self, meta: Int[Tensor, "pair"], generator: torch.Generator) -> Int[Tensor, "pair"]:
        """A cell of each meta-cell asked for, in proportion to its weight."""
        order = self.label.argsort(stable=True)
        level = self.share[order].double().cumsum(0) + 0.0
        last = torch.bincount(self.label, minlength=len(self.mass)).cumsum(0) - 1
        top = level[last]
        low = torch.cat([top.new_zeros(1), top[:-1]])
        u = low[meta] + (top - low)[meta] * torch.rand(len(meta), generator=generator, dtype=torch.float64)
        return order[torch.minimum(torch.searchsorted(level, u, right=True), last[meta])]


@dataclass(frozen=True, eq=False)
class MetaPlan(TransportPlan):
    """The plan P above, held as the coarse plan and the groups."""

    coarse: TransportPlan
    source: MetaCells
    target: MetaCells
    a: Float[Tensor, "source"]
    b: Float[Tensor, "target"]
    found: Found

    def rows(self, i: Int[Tensor, "row"]) -> Float[Tensor, "row target"]:
        return self.source.share[i, None] * self.coarse.rows(self.source.label[i]).double()[:, self.target.label] * self.target.share

    def apply(self, v: Tensor) -> Tensor:
        return _spread(self.coarse.apply(self.target.mean(v)), self.source)

    def apply_t(self, v: Tensor) -> Tensor:
        return _spread(self.coarse.apply_t(self.source.mean(v)), self.target)

    def sample(self, n: int, generator: torch.Generator) -> tuple[Int[Tensor, "pair"], Int[Tensor, "pair"]]:
        c, d = self.coarse.sample(n, generator)
        return self.source.inside(c, generator), self.target.inside(d, generator)

    def follow(self, i: Int[Tensor, "pair"], generator: torch.Generator) -> Int[Tensor, "pair"]:
        return self.target.inside(self.coarse.follow(self.source.label[i], generator), generator)


def _spread(v: Tensor, cells: MetaCells) -> Tensor:
    share = cells.share.to(v)
    return v[cells.label] * (share if v.ndim == 1 else share[:, None])


def meta_cells(x: Float[Tensor, "cell dim"], a: Float[Tensor, "cell"], k: int, generator: torch.Generator) -> MetaCells:
    """At most ``k`` groups of cells by k-means, with the exact mass and mean of each.

    Raises:
        ValueError: fewer than one group.
    """
    label = kmeans(x, k, generator) if k < len(x) else torch.arange(len(x))
    label = label.unique(return_inverse=True)[1]
    mass = torch.zeros(int(label.max()) + 1, dtype=torch.float64).index_add_(0, label, a.double())
    share = a.double() / mass[label]
    centre = torch.zeros(len(mass), x.shape[1], dtype=torch.float64).index_add_(0, label, share[:, None] * x.double())
    return MetaCells(centre, label, mass, share)


def kmeans(x: Float[Tensor, "cell dim"], k: int, generator: torch.Generator, passes: int = 8) -> Int[Tensor, "cell"]:
    """Labels of a k-means clustering in float32, from k-means++ starts; passes over the cells in batches of BATCH. Groups may be empty.

    Raises:
        ValueError: fewer than one group, or more than cells.
    """
    if not 1 <= k <= len(x):
        raise ValueError(f"{k} groups of {len(x)} cells were asked for; from one group to one a cell can be made")
    x = (x - x.mean(0)).float()
    centre, count = _starts(x, k, generator), torch.zeros(k)
    for _ in range(passes):
        for part in torch.randperm(len(x), generator=generator).split(BATCH):
            label = _nearest(x[part], centre)
            new = torch.bincount(label, minlength=k).float()
            count = new if len(x) <= BATCH else count + new
            pull = torch.zeros_like(centre).index_add_(0, label, x[part]) - new[:, None] * centre
            centre = centre + pull / count.clamp(min=1)[:, None]
    return _nearest(x, centre)


def _starts(x: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """k-means++: each next centre in proportion to the squared distance to the nearest one so far."""
    x = x[torch.randperm(len(x), generator=generator)[: SEEDS * k]]
    norm = x.square().sum(1)
    chosen, far = [0], torch.full((len(x),), torch.inf)
    for _ in range(k - 1):
        last = x[chosen[-1]]
        far = torch.minimum(far, (norm - 2 * (x @ last) + last @ last).clamp_(min=0))
        far[chosen[-1]] = 0
        chosen.append(int(draw(far[None], generator)[0]) if bool(far.any()) else int(torch.randint(len(x), (1,), generator=generator)))
    return x[chosen]


def _nearest(x: Tensor, centre: Tensor) -> Tensor:
    half = centre.square().sum(1) / 2
    return torch.cat([torch.addmm(half, part, centre.mT, alpha=-1.0).argmin(1) for part in x.split(max(1, TABLE // len(centre)))])


def refined(plan: MetaPlan, x: Float[Tensor, "source dim"], y: Float[Tensor, "target dim"]) -> SparsePlan:
    """Exact transport inside: from the cells of each meta-cell to the cells that its mass goes to. For coarse plans of few entries."""
    coarse = as_plan(plan.coarse)
    if not isinstance(coarse, SparsePlan):
        raise TypeError(f"a coarse plan of type {type(coarse).__name__} came; exact transport inside wants one of few entries (method exact)")
    order = coarse.source.argsort(stable=True)
    parts = []
    for entries in order.split(torch.bincount(coarse.source, minlength=len(plan.source.mass)).tolist()):
        if len(entries):
            parts.append(_within(plan, x, y, int(coarse.source[entries[0]]), coarse.target[entries], coarse.mass[entries]))
    source, target, mass = (torch.cat(column) for column in zip(*parts))
    return SparsePlan(source, target, mass, plan.a, plan.b, plan.found)


def _within(plan: MetaPlan, x: Tensor, y: Tensor, c: int, to: Tensor, mass: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    i = plan.source.members[c]
    j = torch.cat([plan.target.members[d] for d in to.tolist()])
    sent = torch.cat([m * plan.target.share[plan.target.members[d]] for d, m in zip(to.tolist(), mass)])
    if len(i) == 1 or len(j) == 1:  # nothing to choose
        left = plan.source.share[i] * mass.sum()
        return i.repeat_interleave(len(j)), j.repeat(len(i)), (left[:, None] * sent / sent.sum()).flatten()
    inner = emd(x[i], y[j], plan.source.share[i], sent)
    return i[inner.source], j[inner.target], inner.mass * mass.sum()
