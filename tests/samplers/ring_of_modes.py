"""A ring of eight round modes, and how fast a solver's error falls on it."""

from __future__ import annotations

import functools
import math

import torch

from trajlab.paths.schedules import VPLinear
from trajlab.samplers.grids import Grid, uniform_lam
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import GaussianMixture

PATH = VPLinear()
MIXTURE = GaussianMixture.ring(radial=0.3, tangential=0.3)
FIRST, LAST = PATH.lam_of(torch.tensor([0.0, 0.98], dtype=torch.float64)).tolist()


def nodes(steps: int, end: str = "stop", path=PATH) -> Grid:
    return uniform_lam(path, steps, FIRST, LAST, end)


@functools.cache
def start(rows: int = 32):
    return torch.randn(rows, 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


@functools.cache
def reference(rows: int = 32):
    return MIXTURE.ode_end(PATH, start(rows), FIRST, LAST)


def errors(solver, steps: int, rows: int = 32):
    """Distance of every row to where the probability-flow ODE ends."""
    return (sample(MIXTURE.denoiser(PATH), nodes(steps), start(rows), solver).x - reference(rows)).norm(dim=1)


def slope(solver, steps: int = 80) -> float:
    """log2 of what the median error falls by when the steps are doubled."""
    return math.log2(float(errors(solver, steps).median() / errors(solver, 2 * steps).median()))
