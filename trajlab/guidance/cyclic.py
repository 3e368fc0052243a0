"""Cyclic one-way diffusion (Wang et al. 2024): let an observed segment, held by replacement, work on the rest again and again.

Within a window of noise levels the run is thrown back and repeated,

    x_b = (alpha_b / alpha_r) x_r + sqrt(sigma_b^2 - (alpha_b / alpha_r)^2 sigma_r^2) z        (r near the data, b noisier)

so that the rest forgets what it made of a segment that was still noise, and takes note of it as it is now.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trajlab.guidance.masks import check_eta, check_window
from trajlab.paths.gaussian import Level
from trajlab.samplers.ancestral import posterior
from trajlab.samplers.grids import Grid
from trajlab.samplers.solver import Solver, finished
from trajlab.samplers.tables import Stage, Table


def window(gap: float, width: float = 2.0) -> tuple[float, float]:
    """The window of log-SNR for data whose free part varies by ``gap``: from sigma/alpha = gap on, ``width`` long.

    Noisier, the segment says nothing; cleaner, the rest no longer moves. The paper's fractions of the steps (.4 to .7) hold for images,
    which survive more noise by their redundancy.

    Raises:
        ValueError: ``gap`` or ``width`` is not positive.
    """
    if not (gap > 0 and width > 0):
        raise ValueError(f"gap = {gap:g} and width = {width:g}; both must be positive")
    return -math.log(gap), -math.log(gap) + width


@dataclass(frozen=True)
class Cyclic(Solver):
    """First-order steps with fresh noise, and cycles within a window; to be used with a `Replacement` hook, which holds the segment.

    Attributes:
        window: log-SNR (b, r), b < r. The grid's nodes nearest to them are taken.
        cycles: how often the run is thrown back from r to b.
        eta: fresh noise outside the window: 1 ancestral, 0 none. The paper ends with .1.
        eta_window: fresh noise within it.

    Raises:
        ValueError: the window is no interval, cycles are negative, an eta is outside [0, 1]; and, in `plan`, fewer than two nodes of the grid are
            in the window, or it begins before the first.
    """

    window: tuple[float, float] = (1.0, 3.0)
    cycles: int = 10
    eta: float = 1.0
    eta_window: float = 1.0

    def __post_init__(self) -> None:
        check_window(self.window)
        check_eta(self.eta)
        check_eta(self.eta_window)
        if self.cycles < 0:
            raise ValueError(f"cycles = {self.cycles}; 0 or more was wanted")

    def plan(self, grid: Grid) -> Table:
        first, last = self._nodes(grid)
        levels, stages = grid.levels, []
        for k in range(grid.steps):
            stages.append(self._step(levels, k, first <= k < last))
            if k + 1 == last:
                for _ in range(self.cycles):
                    stages.append(disturbed(levels[last], levels[first]))
                    stages += [self._step(levels, j, True) for j in range(first, last)]
        return finished(grid, stages)

    def _step(self, levels: list[Level], k: int, within: bool) -> Stage:
        kept, clean, fresh = posterior(levels[k], levels[k + 1], self.eta_window if within else self.eta)
        return Stage(levels[k + 1], levels[k], (kept,), (clean,), "x0", fresh)

    def _nodes(self, grid: Grid) -> tuple[int, int]:
        lam = grid.lam
        first, last = (int((lam - edge).abs().argmin()) for edge in self.window)
        if not first < last or not float(lam[0]) <= self.window[0] or grid.levels[last].sigma == 0:
            raise ValueError(f"the window runs from lam = {self.window[0]:g} to {self.window[1]:g} and the grid from {float(lam[0]):g} to "
                             f"{float(lam[-1]):g} in {grid.steps} steps; two nodes of the grid, noisy ones, must lie in the window")
        return first, last


def disturbed(r: Level, b: Level) -> Stage:
    """Back from r to the noisier b, without a call."""
    kept = b.alpha / r.alpha
    return Stage(b, None, (kept,), (), "x0", math.sqrt(b.sigma**2 - (kept * r.sigma) ** 2))
