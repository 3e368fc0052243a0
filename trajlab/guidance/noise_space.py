"""Edit-friendly noise space (Huberman-Spiegelglas et al. 2024): the draws with which a stochastic sampler makes a given trajectory.

Each node gets x_k = alpha_k x + sigma_k eps_k with *independent* eps_k; then z_k = (x_(k+1) - mu_k(x_k)) / s_k, where

    mu_k = alpha_(k+1) D + sqrt(sigma_(k+1)^2 - s_k^2) e,    s_k = eta sigma_(k+1) sqrt(1 - (rho_(k+1)/rho_k)^2),    rho = sigma/alpha

The draws are no standard normal ones: they carry the structure of x (variance well above one, neighbours correlated by -1/2). Replayed
under the same condition they give x back; under another, x with that condition's changes. What the last call leaves is stored too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from trajlab.guidance.masks import check_eta
from trajlab.paths.denoiser import Denoises
from trajlab.paths.gaussian import Level
from trajlab.samplers.ancestral import posterior
from trajlab.samplers.grids import Grid
from trajlab.samplers.hooks import Hook
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.sample import Samples, sample, shaped
from trajlab.samplers.solver import Solver
from trajlab.samplers.tables import Run


@dataclass(frozen=True, eq=False)
class NoiseSpace:
    """A trajectory as draws.

    Attributes:
        grid: its nodes; it ends with a call at the last one (or in the last step, where the last node has no noise).
        states: ``[node batch ...]``, the states at the nodes from which a replay may start.
        z: ``[step batch ...]``, the draws.
        residual: ``[batch ...]``, the sample less the last clean prediction.
        eta: fresh noise, in (0, 1].
        nfe: calls of the denoiser that were made.
    """

    grid: Grid
    states: Tensor
    z: Tensor
    residual: Tensor
    eta: float
    nfe: int

    def mapped(self, change: Callable[[Tensor], Tensor]) -> NoiseSpace:
        """Everything under a linear map of a state ``[batch ...]``: a rotation, a reflection, a permutation of nodes, a roll in time.

        With a net that is equivariant to it, the replay gives the mapped trajectory.
        """
        states, z = (torch.stack([change(x) for x in block]) for block in (self.states, self.z))
        return replace(self, states=states, z=z, residual=change(self.residual))

    def shifted(self, by: Tensor) -> NoiseSpace:
        """The trajectory moved by ``by`` (broadcast to a state), for a net that moves along: draws stay, states move by alpha ``by``."""
        alpha = self.states.new_tensor([k.alpha for k in self.grid.levels[: len(self.states)]])
        return replace(self, states=self.states + alpha.reshape(-1, *[1] * (self.states.ndim - 1)) * by.to(self.states))


def encode(denoiser: Denoises, grid: Grid, x: Tensor, generator: torch.Generator | RowNoise, eta: float = 1.0, hooks: Sequence[Hook] = (),
           mask: Tensor | None = None) -> NoiseSpace:
    """The draws of a trajectory; one call a node.

    Args:
        denoiser: with the condition that belongs to x.
        grid: nodes from noise to data. Its end does not count: the last call is always made, and what it leaves is stored.
        x: ``[batch ...]``, clean.
        generator: for the independent noise of the nodes; each row has its own stream.
        eta: fresh noise; 1 is ancestral sampling.
        hooks: as in `sample`. Those of the replay must be the same; they see states at calls, draws and clean predictions.
        mask: as in `sample`.

    Raises:
        ValueError: eta is outside (0, 1], or x is not finite.
    """
    check_eta(eta)
    if eta == 0:
        raise ValueError("eta = 0 leaves no draws to put a trajectory into; use trajlab.guidance.inversion, or eta in (0, 1]")
    hidden = None if mask is None else shaped(mask, x)
    if not bool(torch.isfinite(x if hidden is None else torch.where(hidden != 0, x, 0)).all()):
        raise ValueError("the trajectory is not finite everywhere; drop or impute what is missing, or hide it with a mask")
    noise = generator if isinstance(generator, RowNoise) else RowNoise(generator)
    run = Run(denoiser, tuple(hooks), noise, hidden, {} if mask is None else {"mask": mask})
    x = x if hidden is None else torch.where(hidden != 0, x, torch.zeros_like(x))
    levels = _noisy(grid)
    state = run.begin(levels[0].alpha * x + levels[0].sigma * run.draw(x), levels[0])
    states, draws = [], []
    for s, t in pairwise(levels):
        state, found = run.predict(state, s)
        states.append(state)
        kept, clean, fresh = posterior(s, t, eta)
        mean = kept * state + clean * found.x0
        z = (t.alpha * x + t.sigma * run.draw(x) - mean) / fresh
        draws.append(z)
        state = mean + fresh * z  # and not the target itself, from which it differs by rounding
    state, found = run.predict(state, levels[-1])
    states.append(state)
    z = torch.stack(draws) if draws else x.new_zeros((0, *x.shape))
    return NoiseSpace(grid.ended("denoise"), torch.stack(states), z, x - found.x0, eta, run.nfe)


@dataclass(frozen=True, eq=False)
class Replay(Solver):
    """The steps of a `NoiseSpace`, with its draws. The run's own random numbers are not used.

    Attributes:
        space: the draws.
        skip: how many of the noisiest nodes are left out: the replay starts at node ``skip``, and keeps the more of the trajectory the
            larger it is.

    Raises:
        ValueError: ``skip`` is not a node of the space; or, in a run, the grid is not the space's.
    """

    space: NoiseSpace
    skip: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.skip < len(self.space.states):
            raise ValueError(f"skip = {self.skip}; a node of the space was wanted, 0 to {len(self.space.states) - 1}")

    def run(self, grid: Grid, run: Run, x: Tensor) -> Tensor:
        if grid.path != self.space.grid.path or not torch.equal(grid.lam, self.space.grid.lam):
            raise ValueError("the grid is not that of the noise space; use space.grid")
        levels = _noisy(grid)[self.skip :]
        x = run.begin(x, levels[0])
        for s, t, z in zip(levels, levels[1:], self.space.z[self.skip :]):
            x, found = run.predict(x, s)
            kept, clean, fresh = posterior(s, t, self.space.eta)
            x = run.arrived(kept * x + clean * found.x0 + fresh * z, found, t)
        x, found = run.predict(x, levels[-1])
        return run.arrived(found.x0 + self.space.residual, found, grid.path.level(float("inf")))


def replay(denoiser: Denoises, space: NoiseSpace, skip: int = 0, hooks: Sequence[Hook] = (), mask: Tensor | None = None) -> Samples:
    """Make the trajectory again, under the condition of ``denoiser``, from node ``skip`` on."""
    solver = Replay(space, skip)
    return sample(denoiser, space.grid, space.states[skip], solver, hooks=hooks, mask=mask)


def _noisy(grid: Grid) -> list[Level]:
    """The nodes with noise; a last one without is what the final call leads to."""
    return grid.levels if grid.levels[-1].sigma > 0 else grid.levels[:-1]
