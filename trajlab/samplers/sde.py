"""Reverse SDE by Euler-Maruyama, and predictor-corrector sampling (Song et al. 2021), on any Gaussian path.

With generative time t rising from noise to data (the literature's time falls), f = d log alpha/dt and g^2 = 2 sigma^2 d lam/dt:

    dx = [f x + (1 + c)/2 g^2 score] dt + sqrt(c) g dW

has the path's marginals for every c >= 0: c = 1 is the reverse SDE, c = 0 the probability-flow ODE. For VP g^2 is beta, for VE -d sigma^2/dt,
for sub-VP beta (1 - e^(-2B)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from trajlab.paths.gaussian import Level
from trajlab.samplers.grids import Grid
from trajlab.samplers.solver import Solver, finished, transfer
from trajlab.samplers.tables import Run, Stage, Table, combine


@dataclass(frozen=True)
class ReverseSDE(Solver):
    """Euler-Maruyama in t: order 1/2 in paths, 1 in distribution; one call and one draw a step.

    Made for hundreds of steps, uniform in t. Where a step is long (d lam > 1) it amplifies noise; `Ancestral` solves the linear part exactly
    and does not.

    Attributes:
        diffusion: c above, 1 by default.

    Raises:
        ValueError: negative diffusion; a grid that starts at alpha = 0, where f is infinite.
    """

    diffusion: float = 1.0

    def __post_init__(self) -> None:
        if not (self.diffusion >= 0 and math.isfinite(self.diffusion)):
            raise ValueError(f"diffusion = {self.diffusion:g} came; 0 (ODE), 1 (reverse SDE), or another number that is not negative was wanted")

    def plan(self, grid: Grid) -> Table:
        return finished(grid, [step(s, t, self.diffusion) for s, t in zip(grid.levels, grid.levels[1:])])


def step(s: Level, t: Level, diffusion: float, node: bool = True) -> Stage:
    """One Euler-Maruyama step s -> t; the clean prediction where t is free of noise."""
    if t.sigma == 0:
        state, clean = transfer(s, t, "x0")
        return Stage(t, s, (state,), (clean,), "x0", node=node)
    if s.alpha == 0:
        raise ValueError("the drift of the reverse SDE is infinite at alpha = 0; start the grid at a finite log-SNR")
    dt, f = t.t - s.t, s.dalpha / s.alpha
    g2 = squared_diffusion(s)
    if not math.isfinite(g2 * dt):
        raise ValueError(f"g^2 = {g2:g} over a step of {dt:g} in t at lam = {s.lam:g}; start the grid at a less noisy level")
    score = 0.5 * (1 + diffusion) * g2 * dt
    return Stage(t, s, (1 + f * dt,), (-score / s.sigma,), "eps", noise=math.sqrt(diffusion * g2 * dt), node=node)


def squared_diffusion(level: Level) -> float:
    """g^2 = 2 sigma^2 d lam/dt of the SDE whose marginals are the path's."""
    return 2 * level.sigma * (level.sigma * level.dalpha / level.alpha - level.dsigma)


@dataclass(frozen=True)
class PredictorCorrector(Solver):
    """A step of the reverse SDE, then ``inner`` steps of Langevin dynamics at the new level:

        x <- x + h score + sqrt(2 h) z

    Song et al. take h = (r |z|/|score|)^2, with norms over the whole batch. Here it is either fixed at what that is on average,
    h = (r sigma)^2, or found for each sample from its own norms, so that a row does not depend on its batch; and then at most sigma^2, because
    longer explicit steps are unstable.

    Attributes:
        ratio: r, Song's signal-to-noise ratio.
        inner: Langevin steps at a level, each with a call.
        adaptive: h from the norms of every sample, else fixed (a table).
        diffusion: of the predictor, as in `ReverseSDE`.

    Raises:
        ValueError: r outside 0 to 1, fewer than one inner step, negative diffusion.
    """

    ratio: float = 0.16
    inner: int = 1
    adaptive: bool = False
    diffusion: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise ValueError(f"ratio = {self.ratio:g} came; the signal-to-noise ratio of the corrector lies between 0 and 1, usually near 0.16")
        if self.inner < 1:
            raise ValueError(f"inner = {self.inner} came; at least one Langevin step was wanted (without any, use ReverseSDE)")
        ReverseSDE(self.diffusion)

    def plan(self, grid: Grid) -> Table:
        if self.adaptive:
            return super().plan(grid)
        stages = []
        for s, t in zip(grid.levels, grid.levels[1:]):
            stages.append(step(s, t, self.diffusion, node=t.sigma == 0))
            stages += langevin(t, self.ratio**2, self.inner) if t.sigma > 0 else []
        return finished(grid, stages)

    def run(self, grid: Grid, run: Run, x: Tensor) -> Tensor:
        if not self.adaptive:
            return super().run(grid, run, x)
        x = run.begin(x, grid.levels[0])
        last = finished(grid, []).stages
        stages = [step(s, t, self.diffusion) for s, t in zip(grid.levels, grid.levels[1:])]
        for stage in [*stages, *last]:
            x, found = run.predict(x, stage.level)
            x = combine(stage, [x], [found])
            if stage.noise:
                x = x + stage.noise * run.draw(x)
            for _ in range(self.inner if stage.to.sigma > 0 else 0):
                x, found = run.predict(x, stage.to)
                z = run.draw(x)
                h = song_step(z, found.score, self.ratio, stage.to.sigma)
                x = x + h * found.score + (2 * h).sqrt() * z
            x = run.arrived(x, found, stage.to)
        return x


def langevin(level: Level, share: float, inner: int) -> list[Stage]:
    """``inner`` steps x <- x + h score + sqrt(2 h) z at one level, h = share sigma^2; the last one is a node."""
    h = share * level.sigma**2
    return [Stage(level, level, (1.0,), (-share * level.sigma,), "eps", noise=math.sqrt(2 * h), node=k == inner - 1) for k in range(inner)]


def song_step(z: Tensor, score: Tensor, ratio: float, sigma: float) -> Tensor:
    """(ratio |z|/|score|)^2 for every sample, at most sigma^2: ``[batch 1 ...]``."""
    axes = tuple(range(1, z.ndim))
    norms = [w.square().sum(axes, keepdim=True) for w in (z, score)]
    # Compared before dividing: a score of zero gives the largest step.
    wanted, most = ratio**2 * norms[0], sigma**2 * norms[1]
    return torch.where(wanted < most, wanted / norms[1].clamp(min=torch.finfo(z.dtype).tiny), torch.full_like(most, sigma**2))


def predictor_corrector() -> PredictorCorrector:
    """Predictor-corrector with the step found for each sample."""
    return PredictorCorrector(adaptive=True)
