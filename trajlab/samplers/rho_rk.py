"""rhoRK (Zhang & Chen 2023): explicit Runge-Kutta on the probability-flow ODE in rho = sigma/alpha.

    d(x/alpha) = e d rho

has no stiff linear part left, so a textbook tableau serves. On the edge between noise and data: the last step to sigma = 0 is first order,
because the noise cannot be read there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.samplers.grids import Grid
from trajlab.samplers.solver import Solver, finished, finite, transfer
from trajlab.samplers.tables import Stage, Table


@dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method.

    Attributes:
        inner: for every inner point, its weights on the slopes before it; its place c is their sum.
        outer: weights of the slopes in the step.

    Raises:
        ValueError: a row of the wrong length, or weights of the step that do not sum to one.
    """

    inner: tuple[tuple[float, ...], ...]
    outer: tuple[float, ...]

    def __post_init__(self) -> None:
        if [len(row) for row in self.inner] != list(range(1, len(self.outer))):
            raise ValueError(f"an explicit tableau of {len(self.outer)} slopes has inner rows of 1, 2, ... weights; {self.inner} came")
        if not math.isclose(sum(self.outer), 1.0, abs_tol=1e-12):
            raise ValueError(f"the weights of a step sum to one; {self.outer} came")


HEUN = Tableau(((1.0,),), (1 / 2, 1 / 2))
KUTTA3 = Tableau(((1 / 2,), (-1.0, 2.0)), (1 / 6, 2 / 3, 1 / 6))
RK4 = Tableau(((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6))


@dataclass(frozen=True)
class RhoRK(Solver):
    """Runge-Kutta in sigma/alpha; as many calls a step as the tableau has slopes.

    From very noisy starts few steps explode: an inner slope near the data multiplies a long step. Begin such runs with more steps
    (`grids.karras`), or use a multistep solver.

    Attributes:
        tableau: `HEUN` (order 2), `KUTTA3` (order 3), `RK4` (order 4), or another.
    """

    tableau: Tableau = HEUN

    def plan(self, grid: Grid) -> Table:
        finite("rhoRK", grid, "eps")
        stages = [stage for s, t in zip(grid.levels, grid.levels[1:]) for stage in runge_kutta(grid.path, s, t, self.tableau)]
        return finished(grid, stages)


def runge_kutta(path: GaussianPath, s: Level, t: Level, tableau: Tableau) -> list[Stage]:
    """The stages of one step s -> t; first order (DDIM) where t is free of noise."""
    if t.sigma == 0:
        state, clean = transfer(s, t, "x0")
        return [Stage(t, s, (state,), (clean,), "x0")]
    step = t.rho - s.rho
    points = [s] + [t if math.isclose(sum(row), 1.0) else path.level(-math.log(s.rho + sum(row) * step)) for row in tableau.inner]
    targets = [*points[1:], t]
    stages = []
    for k, (weights, to) in enumerate(zip([*tableau.inner, tableau.outer], targets)):
        # Every stage starts over from the state at s, which lies k states back.
        states = (0.0,) * k + (to.alpha / s.alpha,)
        slopes = tuple(to.alpha * step * w for w in reversed(weights))
        stages.append(Stage(to, points[k], states, slopes, "eps", node=k == len(tableau.inner)))
    return stages


def rho_heun() -> RhoRK:
    """Heun's method in sigma/alpha: order 2, two calls a step."""
    return RhoRK(HEUN)


def rho_kutta3() -> RhoRK:
    """Kutta's third-order method in sigma/alpha: three calls a step."""
    return RhoRK(KUTTA3)


def rho_rk4() -> RhoRK:
    """The classical fourth-order method in sigma/alpha: four calls a step."""
    return RhoRK(RK4)
