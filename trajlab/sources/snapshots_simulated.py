"""Snapshots of a stochastic process: every cell is simulated from the start and looked at once, as an experiment that destroys its cells does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.types import Snapshots

__all__ = ["SnapshotRecipe", "fresh_snapshots"]

Drift = Callable[[Tensor], Tensor]
NOISES = ("additive", "proportional")


@dataclass(frozen=True)
class SnapshotRecipe:
    """When cells are looked at, how many, and how they are driven.

    Attributes:
        times: of the snapshots, rising, the first not before 0, the time of the start.
        cells: in each snapshot.
        sigma: volatility, state/sqrt(time); of the logarithm of the state where the noise is proportional.
        noise: ``additive`` (sigma dW) or ``proportional`` to the state (sigma X dW, Ito).
        step: of the Euler-Maruyama scheme; each snapshot's last step is shortened to end at its time.
        seed: of starts and noise.

    Raises:
        ValueError: times that do not rise, or a number out of range.
    """

    times: Sequence[float]
    cells: int = 50
    sigma: float = 0.1
    noise: Literal["additive", "proportional"] = "additive"
    step: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        times = [float(t) for t in self.times]
        if not times or not all(map(math.isfinite, times)) or times[0] < 0 or any(b <= a for a, b in pairwise(times)):
            raise ValueError(f"SnapshotRecipe: times {times[:6]}; rising times from 0 on were wanted")
        if self.cells < 1 or not (self.sigma >= 0 and self.step > 0 and math.isfinite(self.sigma + self.step)):
            raise ValueError(f"SnapshotRecipe: cells={self.cells}, sigma={self.sigma}, step={self.step}; at least one cell, a volatility of zero or "
                             "more and a positive step were wanted")
        if self.noise not in NOISES:
            raise ValueError(f"SnapshotRecipe: noise={self.noise!r}; one of {NOISES} was wanted")


def fresh_snapshots(drift: Drift, low: Sequence[float], high: Sequence[float], recipe: SnapshotRecipe, names: Sequence[str] = (),
                    **source: Any) -> Snapshots:
    """Simulate  dX = f(X) dt + sigma dW  (or sigma X dW) from X(0) ~ U[low, high] by Euler-Maruyama, with other cells for every snapshot.

    Args:
        drift: f, ``[cell dim]`` to ``[cell dim]``.
        low, high: of the uniform start in each dimension.
        recipe: times, cells, noise, step and seed.
        names: of the dimensions.
        source: what is to be remembered of the origin.

    Raises:
        ValueError: the process left the finite numbers (a smaller step may help).
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    times = [float(t) for t in recipe.times]
    bottom, top = (torch.tensor(list(map(float, edge)), dtype=torch.float64) for edge in (low, high))
    x = bottom + (top - bottom) * torch.rand(len(times) * recipe.cells, len(bottom), generator=generator, dtype=torch.float64)
    seen, now = [], 0.0
    for time in times:
        x = _advanced(drift, x, time - now, recipe, generator)
        if not bool(torch.isfinite(x).all()):
            raise ValueError(f"the process is not finite at time {time:g} with an Euler step of {recipe.step:g}; take a smaller step")
        seen.append(x[: recipe.cells])
        x, now = x[recipe.cells :], time  # these were looked at: the others go on
    label = torch.arange(len(times)).repeat_interleave(recipe.cells)
    origin = {"sigma": recipe.sigma, "noise": recipe.noise, "step": recipe.step, "seed": recipe.seed, **source}
    return Snapshots(torch.cat(seen), label, torch.tensor(times, dtype=torch.float64), names=tuple(names), source=origin)


def _advanced(drift: Drift, x: Float[Tensor, "cell dim"], duration: float, recipe: SnapshotRecipe, generator: torch.Generator,
              ) -> Float[Tensor, "cell dim"]:
    """The cells after a duration, in equal steps of at most the recipe's."""
    steps = math.ceil(duration / recipe.step - 1e-9)
    if steps <= 0:
        return x
    h = duration / steps
    scale = recipe.sigma * math.sqrt(h)
    for _ in range(steps):
        wiggle = scale * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        x = x + h * drift(x) + (wiggle * x if recipe.noise == "proportional" else wiggle)
    return x
