"""DPM-Solver-v3 (Zheng et al. 2023): an exponential integrator whose linear part and growth are measured on the net (`model_statistics`).

With y = x/alpha, f = (1 - l) y - D, and L, S the integrals of l, s over lam, the ODE is (e^L y)' = -e^L f, and g = e^(-S) f changes little:

    x_t = (alpha_t/alpha_s) e^(L_s - L_t) x_s - alpha_t e^(L_s - L_t) sum_i e^(S_s - S_i) f_i int_s^t e^(L - L_s + S - S_s) l_i dlam

with l_i the Lagrange polynomials in lam through the last nodes. f is linear in state and prediction, so this too is a table. l = 1 and s = 0 give
exponential Adams-Bashforth on the clean prediction. The third statistic of the paper, b, is zero: see `model_statistics`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trajlab.paths.gaussian import Level
from trajlab.samplers.grids import Grid
from trajlab.samplers.model_statistics import ModelStatistics
from trajlab.samplers.quadrature import POINTS, WEIGHTS, lagrange
from trajlab.samplers.solver import Solver, enough, finished
from trajlab.samplers.tables import Stage, Table

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DPMSolverV3(Solver):
    """One call a step, with or without corrector.

    The authors use order 3, and 2 under guidance; pseudo order at 5 steps or fewer, the corrector at 6 or fewer.

    Attributes:
        statistics: of the net, by `model_statistics.collect`; by default l = 1, s = 0, which knows nothing about it.
        order: number of predictions looked back on, 1 to 4; warmed up from 1.
        pseudo: derivatives by plain divided differences (a Taylor series) instead of the full polynomial: lower order, less amplification.
        corrector: redo every step but the last with the polynomial that includes the prediction at its end.

    Raises:
        ValueError: an order outside 1 to 4; a grid beyond the statistics, or one that starts at alpha = 0.
    """

    statistics: ModelStatistics = field(default_factory=ModelStatistics.degenerate)
    order: int = 3
    pseudo: bool = False
    corrector: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 4:
            raise ValueError(f"order {self.order} came; 1 to 4 was wanted (higher ones are unstable)")

    def plan(self, grid: Grid) -> Table:
        enough("DPM-Solver-v3", self.order, grid)
        known = _Known(self.statistics)
        known.covers(grid)
        levels, stages = grid.levels, []
        # Every node was called on one state; with a corrector that is not the state the next step starts from.
        called, newest, base = [0], 0, 0
        for k, (s, t) in enumerate(pairwise(levels)):
            call: Level | None = s
            if self.corrector and k > 0:
                past = range(k, max(-1, k - self.order - 1), -1)
                basis = partial(lagrange, [levels[j].lam for j in past])
                weights = known.weights(levels[k - 1], s, [levels[j] for j in past], basis)
                stages.append(Stage(s, s, *_placed(weights, newest - base, [newest - called[j] for j in past]), "x0"))
                call, newest, base = None, newest + 1, newest + 1
            past = range(k, max(-1, k - self.order), -1)
            basis = partial(taylor if self.pseudo else lagrange, [levels[j].lam for j in past])
            weights = known.weights(s, t, [levels[j] for j in past], basis)
            last = k == grid.steps - 1
            stages.append(Stage(t, call, *_placed(weights, newest - base, [newest - called[j] for j in past]), "x0", node=last or not self.corrector))
            newest += 1
            called.append(newest)
            base = base if self.corrector else newest
        return finished(grid, stages)


@dataclass(frozen=True)
class Weights:
    """One step: of the state it starts from, and of every node's state and clean prediction."""

    base: Array
    states: list[Array]
    predictions: list[Array]


class _Known:
    """Statistics as functions of lam: l and s linear between their levels, so that their integrals L and S are quadratic there."""

    def __init__(self, statistics: ModelStatistics) -> None:
        self.lam = statistics.lam.numpy()
        self.l, self.s = (w.reshape(len(w), *(w.shape[1:] or (1,))).numpy() for w in (statistics.l, statistics.s))
        self.width = np.diff(self.lam).reshape(-1, *[1] * (self.l.ndim - 1))
        self.whole = [np.concatenate([w[:1] * 0, (self.width * (w[1:] + w[:-1]) / 2).cumsum(0)]) for w in (self.l, self.s)]

    def covers(self, grid: Grid) -> None:
        lam = [k.lam for k in grid.levels if k.sigma > 0]
        if grid.levels[0].alpha == 0 or lam[0] < self.lam[0] - 1e-9 or lam[-1] > self.lam[-1] + 1e-9:
            raise ValueError(f"the grid runs from lam = {lam[0]:g} to {lam[-1]:g}, and the model statistics "
                             f"only cover {self.lam[0]:g} to {self.lam[-1]:g}; collect them on a wider grid, or shorten this one")

    def place(self, lam: Array) -> tuple[NDArray[np.int64], Array]:
        """Interval of each ``lam`` and distance into it, shaped to multiply statistics."""
        k = np.clip(np.searchsorted(self.lam, lam, side="right") - 1, 0, len(self.lam) - 2)
        return k, (lam - self.lam[k]).reshape(-1, *[1] * (self.l.ndim - 1))

    def integrated(self, lam: Array) -> tuple[Array, Array]:
        """L and S at each ``lam``."""
        k, d = self.place(lam)
        L, S = (total[k] + d * (w[k] + d * (w[k + 1] - w[k]) / (2 * self.width[k])) for w, total in zip((self.l, self.s), self.whole))
        return L, S

    def weights(self, s: Level, t: Level, nodes: list[Level], basis: Callable[[Array], Array]) -> Weights:
        """The step s -> t with f at ``nodes``; first order on the clean prediction where t is free of noise."""
        if t.sigma == 0:
            zero = [np.zeros(1)] * len(nodes)
            newest = [np.full(1, float(k is s)) for k in nodes]
            return Weights(np.zeros(1), zero, [t.alpha * w for w in newest])
        lam = np.array([s.lam, t.lam, *(k.lam for k in nodes)])
        L, S = self.integrated(lam)
        k, d = self.place(lam[2:])
        linear = self.l[k] + d * (self.l[k + 1] - self.l[k]) / self.width[k]
        half = 0.5 * (t.lam - s.lam)
        q = s.lam + half * (POINTS + 1)
        Lq, Sq = self.integrated(q)
        kernel = np.exp(Lq - L[0] + Sq - S[0])
        inside = np.tensordot(half * basis(q) * WEIGHTS, kernel, 1)
        decay = np.exp(L[0] - L[1])
        of_f = -t.alpha * decay * np.exp(S[0] - S[2:]) * inside
        return Weights(t.alpha / s.alpha * decay, [w * (1 - a) / k.alpha for w, a, k in zip(of_f, linear, nodes)], [-w for w in of_f])


def taylor(nodes: Sequence[float], q: Array) -> Array:
    """What ``quadrature.lagrange`` is, but for the Taylor series at the first node whose derivatives are divided differences."""
    rows = np.zeros((len(nodes), len(q)))
    for order in range(len(nodes)):
        for i in range(order + 1):
            rows[i] += (q - nodes[0]) ** order / np.prod([nodes[i] - nodes[j] for j in range(order + 1) if j != i])
    return rows


def _placed(weights: Weights, base: int, ages: list[int]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Weights of states and of predictions, newest first."""
    row = [np.zeros(1)] * (max(base, *ages) + 1)
    row[base] = row[base] + weights.base
    for age, weight in zip(ages, weights.states):
        row[age] = row[age] + weight
    while len(row) > 1 and not np.any(row[-1]):
        row.pop()
    return tuple(_number(w) for w in row), tuple(_number(w) for w in weights.predictions)


def _number(weight: Array) -> Any:
    """A float where one number serves for all, else a tensor that broadcasts against a state."""
    return float(weight.reshape(())) if weight.size == 1 else torch.from_numpy(np.ascontiguousarray(weight))
