"""Transport plans that need not be held as a table of n times m numbers. All of them answer the same questions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["DENSE", "DensePlan", "Found", "SparsePlan", "TransportPlan", "as_plan", "draw"]

DENSE = 1 << 27  #: entries of the largest table that `TransportPlan.P` makes: 1 GB in float64
BLOCK = 1 << 22  #: entries held at once where a plan is made row by row


@dataclass(frozen=True)
class Found:
    """How a plan was found.

    Attributes:
        method: exact, sinkhorn, minibatch, low_rank or meta_cells.
        why: why this method, in words.
        converged: whether its iteration reached the tolerance.
        iterations: made.
        hard: whether the source and target marginals were to be met; the error of a relaxed one is no error.
        temperature: of the entropy, in units of the cost; 0 for unregularised transport.
    """

    method: str = "given"
    why: str = ""
    converged: bool = True
    iterations: int = 0
    hard: tuple[bool, bool] = (True, True)
    temperature: float = 0.0


class TransportPlan(ABC):
    """Mass carried from each of n source cells to each of m target cells.

    Attributes:
        a, b: the marginals wanted, ``[source]`` and ``[target]``.
        found: method and its outcome.
    """

    a: Tensor
    b: Tensor
    found: Found

    @abstractmethod
    def rows(self, i: Int[Tensor, "row"]) -> Float[Tensor, "row target"]:
        """The rows of some source cells, dense."""

    @abstractmethod
    def apply(self, v: Tensor) -> Tensor:
        """P v for ``[target]`` or ``[target k]``; in the dtype of v."""

    @abstractmethod
    def apply_t(self, v: Tensor) -> Tensor:
        """P^T v for ``[source]`` or ``[source k]``; in the dtype of v."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> tuple[Int[Tensor, "pair"], Int[Tensor, "pair"]]:
        """Source and target cells of n pairs drawn from the plan, with replacement."""

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.a), len(self.b)

    @cached_property
    def row_sums(self) -> Float[Tensor, "source"]:
        """Mass that leaves each source cell."""
        return self.apply(torch.ones_like(self.b))

    @cached_property
    def column_sums(self) -> Float[Tensor, "target"]:
        """Mass that reaches each target cell."""
        return self.apply_t(torch.ones_like(self.a))

    @cached_property
    def marginal_error(self) -> float:
        """The larger of the L1 errors of the marginals that were to be met, relative to the mass."""
        pairs = ((self.row_sums, self.a), (self.column_sums, self.b))
        return max((float((has - wanted).abs().sum() / wanted.sum()) for (has, wanted), hard in zip(pairs, self.found.hard) if hard), default=0.0)

    error = property(lambda self: self.marginal_error, doc="The marginal error, as other plans call it.")
    converged = property(lambda self: self.found.converged, doc="Whether the iteration reached its tolerance.")
    iterations = property(lambda self: self.found.iterations, doc="Iterations made.")

    @property
    def P(self) -> Float[Tensor, "source target"]:
        """The dense plan.

        Raises:
            ValueError: it would hold more than DENSE entries.
        """
        n, m = self.shape
        if n * m > DENSE:
            raise ValueError(f"a plan of {n} by {m} cells would be a table of {8 * n * m / 1e9:.1f} GB; use rows, sample, apply or sparse")
        return self.rows(torch.arange(n))

    def sparse(self, threshold: float = 1e-3) -> Any:
        """The plan as a SciPy CSR array without the entries below ``threshold`` times the largest of their row.

        What is left of a row is scaled to the row's mass.

        Raises:
            ValueError: a threshold outside [0, 1).
        """
        from scipy.sparse import csr_array, vstack

        _is_share(threshold)
        parts = []
        for i in torch.arange(self.shape[0]).split(max(1, BLOCK // self.shape[1])):
            row = self.rows(i)
            kept = torch.where(row >= threshold * row.amax(1, keepdim=True), row, 0.0)
            kept *= row.sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp(min=torch.finfo(row.dtype).tiny)
            parts.append(csr_array(kept.numpy()))
        return vstack(parts, format="csr")

    def follow(self, i: Int[Tensor, "pair"], generator: torch.Generator) -> Int[Tensor, "pair"]:
        """A target cell for each source cell of ``i``, by its row of the plan."""
        found = torch.empty_like(i)
        order = i.argsort()
        for part in order.split(max(1, BLOCK // self.shape[1])):
            cells, back = i[part].unique_consecutive(return_inverse=True)
            found[part] = draw(self.rows(cells)[back], generator)
        return found

    def mean_cost(self, x: Float[Tensor, "source dim"], y: Float[Tensor, "target dim"]) -> float:
        """sum_ij P_ij |x_i - y_j|^2 over the plan's mass, from |x|^2 + |y|^2 - 2 <x, y>, so that no table is made."""
        x, y = x.double(), y.double()
        x, y = x - y.mean(0), y - y.mean(0)
        r, c = self.row_sums.double(), self.column_sums.double()
        cross = (x * self.apply(y)).sum()
        return float((r @ x.square().sum(1) + c @ y.square().sum(1) - 2 * cross) / r.sum())


@dataclass(frozen=True, eq=False)
class DensePlan(TransportPlan):
    """A table, ``[source target]``, float32 or float64; potentials where the method has them."""

    table: Float[Tensor, "source target"]
    a: Float[Tensor, "source"]
    b: Float[Tensor, "target"]
    found: Found = Found()
    f: Tensor | None = None
    g: Tensor | None = None

    @property
    def P(self) -> Float[Tensor, "source target"]:
        """The plan itself, not a copy."""
        return self.table

    def rows(self, i: Int[Tensor, "row"]) -> Float[Tensor, "row target"]:
        return self.table[i]

    def apply(self, v: Tensor) -> Tensor:
        return (self.table @ v.to(self.table)).to(v)

    def apply_t(self, v: Tensor) -> Tensor:
        return (self.table.mT @ v.to(self.table)).to(v)

    def sample(self, n: int, generator: torch.Generator) -> tuple[Int[Tensor, "pair"], Int[Tensor, "pair"]]:
        i = draw(self.row_sums.expand(1, -1), generator, n)[0]
        return i, self.follow(i, generator)


@dataclass(frozen=True, eq=False)
class SparsePlan(TransportPlan):
    """Entries: source cell, target cell and mass, each ``[entry]``; pairs may come more than once."""

    source: Int[Tensor, "entry"]
    target: Int[Tensor, "entry"]
    mass: Float[Tensor, "entry"]
    a: Float[Tensor, "source"]
    b: Float[Tensor, "target"]
    found: Found = Found()

    def rows(self, i: Int[Tensor, "row"]) -> Float[Tensor, "row target"]:
        table = self._csr[i.numpy()].toarray()
        return torch.from_numpy(table)

    def apply(self, v: Tensor) -> Tensor:
        return _gathered(self.source, self.target, self.mass, v, self.shape[0])

    def apply_t(self, v: Tensor) -> Tensor:
        return _gathered(self.target, self.source, self.mass, v, self.shape[1])

    def sample(self, n: int, generator: torch.Generator) -> tuple[Int[Tensor, "pair"], Int[Tensor, "pair"]]:
        e = draw(self.mass.expand(1, -1), generator, n)[0]
        return self.source[e], self.target[e]

    def sparse(self, threshold: float = 1e-3) -> Any:
        """As for every plan, without a pass over all rows."""
        from scipy.sparse import csr_array

        _is_share(threshold)
        whole = self._csr
        row, sums = np.repeat(np.arange(self.shape[0]), np.diff(whole.indptr)), whole.sum(1)
        top = whole.max(axis=1).toarray().ravel()
        kept = whole.data >= threshold * top[row]
        least = csr_array((whole.data[kept], (row[kept], whole.indices[kept])), shape=self.shape)
        least.data *= np.repeat(sums / np.maximum(least.sum(1), np.finfo(float).tiny), np.diff(least.indptr))
        return least

    @cached_property
    def _csr(self) -> Any:
        from scipy.sparse import csr_array

        return csr_array((self.mass.numpy(), (self.source.numpy(), self.target.numpy())), shape=self.shape)


def _is_share(threshold: float) -> None:
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold={threshold} came; a share of a row's largest entry, from 0 to below 1, was wanted")


def _gathered(into: Tensor, out_of: Tensor, mass: Tensor, v: Tensor, n: int) -> Tensor:
    weight = mass.to(v) if v.ndim == 1 else mass.to(v)[:, None]
    return torch.zeros(n, *v.shape[1:], dtype=v.dtype).index_add_(0, into, weight * v[out_of])


def draw(mass: Float[Tensor, "row item"], generator: torch.Generator, n: int | None = None) -> Tensor:
    """One item (or n of them) of each row in proportion to its mass, by the inverse of the summed mass; any number of items."""
    total = mass.double().cumsum(1)
    u = torch.rand(len(mass), n or 1, generator=generator, dtype=torch.float64) * total[:, -1:]
    # right=True passes over items without mass; the last step of rounding is kept inside
    found = torch.searchsorted(total, u, right=True).clamp_(max=mass.shape[1] - 1)
    return found[:, 0] if n is None else found


def as_plan(plan: Any, a: Tensor | None = None, b: Tensor | None = None) -> TransportPlan:
    """Any plan as a `TransportPlan`: one that is, a table ``[source target]``, or an object with entries (source, target, mass) or a table P.

    Where no marginals are given, those that the plan has.

    Raises:
        TypeError: none of these.
        ValueError: a table that is not of finite, non-negative numbers.
    """
    if isinstance(plan, TransportPlan):
        return plan
    known = Found(converged=getattr(plan, "converged", True), iterations=getattr(plan, "iterations", 0))
    if all(hasattr(plan, name) for name in ("source", "target", "mass", "shape")):
        n, m = plan.shape
        a, b = a if a is not None else _total(plan.source, plan.mass, n), b if b is not None else _total(plan.target, plan.mass, m)
        return SparsePlan(plan.source, plan.target, plan.mass, a, b, known)
    table = getattr(plan, "P", plan)
    if not isinstance(table, Tensor) or table.ndim != 2:
        raise TypeError(f"a {type(plan).__name__} came as a transport plan; a plan of trajlab.couplings or a tensor [source target] was wanted")
    if not bool(torch.isfinite(table).all()) or bool((table < 0).any()):
        raise ValueError("the plan holds values that are negative or not finite; a table of masses was wanted")
    return DensePlan(table, table.sum(1) if a is None else a, table.sum(0) if b is None else b, known)


def _total(index: Tensor, mass: Tensor, n: int) -> Tensor:
    return torch.zeros(n, dtype=mass.dtype).index_add_(0, index, mass)
