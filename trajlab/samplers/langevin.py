"""Annealed Langevin dynamics, the sampler of NCSN (Song & Ermon 2019): Langevin steps at every noise level in turn.

    x <- x + h_i score + sqrt(2 h_i) z,    h_i = h_L sigma_i^2/sigma_L^2,    M times at level i
"""

from __future__ import annotations

from dataclasses import dataclass

from trajlab.samplers.grids import Grid
from trajlab.samplers.sde import langevin
from trajlab.samplers.solver import Solver, finished, transfer
from trajlab.samplers.tables import Stage, Table


@dataclass(frozen=True)
class AnnealedLangevin(Solver):
    """(n + 1) M calls for a grid of n steps: every node gets M steps, the first one too.

    Between levels a state keeps x/alpha, which for NCSN (alpha = 1) means that it is left alone. At a level of scale sigma the explicit step
    overstates the variance by the factor 1/(1 - h/(2 sigma^2)).

    Attributes:
        share: h_i/sigma_i^2, the same at all levels. NCSN's published step is 0.1 (its own "step size" is twice h).
        inner: M, steps at a level.

    Raises:
        ValueError: a share outside 0 to 2 (unstable beyond), or fewer than one inner step.
    """

    share: float = 0.1
    inner: int = 20

    def __post_init__(self) -> None:
        if not 0 < self.share < 2:
            raise ValueError(f"share = {self.share:g} came; a step of h = share sigma^2 is stable for 0 < share < 2")
        if self.inner < 1:
            raise ValueError(f"inner = {self.inner} came; at least one step a level was wanted")

    def plan(self, grid: Grid) -> Table:
        if grid.levels[0].alpha == 0:
            raise ValueError("annealed Langevin dynamics keeps x/alpha and cannot start at alpha = 0; start the grid at a finite log-SNR")
        first = grid.levels[0]
        stages = [Stage(k.to, k.level, k.states, k.predictions, k.kind, k.noise, node=False) for k in langevin(first, self.share, self.inner)]
        for s, t in zip(grid.levels, grid.levels[1:]):
            if t.sigma == 0:
                stages.append(Stage(t, s, *((w,) for w in transfer(s, t, "x0")), "x0"))
                continue
            if t.alpha != s.alpha:
                stages.append(Stage(t, None, (t.alpha / s.alpha,), (), node=False))
            stages += langevin(t, self.share, self.inner)
        return finished(grid, stages)
