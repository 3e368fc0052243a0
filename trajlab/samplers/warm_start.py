"""DPM-OT (Li et al. 2023): most of the noise levels in one jump, by semi-discrete optimal transport from noise onto a bank of latents.

A bank of latents at a middle level is made once; noise is mapped to a latent of the bank, which carries the mass of noise nearest to it;
the remaining few steps are sampled as usual. Nothing turns with its input here: the bank's frame is the samples' frame, so align data
beforehand or turn samples at random afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.couplings.semidiscrete import Cells, Draw, SemiDiscrete, standard_normal
from trajlab.paths.denoiser import Denoises
from trajlab.paths.gaussian import GaussianPath
from trajlab.samplers.grids import Grid
from trajlab.samplers.hooks import Hook
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.sample import Samples, sample
from trajlab.samplers.solver import Solver


@dataclass(frozen=True)
class Bank:
    """Latents of one level.

    Attributes:
        path: whose level it is.
        lam: its log-SNR.
        latents: ``[latent *event]``.

    Raises:
        ValueError: fewer than two latents, or one that is not finite.
    """

    path: GaussianPath
    lam: float
    latents: Tensor

    def __post_init__(self) -> None:
        if len(self.latents) < 2 or not bool(torch.isfinite(self.latents).all()):
            raise ValueError(f"latents of shape {tuple(self.latents.shape)} came; two or more were wanted, all of them finite")

    @classmethod
    def of_data(cls, path: GaussianPath, lam: float, data: Float[Tensor, "latent *event"], generator: torch.Generator,
                hooks: Sequence[Hook] = ()) -> Bank:
        """Noised data, alpha x + sigma z; hooks act on z, as in a run."""
        level, z = path.level(lam), RowNoise(generator).normal(data)
        for hook in hooks:
            z = hook.noise(z)
        return cls(path, lam, level.alpha * data + level.sigma * z)

    @classmethod
    def of_denoiser(cls, denoiser: Denoises, grid: Grid, left: int, shape: Sequence[int], generator: torch.Generator,
                    solver: Solver | None = None, hooks: Sequence[Hook] = ()) -> Bank:
        """States of runs that stop ``left`` steps before the end of a grid.

        Raises:
            ValueError: not 1 <= left < steps.
        """
        if not 1 <= left < grid.steps:
            raise ValueError(f"left={left} came, and the grid has {grid.steps} steps; 1 to {grid.steps - 1} were wanted")
        begun = Grid(grid.path, grid.lam[: grid.steps - left + 1], "stop")
        return cls(grid.path, float(begun.lam[-1]), sample(denoiser, begun, shape, solver, generator=generator, hooks=hooks).x)

    def fit(self, generator: torch.Generator, settings: SemiDiscrete | None = None, source: Draw | None = None, top: int = 1,
            angle: float = 0.7) -> WarmStart:
        """The transport onto this bank from the source that will be used: N(0, I) unless ``source`` draws another.

        Raises:
            ValueError: what `SemiDiscrete.fit` and `WarmStart` refuse.
        """
        draw = source or standard_normal(self.latents.shape[1:])
        return WarmStart(self, (settings or SemiDiscrete()).fit(self.latents, draw, generator), top, angle)


@dataclass(frozen=True)
class WarmStart:
    """Noise -> latent of the bank.

    With ``top`` = 1 the map is the transport itself, and all that samples have beyond the bank comes from noise in the remaining steps. With
    more, one of the ``top`` best latents is drawn; those are left out whose planes (y_i, -1) stand at a large angle to the best one's: they
    lie across a border between modes. Latents are drawn and never averaged, because an average has less noise than its level says.

    Attributes:
        bank: the latents.
        cells: the transport, as fitted.
        top: how many candidates.
        angle: largest angle, where 0 is the smallest and 1 the largest between two latents of the bank.

    Raises:
        ValueError: the cells are of another bank, top outside 1 .. latents, or angle outside [0, 1].
    """

    bank: Bank
    cells: Cells
    top: int = 1
    angle: float = 0.7

    def __post_init__(self) -> None:
        if self.cells.atoms.shape != self.bank.latents.shape:
            raise ValueError(f"cells of {tuple(self.cells.atoms.shape)} came with a bank of {tuple(self.bank.latents.shape)}; fit them on this bank")
        if not 1 <= self.top <= len(self.bank.latents) or not 0 <= self.angle <= 1:
            raise ValueError(f"top={self.top}, angle={self.angle:g} came; top from 1 to {len(self.bank.latents)} and angle from 0 to 1 were wanted")
        object.__setattr__(self, "_range", _angle_range(self.bank.latents) if self.top > 1 else (0.0, 1.0))

    def choose(self, noise: Float[Tensor, "batch *event"], generator: torch.Generator | RowNoise | None = None) -> Int[Tensor, " batch"]:
        """Which latent each row of noise goes to. ``generator`` is needed for top > 1; each row has its own stream."""
        near = self.cells.nearest(noise, self.top)
        if self.top == 1:
            return near[:, 0]
        planes = _planes(self.bank.latents.to(noise))[near]
        least, most = self._range  # type: ignore[attr-defined]
        turned = (_angles(planes[:, :1], planes)[:, 0] - least) / max(most - least, 1e-12)
        near_enough = turned <= self.angle
        near_enough[:, 0] = True
        rows = generator if isinstance(generator, RowNoise) else RowNoise(generator)
        uniform = torch.special.ndtr(rows.normal(noise.new_empty(len(noise), dtype=torch.float64)))
        wanted = (uniform * near_enough.sum(1)).floor().long().clamp(max=self.top - 1)
        return near.gather(1, ((near_enough.cumsum(1) - 1 == wanted[:, None]) & near_enough).int().argmax(1, keepdim=True))[:, 0]

    def latents(self, noise: Float[Tensor, "batch *event"], generator: torch.Generator | RowNoise | None = None) -> Float[Tensor, "batch *event"]:
        """The latents that rows of noise go to, in the dtype of the noise."""
        return self.bank.latents.to(noise)[self.choose(noise, generator)]

    def remaining(self, grid: Grid) -> Grid:
        """What of a grid is left after the jump: it starts at the bank's level.

        Raises:
            ValueError: the grid is on another path, or ends before the bank's level.
        """
        if grid.path != self.bank.path:
            raise ValueError(f"the bank is on {self.bank.path} and the grid on {grid.path}; make both on denoiser.path")
        later = grid.lam[grid.lam > self.bank.lam + 1e-9]
        if not len(later):
            raise ValueError(f"the grid ends at lam = {float(grid.lam[-1]):g}, before the bank's level {self.bank.lam:g}; use a longer grid")
        return Grid(grid.path, torch.cat([later.new_tensor([self.bank.lam]), later]), grid.end)

    def sample(self, denoiser: Denoises, grid: Grid, noise: Float[Tensor, "batch *event"], solver: Solver | None = None, *,
               generator: torch.Generator | None = None, **further: Any) -> Samples:
        """The jump from ``noise``, drawn from the source of the fit, and the remaining steps of ``grid`` by `trajlab.samplers.sample.sample`."""
        rows = RowNoise(generator)
        return sample(denoiser, self.remaining(grid), self.latents(noise, rows), solver, generator=rows, **further)


def _planes(latents: Tensor) -> Tensor:
    """Unit normals of the planes <x, y> + h - z = 0, the latents about their mean and scaled to unit mean square norm."""
    flat = latents.flatten(1).double()
    flat = flat - flat.mean(0)
    flat = flat / flat.square().sum(1).mean().sqrt().clamp(min=1e-300)
    normals = torch.cat([flat, -torch.ones_like(flat[:, :1])], 1)
    return normals / normals.norm(dim=1, keepdim=True)


def _angles(left: Tensor, right: Tensor) -> Tensor:
    return torch.acos((left @ right.mT).clamp(-1, 1))


def _angle_range(latents: Tensor) -> tuple[float, float]:
    """Smallest and largest angle between two latents."""
    planes, low, high = _planes(latents), math.pi, 0.0
    for k, part in enumerate(planes.split(512)):
        between = _angles(part, planes)
        between[torch.arange(len(part)), 512 * k + torch.arange(len(part))] = torch.nan
        low, high = min(low, float(between.nan_to_num(math.pi).min())), max(high, float(between.nan_to_num(0).max()))
    return low, high
