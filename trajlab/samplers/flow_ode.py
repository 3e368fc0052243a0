"""The probability-flow ODE of a Gaussian path, by Runge-Kutta: fixed steps on a grid, or steps chosen for each row.

Both go along the angle th = atan(alpha/sigma) with the state z = x / sqrt(alpha^2 + sigma^2) (the angle of Salimans & Ho 2022, here for every
alpha and sigma):

    z = sin(th) x0 + cos(th) eps,      dz/dth = cos(th) x0 - sin(th) eps = x0 / cos(th) - tan(th) z

because that is the coordinate without a boundary: slope and state are bounded at both ends, the range is pi/2 whatever the path, and
paths that differ by a rescaling (VE and VP) take the same steps. With exact denoisers of mixtures, 80 calls of the classical method on a
grid uniform in lam err 10 to 40 times less than on x/alpha or x/sigma in lam, and Dormand-Prince needs half the calls of x/sigma.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.paths.bridge import spread
from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.paths.prediction import Prediction
from trajlab.samplers.dopri5 import Control, Front, Norm, advance, opened, tolerated
from trajlab.samplers.grids import Grid
from trajlab.samplers.ode import TABLEAUS, Tableau
from trajlab.samplers.solver import Solver, finished, transfer
from trajlab.samplers.tables import Run, Stage, Table


@dataclass(frozen=True)
class RungeKutta(Solver):
    """A Runge-Kutta method on the nodes of a grid. A step to sigma = 0 is of first order (x = x0).

    Attributes:
        method: ``euler``, ``midpoint``, ``heun`` or ``rk4``; 1, 2, 2 and 4 calls a step, order the same.

    Raises:
        ValueError: an unknown method.
    """

    method: str = "rk4"

    def __post_init__(self) -> None:
        if self.method not in TABLEAUS:
            raise ValueError(unknown("method", self.method, TABLEAUS))

    def plan(self, grid: Grid) -> Table:
        stages: list[Stage] = []
        for s, t in zip(grid.levels, grid.levels[1:]):
            if t.sigma == 0:
                weight, first = transfer(s, t, "x0")
                stages.append(Stage(t, s, (weight,), (first,), "x0"))
            else:
                stages += runge_kutta(grid.path, TABLEAUS[self.method], s, t)
        return finished(grid, stages)


def rk4() -> RungeKutta:
    """The classical fourth-order method, 4 calls a step."""
    return RungeKutta("rk4")


def angle(level: Level) -> float:
    """th - pi/2 = -atan(sigma/alpha): 0 at the clean end, where it keeps all its digits."""
    return -math.atan2(level.sigma, level.alpha)


def runge_kutta(path: GaussianPath, rule: Tableau, s: Level, t: Level) -> list[Stage]:
    """The stages of one step: weights of the states and of the x0 that make z_new = z + h sum_j a_j (x0_j / cos_j - tan_j z_j)."""
    here, h = angle(s), angle(t) - angle(s)
    levels = [s if c == 0 else t if c == 1 else path.level(-math.log(math.tan(-(here + c * h)))) for c in rule.c]
    stages = []
    for i, weights in enumerate((*rule.a, rule.b)):
        to = t if i == len(rule.c) - 1 else levels[i + 1]
        scale = math.hypot(to.alpha, to.sigma)
        radii = [math.hypot(k.alpha, k.sigma) for k in levels[: i + 1]]
        on_x0 = [scale * h * a * r / k.sigma for a, r, k in zip(weights, radii, levels)]
        on_x = [-scale * h * a * k.alpha / k.sigma / r for a, r, k in zip(weights, radii, levels)]
        on_x[0] += scale / radii[0]
        # Newest first; every inner point is a state that the stage before has added.
        stages.append(Stage(to, levels[i], tuple(on_x[::-1]), tuple(on_x0[::-1]), "x0", node=i == len(rule.c) - 1))
    return stages


@dataclass(frozen=True)
class Dopri5(Solver):
    """Dormand-Prince with a step for each row. It lands on every node of the grid (hooks and watchers act there), so a grid of one step
    leaves everything to the tolerance. A step to sigma = 0 is of first order (x = x0).

    Rows that have arrived are called along until the last one has, because masks and conditions belong to the whole batch.

    Attributes:
        control: tolerances, in units of sqrt(alpha^2 + sigma^2), and bounds.

    Raises:
        RuntimeError: in `run`, where a row cannot go on (see `trajlab.samplers.dopri5.dopri5`).
    """

    control: Control = field(default_factory=Control)

    def run(self, grid: Grid, run: Run, x: Tensor) -> Tensor:
        x = run.begin(x, grid.levels[0])
        ride = _Ride(grid.path, run, self.control, tolerated(self.control, _count(run.mask, x)))
        for s, t in zip(grid.levels, grid.levels[1:]):
            x, found = ride.to_clean(x, s) if t.sigma == 0 else ride.between(x, s, t)
            x = run.arrived(x, found, t)
        if grid.end == "denoise" and grid.levels[-1].sigma > 0:
            x, found = ride.to_clean(x, grid.levels[-1])
            x = run.arrived(x, found, grid.path.level(math.inf))
        return x


def _count(mask: Tensor | None, x: Tensor) -> Tensor | None:
    """How many numbers of each row are there."""
    return None if mask is None else mask.expand_as(x).reshape(len(x), -1).double().sum(1).clamp(min=1)


@dataclass
class _Ride:
    """One run of `Dopri5`: what is kept from node to node."""

    path: GaussianPath
    run: Run
    control: Control
    norm: Norm
    front: Front | None = None  # of z at the node reached last; where there are hooks, they may have moved the state since
    found: Prediction | None = None

    def evaluate(self, z: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        rho = torch.tan(-place)
        lam = -torch.log(rho)
        scale = spread(torch.hypot(*self.path.scales(lam)), z)
        x, self.found = self.run.predict(z * scale, self.path.level(lam, like=z))
        z = x / scale
        return z, self.found.x0 / spread(torch.sin(-place), z) - z / spread(rho, z)

    def between(self, x: Tensor, s: Level, t: Level) -> tuple[Tensor, Prediction]:
        start, stop = (x.new_full((len(x),), angle(k), dtype=torch.float64) for k in (s, t))
        front, scale = self.front, math.hypot(s.alpha, s.sigma)
        if front is None:
            front = opened(self.evaluate, x / scale, start, stop, self.control, self.norm)
        elif self.run.hooks:
            z, slope = self.evaluate(x / scale, start)
            front = Front(z, slope, start, front.h, front.steps)
        self.front = advance(self.evaluate, front, stop, self.control, self.norm)
        return self.front.x * math.hypot(t.alpha, t.sigma), self.found  # type: ignore[return-value]

    def to_clean(self, x: Tensor, s: Level) -> tuple[Tensor, Prediction]:
        # The last call was at the end of every row, but a hook may have moved the state since.
        if self.front is None or self.run.hooks:
            _, self.found = self.run.predict(x, s)
        return self.found.x0, self.found  # type: ignore[union-attr,return-value]


def dopri5() -> Dopri5:
    """Dormand-Prince at its default tolerances, 1e-5."""
    return Dopri5()
