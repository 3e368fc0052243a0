"""The Time-Shift sampler (Li et al. 2024, "Alleviating exposure bias in diffusion models through sampling with shifted time steps").

Errors of a net make the state at a node noisier or cleaner than the node says. Before a step, each sample's variance is measured, and
the net is called, and the step started, at the level within a window around the node at which exact samples would have that variance:

    argmin over lam of (Var(x) - sigma(lam)^2 - v alpha(lam)^2)^2,        v the variance of the data.

The published target leaves v alpha^2 out (``variance=0`` here), which is biased towards the data: on exact samples it moves to the
window's edge.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.paths.prediction import Prediction
from trajlab.samplers.grids import Grid
from trajlab.samplers.noise_views import View, everything
from trajlab.samplers.solver import Solver
from trajlab.samplers.tables import Run


@dataclass(frozen=True)
class TimeShift(Solver):
    """DDIM (or ancestral sampling, ``eta`` > 0) whose steps start at shifted levels, sample by sample. The first step is not shifted.

    A sample is shifted only where the variance tells levels apart: where the target changes over the window by more than the sampling
    error sqrt(2/d) Var of a variance of d numbers. It never does on a variance-preserving path with v = 1, for there all levels have
    variance 1; then use a ``view`` that holds (nearly) noise only (`noise_views`), and its v.

    Attributes:
        variance: v, per number, of the data (of the view of the data) about zero or about ``mean``. Standardised data have 1.
        window: full width of the window; it ends at the neighbouring nodes in any case.
        unit: of the window: ``lam`` (log-SNR), or ``index`` of a table of ``entries`` noise levels (30 of 1000 is a published choice).
        entries: length of that table.
        until: shift only at nodes with lam below this: the late steps are left alone. None: everywhere. In the index n of a table,
            n > n_c is lam < path.lam_of(1 - n_c / (entries - 1)).
        mean: ``[*event]``, mean of the data where that is not zero (drifting trajectories); x is taken about alpha times it.
        view: what of x is measured; all observed numbers by default.
        uninformative: ``warn``: leave such samples where they are and warn once a run; ``raise``; or ``shift`` them all the same.
        eta: 0 deterministic, 1 ancestral.
        candidates: levels tried within a window in ``lam``; a window in ``index`` tries the integers.

    Raises:
        ValueError: a window that is not positive, a negative variance, eta outside [0, 1], fewer than three candidates or entries, or an
            unknown word.
    """

    variance: float = 1.0
    window: float = 0.5
    unit: str = "lam"
    entries: int = 1000
    until: float | None = None
    mean: Tensor | None = None
    view: View = everything
    uninformative: str = "warn"
    eta: float = 0.0
    candidates: int = 41

    def __post_init__(self) -> None:
        if self.unit not in ("lam", "index"):
            raise ValueError(unknown("unit of a window", self.unit, ("lam", "index")))
        if self.uninformative not in ("warn", "raise", "shift"):
            raise ValueError(unknown("way with levels that the variance cannot tell apart", self.uninformative, ("warn", "raise", "shift")))
        if not self.window > 0 or not self.variance >= 0 or not 0 <= self.eta <= 1:
            raise ValueError(f"window={self.window:g}, variance={self.variance:g}, eta={self.eta:g} came; "
                             "window > 0, variance >= 0, 0 <= eta <= 1 were wanted")
        if self.candidates < 3 or self.entries < 3:
            raise ValueError(f"candidates={self.candidates}, entries={self.entries} came; at least three of each were wanted")

    def run(self, grid: Grid, run: Run, x: Tensor) -> Tensor:
        blind: list[int] = []
        levels = grid.levels
        x = run.begin(x, levels[0])
        for k, here in enumerate(levels):
            last = k == grid.steps
            if last and (grid.end == "stop" or here.sigma == 0):
                break
            start = here if k == 0 or not self._wanted(here) else self._start(grid, run, x, k, blind)
            there = grid.path.level(float("inf")) if last else levels[k + 1]
            x, found = run.predict(x, start)
            x = found.x0 if there.sigma == 0 else self._step(run, x, found, start, there)
            x = run.arrived(x, found, there)
        if blind:
            warnings.warn(f"the variance does not tell noise levels apart at nodes {blind} of {grid.steps}: over the window it changes by less than "
                          "its sampling error, so samples were left unshifted there. Widen the window, or measure a view that holds noise only",
                          stacklevel=2)
        return x

    def shifted(self, path: GaussianPath, x: Float[Tensor, "batch *event"], level: Level, between: tuple[float, float] | None = None,
                mask: Tensor | None = None) -> tuple[Float[Tensor, " batch"], Tensor]:
        """The log-SNR at which each row has the variance of exact samples, and whether the variance could tell ``[batch]``.

        Args:
            path: whose levels they are.
            x: states at the level.
            level: the nominal one.
            between: log-SNRs within which the window must stay.
            mask: shaped to multiply x.
        """
        lam, target = self._targets(path, level, between)
        found, count = self._measure(x, level, mask)
        best = (found[:, None] - target).square().argmin(1)
        known = float(target.max() - target.min()) > (2 / count.clamp(min=1)).sqrt() * self._target(level)
        return lam[best], known.cpu() & (count.cpu() > 1)

    def _start(self, grid: Grid, run: Run, x: Tensor, k: int, blind: list[int]) -> Level:
        here, following = grid.levels[k], float("inf") if k == grid.steps else grid.levels[k + 1].lam
        lam, known = self.shifted(grid.path, x, here, (grid.levels[k - 1].lam, following), run.mask)
        if not bool(known.all()) and self.uninformative != "shift":
            if self.uninformative == "raise":
                raise ValueError(f"at node {k} (lam = {here.lam:.3g}) the variance over the window changes by less than its sampling error, in "
                                 f"row {int((~known).nonzero()[0])}: it says nothing about the level. Widen the window, or measure a view that "
                                 "holds noise only")
            blind.append(k)
            lam = torch.where(known, lam, here.lam)
        return grid.path.level(lam, like=x)

    def _step(self, run: Run, x: Tensor, found: Prediction, s: Level, t: Level) -> Tensor:
        if self.eta == 0:
            ratio = t.sigma / s.sigma
            return x * ratio + found.x0 * (t.alpha - ratio * s.alpha)
        fresh = self.eta * t.sigma * (1 - (t.sigma * s.alpha / (t.alpha * s.sigma)) ** 2) ** 0.5
        kept = (t.sigma**2 - fresh**2) ** 0.5
        return found.x0 * t.alpha + found.eps * kept + run.draw(x) * fresh

    def _wanted(self, level: Level) -> bool:
        return self.until is None or level.lam < self.until

    def _target(self, level: Level) -> float:
        return level.sigma**2 + self.variance * level.alpha**2

    def _targets(self, path: GaussianPath, level: Level, between: tuple[float, float] | None) -> tuple[Tensor, Tensor]:
        """Candidates and the variance of exact samples there."""
        if self.unit == "lam":
            lam = level.lam + self.window * torch.linspace(-0.5, 0.5, self.candidates, dtype=torch.float64)
        else:
            half = int(self.window // 2)
            lam = path.lam_of((level.t - torch.arange(-half, half + 1, dtype=torch.float64) / (self.entries - 1)).clamp(0, 1))
        low, high = between or (-float("inf"), float("inf"))
        lam = torch.cat([lam[torch.isfinite(lam) & (lam > low) & (lam < high)], torch.tensor([level.lam], dtype=torch.float64)])
        alpha, sigma = path.scales(lam)
        return lam, sigma**2 + self.variance * alpha**2

    def _measure(self, x: Tensor, level: Level, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Variance of each row and how many numbers it is of, float64 on the CPU."""
        off = x if self.mean is None else x - level.alpha * self.mean.to(x)
        if mask is not None:
            off = off * mask
        seen, count = self.view(off, mask)
        square = seen.double().flatten(1).square().sum(1)
        return (square / count.to(square).clamp(min=1)).cpu(), count.double().cpu()
