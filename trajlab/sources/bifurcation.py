"""Snapshots of cells that choose one of two branches, one of which multiplies: a case for unbalanced transport whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.types import Snapshots

__all__ = ["Bifurcation", "bifurcation", "expected_ratio"]

FORK = 1.0  #: progress at which the branches part
FERTILE = 2.0  #: progress from which on the upper branch divides: few cells change branch after it
SHARPNESS = 2.0


@dataclass(frozen=True)
class Bifurcation:
    """Cells go along a first axis at speed one, and part along a second:

        dX = dt + sigma dW,    dY = (2 tanh(2 (X - 1)) Y - Y^3) dt + sigma dW,    (X, Y)(0) ~ N(0, 0.1^2),

    a pitchfork at X = 1 whose branches are at Y = +-sqrt(2). A cell with X > 2 in the branch Y > 0 divides at the rate ``birth``;
    nothing dies.

    Attributes:
        times: of the snapshots, rising, from 0 on.
        cells: that each population starts from; later snapshots have more, by the growth.
        birth: divisions per unit time, of cells in the upper branch beyond X = 2.
        sigma: volatility.
        step: of the Euler-Maruyama scheme.
        seed: of starts, noise and divisions.

    Raises:
        ValueError: times that do not rise, or a number out of range.
    """

    times: Sequence[float] = (0.0, 1.0, 2.0, 3.0, 4.0)
    cells: int = 300
    birth: float = 0.5
    sigma: float = 0.3
    step: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        times = [float(t) for t in self.times]
        if not times or times[0] < 0 or any(b <= a for a, b in pairwise(times)):
            raise ValueError(f"Bifurcation: times {times[:6]}; rising times from 0 on were wanted")
        if self.cells < 1 or self.birth < 0 or self.sigma < 0 or not self.step > 0:
            raise ValueError(f"Bifurcation: cells={self.cells}, birth={self.birth}, sigma={self.sigma}, step={self.step}; at least one cell, "
                             "rates of zero or more and a positive step were wanted")


def bifurcation(recipe: Bifurcation | None = None) -> Snapshots:
    """A population of its own for each snapshot. ``source`` states the birth rate, the branch that grows, and the cells at each time."""
    recipe = recipe or Bifurcation()
    generator = torch.Generator().manual_seed(recipe.seed)
    seen = [_population(recipe, float(time), generator) for time in recipe.times]
    label = torch.repeat_interleave(torch.arange(len(seen)), torch.tensor([len(x) for x in seen]))
    source = {"system": "bifurcation", "birth": recipe.birth, "growing": "y > 0 and x > 2", "sigma": recipe.sigma, "seed": recipe.seed,
              "started": recipe.cells, "cells": tuple(len(x) for x in seen)}
    return Snapshots(torch.cat(seen), label, torch.tensor([float(t) for t in recipe.times], dtype=torch.float64), names=("progress", "branch"),
                     source=source)


def expected_ratio(recipe: Bifurcation, time: float) -> float:
    """Cells in the upper branch over cells in the lower one: e^{birth (time - 2)} from time 2 on, but for noise along the first axis."""
    return math.exp(recipe.birth * max(time - FERTILE, 0.0))


def _population(recipe: Bifurcation, time: float, generator: torch.Generator) -> Float[Tensor, "cell 2"]:
    x = 0.1 * torch.randn(recipe.cells, 2, generator=generator, dtype=torch.float64)
    steps = math.ceil(time / recipe.step - 1e-9)
    h = time / max(steps, 1)
    divides = -math.expm1(-recipe.birth * h)
    for _ in range(steps):
        pull = 2 * torch.tanh(SHARPNESS * (x[:, 0] - FORK)) * x[:, 1] - x[:, 1] ** 3
        wiggle = recipe.sigma * math.sqrt(h) * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        x = x + h * torch.stack([torch.ones_like(pull), pull], 1) + wiggle
        fertile = (x[:, 0] > FERTILE) & (x[:, 1] > 0)
        born = fertile & (torch.rand(len(x), generator=generator, dtype=x.dtype) < divides)
        x = torch.cat([x, x[born]])
    return x
