"""EDM's sampler (Karras et al. 2022): Heun's method in sigma/alpha, with fresh noise added before a step ("churn").

With y = x/alpha, rho = sigma/alpha, and e the noise prediction, which is dy/drho:

    rho^ = (1 + g) rho,   y^ = y + S sqrt(rho^^2 - rho^2) z,   y' = y^ + (rho_t - rho^) e(y^, rho^),
    y_t = y^ + (rho_t - rho^) [e(y^, rho^) + e(y', rho_t)]/2,   g = min(churn/N, sqrt(2) - 1) where from <= rho <= to, else 0

On a path with alpha = 1 this is the sampler as published; on any other it is the same sampler seen through x = alpha y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.samplers.grids import Grid
from trajlab.samplers.rho_rk import HEUN, runge_kutta
from trajlab.samplers.solver import Solver, finite
from trajlab.samplers.tables import Stage, Table


@dataclass(frozen=True)
class EDMHeun(Solver):
    """Heun steps with churn; two calls a step, one on the step to zero noise. Without churn it is deterministic.

    The published default grid is ``karras(path, 17)``: 18 nodes, then zero.

    Attributes:
        churn: S_churn, 0 for none. N counts the steps of the grid and the last one to zero noise.
        lowest, highest: S_min and S_max, the sigma/alpha between which noise is added.
        inflation: S_noise, the standard deviation of what is added; slightly above 1 makes up for nets that remove too much noise.

    Raises:
        ValueError: negative churn or inflation, or lowest above highest.
    """

    churn: float = 0.0
    lowest: float = 0.0
    highest: float = math.inf
    inflation: float = 1.0

    def __post_init__(self) -> None:
        if self.churn < 0 or self.inflation < 0:
            raise ValueError(f"churn = {self.churn:g} and inflation = {self.inflation:g} came; neither can be negative")
        if not 0 <= self.lowest <= self.highest:
            raise ValueError(f"noise would be added between sigma/alpha = {self.lowest:g} and {self.highest:g}; 0 <= lowest <= highest was wanted")

    def plan(self, grid: Grid) -> Table:
        finite("EDM's sampler", grid, "eps")
        ends = grid.levels[1:]
        if grid.end == "denoise" and ends[-1].sigma > 0:
            ends = [*ends, grid.path.level(math.inf)]
        stages: list[Stage] = []
        for s, t in zip(grid.levels, ends):
            raised = self.raised(grid.path, s, len(ends))
            if raised.lam < s.lam:
                added = raised.alpha * math.sqrt(raised.rho**2 - s.rho**2) * self.inflation
                stages.append(Stage(raised, None, (raised.alpha / s.alpha,), (), noise=added, node=False))
            stages += runge_kutta(grid.path, raised, t, HEUN)
        return Table(grid.levels[0], tuple(stages))

    def raised(self, path: GaussianPath, level: Level, steps: int) -> Level:
        """Where churn lifts a level to; never above the noisiest end of the path, which the net has not seen."""
        gain = min(self.churn / steps, math.sqrt(2) - 1) if self.lowest <= level.rho <= self.highest else 0.0
        lam = max(level.lam - math.log1p(gain), min(path.ends[0], level.lam))
        return path.level(lam) if lam < level.lam else level


def edm_churn() -> EDMHeun:
    """With as much churn as EDM used on its hardest data (40, between 0.05 and 50), and noise of unit variance."""
    return EDMHeun(churn=40.0, lowest=0.05, highest=50.0)
