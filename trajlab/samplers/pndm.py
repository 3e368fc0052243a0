"""PNDM (Liu et al. 2022): linear multistep weights on noise predictions in a nonlinear transfer, with a Runge-Kutta warm-up in it.

    x_t = T(x_s, e; s -> t),    T(x, e; s -> t) = (alpha_t/alpha_s) x + (sigma_t - alpha_t sigma_s/alpha_s) e
    F:  e = (55 e0 - 59 e1 + 37 e2 - 9 e3)/24        S:  e = (3 e0 - e1)/2

The first three steps of F are pseudo-Runge-Kutta 4, the first step of S pseudo-Heun. The weights are those of equal steps in sigma/alpha,
which no grid in use has: both methods are of order two. Without the warm-up this is `IPNDM`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trajlab.catalog import unknown
from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.samplers.grids import Grid
from trajlab.samplers.ipndm import ADAMS
from trajlab.samplers.solver import Solver, enough, finished, finite, transfer
from trajlab.samplers.tables import Stage, Table


@dataclass(frozen=True)
class PNDM(Solver):
    """Pseudo numerical methods for diffusion models; n steps cost n + 9 calls (F) or n + 1 (S).

    Attributes:
        variant: ``F`` looks back on four predictions, ``S`` on two.
        middle: the coordinate in which the warm-up of F halves a step: ``t`` as published, ``lam`` or ``rho``.

    Raises:
        ValueError: an unknown variant or coordinate.
    """

    variant: str = "F"
    middle: str = "t"

    def __post_init__(self) -> None:
        if self.variant not in ("F", "S"):
            raise ValueError(unknown("variant of PNDM", self.variant, ("F", "S")))
        if self.middle not in ("t", "lam", "rho"):
            raise ValueError(unknown("coordinate", self.middle, ("t", "lam", "rho")))

    def plan(self, grid: Grid) -> Table:
        back = 4 if self.variant == "F" else 2
        enough(f"{self.variant}-PNDM looks back on {back} predictions, which", back, grid)
        finite("PNDM", grid, "eps")
        stages: list[Stage] = []
        calls: list[int] = []  # which call was made at each node
        made = 0
        for k, (s, t) in enumerate(zip(grid.levels, grid.levels[1:])):
            calls.append(made)
            if k < back - 1:
                new = pseudo_rk4(s, self.halfway(grid.path, s, t), t) if self.variant == "F" else pseudo_heun(s, t)
            else:
                new = [_multistep(s, t, [made - c for c in calls[: -back - 1 : -1]], ADAMS[back])]
            stages += new
            made += len(new)
        return finished(grid, stages)

    def halfway(self, path: GaussianPath, s: Level, t: Level) -> Level:
        """The middle of a step, in the coordinate ``middle``."""
        if self.middle == "t":
            return path.level_at(0.5 * (s.t + t.t))
        return path.level(0.5 * (s.lam + t.lam) if self.middle == "lam" else -math.log(0.5 * (s.rho + t.rho)))


def pseudo_rk4(s: Level, m: Level, t: Level) -> list[Stage]:
    """e1 at s, e2 and e3 at m, e4 at t, each reached by the transfer from s; then the transfer with (e1 + 2 e2 + 2 e3 + e4)/6."""
    to_m, to_t = transfer(s, m, "eps"), transfer(s, t, "eps")
    return [
        Stage(m, s, (to_m[0],), (to_m[1],), "eps", node=False),
        Stage(m, m, (0.0, to_m[0]), (to_m[1],), "eps", node=False),
        Stage(t, m, (0.0, 0.0, to_t[0]), (to_t[1],), "eps", node=False),
        Stage(t, t, (0.0, 0.0, 0.0, to_t[0]), tuple(to_t[1] * w for w in (1 / 6, 1 / 3, 1 / 3, 1 / 6)), "eps"),
    ]


def pseudo_heun(s: Level, t: Level) -> list[Stage]:
    """e1 at s, e2 at T(x, e1; s -> t); then the transfer with (e1 + e2)/2."""
    state, noise = transfer(s, t, "eps")
    return [Stage(t, s, (state,), (noise,), "eps", node=False), Stage(t, t, (0.0, state), (noise / 2, noise / 2), "eps")]


def _multistep(s: Level, t: Level, ages: list[int], weights: tuple[float, ...]) -> Stage:
    """A step with the predictions that lie ``ages`` calls back, the newest 0; calls inside the warm-up count and weigh nothing."""
    state, noise = transfer(s, t, "eps")
    row = [0.0] * (ages[-1] + 1)
    for age, weight in zip(ages, weights):
        row[age] = noise * weight
    return Stage(t, s, (state,), tuple(row), "eps")


def pndm_f() -> PNDM:
    """F-PNDM: four predictions, pseudo-Runge-Kutta warm-up."""
    return PNDM("F")


def pndm_s() -> PNDM:
    """S-PNDM: two predictions, pseudo-Heun warm-up."""
    return PNDM("S")
