"""The plan between two populations by the method that their size and the memory allow.

What is asked for decides first. Without a temperature it is unregularised transport; exact to EXACT cells, else between meta-cells with exact
transport inside, whose marginals are exact and whose mean cost lies above the optimum. With a temperature, or a log-kernel, it is the entropic plan;
by Sinkhorn's iteration to SINKHORN cells, else by minibatches where all weights are equal and by meta-cells where they are not. The plan tells which
and why.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.couplings.exact import emd
from trajlab.couplings.log_kernels import Called, Kernel, Squared
from trajlab.couplings.low_rank import low_rank
from trajlab.couplings.memory import in_words, needed, parse
from trajlab.couplings.meta_cells import MetaPlan, meta_cells, refined
from trajlab.couplings.minibatch_plan import minibatch_plan
from trajlab.couplings.plans import DensePlan, SparsePlan, TransportPlan, as_plan
from trajlab.couplings.populations import two, weights
from trajlab.couplings.sinkhorn import SinkhornConfig
from trajlab.couplings.sinkhorn_blocks import sinkhorn_blocks

__all__ = ["CoupleConfig", "couple"]

EXACT = 3000  #: cells a snapshot for exact transport: 3 s
SINKHORN = 10_000  #: cells a snapshot for one table
DOUBLE = 3000  #: cells a snapshot to which the table is float64
METHODS = ("exact", "sinkhorn", "minibatch", "low_rank", "meta_cells")

#: (sources, targets) to their log-kernel, asked for blocks of sources.
LogKernel = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class CoupleConfig:
    """Settings of `couple` that are seldom changed.

    Attributes:
        dtype: of the tables; None: float64 to DOUBLE cells, else float32, which reaches a marginal error of 1e-5.
        seed: of batches and k-means.
        tolerance: largest marginal error that counts as converged.
        iterations: of Sinkhorn's method, at most.
        rho: penalties on the marginals of an entropic plan, ``math.inf`` for hard ones.
        batch, passes: of minibatches.
        rank: of a low-rank plan.
        metas: meta-cells a snapshot.
        inside: within meta-cells: "uniform", or "nearest" (exact transport, for plans without a temperature); None: nearest where it can be.

    Raises:
        ValueError: a setting out of its range, or an unknown ``inside``.
    """

    dtype: torch.dtype | None = None
    seed: int = 0
    tolerance: float = 1e-3
    iterations: int = 5000
    rho: tuple[float, float] = (math.inf, math.inf)
    batch: int = 1024
    passes: int = 1
    rank: int = 100
    metas: int = 2000
    inside: str | None = None

    def __post_init__(self) -> None:
        SinkhornConfig(self.tolerance, self.iterations, self.rho)
        for name, least in (("batch", 2), ("passes", 1), ("rank", 1), ("metas", 1)):
            if not getattr(self, name) >= least:
                raise ValueError(f"CoupleConfig: {name}={getattr(self, name)} came; at least {least} was wanted")
        if self.dtype not in (None, torch.float32, torch.float64):
            raise ValueError(f"CoupleConfig: dtype={self.dtype} came; torch.float32, torch.float64 or None were wanted")
        if self.inside not in (None, "uniform", "nearest"):
            raise ValueError(unknown("way inside meta-cells", str(self.inside), ["uniform", "nearest"]))

    @property
    def relaxed(self) -> bool:
        """Whether a marginal is relaxed."""
        return min(self.rho) < math.inf


@dataclass(frozen=True, eq=False)
class _Task:
    x: Tensor
    y: Tensor
    a: Tensor
    b: Tensor
    log_kernel: LogKernel | None
    temperature: float | None
    config: CoupleConfig
    dtype: torch.dtype

    @property
    def entropic(self) -> bool:
        return self.temperature is not None

    @property
    def how(self) -> SinkhornConfig:
        return SinkhornConfig(self.config.tolerance, self.config.iterations, self.config.rho)

    @property
    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.config.seed)

    def kernel(self, x: Tensor, y: Tensor) -> Kernel:
        """The log-kernel over the temperature."""
        if self.log_kernel is None:
            return Squared(x, y, float(self.temperature or 1.0), self.dtype)
        given, over = self.log_kernel, float(self.temperature or 1.0)
        return Called(given if over == 1.0 else lambda i, j: given(i, j) / over, x, y, self.dtype)


def couple(x: Any, y: Any, a: Any = None, b: Any = None, *, cost: Any = "squared", temperature: float | None = None,
           memory: Any = "4GB", method: str = "auto", config: CoupleConfig | None = None) -> TransportPlan:
    """The transport plan between two populations.

    Args:
        x, y: points, ``[source dim]`` and ``[target dim]``.
        a, b: weights; uniform by default; scaled to sum to 1.
        cost: "squared" for squared Euclidean distances, or a function of (sources, targets) that gives their log-kernel ``[source target]``, the
            log-density of a reference process, say; it is called on blocks of sources, and on the centres of meta-cells.
        temperature: epsilon of  min <P, cost> + epsilon KL(P | a b). None is unregularised transport for squared distances, 1 for a log-kernel. A
            Brownian reference of volatility sigma over a time T has squared distances at the temperature 2 sigma^2 T.
        memory: what the plan may take at its peak, such as "500MB".
        method: "auto", or one of METHODS. Exact transport ignores the temperature; low_rank wants squared distances, and its temperature is another.
        config: see `CoupleConfig`.

    Raises:
        ValueError: bad populations or weights (see `trajlab.couplings.exact.emd`), a temperature that is not positive, no amount of memory, a method
            unknown, beyond the memory, or not made for what is asked.
        TypeError: a cost that is neither a name nor a function.

    Warns:
        where the plan has not converged, or its marginals are further off than the tolerance.
    """
    config, budget = config or CoupleConfig(), parse(memory)
    x, y = two(x, y)
    a, b = weights("the source", a, len(x)), weights("the target", b, len(y))
    log_kernel = _cost(cost)
    if temperature is not None and not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature={temperature} came; a positive number was wanted, or None for transport without entropy")
    temperature = 1.0 if temperature is None and log_kernel is not None else temperature
    dtype = config.dtype or (torch.float64 if max(len(x), len(y)) <= DOUBLE else torch.float32)
    task = _Task(x, y, a, b, log_kernel, temperature, config, dtype)
    method, why = _choice(task, method, budget)
    plan = _METHODS[method](task)
    kept = 0.0 if temperature is None or method in ("exact", "low_rank") else temperature
    plan = replace(plan, found=replace(plan.found, method=method, why=why, temperature=kept))  # type: ignore[type-var]
    if not plan.converged or plan.marginal_error > config.tolerance:
        warnings.warn(f"the {method} plan between {len(x)} and {len(y)} cells has a marginal error of {plan.marginal_error:.2g}, where "
                      f"{config.tolerance:g} was wanted; {_ADVICE[method]}", stacklevel=2)
    return plan


def _cost(cost: Any) -> LogKernel | None:
    if isinstance(cost, str):
        if cost != "squared":
            raise ValueError(unknown("cost", cost, ["squared"]))
        return None
    if not callable(cost):
        raise TypeError(f"cost is of type {type(cost).__name__}; 'squared', or a function of (sources, targets) giving their log-kernel, was wanted")
    return cost


def _choice(task: _Task, method: str, budget: int) -> tuple[str, str]:
    """The method and the reason."""
    if method not in ("auto", *METHODS):
        raise ValueError(unknown("method", method, ["auto", *METHODS]))
    c, n, m = task.config, len(task.x), len(task.y)
    cost = {name: needed(name, n, m, task.dtype.itemsize, c.batch, c.metas, c.rank, task.entropic) for name in METHODS}
    fits = [name for name in METHODS if cost[name] <= budget and not _refusal(task, name)]
    sizes = f"{n} by {m} cells"
    if method != "auto":
        if reason := _refusal(task, method):
            raise ValueError(f"method={method!r}: {reason}")
        if method not in fits:
            raise ValueError(f"method={method!r} on {sizes} takes about {in_words(cost[method])}, and memory={in_words(budget)} came; allow more, or "
                             f"use one of {fits or 'fewer cells'}")
        return method, "as asked"
    one, most = ("sinkhorn", SINKHORN) if task.entropic else ("exact", EXACT)
    even = all(float(w.max() - w.min()) <= 1e-9 * float(w.max()) for w in (task.a, task.b))
    many = ["minibatch", "meta_cells"] if task.entropic and even else ["meta_cells", "minibatch"]
    order = ([one] if max(n, m) <= most else []) + many
    for name in order:
        if name in fits:
            limit = f"at most {most}" if name == one else f"more than the {most} of {one}" if max(n, m) > most else f"{one} does not fit"
            return name, f"{sizes}, {limit}; about {in_words(cost[name])} of {in_words(budget)}"
    least = min((cost[name] for name in order if not _refusal(task, name)), default=0)
    raise ValueError(f"no plan between {sizes} fits into memory={in_words(budget)}; the least takes about {in_words(least)}")


def _refusal(task: _Task, method: str) -> str:
    """Why a method is not made for this, if it is not."""
    if method != "exact" and not bool((task.a > 0).all() and (task.b > 0).all()):
        return "weights of zero came; leave these cells out (method='exact' takes them)"
    if task.config.relaxed and (method not in ("sinkhorn", "meta_cells") or not task.entropic):
        return f"rho={task.config.rho} came; relaxed marginals want a temperature or a log-kernel, and the method sinkhorn or meta_cells"
    if method == "low_rank" and task.log_kernel is not None:
        return "a log-kernel came; low rank wants squared distances (those of whitened points, where the reference is Gaussian)"
    if method == "meta_cells" and task.config.inside == "nearest" and task.entropic:
        return "inside='nearest' is exact transport within meta-cells, which an entropic plan has not; use 'uniform'"
    return ""


def _exact(task: _Task) -> TransportPlan:
    if task.log_kernel is None:
        return as_plan(emd(task.x, task.y, task.a, task.b), task.a, task.b)
    whole = task.kernel(task.x, task.y)
    return as_plan(emd(-whole.rows(0, len(task.x)).double(), None, task.a, task.b), task.a, task.b)


def _sinkhorn(task: _Task, x: Tensor | None = None, y: Tensor | None = None, a: Tensor | None = None, b: Tensor | None = None) -> DensePlan:
    x, y = task.x if x is None else x, task.y if y is None else y
    if not task.entropic:
        raise ValueError("method='sinkhorn' wants a temperature, and none came; 0.05 times the median squared distance is a common one")
    return sinkhorn_blocks(task.kernel(x, y), task.a if a is None else a, task.b if b is None else b, task.how, quiet=True)


def _minibatch(task: _Task) -> TransportPlan:
    def solver(i: Tensor, j: Tensor) -> TransportPlan:
        uniform = torch.full((len(i),), 1 / len(i), dtype=torch.float64)
        return _sinkhorn(task, task.x[i], task.y[j], uniform, uniform)

    return minibatch_plan(task.x, task.y, task.a, task.b, task.generator, task.config.batch, task.config.passes, solver if task.entropic else None)


def _low_rank(task: _Task) -> TransportPlan:
    c = task.config
    return low_rank(task.x, task.y, task.a, task.b, task.generator, c.rank, task.temperature, tolerance=c.tolerance)


def _meta_cells(task: _Task) -> TransportPlan:
    generator = task.generator
    source, target = (meta_cells(v, w, task.config.metas, generator) for v, w in ((task.x, task.a), (task.y, task.b)))
    if task.entropic:
        coarse: TransportPlan = _sinkhorn(task, source.centre, target.centre, source.mass, target.mass)
    else:
        coarse = as_plan(emd(source.centre, target.centre, source.mass, target.mass), source.mass, target.mass)
    plan = MetaPlan(coarse, source, target, task.a, task.b, coarse.found)
    nearest = isinstance(coarse, SparsePlan) and task.config.inside != "uniform"
    return refined(plan, task.x, task.y) if nearest else plan


_METHODS: dict[str, Callable[[_Task], TransportPlan]] = {
    "exact": _exact, "sinkhorn": _sinkhorn, "minibatch": _minibatch, "low_rank": _low_rank, "meta_cells": _meta_cells}
_ADVICE = {
    "exact": "the weights may span too many orders of magnitude",
    "sinkhorn": "allow more iterations, or a higher temperature",
    "minibatch": "weights that differ are met in expectation only: make more passes, or use meta_cells",
    "low_rank": "lower the rank, or raise the temperature",
    "meta_cells": "allow more iterations, or a higher temperature",
}
