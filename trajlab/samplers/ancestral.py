"""DDIM(eta) (Song, Meng & Ermon 2021) and ancestral sampling, which is DDPM's chain (Ho et al. 2020) on any grid and any Gaussian path.

    x_t = alpha_t D + sqrt(sigma_t^2 - s^2) e + s z,    s = eta sigma_t sqrt(1 - (rho_t/rho_s)^2),    rho = sigma/alpha

With eta = 1, s^2 is the variance of x_t given x_s and the data; for alpha^2 + sigma^2 = 1 it is DDPM's
(sigma_t^2/sigma_s^2)(1 - alpha_s^2/alpha_t^2). eta = 0 is DDIM.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trajlab.paths.gaussian import Level
from trajlab.samplers.grids import Grid
from trajlab.samplers.solver import Solver, finished
from trajlab.samplers.tables import Stage, Table


@dataclass(frozen=True)
class Ancestral(Solver):
    """One call and one draw a step.

    Attributes:
        eta: share of the posterior's standard deviation that is drawn afresh, 0 (DDIM) to 1 (DDPM).

    Raises:
        ValueError: eta outside 0 to 1.
    """

    eta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta = {self.eta:g} came; 0 (DDIM) to 1 (ancestral) was wanted")

    def plan(self, grid: Grid) -> Table:
        stages = []
        for s, t in zip(grid.levels, grid.levels[1:]):
            state, clean, width = posterior(s, t, self.eta)
            stages.append(Stage(t, s, (state,), (clean,), "x0", noise=width))
        return finished(grid, stages)


def posterior(s: Level, t: Level, eta: float = 1.0) -> tuple[float, float, float]:
    """Weights of the state and of the clean sample in the mean of x_t given x_s, and its standard deviation; s is the noisier level.

    For eta = 1 this is q(x_t | x_s, x0) of the path's Markov chain; any eta leaves the marginals as they are. Works from alpha_s = 0 and to
    sigma_t = 0.
    """
    shrink = (t.sigma * s.alpha / (t.alpha * s.sigma)) ** 2  # (rho_t / rho_s)^2
    width = eta * t.sigma * math.sqrt(1 - shrink)
    state = math.sqrt(t.sigma**2 - width**2) / s.sigma
    return state, t.alpha - state * s.alpha, width
