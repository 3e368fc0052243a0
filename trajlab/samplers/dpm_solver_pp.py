"""DPM-Solver++ (Lu et al. 2022b): the clean prediction D in steps of the log-SNR. Multistep 2M and 3M, single-step 2S and 3S, and the SDE.

    2M     x_t = (sigma_t/sigma_s) x + alpha_t (1 - e^-h) [D0 + (D0 - D1) / (2 r0)]
    3M     x_t = (sigma_t/sigma_s) x + alpha_t h [phi_1 D0 + phi_2 d1 + phi_3 d2],     phi_k at -h
           d1 = g0 + r0/(r0 + r1) (g0 - g1),  d2 = 2 (g0 - g1)/(r0 + r1),  g0 = (D0 - D1)/r0,  g1 = (D1 - D2)/r1
    SDE    x_t = (sigma_t/sigma_s) e^-h x + alpha_t (1 - e^-2h) [D0 + (D0 - D1) / (2 r0)] + sigma_t sqrt(1 - e^-2h) z

with h the step, r0 and r1 the lengths of the two steps before it over h, and D0, D1, D2 the newest prediction, the one before, .. The published
3M, and what most software ships, takes d2 without the 2. A second derivative needs it; without, the order is 2. With it, 3M is
exponential Adams-Bashforth of order 3 on D.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trajlab.paths.gaussian import Level
from trajlab.samplers.dpm_solver import DPMSolver, phi
from trajlab.samplers.grids import Grid
from trajlab.samplers.solver import Solver, enough, finished, transfer
from trajlab.samplers.tables import Stage, Table

#: Grids of fewer steps than this end at falling order by default, by order: what served best on mixtures of trajectories, 5 to 20 calls.
LOWER_FINAL = {1: 0, 2: 10, 3: 6}


@dataclass(frozen=True)
class DPMSolverPP(Solver):
    """Multistep DPM-Solver++: one call a step; orders warm up from 1, and the step to sigma = 0 has order 1.

    Attributes:
        order: 1 to 3.
        published: third order as published, without the factor 2 in the second difference: second order in truth, and more damped, which
            on 8 to 20 steps can be the smaller error.
        lower_final: on grids of fewer steps than this the order falls to 1 over the last steps; 0 never. By default 10 at second order and
            6 at third, where longer grids lose by it.

    Raises:
        ValueError: an order outside 1 to 3.
    """

    order: int = 2
    published: bool = False
    lower_final: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 3:
            raise ValueError(f"order {self.order} came; multistep DPM-Solver++ has orders 1, 2 and 3")

    def plan(self, grid: Grid) -> Table:
        enough(f"DPM-Solver++ {self.order}M", self.order, grid)
        levels, stages = grid.levels, []
        below = LOWER_FINAL[self.order] if self.lower_final is None else self.lower_final
        for k, order in enumerate(step_orders(grid, self.order, below)):
            weight, weights = multistep(levels[k - order + 1 : k + 2], self.published)
            stages.append(Stage(levels[k + 1], levels[k], (weight,), weights, "x0"))
        return finished(grid, stages)


@dataclass(frozen=True)
class DPMSolverPPSDE(Solver):
    """SDE-DPM-Solver++ (2M): the reverse SDE in steps of the log-SNR, one call and one draw a step.

    Attributes:
        order: 1, or 2 for the prediction extrapolated as in 2M.

    Raises:
        ValueError: another order.
    """

    order: int = 2

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise ValueError(f"order {self.order} came; SDE-DPM-Solver++ has orders 1 and 2")

    def plan(self, grid: Grid) -> Table:
        enough(f"SDE-DPM-Solver++ {self.order}M", self.order, grid)
        levels, stages = grid.levels, []
        for k, order in enumerate(step_orders(grid, self.order)):
            s, t = levels[k], levels[k + 1]
            h = t.lam - s.lam
            weight, fresh = t.sigma / s.sigma * math.exp(-h), -math.expm1(-2 * h)
            weights = extrapolated(levels[k - order + 1 : k + 2], t.alpha * fresh)
            stages.append(Stage(t, s, (weight,), weights, "x0", noise=t.sigma * math.sqrt(fresh)))
        return finished(grid, stages)


def step_orders(grid: Grid, order: int, lower_final: int = 0) -> list[int]:
    """The order of every step of a multistep method: 1 at first and to sigma = 0, and no look back at a node without data (lam = -inf).

    On grids of fewer than ``lower_final`` steps the order falls to 1 at the end.
    """
    found = []
    for k in range(grid.steps):
        usable = max(1, k + (grid.levels[0].alpha > 0))
        most = min(order, grid.steps - k) if grid.steps < lower_final else order
        found.append(1 if grid.levels[k + 1].sigma == 0 else min(most, usable))
    return found


def multistep(levels: Sequence[Level], published: bool = False) -> tuple[float, tuple[float, ...]]:
    """Weights of the state and of D0, D1, .. for the last interval of ``levels``, from as many predictions as there are intervals."""
    s, t = levels[-2:]
    carry, whole = transfer(s, t, "x0")
    if len(levels) < 4:
        return carry, extrapolated(levels, whole)
    h = t.lam - s.lam
    r0, r1 = (s.lam - levels[-3].lam) / h, (levels[-3].lam - levels[-4].lam) / h
    slope, bend = t.alpha * h * phi(2, -h), t.alpha * h * phi(3, -h)
    # Weights of g0 and g1, then of the predictions in them.
    both = slope * r0 / (r0 + r1) + bend * (1 if published else 2) / (r0 + r1)
    g0, g1 = (slope + both) / r0, -both / r1
    return carry, (whole + g0, g1 - g0, -g1)


def extrapolated(levels: Sequence[Level], whole: float) -> tuple[float, ...]:
    """Weights of D0 (and D1, where ``levels`` has two intervals) in ``whole`` [D0 + (D0 - D1)/(2 r0)]."""
    if len(levels) == 2:
        return (whole,)
    before, s, t = levels
    tilt = whole * (t.lam - s.lam) / (2 * (s.lam - before.lam))
    return whole + tilt, -tilt


def dpmpp_2s() -> DPMSolver:
    """Single-step DPM-Solver++ of order 2."""
    return DPMSolver(order=2, kind="x0")


def dpmpp_3s() -> DPMSolver:
    """Single-step DPM-Solver++ of order 3."""
    return DPMSolver(order=3, kind="x0")


def dpmpp_2m() -> DPMSolverPP:
    """Multistep DPM-Solver++ of order 2."""
    return DPMSolverPP(order=2)


def dpmpp_3m() -> DPMSolverPP:
    """Multistep DPM-Solver++ of order 3, with the second difference that third order needs."""
    return DPMSolverPP(order=3)


def dpmpp_3m_as_published() -> DPMSolverPP:
    """Multistep DPM-Solver++ "of order 3" as published: of order 2 in truth."""
    return DPMSolverPP(order=3, published=True)
