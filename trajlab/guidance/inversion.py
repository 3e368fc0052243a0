"""From data to noise: DDIM inversion (Song et al. 2021), approximate, and BDIA (Zhang et al. 2023), exact.

Invert an observed trajectory, change the condition, solve again: a counterfactual.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trajlab.paths.denoiser import Denoises
from trajlab.samplers.grids import Grid
from trajlab.samplers.hooks import Hook
from trajlab.samplers.sample import sample, shaped
from trajlab.samplers.solver import Solver, enough, finished, finite, transfer
from trajlab.samplers.tables import Run, Stage, Table


@dataclass(frozen=True, eq=False)
class Inversion:
    """A way back.

    Attributes:
        grid: its nodes, from noise to data.
        states: a state a node ``[batch ...]``, in the order of the grid: ``states[0]`` is the noise.
        nfe: calls of the denoiser.
    """

    grid: Grid
    states: tuple[Tensor, ...]
    nfe: int

    @property
    def noise(self) -> Tensor:
        """The state at the first node; start from it with the solver that was inverted."""
        return self.states[0]


def ddim_inversion(denoiser: Denoises, grid: Grid, x: Tensor, refine: int = 0, hooks: Sequence[Hook] = (), mask: Tensor | None = None) -> Inversion:
    """DDIM run backwards: the step k+1 -> k takes the noise predicted at k+1, where DDIM forwards takes that at k. Errors shrink with the step.

    Args:
        denoiser: with the condition that belongs to x.
        grid: nodes from noise to data; its end does not count.
        x: ``[batch ...]``, the state at the last node (clean data for a node of next to no noise).
        refine: fixed-point iterations a step, each one call, towards the state that DDIM takes exactly to the next one. They converge where
            the net's prediction changes little within a step.
        hooks, mask: as in `sample`; hooks act at calls only.

    Raises:
        ValueError: the last node has no noise, where no noise can be predicted, or the first no signal.
    """
    if grid.levels[-1].sigma == 0 or grid.levels[0].alpha == 0:
        raise ValueError("the noise is inverted to, and is not determined at sigma = 0 or alpha = 0; take a grid between finite log-SNR")
    run = _run(denoiser, hooks, mask, x)
    levels, states = grid.levels, [x if run.mask is None else x * run.mask]
    for k in reversed(range(grid.steps)):
        there, here = levels[k + 1], levels[k]
        weight, on_eps = transfer(there, here, "eps")
        end, found = run.predict(states[-1], there)
        state = weight * end + on_eps * found.eps
        for _ in range(refine):
            state = weight * end + on_eps * run.predict(state, here)[1].eps
        states.append(state)
    return Inversion(grid, tuple(states[::-1]), run.nfe)


@dataclass(frozen=True)
class BDIA(Solver):
    """Bi-directional integration approximation: each step is computed forwards and the one before it backwards, from one prediction.

        z_(k+1) = gamma z_(k-1) - gamma [alpha_(k-1) D + sigma_(k-1) e] + [alpha_(k+1) D + sigma_(k+1) e],    D, e at z_k;    first step DDIM

    Solved for z_(k-1) it runs back exactly (`bdia_inversion`), given the last *two* states. gamma = 1 is a leapfrog, weakly unstable on
    long stiff ends.

    Attributes:
        gamma: within (0, 1]. Rounding grows as gamma^-N on the way back; only 1 is exact in numbers as well.

    Raises:
        ValueError: gamma is outside (0, 1].
    """

    gamma: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma = {self.gamma:g}; within (0, 1] was wanted (DDIM is samplers' 'ddim')")

    def plan(self, grid: Grid) -> Table:
        enough("BDIA", 2, grid)
        finite("BDIA", grid, "eps")
        levels = grid.levels
        weight, on_eps = transfer(levels[0], levels[1], "eps")
        stages = [Stage(levels[1], levels[0], (weight,), (on_eps,), "eps")]
        for k in range(1, grid.steps):
            states, on_eps = self.weights(grid, k)
            stages.append(Stage(levels[k + 1], levels[k], states, (on_eps,), "eps"))
        return finished(grid, stages)

    def weights(self, grid: Grid, k: int) -> tuple[tuple[float, float], float]:
        """Weights of (z_k, z_(k-1)) and of e in z_(k+1)."""
        before, here, after = grid.levels[k - 1 : k + 2]
        (ahead, ahead_eps), (back, back_eps) = transfer(here, after, "eps"), transfer(here, before, "eps")
        return (ahead - self.gamma * back, self.gamma), ahead_eps - self.gamma * back_eps


def bdia_pair(denoiser: Denoises, grid: Grid, start: Tensor, gamma: float = 1.0, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Solve with BDIA and keep what its inversion needs: the states at the last node and at the one before."""
    found = sample(denoiser, grid.ended("stop"), start, BDIA(gamma), mask=mask, trace=True)
    return found.x, found.trace[-2].x


def bdia_inversion(denoiser: Denoises, grid: Grid, last: Tensor, before: Tensor | None = None, gamma: float = 1.0, mask: Tensor | None = None,
                   tolerance: float = 1e-3) -> Inversion:
    """Run BDIA back from its last two states; exact but for rounding, one call a step.

    Args:
        denoiser, grid, gamma, mask: those of the run that is inverted. The grid's end does not count.
        last: z_N ``[batch ...]``, the state at the last node.
        before: z_(N-1). Where None it is made from ``last`` by one step of DDIM inversion (one call more): the chain back and forth is then
            exact, but ``last`` alone does not come back.
        tolerance: rounding, relative, from which on a warning is given.

    Raises:
        ValueError: fewer than two steps, or states of different shapes.

    Warns:
        UserWarning: gamma^-N times the precision of the dtype exceeds ``tolerance``.
    """
    solver = BDIA(gamma)
    enough("BDIA", 2, grid)
    growth = gamma ** -grid.steps * torch.finfo(last.dtype).eps
    if growth > tolerance:
        warnings.warn(f"rounding grows to about gamma^-N eps = {growth:.1e} with gamma = {gamma:g}, N = {grid.steps} and {last.dtype}; "
                      "use gamma = 1, fewer steps or float64", UserWarning, stacklevel=2)
    run = _run(denoiser, (), mask, last)
    states, nfe = [last, before], 0
    if before is None:
        tail = Grid(grid.path, grid.lam[-2:], "stop")
        found = ddim_inversion(denoiser, tail, last, mask=mask)
        states, nfe = [last, found.noise], found.nfe
    if states[1].shape != last.shape:
        raise ValueError(f"the last state has shape {tuple(last.shape)} and the one before {tuple(states[1].shape)}; they must be the same")
    for k in reversed(range(1, grid.steps)):
        (on_here, on_before), on_eps = solver.weights(grid, k)
        here, predicted = run.predict(states[-1], grid.levels[k])
        # The small terms first, so that the sum is rounded once.
        states.append((states[-2] - (on_here * here + on_eps * predicted.eps)) / on_before)
    return Inversion(grid, tuple(states[::-1]), run.nfe + nfe)


def _run(denoiser: Denoises, hooks: Sequence[Hook], mask: Tensor | None, x: Tensor) -> Run:
    hidden = None if mask is None else shaped(mask, x)
    return Run(denoiser, tuple(hooks), mask=hidden, condition={} if mask is None else {"mask": mask})
