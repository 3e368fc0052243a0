"""Denoisers in a line: how fast an error falls, and the exact end variance of a sampler whose updates are linear."""

from __future__ import annotations

import functools
import math

import torch

from trajlab.paths.prediction import Prediction
from trajlab.paths.schedules import VPLinear
from trajlab.samplers.grids import Grid, uniform_lam
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.rho_rk import rho_rk4
from trajlab.samplers.sample import sample

PATH = VPLinear()
FIRST, LAST = PATH.lam_of(torch.tensor([0.0, 0.98], dtype=torch.float64)).tolist()


class Linear:
    """The denoiser of N(0, variance) in every coordinate."""

    def __init__(self, path, variance):
        self.path, self.variance = path, variance

    def __call__(self, x, level, **_):
        v = self.variance
        return Prediction(x, level, "x0", x * (level.alpha * v / (level.alpha**2 * v + level.sigma**2)))


class TwoModes:
    """The denoiser of modes at -1 and 1 with variance 0.09, in every coordinate."""

    path = PATH

    def __call__(self, x, level, **_):
        total = level.alpha**2 * 0.09 + level.sigma**2
        return Prediction(x, level, "x0", (level.alpha * 0.09 * x + level.sigma**2 * torch.tanh(level.alpha / total * x)) / total)


class Axes(RowNoise):
    """The k-th draw is the k-th unit vector: the square of a linear sampler's end is its variance."""

    def __init__(self):
        super().__init__(None)
        self.used = 0

    def normal(self, like):
        self.used += 1
        z = torch.zeros_like(like)
        z[:, self.used] = 1
        return z


def end_variance(solver, grid, variance=0.25, most=2000):
    """Variance of the samples of N(0, variance), from a start of the right variance."""
    first = grid.levels[0]
    x = torch.zeros(1, most, dtype=torch.float64)
    x[0, 0] = (first.alpha**2 * variance + first.sigma**2) ** 0.5
    return float(sample(Linear(grid.path, variance), grid, x, solver, generator=Axes()).x.square().sum())


def nodes(steps: int, end: str = "stop") -> Grid:
    return uniform_lam(PATH, steps, FIRST, LAST, end)


@functools.cache
def start():
    return torch.randn(64, 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


@functools.cache
def reference():
    return sample(TwoModes(), nodes(600), start(), rho_rk4()).x


def error(solver, steps: int) -> float:
    """Median distance to where the probability-flow ODE of two modes ends."""
    return float((sample(TwoModes(), nodes(steps), start(), solver).x - reference()).norm(dim=1).median())


def slope(solver, steps: int = 80) -> float:
    """log2 of what the error falls by when the steps are doubled."""
    return math.log2(error(solver, steps) / error(solver, 2 * steps))
